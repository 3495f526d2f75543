"""The reference's Channel-B: build the targets, run forward and backward, and measure at the logits."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.supervision.predicates.targets import IGNORED
from coordexp_audit_lib.boundaries.supervision.reference.batch import norms, rows
from coordexp_audit_lib.boundaries.supervision.reference.losses import aimed_bin, geometry, measured, short, token_loss
from coordexp_audit_lib.boundaries.supervision.reference.target import Target, build
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, ChannelB, ChannelBRequest, SegmentB
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit.model import FEW, hashed, one_thread, row_of
from coordexp_audit_lib.kit.schedule import seed_base
from coordexp_audit_lib.kit.tokenizer import COORD_0


@answers(CHANNEL_B)
def channel_b(request: ChannelBRequest) -> ChannelB:
    """Answers are kept per request: several checks ask the same, and a backward pass is dear."""
    with one_thread():
        return _channel_b(msgspec.json.encode(request))


@lru_cache(maxsize=256)
def _channel_b(encoded: bytes) -> ChannelB:
    request = msgspec.json.decode(encoded, type=ChannelBRequest)
    import torch

    targets = [build(s, request) for s in request.samples]
    counted = _metrics(targets, request)
    seed = seed_base(request.seed, request.step)
    kept = [t for i, t in enumerate(targets) if i not in request.unclosed]
    if not request.backward:
        return ChannelB([_segment(t, seed) for t in kept], counted, [], {}, False)
    batch = rows([t.ids for t in kept], request.image)
    call = {"input_ids": batch.ids, "use_cache": False, **batch.extras}
    logits = hashed()(**call).logits
    loss = _loss(logits, kept, batch.prompt, request)
    (grads,) = torch.autograd.grad(loss, logits)  # what stands below the logits is not asked for
    measure = partial(_measured, found=(logits, grads), prompt=batch.prompt, batch=kept, request=request)
    segments = [measure(_segment(t, seed), t, b) for b, t in enumerate(kept)]
    return ChannelB(segments, counted, sorted(call), {"total": short(loss.detach())}, False)


def _loss(logits: Any, targets: list[Target], prompt: int, request: ChannelBRequest) -> Any:
    supervised = [(b, prompt + p, t.ids[p]) for b, t in enumerate(targets) for p, w in enumerate(t.weights) if w > 0]
    weights = [w for t in targets for w in t.weights if w > 0]
    groups = [(b, g) for b, t in enumerate(targets) for g in (*t.matched_groups, *t.missed_groups)]
    slots = [(b, prompt + p) for b, g in groups for p in g.pos]
    bins = [k for _, g in groups for k in g.bins]
    boxes = geometry(logits, slots, bins, request.ciou_weight, request.all_terms)
    return token_loss(logits, supervised, weights) + boxes


def _segment(t: Target, seed: int) -> SegmentB:
    return SegmentB(
        prompt_len=0,
        prefix_len=t.prefix_len,
        ids=t.ids,
        invalid=t.kept.invalid,
        valid=t.kept.valid,
        matched=len(t.pairs),
        fn=len(t.missed),
        dropped=t.kept.dropped,
        truncated=t.kept.truncated,
        prefix_groups=t.matched_groups,
        fn_groups=t.missed_groups,
        struct_pos=[p for p, w in enumerate(t.weights) if w > 0 and p < t.prefix_len],
        closure_pos=t.view.closing(),
        desc_pos=[p for p, k in enumerate(t.view.tokens) if "desc" in k.roles and p >= t.prefix_len],
        seed_base=seed,
        labels=[],
        share=[],
        text_grad=[],
        coord_grad=[],
        raised=[],
        targets=[],
    )


def _metrics(targets: list[Target], request: ChannelBRequest) -> dict[str, float | None]:
    names, lost = pipeline().contract()["supervision.counters"], len(request.unclosed)
    counts = {
        "invalid": sum(t.kept.invalid for t in targets) + lost,
        "unclosed": lost,
        "dropped_records": sum(t.kept.dropped for t in targets),
        "valid_records": sum(t.kept.valid for t in targets),
    }
    return {names[what]: float(count) for what, count in counts.items()}


def _measured(
    segment: SegmentB, t: Target, b: int, found: Any, *, prompt: int, batch: list[Target], request: ChannelBRequest
) -> SegmentB:
    """Fill in what the gradient at the logits says; `found`: logits and their gradient, both (B, L, V)."""
    logits, span = found[0], slice(prompt - 1, prompt - 1 + len(t.ids))
    grads = found[1][b, span]
    text, coord = norms(grads)
    best = _tokens(grads.argmin(-1), t.ids)
    total = sum(w for other in batch for w in other.weights)
    slots = sum(len(g.pos) for other in batch for g in (*other.matched_groups, *other.missed_groups))
    targets = [-1] * len(t.ids)
    if request.ciou_weight == 0 and not request.all_terms:
        for p in (p for g in (*t.matched_groups, *t.missed_groups) for p in g.pos):
            targets[p] = aimed_bin(logits[b, prompt - 1 + p].detach(), grads[p], slots)
    return msgspec.structs.replace(
        segment,
        prompt_len=prompt,
        labels=[i if w > 0 else IGNORED for i, w in zip(t.ids, t.weights, strict=True)],
        share=[measured(w / total) for w in t.weights],
        text_grad=text,
        coord_grad=coord,
        raised=[k if v > 0 else -1 for k, v in zip(best, text, strict=True)],
        targets=targets,
    )


def _tokens(rows: Any, ids: list[int]) -> list[int]:
    """Which tokens these rows [N] of the small model stand for, one for each of `ids`: that one, if it is its row."""
    import torch

    own = row_of(torch.tensor(ids)).tolist()
    others = dict(zip(own, ids, strict=True))
    found = zip(rows.tolist(), own, ids, strict=True)
    return [t if k == row else COORD_0 + k - FEW if k >= FEW else others.get(k, k) for k, row, t in found]
