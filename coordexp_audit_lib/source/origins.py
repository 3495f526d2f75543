"""Where values in Python code come from: which keys are taken, from what. Flow-insensitive; nothing is imported or run.

An *origin* is a chain of keys, `("custom", "coord_tokens", "enabled")`: the value was reached by these attribute, item,
`.get`, `.pop` or `getattr` steps, in this order, from some root. Chains follow assignments, wrappers that keep their
argument (`dict(x)`, `x or {}`), attributes set elsewhere (`self.cfg = x`, `setattr(o, "cfg", x)`), function parameters
(through the calls in sight) and returned values. A step whose key is a parameter is kept open and filled at the call:
that is how `self._cfg("vllm")` is understood.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from coordexp_audit_lib.source.dataflow import Flow, Summaries
from coordexp_audit_lib.source.names import Function, arguments, definitions, own_nodes, parameters
from coordexp_audit_lib.source.tree import children, text_of

Chain = tuple[str, ...]
Origins = frozenset[Chain]

NOTHING: Origins = frozenset()
ROOT: Origins = frozenset({()})
ARGS = "<arguments>"  # the flat upstream argument object, whose attributes are the leaves of several sections
ARGUMENT_NAMES = frozenset({"args", "train_args", "training_args", "inner_args"})
TAKES = frozenset({"get", "pop", "setdefault"})
KEEPS = {
    *("dict", "list", "tuple", "set", "float", "int", "bool", "str", "cast", "asdict", "copy", "deepcopy", "Path"),
    *("enumerate", "sorted", "max", "min", "is_dataclass"),
}
MAX_ORIGINS, MAX_DEPTH, MAX_CHAIN = 24, 6, 9
ROUNDS = 3  # a value passes through at most so many functions, attributes or returns before it is used
_SUFFIXES = ("_cfg", "_config", "_section", "_raw", "_map", "_typed", "_dict", "_obj")


class Step(msgspec.Struct, frozen=True):
    """One place where a key is taken from a value: `chains` end with that key. form: attribute, item, get, …"""

    path: str
    line: int
    symbol: str
    form: str
    chains: Origins


class Scope:
    """A function in sight, or a module's body, with what is known about it.

    around: the scopes that enclose it, innermost first, the module's last. open_steps: steps whose key is a parameter.
    """

    def __init__(self, path: str, qualname: str, owner: str, node: Function | ast.Module) -> None:
        self.path, self.qualname, self.owner, self.node = path, qualname, owner, node
        self.id = f"{path}:{qualname}"
        self.parameters = parameters(node)
        self.body = list(own_nodes(children(node)))
        self.around: list[Scope] = []
        self.constants: dict[str, frozenset[str]] = {}
        self.names: dict[str, Origins] = {}
        self.open_steps: Origins = NOTHING


class Program:
    """Several modules, read together: calls, attributes and returned values link their functions."""

    def __init__(self, modules: dict[str, ast.Module]) -> None:
        self.scopes = [s for path in sorted(modules) for s in _scopes(path, modules[path])]
        self.by_name: dict[str, list[Scope]] = defaultdict(list)
        for scope in self.scopes:
            self.by_name[scope.qualname.rpartition(".")[2]].append(scope)
        self.known: Summaries[Origins] = Summaries(_union, NOTHING)
        self.attributes: dict[str, set[Chain]] = defaultdict(set)  # attribute set somewhere -> origins of its value
        readers = [KeyFlow(self, s) for s in self.scopes]
        for _ in range(ROUNDS):
            for reader in readers:
                reader.learn()
        for reader in readers:
            reader.note_open_steps()
        self.steps = [step for reader in readers for step in reader.steps()]

    def callees(self, call: ast.Call, caller: Scope) -> list[Scope]:
        """The functions in sight that a call may reach: by name, narrowed by the class it is called on."""
        func = call.func
        if isinstance(func, ast.Name):
            made = [f for f in self.by_name.get("__init__", []) if f.owner == func.id]
            return made or [f for f in self.by_name.get(func.id, []) if not f.owner]
        if not isinstance(func, ast.Attribute) or func.attr in TAKES:
            return []
        found = self.by_name.get(func.attr, [])
        if isinstance(func.value, ast.Name):
            owner = caller.owner if func.value.id == "cls" else func.value.id
            own = [f for f in found if f.owner == owner]
            if own or owner != func.value.id or func.value.id[:1].isupper():
                return own
        return found if len(found) <= 4 else []

    def resolved(self, origins: Iterable[Chain], depth: int = 0) -> set[Chain]:
        """Origins with the parameters at their head replaced by what calls pass for them."""
        found: set[Chain] = set()
        for chain in origins:
            if not chain or not chain[0].startswith("$"):
                found.add(chain)
                continue
            function, _, name = chain[0][1:].rpartition(":")
            found.add(chain[1:])
            if depth < MAX_DEPTH:
                for head in sorted(self.resolved(sorted(self.known.parameter(function, name)), depth + 1)):
                    found.add((*head, *chain[1:]))
        return found


def _scopes(path: str, module: ast.Module) -> list[Scope]:
    """The module's body, then every function in it, methods and inner functions included."""
    top = Scope(path, "<module>", "", module)
    found = [Scope(path, d.qualname, d.owner, d.node) for d in definitions(module) if isinstance(d.node, Function)]
    for scope in found:
        outer = [s for s in found if scope.qualname.startswith(f"{s.qualname}.")]
        scope.around = [*sorted(outer, key=lambda s: -len(s.qualname)), top]
    return [top, *found]


