"""The map that a pipeline promises, and the requests that checks and figures put about it.

The same request gives the same recorded answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.pipeline_map.surfaces import code, entrypoints, key_reads, keys, owners
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.errors import AuditError

_BRACES = re.compile(r"^(.*)\{([^}]*)\}(.*)$")


class Entrypoint(msgspec.Struct, frozen=True):
    """A launcher with its config. must_start: (kind, name) pairs; mark: a part of the path of every config that goes
    through it, where it is not the first entrypoint."""

    id: str
    title: str
    launcher: str
    config: str
    must_start: tuple[tuple[str, str], ...]
    mark: str = ""


class Stage(msgspec.Struct, frozen=True):
    """One stage of the pipeline. entrypoints: those that go through it."""

    id: str
    title: str
    entrypoints: tuple[str, ...]


class Owner(msgspec.Struct, frozen=True):
    """A function or class that does a stage's work.

    role: what it does, in a few words. names: `module:symbol` at the reference commit, then at other commits.
    """

    stage: str
    role: str
    names: tuple[str, ...]
    entrypoints: tuple[str, ...]


class Key(msgspec.Struct, frozen=True):
    """A key path of a stage. via: `read` by an owner of the stage, or `upstream`. whole: with all below it."""

    path: str
    via: str
    whole: bool = False

    def covers(self, path: str) -> bool:
        return path == self.path or (self.whole and path.startswith((f"{self.path}.", f"{self.path}[")))

    def holds(self, path: str) -> bool:
        """Whether a leaf is the key itself or lies below it."""
        return path == self.path or path.startswith((f"{self.path}.", f"{self.path}["))


class Map(msgspec.Struct, frozen=True):
    """What the pipeline promises of its stages. keys: by entrypoint and stage, as text; see `keys_of`.

    forwarders: functions that hand sections over to upstream; sections: those; open: what else holds only what a config
    puts there. not_keys: leaves of the config that no key sets, and why.
    """

    entrypoints: tuple[Entrypoint, ...]
    stages: tuple[Stage, ...]
    owners: tuple[Owner, ...]
    keys: dict[str, dict[str, str]]
    not_keys: dict[str, str]
    forwarders: tuple[str, ...]
    sections: tuple[str, ...]
    open: tuple[str, ...]

    def entrypoint_of(self, config: str) -> Entrypoint:
        """The entrypoint that a config belongs to: the anchored one of that name, else by a mark in its path."""
        named = [e for e in self.entrypoints if e.config == config]
        return (named or [e for e in self.entrypoints if e.mark and e.mark in config] or list(self.entrypoints))[0]

    def stages_of(self, entrypoint: str) -> list[Stage]:
        return [s for s in self.stages if entrypoint in s.entrypoints]

    def owners_of(self, stage: str, entrypoint: str) -> list[Owner]:
        return [o for o in self.owners if o.stage == stage and entrypoint in o.entrypoints]

    def keys_of(self, stage: str, entrypoint: str) -> list[Key]:
        """The keys of a stage, sorted by path.

        Notation: `a.{b,c}` is `a.b` and `a.c`; `x.*` is `x` with everything below it, read as a whole; a trailing `^`
        says that no owner of the stage reads the key: it is passed through to the library below.
        """
        texts = (self.keys[which].get(stage, "") for which in ("", entrypoint))
        found = {key.path: key for text in texts for item in text.split() for key in _expanded(item)}
        return [found[path] for path in sorted(found)]

    def is_open(self, path: str) -> bool:
        """Whether a key lies in a section that holds only what a config puts there, without defaults of its own."""
        return path.split(".", maxsplit=1)[0] in self.sections or path.startswith(self.open)


def the_map(contract: Mapping[str, Any]) -> Map:
    return msgspec.convert({f: contract[f"pipeline_map.{f}"] for f in Map.__struct_fields__}, Map)


def _expanded(item: str) -> list[Key]:
    upstream, item = item.endswith("^"), item.removesuffix("^")
    match = _BRACES.match(item)
    paths = [f"{match[1]}{part}{match[3]}" for part in match[2].split(",")] if match else [item]
    via = "upstream" if upstream else "read"
    return [Key(p.removesuffix(".*"), via, p.endswith(".*")) for p in paths]


def code_request(contract: Mapping[str, Any]) -> code.CodeRequest:
    return msgspec.convert(contract["pipeline_map.code"], code.CodeRequest)


def entrypoints_request(ctx: Context, known: Map) -> entrypoints.EntrypointsRequest:
    files = [entrypoints.EntrypointFiles(e.id, e.launcher, config_in(ctx, e.config)) for e in known.entrypoints]
    return entrypoints.EntrypointsRequest(files)


def config_in(ctx: Context, config: str) -> str:
    """The config's name in the target; the anchored name where the target has none, so that its absence is found."""
    try:
        return ctx.target.config_path(config)
    except AuditError:
        return config


def keys_request(ctx: Context) -> keys.KeysRequest:
    return keys.KeysRequest(ctx.target.config_path(ctx.config))


def resolved_owners(ctx: Context, known: Map) -> dict[str, owners.ResolvedOwner]:
    """The reference commit's name of each owner -> where it stands. Each is asked once, in the order of the table."""
    asked = [owners.OwnerNames(list(names)) for names in dict.fromkeys(o.names for o in known.owners)]
    return {o.asked: o for o in ctx.value(owners.OWNERS, owners.OwnersRequest(asked)).owners}


def key_reads_request(known: Map) -> key_reads.KeyReadsRequest:
    stages = [
        key_reads.StageQuestion(
            e.id,
            s.id,
            [owners.OwnerNames(list(o.names)) for o in known.owners_of(s.id, e.id)],
            [k.path for k in known.keys_of(s.id, e.id)],
        )
        for e in known.entrypoints
        for s in known.stages_of(e.id)
    ]
    return key_reads.KeyReadsRequest(stages, owners.OwnerNames(list(known.forwarders)), list(known.sections))
