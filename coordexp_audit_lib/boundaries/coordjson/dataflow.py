"""Which text reaches which strict parser: a data-flow scan of the owner modules, read and never imported.

Assistant text comes from a tokenizer's `decode`, from a choice's `content`, from the CoordJSON writer, and from the
names that say so. It stays assistant text through slices, methods, joins and calls, across functions and modules,
until the transpiler turns it into strict JSON. A strict parser that can get it before is a raw sink.
The scan over-approximates calls it can't resolve, and can't see attributes that one method sets and another reads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Literal

import msgspec

from coordexp_audit_lib.boundaries.coordjson.flow import Flow
from coordexp_audit_lib.boundaries.coordjson.names import CLEAN, LITERAL, RAW, TRANSPILED, Knowledge, Module
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.source.tree import Tree

Verdict = Literal["transpiled", "not-assistant", "string-literal", "raw"]
VERDICTS: dict[int, Verdict] = {CLEAN: "not-assistant", LITERAL: "string-literal", TRANSPILED: "transpiled", RAW: "raw"}


class ScanRequest(msgspec.Struct, frozen=True):
    """Folders to scan and folders in them to leave out, relative to the tree's root."""

    roots: tuple[str, ...] = ("src",)
    leave_out: tuple[str, ...] = ("src/analysis",)


class Sink(msgspec.Struct, frozen=True, order=True):
    """A call of a strict parser. symbol: the function that it stands in. parser: what is called.

    verdict: `transpiled` (only strict JSON text reaches it), `not-assistant` (no assistant text does),
    `string-literal` (the transpiler itself decodes a slice of its input), `raw` (assistant text reaches it).
    """

    path: str
    line: int
    symbol: str
    parser: str
    verdict: Verdict


class Scan(msgspec.Struct, frozen=True):
    """Every sink, sorted; `modules` were read."""

    sinks: list[Sink]
    modules: int


def scan(tree: Tree, request: ScanRequest) -> Scan:
    """Judge every strict parser call below the roots.

    Raises:
        SurfaceUnbound: no module defines the transpiler: the tree speaks another format.
    """
    modules = {p: Module(p, tree.module(p)) for p in _owned(tree, request)}
    if not any(m.is_transpiler for m in modules.values()):
        raise SurfaceUnbound("no module defines a CoordJSON transpiler", where="coordjson.json_sinks")
    knowledge = Knowledge(modules)
    found: dict[str, list[Sink]] = {}
    while knowledge.stale:  # states only grow and are few, so this ends
        path = min(knowledge.stale)
        knowledge.stale.remove(path)
        found[path] = list(_module_sinks(modules[path], knowledge))
    return Scan(sorted(s for sinks in found.values() for s in sinks), len(modules))


def _owned(tree: Tree, request: ScanRequest) -> Iterator[str]:
    for path in tree.python_files:
        inside = any(not root or path.startswith(f"{root}/") for root in request.roots)
        if inside and not any(path.startswith(f"{folder}/") for folder in request.leave_out):
            yield path


def _module_sinks(module: Module, knowledge: Knowledge) -> Iterator[Sink]:
    bodies: list[tuple[str, ast.AST]] = [("", module.tree), *module.functions.items()]
    for symbol, node in bodies:
        flow = Flow(module, knowledge, symbol)
        flow.run(node)
        for (line, parser), state in flow.sinks.items():
            yield Sink(module.path, line, symbol or "<module>", parser, VERDICTS[state])
