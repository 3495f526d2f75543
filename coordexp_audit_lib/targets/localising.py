"""Where an answer of a checkout goes wrong: by what the pipeline names, by the keys in the violation, and by the lines
that ran when it failed and when it passed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.clue import Clue
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.evidence import Where, digest
from coordexp_audit_lib.core.finding import Place
from coordexp_audit_lib.core.pipeline import Named, Pipeline
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.source import keyed, runs
from coordexp_audit_lib.source.anchors import anchored, config_line
from coordexp_audit_lib.source.made import made
from coordexp_audit_lib.source.runs import Run
from coordexp_audit_lib.source.statements import Statement, Statements
from coordexp_audit_lib.source.tree import Tree

Question = Surface[Any, Any]
Traced = Callable[[Question, dict[str, Any], Sequence[str]], dict[str, Any]]
Bound = Callable[[str], Where | None]
FUNCTIONS = 3  # distinct functions that the lines that ran may name


class Localiser:
    """Finds places in one tree.

    Args:
        traced: `(question, request, keys) -> what kit.lines told`; it may raise any `AuditError`.
        bound: the function behind a surface, by its name.
    """

    def __init__(self, tree: Tree, pipeline: Pipeline, era: str, traced: Traced, bound: Bound) -> None:
        self.tree, self.traced, self.bound = tree, traced, bound
        self.named, self.untraced = pipeline.places(era), pipeline.untraced()
        self.statements = Statements(tree)
        self._runs: dict[str, Run | None] = {}
        self._mended: dict[tuple[str, tuple[Named, ...]], list[Place]] = {}

    def places(
        self, question: Question, failing: Sequence[dict[str, Any]], passing: Sequence[dict[str, Any]], clue: Clue
    ) -> list[Place]:
        """The likeliest first. Nothing is watched where nothing could tell more than the pipeline does."""
        named = tuple(n for n in self.named.get(clue.claim, ()) if re.search(n.about, clue.text))
        if (clue.config, named) in self._mended:
            return self._mended[clue.config, named]
        names = tuple(dict.fromkeys(_parts(k)[-1] for k in clue.keys))
        failed = self._watched(question, failing, names)
        given = _portable(failing[0]) if failing else ""
        clue = msgspec.structs.replace(clue, keys=tuple(k for k in clue.keys if "/" not in k or k not in given))
        found = [p for n in named for p in self._of(n, clue, failed)]
        if found:  # what else the failing run tells comes next, without a look at passing ones
            more = self._by_runs(failed, [], clue) if failed else iter(())
            found += [p for p in more if p.found != "refusal"]  # it may be one that passing runs meet too
            if all(n.symbols for n in named):
                self._mended[clue.config, named] = found
        elif failed and clue.accepted and any(p.found == "parser" for p in self._by_keys(failed[0], clue)):
            found += self._by_keys(failed[0], clue)  # a parser that let it pass needs no comparison
        elif failed:
            found += self._by_runs(failed, self._watched(question, passing, ()), clue)
        where = self.bound(question.name)
        if not found and where:
            for k in (k for k in clue.keys if "/" in k):
                found += self._stored(keyed.written(self.statements, k, where.path.partition("/")[0]), k, clue)
        if not found and where and failed and not failed[0].refused and not clue.accepted:
            answer = runs.handed_out(self.statements, failed[0], where)
            found += _places([answer] if answer else [], "data flow")
        return found

    def _stored(self, stores: Sequence[Statement], key: str, clue: Clue) -> Iterator[Place]:
        """Where a value is made, if it is the value that is wrong, and where it is stored."""
        for store in stores:
            source = made(self.statements, store, key) if clue.measured else store
            if source is not store:
                yield Place(source.where, "data flow")
            yield Place(msgspec.structs.replace(store.where, line=keyed.line_of(store, key)), "data flow")

    def _by_runs(self, failed: Sequence[Run], passed: Sequence[Run], clue: Clue) -> Iterator[Place]:
        raised = runs.raised_only(self.statements, failed[0], passed)
        yield from (Place(s.where, "refusal") for s in raised[:1] if not failed[0].refused)
        lines, keys = list(_lines(runs.ranked(self.statements, failed, passed))), list(self._by_keys(failed[0], clue))
        yield from self._clear(failed, passed)
        yield from (p for p in lines if any(p.where.symbol == k.where.symbol for k in keys))
        yield from (*keys, *lines)

    def _clear(self, failed: Sequence[Run], passed: Sequence[Run]) -> Iterator[Place]:
        """The place where a few lines say it by themselves: against all passing runs, or against the nearest alone.
        Only runs that ended alike count, for what follows a refusal differs too."""
        for nearest in (passed, passed[:1]):
            if nearest and all(p.refused == failed[0].refused for p in nearest):
                ranking = runs.ranked(self.statements, failed, nearest)
                way = runs.parted(self.statements, failed[0], nearest)
                found = [r.statement for r in ranking[:1]] if runs.is_clear(ranking) else [way] if way else []
                yield from _places(found, "lines")
                if found:
                    return

    def _by_keys(self, failed: Run, clue: Clue) -> Iterator[Place]:
        for key in clue.keys:
            if "/" in key:
                yield from self._stored(keyed.writes(self.statements, failed, key), key, clue)
                continue
            parts = _parts(key)
            parsing = keyed.parsers(self.statements, failed, parts) if len(parts) > 1 else []
            if parsing:  # what passed a parser may be looked at once more
                yield from _places(keyed.reads(self.statements, failed, parts[-1], parsing[0])[:1], "data flow")
                yield from self._parser(parsing[0], parts[-1])
            else:
                yield from _places(keyed.writes(self.statements, failed, parts[-1])[:1], "data flow")
                yield from _places(keyed.reads(self.statements, failed, parts[-1])[:1], "data flow")

    def _parser(self, statement: Statement, key: str) -> Iterator[Place]:
        """Where a parser lets a key pass; where it does not look at the key, the line that declares it."""
        where = statement.where
        looks = keyed.mentions(statement, key)
        declared = 0 if looks else keyed.field(self.statements, statement.path, statement.function, key)
        yield Place(msgspec.structs.replace(where, line=declared) if declared else where, "parser")

    def _of(self, named: Named, clue: Clue, failed: Sequence[Run]) -> list[Place]:
        """What the pipeline names, if it ran (where that is known) or stands in the config."""
        if named.hot:
            return [Place(self.statements.where(path, line), "lines") for path, line, _ in _hot(failed)]
        if named.key:
            line = config_line(self.tree, clue.config, named.key) if clue.config else None
            return [Place(line, "config")] if line else []
        where = anchored(self.tree, self.statements, named.symbols, named.at)
        if where is None:
            return []
        ran = {s.where.symbol for s in runs.covered(self.statements, failed[0]).values()} if failed else None
        if ran is not None and not any(r == where.symbol or r.startswith(f"{where.symbol}.") for r in ran):
            return []
        return [Place(where, "symbol")]

    def _watched(self, question: Question, requests: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[Run]:
        if question.static is not None or question.name in self.untraced:
            return []
        return [run for r in requests if (run := self._run(question, r, keys)) is not None]

    def _run(self, question: Question, request: dict[str, Any], keys: Sequence[str]) -> Run | None:
        known = digest([question.name, list(keys), digest(_portable(request))])
        if known not in self._runs:
            try:
                self._runs[known] = runs.run_of(self.traced(question, request, keys))
            except (AuditError, ValueError):  # what can't be watched is not watched; its answer stands
                self._runs[known] = None
        return self._runs[known]


def _portable(request: dict[str, Any]) -> str:
    return repr(sorted(request.items()))


def _places(found: Sequence[Statement], how: str) -> Iterator[Place]:
    return (Place(s.where, how) for s in found)


def _hot(failed: Sequence[Run]) -> list[tuple[str, int, int]]:
    return failed[0].hot[:1] if failed else []


def _lines(ranking: Sequence[runs.Ranked]) -> Iterator[Place]:
    """The best statement of each of the first few functions."""
    functions = set[str]()
    for one in ranking:
        where = one.statement.where
        if where.symbol not in functions and len(functions) < FUNCTIONS:
            functions.add(where.symbol)
            yield Place(where, "lines")


def _parts(key: str) -> list[str]:
    """The parts of a dotted path, without indices; a name with slashes is one part."""
    return [key] if "/" in key else [re.sub(r"\[\d+\]$", "", part) for part in key.split(".")]
