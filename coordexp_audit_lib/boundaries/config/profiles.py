"""Claims about files: how stage-2 leaves and chains of parents are shaped, and what the launcher makes of a config."""

from __future__ import annotations

import itertools
import json
import posixpath
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config import chain as edit
from coordexp_audit_lib.boundaries.config.bench import Bench, profile_bench
from coordexp_audit_lib.boundaries.config.chain import lookup, parent_path, steps, text_of
from coordexp_audit_lib.boundaries.config.contract import (
    CHAIN,
    LAUNCHER,
    LOAD,
    PREFLIGHT,
    PREFLIGHT_KEYS,
    ChainRequest,
    LoadRequest,
    names_path,
    preflight_flaws,
)
from coordexp_audit_lib.boundaries.config.resolve import EXPLICIT, PROFILE_PARENT
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation


class Shape(msgspec.Struct, frozen=True):
    """A chain that must be refused: what it is, the leaf, the files, and the names that the error must show."""

    what: str
    leaf: str
    files: dict[str, str]
    shown: tuple[str, ...]


def profile_shapes(bench: Bench) -> Iterator[Shape]:
    """Stage-2 leaves with other parents than exactly the base."""
    leaf = bench.chain.files[0]
    folder, name = posixpath.split(leaf.path)
    base = parent_path(leaf.path, PROFILE_PARENT)
    middle = posixpath.join(posixpath.dirname(folder), "audit_middle.yaml")
    middle_file = {middle: text_of(bench.chain.merged, ["base.yaml"])}
    smoke = posixpath.join(posixpath.dirname(folder), "smoke", "audit_leaf.yaml")

    def written(path: str, parents: list[str]) -> dict[str, str]:
        return {path: text_of(leaf.raw if parents else bench.chain.merged, parents)}

    two = [PROFILE_PARENT, "../audit_middle.yaml"]
    yield Shape("two parents", leaf.path, {**written(leaf.path, two), **middle_file}, (name, *two))
    one = ["../audit_middle.yaml"]
    yield Shape("a file between it and the base", leaf.path, {**written(leaf.path, one), **middle_file}, (name, *one))
    sibling = {posixpath.join(folder, "audit_sibling.yaml"): text_of(leaf.raw, leaf.extends)}
    files = {**written(leaf.path, ["audit_sibling.yaml"]), **sibling}
    yield Shape("another leaf as its parent", leaf.path, files, (name, "audit_sibling.yaml"))
    yield Shape("no parent", leaf.path, written(leaf.path, []), (name,))
    files = {**written(smoke, two), **middle_file}
    yield Shape("two parents, under smoke", smoke, files, (posixpath.basename(smoke), *two))
    known = next((f for f in bench.chain.files if f.path == base), None)
    if known is not None:
        longer = {base: text_of(known.raw, known.extends or ["audit_root.yaml"])}
        longer[parent_path(base, "audit_root.yaml")] = text_of({"debug": {"enabled": False}})
        yield Shape("a base that has a parent itself", leaf.path, longer, ())


@invariant(
    "config.profile_one_hop",
    boundary="config",
    severity="P1",
    kind="B",
    claim="A stage-2 leaf under prod/ or smoke/ extends exactly ../base.yaml; chains and double parents are refused "
    "and the chain is shown.",
    remedy="Check the whole chain of a leaf, not only its own `extends`, and print it in the error.",
    spec="stage2-ab-training: Stage-2 AB profile hierarchy is canonical and one-hop",
)
def profile_one_hop(ctx: Context) -> Iterator[Violation]:
    bench = profile_bench(ctx)
    bench.must_load()
    for shape in profile_shapes(bench):
        yield from _judge_shape(ctx, shape, "A stage-2 leaf with")


def _judge_shape(ctx: Context, shape: Shape, subject: str) -> Iterator[Violation]:
    answer = ctx.ask(LOAD, LoadRequest(shape.leaf, shape.files))
    ctx.judged()
    case = {"leaf": shape.leaf, "case": shape.what}
    if answer.refusal is None:
        yield Violation(f"{subject} {shape.what} is accepted.", shape.leaf, "refused", "accepted", case)
        return
    missing = [n for n in shape.shown if n not in answer.refusal.message]
    if missing:
        absent = ", ".join(missing)
        yield Violation(
            f"{subject} {shape.what} is refused, but the error does not show the chain: it lacks {absent}.",
            subject=shape.leaf,
            expected=list(shape.shown),
            actual=answer.refusal.message,
            counterexample=case,
        )


