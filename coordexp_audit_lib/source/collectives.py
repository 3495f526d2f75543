"""Where a tree's collectives stand, and which of them only some ranks reach. Source is read, never imported.

A condition depends on the rank if it uses a name that says so (`rank`, `is_main_process`, `is_world_process_zero`, …),
a value computed from one, or a value that the same function hands to a gather: that is gathered because it differs
from rank to rank. What a broadcast or a reduction has filled is the same everywhere again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.dataflow import Flow
from coordexp_audit_lib.source.names import Function, definitions, last_name, own_nodes, parameters
from coordexp_audit_lib.source.tree import DEFINITIONS, Tree

OPERATIONS = {
    *("barrier", "monitored_barrier", "wait_for_everyone", "all_reduce", "all_gather", "all_gather_object"),
    *("all_gather_into_tensor", "all_gather_coalesced", "broadcast", "broadcast_object_list", "broadcast_coalesced"),
    *("reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list", "gather", "gather_object"),
    *("gather_for_metrics", "all_to_all", "all_to_all_single", "new_group", "new_subgroups", "GatheredParameters"),
    *("new_subgroups_by_enumeration", "safe_barrier", "broadcast_obj", "gather_obj"),
}
PLAIN = frozenset({"barrier", "broadcast", "gather", "reduce", "scatter"})  # these names mean other things elsewhere
HOLDERS = re.compile(r"(^|\.)(dist|tdist|c10d|distributed|accelerator|accel|acc|comm|pg|group)$")
GATHERS = frozenset({"all_gather", "all_gather_object", "all_gather_into_tensor", "gather_object", "gather"})
RANK = re.compile(
    r"^_?(?:(?:\w+_)?rank(?:_?id)?|(?:\w+_)?process_index|is_(?:\w+_)?(?:main|master|zero|rank_?0|rank_?zero|leader)\w*"
    r"|is_\w*process_zero|is_world_process_zero|is_local_process_zero|rank_?zero|get_(?:\w+_)?rank)$"
)
NOT_RANK = re.compile(r"lora|frac|tensor_rank|matrix|low_rank|zero_?[123]|deepspeed")
ENVIRONMENT = frozenset({"RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"})


class ScanRequest(msgspec.Struct, frozen=True):
    """roots: folders of the tree whose Python files are read."""

    roots: tuple[str, ...] = ("src",)


class Collective(msgspec.Struct, frozen=True):
    """One call. operation: its name, or that of a helper that calls one. kind: `alone` where only some ranks reach it.

    condition: the names in the condition that differ from rank to rank; empty where every rank gets here.
    line_of_condition: 0 where there is none. how: `branch`, `return` (some ranks leave the function before it),
    `skip` (some leave the round of a loop) or empty.
    """

    path: str
    line: int
    symbol: str
    operation: str
    kind: str = "shared"
    condition: list[str] = []
    line_of_condition: int = 0
    how: str = ""


class Scan(msgspec.Struct, frozen=True):
    """collectives: in order of path and line. files: how many were read."""

    collectives: list[Collective]
    files: int


def scan(tree: Tree, request: ScanRequest) -> Scan:
    """Read the tree's files below the roots; one that does not parse is refused, not skipped."""
    paths = [p for p in tree.python_files if any(p.startswith(f"{r}/") or r in ("", ".") for r in request.roots)]
    if not paths:
        raise SurfaceFailed(
            "no Python file to read", where=", ".join(request.roots), remedy="give a folder with sources"
        )
    found = [c for p in paths for c in scan_module(tree.module(p), p)]
    return Scan(sorted(found, key=lambda c: (c.path, c.line, c.operation)), len(paths))


INSIDE = (*DEFINITIONS, ast.Lambda)
Names = frozenset[str]


def scan_module(module: ast.Module, path: str) -> list[Collective]:
    """Every collective of one module, through its own helpers by one hop."""
    functions = [(d.qualname, d.node) for d in definitions(module) if isinstance(d.node, Function)]
    helpers = {n.name: name for _, n in functions if (name := next(_operations(n.body), ""))}
    found = RankFlow(path, "<module>", helpers).run(module)
    for symbol, node in functions:
        found += RankFlow(path, symbol, {k: v for k, v in helpers.items() if k != node.name}).run(node)
    return found


