"""Names of a package, resolved in its source: modules are loaded one by one, with griffe, when a name leads there."""

from __future__ import annotations

import ast
import logging
import warnings
from pathlib import Path

import griffe
import msgspec

from coordexp_audit_lib.source.archive import Files, Unreadable
from coordexp_audit_lib.source.lazy import Offers, offers
from coordexp_audit_lib.source.parsing import Parser, TooLarge
from coordexp_audit_lib.source.tree import definitions, find_definition, module_name, module_paths

logging.getLogger("griffe").setLevel(logging.CRITICAL)
MAX_DEPTH = 60


class Source(msgspec.Struct, frozen=True, eq=False):
    """One release of a package.

    distribution: as on PyPI. package: as imported. version: empty where nothing says it. kind: wheel, sdist, tree or
    installed.
    """

    distribution: str
    package: str
    version: str
    kind: str
    files: Files


class Place(msgspec.Struct, frozen=True):
    """Where a name is defined. qualname: empty for a module. griffe: its facts; None for an attribute set on `self`."""

    module: str
    qualname: str
    griffe: griffe.Object | None = None

    @property
    def symbol(self) -> str:
        return f"{self.module}:{self.qualname}" if self.qualname else self.module


class Absent(msgspec.Struct, frozen=True):
    """A name that is not there (`gone`), comes from elsewhere (`outside`), or cannot be followed (`undecided`)."""

    status: str
    why: str


Answer = Place | Absent
GONE = Absent("gone", "")


