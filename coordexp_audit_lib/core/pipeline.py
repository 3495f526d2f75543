"""Pipelines: how to ask one family of targets, and what it promises. The engine knows them by this type alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.errors import UsageError

_PIPELINES: dict[str, Pipeline] = {}


class Pipeline(ABC):
    """One family of targets.

    name: as `--pipeline` takes it. title: as people write it. repository: its public one, `owner/name`.
    variable: of the environment, names the interpreter that
    its trees train in. configs: those that its runs are anchored to, by path in a tree. answers: the folder of modules
    that answer surfaces in a target's interpreter. distributions: packages whose versions count. recordings: the folder
    of those that come along. reference: the tree that the reference target reads and loads configs from.
    """

    name: str
    title: str
    repository: str
    variable: str
    configs: tuple[str, ...]
    answers: Path
    distributions: tuple[str, ...]
    recordings: Path
    reference: Path

    @abstractmethod
    def owns(self, root: Path) -> bool:
        """Whether the folder is a tree of this pipeline."""

    @abstractmethod
    def wanted(self) -> str:
        """What a folder must hold to be such a tree, in a few words for an error."""

    @abstractmethod
    def era(self, root: Path) -> str:
        """The era of a tree, by the files that it holds; the names of surfaces and the contract depend on it."""

    @abstractmethod
    def config_in(self, root: Path, config: str) -> str:
        """The name under which `config` stands in the tree, relative to its root.

        Raises:
            SurfaceUnbound: an anchored config that this tree does not hold under any known name.
            UsageError: any other config that the tree does not hold.
        """

    @abstractmethod
    def contract(self, era: str = "") -> Mapping[str, Any]:
        """What it promises in an era, as values that claims read, by name (`boundary.name`); "": the reference era."""

    @abstractmethod
    def citations(self) -> Mapping[str, tuple[Citation, ...]]:
        """By claim, where the pipeline's own specification demands it."""


def register(pipeline: Pipeline) -> Pipeline:
    """Make a pipeline known by its name; the first one is the default."""
    _PIPELINES[pipeline.name] = pipeline
    return pipeline


def pipelines() -> dict[str, Pipeline]:
    """The known pipelines by name, in order of registration."""
    if not _PIPELINES:
        import_builtin()
    return dict(_PIPELINES)


def pipeline(name: str = "") -> Pipeline:
    """The pipeline of that name; "": the default.

    Raises:
        UsageError: there is none.
    """
    known = pipelines()
    if not name:
        return next(iter(known.values()))
    if name not in known:
        raise UsageError(f"no pipeline is called {name!r}", where=name, remedy=f"use one of {', '.join(known)}")
    return known[name]


def import_builtin() -> None:
    """Import what stands below `pipelines`: each package there registers its own."""
    import importlib
    import pkgutil

    found = importlib.import_module("coordexp_audit_lib.pipelines")
    for package in pkgutil.iter_modules(found.__path__):
        if package.ispkg:
            importlib.import_module(f"{found.__name__}.{package.name}.pipeline")