@invariant(
    "config.profile_explicit",
    boundary="config",
    severity="P1",
    kind="B",
    claim="A stage-2 leaf states by itself the model, the run's name and directories, the three learning rates, the "
    "effective batch, eval and save strategy and steps, b_ratio and n_softctx_iter.",
    remedy="Refuse a leaf that leaves one of them to its parent, and name the key.",
    spec="stage2-ab-training: canonical profile leaves explicitly declare high-signal knobs",
)
def profile_explicit(ctx: Context) -> Iterator[Violation]:
    bench = profile_bench(ctx)
    leaf = bench.chain.files[0]
    for key in EXPLICIT:
        *parents, last = steps(key)
        raw = msgspec.convert(msgspec.to_builtins(leaf.raw), dict[str, Any])
        node = lookup(raw, tuple(parents), {})
        node.pop(last, None)
        answer = bench.load(edit.rewritten(leaf, raw))
        ctx.judged()
        if answer.refusal is None or not names_path(answer.refusal.message, key):
            verdict = "refused without naming it" if answer.refusal else "accepted"
            yield Violation(
                f"A stage-2 leaf that does not state {key} is {verdict}.",
                subject=key,
                expected=f"refused, naming {key}",
                actual=answer.refusal.message if answer.refusal else "accepted",
                counterexample={"leaf without": key},
            )


def broken_chains(bench: Bench) -> Iterator[Shape]:
    """Cycles of one, two and three files, and parents that do not exist, one and two hops away."""
    names = ("audit_first.yaml", "audit_second.yaml", "audit_third.yaml")
    for length in (1, 2, 3):
        ring = names[:length]
        files = _linked(bench, [(name, ring[(i + 1) % length]) for i, name in enumerate(ring)])
        yield Shape(f"a cycle of {length} file(s)", "configs/audit/audit_first.yaml", files, ring)
    for length in (1, 2):
        line = (*names[:length], "audit_absent.yaml")
        files = _linked(bench, list(itertools.pairwise(line)))
        yield Shape(f"a missing parent {length} hop(s) away", "configs/audit/audit_first.yaml", files, line)


def _linked(bench: Bench, links: list[tuple[str, str]]) -> dict[str, str]:
    """Files that each extend the next; the first is a whole config, so that nothing else is wrong with it."""
    return {
        f"configs/audit/{name}": text_of(bench.chain.merged if i == 0 else {}, [parent])
        for i, (name, parent) in enumerate(links)
    }


