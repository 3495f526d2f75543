"""Loaders that are broken on purpose, one way each, with the claims that must notice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.chain import merge
from coordexp_audit_lib.boundaries.config.contract import (
    CHAIN,
    HF_LENGTH,
    LAUNCHER,
    LOAD,
    PACKING,
    PREFLIGHT,
    STAGE2,
    ChainRequest,
    HfLength,
    LauncherOutput,
    Loaded,
    LoadRequest,
    Packed,
    Passed,
    Preflight,
)
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse

Honest = Callable[[Any], Any]


def _overlook(request: LoadRequest, honest: Honest, pattern: str) -> Any:
    """Answer with the untouched anchored config where the refusal matches `pattern`: the flaw goes unnoticed."""
    try:
        return honest(request)
    except Refuse as refused:
        if re.search(pattern, str(refused)):
            return honest(LoadRequest(STAGE2, depth=request.depth))
        raise


def _reword(request: LoadRequest, honest: Honest, pattern: str, instead: str) -> Any:
    """Refuse with other words: every match of `pattern` in the error is replaced."""
    try:
        return honest(request)
    except Refuse as refused:
        raise Refuse(re.sub(pattern, instead, str(refused))) from refused


def _overlooks(id: str, pattern: str, caught_by: str, summary: str) -> None:
    """Declare a loader that accepts what it should refuse with an error that matches `pattern`."""

    @fault(id, surface=LOAD, caught_by=(caught_by,), summary=summary)
    def apply(request: LoadRequest, honest: Honest) -> Any:
        return _overlook(request, honest, pattern)


def _rewords(id: str, pattern: str, instead: str, caught_by: tuple[str, ...], summary: str) -> None:
    """Declare a loader whose errors say less than they should."""

    @fault(id, surface=LOAD, caught_by=caught_by, summary=summary)
    def apply(request: LoadRequest, honest: Honest) -> Any:
        return _reword(request, honest, pattern, instead)


_overlooks(
    "config.list_items_unchecked",
    r"servers\[0\]\.\w+: unknown key",
    "config.unknown_key_rejected",
    "unknown keys of list items are ignored",
)
_overlooks(
    "config.unknown_keys_ignored",
    r"unlisted_knob: unknown key",
    "config.unknown_key_rejected",
    "every unknown key is ignored",
)
_rewords(
    "config.short_paths",
    r"[\w.\[\]]+\.(\w+): unknown key",
    r"\1: unknown key",
    ("config.unknown_key_rejected", "config.unknown_section_key_rejected"),
    "errors name the key without its path",
)
_rewords(
    "config.no_cure",
    r"\. Remedy: .*",
    "",
    ("config.unknown_key_rejected", "config.unknown_section_key_rejected", "config.removed_key_rejected"),
    "errors do not say what to do",
)
_overlooks(
    "config.nested_sections_unchecked",
    r"custom\.coord_tokens\.\w+: unknown key",
    "config.unknown_section_key_rejected",
    "unknown keys of a nested mapping under custom are ignored",
)
_overlooks(
    "config.extra_tolerated",
    r"^extra: the key was removed",
    "config.unknown_section_key_rejected",
    "a top-level extra is accepted",
)
_overlooks(
    "config.legacy_tolerated",
    r"was (removed|moved)",
    "config.removed_key_rejected",
    "removed knobs are accepted and ignored",
)
_overlooks("config.required_defaulted", r"required", "config.required_key", "missing keys get a default")
_overlooks("config.nan_accepted", r"found nan", "config.value_range", "NaN passes comparisons and is accepted")
_overlooks("config.text_coerced", r"found '[\d.]+'", "config.value_range", "numeric texts are converted")
_overlooks("config.b_ratio_unbounded", r"b_ratio: .*found (1\.5|-0\.1)", "config.value_range", "b_ratio may exceed 1")
_overlooks("config.bool_coerced", r"found True", "config.value_range", "True counts as 1")
_overlooks(
    "config.coord_mode_optional",
    r"coord_tokens\.\w+: expected true",
    "config.coord_mode_mandatory",
    "coordinate tokens can be switched off",
)
_overlooks(
    "config.lengths_unchecked",
    r"less than global_max_length",
    "config.length_coherent",
    "training accepts longer sequences than the rollout server",
)
_overlooks(
    "config.budget_unchecked",
    r"leaves no room",
    "config.length_coherent",
    "the generation budget may fill the whole context",
)
_overlooks(
    "config.two_hops_tolerated",
    r"a stage-2 leaf extends exactly",
    "config.profile_one_hop",
    "stage-2 leaves may have any parents",
)
_rewords(
    "config.profile_chain_hidden",
    r"found .*",
    "found another",
    ("config.profile_one_hop",),
    "the error does not show the chain of a stage-2 leaf",
)
_overlooks(
    "config.implicit_leaf",
    r"a stage-2 leaf states it by itself",
    "config.profile_explicit",
    "a stage-2 leaf may leave everything to its base",
)
_overlooks("config.missing_parent_skipped", r"no such file", "config.extends_sound", "a missing parent is skipped")
_rewords(
    "config.cycle_chain_hidden",
    r"a cycle of parents: .*",
    "a cycle",
    ("config.extends_sound",),
    "the error does not show the chain of a cycle",
)


@fault(
    "config.parents_win",
    surface=CHAIN,
    caught_by=("config.extends_sound",),
    summary="a parent's value wins over the leaf's own",
)
def parents_win(request: ChainRequest, honest: Honest) -> Any:
    found = honest(request)
    merged: dict[str, Any] = {}
    for file in found.files:
        merged = merge(merged, file.raw)
    return msgspec.structs.replace(found, merged=merged)


@fault(
    "config.batch_rounded_up",
    surface=LOAD,
    caught_by=("config.batch_divisible",),
    summary="an effective batch that does not divide is rounded up",
)
def batch_rounded_up(request: LoadRequest, honest: Honest) -> Any:
    return _overlook(request, honest, "accumulation steps")


@fault(
    "config.accumulation_wins",
    surface=LOAD,
    caught_by=("config.batch_divisible",),
    summary="upstream is told another accumulation than the effective batch implies",
)
def accumulation_wins(request: LoadRequest, honest: Honest) -> Any:
    loaded: Loaded = honest(request)
    if loaded.arguments is None:
        return loaded
    more = loaded.arguments["gradient_accumulation_steps"] + 1
    return msgspec.structs.replace(loaded, arguments={**loaded.arguments, "gradient_accumulation_steps": more})


@fault(
    "config.hf_length_unchecked",
    surface=HF_LENGTH,
    caught_by=("config.length_coherent",),
    summary="the HF rollout may run past the model's positions",
)
def hf_length_unchecked(request: HfLength, honest: Honest) -> Any:
    return Passed()


@fault(
    "config.sdpa_packed",
    surface=PACKING,
    caught_by=("config.packing_backend",),
    summary="packing with SDPA is accepted",
)
def sdpa_packed(request: LoadRequest, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse:
        return Packed(True, "sdpa")


def _digest_of(part: Callable[[LoadRequest], Any]) -> Callable[[LoadRequest, Honest], Any]:
    """A loader whose result hangs on a part of the request that must not matter."""

    def apply(request: LoadRequest, honest: Honest) -> Any:
        loaded: Loaded = honest(request)
        return msgspec.structs.replace(loaded, digest=digest([loaded.digest, part(request)]))

    return apply


for _name, _part in (
    ("cwd", lambda r: r.cwd),
    ("environment", lambda r: r.env.get("LANG", "")),
    ("key_order", lambda r: r.files.get(r.config, "")[:40]),
):
    fault(
        f"config.depends_on_{_name}",
        surface=LOAD,
        caught_by=("config.deterministic",),
        summary=f"the loaded config depends on the {_name.replace('_', ' ')}",
    )(_digest_of(_part))


@fault(
    "config.many_servers",
    surface=PREFLIGHT,
    caught_by=("config.preflight_contract",),
    summary="the preflight takes the first of several servers",
)
def many_servers(request: LoadRequest, honest: Honest) -> Any:
    return _overlook(request, honest, "exactly 1")


@fault(
    "config.paths_from_caller",
    surface=PREFLIGHT,
    caught_by=("config.preflight_contract",),
    summary="relative paths resolve against the caller's directory",
)
def paths_from_caller(request: LoadRequest, honest: Honest) -> Any:
    payload = honest(request).payload
    moved = {k: v.replace("<repo>", f"<repo>/{request.cwd}") for k, v in payload.items() if k.endswith("_resolved")}
    return Preflight({**payload, **moved})


@fault(
    "config.chatty_preflight",
    surface=LAUNCHER,
    caught_by=("config.preflight_contract",),
    summary="the preflight step prints its contract twice and ends without a newline",
)
def chatty_preflight(request: LoadRequest, honest: Honest) -> Any:
    out: LauncherOutput = honest(request)
    return LauncherOutput(out.exit_code, out.lines * 2, False)
