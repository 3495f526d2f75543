"""Every finding at both recorded commits in one table: verdict, whose demand, reach, place, how it was confirmed.

    python tools/findings_table.py CONFIRMED_TXT…

Each file is what `tools/confirm TREE` printed for a commit, in the recordings' order. Writes FINDINGS.md; a test
compares the digests in it with those of the recordings.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.text import spot

TABLE = Path(__file__).resolve().parents[1] / "FINDINGS.md"
INTRO = """# All findings at both recorded commits

Made by `tools/findings_table.py` from the recordings that come along (`coordexp-audit check --target NAME` replays
them) and from what `tools/confirm`, which imports nothing of the audit, printed on the real trees. A violated claim is
confirmed where its demonstration, a script of its own, showed the same of the tree's code. Advice is our practice and
no demand of the project; latent is what no audited config's run reaches; a name counted with another has its root
there.
"""
HEAD = ("claim", "verdict", "demand", "reach", "place to mend (found by)", "confirmed by a script of its own")
DECIDED = (0, 3)  # exit statuses of `check`: with --fail-on never, all decided or something not


def recordings() -> list[Path]:
    return sorted(Path(pipeline().recordings).glob("*.json.xz"))


def audited(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "coordexp_audit_lib.cli", "check", "--target", name, "--fail-on", "never"]
        ended = subprocess.run([*command, "--out", folder], check=False, stdout=subprocess.DEVNULL)
        if ended.returncode not in DECIDED:
            raise SystemExit(f"{name} can't be replayed")
        made: dict[str, Any] = json.loads(Path(folder, "audit.json").read_text(encoding="utf-8"))
    return made


def rows(made: Mapping[str, Any], shown: Mapping[str, str]) -> Iterator[str]:
    for f in made["findings"]:
        first = f["violations"][0] if f["violations"] else None
        verdict = f"{f['status']}, {f['severity']}" if f["status"] in ("violated", "held") else f["status"]
        if f["status"] == "violated":
            verdict = f"counted with {f['same_as']}" if f["same_as"] else verdict
            verdict = f"latent ({f['severity']})" if f["reach"] == "none" and not f["same_as"] else verdict
        configs = ", ".join(map(result.config_name, f["configs"]))
        reach = ", ".join(map(result.config_name, result.reached_in(f))) or f["reach"] or "-"
        place = f"{spot(first['where'])} ({first['found']})" if first and first["where"] else "-"
        how = shown.get(f["invariant"], "**not confirmed**") if f["status"] == "violated" else "-"
        demand = "advice" if f["authority"] == "practice" else f["authority"]
        cells = (f["invariant"] + (f" [{configs}]" if configs else ""), verdict, demand, reach, place, how)
        yield "| " + " | ".join(c.replace("|", "\\|").replace("<", "&lt;") for c in cells) + " |"


def confirmed(path: str) -> dict[str, str]:
    lines = (line.split(" | ", 2) for line in Path(path).read_text(encoding="utf-8").splitlines() if " | " in line)
    return {claim: said[:160] for claim, verdict, said in lines if verdict == "CONFIRMED"}


def main() -> None:
    parts = [INTRO]
    for recording, told in zip(recordings(), sys.argv[1:], strict=True):
        name = recording.name.removesuffix(".json.xz")
        made, shown = audited(name), confirmed(told)
        s, digest = made["summary"], hashlib.sha256(recording.read_bytes()).hexdigest()
        parts += [
            f"\n## {name}\n\nRecording sha256 `{digest}`.\n{s['held']} held, {s['violated']} violated "
            f"({s['advice']} advice), {s['latent']} latent, {s['same']} counted under another name, "
            f"{s['unbound']} unbound, {s['error']} error.\n\n",
            *(f"| {' | '.join(cells)} |\n" for cells in (HEAD, ("---",) * len(HEAD))),
            *(f"{row}\n" for row in rows(made, shown)),
        ]
    TABLE.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
