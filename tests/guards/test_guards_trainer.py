"""A real `transformers` trainer under guard: it trains, and each of ten mistakes stops it before the next step."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.boundaries.packing.artifact import isolation
from coordexp_audit_lib.boundaries.provenance.artifact.run import audit_run
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.errors import AuditError, InvariantViolation
from coordexp_audit_lib.guards import rehearsal
from coordexp_audit_lib.guards.collator import GuardedCollator
from coordexp_audit_lib.kit.model import one_thread

pytestmark = pytest.mark.model

# Where each mistake shows: steps completed when the run stops, and what a reader needs to find it.
STOPS = {
    "unknown_key": (0, r"^rollout_matching\.decode_bach_size: .*Remedy: did you mean decode_batch_size"),
    "system_prompt": (0, r"^template: .*token 3\b.*expected .*found .*Remedy: "),
    "split_token": (0, r"^tokenizer: .*coordinate token 0 .*expected .*found .*Remedy: "),
    "shifted_labels": (1, r"^batch: .*\(token 27\): expected 198, found \d+\. Remedy: "),
    "running_positions": (1, r"^batch: .*\(token 58\).*expected 0, found 58\. Remedy: "),
    "foreign_prompt": (1, r"^prompt: .*token 3: expected .*found .*Remedy: "),
    "missing_metric": (2, r"^rollout/gen_tokens_per_s: .*step 2.*expected a number, found nothing\. Remedy: "),
    "averaged_seed": (2, r"^rollout/seed_base: .*found 1000020\.5\. Remedy: "),
    "optimizer_file": (2, r"^checkpoint-2/optimizer\.pt: .*Remedy: "),
    "corrupt_prefix": (1, r"^rollout prefix: .*at token 3: expected .*found .*Remedy: "),
}


@pytest.fixture(autouse=True)
def _loaders_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is collected, a loader that was left waits so long for its processes."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)


def run(folder: Path, broken: str = "", **arguments: Any) -> Any:
    trainer = rehearsal.trainer(folder, broken, **arguments)
    with one_thread():
        trainer.train()
    return trainer


def diary(folder: Path) -> Any:
    return json.loads((folder / "out" / "audit" / "audit.json").read_text())


def test_a_sound_run_trains_and_leaves_its_manifest_and_audit(tmp_path: Path) -> None:
    trainer = run(tmp_path, save_strategy="steps", save_steps=10)
    assert trainer.state.global_step == 20
    written = diary(tmp_path)
    assert (written["status"], written["steps"]) == ("completed", 20)
    # Every batch was judged by every claim that a batch can decide; the loader collates one ahead.
    batches = {k: n for k, n in written["judged"].items() if k.startswith("packing.")}
    calls = batches.pop("packing.segments_isolated", 0)  # each kind of call once, under a release that is known
    assert (calls > 0) == (isolation.recorded(isolation.installed()) is not None)
    assert len(batches) == 6 and set(batches.values()) == {written["collated here"]}
    assert written["collated here"] >= 20
    judged = {k: written["judged"][k] for k in ("config", "tokenizer", "template", "checkpoint", "logged rows")}
    assert judged == {"config": 1, "tokenizer": 1, "template": 1, "checkpoint": 2, "logged rows": 21}
    assert written["log"] == {claim: [] for claim in written["log"]} and len(written["log"]) == 11
    manifest = audit_run(tmp_path / "out" / "audit")
    own = ("provenance.files_present", "provenance.config_is_the_config", "provenance.no_secrets")
    assert {f.invariant: f.status for f in manifest if f.invariant in own} == dict.fromkeys(own, "held")
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 20 and losses[-1] < losses[0]


def test_every_break_has_a_row_here() -> None:
    assert set(STOPS) == {b.name for b in rehearsal.BREAKS} and len(STOPS) == 10


@pytest.mark.parametrize("broken", rehearsal.BREAKS, ids=lambda b: b.name)
def test_a_mistake_stops_the_run_before_the_next_step(tmp_path: Path, broken: rehearsal.Break) -> None:
    trainer = rehearsal.trainer(tmp_path, broken.name, save_strategy="steps", save_steps=2)
    before = [p.detach().clone() for p in trainer.model.parameters()] if STOPS[broken.name][0] == 0 else []
    with pytest.raises(InvariantViolation) as caught, one_thread():
        trainer.train()
    steps, message = STOPS[broken.name]
    assert caught.value.invariant == broken.caught_by
    assert f"[{broken.caught_by}]" in str(caught.value)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    page = (Path(__file__).parents[2] / "book" / "guard_your_own_run.md").read_text(encoding="utf-8")
    shown = rehearsal.as_page(broken, str(caught.value))
    assert shown in page, "paste the output of `python -m coordexp_audit_lib.guards.rehearsal` into the page"
    assert trainer.state.global_step == steps
    assert all((a == b).all() for a, b in zip(before, trainer.model.parameters(), strict=False))
    known = {i.id for i in claims(broken.caught_by.partition(".")[0])}
    assert broken.caught_by in known
    if broken.name not in ("foreign_prompt", "corrupt_prefix"):  # those the program's own guard calls raise
        written = diary(tmp_path)
        assert written["status"] == "stopped"
        assert written["violation"]["invariant"] == broken.caught_by
        assert not trainer.audit.inbox.folder.exists()


def test_a_mistake_in_a_loader_process_stops_the_run_as_well(tmp_path: Path) -> None:
    trainer = rehearsal.trainer(tmp_path, "shifted_labels", dataloader_num_workers=1)
    with pytest.raises(InvariantViolation, match=r"no_cross_boundary_label.*token 27.*Remedy"), one_thread():
        trainer.train()
    assert trainer.state.global_step < 5
    assert not trainer.audit.inbox.folder.exists()


def test_a_batch_that_is_no_pack_is_told(tmp_path: Path) -> None:
    trainer = rehearsal.trainer(tmp_path)
    inner = trainer.data_collator.collator

    def two_rows(packs: list[list[int]]) -> dict[str, Any]:
        batch = inner(packs)
        return {"input_ids": batch["input_ids"].repeat(2, 1), "labels": batch["labels"].repeat(2, 1)}

    trainer.data_collator.collator = two_rows
    with pytest.raises(InvariantViolation, match="neither image_grid_thw nor pixel_values"), one_thread():
        trainer.train()
    assert len(GuardedCollator(two_rows, packed=False)([[0, 1]])["labels"]) == 2  # evaluation is not packed


def test_a_guard_that_crashes_stops_the_run_and_says_so(tmp_path: Path) -> None:
    trainer = rehearsal.trainer(tmp_path)
    trainer.audit.tokenizer = object()
    with pytest.raises(AuditError, match="the guard failed: AttributeError"):
        trainer.train()
    assert diary(tmp_path)["status"] == "stopped"


def test_the_manifest_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    trainer = rehearsal.trainer(tmp_path)
    trainer.audit.manifest["datasets"] = {"train": tmp_path / "not there.jsonl"}
    with pytest.raises(AuditError, match=r"not there\.jsonl: cannot be read"):
        trainer.train()
