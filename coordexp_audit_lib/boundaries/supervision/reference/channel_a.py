"""The reference's Channel-A: teacher-forced forwards in which coordinate slots take their expected embedding."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.supervision.cases.rollouts import write
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC, is_coordinate, layout
from coordexp_audit_lib.boundaries.supervision.reference.batch import norms, rows
from coordexp_audit_lib.boundaries.supervision.reference.losses import (
    aimed_bin,
    coordinate_logits,
    geometry,
    measured,
    short,
    token_loss,
)
from coordexp_audit_lib.boundaries.supervision.reference.target import END
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, ChannelA, ChannelARequest, Pass, SegmentA
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit.coordjson import container
from coordexp_audit_lib.kit.model import hashed, one_thread
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS, encode

Slots = list[tuple[int, int]]


@answers(CHANNEL_A)
def channel_a(request: ChannelARequest) -> ChannelA:
    """Answers are kept per request: several checks ask the same."""
    with one_thread():
        return _channel_a(msgspec.json.encode(request))


@lru_cache(maxsize=64)
def _channel_a(encoded: bytes) -> ChannelA:
    import torch

    request = msgspec.json.decode(encoded, type=ChannelARequest)
    targets = [encode(container(write(s.gt, request.order)) + END) for s in request.samples]
    batch = rows(targets, request.image)
    slots = [(b, batch.prompt + p) for b, t in enumerate(targets) for p, i in enumerate(t) if is_coordinate(i)]
    embed = hashed().get_input_embeddings()
    calls: list[dict[str, Any]] = []
    passes: list[Any] = []
    for n in range(request.n_iter):
        # The first forward carries the cross-entropy and the last the geometry; `em_detach` saves those between.
        quiet = request.grad_mode == "em_detach" and 0 < n < request.n_iter - 1
        with torch.no_grad() if quiet else nullcontext():
            embeds = embed(batch.ids)
            if n > 0 and slots:
                embeds = _soft(embeds, passes[-1], slots, embed, detach=request.grad_mode == "em_detach")
            calls.append({"inputs_embeds": embeds, "use_cache": False, **batch.extras})
            logits = hashed()(**calls[-1]).logits
        if logits.requires_grad:
            logits.retain_grad()
        passes.append(logits)
    hashed().zero_grad(set_to_none=True)
    loss = _loss(passes, targets, slots, batch.prompt, request)
    loss.backward()
    length = batch.ids.shape[1]
    base = embed(batch.ids).detach()
    seen = [_pass(calls, passes, n, slots, base=base, embed=embed) for n in range(request.n_iter)]
    segments = [SegmentA(t, batch.prompt, 0, b) for b, t in enumerate(targets)]
    aims = [] if request.ciou_weight else _aims(passes[-1], slots)
    tables = [_table(passes[n - 1], calls[n]["inputs_embeds"], slots, embed) for n in range(1, request.n_iter)]
    asked = request.grad_mode == "unroll" and request.n_iter > 1 and bool(slots)
    told = tables if asked else None
    places = [b * length + p for b, p in slots]
    return ChannelA(segments, length, seen, places, short(loss.detach()), tables=told, aims=aims)


def _table(before: Any, embeds: Any, slots: Slots, embed: Any) -> int:
    """How many rows of the embedding table what is put into the slots reaches, other than through the logits before."""
    import torch

    soft = _soft(embeds.detach(), before.detach(), slots, embed, detach=False)
    (grad,) = torch.autograd.grad(soft.sum(), embed.weight)
    return int((grad != 0).any(-1).sum())


def _aims(logits: Any, slots: Slots) -> list[int]:
    """The bins that the slots' gradients point to."""
    held = logits.detach()
    return [aimed_bin(held[b, p - 1], logits.grad[b, p - 1], len(slots)) for b, p in slots]


def _soft(embeds: Any, logits: Any, slots: Slots, embed: Any, detach: bool) -> Any:
    """Put the expected coordinate embedding into the slots; all other rows stay as they are."""
    import torch

    table = embed(torch.arange(COORD_0, COORD_0 + COORD_BINS))
    expected = torch.softmax(coordinate_logits(logits, slots).float(), -1) @ table
    at = (torch.tensor([b for b, _ in slots]), torch.tensor([p for _, p in slots]))
    return embeds.index_put(at, expected.detach() if detach else expected)


def _loss(passes: list[Any], targets: list[list[int]], slots: Slots, prompt: int, request: ChannelARequest) -> Any:
    supervised, weights = [], []
    for b, target in enumerate(targets):
        for p, token in enumerate(layout(target, request.order).tokens):
            if not is_coordinate(token.id):
                supervised.append((b, prompt + p, token.id))
                weights.append(request.desc_ce_weight if DESC in token.roles else 1.0)
    bins = [k for s in request.samples for t in s.gt for k in t.bbox]
    return token_loss(passes[0], supervised, weights) + geometry(passes[-1], slots, bins, request.ciou_weight, False)


def _pass(calls: list[dict[str, Any]], passes: list[Any], n: int, slots: Slots, *, base: Any, embed: Any) -> Pass:
    call, logits, length = calls[n], passes[n], base.shape[1]
    changed = (call["inputs_embeds"].detach() != base).any(-1).nonzero().tolist()
    none = [0.0] * base.shape[0] * length
    text, coord = (none, none) if logits.grad is None else norms(logits.grad.reshape(-1, logits.shape[-1]))
    before = {b * length + p - 1 for b, p in slots}
    return Pass(
        kwargs=sorted(call),
        ids=False,
        embeds=True,
        use_cache=False,
        past=False,
        tracked=bool(logits.requires_grad),
        changed=[b * length + p for b, p in changed],
        update_error=_distance(call, passes, n, slots, embed=embed, shift=0),
        update_error_unshifted=_distance(call, passes, n, slots, embed=embed, shift=1),
        text_rows=[i for i, v in enumerate(text) if v > 0],
        slot_grad=measured(sum(coord[i] ** 2 for i in before) ** 0.5),
        text_grad=measured(sum(v**2 for v in text) ** 0.5),
        slots_reached=sum(coord[i] > 0 for i in before),
    )


def _distance(call: dict[str, Any], passes: list[Any], n: int, slots: Slots, *, embed: Any, shift: int) -> float | None:
    """Greatest distance of the slots' embeddings from the expectation under the previous logits, `shift` places on."""
    import torch

    if n == 0 or not slots:
        return None
    with torch.no_grad():
        moved = [(b, p + shift) for b, p in slots]
        expected = _soft(torch.zeros_like(call["inputs_embeds"]), passes[n - 1].detach(), moved, embed, True)
        gaps = [(expected[b, p + shift] - call["inputs_embeds"][b, p]).abs().max() for b, p in slots]
    return short(max(float(g) for g in gaps))
