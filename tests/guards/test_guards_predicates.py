"""No predicate exists twice: guards define none, and what a guard judges with is what the audit judges with."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries, guards
from coordexp_audit_lib.boundaries.config.predicates import rules
from coordexp_audit_lib.boundaries.geometry.predicates import records
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.boundaries.packing.predicates import batch as packing
from coordexp_audit_lib.boundaries.packing.predicates import positions, vision
from coordexp_audit_lib.boundaries.provenance.predicates import checkpoints
from coordexp_audit_lib.boundaries.rollout.reference import client
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.template import predicates as template
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.judge import judge as judged
from coordexp_audit_lib.guards import rehearsal
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.targets.reference import ReferenceTarget

CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
ADAPTERS = ("__init__", "stopping", "batches", "inputs", "pins", "rollouts", "outputs")


def sabotaged(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("this predicate was replaced")


def batch() -> None:
    guards.check_packed_batch(rehearsal.collate([[0, 1]]), 4096)


def tokens() -> None:
    guards.check_tokenizer(tokenizer.qwen(), guards.pins_of(tokenizer.qwen())["tokenizer"], 152_704)


def logged(claim: str) -> Callable[[], None]:
    def row() -> None:
        guards.check_metrics({"loss": 1.0, "rollout/seed_base": 7.0}, stage2=True, claims=[claim])

    return row


def prompt() -> None:
    guards.check_template(rehearsal.prompt(), rehearsal.pins()["prompt"])


def config() -> None:
    guards.check_config(guards.load_config(rehearsal.TREE / CONFIG, rehearsal.TREE).merged, world_size=1)


def record() -> None:
    guards.check_record({"images": ["a.png"], "width": 4, "height": 4, "objects": []})


def checkpoint() -> None:
    guards.check_checkpoint(Path(__file__).parent, save_only_model=True)


def channel_b() -> None:
    rehearsal.channel_b()


boundaries.load(["metrics"])
LOGGED = {c.id: c.predicates[Log] for c in claims("metrics") if Log in c.predicates}
# predicate, guard that uses it, invariant of the audit that uses it
TABLE: list[tuple[Any, Callable[[], None], str]] = [
    (rules.check_config, config, "config.unknown_key_rejected"),
    (rules.check_batch, config, "config.batch_divisible"),
    (rules.check_attention, config, "config.packing_backend"),
    (template.coordinate_problems, tokens, "template.coord_tokens_atomic"),
    (template.vocabulary_problems, tokens, "template.vocab_fits"),
    (template.rows_problems, tokens, "template.vocab_fits"),
    (template.pinned_problems, prompt, "template.render_pinned"),
    (template.prefix_problems, channel_b, "template.prompt_is_prefix"),
    (records.record_contract, record, "geometry.record_contract"),
    (packing.fields_aligned, batch, "packing.fields_aligned"),
    (packing.cu_seqlens, batch, "packing.cu_seqlens"),
    (positions.positions_restart, batch, "packing.positions_restart"),
    (packing.no_cross_boundary_label, batch, "packing.no_cross_boundary_label"),
    (vision.vision_in_order, batch, "packing.vision_in_order"),
    (client.read_outputs, channel_b, "rollout.server_truth"),
    (client.parse_item, channel_b, "rollout.response_schema"),
    (targets.kept, channel_b, "supervision.prefix_kept"),
    (targets.coordinates_out, channel_b, "supervision.coord_out_of_ce"),
    (targets.closed, channel_b, "supervision.closure"),
    (targets.complete, channel_b, "supervision.fn_injected"),
    (targets.parses, channel_b, "supervision.fn_injected"),
    (targets.appended, channel_b, "supervision.fn_injected"),
    (targets.neutral, channel_b, "supervision.fp_neutral"),
    (targets.matched, channel_b, "supervision.matched_struct_only"),
    (checkpoints.weights_only, checkpoint, "provenance.weights_only"),
    *((p, logged(claim), claim) for claim, p in LOGGED.items()),
]
NAMES = [f"{p.__module__.split('.')[1]}.{p.__name__}" for p, *_ in TABLE]


@pytest.fixture
def replaced(request: pytest.FixtureRequest) -> Iterator[None]:
    """The predicate's own code is exchanged, so that whoever holds the function is met, by whatever name."""
    predicate = inspect.unwrap(request.param)
    code = predicate.__code__
    predicate.__code__ = sabotaged.__code__
    yield
    predicate.__code__ = code


@pytest.mark.parametrize(("replaced", "guard", "claim"), TABLE, indirect=["replaced"], ids=NAMES)
def test_a_predicate_that_is_replaced_is_missed_by_guard_and_audit(
    replaced: None, guard: Callable[[], None], claim: str
) -> None:
    with pytest.raises((RuntimeError, AuditError), match="this predicate was replaced"):
        guard()
    inv = next(c for c in claims(claim.partition(".")[0]) if c.id == claim)
    finding = judged(ReferenceTarget(), inv, CONFIG)
    assert (finding.status, "this predicate was replaced" in finding.note) == ("error", True), finding.note


@pytest.mark.parametrize("guard", [config, tokens, prompt, record, batch, channel_b])
def test_what_is_sound_passes_quietly(guard: Callable[[], None]) -> None:
    guard()


def test_guards_compare_nothing_themselves() -> None:
    """An adapter asks `is None` or `in`; a comparison of values would be a rule of its own."""
    folder = Path(guards.__file__).parent
    found = []
    for name in ADAPTERS:
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and not all(
                isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops
            ):
                found.append(f"{name}.py: {ast.unparse(node)}")
    # Cutting a text and sorting boxes by the seam is shaping, not judging.
    assert sorted(found) == sorted(SHAPING)


SHAPING = [
    "stopping.py: len(text) <= LONGEST",
    "pins.py: y != IGNORE_INDEX",
    "rollouts.py: max(g.pos) < prefix_len",
    "rollouts.py: max(g.pos) >= prefix_len",
    "rollouts.py: y != IGNORED",
]
