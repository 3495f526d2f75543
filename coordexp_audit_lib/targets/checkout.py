"""The checkout target: a pipeline's working tree, answered live by a contained worker in the tree's own interpreter."""

from __future__ import annotations

import contextlib
import copy
import mmap
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.clue import Clue
from coordexp_audit_lib.core.errors import CaseUnsupported, SurfaceFailed, SurfaceUnbound, UsageError
from coordexp_audit_lib.core.evidence import Where, canonical_json
from coordexp_audit_lib.core.finding import Place, Reached
from coordexp_audit_lib.core.pipeline import Pipeline, pipelines
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo
from coordexp_audit_lib.kit.git import git_state
from coordexp_audit_lib.sandbox.forkserver import ForkServer
from coordexp_audit_lib.sandbox.limits import Limits
from coordexp_audit_lib.sandbox.process import NoAnswerInTime, WorkerProcess, decoded
from coordexp_audit_lib.source.statements import Statements
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.targets import table
from coordexp_audit_lib.targets.localising import Localiser

OLDEST_PYTHON = (3, 10)


class CheckoutTarget(Target):
    """Answers from a working tree.

    Args:
        root: the tree.
        python: the interpreter that has the tree's dependencies; else that of the pipeline's environment variable.
        limits: of time, memory and output.
        bindings_dir: a folder of binding modules to use in place of the library's own.

    Raises:
        UsageError: `root` is a tree of no known pipeline, or no usable interpreter is known.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        python: str | None = None,
        limits: Limits | None = None,
        bindings_dir: Path | None = None,
    ) -> None:
        self._pipeline = _owner(Tree(root).root)
        found = interpreter_at(python, self._pipeline.variable)
        self._open(root, found, limits, bindings_dir or self._pipeline.answers)
        self._about = self._asked_about()

    def _open(self, root: Path | str, python: str, limits: Limits | None, answers: Path, **more: Any) -> None:
        """Nothing asked yet. more: what a worker's first frame says beside."""
        self.tree, self.python, self.limits, self.answers = Tree(root), python, limits or Limits(), answers
        self._more: dict[str, Any] = more
        self._rows: dict[str, table.Row] | None = None
        self._bindings: dict[str, Binding] | None = None
        self._worker: WorkerProcess | None = None
        self._server: ForkServer | None = None
        self._is_copy = False  # made by `apart`
        self._asked: set[str] = set()
        self._info: TargetInfo | None = None
        self._statements = Statements(self.tree)
        self._localiser: Localiser | None = None
        self._failed_starts = self._hangs = 0
        self._walls: tuple[str, ...] = ()
        self._waited = mmap.mmap(-1, 8)  # seconds that were waited in vain, for all processes that are forked

    def info(self) -> TargetInfo:
        if self._info is None:
            state = git_state(self.tree.root, own=self.own)
            self._info = TargetInfo(
                kind="checkout",
                name=f"{self._pipeline.title}@{state.commit[:7] or 'unknown'}",
                commit=state.commit,
                dirty=state.dirty,
                date=state.date,
                era=self._pipeline.era(self.tree.root),
                interpreter=self._about["interpreter"],
                versions=self._about["versions"],
                note=state.note,
                walls=self._walls,
            )
        return self._info

    def pipeline(self) -> Pipeline:
        return self._pipeline

    def bindings(self) -> dict[str, Binding]:
        if self._bindings is None:
            self._bindings = {name: row.binding for name, row in self._table().items()}
        return self._bindings

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if question.static is not None:
            return {"value": self._read(question, request)}
        return self._said(question.name, self._put(question, request))

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        if self._localiser is None:
            bound, era = (lambda name: self._table()[name].binding.where), self.info().era
            self._localiser = Localiser(self.tree, self._pipeline, era, self._traced, bound)
        return self._localiser.places(question, failing, passing, clue)

    def _traced(self, question: Surface[Any, Any], request: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        """Ask again and be told which lines ran."""
        told = self._put(question, request, trace=list(keys)).get("traced")
        if not isinstance(told, dict):
            raise SurfaceFailed("it tells no lines", where=question.name)
        return told

    def _put(self, question: Surface[Any, Any], request: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Put a question to the worker; its answer as it came."""
        row = self._table().get(question.name)
        if row is None or row.binding.status not in ("bound", "moved"):
            raise SurfaceUnbound(row.binding.note if row else "it is not declared", where=question.name)
        message = {"surface": question.name, "module": row.module, "chosen": row.chosen, "request": request, **more}
        first = question.name not in self._asked
        try:
            answer = self._exchange(
                message, self.limits.first_seconds if first else self.limits.seconds, question.response
            )
        except SurfaceFailed as error:
            raise SurfaceFailed(error.what, where=question.name) from error
        self._asked.add(question.name)
        return answer

    def _read(self, question: Surface[Any, Any], request: dict[str, Any]) -> Any:
        """Answer a question about source text, here and not in the worker, for nothing is run."""
        assert question.static is not None
        try:
            value = msgspec.to_builtins(question.static(self.tree, msgspec.convert(request, question.request)))
            return decoded(canonical_json(value).encode())
        except (RecursionError, ValueError) as error:
            raise SurfaceFailed(f"what was read is no answer: {error}", where=question.name) from error

    def _said(self, surface: str, answer: dict[str, Any]) -> dict[str, Any]:
        for word, error in (("unbound", SurfaceUnbound), ("unsupported", CaseUnsupported)):
            if isinstance(answer.get(word), str):
                raise error(answer[word], where=surface)
        if answer.get("spent"):
            self._end_worker()
        with_it = {"stand_ins": answer["stand_ins"]} if answer.get("stand_ins") else {}
        if "refusal" in answer:
            return {"refusal": self._located(answer["refusal"]), **with_it}
        if "value" in answer:
            return {"value": answer["value"], **with_it}
        raise SurfaceFailed(str(answer.get("failed", "its answer is of no known kind")), where=surface)

    def _located(self, refusal: Any) -> Any:
        """The refusal with the function around its line; a worker that tells another form is judged by its type."""
        where = refusal.get("where") if isinstance(refusal, dict) else None
        if not isinstance(where, dict) or not isinstance(where.get("path"), str) or type(where.get("line")) is not int:
            return refusal
        return {**refusal, "where": msgspec.to_builtins(self._statements.where(where["path"], where["line"]))}

    def config_path(self, config: str) -> str:
        return self._pipeline.config_in(self.tree.root, config)

    def all_named(self, configs: Sequence[str]) -> list[str]:
        """The configs by the names that they have in the tree.

        Those that are audited unasked may be broken: that is a finding about the tree, and no reason to judge nothing.

        Raises:
            UsageError: the tree has no such config, or no loader could read it.
        """
        names = super().all_named(configs)
        for name in super().all_named([c for c in configs if c not in self._pipeline.configs]):
            why = self._pipeline.unloadable(self.tree, name) if self.tree.exists(name) else ""
            if why:
                raise UsageError(f"the config can't be loaded: {why}", where=name, remedy="mend it, or name another")
        return names

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        configs = self.audited or self._pipeline.configs
        return self._pipeline.reach(self.tree, configs, config, claim=claim, where=where, subject=subject)

    def holds(self, citation: Citation) -> bool | None:
        if citation.repository != self._pipeline.repository:
            return None
        try:
            return self.tree.states(citation.path, citation.requirement)
        except SurfaceFailed:
            return False

    def spread(self, jobs: int) -> bool:
        if self._server is None and not self._is_copy:
            preload = self._preload()
            places = self.python, self.tree.root, self.answers
            with contextlib.suppress(SurfaceFailed):  # then each worker starts by itself, and says what is wrong
                self._server = ForkServer(*places, self.limits, preload=preload, workers=jobs, more=self._more)
            self._end_worker()  # it was asked nothing but its versions
        self.info()  # what follows is read once here, not in every process, and while the server imports
        where = next((row.binding.where for row in self._table().values() if row.binding.where), None)
        self.reach("", "", where, "")
        return True

    def _preload(self) -> str:
        return self._pipeline.preload if self.answers == self._pipeline.answers else ""

    def apart(self) -> CheckoutTarget:
        other = copy.copy(self)
        other._worker, other._localiser, other._asked, other._is_copy = None, None, set(), True
        other._failed_starts = other._hangs = 0
        return other

    def close(self) -> None:
        self._end_worker()
        if self._server is not None and not self._is_copy:
            self._server.end()
            self._server = None

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        self._asked.clear()

    def _table(self) -> dict[str, table.Row]:
        if self._rows is None:
            self._rows = table.rows(self.tree, self.answers)
        return self._rows

    def _exchange(self, message: dict[str, Any], seconds: float, response: Any = Any) -> dict[str, Any]:
        """Ask the worker, started if there is none; after a failure the next question starts a new one."""
        left = self.limits.waiting - struct.unpack("d", self._waited)[0]
        if left <= 0:
            what = f"{self.limits.waiting:g} seconds were waited for answers that did not come (--time-limit)"
            raise SurfaceFailed(f"not asked: {what}")
        if self._hangs >= self.limits.hangs:
            raise SurfaceFailed(f"not asked: the {self._hangs} questions before were not answered in time")
        if self._worker is None:
            self._worker = self._started()
        try:
            answer = self._worker.exchange(message, min(seconds, left), response)
        except BaseException as error:
            self._lost(error, min(seconds, left))
            self._hangs = self._hangs + 1 if isinstance(error, NoAnswerInTime) else 0
            self._end_worker()
            raise
        self._hangs = 0
        return answer

    def _lost(self, error: BaseException, seconds: float) -> None:
        """Count the seconds that were waited in vain."""
        if isinstance(error, NoAnswerInTime):
            self._waited[:] = struct.pack("d", struct.unpack("d", self._waited)[0] + seconds)

    def _started(self) -> WorkerProcess:
        if self._failed_starts >= self.limits.starts:
            raise SurfaceFailed(f"not asked: the worker could not be started {self._failed_starts} times in a row")
        try:
            worker = self._forked() or self._fresh()
        except SurfaceFailed:
            self._failed_starts += 1
            raise
        self._failed_starts = 0
        self._walls = worker.walls
        return worker

    def _fresh(self) -> WorkerProcess:
        return WorkerProcess(self.python, self.tree.root, self.answers, self.limits, self._more)

    def _forked(self) -> WorkerProcess | None:
        """A worker from the fork server; None where there is no server, or none that forks."""
        try:
            return self._server.fork() if self._server is not None else None
        except SurfaceFailed as error:
            self._lost(error, self.limits.first_seconds)
            return None

    def _asked_about(self) -> dict[str, Any]:
        """The interpreter's version and those of its packages; it also shows that the worker runs in it."""
        remedy = "give the Python of the environment that the checkout trains in, 3.10 or later"
        try:
            about: dict[str, Any] = self._exchange({"about": list(self._pipeline.distributions)}, self.limits.seconds)[
                "about"
            ]
        except (SurfaceFailed, KeyError) as error:
            what = f"the interpreter cannot run the worker: {getattr(error, 'what', error)}"
            raise UsageError(what, where=self.python, remedy=remedy) from error
        if tuple(map(int, about["interpreter"].split(".")[:2])) < OLDEST_PYTHON:
            raise UsageError(f"it is Python {about['interpreter']}", where=self.python, remedy=remedy)
        return about


def _owner(root: Path) -> Pipeline:
    """The first known pipeline whose tree this is."""
    for known in pipelines().values():
        if known.owns(root):
            return known
    wanted = "; or ".join(known.wanted() for known in pipelines().values())
    raise UsageError("it is no tree of a known pipeline", where=str(root), remedy=f"give one with {wanted}")


def interpreter_at(python: str | None, variable: str) -> str:
    """The absolute path of the interpreter to use; links are kept, for a virtual environment is known by its link."""
    word = python or os.environ.get(variable, "")
    remedy = f"give --python or {variable}: the Python of the environment that the checkout trains in"
    if not word:
        raise UsageError("no interpreter is known that has the checkout's dependencies", remedy=remedy)
    found = shutil.which(Path(word).expanduser())
    if found is None:
        raise UsageError("the interpreter does not exist or is not executable", where=word, remedy=remedy)
    return str(Path(found).absolute())


__all__: Sequence[str] = ("CheckoutTarget", "Limits")
