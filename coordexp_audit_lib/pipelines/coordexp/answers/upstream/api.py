"""What the target's interpreter has of an upstream release: signatures, fields and members, by import.

The same facts that the audit reads from a release's source, so that the two can be compared.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import importlib
import inspect
import textwrap
from importlib import metadata
from pathlib import Path

from coordexp_audit_lib.kit import bodies
from coordexp_audit_lib.pipelines.api import binds

PACKAGES = {"transformers": "transformers", "ms-swift": "swift", "vllm": "vllm"}
PARSED: dict[int, tuple[object, ast.AST | None]] = {}
# The kinds of `inspect.Parameter`, which count from 0.
KINDS = ("positional", "normal", "args", "keyword", "kwargs")


@binds("upstream.api")
def api(request, here):
    distribution, asks = request["distribution"], request["asks"]
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        unknown = {"status": "undecided", "why": "%s is not installed" % distribution}
        return {"version": "", "seen": [{"symbol": ask["symbol"], **unknown} for ask in asks]}
    return {"version": version, "seen": [seen(ask, PACKAGES[distribution]) for ask in asks]}


def seen(ask, package):
    """The first candidate that can be had."""
    reasons = []
    for candidate in (ask["symbol"], *ask["homes"]):
        value, owner, status, why = reach(candidate)
        if status == "found":
            return facts(ask, candidate, value, owner, package)
        reasons.append((status, why))
    status, why = next((r for r in reasons if r[0] == "undecided"), reasons[0])
    return {"symbol": ask["symbol"], "status": status, "why": why}


def reach(symbol):
    """(value, class that it is a member of, status, why)."""
    module, _, qualname = symbol.partition(":")
    try:
        value, owner = importlib.import_module(module), None
    except ModuleNotFoundError as error:
        own = (error.name or "") == module or module.startswith((error.name or "?") + ".")
        return None, None, "gone" if own else "undecided", "cannot import %s: %s" % (module, error)
    except Exception as error:
        return None, None, "undecided", "cannot import %s: %s: %s" % (module, type(error).__name__, error)
    for part in qualname.split(".") if qualname else ():
        owner = value if inspect.isclass(value) else None
        if owner is not None and not hasattr(owner, part) and part in set_on_self(owner):
            return None, owner, "found", ""
        try:
            value = getattr(value, part)
        except AttributeError:
            return None, None, "gone", "it is not there"
        except Exception as error:  # a lazy module that cannot import what it offers
            return None, None, "undecided", "cannot import %s: %s: %s" % (symbol, type(error).__name__, error)
    return value, owner, "found", ""


def facts(ask, reached, value, owner, package):
    node = syntax(value)
    is_class = inspect.isclass(value)
    bases = value.__mro__ if is_class else owner.__mro__ if owner is not None else ()
    declared = {*getattr(value, "__dataclass_fields__", ()), *(set_on_self(value) if is_class else ())}
    return {
        **{"symbol": ask["symbol"], "status": "found", "reached": reached, "home": home(value, reached)},
        "kind": "class" if is_class else "function" if callable(value) else "module" if node else "attribute",
        "bound": bound(owner, reached),
        "levels": levels(value, owner, package) if ask["call"] else None,
        "uses_self": bodies.uses_first_parameter(node),
        "fields": field_facts(value, ask["fields"]) if is_class else [],
        "members": [m for m in ask["members"] if hasattr(value, m) or m in declared],
        "words": bodies.words(node, ask["words"]),
        "expressions": bodies.expressions(node, ask["expressions"]),
        "keys": sorted(set(ask["keys"]) & set(value)) if isinstance(value, dict) else [],
        "outside": sorted({b.__module__ + "." + b.__qualname__ for b in bases if outside(b, package)}),
    }


def home(value, reached):
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return "%s:%s" % (module, name) if module and name else reached


def outside(base, package):
    return base.__module__.split(".")[0] not in (package, "builtins", "typing", "abc", "enum")


def bound(owner, reached):
    if owner is None:
        return ""
    raw = inspect.getattr_static(owner, reached.rpartition(".")[2], None)
    if isinstance(raw, (staticmethod, classmethod)):
        return "class"
    return "self" if inspect.isfunction(raw) else ""


def levels(value, owner, package):
    """The signatures that a call meets, along the bases as far as each hands its `**kwargs` on to the next."""
    if inspect.isclass(value):
        if dataclasses.is_dataclass(value) or "__init__" not in {k for b in value.__mro__[:-1] for k in vars(b)}:
            return [one_level(value, "%s:%s" % (value.__module__, value.__qualname__), None, False)]
        return chain(value, "__init__", package)
    if owner is not None and inspect.isfunction(inspect.getattr_static(owner, value.__name__, None)):
        return chain(owner, value.__name__, package)
    return [one_level(value, home(value, ""), syntax(value), False)] if callable(value) else None


def chain(owner, name, package):
    found: list[dict[str, object]] = []
    for base in owner.__mro__:
        function = vars(base).get(name)
        if outside(base, package) and name == "__init__":
            open_end = {"name": "kwargs", "kind": "kwargs", "required": False}
            return [*found, {"symbol": home(base, ""), "parameters": [open_end], "own": []}]
        if not inspect.isfunction(function):
            continue
        node = syntax(function)
        found.append(one_level(function, home(function, ""), node, True))
        if not bodies.handed_to_super(node):
            break
    return found


def one_level(function, symbol, node, is_method):
    parameters = []
    for p in list(inspect.signature(function).parameters.values())[1 if is_method else 0 :]:
        required = p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        parameters.append({"name": p.name, "kind": KINDS[p.kind], "required": required})
    return {"symbol": symbol, "parameters": parameters, "own": bodies.own_keywords(node)}


def syntax(value):
    """The syntax tree of a function, class or module, parsed once; None where there is no source."""
    if id(value) not in PARSED:
        PARSED[id(value)] = (value, parsed(value))  # the value is kept, so that its id stays its own
    return PARSED[id(value)][1]


def parsed(value):
    if not (inspect.ismodule(value) or callable(value)):
        return None
    within = defined(value)
    if within is not None:
        return within
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value) if callable(value) else value)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return tree if inspect.ismodule(value) else tree.body[0]


def defined(value):
    """The node that defines a function or class in its file, which is parsed once; None where that is not plain."""
    try:
        value = inspect.unwrap(value)
        found = definitions(inspect.getsourcefile(value))
        key = value.__qualname__ if inspect.isclass(value) else value.__code__.co_firstlineno
    except (AttributeError, OSError, SyntaxError, TypeError, ValueError):
        return None
    nodes = found.get(key, [])
    return nodes[0] if len(nodes) == 1 and nodes[0].name == value.__name__ else None


@functools.lru_cache(maxsize=None)
def definitions(path):
    """By qualified name of a class, and by first line of a function, the nodes of a file."""
    found: dict[object, list[ast.AST]] = {}

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.ClassDef):
                found.setdefault(prefix + child.name, []).append(child)
                inner = prefix + child.name + "."
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                found.setdefault(first, []).append(child)
                inner = prefix + child.name + ".<locals>."
            if isinstance(child, ast.stmt):
                visit(child, inner)

    visit(ast.parse(Path(path).read_text(encoding="utf-8")), "")
    return found


def set_on_self(cls):
    """Attributes that a class or its bases set on `self` in any method."""
    return {name for base in cls.__mro__[:-1] for name in set_by(base)}


@functools.lru_cache(maxsize=None)
def set_by(cls):
    """Those that its own methods set."""
    return bodies.set_on_self(syntax(cls))


def field_facts(cls, names):
    """Of a dataclass, or of a struct that has `__struct_fields__`."""
    found = []
    for name in names:
        field = getattr(cls, "__dataclass_fields__", {}).get(name)
        if field is not None:
            found.append({"name": name, "type": spelled(field.type), "default": default(field)})
        elif name in getattr(cls, "model_fields", {}):
            field = cls.model_fields[name]
            shown = "" if field.is_required() else repr(field.get_default())
            found.append({"name": name, "type": spelled(field.annotation), "default": shown})
    return found


def spelled(annotation):
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def default(field):
    if field.default is not dataclasses.MISSING:
        value = field.default.value if isinstance(field.default, enum.Enum) else field.default
        return repr(value)
    made = field.default_factory
    if made is dataclasses.MISSING:
        return ""
    return "%s()" % made.__name__ if inspect.isclass(made) else "made"
