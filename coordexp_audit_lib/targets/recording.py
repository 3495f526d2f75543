"""Recordings: the answers that a target gave, kept as data, and the target that answers from them."""

from __future__ import annotations

import lzma
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.clue import Clue
from coordexp_audit_lib.core.declared import Declaration, Declared
from coordexp_audit_lib.core.errors import AuditError, CaseUnsupported, SurfaceFailed, SurfaceUnbound, UsageError
from coordexp_audit_lib.core.evidence import Where, canonical_json, digest
from coordexp_audit_lib.core.finding import Place, Reached
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.core.pipeline import Pipeline, folders, pipeline
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo

SCHEMA = "coordexp-audit-recording/1"
SUFFIX = ".json.xz"
NEWER = "the surface is newer than the recording"
MAX_BYTES = 8 << 20
MAX_UNPACKED = 128 << 20
MAX_VALUES = 4_000_000
KEPT = ("answers", "configs", "reaches", "places", "held")  # what a Recorder keeps, by attribute


class Recording(msgspec.Struct):
    """What a recording file holds.

    configs: the configs it was made for, with the name each has in the target. answers: surface -> digest of the
    request -> `{"value"}`, `{"refusal"}`, `{"failed": one line}`, `{"unbound": a reason}`, `{"unsupported": what}`, or
    `{"sequence": [...]}` of these where the target answered one question in different ways. reaches, places, citations:
    what was found out about violations and cited requirements (`Target.reach`, `localise`, `holds`), by digest of what
    was asked. declared: what an adapter said of the pipeline, where one answered.
    """

    schema: str
    target: TargetInfo
    tool: str
    date: str
    configs: dict[str, str]
    bindings: dict[str, Binding]
    answers: dict[str, dict[str, dict[str, Any]]]
    reaches: dict[str, Reached] = {}
    places: dict[str, list[Place]] = {}
    citations: dict[str, bool | None] = {}
    declared: Declaration | None = None

    def count(self) -> int:
        return sum(len(a) for a in self.answers.values())


class RecordingTarget(Target):
    """Answers from a recording; what was not asked when it was made is `error`, never a guess."""

    def __init__(self, recording: Recording, name: str) -> None:
        self._asked: dict[str, int] = {}
        if recording.schema != SCHEMA:
            raise UsageError(f"its schema is {recording.schema!r}, not {SCHEMA!r}", where=name, remedy="record again")
        if recording.count() == 0:
            raise UsageError("the recording holds no answer", where=name, remedy="record again")
        self.recording, self.name = recording, name
        self._pipeline = Declared(recording.declared) if recording.declared else pipeline()

    def pipeline(self) -> Pipeline:
        return self._pipeline

    def declaration(self) -> Declaration | None:
        return self.recording.declared

    def info(self) -> TargetInfo:
        made = self.recording.target
        note = f"recorded on {self.recording.date} from a {made.kind}"
        return msgspec.structs.replace(made, kind="recording", name=self.name, note=note)

    def bindings(self) -> dict[str, Binding]:
        return self.recording.bindings

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        known = self.recording.bindings.get(question.name)
        if known is None or known.status in ("missing", "unbound"):
            if known is None:
                raise SurfaceUnbound(NEWER, where=question.name, remedy="record again")
            raise SurfaceUnbound(known.note or "not answered when recorded", where=question.name)
        answer = self.recording.answers.get(question.name, {}).get(digest(request))
        if answer is None:
            raise SurfaceFailed(
                "this question was not asked when the recording was made",
                where=question.name,
                remedy="record again with `coordexp-audit record`, or audit the checkout itself",
            )
        if "sequence" in answer:
            answer = self._next(question.name + digest(request), answer["sequence"])
        if "failed" in answer:
            raise SurfaceFailed(answer["failed"], where=question.name)
        if "unbound" in answer:
            raise SurfaceUnbound(answer["unbound"], where=question.name)
        if "unsupported" in answer:
            raise CaseUnsupported(answer["unsupported"], where=question.name)
        return answer

    def _next(self, key: str, sequence: list[dict[str, Any]]) -> dict[str, Any]:
        """The n-th answer to a question that was answered differently each time it was asked."""
        turn = self._asked.get(key, 0)
        self._asked[key] = turn + 1
        return sequence[min(turn, len(sequence) - 1)]

    def config_path(self, config: str) -> str:
        if not config and self.recording.declared:
            return ""  # an adapter may be given none
        config = posixpath.normpath(config)
        if config not in self.recording.configs:
            known = ", ".join(self.recording.configs) or "none"
            raise UsageError("the recording was not made for this config", where=config, remedy=f"use one of: {known}")
        if not self.recording.configs[config]:
            raise SurfaceUnbound("the config is not in the recorded tree", where=config)
        return self.recording.configs[config]

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        key = _key(config, claim, where, subject)
        return self.recording.reaches.get(key, Reached("unknown", "not looked up when recorded"))

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        return self.recording.places.get(_key(question.name, failing, passing, clue), [])

    def holds(self, citation: Citation) -> bool | None:
        return self.recording.citations.get(str(citation))


