"""`pytest --coordexp-audit TARGET`: each claim of the audit is a test item, beside a project's own tests.

    pytest --coordexp-audit . --coordexp-audit-args "--python .venv/bin/python --boundary packing template"

What `coordexp-audit check` takes stands in the second option; the target's `[tool.coordexp-audit]` and `--baseline` are
heeded as there. The audit runs once, when the first of its items does. An item passes if its claim holds, fails if it
is violated at or above `--fail-on` or could not be judged, and is skipped, with the reason, if it is unbound, latent,
accepted, or violated below that.

pytest loads this module in every run of an environment in which the library is installed: it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

OPTION, ARGUMENTS = "--coordexp-audit", "--coordexp-audit-args"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the two options."""
    group = parser.getgroup("coordexp-audit", "reproducibility audit of a training pipeline")
    group.addoption(OPTION, metavar="TARGET", help="audit this checkout, recording or `reference`: a test item a claim")
    group.addoption(ARGUMENTS, metavar="WORDS", default="", help="more options of `coordexp-audit check`")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add an item for each claim that the options choose."""
    target = config.getoption(OPTION)
    if target is None:
        return
    from coordexp_audit_lib.core.errors import AuditError

    try:
        audit = Audited(target, shlex.split(config.getoption(ARGUMENTS)))
        for claim in audit.ids():
            items.append(ClaimItem.from_parent(session, name=f"coordexp-audit::{claim}", audit=audit, claim=claim))
    except (AuditError, ValueError) as error:
        raise pytest.UsageError(f"{OPTION}: {error}") from error


class Audited:
    """One audit, carried out when the first of its findings is asked for."""

    def __init__(self, target: str, words: Sequence[str]) -> None:
        from coordexp_audit_lib.cli.commands import parsed
        from coordexp_audit_lib.cli.settings import take_settings

        self.arguments: argparse.Namespace = parsed(["check", "--quiet", "--target", target, *words])
        take_settings(self.arguments)
        self.found: dict[str, list[dict[str, Any]]] | None = None

    def ids(self) -> list[str]:
        """The claims that the options choose, in order; the target is not asked for this."""
        from coordexp_audit_lib import boundaries
        from coordexp_audit_lib.cli.catalogue import chosen
        from coordexp_audit_lib.core.claim import claims

        asked = self.arguments.boundary
        loaded = boundaries.load([boundaries.boundary(name).name for name in asked] if asked else None)
        every = [c for b in loaded for c in claims(b.name)]
        return [c.id for c in chosen(every, self.arguments.select, self.arguments.ignore)]

    def of(self, claim: str) -> list[dict[str, Any]]:
        """The findings of a claim, one for the configs in which it came out alike."""
        if self.found is None:
            from coordexp_audit_lib.cli.checking import judged
            from coordexp_audit_lib.core.errors import UsageError

            try:
                document = judged(self.arguments).document
            except UsageError as error:
                pytest.exit(f"{OPTION}: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
            self.found = {}
            for f in document["findings"]:
                self.found.setdefault(f["invariant"], []).append(f)
        return self.found.get(claim, [])

    def fails(self, f: dict[str, Any]) -> bool:
        """Whether a finding fails an audit."""
        from coordexp_audit_lib.cli.reporting import FAIL_ON
        from coordexp_audit_lib.core.finding import SEVERITIES
        from coordexp_audit_lib.core.ranking import counts

        limit = self.arguments.fail_on or FAIL_ON
        worst = SEVERITIES[: SEVERITIES.index(limit) + 1] if limit in SEVERITIES else ()
        return f["status"] == "error" or (counts(f) and f["severity"] in worst)


class ClaimFailed(Exception):
    """A claim's findings that fail."""


class ClaimItem(pytest.Item):
    """One claim of the audit."""

    def __init__(self, *, audit: Audited, claim: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.audit, self.claim = audit, claim
        self.add_marker(pytest.mark.xdist_group("coordexp-audit"))  # with `-n N --dist loadgroup` it runs once

    def runtest(self) -> None:
        """Pass, fail or skip as the claim's findings say."""
        found = self.audit.of(self.claim)
        failed = [f for f in found if self.audit.fails(f)]
        if failed:
            raise ClaimFailed("\n".join(line for f in failed for line in _told(f)))
        if not found or any(f["status"] != "held" for f in found):
            pytest.skip("; ".join(_why(f) for f in found if f["status"] != "held") or "no claim on this pipeline")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """What is violated, where and what to do, without a traceback through this library."""
        return str(excinfo.value) if isinstance(excinfo.value, ClaimFailed) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the item stands in reports."""
        return self.path, None, self.name


def _told(f: dict[str, Any]) -> Iterator[str]:
    from coordexp_audit_lib.report.text import placed, shown, visible

    if f["status"] == "error":
        yield visible(f"{f['invariant']} could not be judged: {f['note']}")
    for v in f["violations"]:
        yield visible(f"{f['severity']} {f['invariant']}: {placed(v)}")
        yield from (f"  {k}: {shown(v[k])}" for k in ("subject", "expected", "actual") if v[k] not in (None, ""))
    if f["status"] == "violated":
        yield visible(f"  {f['violation_count']} in {f['checked']} judged. Remedy: {f['remedy']}")


def _why(f: dict[str, Any]) -> str:
    from coordexp_audit_lib.report.text import shown

    if f["status"] != "violated":
        return shown(f"{f['status']}: {f['note']}")
    if f["accepted"]:
        return shown(f"accepted: {f['accepted']}")
    told = f"counted with {f['same_as']}" if f["same_as"] else "latent" if f["reach"] == "none" else f["severity"]
    return shown(f"violated, which fails nothing ({told}): {f['violations'][0]['message']}")
