"""A baseline: violations that somebody accepted, each with a reason and a date, in a TOML file beside the audited code.

    [[accepted]]
    claim = "packing.each_once"
    kind = "sample # stands in no pack"      # what the violations have in common, as audit.json's `kinds` tell it
    most = 9                                 # how many of them are accepted; more are a finding again
    configs = ["configs/stage1/a.yaml"]      # in these; in any, where the key is left out
    reason = "the loader drops the last pack on purpose, see #12"
    date = 2026-11-27

An accepted finding is still judged, listed and told of in every document; it leaves the exit status alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.errors import UsageError, did_you_mean, unusable
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.core.reading import content

MOST = 4 << 20  # bytes of a baseline that are read
_NUMBER = re.compile(r"\d+")


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: violations of one claim and one kind, accepted for a reason on a day."""

    claim: str
    kind: str
    reason: str
    date: date
    most: int = 1
    configs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("`reason` is empty")

    def takes(self, finding: Finding, kind: str, count: int) -> bool:
        """Whether it accepts so many violations of a kind of a finding."""
        of_config = not self.configs or finding.config is None or finding.config in self.configs
        return (self.claim, like(self.kind)) == (finding.invariant, like(kind)) and of_config and count <= self.most


def like(message: str) -> str:
    """A kind's text without its numbers, which change with every line that is added to a file."""
    return _NUMBER.sub("#", message)


def read_baseline(path: Path) -> list[Accepted]:
    """The entries of a baseline.

    Raises:
        UsageError: it can't be read, or an entry lacks its reason or date, or has a key that there is none of.
    """
    try:
        made = tomllib.loads(content(path, MOST).decode("utf-8"))
    except OSError as error:
        raise unusable(error, str(path)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"not TOML: {error}", where=str(path), remedy="mend that line") from error
    for key in made:
        if key != "accepted":
            raise UsageError(f"there is no key {key!r}", where=str(path), remedy="write entries as [[accepted]]")
    entries = made.get("accepted", [])
    if not isinstance(entries, list):
        raise UsageError("`accepted` is no list", where=str(path), remedy="write entries as [[accepted]]")
    return [_entry(entry, f"{path}, entry {n}") for n, entry in enumerate(entries, 1)]


def _entry(given: Any, where: str) -> Accepted:
    known = Accepted.__struct_fields__
    for key in given if isinstance(given, dict) else ():
        if key not in known:
            raise UsageError(f"there is no key {key!r}", where=where, remedy=did_you_mean(key, known, ", ".join(known)))
    try:
        return msgspec.convert(given, type=Accepted)
    except (msgspec.ValidationError, ValueError) as error:
        remedy = "give claim, kind, reason and date, as `coordexp-audit baseline new` writes them"
        raise UsageError(str(error), where=where, remedy=remedy) from error


def accept(findings: Sequence[Finding], baseline: Sequence[Accepted]) -> tuple[list[Finding], list[Accepted]]:
    """The findings, those marked whose every violation is accepted, and the entries that nothing matches any more.

    An entry of a claim that was not judged here, or of other configs, is not said to match nothing.
    """
    used: set[Accepted] = set()
    told = []
    for f in findings:
        takers = [next((e for e in baseline if e.takes(f, k.message, k.count)), None) for k in f.kinds]
        used.update(e for e in takers if e)
        accepted = f.status == "violated" and bool(takers) and all(takers)
        reasons = dict.fromkeys(f"{e.reason} ({e.date.isoformat()})" for e in takers if e)
        told.append(msgspec.structs.replace(f, accepted="; ".join(reasons)) if accepted else f)
    judged = {(f.invariant, c) for f in findings for c in (f.config, None) if f.status in ("held", "violated")}
    stale = [e for e in baseline if e not in used and any((e.claim, c) in judged for c in e.configs or (None,))]
    return told, stale


def entries(made: Mapping[str, Any], reason: str, on: date, ids: Sequence[str] = ()) -> list[Accepted]:
    """An entry for each kind of violation of a document that counts. ids: of these claims only.

    Raises:
        UsageError: one of them is not violated.
    """
    violated = [f for f in made["findings"] if counts(f) or (f["same_as"] and f["reach"] != "none")]
    for name in ids:
        known = [f["invariant"] for f in violated]
        if name not in known:
            remedy = did_you_mean(name, known, f"it is one of {', '.join(known)}" if known else "nothing is violated")
            raise UsageError("no such claim is violated", where=name, remedy=remedy)
    return [
        Accepted(f["invariant"], k["message"], reason, on, k["count"], tuple(f["configs"]))
        for f in violated
        if not ids or f["invariant"] in ids
        for k in f["kinds"]
    ]


def write_baseline(path: Path, kept: Iterable[Accepted], new: Iterable[Accepted]) -> int:
    """Write the entries that there are, and after them the new ones that are not among them; how many these were."""
    import tomli_w

    before = list(kept)
    there = {(e.claim, like(e.kind), e.configs) for e in before}
    added = [e for e in new if (e.claim, like(e.kind), e.configs) not in there]
    told = [{k: v for k, v in msgspec.structs.asdict(e).items() if v != ()} for e in (*before, *added)]
    for entry in told:
        entry["configs"] = list(entry.get("configs", ()))
    write_atomically(path, tomli_w.dumps({"accepted": told}))
    return len(added)
