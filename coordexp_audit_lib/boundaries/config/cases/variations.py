"""Configs with one thing wrong: unknown keys, removed knobs, bad values, and shapes of chains that must be refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.predicates.messages import Tried, tried, unknown_key
from coordexp_audit_lib.boundaries.config.predicates.values import finite_number
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, Loaded, LoadRequest
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.finding import Authority, Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer
from coordexp_audit_lib.kit.nested import Path, dotted, get, steps

UNKNOWN = "unlisted_knob"
UNKNOWN_VALUES = (1, None)
TRIED = 0.5  # a weight that any loss may have
NOT_A_NUMBER: tuple[tuple[Any, str], ...] = (
    (math.nan, "NaN"),
    (math.inf, "an infinity"),
    (-math.inf, "an infinity"),
    (True, "a bool"),
)


def nodes_of(bench: Bench, *, stage2: bool) -> list[Path]:
    """The mapping nodes to try: those of the resolved config, and those that the skeleton knows besides."""
    contract = bench.ctx.contract
    sections, foreign = contract["config.stage2_sections"], contract["config.pass_through"]
    found = set(edits.mapping_nodes(bench.chain.merged)) | set(edits.mapping_nodes(contract["config.skeleton"]))
    mine = [n for n in found if n and (n[0] in sections) == stage2]
    kept = [n for n in mine if not any(dotted(n[:end]) in foreign for end in range(1, len(n) + 1))]
    return sorted(kept, key=dotted)


def unknown_keys(bench: Bench, nodes: Sequence[Path]) -> Iterator[Tried]:
    """Put an unknown key into each node that can be made to exist."""
    for node in nodes:
        start = bench.start(node)
        if start is not None:
            path = dotted((*node, UNKNOWN))
            for value in UNKNOWN_VALUES:
                yield tried(bench.load_with({**start, path: value}), path, value)


def inherited_keys(bench: Bench, sections: Sequence[str]) -> Iterator[Tried]:
    """Put an unknown key into the parents of the leaf, where they set one of the sections."""
    for i, file in enumerate(bench.chain.files[1:], start=1):
        section = next((s for s in sections if isinstance(file.raw.get(s), dict)), None)
        if section:
            path = (section, UNKNOWN)
            yield tried(bench.load(edits.with_value(bench.chain, path, 1, file=i)), dotted(path), 1)


def each_node(
    ctx: Context, found: Iterator[Tried], where: str = "", guidance: Authority | None = None
) -> Iterator[Problem]:
    """Count every key that was tried; one problem for each node where one of them came through.

    guidance: as `unknown_key` has it.
    """
    nodes: dict[str, bool] = {}
    for t in found:
        ctx.judged()
        node = t.path.rpartition(".")[0]
        if not nodes.get(node):
            yield from (weighed(ctx, p, node) for p in unknown_key(t, where, guidance))
        nodes[node] = nodes.get(node, False) or bool(t.flaws)
    if not where:
        ctx.fact("mapping nodes tried", len(nodes))
        ctx.fact("nodes", sorted(nodes))


def weighed(ctx: Context, problem: Problem, node: str) -> Problem:
    """By effect: a key that is lost where nothing but logs and dumps is set changes neither training nor evaluation."""
    told = any(node == n or node.startswith(f"{n}.") for n in ctx.contract.get("config.diagnostics", ()))
    return msgspec.structs.replace(problem, severity="P2") if told else problem


def removed_knobs(bench: Bench) -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """(path, a value it once had, its replacement's name, values that make its section exist) of each that can be
    tried; what can't is left out of the ledger's claim."""
    for path, old, replacement, _ in bench.ctx.contract["config.removed"]:
        start = {} if path.startswith("custom.") else bench.start(steps(path)[:-1])
        if start is None:
            bench.ctx.left_out(path, "the target accepts no section that would hold it")
        else:
            yield path, old, replacement, start


class BadValue(msgspec.Struct, frozen=True):
    """A value that a config must not get away with. clamped: bringing it into these bounds is as good as refusing."""

    path: str
    value: Any
    why: str
    clamped: tuple[float, float] | None = None

    def tolerated(self, answer: Answer[Loaded]) -> bool:
        """Whether the answer is right: refused, or brought into its range where that is allowed."""
        if answer.content is None or self.clamped is None:
            return answer.content is None
        effective = get(answer.content.config, self.path)
        return finite_number(effective) and self.clamped[0] <= effective <= self.clamped[1]


def _bad(path: str, row: dict[str, Any]) -> Iterator[BadValue]:
    """The values outside a number's range, and those that are no number; a text that reads like one in range."""
    yield from (BadValue(path, v, row["why"], row.get("clamped")) for v in row["bad"])
    yield from (BadValue(path, v, why) for v, why in (*NOT_A_NUMBER, (row.get("text", "2"), "a text")))
    if "fraction" in row:
        yield BadValue(path, row["fraction"], "a fraction for an int")


def weights_of(bench: Bench) -> list[str]:
    """The loss weights that the target's typed config has and that a config may set."""
    about = bench.ctx.contract["config.weights"]
    paths = [dotted(p) for p in edits.leaves(bench.loaded.config) if p[0] in about["sections"]]
    return [p for p in paths if p.endswith(about["end"]) and not bench.load_with({p: TRIED}).refused]


def bad_values(bench: Bench) -> Iterator[BadValue]:
    """Every bad value for the ranged keys that this config has."""
    contract = bench.ctx.contract
    for row in contract["config.ranges"]:
        if bench.get(row["key"].partition(".")[0]) is not None:
            yield from _bad(row["key"], row)
    choices = contract["config.choices"]
    yield from (BadValue(choices["key"], value, choices["why"]) for value in choices["bad"])
    for path in weights_of(bench):
        signed = contract["config.weights"]["signed"] in path
        yield from _bad(path, {"bad": () if signed else (-0.5,), "why": "a negative loss weight"})


class Shape(msgspec.Struct, frozen=True):
    """A chain that must be refused: what it is, the leaf, the files, and the names that the error must show."""

    what: str
    leaf: str
    files: dict[str, str]
    shown: tuple[str, ...]

    def judged(self, ctx: Context, subject: str) -> Iterator[Violation]:
        """Ask the target to load it, and judge what it says."""
        answer = ctx.ask(LOAD, LoadRequest(self.leaf, self.files))
        ctx.judged()
        case = {"leaf": self.leaf, "case": self.what}
        if answer.refusal is None:
            yield Violation(f"{subject} {self.what} is accepted.", self.leaf, "refused", "accepted", case)
            return
        missing = ", ".join(n for n in self.shown if n not in answer.refusal.message)
        if missing:
            what = f"{subject} {self.what} is refused, but the error does not show the chain: it lacks {missing}."
            yield Violation(what, self.leaf, list(self.shown), answer.refusal.message, case, severity="P2")
