"""What a command that audits a target is told of it, and the target that comes of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import POLICIES, applicable, left_out
from coordexp_audit_lib.core.claim import Claim, claims, exhibits
from coordexp_audit_lib.core.declared import OF_ADAPTERS, PROFILE
from coordexp_audit_lib.core.errors import UsageError, did_you_mean, nearest
from coordexp_audit_lib.core.pipeline import pipeline, pipelines
from coordexp_audit_lib.core.surface import surfaces
from coordexp_audit_lib.core.target import Target, TargetInfo
from coordexp_audit_lib.kit import profile
from coordexp_audit_lib.report.document import DOCUMENTS
from coordexp_audit_lib.run.own_claims import load_claims
from coordexp_audit_lib.run.parallel import Cluster
from coordexp_audit_lib.run.shares import Opening
from coordexp_audit_lib.targets.contained import SECONDS, limits_of, told_walls
from coordexp_audit_lib.targets.recording import SUFFIX
from coordexp_audit_lib.targets.resolve import default, open_target

AT_COMMIT = "at_commit"  # of the arguments: the repository and commit that the target is a tree of, where it is one
NAMES = ", ".join(b.name for b in boundaries.BOUNDARIES)


class Opened(NamedTuple):
    """A target with the configs as the user names them (an adapter may have none), and the boundaries to judge."""

    target: Target
    configs: list[str]
    names: list[str] | None


def named_in(target: Target, configs: Sequence[str], quiet: bool = False) -> list[str]:
    """The configs by the names that they have in the target. Which stands in for one that a tree lacks is told on
    stderr: what is said of it is said of another config than the one that was named.

    Raises:
        UsageError: the target has no such config.
    """
    names = target.all_named(configs)
    for config in configs if target.info().kind == "checkout" and not quiet else ():
        name = target.named(config)
        if name and not config.endswith(name):
            said = f"{config} is not in this tree, and {name} is audited in its place"
            print(f"coordexp-audit: {said}. Remedy: name others with --config", file=sys.stderr)
    return names


def declare_target(parser: argparse.ArgumentParser, *, adapter: bool = True) -> None:
    """The options that name a target. adapter: whether an adapter is one of them."""
    add = parser.add_argument
    add("--target", default="", help=f"a checkout's folder, a recording, or `reference` ({default()})")
    if adapter:
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--adapter", type=Path, metavar="FILE", help="a file that describes the pipeline and asks it")
        how.add_argument("--pipeline", metavar="NAME", help="a pipeline that comes along or is installed")
    add("--python", help="the interpreter of the pipeline's own environment")
    add("--time-limit", type=_seconds, help=f"for answers that do not come, in all ({SECONDS:.0f} s)")
    add("--readable", nargs="+", action="extend", metavar="PATH", help="what a checkout's code may read beside itself")
    add("--config", nargs="+", action="extend", help="configs, relative to the target (both anchored), or an adapter's")


def declare_audit(parser: argparse.ArgumentParser) -> None:
    """The options of a whole audit."""
    declare_target(parser)
    add = parser.add_argument
    add("--boundary", nargs="+", action="extend", metavar="NAME", help=f"only these boundaries: {NAMES}")
    add("--claims", nargs="+", action="extend", type=Path, metavar="FILE", help="Python files with claims of your own")
    add("--seed", type=int, default=0, help="of every random choice (0)")
    add("--jobs", type=jobs, default=cores() + 1, help="processes that ask a checkout (cores + 1: they wait, too)")
    add("--scheduler", metavar="ADDRESS", default="", help="a Dask scheduler whose workers ask it: tcp://host:8786")


def opened(arguments: argparse.Namespace) -> Opened:
    """Open what the command names.

    Raises:
        UsageError: it names nothing that can be audited.
    """
    given = getattr(arguments, "boundary", None)
    names = [boundaries.boundary(n).name for n in given] if given else None
    boundaries.load(None if names is None or boundaries.ALL_OTHERS in names else names)
    load_claims(getattr(arguments, "claims", None) or ())
    adapter, limits = adapter_named(arguments), limits_of(arguments.time_limit or SECONDS, arguments.readable or ())
    if adapter is None:
        _refuse_idle(arguments)
        target = open_target(arguments.target, python=arguments.python, limits=limits)
        target.own = _written(arguments)
        _say_walls(target, getattr(arguments, "quiet", False))
        if target.declaration() is None:
            return Opened(target, list(arguments.config or target.pipeline().configs), names)
        kept = [c for c in getattr(target, "recording").configs if c]  # noqa: B009  a recording of an adapter's answers
        return Opened(target, list(arguments.config or kept), names)
    configs = [os.path.normpath(c) for c in arguments.config or ()]
    if len(configs) > 1:
        raise UsageError("an adapter is given one config", where=configs[1], remedy="audit one config at a time")
    target = open_target(
        arguments.target, python=arguments.python, adapter=adapter, config="".join(configs), limits=limits
    )
    target.own = _written(arguments)
    _say_walls(target, getattr(arguments, "quiet", False))
    _refuse_misspelt(target, names is None)
    return Opened(target, configs, names)


def _written(arguments: argparse.Namespace) -> tuple[Path, ...]:
    """What the command is to write: a run its folder, others a few files."""
    out, name = getattr(arguments, "out", None), getattr(arguments, "name", "")
    if out is None or hasattr(arguments, "replace"):
        return (out,) if out else ()
    return tuple(out / file for file in ((f"{name}{SUFFIX}", f".{name}.partial{SUFFIX}") if name else DOCUMENTS))


def _refuse_idle(arguments: argparse.Namespace) -> None:
    """Refuse what has no effect on a target without processes.

    Raises:
        UsageError: it is named.
    """
    if Path(arguments.target).expanduser().is_dir() and arguments.target:
        return
    for name in ("python", "readable", "time_limit"):
        if getattr(arguments, name):
            what = f"it has no effect: the target {arguments.target or default()!r} has no process of its own"
            remedy = "give a checkout's folder as --target, or leave it out"
            raise UsageError(what, where=f"--{name.replace('_', '-')}", remedy=remedy)


def _say_walls(target: Target, quiet: bool) -> None:
    said = told_walls(target.info())
    if said and not quiet:
        print(f"coordexp-audit: {said}", file=sys.stderr)


def paged(told: Opened) -> Opened:
    """The same with the boundaries that have a page: of an adapter's pipeline those that it answers at."""
    said = told.target.declaration()
    if said is None or told.names is not None:
        return told
    answered = {name.partition(".")[0] for name in said.surfaces}
    return told._replace(names=[b.name for b in boundaries.BOUNDARIES if b.name in answered])


