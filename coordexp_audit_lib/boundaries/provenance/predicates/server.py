"""The rollout server's flags: those that change what it samples, under the names that launchers give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.provenance.predicates.documents import kind
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import get


class Server:
    """A pipeline's rollout server. promised: the contract's `provenance.server`.

    names: our name of each flag -> its names at launchers, without dashes.
    """

    def __init__(self, promised: Mapping[str, Any]) -> None:
        self.names: Mapping[str, tuple[str, ...]] = promised["names"]
        self._promised = promised
        self._ours = {alias: name for name, aliases in self.names.items() for alias in (name, *aliases)}

    def canonical(self, flags: Mapping[str, Any]) -> dict[str, Any]:
        """Flags under our names; those that are none of them keep their own."""
        made = {}
        for name, value in flags.items():
            bare = name.lower().lstrip("-").replace("-", "_").removeprefix(self._promised["prefix"])
            made[self._ours.get(bare, name)] = value
        return made

    def is_used(self, resolved: Any) -> bool:
        """Whether a resolved config rolls out on a server."""
        return all(get(resolved, key, default) == value for key, value, default in self._promised["mode"])

    def flags(self, launcher: Any, launched: Mapping[str, Any] | None = None) -> Iterator[Problem]:
        """Every flag is recorded; with `launched` known, as it was launched."""
        if not isinstance(launcher, Mapping):
            yield Problem("the rollout server's flags are not recorded", "launcher", sorted(self.names), kind(launcher))
            return
        recorded = self.canonical(launcher)
        for name in self.names:
            value = recorded.get(name)
            if value is None or value == "" or isinstance(value, (list, dict)):
                yield Problem(f"the rollout server's {name} is not recorded", f"launcher.{name}", "a value", value)
            elif launched is not None and _word(value) != _word(launched.get(name)):
                what = f"the rollout server's {name} is recorded as another than it was launched with"
                yield Problem(what, f"launcher.{name}", launched.get(name), value)


def _word(value: Any) -> str:
    return str(value).strip().lower()
