"""The audited configs of one tree, and what each of their runs reaches."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any

import msgspec

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Reached
from coordexp_audit_lib.kit.nested import dotted, get, lookup, steps
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.reach import tables
from coordexp_audit_lib.pipelines.coordexp.reach.configs import Resolved, resolved
from coordexp_audit_lib.source.names import module_files
from coordexp_audit_lib.source.reach import Graph, Node, Program, Settings, Written, schema_defaults, written_names
from coordexp_audit_lib.source.tree import Tree

KEY = re.compile(r"^[a-z_]\w*(\[\d+\])*(\.\w+(\[\d+\])*)*$")
# What a launcher runs in Python: `from a.b import c`, `python path/x.py`, `-m a.b`.
SHELL_IMPORT = re.compile(r"^\s*from\s+([\w.]+)\s+import\s+([\w, ]+)$", re.MULTILINE)
SHELL_SCRIPT = re.compile(r"(?:^|[\s/\"'}])((?:[\w.-]+/)+[\w.-]+\.py)\b")
SHELL_MODULE = re.compile(r"\s-m\s+([\w.]+)")
ABOUT_KEYS = ("key_rejected", "required_key")  # claims whose subject is a key that a config may have
ABSENT = object()


class Said(msgspec.Struct, frozen=True):
    """What is known of one config. reached: None where nothing is."""

    reached: bool | None
    why: str


class Audited:
    """Answers for the configs of one tree; a config's graph is made when a place is first asked for, and once.

    configs: names as they stand in the tree. A config that the tree cannot resolve reaches nothing that can be told.
    """

    def __init__(self, tree: Tree, configs: Sequence[str]) -> None:
        self.tree = tree
        self.program = Program(tree)
        self.configs = {c: r for c in configs if (r := resolved(tree, c)) is not None}
        self._graphs: dict[str, Graph] = {}
        self._shared: dict[str, Any] | None = None

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        """config: the one that the finding is about, "" where it is about none."""
        said = {c: self._of(c, claim, where, subject) for c in self.configs}
        reached = [c for c, s in said.items() if s.reached]
        if config in reached or (reached and not config):
            named = [config] if config else reached
            return Reached("this config", said[named[0]].why, tuple(reached))
        if config and config not in said:
            return Reached("unknown", f"{config} cannot be resolved")
        if reached:
            own = said[config].why
            return Reached("another config", f"{said[reached[0]].why}; here {own}", tuple(reached))
        unknown = next((s.why for s in said.values() if s.reached is None), "")
        if not said or unknown:
            return Reached("unknown", unknown or "no audited config can be resolved")
        why = "; ".join(dict.fromkeys(s.why for s in said.values()))
        told = any(self._key(c, claim, subject) for c in said) or _conditioned(claim, subject)
        elsewhere = self._elsewhere(claim, where, subject) if where is not None and not told else None
        return elsewhere._replace(by=f"{elsewhere.by}; {why}") if elsewhere else Reached("none", why)

    def _of(self, config: str, claim: str, where: Where | None, subject: str) -> Said:
        key = self._key(config, claim, subject)
        if key is not None:
            return key
        condition = _conditioned(claim, subject)
        told = self._condition(config, condition)
        if told is not None and (where is None or not told.reached or isinstance(condition, tables.Feeder)):
            return told
        place = Said(None, "no place is named") if where is None else self._place(config, where)
        if place.reached is not False:
            place = self._called(config, _asked(claim, subject), where) or place
        return Said(place.reached, f"{place.why}; {told.why}") if told is not None and place.reached else place

    # ---- keys ------------------------------------------------------------------------------------------------------

    def _key(self, config: str, claim: str, subject: str) -> Said | None:
        """Of a subject that is a key of the config: whether it, or the mapping that it would stand in, is there."""
        ours = claim.startswith("config.")
        if not KEY.match(subject) or not (ours or "." in subject):
            return None
        values, path = self._config(config), steps(subject)
        for switched, setting in tables.SECTIONS.items():
            if dotted(path).startswith(f"{switched}."):
                told = self._condition(config, setting)
                if told is not None and not told.reached:
                    return told
        value = lookup(values, path, ABSENT)
        if value is not ABSENT:
            shown = "set" if isinstance(value, (dict, list)) else repr(value)
            return Said(True, f"the config's own value: {subject} is {shown}")
        section = path[:-1]
        if not claim.endswith(ABOUT_KEYS):
            return Said(False, f"the config does not set {subject}") if ours and section else None
        if isinstance(lookup(values, section, None), dict):
            return Said(True, f"the config's chain sets {dotted(section) or 'the top level'}")
        return Said(False, f"the config's chain has no {dotted(section)}")

    # ---- conditions ------------------------------------------------------------------------------------------------

    def _config(self, config: str) -> dict[str, Any]:
        return (self.configs.get(config) or self._others[config]).values

    @cached_property
    def _others(self) -> dict[str, Resolved]:
        """Of each trainer variant that no audited config has, one config that the tree ships."""
        found: dict[str, Resolved] = {}
        known = {get(r.values, tables.VARIANT) for r in self.configs.values()}
        for path in self.tree.files((tables.CONFIGS,), ".yaml"):
            read = resolved(self.tree, path)
            if read and {"custom", "training"} <= read.values.keys():
                variant = get(read.values, tables.VARIANT)
                found |= {path: read} if variant not in known else {}
                known.add(variant)
        return found

    def _closed(self, config: str) -> Callable[[Node], str]:
        """Says of a function or class under which condition, that the config does not fulfil, it would be used."""
        told = {start: self._condition(config, condition) for start, condition in tables.PLACES.items()}
        shut = {start: said.why for start, said in told.items() if said is not None and not said.reached}

        def why(node: Node) -> str:
            spot = f"{node.path}:{node.name}."
            starts = (s for s in shut if spot.startswith(s if s.endswith(("/", ":")) else f"{s}."))
            return shut.get(next(starts, ""), "") if node.name else ""

        return why

    def _condition(self, config: str, condition: tables.Condition | None) -> Said | None:
        if isinstance(condition, tables.Setting):
            idle = next((n for n in self._nodes(tables.MAIN) if self._stays_none(n, condition.local)), None)
            if idle is not None:
                return Said(False, f"{condition.because}: {idle} leaves {condition.local} None, whatever a config says")
        if isinstance(condition, (tables.Setting, tables.AnyOf, tables.AllOf)):
            return Said(*condition.holds(self._config(config)))
        if isinstance(condition, tables.Feeder):
            nodes = list(self._nodes(condition.symbols))
            graph = self._graph(config)
            live = next((n for n in nodes if graph.reaches(n)), None)
            if live is not None:
                return Said(True, _static(graph.path_to(live)))
            return Said(False, f"nothing that runs calls {nodes[0].name}: {condition.because}") if nodes else None
        if isinstance(condition, tables.Refused):
            by = next((n for n in self._nodes(condition.by) if self._refuses(n, condition.setting)), None)
            return Said(False, f"{by.name} refuses {condition.setting} before") if by is not None else None
        return None

    def _nodes(self, candidates: Iterable[str]) -> Iterator[Node]:
        for symbol in candidates:
            module, _, name = symbol.rstrip("?").partition(":")
            for path in module_files(self.tree, module):  # a package, and a module of the same name that it loads
                node = Node(path, name)
                if self.program.defined(node):
                    yield node

    def _stays_none(self, node: Node, local: str) -> bool:
        """Whether a function binds a local name, and to nothing but None."""
        bound = self.program.bindings(node).get(local, []) if local else []
        return bool(bound) and all(isinstance(b, ast.Constant) and b.value is None for b in bound)

    def _refuses(self, node: Node, setting: str) -> bool:
        """Whether a function raises under a test of a setting that stands in no other test."""
        tests = [s for d in self.program.defined(node) for s in d.node.body if isinstance(s, ast.If)]
        named = (s for s in tests if isinstance(s.test, ast.Attribute) and s.test.attr == setting)
        return any(isinstance(s.body[-1], ast.Raise) for s in named)

    # ---- places ----------------------------------------------------------------------------------------------------

    def _place(self, config: str, where: Where) -> Said:
        if where.path.endswith(".py"):
            spot = self._graph(config).at(where.path, where.line, where.symbol)
            made = tables.WRITERS.get(where.path)
            if not spot.reached and made is not None:
                value = lookup(self._config(config), steps(made[0]), "")
                if str(value).endswith(made[1]):
                    return Said(True, f"{made[0]} is {value}, which {where.path} writes")
            return Said(spot.reached, _static(spot.why) if spot.reached else spot.why)
        if where.path in tables.LAUNCHERS:
            needed = tables.LAUNCHERS[where.path]
            if self._launches(config, needed):
                return Said(True, f"{where.path} launches it")
            return Said(False, f"{where.path} is for configs with {needed}")
        if where.path.endswith((".yaml", ".yml")):
            read = self.configs.get(config) or self._others[config]
            own = where.path in read.files
            return Said(own, f"{where.path} is {'' if own else 'not '}in its chain")
        return Said(None, f"{where.path} is no file of the program")

    def _called(self, config: str, asked: tables.Called | None, where: Where | None) -> Said | None:
        """Whether a function runs with the arguments that a violation needs; None where nothing such is needed."""
        nodes = list(self._nodes(asked.symbols)) if asked is not None else []
        if asked is None or not nodes:
            return None
        path = self._through(self._graph(config), nodes, asked, where)
        if path:
            return Said(True, _static(path))
        shown = " and ".join(f"{name} {value!r}" for name, value in asked.given.items())
        return Said(False, f"nothing that runs calls {nodes[0].name}{f' with {shown}' if shown else ''}")

    def _through(self, graph: Graph, nodes: list[Node], asked: tables.Called, where: Where | None) -> str:
        spot = graph.at(where.path, where.line, where.symbol) if where is not None else None
        return graph.through(nodes, asked.given, spot.node if spot is not None else None)

    def _launches(self, config: str, needed: str) -> bool:
        return not needed or lookup(self._config(config), steps(needed), None) is not None

    def _graph(self, config: str) -> Graph:
        if config not in self._graphs:
            if self._shared is None:
                src = [p for p in self.tree.python_files if p.startswith(f"{_package()}/")]
                root = next(self._nodes(symbols.TRAINING_CONFIG), None)
                self._shared = {
                    "defaults": schema_defaults(self.program, root) if root else {},
                    "written": self._written(src),
                    "switches": tables.SWITCHES,
                    "holders": tables.HOLDERS,
                }
            settings = Settings(self._config(config), **self._shared)
            self._graphs[config] = Graph(
                self.program, settings, self._entries(config), tables.HOOKS, self._closed(config)
            )
        return self._graphs[config]

    def _written(self, paths: list[str]) -> Written:
        """What code writes to; what reads the files writes to their mappings before the schema sees them."""
        found = written_names(self.program, paths, tables.SCHEMAS)
        reading = [p for p in paths if p.startswith(f"{PurePosixPath(tables.SCHEMAS[0]).parent}/")]
        before = written_names(self.program, reading, tables.SCHEMAS)
        return Written(found.attributes | before.keys, found.keys)

    def _entries(self, config: str) -> dict[Node, str]:
        """The training program first, then what the launchers of the config run, with the launcher's name."""
        found = dict.fromkeys(self._nodes(tables.MAIN), "")
        for launcher, needed in tables.LAUNCHERS.items():
            if self._launches(config, needed) and self.tree.exists(launcher):
                for node in self._launched(self.tree.text(launcher)):
                    found.setdefault(node, launcher)
        return found

    def _launched(self, text: str) -> Iterator[Node]:
        """What a shell script runs in Python."""
        for module, names in SHELL_IMPORT.findall(text):
            for name in (n.strip() for n in names.split(",")):
                members = re.findall(rf"\b{name}\.(\w+)\(", text)
                yield from self._nodes(f"{module}:{n}" for n in (*(f"{name}.{m}" for m in members), name))
        for script in filter(self.tree.exists, SHELL_SCRIPT.findall(text)):
            yield Node(script, "main")
        for module in SHELL_MODULE.findall(text):
            yield from self._nodes([f"{module}:main"])

    def _elsewhere(self, claim: str, where: Where, subject: str) -> Reached | None:
        """What other programs of the tree reach: those that read configs of their own, else those run by hand."""
        if not where.path.endswith(".py"):
            return None
        for config in self._others:
            said = self._of(config, claim, where, subject)
            if said.reached:
                return Reached("none", f"only {config}, which is not under audit, leads there ({said.why})")
        for script in filter(self.tree.exists, tables.OTHER_PROGRAMS):
            if script not in self._graphs:
                self._graphs[script] = Graph(self.program, Settings({}), [Node(script, "")], tables.HOOKS)
            graph, asked = self._graphs[script], _asked(claim, subject)
            spot = graph.at(where.path, where.line, where.symbol)
            nodes = list(self._nodes(asked.symbols)) if asked is not None else []
            path = self._through(graph, nodes, asked, where) if asked is not None and nodes else spot.why
            if spot.reached and path:
                return Reached("none", f"only {script}, which reads configs of its own, leads there ({path})")
        if not where.path.startswith(f"{_package()}/"):
            return Reached("unknown", f"{where.path} is a program of its own, run by hand")
        return None


def _asked(claim: str, subject: str) -> tables.Called | None:
    """The calls that a violation needs."""
    return next((c for (of, words), c in tables.CALLS.items() if claim.startswith(of) and words in subject), None)


def _conditioned(claim: str, subject: str) -> tables.Condition | None:
    about = (c for (of, words), c in tables.SUBJECTS.items() if of == claim and words in subject)
    return tables.CLAIMS.get(claim) or next(about, None)


@lru_cache(maxsize=8)
def audited(tree: Tree, configs: tuple[str, ...]) -> Audited:
    """The one `Audited` of a tree and its configs."""
    return Audited(tree, configs)


def _package() -> str:
    return PurePosixPath(symbols.SFT.path).parts[0]


def _static(path: str) -> str:
    return f"static call path {path}"
