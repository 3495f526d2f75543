"""The commands for whoever writes an adapter: see what it decides, begin one, pin a pipeline's prompts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import policy_of
from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template.surfaces import PROMPT
from coordexp_audit_lib.cli import skeleton
from coordexp_audit_lib.cli.opening import declare_target, opened, planned
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.errors import AuditError, SurfaceFailed, UsageError
from coordexp_audit_lib.core.finding import STATUSES, Finding
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.ranking import ranked
from coordexp_audit_lib.core.surface import surfaces
from coordexp_audit_lib.core.target import typed_answer
from coordexp_audit_lib.report.tables import text
from coordexp_audit_lib.targets.adapter import PINS, AdapterTarget, pins_beside
from coordexp_audit_lib.targets.recording import Recorder

OUTCOMES = {"value": "answered", "refusal": "refused", "unsupported": "not supported", "unbound": "unbound"}
SCHEMA = "coordexp-audit-adapter/1"


def declare(add: Callable[..., Any], shared: argparse.ArgumentParser) -> None:
    """Add the commands to the command line. shared: the options that each has."""
    adapter = add("adapter", None, "write an adapter for a pipeline, and see what it decides")
    commands = adapter.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", parents=[shared], help=_check.__doc__, description=_check.__doc__)
    check.add_argument("adapter", type=Path, metavar="FILE", help="the adapter")
    declare_target(check, adapter=False)
    check.add_argument("--boundary", nargs="+", action="extend", help="only these boundaries")
    check.set_defaults(command=_check, pipeline=None)
    new = commands.add_parser("new", parents=[shared], help=_new.__doc__, description=_new.__doc__)
    new.add_argument("file", type=Path, nargs="?", default=Path("adapter.py"), help="to be written (adapter.py)")
    new.add_argument("--name", default="my-pipeline", help="of the pipeline")
    new.set_defaults(command=_new)
    pin = add("pin", _pin, _pin.__doc__)
    declare_target(pin)
    pin.add_argument("--out", type=Path, help="the file to write (beside the adapter)")


def _check(arguments: argparse.Namespace) -> int:
    """say which surfaces an adapter answers, which claims that decides, and what is wrong first"""
    told = opened(arguments)
    assert isinstance(told.target, AdapterTarget)
    recorder = Recorder(told.target)
    with recorder:
        checks, _, _ = planned(told)
        found = ranked(audit(recorder, checks, told.configs))
        answered = {name: _outcome(recorder, name) for name in told.target.said.surfaces}
    first = _first(answered, found)
    counts = _counts(found)
    document = {"schema": SCHEMA, "surfaces": answered, "claims": _by_status(found), "decided": counts, "first": first}
    if arguments.json:
        print(json.dumps(document, sort_keys=True, indent=1))
    else:
        print(_shown(answered, found, first))
    wrong = any(o["failed"] for o in answered.values()) or any(f.counts or f.status == "error" for f in found)
    return 1 if wrong else 0


def _outcome(recorder: Recorder, name: str) -> dict[str, Any]:
    """How often a surface was answered, and what went wrong first."""
    counted = dict.fromkeys((*OUTCOMES.values(), "failed"), 0)
    first, question = "", surfaces()[name]
    for kept in recorder.answers.get(name, {}).values():
        for one in kept.get("sequence", [kept]):
            failed = one.get("failed", "")
            try:
                typed_answer(question, one) if {"value", "refusal"} & one.keys() else None
            except SurfaceFailed as error:
                failed = error.what
            word = next((w for key, w in OUTCOMES.items() if key in one), "failed")
            counted["failed" if failed else word] += 1
            first = first or failed or (one.get("refusal") or {}).get("message", "")
    return {**counted, "first": first}


def _by_status(found: Sequence[Finding]) -> dict[str, list[str]]:
    return {status: sorted(f.invariant for f in found if f.status == status) for status in STATUSES}


def _counts(found: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """Of the claims that hold of any pipeline, and of those of its policies: how many are decided, and how many there
    are."""
    told = {}
    for name, policy in (("universal", False), ("policies", True)):
        mine = [f for f in found if bool(policy_of(f.invariant)) == policy]
        told[name] = {"decided": sum(f.status in ("held", "violated") for f in mine), "all": len(mine)}
    return told


def _first(answered: Mapping[str, Mapping[str, Any]], found: Sequence[Finding]) -> str:
    """What to look at first: a surface that fails, then the weightiest violation, then what could not be judged."""
    for name, one in answered.items():
        if one["failed"]:
            return f"{name} fails: {one['first']}"
    for status, said in (("violated", "is violated"), ("error", "could not be judged")):
        for f in found:
            if f.status == status:
                return f"{f.invariant} {said}: {f.violations[0].message if f.violations else f.note}"
    return ""


def _shown(answered: Mapping[str, Mapping[str, Any]], found: Sequence[Finding], first: str) -> str:
    words = (*OUTCOMES.values(), "failed")
    rows = [(name, *(one[w] or "-" for w in words), one["first"][:60]) for name, one in answered.items()]
    parts = [text(("surface", *words, "first failure or refusal"), rows) if rows else "it answers no surface", ""]
    decided = [f for f in found if f.status in ("held", "violated")]
    any_, own = _counts(found).values()
    said = f"{any_['decided']} of {any_['all']} claims that hold of any pipeline are decided"
    parts.append(f"{said}, and {own['decided']} of {own['all']} of its policies:" if own["all"] else f"{said}:")
    parts += [f"  {f.status:<8}  {f.invariant:<36}  {f.checked} judged" for f in decided]
    parts += ["", "not decided:"]
    parts += [f"  {f.status:<8}  {f.invariant:<36}  {f.note[:110]}" for f in found if f.status in ("unbound", "error")]
    return "\n".join([*parts, "", f"first: {first}" if first else "nothing is wrong"])


def _new(arguments: argparse.Namespace) -> int:
    """write a commented adapter to begin with"""
    if arguments.file.exists():
        raise UsageError("it exists", where=str(arguments.file), remedy="give another name")
    boundaries.load()
    write_atomically(arguments.file, skeleton.text(arguments.name))
    print(json.dumps({"adapter": str(arguments.file)}) if arguments.json else f"{arguments.file}: written")
    return 0


def _pin(arguments: argparse.Namespace) -> int:
    """write a pipeline's pins: its prompts as they are rendered now, as traces that can be compared and not read"""
    told = opened(arguments)
    with told.target as target:
        out = arguments.out or (pins_beside(target.file) if isinstance(target, AdapterTarget) else None)
        if out is None:
            raise UsageError("there is no adapter to put them beside", remedy="name the file: --out FILE")
        boundaries.load(["template"])
        ctx, pins = Context(target, ""), dict[str, Any]()
        for request in cases.prompt_requests(ctx.contract):
            try:
                pins[cases.setting(request)] = msgspec.to_builtins(ctx.value(PROMPT, request).tokens)
            except AuditError as error:
                raise UsageError(
                    error.what, where=error.where, remedy="answer template.prompt in the adapter"
                ) from error
    write_atomically(out, json.dumps({PINS: pins}, sort_keys=True, indent=1) + "\n")
    told_ = {"pins": str(out), "prompts": len(pins)}
    print(json.dumps(told_, sort_keys=True) if arguments.json else f"{out}: {len(pins)} prompts pinned")
    return 0
