"""What a checkout says of itself, and how its answers come to us."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.cli.opening import named_in
from coordexp_audit_lib.core.errors import SurfaceFailed, SurfaceUnbound, UsageError
from coordexp_audit_lib.core.evidence import canonical_json
from coordexp_audit_lib.sandbox.limits import environment
from coordexp_audit_lib.targets.checkout import CheckoutTarget
from tests.conftest import STAGE1, STAGE2

Ask = Callable[[str, str], Any]


@pytest.fixture
def ask(target: CheckoutTarget, questions: Any, pids: Path) -> Ask:
    """Ask the surface of a name to do a deed; the answer."""
    return lambda name, deed: target.ask(questions[name], questions[name].request(deed=deed, pids=str(pids)))


def test_bindings_say_what_the_tree_has(target: CheckoutTarget) -> None:
    rows = target.bindings()
    table = {n.removeprefix("hostile."): (b.status, b.path, b.symbol) for n, b in rows.items() if n[:8] == "hostile."}
    assert table == {
        "deed": ("bound", "src/deeds.py", "src.deeds:do"),
        "moved": ("moved", "src/deeds.py", "src.deeds:do"),
        "missing": ("missing", "", ""),
        "broken": ("bound", "src/broken.py", "src.broken:do"),
        "wrong": ("bound", "src/deeds.py", "src.deeds:do"),
        "shy": ("bound", "src/deeds.py", "src.deeds:do"),
        "unknown": ("unbound", "", ""),
    }
    assert rows["hostile.moved"].note == "src.old:do is now src.deeds:do"
    assert rows["hostile.missing"].note == "not in the tree: src.old:do, src.older:do"
    source = (target.tree.root / "src/deeds.py").read_text().splitlines()
    assert source[rows["hostile.deed"].line - 1].startswith("def do(")


def test_a_file_that_does_not_parse_costs_its_own_surfaces_only(target: CheckoutTarget, ask: Ask) -> None:
    (target.tree.root / "src/broken.py").write_text("def do(:\n")
    rows = target.bindings()
    assert rows["hostile.broken"].status == "missing" and "src/broken.py: does not parse" in rows["hostile.broken"].note
    assert rows["hostile.deed"].status == "bound" and ask("deed", "honest").value.said == "done"


@pytest.mark.parametrize(
    "text",
    ["x = " + "(" * 5000 + ")" * 5000, "x = " + "-" * 100_000 + "1", "x = " + "+".join("1" * 5000), "\0", "é" * 9],
)
def test_source_that_is_hard_to_read_crashes_nothing(text: str, target: CheckoutTarget) -> None:
    (target.tree.root / "src/broken.py").write_text(f"{text}\ndef do(): ...\n", encoding="latin-1")
    assert target.bindings()["hostile.broken"].status in ("missing", "bound")
    assert target.bindings()["hostile.deed"].status == "bound"


def test_a_link_that_leads_nowhere_crashes_nothing(target: CheckoutTarget) -> None:
    (target.tree.root / "src/broken.py").unlink()
    (target.tree.root / "src/broken.py").symlink_to("broken.py")
    assert target.bindings()["hostile.broken"].status == "missing"
    (target.tree.root / "src/old.py").symlink_to("/etc/passwd")
    assert target.bindings()["hostile.missing"].status == "missing"


def test_what_is_audited_in_place_of_a_config_that_the_tree_lacks_is_told(
    target: CheckoutTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    later = "configs/stage2_two_channel/prod/ab_mixed.yaml"
    (target.tree.root / later).parent.mkdir(parents=True)
    (target.tree.root / later).write_text("custom: {}\n")
    assert named_in(target, [STAGE2, later]) == [later]
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"{STAGE2} is not in this tree, and {later} is audited in its place" in told
    assert named_in(target, [STAGE1, STAGE2], quiet=True) == [STAGE1, later]
    assert capsys.readouterr().err == ""


def test_a_moved_surface_with_an_optional_symbol_answers(ask: Ask) -> None:
    assert ask("moved", "honest").value.said == "done"


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("missing", SurfaceUnbound, "not in the tree: src.old:do, src.older:do"),
        ("unknown", SurfaceUnbound, "no binding is known"),
        ("shy", SurfaceUnbound, "this tree does it in another way"),
        ("broken", SurfaceFailed, "cannot import src.broken:do: ModuleNotFoundError: No module named"),
        ("wrong", SurfaceFailed, "KeyError: 'no such key'"),
    ],
)
def test_what_cannot_be_answered(name: str, error: type[Exception], reason: str, ask: Ask) -> None:
    with pytest.raises(error, match=reason):
        ask(name, "honest")
    assert ask("deed", "honest").value.said == "done"


def test_a_worker_that_cannot_answer_is_not_started_again(ask: Ask, target: CheckoutTarget) -> None:
    before = target._worker
    for deed in ("NaN", "SystemExit", "hostile exception"):
        with pytest.raises(SurfaceFailed):
            ask("deed", deed)
    assert target._worker is before


def test_answers_name_no_place_of_this_machine(ask: Ask, target: CheckoutTarget) -> None:
    said = ask("deed", "places").value.said
    assert said == ["<scratch>", "<tree>/src/deeds.py", "<prefix>/bin/python", "<object object at 0x0>"]


def test_nothing_of_ours_is_in_its_environment(
    *, tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HTTPS_PROXY", "PYTHONPATH", "SSH_AUTH_SOCK")
    for name in secrets:
        monkeypatch.setenv(name, "planted")
    with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=limits()) as target:
        question = questions["deed"]
        seen = target.ask(question, question.request(deed="environment", pids=str(pids))).value.said
    assert "planted" not in canonical_json(seen)
    # LC_CTYPE is what Python itself may set.
    assert set(seen) - {"LC_CTYPE"} == set(environment(Path("/x"), "")) and not set(seen) & set(secrets)
    assert seen["HF_HUB_OFFLINE"] == seen["TRANSFORMERS_OFFLINE"] == "1" and seen["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["PYTHONHASHSEED"] == "0" and seen["HOME"] != os.environ["HOME"]


def test_the_tree_is_not_written_to(ask: Ask, target: CheckoutTarget) -> None:
    before = sorted(target.tree.root.rglob("*"))
    ask("deed", "honest")
    target.info()
    assert sorted(target.tree.root.rglob("*")) == before


def test_a_small_question_costs_less_than_a_millisecond(ask: Ask) -> None:
    ask("deed", "honest")
    best = 1.0
    for _ in range(400):  # the best one counts: others may have been waiting for a busy machine
        started = time.perf_counter()
        ask("deed", "honest")
        best = min(best, time.perf_counter() - started)
    assert best < 0.001


def test_two_runs_give_the_same_answers(
    tree: Path, bindings_dir: Path, questions: Any, pids: Path, limits: Any
) -> None:
    texts = []
    for _ in range(2):
        with CheckoutTarget(tree, python=sys.executable, bindings_dir=bindings_dir, limits=limits()) as target:
            request = {"deed": "places", "pids": str(pids)}
            said = [target.raw(questions["deed"], request), {n: b.note for n, b in target.bindings().items()}]
            texts.append(canonical_json([said, target.info().versions]))
    assert texts[0] == texts[1]


def test_info(target: CheckoutTarget) -> None:
    info = target.info()
    assert (info.kind, info.name, info.commit, info.dirty) == ("checkout", "CoordExp@unknown", "", None)
    assert info.note == "not a git repository of its own" and info.era == "before 2026-02-11"
    assert info.interpreter.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert info.versions["deepspeed"] == "not installed" and info.versions["numpy"][0].isdigit()


def test_a_folder_that_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Remedy: give one with src/sft.py \(the root of a CoordExp checkout"):
        CheckoutTarget(tmp_path, python=sys.executable)


def test_no_interpreter_is_guessed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COORDEXP_PYTHON", raising=False)
    with pytest.raises(UsageError, match="give --python or COORDEXP_PYTHON"):
        CheckoutTarget(tree)
    monkeypatch.setenv("COORDEXP_PYTHON", sys.executable)
    with CheckoutTarget(tree) as target:
        assert target.info().kind == "checkout"


def test_a_binding_module_that_does_not_load_is_named(target: CheckoutTarget, bindings_dir: Path) -> None:
    (bindings_dir / "hostile.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(Exception, match=r"bindings/hostile.py: the module of answers does not load: ModuleNotF"):
        target.bindings()


@pytest.mark.checkout
def test_the_real_tree_is_known(checkout: CheckoutTarget) -> None:
    info = checkout.info()
    assert len(info.commit) == 40 and info.name == f"CoordExp@{info.commit[:7]}" and info.date[:2] == "20"
    assert info.era in ("2026-02", "2026-02-24", "2026-03", "2026-05")
    assert info.versions["transformers"] != "not installed"


@pytest.mark.checkout
def test_every_surface_has_a_row_on_the_real_tree(checkout: CheckoutTarget) -> None:
    rows = checkout.bindings()
    assert rows and {b.status for b in rows.values()} <= {"bound", "moved", "missing", "unbound"}
    for row in rows.values():
        assert bool(row.note) or row.status == "bound"
        if row.path:
            assert row.line >= 1 and checkout.tree.exists(row.path)


def test_a_config_that_cannot_be_loaded_is_a_usage_error(target: CheckoutTarget) -> None:
    (target.tree.root / "broken.yaml").write_text("x: [1")
    with pytest.raises(UsageError, match=r"broken.yaml: the config can't be loaded.*Remedy"):
        target.all_named(["broken.yaml"])
