"""How a CoordExp tree answers the surfaces of boundary 07, supervision."""

import json

from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers import supervision_probe as probe
from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness
from coordexp_audit_lib.pipelines.coordexp.answers.trainer_harness import short

TRAINER = (
    "src.trainers.stage2_ab_training:Stage2ABTrainingTrainer",
    "src.trainers.stage2_two_channel:Stage2ABTrainingTrainer",
)
# Named for the place that a finding points at; what is called is the trainer's own bound method.
CHANNEL_FOR_STEP = tuple(name + "._stage2_channel_for_step" for name in TRAINER)
SEED_BASE = tuple(name + "._derive_rollout_seed_base" for name in TRAINER)
PREPARE_A = tuple(name + "._prepare_batch_inputs_a" for name in TRAINER)
PREPARE_B = tuple(name + "._prepare_batch_inputs_b" for name in TRAINER)
COMPUTE_LOSS = tuple(name + ".compute_loss" for name in TRAINER)
_KEPT: "dict[str, object]" = {}
_ACCEPTED: "dict[str, str]" = {}


def kept(answer):
    """Remember what was answered: several checks ask the same, and a forward and backward pass is dear."""

    def ask(request, here):
        key = answer.__name__ + json.dumps(request, sort_keys=True)
        if key not in _KEPT:
            _KEPT[key] = answer(request, here)
        return _KEPT[key]

    ask.__name__, ask.__qualname__, ask.__module__ = answer.__name__, answer.__qualname__, answer.__module__
    return ask


def accepted(channel, here):
    """Say `unbound` where this tree's trainer refuses the plainest sample under the settings that the harness knows.

    Later trees want their objective spelled out in settings that this harness does not write; that is no answer about
    rollouts, and must not read like one. The trainer of the reference commit takes them: what it refuses is its answer.
    """
    if here.trainer.__module__ == TRAINER[0].partition(":")[0]:
        return
    if channel not in _ACCEPTED:
        try:
            probe.plainest(channel, here, harness.world(here))
            _ACCEPTED[channel] = ""
        except Refused as refused:
            _ACCEPTED[channel] = "%s: %s" % (refused.type_name, refused)
    if _ACCEPTED[channel]:
        raise Unbound("the trainer refuses the settings that the harness gives it: " + _ACCEPTED[channel][:200])


@binds("supervision.schedule", rule=CHANNEL_FOR_STEP, trainer=TRAINER)
def schedule(request, here):
    """Which steps are Channel-B ones, by the trainer's own rule; a new trainer for every stretch, as after a resume."""
    import hashlib

    letters = []
    for start, stop in zip(request["resumes"], request["resumes"][1:], strict=False):
        made = harness.make_trainer(here.trainer, None, step=start, stage2={"schedule": {"b_ratio": request["b"]}})
        decide = made._stage2_channel_for_step
        letters.append(here.call(lambda: "".join([decide(s) for s in range(start, stop)])))  # noqa: B023
    line = "".join(letters)
    size = request["block"]
    blocks = [line[i : i + size] for i in range(0, len(line), size)]
    positions = [request["resumes"][0] + i for i, c in enumerate(line) if c == "B"] if request["detail"] else []
    return {
        "blocks": [hashlib.sha256(b.encode()).hexdigest()[:8] for b in blocks],
        "b_steps": line.count("B"),
        "positions": positions,
    }


@binds("supervision.rollout_seed", rule=SEED_BASE, trainer=TRAINER)
def rollout_seed(request, here):
    made = harness.make_trainer(here.trainer, None, step=request["step"], seed=request["seed"])
    return {"base": int(here.call(made._derive_rollout_seed_base, global_step=request["step"]))}


@binds("supervision.request_seeds", prepare=PREPARE_B, trainer=TRAINER)
def request_seeds(request, here):
    """One Channel-B step against a session object that stands for the server; nothing is sent anywhere."""
    accepted("b", here)
    return probe.request_seeds(request, here, harness.world(here))


@binds(
    "supervision.match",
    match=(
        "src.trainers.rollout_matching.matching:hungarian_match_maskiou",
        "src.trainers.rollout_matching_sft:hungarian_match_maskiou",
    ),
    gt=("src.trainers.rollout_matching.contracts:GTObject", "src.trainers.rollout_matching_sft:GTObject"),
)
def match(request, here):
    def objects(boxes):
        return [
            here.gt(**here.fitting(here.gt, index=i, geom_type="bbox_2d", points_norm1000=list(b), desc="x"))
            for i, b in enumerate(boxes)
        ]

    found = here.call(
        here.match,
        preds=objects(request["preds"]),
        gts=objects(request["gts"]),
        top_k=request["top_k"],
        gate_threshold=request["gate"],
        mask_resolution=request["resolution"],
        fp_cost=1.0,
        fn_cost=1.0,
    )
    return {
        "pairs": [[int(p), int(g)] for p, g in found.matched_pairs],
        "fn": [int(i) for i in found.fn_gt_indices],
        "fp": [int(i) for i in found.fp_pred_indices],
    }