def _key(*parts: Any) -> str:
    return digest(msgspec.to_builtins(parts))


class Recorder(Target):
    """Passes questions on to a live target and keeps every answer.

    Args:
        live: the target that answers.
        earlier: a recording of the same target that was cut short; what it holds is not asked again.
    """

    def __init__(self, live: Target, earlier: Recording | None = None) -> None:
        self.live = live
        self.answers: dict[str, dict[str, dict[str, Any]]] = {}
        self.configs: dict[str, str] = {}
        self.reaches: dict[str, Reached] = {}
        self.places: dict[str, list[Place]] = {}
        self.held: dict[str, bool | None] = {}
        self._earlier = earlier.answers if earlier else {}
        self._parts: dict[int, dict[str, Any]] = {}  # what was asked apart, by group

    def info(self) -> TargetInfo:
        return self.live.info()

    def pipeline(self) -> Pipeline:
        return self.live.pipeline()

    def declaration(self) -> Declaration | None:
        return self.live.declaration()

    def bindings(self) -> dict[str, Binding]:
        return self.live.bindings()

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        key = digest(request)
        earlier = self._earlier.get(question.name, {}).get(key)
        if earlier is not None and "value" in earlier:
            self._keep(question.name, key, earlier)
            return earlier
        try:
            answer = self.live.raw(question, request)
        except SurfaceFailed as error:
            self._keep(question.name, key, {"failed": error.what})
            raise
        except CaseUnsupported as error:
            self._keep(question.name, key, {"unsupported": error.what})
            raise
        except SurfaceUnbound as error:  # found out once it ran: something that the answer needs is gone from the tree
            self._keep(question.name, key, {"unbound": error.what})
            raise
        self._keep(question.name, key, answer)
        return answer

    def _keep(self, name: str, key: str, answer: dict[str, Any]) -> None:
        """Keep one answer, or the whole sequence from the moment that they differ."""
        kept = self.answers.setdefault(name, {})
        before = kept.get(key, answer)
        if "sequence" in before:
            kept[key] = {"sequence": [*before["sequence"], answer]}
        else:
            kept[key] = answer if before == answer else {"sequence": [before, answer]}

    def config_path(self, config: str) -> str:
        try:
            self.configs[config] = self.live.config_path(config)
        except SurfaceUnbound:
            self.configs[config] = ""  # that it is not there is an answer too
            raise
        return self.configs[config]

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        self.live.audited = self.audited
        known = self.reaches[_key(config, claim, where, subject)] = self.live.reach(config, claim, where, subject)
        return known

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        key = _key(question.name, failing, passing, clue)
        if key not in self.places:
            self.places[key] = self.live.localise(question, failing, passing, clue)
        return self.places[key]

    def holds(self, citation: Citation) -> bool | None:
        known = self.held[str(citation)] = self.live.holds(citation)
        return known

    def reuse(self) -> None:
        """From now on, do not ask again what was answered already."""
        self._gather()
        known = {name: {**self._earlier.get(name, {}), **answers} for name, answers in self.answers.items()}
        self._earlier = {**self._earlier, **known}

    def spread(self, jobs: int) -> bool:
        self._gather()
        return self.live.spread(jobs)

    def apart(self) -> Recorder:
        """One that knows what an earlier recording holds, and keeps what it is asked for this one to take in."""
        other = Recorder(self.live.apart())
        other.know(self._earlier)
        other.audited = self.audited
        return other

    def known(self) -> dict[str, dict[str, dict[str, Any]]]:
        return self._earlier

    def know(self, answers: dict[str, dict[str, dict[str, Any]]]) -> None:
        """Do not ask what these answer."""
        self._earlier = answers

    def told(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def take_in(self, number: int, told: Any) -> None:
        self._parts[number] = told

    def _gather(self) -> None:
        """Take in the parts in the groups' order, whichever was done first: that counts where answers differ."""
        for _, part in sorted(self._parts.items()):
            self._absorb(part)
        self._parts = {}

    def _absorb(self, part: dict[str, Any]) -> None:
        for name, answers in part["answers"].items():
            for key, answer in answers.items():
                for one in answer.get("sequence", [answer]):
                    self._keep(name, key, one)
        for name in KEPT[1:]:
            getattr(self, name).update(part[name])

    def close(self) -> None:
        self.live.close()

    def recording(self, tool: str, date: str) -> Recording:
        """Everything that was asked so far, as a recording."""
        if self._parts:
            whole = Recorder(self.live)
            whole._absorb(self.told())
            whole._parts = self._parts
            whole._gather()
            return whole.recording(tool, date)
        known = dict(self.configs), self.bindings(), self.answers, self.reaches, self.places, self.held
        info = msgspec.structs.replace(self.info(), walls=())  # those of this machine
        return Recording(SCHEMA, info, tool, date, *known, self.declaration())


def merged(before: Recording, now: Recording) -> Recording:
    """A recording of some boundaries over one of more, of the same commit, or of the same releases where an adapter
    answered: what was asked again counts.

    Raises:
        UsageError: the two are of different commits or releases, or of none.
    """
    there, here = _identity(before.target), _identity(now.target)
    if not there or there != here:
        what = f"the recording there is of {there or 'no commit'}, not of {here or 'no commit'}"
        raise UsageError(what, where=before.target.name, remedy="record all boundaries, or under another name")
    names = before.answers.keys() | now.answers.keys()
    answers = {n: {**before.answers.get(n, {}), **now.answers.get(n, {})} for n in names}
    bindings, configs = {**before.bindings, **now.bindings}, {**before.configs, **now.configs}
    rest = {n: {**getattr(before, n), **getattr(now, n)} for n in ("reaches", "places", "citations")}
    return msgspec.structs.replace(now, answers=answers, bindings=bindings, configs=configs, **rest)


def _identity(target: TargetInfo) -> str:
    """What a recording is of, in words: a commit, or of what is installed the releases that an adapter names."""
    if target.commit or target.kind != "adapter":
        return f"commit {target.commit}" if target.commit else ""
    return ", ".join(f"{name} {version}" for name, version in sorted(target.versions.items()))


def write_recording(recording: Recording, path: Path) -> int:
    """Write atomically; returns the size in bytes.

    Raises:
        AuditError: the recording is empty, or larger than one may be.
    """
    if recording.count() == 0:
        raise AuditError(
            "the recording holds no answer", where=str(path), remedy="check that the target answers at all"
        )
    packed = lzma.compress(canonical_json(msgspec.to_builtins(recording)).encode(), preset=9)
    try:
        _unpacked(packed)
    except ValueError as error:
        raise AuditError(str(error), where=str(path), remedy="record fewer configs") from error
    if len(packed) > MAX_BYTES:
        raise AuditError(f"{len(packed)} bytes, more than {MAX_BYTES}", where=str(path), remedy="record fewer configs")
    write_atomically(path, packed)
    return len(packed)


def read_recording(path: Path) -> Recording:
    """Read a recording; a file that is none, or that unpacks to more than a recording may, is a `UsageError`."""
    try:
        return msgspec.json.decode(_unpacked(content(path, MAX_BYTES)), type=Recording)
    except (OSError, lzma.LZMAError, EOFError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        remedy = "make one with `coordexp-audit record`"
        raise UsageError(f"not a recording: {error}", where=str(path), remedy=remedy) from error


def _unpacked(packed: bytes) -> bytes:
    """What a recording's file holds. Its size and the number of its values are known before anything is made of it."""
    data = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_UNPACKED).decompress(packed, MAX_UNPACKED + 1)
    if len(data) > MAX_UNPACKED:
        raise ValueError(f"it unpacks to more than {MAX_UNPACKED} bytes")
    values = sum(map(data.count, (b",", b"[", b"{")))
    if values > MAX_VALUES:
        raise ValueError(f"it holds {values} values, more than {MAX_VALUES}")
    return data


def packaged() -> dict[str, Path]:
    """The recordings that come with the library, by name."""
    own = pipeline().recordings
    others = (f / own.name for f in folders() if f / own.name != own)
    found = (p for folder in (own, *others) for p in sorted(folder.glob(f"*{SUFFIX}")))
    return {p.name.removesuffix(SUFFIX): p for p in found}
