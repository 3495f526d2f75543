"""What each term of the objective does to each slot: Stage 2's channels, and Stage 1's own loss mixin.

Stand-ins: Stage 1's loss gets logits that are drawn by a seed; what is below it in the class is a base that does what
upstream's `compute_loss` does with labels and a number of items, and the rest of the trainer is plain settings.
"""

import math
import types
import typing

from coordexp_audit_lib.kit import coordinate_terms as terms
from coordexp_audit_lib.kit.model import VOCABULARY
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS, ENDOFTEXT
from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds, remembered, watched
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.supervision import passes
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness import wording
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import short

# The reference commit's names of the weights, in Stage 2; the two in the middle are a section of their own there.
STAGE2 = {
    terms.CROSS_ENTROPY: "coord_ce_weight",
    terms.SOFT: "coord_soft_ce_weight",
    terms.WASSERSTEIN: "coord_w1_weight",
    terms.GATE: "coord_gate_weight",
}
STAGE1 = {
    terms.CROSS_ENTROPY: "ce_weight",
    terms.SOFT: "soft_ce_weight",
    terms.WASSERSTEIN: "w1_weight",
    terms.GATE: "gate_weight",
}
SHAPE = {"enabled": True, "target_sigma": terms.SIGMA, "target_truncate": terms.TRUNCATE, "temperature": 1.0}
DIGITS = 3


@binds(
    "supervision.coordinate_terms",
    loss=symbols.STAGE2_LOSS,
    trainer=symbols.STAGE2_TRAINER,
    prepare_a=symbols.PREPARE_A.optional,
    prepare_b=symbols.PREPARE_B.optional,
)
@remembered
def coordinate_terms(request, here):
    wording.newer_only("answers")
    channel = request["channel"].lower()
    passes.accepted(channel, here)
    world = harness.world(here)
    made = passes.make_trainer(
        {**passes.PLAIN, "packed": request["packed"], "step": 0, "seed": 0, "weights": weights(request)}, here, world
    )
    made.coord_soft_ce_w1_cfg = types.SimpleNamespace(**SHAPE, **alone(request))
    prepared = passes.prepared_b if channel == "b" else passes.prepared_a
    try:
        batch = prepared(made, {**request, "image": 0}, here, world)
        seen, _, found, rows = passes.forward_backward(made, batch, here, world, ends=True)
    except Refused as refused:
        if here.trainer.__module__ == symbols.STAGE2[0] and not wording.numbered():
            raise
        raise harness.unfit(refused.told) from refused
    if watched():
        return {"samples": []}
    logits = seen.logits[-1]
    if logits.grad is None:
        raise Unbound("no gradient reached the logits")
    held = [(s, b, start, slot) for s, (b, start) in zip(found, rows, strict=False) for slot in slots_of(s, channel)]
    told = pulled(
        request["term"],
        [slot for *_, slot in held],
        logits,
        logits.grad,
        [(b, start + s["prompt_len"] + slot["position"] - 1) for s, b, start, slot in held],
    )
    each: dict[int, list[object]] = {id(s): [] for s in found}
    for (s, *_), slot in zip(held, told, strict=True):
        each[id(s)].append(slot)
    return {"samples": list(each.values())}


def weights(request):
    """Settings under which nothing but the cross-entropy and the term has a weight."""
    none = dict.fromkeys((*passes.ALL_TERMS, *passes.ALL_TERMS_LATER, "bbox_smoothl1_weight"), 0.0)
    return {**none, STAGE2[request["term"]]: request["weight"]}


def alone(request):
    """The section `coord_soft_ce_w1` with that weight only."""
    none = dict.fromkeys(STAGE1.values(), 0.0)
    return {**none, **({STAGE1[request["term"]]: request["weight"]} if request["term"] else {})}


def slots_of(found, channel):
    """The slots of one segment, by its bookkeeping in Channel-B, by its tokens in Channel-A."""
    if channel == "a":
        return tokens_of(found["ids"])
    sides = (("matched", found["prefix_groups"]), ("appended", found["fn_groups"]))
    return [
        {"position": p, "bin": k, "fate": fate}
        for fate, groups in sides
        for g in groups
        for p, k in zip(g["pos"], g["bins"], strict=False)
    ]


def tokens_of(ids):
    coords = ((p, t - COORD_0) for p, t in enumerate(ids) if COORD_0 <= t < COORD_0 + COORD_BINS)
    return [{"position": p, "bin": k, "fate": "appended"} for p, k in coords]


def pulled(term, slots, logits, grads, rows):
    """The slots with what is in their gradients; rows: of each the row and the position that predicts it."""
    if not slots:
        return []
    at = ([b for b, _ in rows], [p for _, p in rows])
    made = terms.pulls(term, logits.detach()[at], grads[at], [s["bin"] for s in slots], COORD_0)
    return [
        {**slot, "pull": short(pull * len(slots), DIGITS, 1e-6), "stray": short(stray, 2, 1e-3)}
        for slot, (pull, stray) in zip(slots, made, strict=True)
    ]


class Seen(Exception):
    """Raised by the base where only the labels are asked for."""


