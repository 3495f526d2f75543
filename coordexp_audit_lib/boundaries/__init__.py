"""The boundaries of the pipeline, in order, and the one place that loads them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence

import msgspec

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import digest

DECLARE = ("surfaces", "reference", "figures", "claims")


class Boundary(msgspec.Struct, frozen=True):
    """One stage edge: number, name (of subpackage, notebook and tests), title."""

    number: int
    name: str
    title: str

    @property
    def notebook(self) -> str:
        return f"{self.number:02d}_{self.name}.ipynb"


BOUNDARIES = (
    Boundary(1, "pipeline_map", "Pipeline map"),
    Boundary(2, "config", "Config strictness and coherence"),
    Boundary(3, "geometry", "Geometry and dataset records"),
    Boundary(4, "coordjson", "CoordJSON, the assistant output boundary"),
    Boundary(5, "template", "Chat template and tokenization"),
    Boundary(6, "packing", "Packing, collation and masks"),
    Boundary(7, "supervision", "Trainer forward and loss"),
    Boundary(8, "rollout", "vLLM server-mode rollouts"),
    Boundary(9, "metrics", "Evaluation and metric emission"),
    Boundary(10, "provenance", "Checkpoints and run artifacts"),
    Boundary(11, "upstream", "Upstream contracts"),
    Boundary(12, "silence", "Silent failures"),
)

ALL_OTHERS = "silence"  # it asks what the other boundaries declare; each of those needs itself only


def boundary(name: str) -> Boundary:
    """The boundary of that name.

    Raises:
        UsageError: there is none.
    """
    for b in BOUNDARIES:
        if b.name == name:
            return b
    names = ", ".join(b.name for b in BOUNDARIES)
    raise UsageError(f"no boundary is called {name!r}", where=name, remedy=f"use one of {names}")


def page(b: Boundary, config: str) -> str:
    """The file name, without a suffix, of what a boundary's notebook leaves for a config.

    The whole path of the config goes into it: `prod/ab_mixed` and `smoke/ab_mixed` are different pages. A target may
    have no config.
    """
    return f"{b.number:02d}_{b.name}.{slug(config)}" if config else f"{b.number:02d}_{b.name}"


def slug(config: str) -> str:
    """A config's path as one word for file names."""
    short = config.removeprefix("configs/").removesuffix(".yaml")
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", short).strip("-")
    return plain if plain == short.replace("/", "-") and "-" not in short else f"{plain}-{digest(config)[:8]}"


def load(names: list[str] | None = None, rooms: Sequence[str] = DECLARE) -> list[Boundary]:
    """Import what the named boundaries declare (all of them by default): every module of the rooms in `DECLARE`.

    rooms: only these; where an artifact is judged, `claims` is enough.
    """
    chosen = [b for b in BOUNDARIES if names is None or b.name in names]
    for b in chosen:
        package = importlib.import_module(f"{__name__}.{b.name}")
        found = {m.name: m for m in pkgutil.iter_modules(package.__path__)}
        for room in rooms:
            if room in found:
                _import(f"{package.__name__}.{room}")
    return chosen


def _import(name: str) -> None:
    """Import a module; of a package, every module below it."""
    module = importlib.import_module(name)
    for below in sorted(m.name for m in pkgutil.iter_modules(getattr(module, "__path__", []))):
        _import(f"{name}.{below}")
