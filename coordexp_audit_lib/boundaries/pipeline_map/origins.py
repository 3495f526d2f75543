"""Where values in Python code come from: a small, flow-insensitive interpreter over syntax trees.

An *origin* is a chain of keys, `("custom", "coord_tokens", "enabled")`: the value was reached by these attribute, item,
`.get`, `.pop` or `getattr` steps, in this order, from some root. Chains follow assignments, wrappers that keep their
argument (`dict(x)`, `x or {}`), attributes set elsewhere (`self.cfg = x`, `setattr(o, "cfg", x)`), function parameters
(through the calls in sight) and returned values. A step whose key is a parameter is kept open and filled at the call:
that is how `self._cfg("vllm")` is understood. Nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

Chain = tuple[str, ...]
Origins = frozenset[Chain]

NOTHING: Origins = frozenset()
ROOT: Origins = frozenset({()})
ARGS = "<arguments>"  # the flat upstream argument object, whose attributes are the leaves of several sections
ARGUMENT_NAMES = frozenset({"args", "train_args", "training_args", "inner_args"})
TAKES = frozenset({"get", "pop", "setdefault"})
KEEPS = frozenset(
    {"dict", "list", "tuple", "set", "float", "int", "bool", "str", "cast", "asdict", "copy", "deepcopy", "enumerate"}
    | {"dataclass_asdict_no_none", "sorted", "max", "min", "is_dataclass", "Path"}
)
MAX_ORIGINS = 24
MAX_DEPTH = 6
MAX_CHAIN = 9

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Step(msgspec.Struct, frozen=True):
    """One place where a key is taken from a value: `chains` end with that key. form: attribute, item, get, …"""

    path: str
    line: int
    symbol: str
    form: str
    chains: Origins


class Function:
    """A function in sight, with what is known about it."""

    def __init__(self, path: str, qualname: str, owner: str, node: FunctionNode | ast.Module) -> None:
        self.path, self.qualname, self.owner, self.node = path, qualname, owner, node
        self.id = f"{path}:{qualname}"
        self.parameters: list[str] = []
        if not isinstance(node, ast.Module):
            a = node.args
            self.parameters = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        self.env: dict[str, Origins] = {}
        self.constants: dict[str, frozenset[str]] = {}
        self.returns: Origins = NOTHING
        self.open_steps: Origins = NOTHING  # steps whose key is one of the parameters


def functions_of(path: str, module: ast.Module) -> Iterator[Function]:
    """The module's body, then every function in it, methods and nested functions included."""
    yield Function(path, "<module>", "", module)
    stack: list[tuple[ast.AST, str, str]] = [(module, "", "")]
    while stack:
        node, prefix, owner = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                stack.append((child, f"{prefix}{child.name}.", child.name))
            elif isinstance(child, FunctionNode):
                yield Function(path, f"{prefix}{child.name}", owner, child)
                stack.append((child, f"{prefix}{child.name}.", ""))
            else:
                stack.append((child, prefix, owner))


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions and classes nested in it."""
    stack: list[ast.AST] = list(ast.iter_child_nodes(function.node))[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        yield node
        stack.extend(list(ast.iter_child_nodes(node))[::-1])