class KeyFlow(Flow[Origins]):
    """Values the expressions of one scope as origins."""

    nothing = NOTHING

    def __init__(self, program: Program, scope: Scope) -> None:
        super().__init__()
        self.program, self.scope, self.names = program, scope, scope.names
        self._known: dict[int, Origins] = {}  # by the node's identity; nested calls would be read again and again

    def join(self, parts: Iterable[Origins]) -> Origins:
        return _union(parts)

    # -- what the scope tells ------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Update names, attributes, arguments and returned values from the scope's body."""
        self._known.clear()
        self.sweep(self.scope.body)
        for node in self.scope.body:
            if isinstance(node, ast.Call):
                self._pass_on(node)

    def assign(self, name: str, value: Origins, source: ast.expr | None) -> None:
        self.names[name] = _union((self.names.get(name, NOTHING), value))
        texts = _texts_in(source) or self._last_part(source) or self._constants(source)
        if texts:
            self.scope.constants[name] = texts

    def assign_attribute(self, name: str, value: Origins, source: ast.expr | None) -> None:
        found = {c for c in value if c and c not in ((name,), (ARGS,))}
        if found and len(self.program.attributes[name]) < MAX_ORIGINS:
            self.program.attributes[name] |= found

    def items(self, value: Origins) -> Origins:
        return frozenset((*c[:-1], f"{c[-1]}[]") for c in value if c and c[-1] != ARGS)

    def returned(self, value: Origins) -> None:
        self.program.known.returned(self.scope.id, value)

    def _pass_on(self, call: ast.Call) -> None:
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name() as target, attr="update"), args=[value]):
                self.bind(target, self.value(value), value)
            case ast.Call(func=ast.Name(id="setattr"), args=[_, ast.Constant(value=str(attribute)), value]):
                self.assign_attribute(attribute, self.value(value), value)
            case _:
                pass
        for callee in self.program.callees(call, self.scope):
            for name, argument in arguments(call, callee.node):
                self.program.known.give(callee.id, name, self.value(argument) - ROOT)

    # -- what an expression stands for ------------------------------------------------------------------------------

    def value(self, node: ast.AST | None) -> Origins:
        """The chains that may lead to a value; empty where nothing is known."""
        if node is None or isinstance(node, ast.Name):  # never kept: what a name stands for grows in a reading
            return super().value(node)
        if id(node) not in self._known:
            self._known[id(node)] = super().value(node)
        return self._known[id(node)]

    def of_other(self, node: ast.AST) -> Origins:
        return self.value(getattr(node, "value", None)) if isinstance(node, (ast.Await, ast.Starred)) else NOTHING

    of_comprehension = of_ListComp = of_SetComp = of_GeneratorExp = of_DictComp = of_other

    def of_NamedExpr(self, node: ast.NamedExpr) -> Origins:
        return self.value(node.value)

    def of_IfExp(self, node: ast.IfExp) -> Origins:
        return self.join((self.value(node.body), self.value(node.orelse)))

    def of_Attribute(self, node: ast.Attribute) -> Origins:
        if node.attr in ARGUMENT_NAMES:
            return frozenset({(ARGS,)})
        set_elsewhere = frozenset(self.program.attributes.get(node.attr, ()))
        return self.join((self._below(node.value, (node.attr,)), set_elsewhere))

    def of_Subscript(self, node: ast.Subscript) -> Origins:
        """An item without a known key keeps what the whole stands for."""
        keys = self._keys(node.slice)
        return self.join(self._below(node.value, (k,)) for k in keys) if keys else self.value(node.value)

    def of_Name(self, node: ast.Name) -> Origins:
        name = node.id
        if name in ("self", "cls"):
            return ROOT
        found = self.names.get(name, NOTHING)
        if name in self.scope.parameters:
            found |= {(f"${self.scope.id}:{name}",)}
        if name in ARGUMENT_NAMES:
            found |= {(ARGS,)}
        return found or self._outer(name) or frozenset({(_bare(name),)})

    def _outer(self, name: str) -> Origins:
        """The name in the functions around this one, or in the module."""
        for s in self.scope.around:
            if name in s.names or name in s.parameters:
                return s.names.get(name, NOTHING) | ({(f"${s.id}:{name}",)} if name in s.parameters else NOTHING)
        return NOTHING

    def of_Call(self, call: ast.Call) -> Origins:
        taken = self._taken(call)
        if taken is not None:
            return taken[1]
        callees = self.program.callees(call, self.scope)
        if callees:
            return self.join(self._returned(call, f) for f in callees)
        if isinstance(call.func, ast.Attribute):
            return self.value(call.func.value)
        if isinstance(call.func, ast.Name) and (call.func.id in KEEPS or "asdict" in call.func.id):
            return self.join(self.value(a) for a in call.args)
        return NOTHING

    def _taken(self, call: ast.Call) -> tuple[str, Origins] | None:
        """`x.get("k")` and `getattr(x, "k")`: the form and the origins of the value."""
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr in TAKES and call.args:
            keys = self._keys(call.args[0])
            return (func.attr, self.join(self._below(func.value, (k,)) for k in keys)) if keys else None
        if isinstance(func, ast.Name) and func.id == "getattr" and len(call.args) >= 2:
            keys = self._keys(call.args[1])
            if keys & ARGUMENT_NAMES:
                return "getattr", frozenset({(ARGS,)})
            set_elsewhere = (frozenset(self.program.attributes.get(k, ())) for k in keys)
            below = (self._below(call.args[0], (k,)) for k in keys)
            return ("getattr", self.join((*below, *set_elsewhere))) if keys else None
        return None

    def _returned(self, call: ast.Call, callee: Scope) -> Origins:
        """What the callee returns, with its parameters replaced by this call's arguments."""
        given = self._given(call, callee)
        return self.join(frozenset(self._filled(c, given)) for c in self.program.known.result(callee.id))

    def _given(self, call: ast.Call, callee: Scope) -> dict[str, ast.expr]:
        return {f"${callee.id}:{p}": a for p, a in arguments(call, callee.node)}

    def _filled(self, chain: Chain, given: dict[str, ast.expr]) -> set[Chain]:
        heads: set[Chain] = {()}
        if chain and chain[0].startswith("$"):
            heads = set(self.value(given[chain[0]])) if chain[0] in given else {(chain[0],)}
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
            if node.id in self.scope.parameters:
                return frozenset({f"?{self.scope.id}:{node.id}"})
        return self._last_part(node)

    def _last_part(self, node: ast.expr | None) -> frozenset[str]:
        """The keys that `path.split(".")[-1]` may be."""
        match node:
            case ast.Subscript(value=ast.Call(func=ast.Attribute(value=path, attr="split"))):
                return self._keys(path)
        return frozenset()

    def _constants(self, node: ast.expr | None) -> frozenset[str]:
        if not isinstance(node, ast.Name):
            return frozenset()
        places = (self.scope, *self.scope.around)
        return next((f.constants[node.id] for f in places if node.id in f.constants), frozenset())

    def _below(self, value: ast.expr, keys: Chain) -> Origins:
        above = self.value(value) or ROOT
        return self.join([frozenset((*c, *keys)[-MAX_CHAIN:] for c in above)])

    # -- which keys it takes -------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Every place where a key is taken, those with an open key at the calls that fill it."""
        self._known.clear()
        found: list[Step] = []
        for node in self.scope.body:
            for form, origins in self._steps_at(node):
                line = getattr(node, "end_lineno", 0) if form == "attribute" else getattr(node, "lineno", 0)
                chains = frozenset(self.program.resolved(origins))
                found.append(Step(self.scope.path, line, self.scope.qualname, form, chains))
        return found

    def note_open_steps(self) -> None:
        """An accessor is a function that takes a key which is one of its parameters: note which."""
        self._known.clear()
        mine = f"?{self.scope.id}:"
        taken = (o for node in self.scope.body for _, o in self._steps_at(node))
        self.scope.open_steps = frozenset(c for origins in taken for c in origins if c and c[-1].startswith(mine))

    def _steps_at(self, node: ast.AST) -> Iterator[tuple[str, Origins]]:
        """The form of a step and the chains that end with the key taken there, not with what the value once was."""
        match node:
            case ast.Attribute(ctx=ast.Load(), attr=attr):
                yield "attribute", _ending(self.value(node), frozenset({attr}))
            case ast.Subscript(ctx=ast.Load(), slice=index) if self._keys(index):
                yield "item", _ending(self.value(node), self._keys(index))
            case ast.Call():
                taken = self._taken(node)
                if taken:
                    keys = self._keys(node.args[1 if taken[0] == "getattr" else 0])
                    yield taken[0], _ending(taken[1], keys)
                else:
                    yield from (("accessor", o) for o in self._opened(node))

    def _opened(self, call: ast.Call) -> Iterator[Origins]:
        """A call of an accessor: a function that takes the key which is given here as a text."""
        for callee in self.program.callees(call, self.scope):
            given = self._given(call, callee)
            texts = {k for k, a in given.items() if text_of(a) is not None}
            for chain in callee.open_steps:
                if chain[-1].startswith("?") and f"${chain[-1][1:]}" in texts:
                    yield frozenset(self._filled(chain, given))


def _ending(origins: Origins, keys: frozenset[str]) -> Origins:
    return frozenset(c for c in origins if c and c[-1] in keys)


def _filled_key(key: str, given: dict[str, ast.expr]) -> str:
    text = text_of(given.get(f"${key[1:]}")) if key.startswith("?") else None
    return text.rsplit(".", 1)[-1] if text else key


def _texts_in(node: ast.expr | None) -> frozenset[str]:
    if isinstance(node, (ast.Set, ast.List, ast.Tuple)):
        return frozenset(t for t in map(text_of, node.elts) if t is not None)
    return frozenset()


def _bare(name: str) -> str:
    """A name without the usual endings: `vllm_cfg` may be the `vllm` section."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _union(parts: Iterable[Origins]) -> Origins:
    """All of them, or the first few of them in order."""
    found: Origins = NOTHING.union(*parts)
    return found if len(found) <= MAX_ORIGINS else frozenset(sorted(found)[:MAX_ORIGINS])
