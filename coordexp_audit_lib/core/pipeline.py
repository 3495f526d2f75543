"""Pipelines: how to ask one family of targets, and what it promises. The engine knows them by this type alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Reached

_PIPELINES: dict[str, Pipeline] = {}


class Named(msgspec.Struct, frozen=True):
    """A place that a pipeline names for what breaks a claim, without a line number.

    symbols: candidates as `package.module:qualname`, the first that a tree has counts. at: the statement in it, by
    what it calls (by its name, or with the arguments as written), assigns or spells. key: in place of a symbol, the
    key of the config under audit. about: a pattern that subject or message must match.
    """

    symbols: tuple[str, ...] = ()
    at: str = ""
    key: str = ""
    hot: bool = False
    about: str = ""


class Pipeline(ABC):
    """One family of targets.

    name: as `--pipeline` takes it. title: as people write it. repository: its public one, `owner/name`.
    variable: of the environment, names the interpreter that
    its trees train in. configs: those that its runs are anchored to, by path in a tree. answers: the folder of modules
    that answer surfaces in a target's interpreter. distributions: packages whose versions count. recordings: the folder
    of those that come along. reference: the tree that the reference target reads and loads configs from. preload: what
    a worker imports and builds before the first question, as `module:function` of `(folder, names that a tree has)`.
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
    preload: str = ""

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

    def role(self, config: str) -> str:
        """What an anchored config is, whichever name it has at a commit; "" for any other, and by default."""
        return ""

    def unloadable(self, tree: Any, config: str) -> str:
        """Why no loader could read a config of the tree, by the name that it has there; by default that is not told."""
        return ""

    @abstractmethod
    def contract(self, era: str = "") -> Mapping[str, Any]:
        """What it promises in an era, as values that claims read, by name (`boundary.name`); "": the reference era."""

    def places(self, era: str = "") -> Mapping[str, tuple[Named, ...]]:
        """By claim, the places that are to be mended where no run tells them; by default none."""
        return {}

    def untraced(self) -> frozenset[str]:
        """Surfaces whose answers take too long to be watched line by line."""
        return frozenset()

    @abstractmethod
    def citations(self, era: str = "") -> Mapping[str, tuple[Citation, ...]]:
        """By claim, where the pipeline's own specification demands it in an era; "": the reference era."""

    def keeps(self, policy: str) -> bool:
        """Whether it promises what the claims of a policy demand; by default it does."""
        return True

    @abstractmethod
    def permitted(self, era: str = "") -> Mapping[str, str]:
        """By claim that it does not demand in an era, what its own words say instead; there a verdict is advice."""

    def beyond(self, era: str = "") -> Mapping[str, tuple[tuple[str, str], ...]]:
        """By claim, patterns of subject and message of what its citations do not demand, with the reason: that is
        advice."""
        return {}

    def reach(
        self, tree: Any, configs: Sequence[str], config: str, *, claim: str, where: Where | None, subject: str
    ) -> Reached:
        """Whether a run from `config` of a source tree (a `source.tree.Tree`) comes by the place of a violation, and
        how that is known; by default it is not.

        configs: those under audit, by path in a tree. config: "" for any of them. claim: its id. subject: of the
        violation; a key of a config is judged by whether the configs have it.
        """
        return Reached("unknown")


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


def role_of(config: str) -> str:
    """What a config is to the pipeline that anchors its runs to it; "" for one that none does."""
    return next((f"{name}: {role}" for name, p in pipelines().items() if (role := p.role(config))), "")


def import_builtin() -> None:
    """Import what stands below `pipelines`: each package there that has a `pipeline` registers its own."""
    import importlib

    for folder in folders():
        if (folder / "pipeline.py").is_file():
            importlib.import_module(f"coordexp_audit_lib.pipelines.{folder.name}.pipeline")


def folders() -> list[Path]:
    """The folders of the pipelines that come along, each with a `pipeline.py` or an `adapter.py`."""
    home = Path(__file__).resolve().parents[1] / "pipelines"
    return [p for p in sorted(home.iterdir()) if (p / "pipeline.py").is_file() or (p / "adapter.py").is_file()]
