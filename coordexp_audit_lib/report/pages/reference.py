"""The page of the programming interface, read from the source: names, how they are called, and their docstrings.

Nothing is imported for it, so that it costs the book no torch. Our docstrings are no reStructuredText: a paragraph is
prose, and what is indented or begins with `Args:` or the like is kept as it stands.
"""

from __future__ import annotations

import ast
import html
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache

import msgspec

from coordexp_audit_lib.report.latex import escape
from coordexp_audit_lib.report.pages.pages import page, prose
from coordexp_audit_lib.report.pages.render import raw
from coordexp_audit_lib.report.sources import PACKAGE
from coordexp_audit_lib.report.text import breakable

ROOT = PACKAGE.name
Definition = ast.FunctionDef | ast.ClassDef
PARTS = (
    ("Audits as data frames", "", ("report.frame:read_audit", "report.frame:Audit", "report.tables:table")),
    ("In a notebook", "", ("run.session:Session",)),
    ("Inside a training program", "", ("callback:AuditCallback",)),
    (
        "Guards",
        "One check each, from `coordexp_audit_lib.guards`; each returns quietly or raises `InvariantViolation`.",
        (
            *("guards.batches:check_packed_batch", "guards.batches:check_record", "guards.calls:check_model_call"),
            *("guards.inputs:check_config", "guards.inputs:load_config", "guards.inputs:check_template"),
            *("guards.inputs:check_tokenizer", "guards.outputs:check_metrics", "guards.outputs:check_checkpoint"),
            *("guards.rollouts:check_rollout_response", "guards.rollouts:check_rollout_prefix"),
            *("guards.rollouts:check_rollout_batch", "guards.rollouts:check_supervision", "guards.pins:pins_of"),
            "boundaries.metrics.reference.telemetry:Stage2Telemetry",
        ),
    ),
    (
        "An adapter",
        "What describes a pipeline of your own, from `coordexp_audit_lib.pipelines.api`.",
        ("pipelines.api:Adapter", "pipelines.api:Refused", "pipelines.api:NotSupported", "pipelines.api:Unbound"),
    ),
    (
        "A claim of your own",
        "",
        (
            *("core.claim:claim", "core.claim:Claim", "core.claim:Context", "core.problem:Problem", "core.fault:fault"),
            *("core.fault:asked", "core.fault:answered"),
        ),
    ),
    ("Errors", "", ("core.errors:AuditError", "core.errors:UsageError", "core.errors:InvariantViolation")),
)


class Entry(msgspec.Struct, frozen=True):
    """A name of the interface. module: where it stands; name: a function, a class, or `Class.method`; call: how it is
    called; doc: the docstring, without indents."""

    module: str
    name: str
    call: str
    doc: str


def entries(named: str) -> Iterator[Entry]:
    """A function or class, and of a class its public methods that say what they do. named: `module:name`.

    Raises:
        KeyError: the module has no such name.
    """
    module, name = named.split(":")
    found = _definitions(module)[name]
    where = f"{ROOT}.{module}"
    made = (
        next((f for f in _methods(found) if f.name == "__init__"), None) if isinstance(found, ast.ClassDef) else found
    )
    yield Entry(where, name, name + (_arguments(made) if isinstance(made, ast.FunctionDef) else ""), _doc(found))
    for method in _methods(found):
        if not method.name.startswith("_") and not method.name.startswith("on_") and _doc(method):
            known = any(isinstance(d, ast.Name) and d.id == "property" for d in method.decorator_list)
            yield Entry(
                where, f"{name}.{method.name}", method.name + ("" if known else _arguments(method)), _doc(method)
            )


@cache
def _definitions(module: str) -> dict[str, Definition]:
    """The functions and classes that a module defines."""
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, Definition)}


def _methods(found: Definition) -> list[ast.FunctionDef]:
    return [n for n in found.body if isinstance(n, ast.FunctionDef)] if isinstance(found, ast.ClassDef) else []


def _doc(node: Definition) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "")


def _arguments(function: ast.FunctionDef) -> str:
    """The arguments and what is returned, as they stand in the source, without `self`."""
    given = ast.unparse(function.args)
    given = given.removeprefix("self, ") if given != "self" else ""
    returned = f" -> {ast.unparse(function.returns)}" if function.returns and function.name != "__init__" else ""
    return f"({given}){returned}"


def reference_page() -> str:
    """The page: a part for each use, in it each name with its call and its docstring."""
    blocks = [
        "# Programming interface",
        "`import coordexp_audit_lib as audit`: its names are `Audit`, `AuditCallback`, `AuditError`, "
        "`InvariantViolation`, `Session`, `guards` and `read_audit`; each is imported when it is first used. All "
        "others "
        "are imported from where they are said to stand.",
    ]
    for title, told, names in PARTS:
        blocks += [f"## {title}", told]
        for entry in (entry for name in names for entry in entries(name)):
            blocks += [f"### `{entry.name}`", raw("html", _as_html(entry)), raw("latex", _as_tex(entry))]
    return page(*(b for b in blocks if b))


def _split(doc: str) -> tuple[str, str]:
    """The docstring's prose, and what is to be kept as it stands: from the first indented line or list of arguments."""
    paragraphs = doc.split("\n\n")
    count = next(
        (n for n, p in enumerate(paragraphs) if any(line.startswith(" ") for line in p.splitlines())), len(paragraphs)
    )
    return "\n\n".join(paragraphs[:count]), "\n\n".join(paragraphs[count:])


def _as_html(entry: Entry) -> str:
    said, kept = _split(entry.doc)
    literal = f'<pre class="literal" tabindex="0">{html.escape(kept)}</pre>' if kept else ""
    call = f'<p class="call"><code>{breakable(entry.call)}</code> in <code>{breakable(entry.module)}</code></p>'
    return f"{call}{prose(said)[0]}{literal}"


def _as_tex(entry: Entry) -> str:
    said, kept = _split(entry.doc)
    lines = [escape(line) for line in textwrap.dedent(kept).splitlines() if line.strip()]
    literal = r"{\footnotesize\raggedright " + r"\\ ".join(lines) + r"\par}" if lines else ""
    return f"\\texttt{{{escape(entry.call)}}} in \\texttt{{{escape(entry.module)}}}\\par\n{prose(said)[1]}\n\n{literal}"


__all__ = ["Entry", "entries", "reference_page"]
