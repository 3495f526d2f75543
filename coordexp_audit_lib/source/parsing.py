"""Python and YAML from outside, parsed within bounds: a syntax tree takes hundreds of times the memory of its text, and
a YAML alias can stand for any number of values."""

from __future__ import annotations

import ast
import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

MAX_SOURCE = 512 << 10  # characters of one Python file
MAX_BLOCKS = 4_000_000  # objects that the syntax trees of one source may take, some 100 bytes each
MAX_YAML = 4 << 20  # characters of a YAML file
MAX_NODES = 200_000  # values of a YAML file, with aliases written out
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TooLarge(ValueError):
    """A text is not parsed, for it or what comes of it is larger than a bound."""


class Parser:
    """Parses the files of one source, as long as what comes of them is not too much together."""

    def __init__(self) -> None:
        self.blocks = 0

    def parse(self, text: str, name: str) -> ast.Module:
        """The syntax tree of a file.

        Raises:
            SyntaxError, RecursionError, MemoryError: it does not parse.
            ValueError: it does not parse, or is too large (`TooLarge`).
        """
        if len(text) > MAX_SOURCE:
            raise TooLarge(f"{len(text)} characters, more than the {MAX_SOURCE} that are parsed of one file")
        with self.counted(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of its escapes is not our output
            return ast.parse(text, filename=name)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is made meanwhile.

        Raises:
            TooLarge: as much was made before as may be.
        """
        if self.blocks > MAX_BLOCKS:
            raise TooLarge(f"the files before it take {self.blocks} objects, more than {MAX_BLOCKS} for one source")
        before = sys.getallocatedblocks()
        try:
            yield
        finally:
            self.blocks += max(0, sys.getallocatedblocks() - before)


def yaml_value(text: str, most: int = MAX_NODES) -> Any:
    """The value of a YAML document, as `yaml.safe_load` gives it. most: as many values as it may have.

    Raises:
        yaml.YAMLError: it is none. ValueError: a scalar has no value, or it is too large (`TooLarge`).
    """
    if len(text) > MAX_YAML:
        raise TooLarge(f"{len(text)} characters, more than the {MAX_YAML} that are read of a YAML file")
    loader = _LOADER(text)
    collects = gc.isenabled()
    gc.disable()  # nothing of it is garbage while it is made, and looking for some takes longer the more there is
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, most)
        return loader.construct_document(node)
    finally:
        loader.dispose()
        if collects:
            gc.enable()


def yaml_nodes(text: str, most: int = MAX_NODES) -> tuple[list[yaml.Node], Any]:
    """The nodes of a YAML text's documents, in which a key that is written twice still stands twice, and a loader that
    constructs the value of a scalar among them. most: as many values as a document may have.

    Raises:
        yaml.YAMLError: it is no YAML. ValueError: it is too large (`TooLarge`).
    """
    if len(text) > MAX_YAML:
        raise TooLarge(f"{len(text)} characters, more than the {MAX_YAML} that are read of a YAML file")
    loader, found = _LOADER(text), []
    try:
        while loader.check_node():
            found.append(loader.get_node())
            _count(found[-1], most)
        return found, loader
    finally:
        loader.dispose()


def _count(root: yaml.Node, most: int) -> None:
    """Refuse a document that has too many values once every alias stands for what it names."""
    sizes: dict[int, int] = {}
    waiting: list[tuple[yaml.Node, bool]] = [(root, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            sizes[id(node)] = 1 + sum(max(1, sizes.get(id(n), 0)) for n in _below(node))
        elif id(node) not in sizes:
            sizes[id(node)] = 0  # under way: an alias to what it stands in counts once
            waiting.append((node, True))
            waiting += [(n, False) for n in _below(node)]
    if sizes[id(root)] > most:
        raise TooLarge(f"it expands to {min(sizes[id(root)], 10**12)} values or more, more than {most}")


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [n for pair in node.value for n in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
