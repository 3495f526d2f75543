"""The command line as others script against it: exit statuses, one JSON document, documents on disk, one clear line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli import streams
from coordexp_audit_lib.cli.commands import ANCHORED, main
from coordexp_audit_lib.cli.reporting import exit_status
from coordexp_audit_lib.core import claim as registry
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.report import result, terminal
from coordexp_audit_lib.report.document import json_schema
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


def never_judged(ctx: Context) -> Iterator[Violation]:
    raise AssertionError("it was judged")
    yield


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


CHECK = ["check", "--target", "reference", "--boundary", "config"]


def one_clear_line(told: str, place: str) -> None:
    assert told.count("\n") == 1 and place in told and "Remedy: " in told and "bug of the audit" not in told, told


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/none/such", "/dev/null", "link", "l" * 300])
def test_a_folder_that_cannot_be_used_is_told_before_anything_is_done(
    out: str, only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only((never_judged, "P0"))
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("link").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    assert main([*CHECK, "--out", out]) == 2
    one_clear_line(capsys.readouterr().err, out)
    assert sorted(tmp_path.iterdir()) == before


def test_a_document_of_another_program_is_not_written_over(
    only: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only((never_judged, "P0"))
    (tmp_path / "junit.xml").write_text("<testsuites name='theirs'/>")
    assert main([*CHECK, "--out", str(tmp_path)]) == 2
    one_clear_line(capsys.readouterr().err, "junit.xml")
    assert [p.name for p in tmp_path.iterdir()] == ["junit.xml"]


def test_where_one_document_cannot_be_written_none_is(
    only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only((holds, "P0"))
    written = os.write

    def full(fd: int, data: Any) -> int:
        if b"<testsuites" in bytes(data):
            raise OSError(28, "No space left on device")
        return written(fd, data)

    monkeypatch.setattr(os, "write", full)
    assert main([*CHECK, "--out", str(tmp_path / "new" / "out")]) == 2
    one_clear_line(capsys.readouterr().err, "junit.xml: no space left on device")
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_told(
    only: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only((holds, "P0"))
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(CHECK) == 2
    one_clear_line(capsys.readouterr().err, "standard output: no space left on device")
    monkeypatch.setattr(sys, "stdout", None)
    assert main(CHECK) == 2
    one_clear_line(capsys.readouterr().err, "standard output is closed")


def test_output_that_cannot_be_encoded_is_escaped(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    with (tmp_path / "printed").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert streams.opened()
        streams.say("caf\u00e9 \ud800")
    assert (tmp_path / "printed").read_text() == "caf\\xe9 \\ud800\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["findings"][0].pop("configs"),
        lambda d: d.update(findings={}),
        lambda d: d.update(findings=["x"]),
        lambda d: d.update(target=None),
        lambda d: d["findings"][0].update(violations=None),
        lambda d: d["findings"][0].update(violation_count="many"),
        lambda d: d["findings"][0].update(config=[1]),
        lambda d: d.pop("boundaries"),
        lambda d: d.update(summary={}),
        lambda d: d.update(schema="coordexp-audit/1"),
    ],
)
def test_a_document_that_was_tampered_with_is_one_clear_line(
    change: Callable[[dict[str, Any]], object], only: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only((breaks, "P1"))
    main([*CHECK, "--out", str(tmp_path / "a")])
    document = json.loads((tmp_path / "a" / "audit.json").read_text())
    change(document)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "audit.json").write_text(json.dumps(document))
    capsys.readouterr()
    for command in (["diff", str(tmp_path / "a"), str(tmp_path / "b")], ["book", str(tmp_path / "b")]):
        assert main(command) == 2
        one_clear_line(capsys.readouterr().err, "b/audit.json")


def test_a_signal_to_end_is_an_end_in_order(only: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def ends(ctx: Context) -> Iterator[Violation]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield from ()

    before = signal.getsignal(signal.SIGTERM)
    only((ends, "P0"))
    assert main(CHECK) == 128 + signal.SIGTERM
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


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


def test_the_first_look_at_a_whole_audit_fits_on_a_small_terminal(audited: Path) -> None:
    made = json.loads(audited.read_text())
    lines = terminal.render(made, colour=False, width=80).splitlines()
    assert sum(-(-max(1, len(line)) // 80) for line in lines) < 40  # and one for the prompt
    for number, f in enumerate(result.top(made["findings"]), 1):
        (line,) = (one for one in lines if one.startswith(f"{number:>2}. "))
        assert f"{f['severity']} {f['invariant']}" in line
        assert any(result.place(f, short) in line for short in (False, True))
    rows = [line.split("  ") for line in lines if line.split("  ")[0] in made["boundaries"]]
    assert len(rows) == len(made["boundaries"]) == 12
    assert not any(cell.strip() == "-" for row in rows for cell in row)


def test_the_published_schema_is_that_of_the_document_and_fits_it(audited: Path) -> None:
    published = json.loads((files("coordexp_audit_lib") / "resources" / "audit.schema.json").read_text("utf-8"))
    assert published == json_schema()
    jsonschema.validate(json.loads(audited.read_text()), published)
    with pytest.raises(jsonschema.ValidationError, match="'boundary' is a required property"):
        jsonschema.validate({**json.loads(audited.read_text()), "findings": [{"invariant": "a.b"}]}, published)


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
    assert undecided.keys() <= {
        "upstream.client_surface",
        "metrics.per_step_not_cumulative",
        "packing.segments_isolated",
    }
    assert all(note.startswith("not judged: ") for note in undecided.values())
    assert "vllm is not installed" in undecided["upstream.client_surface"]
    assert "flash-attn: it is not installed" in undecided["packing.segments_isolated"]


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
