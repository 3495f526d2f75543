"""The adapter target: a pipeline that one file describes, answered live by a contained worker in its interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.clue import Clue
from coordexp_audit_lib.core.declared import Declaration, Declared
from coordexp_audit_lib.core.errors import SurfaceFailed, UsageError
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Place, Reached
from coordexp_audit_lib.core.pipeline import folders
from coordexp_audit_lib.core.surface import Surface, surfaces
from coordexp_audit_lib.core.target import Binding, TargetInfo
from coordexp_audit_lib.kit.environment import ANSWERS
from coordexp_audit_lib.kit.git import git_state
from coordexp_audit_lib.sandbox.limits import Limits
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.targets.checkout import CheckoutTarget, interpreter_at
from coordexp_audit_lib.targets.table import Row

# Read of what the adapter imports, too, where the user named no tree.
OF_SOURCE = ("rollout.collectives", "silence.suppressions", "upstream.imports")
GROUP = "coordexp_audit.pipelines"
BUILT_IN = "adapter.py"
PINS = "template.prompt_pins"


class Source(msgspec.Struct, frozen=True):
    """Where the source lies that a worker found, in parts of a path, and its files there."""

    root: list[str]
    files: list[str]


class AdapterTarget(CheckoutTarget):
    """Answers by an adapter.

    Args:
        file: the adapter. python: the interpreter of the pipeline's environment; by default this one.
        root: the pipeline's own source tree, where there is one to read; else nothing is asked of source text.
        config: a file that the adapter is given (`here.config`).

    Raises:
        UsageError: the file is no adapter, or the interpreter can't run it.
    """

    def __init__(
        self,
        file: Path,
        *,
        python: str | None = None,
        root: Path | None = None,
        config: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.file, self.has_tree = file.expanduser().resolve(), root is not None
        if not self.file.is_file() or self.file.suffix != ".py":
            raise UsageError("there is no such adapter", where=str(file), remedy="give a Python file")
        self.config = config
        beside = [] if self.file.parent in folders() else [self.file.parent]  # what comes along imports itself by name
        paths = [str(p.resolve()) for p in ([root] if root else []) + beside]
        given = {"adapter": str(self.file), "config": self._full(config), "paths": paths}
        self._open(
            root or self.file.parent, interpreter_at(python or sys.executable, ""), limits, self.file.parent, **given
        )
        try:
            told = self._exchange({"declare": True}, self.limits.first_seconds)
            if "declared" not in told:
                raise SurfaceFailed(str(told.get("failed", "it declares nothing")))
            self.said = msgspec.convert(told["declared"], Declaration)
        except (SurfaceFailed, msgspec.ValidationError) as error:
            remedy = "`coordexp-audit adapter new` writes one to begin with"
            what = f"it is no adapter: {getattr(error, 'what', error)}"
            raise UsageError(what, where=str(file), remedy=remedy) from error
        self.source = self._source(told.get("source"))
        self.said = with_pins(self.said, pins_beside(self.file))
        self._pipeline: Declared = Declared(self.said, self.file.parent)
        self._about = self._asked_about()

    def _source(self, told: Any) -> Tree:
        """What is read of the pipeline's source: the tree that the user named, or what the worker found."""
        if self.has_tree:
            return self.tree
        try:
            found = msgspec.convert(told, Source)
        except msgspec.ValidationError as error:
            raise UsageError(f"it is no adapter: its source: {error}", where=str(self.file)) from error
        tree = Tree(Path(os.sep, *found.root))
        tree.python_files = tuple(name for name in found.files if tree.exists(name))
        return tree

    def _full(self, config: str) -> str | None:
        if not config:
            return None
        path = Path(config).expanduser().resolve()
        if not path.is_file():
            raise UsageError("there is no such config", where=config, remedy="give a file, or leave --config out")
        return str(path)

    def info(self) -> TargetInfo:
        if self._info is None:
            state = git_state(self.tree.root, own=self.own) if self.has_tree else None
            self._info = TargetInfo(
                kind="adapter",
                name=self._pipeline.title,
                interpreter=self._about["interpreter"],
                versions=self._about["versions"],
                note=f"answered by {self.said.file}",
                commit=state.commit if state else "",
                dirty=state.dirty if state else None,
                date=state.date if state else "",
                walls=self._walls,
            )
        return self._info

    def declaration(self) -> Declaration:
        return self.said

    def config_path(self, config: str) -> str:
        if config and config != self.config:
            raise UsageError("the adapter was given another config", where=config, remedy="audit one config at a time")
        return config

    def all_named(self, configs: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(map(self.named, configs)))  # what a config says is the adapter's to know

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        return Reached("this config", "the adapter calls it as training does")

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        """In the tree, or in what lies beside the adapter; the adapter's own lines only ask."""
        home = self._table()[question.name].binding.path
        if not self.has_tree and (home == self.file.name or not self.tree.exists(home)):
            return []
        found = super().localise(question, failing, passing, clue)
        return [place for place in found if place.where.path != self.file.name]

    def holds(self, citation: Citation) -> bool | None:
        return None

    def _read(self, question: Surface[Any, Any], request: dict[str, Any]) -> Any:
        tree, self.tree = self.tree, self.source
        try:
            return super()._read(question, request)
        finally:
            self.tree = tree

    def _preload(self) -> str:
        return f"import {' '.join(self.said.preload)}" if self.said.preload else ""

    def _table(self) -> dict[str, Row]:
        if self._rows is None:
            self._rows = {name: Row(self._binding(question), chosen={}) for name, question in surfaces().items()}
        return self._rows

    def _binding(self, question: Surface[Any, Any]) -> Binding:
        place = self.said.surfaces.get(question.name)
        if place is not None:
            return Binding(question.name, "bound", **msgspec.to_builtins(place))
        if question.name in ANSWERS:
            return Binding(question.name, "bound", note="asked of the environment")
        if question.static is not None and (self.has_tree or question.name in OF_SOURCE):
            return Binding(question.name, "bound", note="read from the source, not run")
        return Binding(question.name, "unbound", note="the adapter does not answer it")


