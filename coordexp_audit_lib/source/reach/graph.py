"""What of a tree runs, from entry points and under one config: a call graph that rather holds too much than too little.

A function runs once code that runs names it, be it as a call or as a value. A class is made once code that runs names
it; from then on its special and public methods run, those that override an upstream class's, and whatever method has a
name that is read from any object (`x._step`), as instances of that class would find it. An import runs a module's top
level.
"""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.source.names import Function, last_name
from coordexp_audit_lib.source.reach.links import Links
from coordexp_audit_lib.source.reach.liveness import Body
from coordexp_audit_lib.source.reach.program import MODULE, External, Meaning, Node, Program, imported_names
from coordexp_audit_lib.source.reach.settings import Settings
from coordexp_audit_lib.source.reach.truth import Truth, read_by_name
from coordexp_audit_lib.source.tree import DEFINITIONS, assigned, statements, text_of

SHOWN_HOPS = 6
SYMBOL = re.compile(r"^[a-zA-Z_]\w*(\.\w+)*:[a-zA-Z_][\w.]*$")
# Decorators that leave a function to be called by its name; any other may keep it and call it itself.
PASSIVE = {
    *("staticmethod", "classmethod", "property", "dataclass", "abstractmethod", "contextmanager", "override"),
    *("overload", "cached_property", "lru_cache", "cache", "wraps", "no_grad", "inference_mode", "setter", "getter"),
    *("final", "total_ordering", "asynccontextmanager", "runtime_checkable", "singledispatch", "enable_grad"),
}


class Spot(msgspec.Struct, frozen=True):
    """What the graph says of one place. reached: None where the place cannot be found. why: the calls that lead there,
    or what keeps the line from running."""

    reached: bool | None
    why: str
    node: Node | None = None


