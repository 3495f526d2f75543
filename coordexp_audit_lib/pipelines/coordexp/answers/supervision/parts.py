"""The trainer's parts, each by itself: schedule, seeds, matching, decoding, box loss, closures, prefixes, roles."""

import hashlib

from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness import wording
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import short


@binds("supervision.schedule", rule=symbols.CHANNEL_FOR_STEP, trainer=symbols.STAGE2_TRAINER)
def schedule(request, here):
    """Which steps are Channel-B ones, by the trainer's own rule; a new trainer for every stretch, as after a resume."""
    harness.by_share(here.trainer)
    letters = []
    for start, stop in zip(request["resumes"], request["resumes"][1:], strict=False):
        made = harness.make_trainer(here.trainer, None, step=start, stage2={"schedule": {"b_ratio": request["b"]}})
        decide = made._stage2_channel_for_step
        letters.append(here.call(lambda: "".join([decide(s) for s in range(start, stop)])))  # noqa: B023
    line = "".join(letters)
    size = request["block"]
    blocks = [hashlib.sha256(line[i : i + size].encode()).hexdigest()[:8] for i in range(0, len(line), size)]
    positions = [request["resumes"][0] + i for i, c in enumerate(line) if c == "B"] if request["detail"] else []
    return {"blocks": blocks, "b_steps": line.count("B"), "positions": positions}


@binds("supervision.rollout_seed", rule=symbols.ROLLOUT_SEED_BASE, trainer=symbols.STAGE2_TRAINER)
def rollout_seed(request, here):
    made = harness.make_trainer(here.trainer, None, step=request["step"], seed=request["seed"])
    return {"base": int(here.call(made._derive_rollout_seed_base, global_step=request["step"]))}


@binds("supervision.match", match=symbols.MATCH, gt=symbols.GT_OBJECT)
def match(request, here):
    def objects(boxes):
        kept = {"geom_type": "bbox_2d", "desc": "x"}
        return [here.gt(**here.fitting(here.gt, index=i, points_norm1000=list(b), **kept)) for i, b in enumerate(boxes)]

    sides = {"preds": objects(request["preds"]), "gts": objects(request["gts"]), "fp_cost": 1.0, "fn_cost": 1.0}
    limits = {"top_k": request["top_k"], "gate_threshold": request["gate"], "mask_resolution": request["resolution"]}
    found = here.call(here.match, **sides, **limits)
    return {
        "pairs": [[int(p), int(g)] for p, g in found.matched_pairs],
        "fn": [int(i) for i in found.fn_gt_indices],
        "fp": [int(i) for i in found.fp_pred_indices],
    }


@binds("supervision.expectation_decode", decode=symbols.EXPECTATION_DECODE)
def expectation_decode(request, here):
    import torch

    logits = torch.full((len(request["slots"]), 1000), float(request["floor"]))
    for row, peaks in enumerate(request["slots"]):
        for k, value in peaks:
            logits[row, int(k)] = float(value)
    out = here.ask(here.decode, coord_logits=logits, temperature=request["temperature"], mode="exp")
    return {"coords": [short(v) for v in out.reshape(-1).tolist()]}


@binds("supervision.bbox_loss", loss=symbols.BBOX_LOSS)
def bbox_loss(request, here):
    import torch

    answers: dict[str, list[object]] = {"smoothl1": [], "ciou": [], "smoothl1_grad": [], "ciou_grad": []}
    for pred, gt in zip(request["preds"], request["gts"], strict=False):
        box = torch.tensor([pred], dtype=torch.float32, requires_grad=True)
        terms = here.call(here.loss, pred_xyxy=box, gt_xyxy=torch.tensor([gt], dtype=torch.float32))
        for name, term in zip(("smoothl1", "ciou"), terms, strict=False):
            (grad,) = torch.autograd.grad(term, box, retain_graph=True, allow_unused=True)
            answers[name].append(short(term))
            answers[name + "_grad"].append([0.0] * 4 if grad is None else [short(g) for g in grad[0]])
    return answers


@binds("supervision.closure_positions", closure=symbols.TAIL_CLOSURE)
def closure_positions(request, here):
    asked = {"assistant_span_ids": request["ids"], "prefix_len": request["prefix_len"]}
    found = here.call(here.closure, tokenizer=harness.world(here).tokenizer, **asked)
    return {"positions": [int(p) for p in found]}


@binds("supervision.prefix", parse=symbols.PARSE_ROLLOUT)
def prefix(request, here):
    """The project's own parse of rollouts, one after the other."""
    wording.newer_only("rollouts")
    tokenizer = harness.world(here).tokenizer
    out = []
    for ids in request["rollouts"]:
        told = {"response_token_ids": list(ids), "object_field_order": request["order"]}
        found = here.ask(here.parse, tokenizer=tokenizer, **told)
        reasons = getattr(found, "dropped_invalid_by_reason", None) or {}
        counts = {"valid": len(found.valid_objects), "dropped": int(found.dropped_invalid)}
        flags = {"invalid": bool(getattr(found, "invalid_rollout", False)), "truncated": bool(found.truncated)}
        prefix, named = [int(t) for t in found.prefix_token_ids], {str(k): int(v) for k, v in reasons.items()}
        out.append({"prefix": prefix, **counts, **flags, "reasons": named})
    return {"parses": out}


@binds("supervision.token_roles", desc=symbols.DESC_POSITIONS, coords=symbols.COORD_IDS)
def token_roles(request, here):
    tokenizer = harness.world(here).tokenizer
    coords = set(here.call(here.coords, tokenizer))
    out = []
    for ids in request["texts"]:
        found = here.call(here.desc, tokenizer=tokenizer, token_ids=ids)
        out.append({"desc": sorted(int(p) for p in found), "coordinate": [i for i, t in enumerate(ids) if t in coords]})
    return {"texts": out}
