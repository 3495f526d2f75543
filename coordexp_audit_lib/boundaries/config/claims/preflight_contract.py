"""The launcher's preflight gives one newline-terminated JSON line with rollout_backend, vllm_mode and server_base_urls;
more than one server is refused; relative paths resolve against the repository.

The launcher starts the rollout server from this line. Read wrongly, training waits for a server that serves another
model or data folder, and rollouts of that model are what Channel B learns from.

Example: two entries under `rollout_matching.vllm.server.servers` must be refused, not cut to the first."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench, launched, profile_bench
from coordexp_audit_lib.boundaries.config.faults import overlooks
from coordexp_audit_lib.boundaries.config.predicates.messages import preflight_flaws
from coordexp_audit_lib.boundaries.config.surfaces import LAUNCHER, PREFLIGHT, LauncherOutput, LoadRequest, Preflight
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Authority
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="B",
    remedy="Print the contract as one JSON line, refuse several servers, and anchor relative paths at the repository.",
)
def preflight_contract(ctx: Context) -> Iterator[Problem]:
    bench, servers = profile_bench(ctx), ctx.contract["config.servers"]
    keys = ctx.contract["config.preflight"]["keys"]
    start = launched(bench)
    as_it_is = bench.request(edits.with_values(bench.chain, start) if start else {})
    payload = ctx.value(PREFLIGHT, as_it_is).payload
    named = start.get(servers) or bench.get(servers, [])
    urls, flaws = [s["base_url"] for s in named], preflight_flaws(payload, keys)
    ctx.judged()
    if flaws or payload["server_base_urls"] != urls:
        yield Problem("The preflight's payload breaks its contract.", "payload", urls, flaws or payload)
    yield from _paths(ctx, bench)
    two = [{"base_url": f"http://127.0.0.1:{8000 + i}", "group_port": 51216 + i} for i in range(2)]
    several = bench.request(edits.with_values(bench.chain, {**start, servers: two}))
    ctx.judged()
    if not ctx.ask(PREFLIGHT, several).refused:
        message = "A config with two rollout servers passes the preflight."
        yield Problem(message, servers, "refused", "accepted", {servers: 2})
    try:
        yield from _printed(ctx, as_it_is, {k: payload.get(k) for k in keys}, several)
    except SurfaceUnbound as unbound:
        ctx.left_out("what the launcher prints", str(unbound))


def expected_paths(train: str, val: str) -> dict[str, str]:
    """Where the preflight's paths point when relative ones are taken from the repository."""
    full = {k: "<repo>/" + posixpath.normpath(v) for k, v in (("train", train), ("val", val))}
    return {
        "train_jsonl_resolved": full["train"],
        "val_jsonl_resolved": full["val"],
        "root_image_dir_resolved": posixpath.dirname(full["train"]),
    }


def _paths(ctx: Context, bench: Bench) -> Iterator[Problem]:
    keys = ctx.contract["config.preflight"]
    for train, val in (("data/train.jsonl", "data/val.jsonl"), ("./data/train.jsonl", "./data/val.jsonl")):
        values = {**launched(bench), keys["train"]: train, keys["val"]: val}
        overlay = edits.with_values(bench.chain, values)
        for cwd in (".", "elsewhere"):
            payload = ctx.value(PREFLIGHT, bench.request(overlay, cwd=cwd)).payload
            for key, expected in expected_paths(train, val).items():
                if key not in payload:
                    ctx.left_out(key, "the preflight does not tell it")
                    continue
                ctx.judged()
                if payload[key] != expected:
                    message = f"A relative path resolves to {payload[key]}, not against the repository."
                    dotted = train.startswith(".")  # a policy of its own
                    ours: Authority | None = "practice" if dotted else None
                    about = f"{key} of a path that begins with a dot" if dotted else key
                    yield Problem(message, about, expected, payload[key], {**values, "cwd": cwd}, authority=ours)


def _printed(ctx: Context, one: LoadRequest, wanted: dict[str, Any], several: LoadRequest) -> Iterator[Problem]:
    """What the launcher's own step writes, for the config and for one that must not launch."""
    out = ctx.value(LAUNCHER, one)
    ctx.judged()
    printed = [json.loads(line) for line in out.lines]
    same = len(printed) == 1 and {k: printed[0].get(k) for k in wanted} == wanted
    if out.exit_code or not out.terminated or not same:
        message = "The launcher's preflight does not print exactly one newline-terminated JSON line with its contract."
        yield Problem(message, "launcher output", wanted, msgspec.to_builtins(out))
    out = ctx.value(LAUNCHER, several)
    ctx.judged()
    if out.exit_code == 0:
        message = "The launcher's preflight step ends with status 0 for a config with two servers."
        yield Problem(message, "launcher output", "a non-zero status", 0)


fault(preflight_contract, "many_servers", PREFLIGHT, "the preflight takes the first of several servers")(
    overlooks("exactly 1")
)


@fault(preflight_contract, "paths_from_caller", PREFLIGHT, "relative paths resolve against the caller's directory")
def paths_from_caller(request: LoadRequest, honest: Honest) -> Any:
    payload = honest(request).payload
    moved = {k: v.replace("<repo>", f"<repo>/{request.cwd}") for k, v in payload.items() if k.endswith("_resolved")}
    return Preflight({**payload, **moved})


@fault(
    preflight_contract,
    "chatty_preflight",
    LAUNCHER,
    "the preflight step prints its contract twice and ends without a newline",
)
def chatty_preflight(request: LoadRequest, honest: Honest) -> Any:
    out: LauncherOutput = honest(request)
    return LauncherOutput(out.exit_code, out.lines * 2, False)
