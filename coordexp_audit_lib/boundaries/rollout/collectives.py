"""Where a tree's collectives stand, and which of them only some ranks reach. Source is read, never imported.

A condition depends on the rank if it uses a name that says so (`rank`, `is_main_process`, `is_world_process_zero`, …),
a value computed from one, or a value that the same function hands to a gather: that is gathered because it differs
from rank to rank. What a broadcast or a reduction has filled is the same everywhere again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.tree import Tree

OPERATIONS = frozenset(
    {
        "barrier",
        "monitored_barrier",
        "wait_for_everyone",
        "all_reduce",
        "all_gather",
        "all_gather_object",
        "all_gather_into_tensor",
        "all_gather_coalesced",
        "broadcast",
        "broadcast_object_list",
        "broadcast_coalesced",
        "reduce",
        "reduce_scatter",
        "reduce_scatter_tensor",
        "scatter",
        "scatter_object_list",
        "gather",
        "gather_object",
        "gather_for_metrics",
        "all_to_all",
        "all_to_all_single",
        "new_group",
        "new_subgroups",
        "new_subgroups_by_enumeration",
        "GatheredParameters",
        "safe_barrier",
        "broadcast_obj",
        "gather_obj",
    }
)
PLAIN = frozenset({"barrier", "broadcast", "gather", "reduce", "scatter"})  # these names mean other things elsewhere
HOLDERS = re.compile(r"(^|\.)(dist|tdist|c10d|distributed|accelerator|accel|acc|comm|pg|group)$")
GATHERS = frozenset({"all_gather", "all_gather_object", "all_gather_into_tensor", "gather_object", "gather"})
RANK = re.compile(
    r"^_?(?:(?:\w+_)?rank(?:_?id)?|(?:\w+_)?process_index|is_(?:\w+_)?(?:main|master|zero|rank_?0|rank_?zero|leader)\w*"
    r"|is_\w*process_zero|is_world_process_zero|is_local_process_zero|rank_?zero|get_(?:\w+_)?rank)$"
)
NOT_RANK = re.compile(r"lora|frac|tensor_rank|matrix|low_rank")
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


def scan_module(module: ast.Module, path: str) -> list[Collective]:
    """Every collective of one module, through its own helpers by one hop."""
    functions = list(_functions(module))
    helpers = {n.name: ops for n, _ in functions if (ops := _direct(n))}
    found: list[Collective] = []
    for node, symbol in [(_outside(module), "<module>"), *functions]:
        walk = Walk(path, symbol, {k: v for k, v in helpers.items() if k != node.name}, node)
        walk.block(node.body, ())
        found += walk.found
    return found


def _outside(module: ast.Module) -> ast.FunctionDef:
    """The module's own statements, as a function without arguments."""
    made = ast.parse("def module(): pass").body[0]
    assert isinstance(made, ast.FunctionDef)
    made.body = module.body
    return made


