"""What an environment must be for the code that runs in it: its releases fit, and it has what the code imports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem


class Environment(msgspec.Struct, frozen=True):
    """installed: by distribution its version and what it requires. python: version of the interpreter."""

    installed: Mapping[str, tuple[str, tuple[str, ...]]]
    python: str


class Taken(msgspec.Struct, frozen=True):
    """imports: `module:name` with the first place. seen: of each whether it is there, as `upstream.names` tells."""

    imports: Mapping[str, Where]
    seen: Mapping[str, str]


def fit_each_other(one: Environment, ledger: Ledger) -> Iterator[Problem]:
    """Every requirement of one distribution on another is met. Counts requirements."""
    versions = {canonicalize_name(name): (name, version) for name, (version, _) in one.installed.items() if version}
    for user, (version, requires) in sorted(one.installed.items()):
        for line in requires if version else ():
            wanted = _applies(line, one.python)
            other = versions.get(canonicalize_name(wanted.name)) if wanted is not None else None
            if wanted is None or other is None:
                continue
            ledger.judged()
            try:
                met = wanted.specifier.contains(other[1], prereleases=True)
            except InvalidVersion:
                ledger.left_out(f"{other[0]} {other[1]}", "its version is none that can be compared")
                continue
            if not met:
                text = f"{user} {version} requires {wanted.name}{wanted.specifier}, and {other[1]} is installed"
                yield Problem(text, other[0], str(wanted.specifier), other[1])


def _applies(line: str, python: str) -> Requirement | None:
    """A requirement that holds without extras; None of any other, and of what is none."""
    try:
        made = Requirement(line)
    except InvalidRequirement:
        return None
    if made.marker is not None and not made.marker.evaluate({"extra": "", "python_version": python}):
        return None
    return made


def all_there(one: Taken, ledger: Ledger) -> Iterator[Problem]:
    """Each import of a listed distribution is there. Counts imports."""
    for symbol, where in one.imports.items():
        word = one.seen.get(symbol, "other")
        module, _, name = symbol.partition(":")
        shown = f"{module}.{name}" if name else module
        if word in ("there", "gone"):
            ledger.judged()
        if word == "gone":
            yield Problem(
                f"{shown} is imported, and the installed release has none", shown, "there", "gone", where=where
            )
        elif word not in ("there", "other"):
            ledger.left_out(shown, f"it can't be imported there: {word}")
