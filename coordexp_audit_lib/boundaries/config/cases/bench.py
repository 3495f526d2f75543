"""A config that its target accepts, ready for variation: the start of every check that expects a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.surfaces import CHAIN, LOAD, Chain, ChainRequest, Loaded, LoadRequest
from coordexp_audit_lib.boundaries.config.surfaces import SourceFile as File
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.core.surface import Answer
from coordexp_audit_lib.kit.nested import Path, dotted, get, lookup

FLAT = "configs/audit/flat.yaml"


def anchored(ctx: Context) -> str:
    """The target's own stage-2 config; of a pipeline that has none, the one under audit."""
    configs = ctx.target.pipeline().configs
    return ctx.target.config_path(configs[-1] if configs else ctx.config)


class Bench:
    """One config on one target. `loaded` is what the target makes of it unchanged.

    Raises:
        TargetRefused: (on first use) the target refuses the unchanged config; the finding becomes `error`.
        Undecided: the target tells no chain of files, or loads nothing.
    """

    def __init__(self, ctx: Context, config: str = "", chain: Chain | None = None) -> None:
        self.ctx = ctx
        self.config = config or (ctx.target.config_path(ctx.config) if ctx.config else anchored(ctx))
        self.chain = chain or ordered(ctx.value(CHAIN, ChainRequest(self.config)))
        if not self.chain.files or not self.chain.merged:
            raise Undecided(f"the target tells no files and values of {self.config}")
        self.own = {} if chain is None else edits.rewritten(chain.files[0], chain.files[0].raw)
        self._accepted: dict[str, bool] = {}

    @cached_property
    def loaded(self) -> Loaded:
        loaded = self.ctx.value(LOAD, LoadRequest(self.config, self.own))
        if not loaded.config:
            raise Undecided(f"the target loads {self.config} as an empty config")
        return loaded

    def must_load(self) -> None:
        """Make sure that the target accepts the unchanged config, so that a refusal of a variation means something."""
        _ = self.loaded

    def flat(self) -> Bench:
        """The same config resolved into one file without parents, outside the folders that have rules of their own."""
        return Bench(self.ctx, FLAT, Chain([File(FLAT, [], self.chain.merged)], self.chain.merged))

    def get(self, path: str, default: Any = None) -> Any:
        """A value of the resolved config."""
        return get(self.chain.merged, path, default)

    def request(self, files: Mapping[str, str], **rest: Any) -> LoadRequest:
        return LoadRequest(self.config, {**self.own, **files}, **rest)

    def load(self, files: Mapping[str, str], **rest: Any) -> Answer[Loaded]:
        """Ask the target to load a variation; the unchanged config has been accepted before."""
        self.must_load()
        return self.ctx.ask(LOAD, self.request(files, **rest))

    def load_with(self, values: Mapping[str, Any], **rest: Any) -> Answer[Loaded]:
        """Load with values (by dotted path) set in the leaf."""
        return self.load(edits.with_values(self.chain, values), **rest)

    def start(self, path: Path) -> dict[str, Any] | None:
        """Values that make the mapping at `path` exist: none if it does, else what the skeleton has there.

        The whole absent part is tried first, then only what leads to `path`, then what the target's own stage-2
        config has there; None if the skeleton does not know the path or the target accepts none of them.
        """
        skeleton = self.ctx.contract["config.skeleton"]
        absent = (end for end in range(1, len(path) + 1) if lookup(self.chain.merged, path[:end]) is None)
        end = next(absent, None)
        if end is None:
            return {}
        if lookup(skeleton, path) is None:
            return None
        top = path[:end]
        for part in (lookup(skeleton, top), _only(lookup(skeleton, top), path[end:])):
            if self._accepts(dotted(top), part):
                return {dotted(top): part}
        part = lookup(self._stage2, top)
        if lookup(self._stage2, path) is not None and self._accepts(dotted(top), part):
            return {dotted(top): part}
        return None

    @cached_property
    def _stage2(self) -> dict[str, Any]:
        """The target's own stage-2 config, resolved."""
        return ordered(self.ctx.value(CHAIN, ChainRequest(anchored(self.ctx)))).merged

    def _accepts(self, path: str, value: Any) -> bool:
        key = path + digest(value)
        if key not in self._accepted:
            self._accepted[key] = not self.load_with({path: value}).refused
        return self._accepted[key]


def ordered(chain: Chain) -> Chain:
    """The chain with its mappings' keys sorted, so that what is made of it does not hang on their order."""
    files = [File(f.path, f.extends, edits.in_order(f.raw)) for f in chain.files]
    return Chain(files, edits.in_order(chain.merged))


def _only(tree: Any, path: Path) -> Any:
    """Of a skeleton's mapping what leads to `path`, with the values and lists on the way."""
    if not isinstance(tree, Mapping):
        return tree
    return {k: _only(v, path[1:]) for k, v in tree.items() if not isinstance(v, Mapping) or path[:1] == (k,)}


def launched(bench: Bench) -> dict[str, Any]:
    """Values without which the launcher starts no server for the config: none where it does as it stands."""
    mode = bench.ctx.contract["config.preflight"].get("mode", "")
    if not mode or bench.get(mode) == "server":
        return {}
    servers = bench.ctx.contract["config.servers"]
    given = bench.get(servers) or [{"base_url": "http://127.0.0.1:8000", "group_port": 51216}]
    return {mode: "server", servers: given}


def profile_bench(ctx: Context) -> Bench:
    """The config under audit if it is a stage-2 leaf of a profile folder, else the anchored one."""
    mine = re.search(ctx.contract["config.profile"]["leaf"], ctx.config)
    return Bench(ctx, ctx.target.config_path(ctx.config) if mine else anchored(ctx))
