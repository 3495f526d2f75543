"""Findings, documents and run folders for the reports' tests: hostile where a target's words go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.evidence import Evidence, Where
from coordexp_audit_lib.core.finding import Finding, Violation
from coordexp_audit_lib.core.target import Binding, TargetInfo
from coordexp_audit_lib.report.document import document, write_documents
from coordexp_audit_lib.report.tables import bundle, table

CONFIGS = ("configs/stage1/ablation/geometry_first_coco80.yaml", "configs/stage2_ab/prod/ab_mixed.yaml")

# Each must come out of the book as text. The word `mark` in each lets a test find it again.
HOSTILE = (
    "<script>alert('mark01')</script>",
    "<img src=x onerror=alert('mark02')>",
    "</td></tr></table><h1>mark03</h1>",
    "</textarea></pre></code><svg/onload=alert('mark04')>",
    "{command}`mark05` {raw:html}`<b>x</b>` {{ mark05 }}",
    "```{raw} html\n<script>mark06</script>\n```",
    "[mark07](javascript:alert(1)) ![x](http://example.invalid/x.png)",
    "$\\frac{mark08}{2}$ $$x$$ \\(x\\)",
    "\\input{/etc/passwd} mark09 \\write18{id} \\end{longtable} \\end{sphinxVerbatim}",
    "% mark10 & # _ ^ ~ \\\\ * [x]",
    "\x1b[31mmark11\x1b[0m \x1b]0;title\x07 \x08\x9b1m",
    "mark12 \u202egnp.exe\u202c \u2066x\u2069 zero\u200bwidth \ufeff \u2028line \u2029para",
    "mark13 lone \ud800 surrogate and \x00 nul",
    "&lt;b&gt;mark14&lt;/b&gt; &amp; &#x3c;",
    "mark15 # heading\n\n- item\n\n> quote\n\n---\n\n| a | b |",
    "mark16 \u4e2d\u6587 \U0001f600 e\u0301 \u0e01\u0e33",
    "::: {note}\nmark17\n:::",
    '+++ {"tags": ["x"]} mark18 %%html <b>',
    "`mark19` ``x`` *a* **b** __c__ --- ''x'' \"y\"",
    "http://example.invalid/mark20 www.example.invalid user@example.invalid",
)


def finding(**changes: Any) -> Finding:
    """A held finding, with changes."""
    plain: dict[str, Any] = {
        "invariant": "packing.capacity",
        "boundary": "packing",
        "severity": "P0",
        "kind": "B",
        "status": "held",
        "checked": 12,
        "config": None,
        "claim": "No pack is longer than the capacity.",
        "violations": [],
        "violation_count": 0,
        "remedy": "Refuse samples that are longer.",
        "spec": "openspec/packing",
        "note": "",
        "evidence": [Evidence("call", path="src/pack.py", line=7, symbol="src.pack:plan", surface="packing.plan")],
        "seconds": 0.25,
        "authority": "spec",
    }
    return Finding(**{**plain, **changes})


def every_status(words: Sequence[str] = ("plain words",)) -> list[Finding]:
    """Findings of every status; a target's words stand wherever they can."""
    told = [
        Violation(
            f"too long: {w}", f"subject {w}", {"key": w, w: 1.23456789}, [w], {"text": w}, Where("src/a b.py", 3, w)
        )
        for w in words
    ]
    return [
        finding(),
        finding(invariant="packing.each_once", status="violated", violations=told, violation_count=len(told) + 2),
        finding(
            invariant="packing.stable_order", severity="P1", status="unbound", checked=0, note=f"unbound: {words[0]}"
        ),
        finding(invariant="packing.ddp_aligned", severity="P2", status="error", checked=0, note=f"crashed: {words[0]}"),
        finding(invariant="config.defaults", boundary="config", config=CONFIGS[1], checked=3),
    ]


def made_document(findings: Sequence[Finding], created: str = "2026-11-24T12:00:00+00:00") -> dict[str, Any]:
    info = TargetInfo(
        "recording", "coordexp-b46e74f", "b46e74f", False, "2026-02-20", "2026-02", "3.12.1", {"torch": "2.8.0"}
    )
    bindings = {"packing.plan": Binding("packing.plan", "bound", "src/pack.py", 7, "src.pack:plan", "0123456789abcdef")}
    return document(info, bindings, CONFIGS, findings, created)


def page(title: str, words: Sequence[str], frame: pd.DataFrame) -> Any:
    """An executed notebook that shows hostile words in every way that a notebook of ours may."""
    v4 = nbformat.v4
    text = "\n".join(words)
    tagged = v4.new_code_cell("target = 'x'", metadata={"tags": ["parameters"]}, execution_count=1)
    outputs = [
        v4.new_output("stream", name="stdout", text=text),
        v4.new_output("execute_result", {"text/plain": repr(words[0])}, execution_count=2),
        v4.new_output("display_data", bundle(frame)),
    ]
    shown = v4.new_code_cell("print(words); frame", outputs=outputs, execution_count=2)
    cells = [v4.new_markdown_cell(f"# {title}\n\nProse of ours."), tagged, shown]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def run_folder(out: Path, words: Sequence[str], findings: Sequence[Finding]) -> Path:
    """What `coordexp-audit run` leaves: the documents, and a notebook per boundary and config."""
    write_documents(out, made_document(findings))
    frame = table(("words", *words[:2]), [(w, w, 3) for w in words], caption=words[0])
    for name in dict.fromkeys(f.boundary for f in findings):
        b = boundaries.boundary(name)
        for config in CONFIGS:
            path = out / "notebooks" / f"{boundaries.page(b, config)}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = nbformat.writes(page(b.title, words, frame))
            path.write_bytes(text.encode("utf-8", "backslashreplace"))
    return out


@pytest.fixture(scope="session")
def hostile_words() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def make_finding() -> Callable[..., Finding]:
    return finding


@pytest.fixture(scope="session")
def statuses() -> Callable[..., list[Finding]]:
    return every_status


@pytest.fixture(scope="session")
def make_document() -> Callable[..., dict[str, Any]]:
    return made_document


@pytest.fixture(scope="session")
def make_run() -> Callable[[Path, Sequence[str], Sequence[Finding]], Path]:
    return run_folder