def _functions(module: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Every function with its qualified name, nested ones too."""

    def inside(body: Sequence[ast.AST], prefix: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node, f"{prefix}{node.name}"
                yield from inside(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.ClassDef):
                yield from inside(node.body, f"{prefix}{node.name}.")
            elif not isinstance(node, ast.expr):
                yield from inside(list(ast.iter_child_nodes(node)), prefix)

    yield from inside(module.body, "")


def _direct(function: ast.AST) -> str:
    """The first collective that a function calls itself, or empty."""
    for node in _own(getattr(function, "body", [])):
        if isinstance(node, ast.Call) and (name := operation(node)):
            return name
    return ""


def _own(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Nodes below `body`, those of nested functions left out, in order of the source."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own(list(ast.iter_child_nodes(node)))


def operation(call: ast.Call) -> str:
    """The collective's name if the call is one, else empty."""
    name = _last(call.func)
    if name not in OPERATIONS:
        return ""
    if name not in PLAIN:
        return name
    holder = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    return name if HOLDERS.search(holder) else ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


Reasons = tuple[tuple[str, int, tuple[str, ...]], ...]  # how, line of the condition, its names; the last one counts
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
LEAVING = (ast.Return, ast.Continue, ast.Break)


class Walk:
    """Follows one function in order; `differs` holds the names whose value is not the same on every rank."""

    def __init__(
        self, path: str, symbol: str, helpers: dict[str, str], function: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> None:
        self.path, self.symbol, self.helpers = path, symbol, helpers
        self.found: list[Collective] = []
        self.gathered = _gathered(function.body)
        given = function.args
        self.differs = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg in self.gathered}

    def block(self, body: Sequence[ast.stmt], under: Reasons) -> Reasons:
        """Follow statements. Returns why some ranks have left the function, or the round of a loop, by the end."""
        left: Reasons = ()
        for node in body:
            left = (*left, *self.statement(node, (*under, *left)))
        return left

    def statement(self, node: ast.stmt, under: Reasons) -> Reasons:
        """Follow one statement; returns why some ranks have left by it, while others go on."""
        if isinstance(node, ast.If):
            return self.branch(node, under)
        if isinstance(node, ast.While | ast.For | ast.AsyncFor):
            return self.loop(node, under)
        if isinstance(node, ast.Match):
            names = self.names(node.subject)
            inner = (*under, ("branch", node.lineno, names)) if names else under
            return tuple(r for case in node.cases for r in self.block(case.body, inner))
        if isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                self.visit(item.context_expr, under)
            return self.block(node.body, under)
        if isinstance(node, ast.Try):
            parts = (node.body, *(h.body for h in node.handlers), node.orelse, node.finalbody)
            return tuple(r for part in parts for r in self.block(part, under))
        if not isinstance(node, DEFINITIONS):
            self.visit(node, under)
            self.learn(node, under)
        return ()

    def branch(self, node: ast.If, under: Reasons) -> Reasons:
        self.visit(node.test, under)
        names = self.names(node.test)
        alike = self.operations(node.body) == self.operations(node.orelse) and self.operations(node.body)
        inner = under if alike or not names else (*under, ("branch", node.lineno, names))
        left = (*self.block(node.body, inner), *self.block(node.orelse, inner))
        ends = [bool(part) and isinstance(part[-1], LEAVING) for part in (node.body, node.orelse)]
        if names and ends[0] != ends[1]:
            last = (node.body if ends[0] else node.orelse)[-1]
            left = (*left, ("return" if isinstance(last, ast.Return) else "skip", node.lineno, names))
        return left

    def loop(self, node: ast.While | ast.For | ast.AsyncFor, under: Reasons) -> Reasons:
        """A loop; what leaves only its round is over after it."""
        head = node.test if isinstance(node, ast.While) else node.iter
        self.visit(head, under)
        names = self.names(head)
        inner = (*under, ("branch", node.lineno, names)) if names else under
        left = (*self.block(node.body, inner), *self.block(node.orelse, under))
        return tuple(r for r in left if r[0] == "return")

    def operations(self, body: Sequence[ast.stmt]) -> list[str]:
        """What a branch calls, sorted, so that a branch and its counterpart can be compared."""
        found = (self.named(n) for n in _own(body) if isinstance(n, ast.Call))
        return sorted(name for name in found if name)

    def named(self, call: ast.Call) -> str:
        return operation(call) or self.helpers.get(_last(call.func), "")

    def visit(self, node: ast.AST, under: Reasons) -> None:
        """Note the collectives of an expression or a plain statement; `a if c else b` and `c and f()` branch, too."""
        if isinstance(node, ast.IfExp):
            self.visit(node.test, under)
            names = self.names(node.test)
            inner = (*under, ("branch", node.lineno, names)) if names else under
            self.visit(node.body, inner)
            self.visit(node.orelse, inner)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                self.visit(value, under)
                names = self.names(value)
                under = (*under, ("branch", node.lineno, names)) if names else under
        elif not isinstance(node, ast.Lambda):
            for child in ast.iter_child_nodes(node):
                self.visit(child, under)
            if isinstance(node, ast.Call):
                self.call(node, under)

    def call(self, node: ast.Call, under: Reasons) -> None:
        name = self.named(node)
        if not name:
            return
        shown = name if operation(node) else f"{_last(node.func)} ({name})"
        how, line, names = under[-1] if under else ("", 0, ())
        kind = "alone" if under else "shared"
        self.found.append(Collective(self.path, node.lineno, self.symbol, shown, kind, list(names), line, how))
        filled = node.args[:1] if name in GATHERS else node.args  # alike on every rank after it
        self.differs -= {n for a in filled for n in _names(a)}

    def learn(self, node: ast.stmt, under: Reasons) -> None:
        """Follow an assignment: what is computed from, or only under, something that differs, differs; so does what is
        gathered later."""
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) or node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {n for t in targets for n in _names(t)}
        if self.names(node.value) or any(how == "branch" for how, _, _ in under):
            self.differs |= names
        elif not isinstance(node, ast.AugAssign):
            self.differs -= names
        self.differs |= {n for n in names if node.lineno < self.gathered.get(n, 0)}

    def names(self, node: ast.AST) -> tuple[str, ...]:
        """The names in an expression that differ from rank to rank."""
        found = set()
        for part in _own([node]):
            if isinstance(part, ast.Name | ast.Attribute):
                name = part.attr if isinstance(part, ast.Attribute) else part.id
                says_rank = RANK.match(name) and not NOT_RANK.search(name)
                if says_rank or (isinstance(part, ast.Name) and name in self.differs):
                    found.add(name)
            elif isinstance(part, ast.Constant) and part.value in ENVIRONMENT:
                found.add(str(part.value))
        return tuple(sorted(found))


def _names(node: ast.AST) -> Iterator[str]:
    """The plain names that an expression, or an assignment's target, consists of."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Tuple | ast.List):
        for part in node.elts:
            yield from _names(part)
    elif isinstance(node, ast.Starred):
        yield from _names(node.value)


def _gathered(body: Sequence[ast.AST]) -> dict[str, int]:
    """Names handed to a gather (`all_gather(out, x)`, `gather(x)`), with the line of the last one."""
    found: dict[str, int] = {}
    for call in (n for n in _own(body) if isinstance(n, ast.Call)):
        name = operation(call)
        if name in GATHERS:
            given = call.args[1:2] if name.startswith("all_") else call.args[:1]
            for part in (p for a in given for p in ast.walk(a) if isinstance(p, ast.Name)):
                found[part.id] = max(found.get(part.id, 0), call.lineno)
    return found