class Graph:
    """Everything that runs from some entry points.

    entries: functions, classes or modules, by choice with who starts each; a module named as an entry is run as the
    main program. A path begins at the first entry from which a node is reached. hooks: by package
    outside the tree, the names with a leading underscore that its classes call on themselves, so that a method of that
    name overrides; of a package that is not listed every method counts as one. A public method of a class that is made
    always counts, since an object may be handed to code outside the tree. closed: says of a function or class why it
    is not used after all, "" where it may be.
    """

    def __init__(
        self,
        program: Program,
        settings: Settings,
        entries: Iterable[Node] | Mapping[Node, str],
        hooks: Mapping[str, frozenset[str]] = {},
        closed: Callable[[Node], str] = lambda _: "",
    ) -> None:
        self.program, self.hooks, self.closed = program, hooks, closed
        self.started = dict(entries) if isinstance(entries, Mapping) else dict.fromkeys(entries, "")
        main = next((e.path for e in self.started if e.name == MODULE), "")
        self.truth = Truth(program, settings, main)
        self.parents: dict[Node, Node | None] = {}
        self._made: dict[Node, set[str]] = {}  # classes that are made, with the names of their methods
        self._above: dict[Node, Node] = {}  # bases of classes that are made, with one of these
        self._loose: set[Node] = set()  # classes that are handed about, and so may be combined with others
        self._read: dict[
            str, dict[str, Node]
        ] = {}  # names read from objects of unknown class: by file, who reads first
        self._own: dict[tuple[Node, str], Node] = {}  # names read from `self` in a class
        self._waiting: deque[Node] = deque()
        self._handed: deque[tuple[Node, str]] = deque()
        self.links = Links(self.truth)
        for entry in self.started:
            self._reach(Node(entry.path, MODULE), None)
            self._reach(entry, None)
            self._grow()
        while self._handed:  # what only code outside the tree may call comes last, so that a path shows calls
            made, name = self._handed.popleft()
            self._reach_method(made, name, made)
            self._grow()

    # ---- answers ---------------------------------------------------------------------------------------------------

    def reaches(self, node: Node) -> bool:
        """Whether a function or module runs, or objects of a class are about."""
        return node in self.parents or node in self._above

    def at(self, path: str, line: int = 0, symbol: str = "") -> Spot:
        """What is known of a line of a file, or of a symbol (`module:Class.method` or its last part) in it."""
        module = self.program.module(path)
        name = symbol.rpartition(":")[2]
        known = module is not None and (not name or line or name in module.defined or name in module.bound)
        if module is None or not known:
            return Spot(None, f"{path} cannot be read" if module is None else f"{name} is not defined in {path}")
        node = Node(path, module.around(line) if line else "" if name in module.bound else name)
        if not self.reaches(node):
            return Spot(False, self.closed(node) or self._unreached(node), node)
        why = self.truth.runs(path, line) if line else None
        if why is not None:
            return Spot(False, f"line {line} does not run" + (f": {why}" if why else ""), node)
        return Spot(True, self.path_to(node), node)

    def through(self, functions: Sequence[Node], given: Mapping[str, Any], node: Node | None = None) -> str:
        """The calls that lead to one of some functions where its arguments have, or may have, the given values, and on
        to a node: the function that is nearest to it. "" where none is called so."""
        found: list[tuple[bool, int, list[Node]]] = []
        for function in functions:
            ways = self.links.callers(function, given) if given else [()] if self.reaches(function) else []
            onward = self.links.onward(function, node, self.reaches) if ways and node is not None else []
            found += [(not onward and function != node, len(onward), [*way, function, *onward]) for way in ways[:1]]
        if not found:
            return ""
        first, *then = min(found, key=lambda f: f[:2])[2]
        return self.path_to(first, then)

    def path_to(self, node: Node, onward: Sequence[Node] = ()) -> str:
        """The calls that lead to a node, from the entry, and on; the middle left out where there are many."""
        steps: list[Node] = []
        at: Node | None = node
        while at is not None:
            steps.append(at)
            at = self.parents.get(at, self._above.get(at))
        steps = [*reversed(steps), *onward]
        by = self.started.get(steps[0], "")
        steps = [s for s, n in zip(steps, [*steps[1:], None], strict=True) if n is None or self.program.owner(n) != s]
        shown = [*([by] if by else []), str(steps[0]), *(s.name or s.path for s in steps[1:])]
        half = SHOWN_HOPS // 2
        return " → ".join(shown if len(shown) <= SHOWN_HOPS + 1 else [*shown[:half], "…", *shown[-half:]])

    def _unreached(self, node: Node) -> str:
        if not self.reaches(Node(node.path, MODULE)):
            return f"nothing that runs imports {node.path}"
        return f"nothing that runs names {node.name}"

    # ---- growing ---------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        while self._waiting:
            self._visit(self._waiting.popleft())

    def _reach(self, node: Node, by: Node | None) -> None:
        self.links.add(by, node)
        if node not in self.parents and self.program.module(node.path) is not None and not self.closed(node):
            self.parents[node] = by
            self._waiting.append(node)

    def _visit(self, node: Node) -> None:
        if node.name == MODULE:
            self._module(node)
            return
        defined = self.program.defined(node)
        for d in defined:
            if isinstance(d.node, Function):
                body = Body(self.truth, node)
                self._take(node, body.nodes(d.node.body))
            else:
                self._make(node)
                self._class_body(node, d.node)
        if not defined:
            module = self.program.module(node.path)
            for value in module.bound.get(node.name, []) if module else []:
                self._take(node, Body(self.truth, node).nodes([ast.Expr(value, lineno=0)] if value else []))

    def _module(self, node: Node) -> None:
        """Run a module's top level. What a constant table names runs only once the table is read."""
        module = self.program.module(node.path)
        assert module is not None
        package = node.path.rpartition("/")[0]
        for n in range(package.count("/") + 1 if package else 0):
            above = "/".join(package.split("/")[: n + 1]) + "/__init__.py"
            if above != node.path and self.program.tree.exists(above):
                self._reach(Node(above, MODULE), node)
        tables = {id(s) for s in statements(module.tree.body) if assigned(s) and not _calls(getattr(s, "value", None))}
        body = Body(self.truth, node)
        kept = [s for s in module.tree.body if id(s) not in tables]
        self._take(node, body.nodes(kept))

    def _take(self, node: Node, live: Iterator[ast.AST]) -> None:
        """Follow what stands in a live body."""
        used: set[int] = set()  # what is called, or whose member is read, right where it is named
        for one in live:
            used |= {id(one.func)} if isinstance(one, ast.Call) else set()
            used |= {id(one.value)} if isinstance(one, ast.Attribute) else set()
            if isinstance(one, (ast.Import, ast.ImportFrom)):
                self._import(node, one)
            elif isinstance(one, DEFINITIONS):
                self._definition(node, one)
            elif isinstance(one, ast.Name):
                if isinstance(one.ctx, ast.Load):
                    self._meanings(node, self.program.name(node, one.id), loose=id(one) not in used)
            elif isinstance(one, ast.Attribute):
                self._attribute(node, one, loose=id(one) not in used)
            elif isinstance(one, ast.Call):
                self._call(node, one)
            elif isinstance(one, ast.Constant) and isinstance(one.value, str) and SYMBOL.match(one.value):
                self._named(node, one.value)

    def _import(self, node: Node, statement: ast.Import | ast.ImportFrom) -> None:
        for _, (target, name) in imported_names(statement, node.path):
            for file in self.program.files(target, node.path):
                self._reach(Node(file, MODULE), node)
            for file in self.program.files(f"{target}.{name}", node.path) if name and name != "*" else ():
                self._reach(Node(file, MODULE), node)
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                for file in self.program.files(alias.name, node.path):
                    self._reach(Node(file, MODULE), node)

    def _definition(self, node: Node, one: ast.AST) -> None:
        """Run what stands at a definition itself: decorators, default values, bases."""
        name = getattr(one, "name", "")
        inner = Node(node.path, f"{node.name}.{name}" if node.name else name)
        decorators = getattr(one, "decorator_list", [])
        arguments = getattr(one, "args", None)
        defaults = [*arguments.defaults, *arguments.kw_defaults] if arguments else []
        keywords = [k.value for k in getattr(one, "keywords", [])]
        body = Body(self.truth, node)
        self._take(node, body.nodes([ast.Expr(e) for e in [*decorators, *defaults, *keywords] if e]))
        called = (d.func if isinstance(d, ast.Call) else d for d in decorators)
        if any(last_name(d) not in PASSIVE or self._in_tree(node, d) for d in called):
            self._reach(inner, node)
        if isinstance(one, ast.ClassDef) and any(_registers(self.program, b) for b in self.program.order(inner)[1:]):
            self._reach(inner, node)

    def _in_tree(self, node: Node, decorator: ast.expr) -> bool:
        return any(isinstance(m, Node) for m in self.program.value(node, decorator))

    def _meanings(self, node: Node, meanings: Iterable[Meaning], loose: bool) -> None:
        for meaning in meanings:
            if not isinstance(meaning, External):
                self._reach(meaning, node)
                if loose and meaning not in self._loose and self.program.is_class(meaning):
                    self._loose.add(meaning)
                    names = self.program.members(meaning)
                    self._overrides(meaning, names)
                    for (_, name), by in list(self._own.items()):
                        if name in names:
                            self._reach_method(meaning, name, by)

    def _call(self, node: Node, call: ast.Call) -> None:
        """Names given as text: `getattr(x, "name")`, `import_module("a.b")`."""
        self.links.called(node, call)
        by = last_name(call.func)
        texts = [t for a in call.args if (t := text_of(a))]
        if by == "getattr":
            _, name = read_by_name(call)
            if name:
                self._member_read(node, call.args[0], name)
            else:  # one of the names that stand in the function, presumably
                around = {t for d in self.program.defined(node) for n in ast.walk(d.node) if (t := text_of(n))}
                self._members_read(node, around)
        elif by in ("attrgetter", "methodcaller"):
            self._members_read(node, {t.rpartition(".")[2] for t in texts})
        elif by in ("import_module", "__import__", "spec_from_file_location"):
            named = self.program.mentioned(node.path) if by.startswith("spec") else []
            for file in [*named, *(f for t in texts for f in self.program.files(t, node.path))]:
                self._reach(Node(file, MODULE), node)

    def _named(self, node: Node, symbol: str) -> None:
        """A text such as `package.module:name`, by which something may be loaded."""
        module, _, name = symbol.partition(":")
        for file in self.program.files(module, node.path):
            self._reach(Node(file, MODULE), node)
            self._meanings(node, self.program.top(file, name.partition(".")[0]), loose=True)

    def _members_read(self, node: Node, names: set[str]) -> None:
        for name in sorted(filter(str.isidentifier, names)):
            self._member_read(node, None, name)

    # ---- members ---------------------------------------------------------------------------------------------------

    def _attribute(self, node: Node, one: ast.Attribute, loose: bool) -> None:
        meanings = self.program.value(node, one)
        holders = self.program.value(node, one.value)
        if meanings and holders and not any(isinstance(m, External) for m in holders):
            self._meanings(node, meanings, loose)
            return
        if holders and all(isinstance(h, External) for h in holders):
            return  # a member of another package's module or class
        self._member_read(node, one.value, one.attr)

    def _member_read(self, node: Node, holder: ast.expr | None, name: str) -> None:
        """A name read from an object: from `self` the class around is known, from `super()` where to look."""
        self.links.read(node, name)
        owner = self.program.owner(node)
        if owner is not None and isinstance(holder, ast.Name) and holder.id in ("self", "cls"):
            self._read_from_self(node, owner, name)
        elif owner is not None and isinstance(holder, ast.Call) and getattr(holder.func, "id", "") == "super":
            self._read_above(node, owner, holder, name)
        elif node.path not in self._read.setdefault(name, {}):
            first = not self._read[name]
            self._read[name][node.path] = node
            for made in list(self._made) if first else ():
                self._find(made, name, self._reader(made, name))

    def _read_from_self(self, node: Node, owner: Node, name: str) -> None:
        if (owner, name) in self._own:
            return
        self._own[owner, name] = node
        for made in list(self._made):
            if owner in self.program.order(made) or made in self._loose:
                self._find(made, name, node)
        if self.program.method(owner, name) is None:  # another class of the same instance may have it
            self._member_read(node, None, name)

    def _read_above(self, node: Node, owner: Node, call: ast.Call, name: str) -> None:
        given = self.program.value(node, call.args[0]) if call.args else []
        starts = [m for m in given if isinstance(m, Node)] or [owner]
        for start in starts:
            for made in [start, *(m for m in self._made if start in self.program.order(m))]:
                found = self.program.method(made, name, after=start)
                if found is not None:
                    self._reach(found, node)
        self._own.setdefault((owner, f"super {name}"), node)

    def _make(self, node: Node) -> None:
        """A class is named by what runs: instances of it may be about."""
        names = self.program.members(node)
        self._made[node] = names
        order = self.program.order(node)
        for above in order[1:]:
            self._above.setdefault(above, node)
            self._reach(Node(above.path, MODULE), node)
            for d in self.program.defined(above):
                self._class_body(above, d.node)
        self._overrides(node, names)
        for name in sorted(names):
            if name in self._read or (name.startswith("__") and name.endswith("__")):
                self._find(node, name, self._reader(node, name))
        for (owner, name), by in list(self._own.items()):
            if owner in order or (node in self._loose and not name.startswith("super ")):
                if name.startswith("super "):
                    found = self.program.method(node, name.removeprefix("super "), after=owner)
                    if found is not None:
                        self._reach(found, by)
                else:
                    self._find(node, name, by)

    def _overrides(self, node: Node, names: set[str]) -> None:
        """The methods that code outside the tree may call: public ones, for an object may be handed to it, and those
        that override an upstream class's own. A class without such a base that is handed about may be joined with one
        (`type(name, (Mixin, base), {})`)."""
        packages = self._upstream(node)
        called = [n for n in names if not n.startswith("_") or self._hooks(packages, n)]
        inherited = {n for n in called if not self.program.defined(Node(node.path, f"{node.name}.{n}"))}
        self._handed += ((node, n) for n in sorted(called, key=lambda n: (n[0] == "_", n in inherited, n)))

    def _upstream(self, node: Node) -> set[str]:
        """The packages outside the tree whose classes may call a class's methods."""
        packages = self.program.packages_above(node)
        return packages or (set(self.hooks) if node in self._loose else set())

    def _hooks(self, packages: set[str], name: str) -> bool:
        """Whether one of some packages calls a private method of that name on its objects, or may, being unlisted."""
        return any(p not in self.hooks or name in self.hooks[p] for p in packages)

    def _reader(self, made: Node, name: str) -> Node:
        """Who is shown as reading a method's name: nobody for what upstream calls, else somebody in the class's own
        file or in that of who makes it."""
        packages = self._upstream(made)
        if packages and (not name.startswith("_") or self._hooks(packages, name)):
            return made
        readers = self._read.get(name, {})
        maker = self.parents.get(made)
        return readers.get(made.path) or (readers.get(maker.path) if maker else None) or made

    def _reach_method(self, made: Node, name: str, by: Node) -> None:
        found = self.program.method(made, name)
        if found is not None:
            self._reach(found, by)

    def _find(self, made: Node, name: str, by: Node) -> None:
        if name in self._made[made]:
            self._reach_method(made, name, by)

    def _class_body(self, node: Node, definition: ast.AST) -> None:
        """Fields, their types (an object may be made from them) and class attributes."""
        kept: list[ast.stmt] = []
        for statement in getattr(definition, "body", []):
            if isinstance(statement, ast.AnnAssign):
                kept.append(ast.Expr(statement.annotation))
            kept += [] if isinstance(statement, ast.ClassDef) else [statement]
        self._take(node, Body(self.truth, node).nodes(kept))


def _calls(value: ast.AST | None) -> bool:
    return value is not None and any(isinstance(n, ast.Call) for n in ast.walk(value))


def _registers(program: Program, node: Node) -> bool:
    """Whether a class gets to know its subclasses when they are defined."""
    return bool(program.defined(Node(node.path, f"{node.name}.__init_subclass__")))
