"""Nothing that was not judged is held, of what runs leave behind: every claim that an artifact can decide, on less."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.config.predicates.chains import Followed
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import FORMS, Talk
from coordexp_audit_lib.boundaries.geometry.predicates.pictured import Pictured
from coordexp_audit_lib.boundaries.geometry.predicates.records import Record
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.boundaries.packing import artifact, cases, surfaces
from coordexp_audit_lib.boundaries.packing.predicates import encoding, epochs
from coordexp_audit_lib.boundaries.packing.predicates.accumulation import Logged
from coordexp_audit_lib.boundaries.provenance.artifact.reading import Saved
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import Exchanged
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Kept
from coordexp_audit_lib.boundaries.template.artifact import BatchSamples
from coordexp_audit_lib.boundaries.template.predicates import Continued, Rendered, Tokens
from coordexp_audit_lib.boundaries.upstream.predicates import environment
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release
from coordexp_audit_lib.core.claim import claims_on, declared
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_artifact
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.kit.profile import QWEN3_VL
from coordexp_audit_lib.kit.prompt_trace import trace
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load()
BOX = {"desc": "cup", "bbox_2d": [10, 20, 300, 400]}
RECORD = {"images": ["a.jpg"], "width": 640, "height": 480, "objects": [BOX, {**BOX, "desc": "jug"}]}
TALK = {"messages": [{"role": "user", "content": "hello"}]}
SWIFT = {
    "messages": [{"role": "user", "content": "<image>Find <ref-object>."}, {"role": "assistant", "content": "<bbox>"}],
    "images": ["a.jpg"],
    "objects": {"ref": ["cup"], "bbox": [[1, 2, 30, 31]]},
    "width": 640,
    "height": 480,
}
FREE = {"packing.capacity", "metrics.finite", "metrics.step_once"}
STEP = {"loss": 1.0, "stage2/channel_b": 1.0, "stage2_ab/b_ratio_realized": 1.0, "time/step_s": 2.0}


def verdicts(subject: Any) -> dict[str, Finding]:
    return {c.id: judge_artifact(Artifact(subject), c) for c in claims_on(type(subject))}


def held(subject: Any) -> list[str]:
    return [id for id, finding in verdicts(subject).items() if finding.status == "held"]


def packed() -> dict[str, Any]:
    """The tensors of a sound pack of two samples, one with a picture."""
    target = ReferenceTarget()
    asked = surfaces.BatchRequest(cases.samples()[:2], 400)
    return dict(packing_row(target, asked).tensors)


def packing_row(target: ReferenceTarget, asked: Any) -> artifact.PackedRow:
    (made,) = target.ask(surfaces.BATCH, asked).value.batches
    tensors = {n: np.array(v, dtype=made.dtypes[n]) for n, v in made.ints.items() if n in made.dtypes}
    return artifact.PackedRow({**tensors, "pixel_values": np.zeros((len(made.pixel_rows or []), 1536))})


def empty(tmp_path: Path) -> Iterator[Any]:
    yield artifact.PackedRow({})
    yield BatchSamples([], [], QWEN3_VL)
    yield Record({})
    yield Record({**RECORD, "objects": []}, ordering="sorted")
    yield Record(None)
    for form in FORMS[1:]:
        yield from (Talk(None, form), Talk({}, form), Talk(TALK, form))
    yield Pictured(())
    yield Log("empty.jsonl", [], vocabulary())
    yield Log("other.jsonl", [Row("train", 1, 1, {})], vocabulary())
    yield RunFolder(tmp_path)
    yield Release("ms-swift", "3.10.3", (), [])
    yield Saved(tmp_path.parent, tmp_path.name, save_only_model=True)
    contract = pipeline().contract()
    yield Resolved({}, contract, 1)
    yield Followed(lambda name: None, "none.yaml", contract)
    yield Followed(lambda name: "{}", "none.yaml", contract)
    yield Tokens([], [], "", 0)
    yield Continued(trace([]), trace([]), 0, "none")
    yield Rendered(trace([]), trace([]), "none")
    yield Kept([], [])
    yield Logged(0.0, [])
    yield from (Exchanged([]), Exchanged([], 3))
    yield from (running.Trained(0, 0), running.Frozen(0), running.Modes(0, 0), running.Weights(0, 0))
    yield running.Repeated([], [], "", "", 0, 0)
    yield from (encoding.Alone("x", [], [], 0), encoding.Both("x", [], [], [], []))
    yield from (environment.Environment({}, "3.11"), environment.Taken({}, {}))
    yield running.Tied(declared=False, before=False, after=True, equal=True)
    yield from (
        epochs.Epoch(1, 4, np.zeros(4, np.int64), whole=True),
        epochs.Workers(),
        epochs.Workers({"a": {0: "x"}}),
    )


def test_every_kind_of_artifact_is_asked(tmp_path: Path) -> None:
    asked = {type(s) for s in empty(tmp_path)}
    known = {kind for c in declared() for kind in c.predicates}
    # Two runs; a segment in a trainer's hands; an answer in a client's; a folder of which something was not read; a
    # call of a model; two releases; what was found of two releases before.
    others = {"RunPair", "Supervised", "Replied", "Unread", "ModelCall", "Pair", "Judged"}
    assert {k.__name__ for k in known - asked} <= others


def test_what_holds_nothing_holds_no_claim(tmp_path: Path) -> None:
    for subject in empty(tmp_path):
        mine = [c for c in held(subject) if c not in ("geometry.record_contract", "config.extends_sound")]
        assert mine == [], subject
    # A record without objects is a whole record, and a config without parents a whole chain: the claim that is about it
    # may hold.
    assert held(Record({})) == held(Record(None)) == []
    assert [held(Talk(nothing, form)) for nothing in (None, {}) for form in FORMS[1:]] == [[]] * 6


@pytest.mark.parametrize(
    ("whole", "made"),
    [
        (packed, lambda fields: artifact.PackedRow(fields, packing_length=400)),
        (lambda: RECORD, lambda fields: Record(fields, ordering="sorted")),
        (lambda: SWIFT, lambda fields: Talk(fields, "ms-swift")),
        (lambda: STEP, lambda fields: Log("log.jsonl", [Row("train", 1, 1, fields, {}, "B")], vocabulary())),
    ],
    ids=["batch", "record", "grounding", "log"],
)
def test_a_claim_that_holds_needs_something_of_what_is_there(
    whole: Callable[[], dict[str, Any]], made: Callable[[dict[str, Any]], Any]
) -> None:
    """Each field is left out in turn; a claim that is held whatever is left out has judged nothing.

    But for three that many fields decide: any of the token fields tells a pack's length, each value may be finite, and
    a row stands once whatever it holds.
    """
    fields = whole()
    sound = set(held(made(fields)))
    assert sound, "no claim is decided by a whole one"
    without = {name: set(held(made({k: v for k, v in fields.items() if k != name}))) for name in fields}
    assert {c for c in sound if all(c in kept for kept in without.values())} <= FREE


def test_a_run_is_judged_by_what_it_left(tmp_path: Path) -> None:
    """Documents that say nothing decide nothing."""
    for name in ("resolved_config.json", "runtime_env.json", "run_metadata.json"):
        (tmp_path / name).write_text(json.dumps({}))
    assert [c for c in held(RunFolder(tmp_path)) if c != "provenance.no_secrets"] == []


def test_the_predicate_that_crashes_costs_its_own_claim_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = next(c for c in claims_on(artifact.PackedRow) if c.id == "packing.cu_seqlens")

    def crash(row: Any, ledger: Any) -> Iterator[Any]:
        raise ZeroDivisionError("oops")
        yield

    row = artifact.PackedRow(packed(), packing_length=400)
    before = verdicts(row)
    monkeypatch.setitem(broken.predicates, artifact.PackedRow, crash)
    after = verdicts(row)
    assert after[broken.id].status == "error"
    assert "ZeroDivisionError" in after[broken.id].note
    assert {k: v.status for k, v in after.items() if k != broken.id} == {
        k: v.status for k, v in before.items() if k != broken.id
    }
