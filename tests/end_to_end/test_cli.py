"""The command line as others script against it: exit statuses, one JSON document, documents on disk, one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli.commands import ANCHORED, exit_status, main
from coordexp_audit_lib.core import claim as registry
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.targets.recording import packaged, read_recording, write_recording

DOCUMENTS = {"audit.json", "audit.sarif", "junit.xml"}
Outcome = Callable[[Context], Iterator[Violation]]


def holds(ctx: Context) -> Iterator[Violation]:
    ctx.judged()
    yield from ()


def breaks(ctx: Context) -> Iterator[Violation]:
    ctx.judged()
    yield Violation("it is broken", expected=1, actual=2)


def is_unbound(ctx: Context) -> Iterator[Violation]:
    yield from ()
    raise SurfaceUnbound("the target has none", where="test.surface")


CITED = (Citation("somebody/below", "README.md", "what is demanded", "v1"),)


def judges_nothing(ctx: Context) -> Iterator[Violation]:
    yield from ()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the audit consist of the given checks: (check, severity) pairs."""

    def declare(*checks: tuple[Outcome, str]) -> None:
        boundaries.load()
        monkeypatch.setattr(registry, "_CLAIMS", {})
        for number, (check, severity) in enumerate(checks):
            declared: Any = claim(severity=severity, kind="B", remedy="r", id=f"config.{number}", spec=CITED)  # type: ignore[arg-type]
            declared(check)

    return declare


@pytest.mark.parametrize(
    ("checks", "arguments", "status"),
    [
        ([(holds, "P0")], [], 0),
        ([(holds, "P0"), (breaks, "P0")], [], 1),
        ([(breaks, "P1")], [], 1),
        ([(breaks, "P2")], [], 0),
        ([(breaks, "P2")], ["--fail-on", "P2"], 1),
        ([(breaks, "P0")], ["--fail-on", "never"], 0),
        ([(holds, "P0"), (is_unbound, "P2")], [], 3),
        ([(holds, "P0"), (judges_nothing, "P0")], [], 3),
        ([(breaks, "P0"), (is_unbound, "P0")], [], 1),
        ([(holds, "P0")], ["--config", "configs/none.yaml"], 2),
        ([(holds, "P0")], ["--boundary", "none"], 2),
        ([(holds, "P0")], ["--target", "/none/such"], 2),
    ],
)
def test_exit_status(checks: list[tuple[Outcome, str]], arguments: list[str], status: int, only: Any) -> None:
    only(*checks)
    assert main(["check", "--target", "reference", "--boundary", "config", *arguments]) == status


def test_an_unusable_target_is_one_clear_line_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--target", "no-such-target"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "no-such-target" in told.err
    assert "Remedy: " in told.err


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["check", "--seed", "x"], ["run"], ["check", "--fail-on", "P9"]]
)
def test_a_wrong_command_line_is_one_clear_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "--help" in told.err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(Exception, match="no target is called"):
        main(["check", "--target", "no-such-target", "--debug"])


def test_json_is_the_only_thing_on_stdout_and_equals_the_file(
    only: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only((holds, "P0"), (breaks, "P1"))
    assert main(["check", "--target", "reference", "--boundary", "config", "--json", "--out", str(tmp_path)]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert {p.name for p in tmp_path.iterdir()} == DOCUMENTS
    assert printed == json.loads((tmp_path / "audit.json").read_text())
    assert printed["summary"]["violated"] == 1
    assert printed["schema"] == "coordexp-audit/2"


def test_a_process_ends_with_the_status_and_progress_stays_off_stdout() -> None:
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--boundary", "coordjson", "--json"]
    done = subprocess.run([*command, "--target", "reference"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {f["status"] for f in document["findings"]} == {"held"}
    assert all(f["checked"] > 0 and f["evidence"] for f in document["findings"])


def test_an_empty_run_is_no_pass() -> None:
    assert exit_status([], "P1") != 0


def volatile_removed(path: Path) -> str:
    document = json.loads(path.read_text())
    for finding in document["findings"]:
        finding["seconds"] = 0
    return json.dumps({k: v for k, v in document.items() if k not in ("created", "tool")}, sort_keys=True)


def check_with_hash_seed(seed: str, out: Path) -> Path:
    """The document of an audit of the default target, in a process of its own."""
    command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--fail-on", "never", "--out", str(out)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr
    return out / "audit.json"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return check_with_hash_seed("1", tmp_path_factory.mktemp("audited"))


def test_two_audits_of_the_default_target_give_the_same_bytes(audited: Path, tmp_path: Path) -> None:
    assert volatile_removed(audited) == volatile_removed(check_with_hash_seed("2", tmp_path))


def test_the_default_target_is_the_recording_of_the_reference_commit_for_both_configs() -> None:
    recording = read_recording(packaged()["coordexp-b46e74f"])
    assert recording.target.commit.startswith("b46e74f")
    assert recording.target.dirty is False
    assert set(recording.configs) == set(ANCHORED)
    assert packaged()["coordexp-b46e74f"].stat().st_size < 8 * 1024 * 1024


def test_the_default_audit_decides_all_but_what_its_environment_lacks(audited: Path) -> None:
    document = json.loads(audited.read_text())
    undecided = {
        f["invariant"]: f["note"]
        for f in document["findings"]
        if f["status"] in ("unbound", "error") and "not in the tree" not in f["note"]  # what only a newer commit has
    }
    assert undecided.keys() <= {"upstream.client_surface", "metrics.per_step_not_cumulative"}
    assert all(note.startswith("not judged: ") for note in undecided.values())
    assert "vllm is not installed" in undecided["upstream.client_surface"]


def test_a_recording_of_another_checkout_can_be_audited_by_its_file(tmp_path: Path) -> None:
    recording = read_recording(packaged()["coordexp-b46e74f"])
    write_recording(recording, tmp_path / "mine.json.xz")
    arguments = ["check", "--target", str(tmp_path / "mine.json.xz"), "--boundary", "coordjson", "--fail-on", "never"]
    assert main(arguments) == 0


@pytest.mark.parametrize("word", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_is_a_positive_integer(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["check", "--target", "reference", f"--jobs={word}"])
    assert stopped.value.code == 2
    assert f"{word!r} is no number of processes" in capsys.readouterr().err
