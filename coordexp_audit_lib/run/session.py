"""What the notebooks import: open a boundary on a target, show what was found, draw, and stop on violations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.claim import Context, exhibits
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.finding import SEVERITIES, Finding
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.report.frame import BRIEF, WRONG, builtin, evidence_frame, findings_frame, violations_frame
from coordexp_audit_lib.report.style import plain
from coordexp_audit_lib.report.tables import show_frames, table
from coordexp_audit_lib.run.lenient import ViolationsShown, be_lenient, be_strict
from coordexp_audit_lib.run.parameters import refuse_unknown_parameters
from coordexp_audit_lib.targets.resolve import open_target

if TYPE_CHECKING:
    import pandas as pd

FAIL_ON = (*SEVERITIES, "never")


class ViolationsFound(AuditError, ViolationsShown):
    """Raised by a notebook's last cell, so that papermill fails."""


class Session:
    """One boundary on one target and config.

    Args:
        boundary: its name. target: a recording's name, `reference`, or a checkout's path. python: the checkout's
            interpreter. config: the config under audit. out: a folder for the findings, or empty for none.
        seed: of every random choice. fail_on: the least severity at which `close` raises, or `never`.
    """

    def __init__(
        self,
        boundary: str,
        *,
        target: str,
        python: str = "",
        config: str,
        out: str = "",
        seed: int = 0,
        fail_on: str = "P1",
    ) -> None:
        if fail_on not in FAIL_ON:
            raise AuditError(f"fail_on is {fail_on!r}", where="fail_on", remedy=f"use one of {', '.join(FAIL_ON)}")
        refuse_unknown_parameters()
        plain()
        show_frames()
        be_strict()
        self.boundary = boundaries.boundary(boundary)
        boundaries.load(None if boundary == boundaries.ALL_OTHERS else [boundary])
        self.target = open_target(target, python=python or None)
        self.config, self.out, self.seed, self.fail_on = self.target.named(config), out, seed, fail_on
        if self.target.declaration() is not None:
            be_lenient()
        chosen = applicable(self.target.pipeline(), boundary)
        self.found: list[Finding] = audit(self.target, chosen, [self.config], seed)
        if out:  # at once: a figure that fails later costs no finding
            write_findings(Path(out), self.boundary, self.config, self.found)

    def exhibit(self, name: str) -> dict[str, Any]:
        """The data of a figure."""
        return exhibits()[name](Context(self.target, self.config, self.seed, name))

    def about(self) -> pd.DataFrame:
        """Target, commit, era, versions, config."""
        info = self.target.info()
        rows = [("target", info.name), ("kind", info.kind), ("commit", info.commit or "-"), ("era", info.era or "-")]
        rows += [(f"version of {k}", v) for k, v in sorted(info.versions.items())]
        rows += [("config", self.config), ("note", info.note or "-")]
        return table(("what", "value"), rows)

    def violations(self) -> pd.DataFrame:
        """Every violation's examples with file and line, first on the page."""
        return violations_frame(builtin(self.found), WRONG)

    def findings(self) -> pd.DataFrame:
        """Each claim with its verdict and its denominator."""
        return findings_frame(builtin(self.found), BRIEF)

    def evidence(self) -> pd.DataFrame:
        """The functions that answered, with file, line, number of calls and digest."""
        calls = evidence_frame(builtin(self.found)).query("kind == 'call'")
        first = {"symbol": "first", "path": "first", "line": "first", "calls": "sum", "digest": "first"}
        return calls.groupby("surface", as_index=False).agg(first)

    def close(self) -> None:
        """Let the target go, and raise if a finding is violated at or above `fail_on`."""
        self.target.close()
        if self.fail_on == "never":
            return
        worst = SEVERITIES[: SEVERITIES.index(self.fail_on) + 1]
        bad = [f.invariant for f in self.found if f.counts and f.severity in worst]
        if bad:
            raise ViolationsFound(
                f"violated: {', '.join(bad)}",
                where=f"boundary {self.boundary.name}",
                remedy="see the table of violations above, or publish with fail_on = 'never'",
            )


def write_findings(folder: Path, boundary: boundaries.Boundary, config: str, found: list[Finding]) -> None:
    """Not the audit's own document (`coordexp-audit run` writes that), but a notebook's share of it."""
    text = json.dumps(msgspec.to_builtins(found), sort_keys=True, indent=1) + "\n"
    write_atomically(folder / f"{boundaries.page(boundary, config)}.json", text)
