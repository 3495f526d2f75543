"""Whether the audit tells real bugs of the audited project's history apart: the tree before a fix and the one after.

    python tools/history.py REPOSITORY [--python PATH] [--only FIX…] [--again] [--demonstrations]

REPOSITORY is a clone with its history. The pairs stand in `tests/history/pairs.json`, what was measured in
`tests/history/measured.json`, pair by pair: an interrupted measurement goes on where it stopped. A pair is asked for
the one claim that its row names. Every pair has a demonstration of its own too, run in the tree by the project's
interpreter, which fails before and passes after.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.targets.checkout import CheckoutTarget

HISTORY = Path(__file__).resolve().parents[1] / "tests" / "history"
PAIRS, MEASURED, SHOWS = HISTORY / "pairs.json", HISTORY / "measured.json", HISTORY / "show.py"
SECONDS = 300


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(PAIRS.read_text(encoding="utf-8"))
    return found


def measured() -> dict[str, dict[str, Any]]:
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}


@contextmanager
def tree_at(repository: Path, commit: str) -> Iterator[Path]:
    """A working tree of that commit, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree, git = Path(folder) / "tree", ["git", "-C", str(repository)]
        subprocess.run([*git, "worktree", "add", "-q", "--force", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)


def asked(tree: Path, claim: str, about: str, python: str | None) -> dict[str, Any]:
    """The claim's verdict on a tree: its status, the violations that are about the bug, and all of them."""
    boundaries.load(None)
    target = CheckoutTarget(tree, python=python)
    try:
        configs = target.all_named(target.pipeline().configs)
        (one,) = [c for c in claims() if c.id == claim]
        found = audit(target, [one], configs)
    finally:
        target.close()
    told = sorted({line for f in found for line in lines_of(f)})
    return {
        "status": worst(found),
        "about": [line for line in told if about in line][:5] if about else told[:40],
        "violations": len(told),
        "era": target.pipeline().era(tree),
    }


def lines_of(finding: Finding) -> list[str]:
    return [f"{v.where.path if v.where else ''} | {v.subject} | {v.message}" for v in finding.violations]


def worst(found: list[Finding]) -> str:
    return next((s for s in ("violated", "error", "unbound", "held") if any(f.status == s for f in found)), "unbound")


def verdict(before: dict[str, Any], after: dict[str, Any]) -> str:
    """`apart`: violated before, held after; `violation`: the bug's own violation is gone, others of the claim stay."""
    gone = [line for line in before["about"] if line not in after["about"]]
    if before["status"] != "violated" or not gone:
        return "missed"
    if after["status"] == "held":
        return "apart"
    return "violation" if after["status"] == "violated" else "missed"


def shown(tree: Path, demonstration: dict[str, Any], python: str) -> bool:
    """Whether the pair's own demonstration passes on a tree, in the project's interpreter."""
    command = [python, "-B", str(SHOWS), json.dumps(demonstration)]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    ran = subprocess.run(command, cwd=tree, env=env, capture_output=True, timeout=SECONDS, check=False)
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"the demonstration itself failed: {ran.stderr.decode(errors='replace')[-300:]}")
    return ran.returncode == 0


def measure(repository: Path, row: dict[str, Any], python: str, *, ask: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for side, commit in (("before", f"{row['fix']}^"), ("after", row["fix"])):
        with tree_at(repository, commit) as tree:
            told: dict[str, Any] = {}
            if row["demonstration"]:
                told["shown"] = shown(tree, row["demonstration"], python)
            if ask and row["claim"]:
                told |= asked(tree, row["claim"], row["about"], python)
            made[side] = told
    if ask and row["claim"]:
        made["verdict"] = verdict(made["before"], made["after"])
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--python", default=os.environ.get("COORDEXP_PYTHON", sys.executable))
    parser.add_argument("--only", nargs="*", help="fixes, by their commits")
    parser.add_argument("--again", action="store_true", help="measure what was measured already, too")
    parser.add_argument("--demonstrations", action="store_true", help="run the demonstrations alone")
    given = parser.parse_args()
    chosen = [r for r in rows() if not given.only or r["fix"] in given.only]
    known = measured()
    for number, row in enumerate(chosen, 1):
        kept = known.get(row["fix"], {})
        ask = not given.demonstrations
        if not given.again and ("verdict" in kept if ask and row["claim"] else "before" in kept):
            continue
        print(f"[{number}/{len(chosen)}] {row['fix']} {row['claim'] or row['boundary']}", file=sys.stderr, flush=True)
        made = measure(given.repository, row, given.python, ask=ask)
        for side in ("before", "after"):
            made[side] = {**kept.get(side, {}), **made[side]}
        known[row["fix"]] = {**kept, **made}
        MEASURED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"    {known[row['fix']].get('verdict', 'not asked')}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
