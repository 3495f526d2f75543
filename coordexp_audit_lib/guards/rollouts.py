"""Guards for Channel-B: what the server answers, what is kept of a rollout, and what of the target is supervised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coordexp_audit_lib.boundaries.rollout.artifact import exchanged
from coordexp_audit_lib.boundaries.rollout.predicates import Replied
from coordexp_audit_lib.boundaries.rollout.reference.client import Item, read_outputs
from coordexp_audit_lib.boundaries.supervision.predicates.reading import read
from coordexp_audit_lib.boundaries.supervision.predicates.targets import IGNORED, Kept, Supervised
from coordexp_audit_lib.boundaries.supervision.surfaces import Group, Sample, SegmentB, Thing
from coordexp_audit_lib.boundaries.template.predicates import Continued
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.guards.stopping import check, claim_of, judged, stop_at
from coordexp_audit_lib.kit.coordjson import Order
from coordexp_audit_lib.kit.prompt_trace import trace

EXCHANGE = ("prompts_agree", "sampled_supervised", "only_sampled", "logprobs_aligned", "sampling_agrees")
Box = tuple[Sequence[int], Sequence[int]]
TARGET = ("supervision.coord_out_of_ce", "supervision.closure")
GROUND_TRUTH = ("supervision.fn_injected", "supervision.fp_neutral", "supervision.matched_struct_only")


def check_rollout_response(answer: Any, requests: int | Sequence[str], route: str = "/infer/") -> list[Item]:
    """An answer of the rollout server is a list of one item for each request, each with its token ids.

    Args:
        answer: the decoded JSON. requests: how many were sent, or the `uuid` of each, which the answer must echo.

    Returns:
        Prompt token ids, token ids and text of each item, in the order of the requests.

    Raises:
        InvariantViolation: the message begins with the path of the field that is wrong.
    """
    uuids = [""] * requests if isinstance(requests, int) else list(requests)
    check("rollout.response_schema", Replied(answer, uuids, route), route)
    return read_outputs(answer, uuids, route)


def check_rollout_prefix(
    supervised: Sequence[int],
    *,
    prompt: Sequence[int],
    answer_at: int | None = None,
    rollout: Sequence[int] | None = None,
    kept: int = 0,
) -> None:
    """What is supervised begins with the ids that were generated from, and goes on with the rollout's own tokens.

    Args:
        supervised: ids of the whole teacher-forced sequence. prompt: ids that the server generated from.
        answer_at: where the answer begins in `supervised`; by default behind the prompt.
        rollout: the ids that the server generated; None for an invalid rollout, of which nothing is kept.
        kept: how many tokens of the answer are the rollout's.

    Raises:
        InvariantViolation: the message names the first token that differs.
    """
    start = len(prompt) if answer_at is None else answer_at
    sides = trace(prompt), trace(supervised[: len(prompt)])
    check("template.prompt_is_prefix", Continued(*sides, start, "of this rollout"), "prompt")
    if rollout is not None:
        check("supervision.prefix_kept", Kept(supervised[start : start + kept], rollout), "rollout prefix")


def check_rollout_batch(exchange: Any, batch: Mapping[str, Any], temperature: float | None = None) -> list[str]:
    """A batch that was made of rollouts trains on what was sampled: the prompts and ids are the server's, nothing else
    is supervised, the mask fits the log-probabilities, temperature and cuts agree.

    Args:
        exchange: requests and responses as decoded JSON, one record or a list (`coordexp-audit rollout --help`).
        batch: tensors, arrays or lists by name: `prompt_ids` and `completion_ids` [rows, …] with `completion_mask`, or
            `input_ids` [rows, L] with `labels` or `completion_mask`; log-probabilities as TRL, ms-swift and verl name
            them. temperature: of the trainer.

    Returns:
        The claims that exchange and batch decide, if only in part.

    Raises:
        InvariantViolation: the message names the row and its first token that is wrong. UsageError: neither answers
        with token ids, nor rows.
    """
    made = exchanged(exchange, {n: _plain(v) for n, v in batch.items()}, temperature)
    if not made.answers:
        raise UsageError("holds no answer with token ids", where="exchange", remedy="ask the server for token ids")
    decided = []
    for name in EXCHANGE:
        verdict = judged(claim_of(f"rollout.{name}"), made)
        stop_at(verdict)
        decided += [verdict.finding.invariant] if verdict.finding.checked else []
    return decided


def _plain(value: Any) -> Any:
    """A tensor of whatever device as an array."""
    if not hasattr(value, "detach"):
        return value
    made = value.detach().cpu()
    return (made.float() if made.is_floating_point() else made).numpy()


def check_supervision(
    ids: Sequence[int],
    labels: Sequence[int],
    weights: Sequence[float] | None = None,
    *,
    gt: Sequence[tuple[str, Sequence[int]]] | None = None,
    boxes: Sequence[Box] = (),
    prefix_len: int = 0,
    order: Order = "desc_first",
    desc_weight: float = 1.0,
) -> None:
    """A Channel-B target supervises what it must: no coordinate by cross-entropy, no false positive, each ground truth.

    Args:
        ids: the assistant's tokens [n], what the template appends included. labels: of the cross-entropy [n], not
            shifted.
        weights: of each label (1 by default; one of 0 supervises nothing).
        gt: ground truth as (desc, four bins); without it only coordinates and the closure are judged.
        boxes: what geometry supervises, as (four token positions, four bins): matched ones, then appended ones.
        prefix_len: how many tokens are the rollout's. desc_weight: of an appended object's desc.

    Raises:
        InvariantViolation: the message names the token.
    """
    target = [Thing(desc, list(bins)) for desc, bins in gt or ()]
    segment = _segment(ids, labels, weights, boxes=boxes, prefix_len=prefix_len)
    one = Supervised(segment, read(segment, Sample(target), order), target, order, desc_weight=desc_weight)
    for claim in (*TARGET, *(GROUND_TRUTH if gt is not None else ())):
        check(claim, one, "target")


def _segment(
    ids: Sequence[int], labels: Sequence[int], weights: Sequence[float] | None, *, boxes: Sequence[Box], prefix_len: int
) -> SegmentB:
    """The target as the predicates read it: a weight stands for its gradient, a bin for where it points."""
    share = [float(w) for w in weights] if weights is not None else [1.0] * len(ids)
    aims = {p: k for places, bins in boxes for p, k in zip(places, bins, strict=True)}
    groups = [Group(list(places), list(bins)) for places, bins in boxes]
    return SegmentB(
        prompt_len=0,
        prefix_len=prefix_len,
        ids=list(ids),
        invalid=False,
        valid=0,
        matched=0,
        fn=0,
        dropped=0,
        truncated=False,
        prefix_groups=[g for g in groups if max(g.pos) < prefix_len],
        fn_groups=[g for g in groups if max(g.pos) >= prefix_len],
        struct_pos=[],
        closure_pos=[],
        desc_pos=[],
        seed_base=None,
        labels=list(labels),
        share=share,
        text_grad=[w if y != IGNORED else 0.0 for w, y in zip(share, labels, strict=True)],
        coord_grad=[float(p in aims) for p in range(len(ids))],
        raised=list(labels),
        targets=[aims.get(p, -1) for p in range(len(ids))],
    )