class Package:
    """The modules of one release, loaded on demand and once.

    `find(module, name)` follows imports, star imports, aliases by assignment and lazy roots. What stands under
    `if TYPE_CHECKING` only does not count, for it is not there at run time.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._modules: dict[str, griffe.Module | None] = {}
        self._trees: dict[str, ast.Module] = {}
        self._tops: dict[str, dict[str, ast.stmt]] = {}
        self._parser = Parser()
        self._offers: dict[str, Offers] = {}
        self._found: dict[tuple[str, str], Answer] = {}
        self.orders: dict[str, list[Place | str]] = {}  # of bases, as `classes.linearised` finds them

    def path(self, module: str) -> str | None:
        """The file of a module: a package before a module of the same name, as Python has it."""
        return next((p for p in module_paths(module) if p in self.source.files.names), None)

    def tree(self, module: str) -> ast.Module:
        """The syntax tree of a module that is there.

        Raises:
            Unreadable: its file cannot be read or parsed.
        """
        if module not in self._trees:
            path = self.path(module) or ""
            try:
                self._trees[module] = self._parser.parse(self.source.files.text(path) or "", path)
            except TooLarge as error:
                raise Unreadable(f"{path} is not read: {error}") from error
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None)
                raise Unreadable(f"{path} does not parse{f' (line {line})' if line else ''}") from error
        return self._trees[module]

    def module(self, module: str) -> griffe.Module | None:
        """What griffe reads in a module; None where the package has no such module."""
        if module not in self._modules:
            path = self.path(module)
            if path is None:
                self._modules[module] = None
            else:
                self.tree(module)
                try:
                    with self._parser.counted(), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        code = self.source.files.text(path) or ""
                        name = module.rpartition(".")[2]
                        self._modules[module] = griffe.visit(name, Path(path), code, parent=self._parent(module))
                except (SyntaxError, ValueError, RecursionError, AttributeError, KeyError) as error:
                    raise Unreadable(f"{path} cannot be analysed: {type(error).__name__}") from error
        return self._modules[module]

    def _parent(self, module: str) -> griffe.Module | None:
        """Empty modules for the packages above, by which griffe resolves relative imports."""
        above = module.rpartition(".")[0]
        if not above:
            return None
        path = Path(above.replace(".", "/") + "/__init__.py")
        return griffe.Module(above.rpartition(".")[2], filepath=path, parent=self._parent(above))

    def lazy(self, module: str) -> Offers:
        """What a lazy module hands out on request."""
        if module not in self._offers:
            self._offers[module] = offers(self.tree(module), module, (self.path(module) or "").endswith("__init__.py"))
        return self._offers[module]

    def resolve(self, symbol: str) -> Answer:
        """Where `package.module:Class.method` is defined: members are looked for on base classes as well."""
        from coordexp_audit_lib.source.classes import member

        module, _, qualname = symbol.partition(":")
        parts = qualname.split(".") if qualname else []
        try:
            if self.module(module) is None:
                return self._away(module)
            place: Answer = self.find(module, parts[0]) if parts else Place(module, "")
            for part in parts[1:]:
                if isinstance(place, Absent):
                    return place
                place = member(self, place, part)
        except Unreadable as error:
            return Absent("undecided", str(error))
        return place

    def _away(self, module: str) -> Absent:
        inside = module.partition(".")[0] == self.source.package
        return Absent("gone", f"there is no module {module}") if inside else Absent("outside", module)

    def find(self, module: str, name: str, depth: int = 0) -> Answer:
        """Where a top-level name of a module is defined."""
        key = (module, name)
        if key not in self._found:
            if depth > MAX_DEPTH:
                return Absent("undecided", f"{module}:{name} is imported through too many modules")
            self._found[key] = GONE  # a cycle of imports finds nothing
            self._found[key] = self._find(module, name, depth + 1)
        return self._found[key]

    def _find(self, module: str, name: str, depth: int) -> Answer:
        loaded = self.module(module)
        found = loaded.members.get(name) if loaded else None
        if loaded is None:
            return self._away(module)
        if found is not None and found.runtime:
            return self._follow(module, name, found, depth)
        lazy = self.lazy(module)
        if name in lazy.names:
            there = self.find(*lazy.names[name], depth)
            if there == GONE:
                return Absent("gone", f"{module} offers {name}, but {lazy.names[name][0]} does not define it")
            return there
        answers = [self._collected(prefix, name, depth) for prefix in lazy.collected]
        answers.append(self._starred(loaded, name, depth))
        if self.path(f"{module}.{name}") is not None:
            answers.append(Place(f"{module}.{name}", ""))
        if lazy.opaque:
            answers.append(Absent("undecided", f"{module} makes its names in __getattr__"))
        return min(answers, key=lambda a: (isinstance(a, Absent), a == GONE))

    def _follow(self, module: str, name: str, found: griffe.Object | griffe.Alias, depth: int) -> Answer:
        if isinstance(found, griffe.Alias):
            return self._imported(found.target_path, depth)
        if isinstance(found, griffe.Module):
            return Place(f"{module}.{name}", "")
        if isinstance(found, griffe.Attribute):
            value = str(found.value or "")
            if value.replace(".", "").isidentifier() and value not in ("None", "True", "False", name):
                return self.dotted(module, value, depth)
        return Place(module, name, found)

    def _imported(self, target: str, depth: int) -> Answer:
        """Where `a.b.c` is defined: the longest prefix that is a module, then names in it."""
        if target.partition(".")[0] != self.source.package:
            return Absent("outside", target)
        if self.path(target) is not None:
            head, _, tail = target.rpartition(".")
            loaded = self.module(head) if head else None
            if loaded is None or tail not in loaded.members:  # a name hides a submodule
                return Place(target, "")
        head, _, tail = target.rpartition(".")
        return self.find(head, tail, depth) if head else GONE

    def dotted(self, module: str, name: str, depth: int = 0) -> Answer:
        """Where `a.b`, written in a module, is defined."""
        from coordexp_audit_lib.source.classes import member

        first, *rest = name.split(".")
        place = self.find(module, first, depth)
        for part in rest:
            if isinstance(place, Absent):
                return Absent(place.status, f"{place.why}.{part}") if place.status == "outside" else place
            place = member(self, place, part)
        return place

    def _starred(self, loaded: griffe.Module, name: str, depth: int) -> Answer:
        away = GONE
        for key, star in loaded.members.items():
            if not key.endswith("/*") or not isinstance(star, griffe.Alias) or not star.runtime:
                continue
            if star.target_path.split(".")[0] != self.source.package:
                away = Absent("outside", f"{star.target_path}.*")
            elif self._exports(star.target_path, name):
                there = self.find(star.target_path, name, depth)
                if isinstance(there, Place):
                    return there
        return away

    def _exports(self, module: str, name: str) -> bool:
        """Whether `from module import *` brings the name."""
        loaded = self.module(module)
        if loaded is None:
            return False
        listed = loaded.exports
        if listed is not None and all(isinstance(n, str) for n in listed):
            return name in listed
        return not name.startswith("_")

    def _collected(self, prefix: str, name: str, depth: int) -> Answer:
        """A name that a root collects from the `__all__` of every module below a prefix."""
        base = prefix.replace(".", "/") + "/"
        for path in self.mentioning(name):
            module = module_name(path)
            if path.startswith(base) and not path.endswith("__init__.py"):
                loaded = self.module(module)
                if loaded is not None and name in (loaded.exports or ()):
                    return self.find(module, name, depth)
        return GONE

    def mentioning(self, name: str) -> list[str]:
        """The files that define a top-level class or function of that name, shortest path first."""
        starts = (f"class {name}(", f"class {name}:", f"def {name}(", f"async def {name}(")
        found = []
        for path in self.source.files.names:
            if path.endswith(".py") and path.startswith(f"{self.source.package}/"):
                try:
                    text = self.source.files.text(path) or ""
                except Unreadable:
                    continue
                if any(f"\n{s}" in text or text.startswith(s) for s in starts):
                    found.append(path)
        return sorted(found, key=lambda p: (p.count("/"), p))

    def node(self, place: Place) -> ast.AST | None:
        """The syntax tree of what stands at a place."""
        tree = self.tree(place.module)
        if not place.qualname:
            return tree
        if place.module not in self._tops:
            self._tops[place.module] = definitions(tree.body)
        head, _, below = place.qualname.partition(".")
        top = self._tops[place.module].get(head)
        return find_definition(top, below) if below and top is not None else top
