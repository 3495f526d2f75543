"""Targets: the pipelines under audit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.clue import Clue
from coordexp_audit_lib.core.declared import Declaration
from coordexp_audit_lib.core.errors import SurfaceFailed, SurfaceUnbound
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Place, Reached
from coordexp_audit_lib.core.pipeline import Pipeline, pipeline
from coordexp_audit_lib.core.surface import Answer, Refusal, Request, Response, StandIn, Surface

LIVE = ("checkout", "adapter")  # kinds of targets that are asked live


class Binding(msgspec.Struct, frozen=True):
    """How a target answers one surface.

    status: `bound`; `moved` (answered under another name than at the reference commit); `missing` (the
    functions are not in the tree); `unbound` (nothing known answers it). Only the first two answer.
    """

    surface: str
    status: str
    path: str = ""
    line: int = 0
    symbol: str = ""
    digest: str = ""
    note: str = ""

    @property
    def where(self) -> Where | None:
        return Where(self.path, self.line, self.symbol) if self.path else None


class TargetInfo(msgspec.Struct, frozen=True):
    """Who was audited. Paths of this machine never stand here: they differ from run to run. repository: the public one
    that the commit is of, `owner/name`. walls: those that stood around a checkout's processes (`sandbox.walls.TOLD`).
    """

    kind: str
    name: str
    commit: str = ""
    dirty: bool | None = None
    date: str = ""
    era: str = ""
    interpreter: str = ""
    versions: dict[str, str] = {}
    note: str = ""
    walls: tuple[str, ...] = ()
    repository: str = ""


class Target(ABC):
    """Answers surfaces. `raw` speaks builtins, `ask` speaks the surface's types.

    own: files and folders that the audit writes; in the tree, they are no change of it.

    audited: the configs under audit, as the user named them; what they lead to is reached.
    """

    audited: tuple[str, ...] = ()
    own: tuple[Path, ...] = ()

    @abstractmethod
    def info(self) -> TargetInfo:
        """Kind, name, commit and versions."""

    @abstractmethod
    def bindings(self) -> dict[str, Binding]:
        """The binding of every known surface, by name."""

    @abstractmethod
    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        """Answer with `{"value": {...}}` or `{"refusal": {"type", "message"}}`.

        Raises:
            SurfaceUnbound: the target has no such surface.
            SurfaceFailed: the target could not answer.
        """

    def pipeline(self) -> Pipeline:
        """The pipeline that the target belongs to; the default one if it does not say."""
        return pipeline()

    def declaration(self) -> Declaration | None:
        """What an adapter says of the target's pipeline; None where the library knows it."""
        return None

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        """Whether a run from `config` ("": from any audited one) comes by the place of a violation, and how that is
        known; by default it is not."""
        return Reached("unknown")

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        """The places that made the failing requests' answers differ from the passing ones', the likeliest first; by
        default none is known. clue: what the violation says."""
        return []

    def holds(self, citation: Citation) -> bool | None:
        """Whether the cited file of the target's own tree has that requirement; None where it can't be looked up."""
        return None

    def contract(self) -> Mapping[str, Any]:
        """What the target's pipeline promises at its commit."""
        return self.pipeline().contract(self.info().era)

    def citations(self) -> Mapping[str, tuple[Citation, ...]]:
        """By claim, where the target's pipeline demands it."""
        return self.pipeline().citations(self.info().era)

    def beyond(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """By claim, what of it the cited words do not demand (`Pipeline.beyond`)."""
        return self.pipeline().beyond(self.info().era)

    def permitted(self) -> Mapping[str, str]:
        """By claim that the target's pipeline does not demand, what it says instead."""
        return self.pipeline().permitted(self.info().era)

    @abstractmethod
    def config_path(self, config: str) -> str:
        """The name under which `config` stands in this target (it may have moved).

        Raises:
            UsageError: the target has no such config.
            SurfaceUnbound: it is one of those that runs are anchored to, and the target lacks it.
        """

    def named(self, config: str) -> str:
        """The config by the name that it has in this target; as given where the target holds none of its names, so that
        the claims that need no config can be judged all the same.

        Raises:
            UsageError: the target has no such config.
        """
        try:
            return self.config_path(config) if config else ""
        except SurfaceUnbound:
            return config

    def ask(self, question: Surface[Request, Response], request: Request) -> Answer[Response]:
        """Ask a question and validate the answer against the surface's response type."""
        raw = self.raw(question, msgspec.to_builtins(request))
        return typed_answer(question, raw)

    def all_named(self, configs: Sequence[str]) -> list[str]:
        """The configs by the names that they have in this target (`named`), each once."""
        return list(dict.fromkeys(map(self.named, configs)))

    def spread(self, jobs: int) -> bool:
        """Get ready to be asked in as many processes forked from this one; False where that would gain nothing."""
        return False

    def apart(self) -> Target:
        """The same target for one group of questions: whatever was asked before or beside changes no answer of its."""
        return self

    def told(self) -> Any:
        """What a target that was asked apart has to tell the one that it came from."""
        return None

    def known(self) -> Any:
        """The answers that need not be asked again; None where a target keeps none."""
        return None

    def take_in(self, number: int, told: Any) -> None:  # noqa: B027  most targets keep nothing
        """Take in what the target of a group told that was asked apart since `spread`; the groups' order counts."""

    def close(self) -> None:  # noqa: B027  most targets hold nothing
        """Let go of processes and files. Safe to call twice."""

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def typed_answer(question: Surface[Request, Response], raw: Any) -> Answer[Response]:
    """Turn a raw answer into a typed one; anything that does not fit the contract is a `SurfaceFailed`."""
    try:
        stand_ins = msgspec.convert(raw.get("stand_ins", ()), tuple[StandIn, ...]) if isinstance(raw, dict) else ()
        if isinstance(raw, dict) and "refusal" in raw:
            refusal = msgspec.convert(raw["refusal"], Refusal)
            return Answer(surface=question.name, refusal=refusal, stand_ins=stand_ins)
        value = msgspec.convert(raw["value"], question.response)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise SurfaceFailed(
            f"the answer does not fit the surface's type: {error}",
            where=question.name,
            remedy="the binding must return the fields that the surface declares",
        ) from error
    return Answer(surface=question.name, content=value, stand_ins=stand_ins)
