"""A checkout that answers from memory what a change can't have touched, and asks its own code for the rest."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.clue import Clue
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.evidence import Where, canonical_json, digest
from coordexp_audit_lib.core.finding import Finding, Place, Reached
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.surface import Surface, surfaces
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo
from coordexp_audit_lib.sandbox.forkserver import ForkServer
from coordexp_audit_lib.source.statements import Statements
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.targets.checkout import CheckoutTarget

Lines = dict[str, set[int]]  # by file
Spot = tuple[str, frozenset[int]]  # a file, and lines of functions; none of what runs at import
Signature = tuple[str, tuple[str, ...]]  # status, kinds of violations


def signature(finding: Finding) -> Signature:
    return finding.status, tuple(sorted({k.kind or k.message for k in finding.kinds}))


class Known(dict[str, Any]):
    """What the unchanged tree answered: by question, `{"answer", "lines"}`; without an answer it is asked each time."""


class Asking(Target):
    """Judged for its verdicts alone: places are not looked for, and nothing is said of what an audited config reaches.

    live: a forked checkout. known: answers of the unchanged tree. changed: the file and the lines of the change, none
    if they run at import; None: nothing is changed, and what is asked is remembered, with the lines that ran.
    """

    def __init__(self, live: CheckoutTarget, known: Known, changed: Spot | None) -> None:
        self.live, self.known, self.changed = live, known, changed
        self.asked: dict[str, None] = {}
        self._anew: dict[str, dict[str, Any]] = {}

    def info(self) -> TargetInfo:
        return self.live.info()

    def pipeline(self) -> Any:
        return self.live.pipeline()

    def bindings(self) -> dict[str, Binding]:
        return self.live.bindings()

    def config_path(self, config: str) -> str:
        return self.live.config_path(config)

    def contract(self) -> Mapping[str, Any]:
        return self.live.contract()

    def holds(self, citation: Any) -> bool | None:
        return None

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        return Reached("unknown")

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        return []

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if question.static is not None:
            return self.live.raw(question, request)
        key = digest([question.name, canonical_json(request)])
        self.asked[key] = None
        kept = self.known.get(key)
        if kept is None and self.changed is None:
            return self._remembered(key, question, request)
        same = self.changed is None or (kept is not None and not touches(kept["lines"], self.changed))
        if kept is not None and kept["answer"] is not None and same:
            kept["request"] = request
            return dict(kept["answer"])
        if key not in self._anew:
            self._anew[key] = self.live.raw(question, request)
        return dict(self._anew[key])

    def same(self, key: str) -> bool:
        """Whether a question that was asked of the unchanged tree is answered as it was."""
        kept = self.known[key]
        try:
            return self.raw(surfaces()[kept["surface"]], kept["request"]) == kept["answer"]
        except AuditError:
            return False

    def _remembered(self, key: str, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        kept = self.known[key] = {"answer": None, "lines": {}, "surface": question.name, "request": request}
        kept["answer"] = answer = self.live.raw(question, request)
        lines: Lines = {}
        try:
            for path, line in self.live._traced(question, request, ())["lines"]:
                lines.setdefault(path, set()).add(line)
        except AuditError:
            lines = self._behind(question)
        kept["lines"] = lines
        return answer

    def _behind(self, question: Surface[Any, Any]) -> Lines:
        """Where the lines that ran can't be told: those of the function, or its class, behind the question."""
        where = self.live.bindings()[question.name].where
        if where is None:
            return {}
        for node in self.live.tree.module(where.path).body:
            if node.lineno <= where.line <= (node.end_lineno or 0):
                return {where.path: set(range(node.lineno, (node.end_lineno or 0) + 1))}
        return {}


def touches(lines: Lines, changed: Spot) -> bool:
    """Whether a question comes by the change; of what runs at import, whether it comes by its file."""
    path, rows = changed
    return path in lines and (not rows or bool(rows & lines[path]))


class Forks:
    """Checkouts of one tree that are forked from one process with its libraries imported."""

    def __init__(self, root: Path, python: str, *, seconds: float) -> None:
        self.base = CheckoutTarget(root, python=python)
        self.base.limits = type(self.base.limits)(seconds=seconds, first_seconds=2 * seconds)
        self.base.audited = tuple(self.base.pipeline().configs)
        self.base.info()
        self.base.bindings()  # read once, for all that are forked
        self.base._end_worker()
        places = python, self.base.tree.root, self.base.answers
        self.base._server = ForkServer(*places, self.base.limits, preload=self.base._preload(), workers=1)
        self.modules = self.base.tree._modules

    def fork(self, changed: str = "") -> CheckoutTarget:
        """One whose tree is read anew: the file that was changed, and what has not been read yet."""
        made = self.base.apart()
        made.tree = Tree(self.base.tree.root)
        made.tree._modules = {n: m for n, m in self.modules.items() if n != changed}
        made._statements = Statements(made.tree)
        made._waited = mmap.mmap(-1, 8)
        return made

    def close(self) -> None:
        self.base.close()


def judged(target: Asking, claim: Claim, config: str) -> Signature:
    return signature(judge(target, claim, config))
