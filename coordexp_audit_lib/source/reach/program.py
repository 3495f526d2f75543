"""The modules, classes and functions of a tree as a call graph needs them: what a name means where it is written, and
which method an attribute is on a class. Source is read, never imported."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from functools import cached_property

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.names import Defined, Function, definitions, imported_from, module_files, own_nodes
from coordexp_audit_lib.source.reach.bindings import bindings, every, own_names
from coordexp_audit_lib.source.tree import DEFINITIONS, Tree, assigned, module_name, statements, text_of

MAX_HOPS = 16
MAX_NAME = 120
MODULE = ""  # the name of a module's top level
FILLERS = {"update", "setdefault", "pop", "popitem", "clear", "add", "discard", "remove", "append", "extend"}


class Node(msgspec.Struct, frozen=True, order=True):
    """Something that runs. name: `f`, `Class`, `Class.method`, `f.inner`, a name that a module binds, or "" for the
    module's top level."""

    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else self.path


class External(msgspec.Struct, frozen=True):
    """A name that comes from outside the tree, as far as it can be said: `transformers.Trainer`."""

    dotted: str


Meaning = Node | External


class Module:
    """One file's names.

    defined: functions and classes by qualified name, inner ones included. bound: names that assignments at the top
    level bind, with the values. imports: of the top level (by the name bound): the module, and the name in it ("" for
    the module itself). stars: modules that a star import reads.
    """

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path, self.tree = path, tree
        self.defined: dict[str, list[Defined]] = {}
        for one in definitions(tree):
            self.defined.setdefault(one.qualname, []).append(one)
        self.bound: dict[str, list[ast.expr | None]] = {}
        self.imports: dict[str, list[tuple[str, str]]] = {}
        self.stars: list[str] = []
        for statement in statements(tree.body):
            for name in assigned(statement):
                self.bound.setdefault(name, []).append(getattr(statement, "value", None))
            self._take_import(statement)

    def _take_import(self, statement: ast.stmt) -> None:
        for name, target in imported_names(statement, self.path):
            if name == "*":
                self.stars.append(target[0])
            else:
                self.imports.setdefault(name, []).append(target)

    @cached_property
    def changed(self) -> set[str]:
        """Names of the top level that functions assign to, and those of collections that are filled somewhere."""
        found = {name for n in every(self.tree) if isinstance(n, ast.Global) for name in n.names}
        for node in every(self.tree):
            filled = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
            called = isinstance(node, ast.Attribute) and node.attr in FILLERS
            if (filled or called) and isinstance(node.value, ast.Name):  # type: ignore[attr-defined]
                found.add(node.value.id)  # type: ignore[attr-defined]
        return found

    @cached_property
    def spans(self) -> list[tuple[int, int, str]]:
        """First and last line of every definition, outer before inner, by qualified name."""
        return [
            (d.node.lineno, d.node.end_lineno or d.node.lineno, q) for q, found in self.defined.items() for d in found
        ]

    def around(self, line: int) -> str:
        """The innermost definition that a line stands in; "" for the module's top level."""
        inside = [(first, name) for first, last, name in self.spans if first <= line <= last]
        return max(inside)[1] if inside else MODULE