def _refuse_misspelt(target: Target, whole: bool) -> None:
    """Refuse an adapter that names what is not there, which would be left unjudged in silence. whole: all is loaded."""
    said = target.declaration()
    if said is None:
        return
    named: list[tuple[str, Iterable[str], Iterable[str]]] = [("policy", said.policies, POLICIES)]
    named.append(("contract key", *_contract_keys(said.contract)))
    if whole:
        named.append(("surface", said.surfaces, surfaces()))
        named.append(("claim", said.demands or {}, [c.id for c in claims()]))
    try:
        for what, names, known in named:
            for name in names:
                if name not in known:
                    remedy = did_you_mean(name, known, f"use one of {', '.join(known)}")
                    raise UsageError(f"the adapter names the {what} {name!r}, and there is none", remedy=remedy)
        profile.named(said.profile or "text")
    except ValueError as error:
        target.close()
        raise UsageError(f"the adapter's profile: {error}", where=said.file) from error
    except UsageError:
        target.close()
        raise


def _contract_keys(contract: Iterable[str]) -> tuple[list[str], list[str]]:
    """The keys of a contract that claims of the library may read, and those that they read. Keys under a name that is
    no boundary's, nor looks like one, are for claims of one's own."""
    names = [b.name for b in boundaries.BOUNDARIES]
    known = {*pipeline().contract(), *(name + PROFILE for name in names), *OF_ADAPTERS}
    return [k for k in contract if nearest(k.partition(".")[0], names)], sorted(known)


def adapter_named(arguments: argparse.Namespace) -> Path | None:
    """The adapter's file that the command names; None for a pipeline that the library itself knows."""
    from coordexp_audit_lib.targets.adapter import adapter_of

    if arguments.pipeline and arguments.pipeline not in pipelines():
        return adapter_of(arguments.pipeline)
    path: Path | None = arguments.adapter
    return path


def cluster_of(arguments: argparse.Namespace, opened: Opened) -> Cluster | None:
    """The cluster that the command names, told how its workers open the target; None where it names none."""
    if not arguments.scheduler:
        return None
    folder = Path(arguments.target).expanduser()
    at: tuple[Path, str] | None = getattr(arguments, AT_COMMIT, None)
    word = str(folder.resolve()) if folder.exists() and arguments.target else arguments.target
    made = Opening(
        word=str(at[0]) if at else word,
        commit=at[1] if at else "",
        python=arguments.python,
        adapter=adapter.resolve() if (adapter := adapter_named(arguments)) else None,
        config="".join(opened.configs) if adapter else "",
        seconds=arguments.time_limit or SECONDS,
        readable=tuple(str(Path(p).expanduser().resolve()) for p in arguments.readable or ()),
        own=tuple(path.absolute() for path in opened.target.own),
        names=tuple(opened.names) if opened.names is not None else None,
        claims=tuple(path.absolute() for path in getattr(arguments, "claims", None) or ()),
    )
    return Cluster(arguments.scheduler, made)


def planned(opened: Opened) -> tuple[list[Claim], int, int]:
    """The checks of the chosen boundaries, how often they are judged in all, and the number of exhibits."""
    chosen = boundaries.load(opened.names)
    checks = [c for b in chosen for c in applicable(opened.target.pipeline(), b.name)]
    times = max(1, len(opened.configs))
    judged = sum(times if i.per_config else 1 for i in checks)
    return checks, judged, sum(len(exhibits(b.name)) for b in chosen)


def described(target: Target, names: list[str] | None, taken: str = "") -> TargetInfo:
    """Who was audited, with what it was not judged by. taken: what the tree itself said of how it is judged."""
    counts, info = left_out(target.pipeline(), [b.name for b in boundaries.load(names)]), target.info()
    told = ", ".join(f"{policy} ({n})" for policy, n in counts.items())
    note = f"not judged, for the adapter names none of these policies (with so many claims): {told}" if told else ""
    repository = target.pipeline().repository if info.commit else ""
    return msgspec.structs.replace(info, note="; ".join(filter(None, (info.note, taken, note))), repository=repository)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds")
    return seconds


def jobs(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of processes")
    return int(word)