class Base:
    """What upstream's `compute_loss` does: cross-entropy of the batch's labels, over the number of items that is given,
    or as a mean."""

    logits: typing.Any = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None, **_):
        import torch.nn.functional as F

        self.labels_seen = inputs["labels"].clone()
        if self.logits is None:
            raise Seen
        rows, labels = self.logits[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten()
        total = F.cross_entropy(rows, labels, ignore_index=IGNORE_INDEX, reduction="sum")
        loss = total / ((labels != IGNORE_INDEX).sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, types.SimpleNamespace(loss=loss, logits=self.logits)) if return_outputs else loss


@binds(
    "supervision.teacher_forced",
    loss=symbols.STAGE1_COORD_MIXIN / "compute_loss",
    mixin=symbols.STAGE1_COORD_MIXIN,
    scale=symbols.ACCUMULATION_SCALE.optional,
)
@remembered
def teacher_forced(request, here):
    """The mixin's own loss, composed as the entrypoint does: the one that scales accumulation is outermost."""
    world = harness.world(here)
    found = [encoded(world, things, request["order"]) for things in request["samples"]]
    ids, labels = (padded([one[n] for one in found], fill) for n, fill in ((0, ENDOFTEXT), (1, IGNORE_INDEX)))
    made = stage1_trainer(request, here, world)
    made.logits = drawn(ids) if request["backward"] else None
    # As upstream counts them: whatever has a label, over all micro-batches of the step.
    items = int((labels != IGNORE_INDEX).sum()) * request["steps"]
    batch = {"input_ids": ids, "labels": labels.clone()}
    try:
        loss = made.compute_loss(world.model, batch, num_items_in_batch=items)
    except Seen:
        loss = None
    except Exception as error:
        raise Refused(type(error).__name__, str(error)) from error
    judged = loss is not None and not watched()
    if judged:
        here.call(loss.backward)
    starts = [harness.answer_at(one[1]) for one in found]
    spans = [range(start, len(one[0])) for start, one in zip(starts, found, strict=True)]
    told = [
        {
            "ids": [one[0][p] for p in span],
            "labels": made.labels_seen[b].tolist()[span.start : span.stop],
            "share": [],
            "slots": [],
        }
        for b, (one, span) in enumerate(zip(found, spans, strict=True))
    ]
    if judged:
        measured(request["term"], told, spans, made.logits)
    return {"samples": told}


def encoded(world, things, order):
    """Ids and labels of one sample, as the template makes them of its conversation."""
    records = (record(o, order) for o in things)
    text = '{"objects": [' + ", ".join(records) + "]}"
    one = harness.sample(things)
    turns = [*one["messages"], {"role": "assistant", "content": text}]
    made = world.template.encode({**one, "messages": turns}, return_length=True)
    return harness.whole(made["input_ids"]), harness.whole(made["labels"])


def record(thing, order):
    desc = '"desc": "%s"' % thing["desc"]
    box = '"bbox_2d": [%s]' % ", ".join("<|coord_%d|>" % k for k in thing["bbox"])
    return "{%s}" % ", ".join((desc, box) if order == "desc_first" else (box, desc))


def padded(rows, fill):
    import torch

    length = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])


def drawn(ids):
    """Logits by a seed: far enough apart that each token's gradient is its own."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return (torch.randn((*ids.shape, VOCABULARY), generator=generator) * 2).requires_grad_()


def stage1_trainer(request, here, world):
    bases = [b for b in (here.scale, here.mixin) if b is not None]
    made = type("Stage1", (*bases, Base), {})()
    steps = request["steps"]
    made.args = types.SimpleNamespace(
        gradient_accumulation_steps=steps, average_tokens_across_devices=False, logging_steps=1, world_size=1
    )
    made.current_gradient_accumulation_steps = steps
    made.model, made.template, made.processing_class = world.model.train(), world.template, world.tokenizer
    made.state = types.SimpleNamespace(global_step=0)
    made.accelerator = types.SimpleNamespace(num_processes=1, device=world.model.device)
    made.model_accepts_loss_kwargs, made.compute_loss_func = True, None
    made.object_field_order = request["order"]
    made.coord_soft_ce_w1_cfg = types.SimpleNamespace(**SHAPE, **alone(request))
    return made


def measured(term, told, spans, logits):
    """Fill in the shares of the cross-entropy, or the slots of the term."""
    if term:
        slots = [(b, span, slot) for b, span in enumerate(spans) for slot in tokens_of(told[b]["ids"])]
        rows = [(b, span.start + slot["position"] - 1) for b, span, slot in slots]
        found = pulled(term, [slot for *_, slot in slots], logits, logits.grad, rows)
        for (b, *_), slot in zip(slots, found, strict=True):
            told[b]["slots"].append(slot)
        return
    for b, span in enumerate(spans):
        told[b]["share"] = shares(logits[b].detach(), logits.grad[b], span, told[b]["ids"])


def shares(logits, grads, span, ids):
    """By what each token's cross-entropy was multiplied: the gradient of a column that is not the label's is that
    factor times the column's probability."""
    import torch

    rows = torch.arange(span.start - 1, span.stop - 1)
    others = torch.softmax(logits[rows], -1)
    others[torch.arange(len(ids)), torch.tensor(ids)] = 0.0
    factors = (grads[rows] * others).sum(-1) / others.pow(2).sum(-1)
    return [short(v, 4) if math.isfinite(v) else 0.0 for v in factors.tolist()]