def pins_beside(file: Path) -> Path:
    """Where an adapter's pins are kept."""
    return file.with_suffix(".pins.json")


def with_pins(said: Declaration, path: Path) -> Declaration:
    """The declaration with the pins of that file, if it is there: its pipeline then keeps the policy `pins`.

    Raises:
        UsageError: it holds no pins.
    """
    if not path.is_file():
        return said
    try:
        pins = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])[PINS]
    except (msgspec.MsgspecError, KeyError) as error:
        remedy = "write it with `coordexp-audit pin`"
        raise UsageError(f"it holds no pins: {error}", where=str(path), remedy=remedy) from error
    policies = sorted({*said.policies, "pins"})
    return msgspec.structs.replace(said, policies=policies, contract={**said.contract, PINS: pins})


def adapter_of(name: str) -> Path:
    """The adapter of a pipeline that comes along or is installed, by its name; nothing of it is imported.

    Raises:
        UsageError: there is none.
    """
    known = adapters()
    if name not in known:
        remedy = f"use one of {', '.join(known) or 'none'}, or --adapter FILE"
        raise UsageError(f"no pipeline is called {name!r}", where=name, remedy=remedy)
    return known[name]


def adapters() -> dict[str, Path]:
    """The adapters that come along, and those that installed packages name (entry points of `GROUP`)."""
    found = {f.name.replace("_", "-"): f / BUILT_IN for f in folders() if (f / BUILT_IN).is_file()}
    for entry in metadata.entry_points(group=GROUP):
        path = module_file(entry)
        if path is not None:
            found[entry.name] = path
    return found


def module_file(entry: metadata.EntryPoint) -> Path | None:
    """The file of the module that an entry point names, without importing it."""
    head, *rest = entry.value.partition(":")[0].split(".")
    try:
        spec = util.find_spec(head)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path.parent.joinpath(*rest).with_suffix(".py") if rest else path
