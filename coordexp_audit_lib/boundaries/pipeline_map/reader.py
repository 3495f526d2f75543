"""Reads one function for `origins.Program`: what its names stand for, what it passes on, which keys it takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from coordexp_audit_lib.boundaries.pipeline_map.origins import (
    ARGS,
    ARGUMENT_NAMES,
    KEEPS,
    MAX_CHAIN,
    MAX_ORIGINS,
    NOTHING,
    ROOT,
    TAKES,
    Chain,
    Function,
    Origins,
    Step,
)

if TYPE_CHECKING:
    from coordexp_audit_lib.boundaries.pipeline_map.program import Program

_SUFFIXES = ("_cfg", "_config", "_section", "_raw", "_map", "_typed", "_dict", "_obj")


def text_of(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class FunctionReader:
    """Evaluates the expressions of one function to origins."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program, self.function = program, function
        self._known: dict[int, Origins] = {}  # by the node's identity; nested calls would be read again and again

    # -- what the function teaches -------------------------------------------------------------------------------

    def learn(self) -> None:
        """Update names, attributes, arguments and returned values from the function's body."""
        self._known.clear()
        for node in self.program.bodies[self.function.id]:
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._bind(target, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._bind(target, value)
                case ast.NamedExpr(target=target, value=value):
                    self._bind(target, value)
                case ast.For(target=target, iter=items) | ast.comprehension(target=target, iter=items):
                    self._bind_items(target, items)
                case ast.Return(value=ast.expr() as value):
                    self.function.returns = _capped(self.function.returns | self.origins(value))
                case ast.Call():
                    self._pass_on(node)
                case _:
                    pass

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        texts = _texts_in(value) or self._last_part(value)
        if isinstance(target, ast.Name):
            old = self.function.env.get(target.id, NOTHING)
            self.function.env[target.id] = _capped(old | self.origins(value))
            if texts:
                self.function.constants[target.id] = texts
        elif isinstance(target, ast.Attribute):
            self._set_attribute(target.attr, value)

    def _bind_items(self, target: ast.expr, items: ast.expr) -> None:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        texts = _texts_in(items) or self._constants(items)
        for name in names:
            if isinstance(name, ast.Name):
                inside = frozenset((*c[:-1], f"{c[-1]}[]") for c in self.origins(items) if c and c[-1] != ARGS)
                self.function.env[name.id] = _capped(self.function.env.get(name.id, NOTHING) | inside)
                if texts:
                    self.function.constants[name.id] = texts

    def _set_attribute(self, name: str, value: ast.expr) -> None:
        found = {c for c in self.origins(value) if c and c not in ((name,), (ARGS,))}
        if found and len(self.program.attributes[name]) < MAX_ORIGINS:
            self.program.attributes[name] |= found

    def _pass_on(self, call: ast.Call) -> None:
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name() as target, attr="update"), args=[value]):
                self._bind(target, value)
            case _:
                pass
        if isinstance(call.func, ast.Name) and call.func.id == "setattr" and len(call.args) == 3:
            name = text_of(call.args[1])
            if name:
                self._set_attribute(name, call.args[2])
        for callee in self.program.callees(call, self.function):
            for parameter, argument in self._arguments(call, callee):
                self.program.passed[f"${callee.id}:{parameter}"] |= self.origins(argument) - ROOT

    def _arguments(self, call: ast.Call, callee: Function) -> Iterator[tuple[str, ast.expr]]:
        bound = callee.parameters[:1] in (["self"], ["cls"])
        names = callee.parameters[1:] if bound else callee.parameters
        yield from zip(names, (a for a in call.args if not isinstance(a, ast.Starred)), strict=False)
        yield from ((k.arg, k.value) for k in call.keywords if k.arg in names)

    # -- what an expression stands for ---------------------------------------------------------------------------

    def origins(self, node: ast.expr) -> Origins:
        """The chains that may lead to a value; empty where nothing is known."""
        if isinstance(node, ast.Name):  # never kept: what a name stands for grows while a function is read
            return self._name(node.id)
        if id(node) not in self._known:
            self._known[id(node)] = self._evaluated(node)
        return self._known[id(node)]

    def _evaluated(self, node: ast.expr) -> Origins:
        match node:
            case ast.Call():
                return self._call(node)
            case ast.Attribute() | ast.Subscript():
                return self._step_below(node)
            case ast.BoolOp(values=parts):
                return self._union(self.origins(v) for v in parts)
            case ast.IfExp(body=body, orelse=orelse):
                return self._union((self.origins(body), self.origins(orelse)))
        inner = getattr(node, "value", None) if isinstance(node, (ast.NamedExpr, ast.Await, ast.Starred)) else None
        return self.origins(inner) if inner is not None else NOTHING

    def _step_below(self, node: ast.Attribute | ast.Subscript) -> Origins:
        """`x.k` and `x["k"]`; an item without a known key keeps what the whole stands for."""
        if isinstance(node, ast.Subscript):
            keys = self._keys(node.slice)
            return self._union(self._below(node.value, (k,)) for k in keys) if keys else self.origins(node.value)
        if node.attr in ARGUMENT_NAMES:
            return frozenset({(ARGS,)})
        set_elsewhere = frozenset(self.program.attributes.get(node.attr, ()))
        return _capped(self._below(node.value, (node.attr,)) | set_elsewhere)

    def _name(self, name: str) -> Origins:
        if name in ("self", "cls"):
            return ROOT
        found = self.function.env.get(name, NOTHING)
        if name in self.function.parameters:
            found |= {(f"${self.function.id}:{name}",)}
        if name in ARGUMENT_NAMES:
            found |= {(ARGS,)}
        return found or self._outer(name) or frozenset({(_bare(name),)})

    def _outer(self, name: str) -> Origins:
        """The name in the functions around this one, or in the module."""
        for f in self.program.around[self.function.id]:
            if name in f.env or name in f.parameters:
                return f.env.get(name, NOTHING) | ({(f"${f.id}:{name}",)} if name in f.parameters else NOTHING)
        return NOTHING

    def _call(self, call: ast.Call) -> Origins:
        taken = self._taken(call)
        if taken is not None:
            return taken[1]
        callees = self.program.callees(call, self.function)
        if callees:
            return self._union(self._returned(call, f) for f in callees)
        if isinstance(call.func, ast.Attribute):
            return self.origins(call.func.value)
        if isinstance(call.func, ast.Name) and call.func.id in KEEPS:
            return self._union(self.origins(a) for a in call.args)
        return NOTHING

    def _taken(self, call: ast.Call) -> tuple[str, Origins] | None:
        """`x.get("k")` and `getattr(x, "k")`: the form and the origins of the value."""
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr in TAKES and call.args:
            keys = self._keys(call.args[0])
            return (func.attr, self._union(self._below(func.value, (k,)) for k in keys)) if keys else None
        if isinstance(func, ast.Name) and func.id == "getattr" and len(call.args) >= 2:
            keys = self._keys(call.args[1])
            if keys & ARGUMENT_NAMES:
                return "getattr", frozenset({(ARGS,)})
            set_elsewhere = (frozenset(self.program.attributes.get(k, ())) for k in keys)
            below = (self._below(call.args[0], (k,)) for k in keys)
            return ("getattr", self._union((*below, *set_elsewhere))) if keys else None
        return None

    def _returned(self, call: ast.Call, callee: Function) -> Origins:
        """What the callee returns, with its parameters replaced by this call's arguments."""
        given = {f"${callee.id}:{p}": a for p, a in self._arguments(call, callee)}
        found: set[Chain] = set()
        for chain in callee.returns:
            found |= self._filled(chain, given)
        return _capped(frozenset(found))

    def _filled(self, chain: Chain, given: dict[str, ast.expr]) -> set[Chain]:
        heads: set[Chain] = {()}
        if chain and chain[0].startswith("$"):
            heads = set(self.origins(given[chain[0]])) if chain[0] in given else {(chain[0],)}
            chain = chain[1:]
        tail = tuple(_filled_key(k, given) for k in chain)
        return {(*h, *tail)[-MAX_CHAIN:] for h in heads}

    def _keys(self, node: ast.expr) -> frozenset[str]:
        """The keys that an expression may be: a text, a loop over texts, or an open parameter (`?function:name`)."""
        text = text_of(node)
        if text is not None:
            return frozenset({text})
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
            return self._keys(node.args[0])
        if isinstance(node, ast.Name):
            constants = self._constants(node)
            if constants:
                return constants
            if node.id in self.function.parameters:
                return frozenset({f"?{self.function.id}:{node.id}"})
        return self._last_part(node)

    def _last_part(self, node: ast.expr) -> frozenset[str]:
        """The keys that `path.split(".")[-1]` may be."""
        match node:
            case ast.Subscript(value=ast.Call(func=ast.Attribute(value=path, attr="split"))):
                return self._keys(path)
        return frozenset()

    def _constants(self, node: ast.expr) -> frozenset[str]:
        if not isinstance(node, ast.Name):
            return frozenset()
        places = (self.function, *self.program.around[self.function.id])
        return next((f.constants[node.id] for f in places if node.id in f.constants), frozenset())

    def _below(self, value: ast.expr, keys: Chain) -> Origins:
        above = self.origins(value) or ROOT
        return _capped(frozenset((*c, *keys)[-MAX_CHAIN:] for c in above))

    def _union(self, parts: Iterator[Origins] | tuple[Origins, ...]) -> Origins:
        return _capped(frozenset().union(*parts))

    # -- which keys it takes -------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Every place where a key is taken, those with an open key at the calls that fill it."""
        self._known.clear()
        found: list[Step] = []
        for node in self.program.bodies[self.function.id]:
            for form, origins in self._steps_at(node):
                line = getattr(node, "end_lineno", 0) if form == "attribute" else getattr(node, "lineno", 0)
                chains = frozenset(self.program.resolved(origins))
                found.append(Step(self.function.path, line, self.function.qualname, form, chains))
        return found

    def note_open_steps(self) -> None:
        """An accessor is a function that takes a key which is one of its parameters: note which."""
        self._known.clear()
        mine = f"?{self.function.id}:"
        taken = (o for node in self.program.bodies[self.function.id] for _, o in self._steps_at(node))
        self.function.open_steps = frozenset(c for origins in taken for c in origins if c and c[-1].startswith(mine))

    def _steps_at(self, node: ast.AST) -> Iterator[tuple[str, Origins]]:
        """The form of a step and the chains that end with the key taken there, not with what the value once was."""
        match node:
            case ast.Attribute(ctx=ast.Load(), attr=attr):
                yield "attribute", _ending(self.origins(node), frozenset({attr}))
            case ast.Subscript(ctx=ast.Load(), slice=index) if self._keys(index):
                yield "item", _ending(self.origins(node), self._keys(index))
            case ast.Call():
                taken = self._taken(node)
                if taken:
                    keys = self._keys(node.args[1 if taken[0] == "getattr" else 0])
                    yield taken[0], _ending(taken[1], keys)
                else:
                    yield from (("accessor", o) for o in self._opened(node))

    def _opened(self, call: ast.Call) -> Iterator[Origins]:
        """A call of an accessor: a function that takes the key which is given here as a text."""
        for callee in self.program.callees(call, self.function):
            given = {f"${callee.id}:{p}": a for p, a in self._arguments(call, callee)}
            texts = {k for k, a in given.items() if text_of(a) is not None}
            for chain in callee.open_steps:
                if chain[-1].startswith("?") and f"${chain[-1][1:]}" in texts:
                    yield frozenset(self._filled(chain, given))


def _ending(origins: Origins, keys: frozenset[str]) -> Origins:
    return frozenset(c for c in origins if c and c[-1] in keys)


def _filled_key(key: str, given: dict[str, ast.expr]) -> str:
    text = text_of(given.get(f"${key[1:]}")) if key.startswith("?") else None
    return text.rsplit(".", 1)[-1] if text else key


def _texts_in(node: ast.expr) -> frozenset[str]:
    if isinstance(node, (ast.Set, ast.List, ast.Tuple)):
        return frozenset(t for t in map(text_of, node.elts) if t is not None)
    return frozenset()


def _bare(name: str) -> str:
    """A name without the usual endings: `vllm_cfg` may be the `vllm` section."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _capped(origins: Origins) -> Origins:
    return origins if len(origins) <= MAX_ORIGINS else frozenset(sorted(origins)[:MAX_ORIGINS])