def imported_names(statement: ast.stmt, path: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names that an import binds in a file, each with the module and the name there."""
    if isinstance(statement, ast.ImportFrom):
        source = imported_from(statement, path)
        yield from ((a.asname or a.name, (source, a.name)) for a in statement.names)
    elif isinstance(statement, ast.Import):
        for a in statement.names:
            yield (a.asname, (a.name, "")) if a.asname else (a.name.split(".")[0], (a.name.split(".")[0], ""))


class Program:
    """A tree's modules, parsed when they are asked for, and what follows from them. Shared by the graphs of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._modules: dict[str, Module | None] = {}
        self._orders: dict[Node, list[Node]] = {}
        self._bases: dict[Node, tuple[Meaning | None, ...]] = {}
        self._locals: dict[Node, frozenset[str]] = {}
        self._mentioned: dict[str, list[str]] = {}
        self._files: dict[str, list[str]] = {}
        self._bound: dict[Node, dict[str, list[ast.expr | None]]] = {}
        self._inner: dict[Node, dict[str, list[tuple[str, str]]]] = {}
        self._names: dict[tuple[Node, str], list[Meaning]] = {}

    def module(self, path: str) -> Module | None:
        """A file's names; None where it cannot be read or parsed."""
        if path not in self._modules:
            try:
                self._modules[path] = Module(path, self.tree.module(path))
            except SurfaceFailed:
                self._modules[path] = None
        return self._modules[path]

    def files(self, dotted: str, beside: str = "") -> list[str]:
        """The file that a module's name stands for: from the root, else beside the script that imports it."""
        folder = beside.rpartition("/")[0].replace("/", ".")
        return self._file(dotted) or (self._file(f"{folder}.{dotted}") if folder and dotted else [])

    def _file(self, dotted: str) -> list[str]:
        if dotted not in self._files:
            try:
                self._files[dotted] = module_files(self.tree, dotted)[:1]
            except SurfaceFailed:  # a name that leaves the tree, or is no path
                self._files[dotted] = []
        return self._files[dotted]

    def bindings(self, function: Node) -> dict[str, list[ast.expr | None]]:
        """What a function binds its local names to; of an import, and a fallback for it, only running tells which."""
        if function not in self._bound:
            found: dict[str, list[ast.expr | None]] = {name: [None] for name in self.inner_imports(function)}
            for d in self.defined(function):
                for name, value in bindings(d.node):
                    found.setdefault(name, []).append(value)
            self._bound[function] = found
        return self._bound[function]

    def defined(self, node: Node) -> list[Defined]:
        module = self.module(node.path)
        return module.defined.get(node.name, []) if module else []

    def is_class(self, node: Node) -> bool:
        return any(isinstance(d.node, ast.ClassDef) for d in self.defined(node))

    def is_function(self, node: Node) -> bool:
        return any(isinstance(d.node, Function) for d in self.defined(node))

    # ---- names -----------------------------------------------------------------------------------------------------

    def top(self, path: str, name: str, hops: int = MAX_HOPS) -> list[Meaning]:
        """What a module's own name may mean, through imports and re-exports."""
        module = self.module(path)
        if module is None or hops == 0:
            return []
        if name in module.defined or name in module.bound:
            return [Node(path, name)]
        found: list[Meaning] = []
        for target, there in module.imports.get(name, []):
            found += self.imported(target, there, path, hops - 1)
        if name in module.imports:
            return found
        for star in module.stars:
            for file in self.files(star, path):
                found += self.top(file, name, hops - 1)
        return found or self._lazy(path, name, hops)

    def _lazy(self, path: str, name: str, hops: int) -> list[Meaning]:
        """What a module may make up for a name that it does not bind: `__getattr__`, and that name in the modules that
        it mentions as text."""
        hook = Node(path, "__getattr__")
        if not self.defined(hook):
            return []
        there = (self.top(file, name, hops - 1) for file in self.mentioned(path))
        return [hook, *dict.fromkeys(m for found in there for m in found)]

    def mentioned(self, path: str) -> list[str]:
        """The files that the texts of a module may stand for: `"part.py"` in a folder above, `".part"`, `"a.b"`."""
        if path not in self._mentioned:
            module = self.module(path)
            texts = {t for n in every(module.tree) if (t := text_of(n))} if module else set()
            found: list[str] = []
            for text in sorted(t for t in texts if " " not in t and len(t) < MAX_NAME):
                if text.endswith(".py"):
                    folders = [path.rsplit("/", n)[0] for n in range(1, path.count("/") + 1)]
                    found += [f for f in (f"{folder}/{text}" for folder in folders) if self.tree.exists(f)][:1]
                elif text.replace(".", "").isidentifier():
                    found += self.files(text.strip("."), path)
            self._mentioned[path] = [f for f in dict.fromkeys(found) if f != path]
        return self._mentioned[path]

    def imported(self, target: str, name: str, path: str, hops: int = MAX_HOPS) -> list[Meaning]:
        """What `from target import name` (or `import target`, name "") brings into the module at `path`."""
        files = self.files(target, path)
        if not name:
            return [*(Node(f, MODULE) for f in files)] or self._package(target) or [External(target)]
        for file in files:
            found = self.top(file, name, hops)
            if found:
                return found
        below: list[Meaning] = [Node(f, MODULE) for f in self.files(f"{target}.{name}", path)]
        return below or ([] if files else [External(f"{target}.{name}")])

    def _package(self, target: str) -> list[Meaning]:
        """A folder without `__init__.py` is a package too; it has no top level of its own."""
        folder = target.replace(".", "/")
        there = bool(target) and (self.tree.root / folder).is_dir()
        return [Node(f"{folder}/__init__.py", MODULE)] if there else []

    def member(self, node: Node, name: str) -> list[Meaning]:
        """What `name` is on a module or a class; on a class, the first in the order of its bases."""
        if node.name == MODULE:
            found = self.top(node.path, name)
            package = module_name(node.path)
            return found or [Node(f, MODULE) for f in self.files(f"{package}.{name}")]
        method = self.method(node, name) if self.is_class(node) else None
        return [method] if method else []

    def local_names(self, node: Node) -> frozenset[str]:
        """The names that a function binds itself: parameters and what it assigns."""
        if node not in self._locals:
            self._locals[node] = frozenset(n for d in self.defined(node) for n in own_names(d.node))
        return self._locals[node]

    def enclosing(self, node: Node) -> list[Node]:
        """The functions that a definition stands in and it itself, innermost first; classes are no scope for names."""
        parts = node.name.split(".") if node.name else []
        outer = [Node(node.path, ".".join(parts[:n])) for n in range(len(parts), 0, -1)]
        return [o for o in outer if self.is_function(o)]

    def owner(self, node: Node) -> Node | None:
        """The class that a method, or a function inside one, belongs to."""
        parts = node.name.split(".")
        for n in range(len(parts) - 1, 0, -1):
            outer = Node(node.path, ".".join(parts[:n]))
            if self.is_class(outer):
                return outer
        return None

    # ---- classes ---------------------------------------------------------------------------------------------------

    def bases(self, node: Node) -> tuple[Meaning | None, ...]:
        """The bases of a class as written; None for one that cannot be told."""
        if node not in self._bases:
            self._bases[node] = ()
            found: list[Meaning | None] = []
            for d in self.defined(node):
                for base in getattr(d.node, "bases", []):
                    plain = base.value if isinstance(base, ast.Subscript) else base
                    meanings = self.value(Node(node.path, MODULE), plain)
                    found += meanings or [None]
            self._bases[node] = tuple(found)
        return self._bases[node]

    def order(self, node: Node) -> list[Node]:
        """A class and its bases within the tree, in the order in which a method is looked up (nearly: a base that is
        reached twice counts where it is reached last, as in Python's own order)."""
        if node not in self._orders:
            self._orders[node] = [node]
            found = [node]
            for base in self.bases(node):
                if isinstance(base, Node) and self.is_class(base):
                    found += self.order(base)
            last = {n: i for i, n in enumerate(found)}
            self._orders[node] = [n for i, n in enumerate(found) if last[n] == i]
        return self._orders[node]

    def method(self, node: Node, name: str, after: Node | None = None) -> Node | None:
        """The member `name` of a class that an instance would find first; after: of those behind this class."""
        order = self.order(node)
        if after is not None:
            order = order[order.index(after) + 1 :] if after in order else self.order(after)[1:]
        for one in order:
            found = Node(one.path, f"{one.name}.{name}")
            if self.defined(found):
                return found
        return None

    def members(self, node: Node) -> set[str]:
        """The names of all methods that instances of a class have from within the tree."""
        names = set()
        for one in self.order(node):
            module = self.module(one.path)
            for d in self.defined(one):
                if module and isinstance(d.node, ast.ClassDef):
                    names |= {n.name for n in statements(d.node.body) if isinstance(n, DEFINITIONS)}
        return names

    def packages_above(self, node: Node) -> set[str]:
        """The packages outside the tree and the standard library that a class inherits from; `?` for one unknown."""
        found = set()
        for one in self.order(node):
            for base in self.bases(one):
                if base is None or (isinstance(base, Node) and not self.is_class(base)):
                    found.add("?")
                elif isinstance(base, External):
                    top = base.dotted.partition(".")[0]
                    if top not in sys.stdlib_module_names and not hasattr(builtins, base.dotted):
                        found.add(top)
        return found

    # ---- expressions -----------------------------------------------------------------------------------------------

    def value(self, scope: Node, node: ast.AST) -> list[Meaning]:
        """What a name or a chain of attributes may mean where it is written; empty for what only running tells."""
        if isinstance(node, ast.Name):
            return self.name(scope, node.id)
        if isinstance(node, ast.Attribute):
            found: list[Meaning] = []
            for holder in self.value(scope, node.value):
                if isinstance(holder, External):
                    found.append(External(f"{holder.dotted}.{node.attr}"))
                else:
                    found += self.member(holder, node.attr)
            return found
        return []

    def name(self, scope: Node, name: str) -> list[Meaning]:
        """What a name means in a function, or at a module's top level."""
        if (scope, name) not in self._names:
            self._names[scope, name] = self._name(scope, name)
        return self._names[scope, name]

    def _name(self, scope: Node, name: str) -> list[Meaning]:
        for function in self.enclosing(scope):
            inner = Node(function.path, f"{function.name}.{name}")
            if self.defined(inner):
                return [inner]
            found = [m for t in self.inner_imports(function).get(name, []) for m in self.imported(*t, scope.path)]
            if found:
                return found
            if name in self.local_names(function):
                return []
        found = self.top(scope.path, name)
        return found or ([External(name)] if hasattr(builtins, name) else [])

    def inner_imports(self, function: Node) -> dict[str, list[tuple[str, str]]]:
        """The imports inside a function, by the name that they bind."""
        if function not in self._inner:
            found: dict[str, list[tuple[str, str]]] = {}
            for d in self.defined(function):
                for statement in own_nodes(d.node.body):
                    if isinstance(statement, (ast.Import, ast.ImportFrom)):
                        for bound, target in imported_names(statement, function.path):
                            found.setdefault(bound, []).append(target)
            self._inner[function] = found
        return self._inner[function]