@invariant(
    "config.extends_sound",
    boundary="config",
    severity="P1",
    kind="B",
    claim="A cycle or a missing parent is an error that shows the chain; in a sound chain a file's own value wins over "
    "its parents'.",
    remedy="Carry the chain of files while resolving, and print it in both errors; merge parents first.",
    spec="stage2-ab-training: profile hierarchy is auditable",
)
def extends_sound(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    bench.must_load()
    for shape in broken_chains(bench):
        yield from _judge_shape(ctx, shape, "A config with")
    yield from _precedence(ctx)


PRECEDENCE = {"root": "root", "middle": "middle", "leaf": "leaf"}


def _precedence(ctx: Context) -> Iterator[Violation]:
    """Three files that set the same keys, one less in each child: the value set nearest the leaf stays."""
    names = [f"configs/audit/audit_{level}.yaml" for level in ("leaf", "middle", "root")]
    keys = list(PRECEDENCE)
    files = {}
    for i, (name, level) in enumerate(zip(names, reversed(keys), strict=True)):
        parent = [posixpath.basename(n) for n in names[i + 1 : i + 2]]
        files[name] = text_of({"debug": dict.fromkeys(keys[2 - i :], level)}, parent)
    answer = ctx.ask(CHAIN, ChainRequest(names[0], files))
    ctx.judged()
    got = "refused" if answer.content is None else lookup(answer.content.merged, ("debug",))
    if got != PRECEDENCE:
        message = "In a chain of three files a key does not keep the value that was set nearest the leaf."
        yield Violation(message, names[0], PRECEDENCE, got, files)


SERVERS = "rollout_matching.vllm.server.servers"


@invariant(
    "config.preflight_contract",
    boundary="config",
    severity="P1",
    kind="B",
    claim="The launcher's preflight gives one newline-terminated JSON line with rollout_backend, vllm_mode and "
    "server_base_urls; more than one server is refused; relative paths resolve against the repository.",
    remedy="Print the contract as one JSON line, refuse several servers, and anchor relative paths at the repository.",
    spec="stage2-ab-training: launcher preflight machine-readable output",
)
def preflight_contract(ctx: Context) -> Iterator[Violation]:
    bench = profile_bench(ctx)
    payload = ctx.value(PREFLIGHT, bench.request({})).payload
    two = [{"base_url": f"http://127.0.0.1:{8000 + i}", "group_port": 51216 + i} for i in range(2)]
    several = bench.request(edit.with_values(bench.chain, {SERVERS: two}))
    broken = [*_payload(ctx, bench, payload), *_paths(ctx, bench), *_several(ctx, several)]
    yield from broken
    try:
        yield from _printed(ctx, bench, payload, several)
    except SurfaceUnbound as unbound:
        if not broken:  # one half alone can refute the claim, but not uphold it
            raise
        ctx.fact("not judged", str(unbound))


def _payload(ctx: Context, bench: Bench, payload: dict[str, Any]) -> Iterator[Violation]:
    urls = [s["base_url"] for s in bench.get(SERVERS, [])]
    flaws = preflight_flaws(payload)
    ctx.judged()
    if flaws or payload["server_base_urls"] != urls:
        yield Violation("The preflight's payload breaks its contract.", "payload", urls, flaws or payload)


def _several(ctx: Context, several: LoadRequest) -> Iterator[Violation]:
    ctx.judged()
    if not ctx.ask(PREFLIGHT, several).refused:
        message = "A config with two rollout servers passes the preflight."
        yield Violation(message, SERVERS, "refused", "accepted", {SERVERS: 2})


def expected_paths(train: str, val: str) -> dict[str, str]:
    """Where the preflight's paths point when relative ones are taken from the repository."""
    full = {k: "<repo>/" + posixpath.normpath(v) for k, v in (("train", train), ("val", val))}
    return {
        "train_jsonl_resolved": full["train"],
        "val_jsonl_resolved": full["val"],
        "root_image_dir_resolved": posixpath.dirname(full["train"]),
    }


def _paths(ctx: Context, bench: Bench) -> Iterator[Violation]:
    for train, val in (("data/train.jsonl", "data/val.jsonl"), ("./data/train.jsonl", "./data/val.jsonl")):
        overlay = edit.with_values(bench.chain, {"custom.train_jsonl": train, "custom.val_jsonl": val})
        for cwd in (".", "elsewhere"):
            payload = ctx.value(PREFLIGHT, bench.request(overlay, cwd=cwd)).payload
            for key, expected in expected_paths(train, val).items():
                if key not in payload:
                    continue
                ctx.judged()
                if payload[key] != expected:
                    case = {"custom.train_jsonl": train, "custom.val_jsonl": val, "cwd": cwd}
                    message = f"A relative path resolves to {payload[key]}, not against the repository."
                    yield Violation(message, key, expected, payload[key], case)


def _printed(ctx: Context, bench: Bench, payload: dict[str, Any], several: LoadRequest) -> Iterator[Violation]:
    """What the launcher's own step writes, for the config and for one that must not launch."""
    out = ctx.value(LAUNCHER, bench.request({}))
    ctx.judged()
    wanted = {k: payload.get(k) for k in PREFLIGHT_KEYS}
    printed = [json.loads(line) for line in out.lines]
    same = len(printed) == 1 and {k: printed[0].get(k) for k in PREFLIGHT_KEYS} == wanted
    if out.exit_code or not out.terminated or not same:
        message = "The launcher's preflight does not print exactly one newline-terminated JSON line with its contract."
        yield Violation(message, "launcher output", wanted, msgspec.to_builtins(out))
    out = ctx.value(LAUNCHER, several)
    ctx.judged()
    if out.exit_code == 0:
        message = "The launcher's preflight step ends with status 0 for a config with two servers."
        yield Violation(message, "launcher output", "a non-zero status", 0)