def operation(call: ast.Call) -> str:
    """The collective's name if the call is one, else empty."""
    name = last_name(call.func)
    if name not in OPERATIONS:
        return ""
    if name not in PLAIN:
        return name
    holder = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    return name if HOLDERS.search(holder) else ""


def _calls(body: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (n for n in own_nodes(body, INSIDE) if isinstance(n, ast.Call))


def _operations(body: Iterable[ast.AST]) -> Iterator[str]:
    return (name for call in _calls(body) if (name := operation(call)))


def _gathered(body: Iterable[ast.AST]) -> dict[str, int]:
    """Names handed to a gather (`all_gather(out, x)`, `gather(x)`), with the line of the last one."""
    found: dict[str, int] = {}
    for call in _calls(body):
        name = operation(call)
        if name in GATHERS:
            given = call.args[1:2] if name.startswith("all_") else call.args[:1]
            for part in (
                p for a in given for p in ast.walk(a) if isinstance(p, ast.Name) and p.id not in ("self", "cls")
            ):
                found[part.id] = max(found.get(part.id, 0), call.lineno)
    return found


class RankFlow(Flow[Names]):
    """Follows one function. A value is the names in it that differ from rank to rank."""

    nothing: Names = frozenset()
    rounds = 1

    def __init__(self, path: str, symbol: str, helpers: dict[str, str]) -> None:
        super().__init__()
        self.path, self.symbol, self.helpers = path, symbol, helpers
        self.found: dict[tuple[int, int], Collective] = {}
        self.gathered: dict[str, int] = {}

    def run(self, node: Function | ast.Module) -> list[Collective]:
        self.gathered = _gathered(node.body)
        self.names = {n: frozenset({n}) for n in parameters(node) if n in self.gathered}
        self.block(node.body)
        return list(self.found.values())

    def join(self, parts: Iterable[Names]) -> Names:
        return frozenset().union(*parts)

    def splits(self, node: ast.If) -> bool:
        """Not where both branches call the same collectives."""
        ours, theirs = (sorted(filter(None, map(self.named, _calls(b)))) for b in (node.body, node.orelse))
        return not ours or ours != theirs

    def assign(self, name: str, value: Names, source: ast.expr | None) -> None:
        """What is computed from, or only under, something that differs, differs; so does what is gathered later."""
        under = any(g.how == "branch" for g in self.under)
        differs = bool(value) or under or self.line < self.gathered.get(name, 0)
        self.names[name] = frozenset({name}) if differs else self.nothing

    def of_Name(self, node: ast.Name) -> Names:
        return frozenset({node.id}) if says_rank(node.id) or self.names.get(node.id) else self.nothing

    def of_Attribute(self, node: ast.Attribute) -> Names:
        return self.value(node.value) | (frozenset({node.attr}) if says_rank(node.attr) else self.nothing)

    def of_Constant(self, node: ast.Constant) -> Names:
        return frozenset({str(node.value)}) if node.value in ENVIRONMENT else self.nothing

    def of_IfExp(self, node: ast.IfExp) -> Names:
        return self.guarded(node, node.test, (node.body, node.orelse)) | self.value(node.test)

    def of_Call(self, node: ast.Call) -> Names:
        value = self.of_other(node)
        name = self.named(node)
        if not name:
            return value
        shown = name if operation(node) else f"{last_name(node.func)} ({name})"
        last = self.under[-1] if self.under else None
        how, line, names = (last.how, last.line, sorted(last.value)) if last else ("", 0, [])
        kind = "alone" if last else "shared"
        at = (node.lineno, node.col_offset)
        self.found.setdefault(at, Collective(self.path, node.lineno, self.symbol, shown, kind, names, line, how))
        for argument in node.args[:1] if name in GATHERS else node.args:  # alike on every rank after it
            self.names |= dict.fromkeys(_plain(argument), self.nothing)
        return self.of_other(node)

    def named(self, call: ast.Call) -> str:
        return operation(call) or self.helpers.get(last_name(call.func), "")


def says_rank(name: str) -> bool:
    """Whether a name says that its value differs from rank to rank."""
    return bool(RANK.match(name)) and not NOT_RANK.search(name)


def _plain(node: ast.expr) -> Iterator[str]:
    """The plain names that an argument consists of."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, (ast.Tuple, ast.List)):
        for part in node.elts:
            yield from _plain(part)
    elif isinstance(node, ast.Starred):
        yield from _plain(node.value)
