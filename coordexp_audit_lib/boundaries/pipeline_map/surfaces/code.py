"""What of a pipeline's own source can't run: files that are no Python, names that nothing defines, imports of what is
not there, calls that no parameters take. Read, never imported."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.broken import Broken
from coordexp_audit_lib.source.fitting import Fitting
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.source.undefined import undefined


class CodeRequest(msgspec.Struct, frozen=True):
    """roots: top-level packages; leave_out: folders below them that no run passes through."""

    roots: list[str]
    leave_out: list[str] = []


class Code(msgspec.Struct, frozen=True):
    """How many files, imports of the tree's own names and calls of its own functions were read, and what is broken."""

    files: int
    imports: int
    calls: int
    broken: list[Broken]


def read_code(tree: Tree, request: CodeRequest) -> Code:
    fitting, broken = Fitting(tree, tuple(request.roots)), []
    left_out = tuple(f"{folder}/" for folder in request.leave_out)
    paths = [p for p in tree.python_files if p.split("/")[0] in request.roots and not p.startswith(left_out)]
    for path in paths:
        try:
            module = tree.module(path)
        except SurfaceFailed as failed:
            broken.append(Broken("syntax", path, _line_of(failed), "", path, "is no Python: it does not parse"))
            continue
        broken += [*undefined(module, tree.text(path), path), *fitting.misfits(path)]
    return Code(len(paths), fitting.imports, fitting.calls, broken)


def _line_of(failed: SurfaceFailed) -> int:
    cause = failed.__cause__
    return (cause.lineno or 1) if isinstance(cause, SyntaxError) else 1


CODE = surface("pipeline_map.code", CodeRequest, Code, "what of the pipeline's own source can't run", static=read_code)
