"""Recordings: what was answered is replayed, what was not is an error, and none is empty."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core.errors import AuditError, SurfaceFailed, SurfaceUnbound, UsageError
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo
from coordexp_audit_lib.targets.recording import Recorder, RecordingTarget, merged, read_recording, write_recording


class Text(msgspec.Struct):
    text: str


ECHO: Surface[Text, Text] = Surface("test.echo", Text, Text, "the text")
GONE: Surface[Text, Text] = Surface("test.gone", Text, Text, "not there")
NEWER: Surface[Text, Text] = Surface("test.newer", Text, Text, "declared after the recording")


class Echo(Target):
    """Echoes; says something else each time it is asked for `moody`; fails on `boom`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def info(self) -> TargetInfo:
        return TargetInfo(kind="checkout", name="echo", commit="c0ffee", dirty=False)

    def bindings(self) -> dict[str, Binding]:
        return {"test.echo": Binding("test.echo", "bound"), "test.gone": Binding("test.gone", "missing", note="no f")}

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["text"])
        if request["text"] == "boom":
            raise SurfaceFailed("it crashed", where=question.name)
        if request["text"] == "refuse":
            return {"refusal": {"type": "ValueError", "message": "no"}}
        moody = request["text"] == "moody"
        return {"value": {"text": f"{request['text']}{len(self.asked) if moody else ''}"}}

    def config_path(self, config: str) -> str:
        if config == "gone.yaml":
            raise SurfaceUnbound("the config is not in this tree", where=config)
        return f"moved/{config}"


def taken(*texts: str, tmp_path: Path) -> RecordingTarget:
    recorder = Recorder(Echo())
    recorder.config_path("a.yaml")
    for text in texts:
        try:
            recorder.ask(ECHO, Text(text))
        except SurfaceFailed:
            continue
    path = tmp_path / "r.json.xz"
    write_recording(recorder.recording("1", "2026-01-01"), path)
    return RecordingTarget(read_recording(path), "r")


def test_answers_refusals_and_failures_are_replayed(tmp_path: Path) -> None:
    target = taken("hi", "refuse", "boom", tmp_path=tmp_path)
    assert target.ask(ECHO, Text("hi")).value.text == "hi"
    assert target.ask(ECHO, Text("refuse")).refused
    with pytest.raises(SurfaceFailed, match="it crashed"):
        target.ask(ECHO, Text("boom"))
    assert target.config_path("a.yaml") == "moved/a.yaml"
    assert target.info().kind == "recording"


def test_a_config_has_the_name_that_the_target_gives_it_and_its_own_where_there_is_none(tmp_path: Path) -> None:
    recorder = Recorder(Echo())
    recorder.ask(ECHO, Text("hi"))
    assert [recorder.named(c) for c in ("a.yaml", "gone.yaml")] == ["moved/a.yaml", "gone.yaml"]
    write_recording(recorder.recording("1", "2026-01-01"), tmp_path / "r.json.xz")
    replayed = RecordingTarget(read_recording(tmp_path / "r.json.xz"), "r")
    assert [replayed.named(c) for c in ("a.yaml", "gone.yaml")] == ["moved/a.yaml", "gone.yaml"]
    with pytest.raises(SurfaceUnbound, match="not in the recorded tree"):
        replayed.config_path("gone.yaml")


def test_a_target_that_answers_differently_each_time_does_so_on_replay(tmp_path: Path) -> None:
    target = taken("moody", "moody", "moody", tmp_path=tmp_path)
    assert [target.ask(ECHO, Text("moody")).value.text for _ in range(4)] == ["moody1", "moody2", "moody3", "moody3"]


@pytest.mark.parametrize(
    ("question", "error", "says"),
    [
        (ECHO, SurfaceFailed, "not asked when the recording was made"),
        (GONE, SurfaceUnbound, "no f"),
        (NEWER, SurfaceUnbound, "newer than the recording"),
    ],
)
def test_what_was_not_recorded_is_never_guessed(question: Any, error: type, says: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        taken("hi", tmp_path=tmp_path).ask(question, Text("never asked"))


def test_a_config_that_was_not_recorded_is_refused_with_those_that_were(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.yaml"):
        taken("hi", tmp_path=tmp_path).config_path("b.yaml")


def test_an_empty_recording_can_neither_be_written_nor_used(tmp_path: Path) -> None:
    empty = Recorder(Echo()).recording("1", "2026-01-01")
    with pytest.raises(AuditError, match="holds no answer"):
        write_recording(empty, tmp_path / "r.json.xz")
    with pytest.raises(UsageError, match="holds no answer"):
        RecordingTarget(empty, "r")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no xz", b"\xfd7zXZ\x00\x00"])
def test_a_file_that_is_no_recording_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json.xz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a recording"):
        read_recording(path)


def test_an_interrupted_recording_is_not_asked_again(tmp_path: Path) -> None:
    first = Recorder(Echo())
    first.ask(ECHO, Text("hi"))
    live = Echo()
    again = Recorder(live, first.recording("1", "2026-01-01"))
    assert again.ask(ECHO, Text("hi")).value.text == "hi"
    assert again.ask(ECHO, Text("ho")).value.text == "ho"
    assert live.asked == ["ho"]
    assert again.recording("1", "2026-01-01").count() == 2


def test_some_boundaries_can_be_recorded_again_over_a_recording_of_the_same_commit() -> None:
    first, second = Recorder(Echo()), Recorder(Echo())
    for recorder, texts in ((first, ("old", "moody")), (second, ("moody", "moody", "new"))):
        for text in texts:
            recorder.ask(ECHO, Text(text))
    before, now = (r.recording("1", "2026-01-01") for r in (first, second))
    both = RecordingTarget(merged(before, now), "r")
    assert both.ask(ECHO, Text("old")).value.text == "old"
    assert both.ask(ECHO, Text("new")).value.text == "new"
    assert both.ask(ECHO, Text("moody")).value.text == "moody1"
    other = msgspec.structs.replace(now, target=msgspec.structs.replace(now.target, commit="other"))
    with pytest.raises(UsageError, match="of commit c0ffee, not of commit other"):
        merged(before, other)


def test_what_an_adapter_answered_is_recorded_again_over_a_recording_of_the_same_releases() -> None:
    recorder = Recorder(Echo())
    recorder.ask(ECHO, Text("old"))
    made = recorder.recording("1", "2026-01-01")

    def of(**versions: str) -> Any:
        info = TargetInfo(kind="adapter", name="mine", commit="", dirty=False, versions=versions)
        return msgspec.structs.replace(made, target=info)

    assert merged(of(torch="2.8", trl="1.0"), of(trl="1.0", torch="2.8")).answers == made.answers
    with pytest.raises(UsageError, match=r"of torch 2\.8, not of torch 2\.9"):
        merged(of(torch="2.8"), of(torch="2.9"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[" + b" " * (1 << 10) + b"]", "not a recording"),
        (b"[" + b"[]," * 2_000_000 + b"[]]", "values, more than"),
        (b'"' + b"x" * (130 << 20) + b'"', "unpacks to more than"),
    ],
)
def test_a_recording_is_unpacked_within_bounds(text: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json.xz"
    path.write_bytes(lzma.compress(text, preset=0))
    with pytest.raises(UsageError, match=says):
        read_recording(path)
