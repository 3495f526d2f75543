"""What of a pipeline's own source can't run: files that are no Python, names that nothing defines, imports of what is
not there, calls that no parameters take. Read, never imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.broken import Broken
from coordexp_audit_lib.source.fitting import Fitting
from coordexp_audit_lib.source.tree import Tree
from coordexp_audit_lib.source.undefined import undefined


class CodeRequest(msgspec.Struct, frozen=True):
    """roots: top-level packages; leave_out: folders below them that no run passes through.

    packages: what the pipeline's environment has, by the names they are imported by; empty where that is not known.
    """

    roots: list[str]
    leave_out: list[str] = []
    packages: list[str] = []


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
        broken += unknown_packages(tree, module, path, request.packages) if request.packages else []
    return Code(len(paths), fitting.imports, fitting.calls, broken)


def unknown_packages(tree: Tree, module: ast.Module, path: str, known: list[str]) -> Iterator[Broken]:
    """Imports without which the module is not there, of packages that neither the tree nor its environment has."""
    for node in module.body:
        named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            named = [node.module]
        for top in dict.fromkeys(n.split(".")[0] for n in named):
            here = tree.root / top
            if top in known or top in sys.stdlib_module_names or here.is_dir() or here.with_suffix(".py").is_file():
                continue
            message = f"imports {top}, which is neither in the tree nor a package of its environment"
            yield Broken("package", path, node.lineno, "", top, message)


def _line_of(failed: SurfaceFailed) -> int:
    cause = failed.__cause__
    return (cause.lineno or 1) if isinstance(cause, SyntaxError) else 1


CODE = surface("pipeline_map.code", CodeRequest, Code, "what of the pipeline's own source can't run", static=read_code)