@binds(
    "supervision.expectation_decode",
    decode=(
        "src.trainers.stage2_ab_training:_expectation_decode_coords",
        "src.trainers.stage2_two_channel:_expectation_decode_coords",
        "src.trainers.teacher_forcing.geometry:expectation_decode_coords",
    ),
)
def expectation_decode(request, here):
    import torch

    logits = torch.full((len(request["slots"]), 1000), float(request["floor"]))
    for row, peaks in enumerate(request["slots"]):
        for k, value in peaks:
            logits[row, int(k)] = float(value)
    kwargs = {"coord_logits": logits, "temperature": request["temperature"], "mode": "exp"}
    out = here.call(here.decode, **here.fitting(here.decode, **kwargs))
    return {"coords": [short(v) for v in out.reshape(-1).tolist()]}


@binds(
    "supervision.bbox_loss",
    loss=(
        "src.trainers.stage2_ab_training:_bbox_smoothl1_ciou_loss",
        "src.trainers.stage2_two_channel:_bbox_smoothl1_ciou_loss",
        "src.trainers.teacher_forcing.geometry:bbox_smoothl1_ciou_loss",
    ),
)
def bbox_loss(request, here):
    import torch

    answers: "dict[str, list[object]]" = {"smoothl1": [], "ciou": [], "smoothl1_grad": [], "ciou_grad": []}
    for pred, gt in zip(request["preds"], request["gts"], strict=False):
        box = torch.tensor([pred], dtype=torch.float32, requires_grad=True)
        terms = here.call(here.loss, pred_xyxy=box, gt_xyxy=torch.tensor([gt], dtype=torch.float32))
        for name, term in zip(("smoothl1", "ciou"), terms, strict=False):
            (grad,) = torch.autograd.grad(term, box, retain_graph=True, allow_unused=True)
            answers[name].append(short(term))
            answers[name + "_grad"].append([0.0] * 4 if grad is None else [short(g) for g in grad[0]])
    return answers


@binds(
    "supervision.closure_positions",
    closure=(
        "src.trainers.stage2_ab_training:_stage2_ab_tail_closure_positions",
        "src.trainers.stage2_two_channel:_stage2_ab_tail_closure_positions",
        "src.trainers.teacher_forcing.rollout_meta:tail_closure_positions",
    ),
)
def closure_positions(request, here):
    tokenizer = harness.world(here).tokenizer
    found = here.call(
        here.closure, tokenizer=tokenizer, assistant_span_ids=request["ids"], prefix_len=request["prefix_len"]
    )
    return {"positions": [int(p) for p in found]}


@binds(
    "supervision.prefix",
    parse=(
        "src.trainers.rollout_matching.parsing:parse_rollout_for_matching",
        "src.trainers.rollout_matching_sft:parse_rollout_for_matching",
    ),
)
def prefix(request, here):
    """The project's own parse of rollouts, one after the other."""
    tokenizer = harness.world(here).tokenizer
    out = []
    for ids in request["rollouts"]:
        kwargs = {"tokenizer": tokenizer, "response_token_ids": list(ids), "object_field_order": request["order"]}
        found = here.call(here.parse, **here.fitting(here.parse, **kwargs))
        reasons = getattr(found, "dropped_invalid_by_reason", None) or {}
        out.append(
            {
                "prefix": [int(t) for t in found.prefix_token_ids],
                "invalid": bool(getattr(found, "invalid_rollout", False)),
                "valid": len(found.valid_objects),
                "dropped": int(found.dropped_invalid),
                "truncated": bool(found.truncated),
                "reasons": {str(k): int(v) for k, v in reasons.items()},
            }
        )
    return {"parses": out}


@binds(
    "supervision.token_roles",
    desc=(
        "src.trainers.rollout_matching.parsing:find_desc_value_token_positions",
        "src.trainers.rollout_matching_sft:find_desc_value_token_positions",
        "src.trainers.rollout_matching_sft:_find_desc_value_token_positions",
    ),
    coords=("src.coord_tokens.codec:get_coord_token_ids",),
)
def token_roles(request, here):
    tokenizer = harness.world(here).tokenizer
    coords = set(here.call(here.coords, tokenizer))
    out = []
    for ids in request["texts"]:
        found = here.call(here.desc, tokenizer=tokenizer, token_ids=ids)
        out.append({"desc": sorted(int(p) for p in found), "coordinate": [i for i, t in enumerate(ids) if t in coords]})
    return {"texts": out}


@binds("supervision.channel_b", prepare=PREPARE_B, loss=COMPUTE_LOSS, trainer=TRAINER)
@kept
def channel_b(request, here):
    """The project's own Channel-B preparation and loss on given rollouts; only `_rollout_many` is replaced."""
    accepted("b", here)
    return probe.channel_b(request, here, harness.world(here))


@binds("supervision.channel_a", loss=COMPUTE_LOSS, prepare=PREPARE_A, trainer=TRAINER)
@kept
def channel_a(request, here):
    """The project's own Channel-A preparation, soft self-context loop and loss."""
    accepted("a", here)
    return probe.channel_a(request, here, harness.world(here))
