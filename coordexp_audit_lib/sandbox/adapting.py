"""An adapter's own side: its file is loaded in the worker, tells what it answers, and answers.

Standard library only, Python 3.10 and later: this runs in the target's interpreter.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import os
import sys

MOST_CALLS = 500  # that are followed in one answer
API, KIT = "coordexp_audit_lib.pipelines.api", "coordexp_audit_lib.kit"


class Adapted:
    """The adapter of a file, loaded when it is first needed.

    setup: the worker's first frame. load: `worker.load_answers`.
    """

    def __init__(self, setup, load):
        self.api, self.asked = importlib.import_module(API), importlib.import_module(KIT + ".asked").asked
        self.file, self.load = setup["adapter"], load
        self.here = self.api.Here(setup["tree"], setup["scratch"], {}, setup.get("config"))
        self.missing = importlib.import_module(KIT + ".tokenizer").TokenizerMissing
        self.misbounded = importlib.import_module(KIT + ".varlen").Misbounded
        self.known = None
        self.unfit = None

    def adapter(self):
        """The one adapter that the file makes.

        Raises:
            ValueError: it makes none, or several.
        """
        if self.known is None:
            folder, name = os.path.split(self.file)
            module = sys.modules[self.load(folder, name[: -len(".py")])]
            made = {id(v): v for v in vars(module).values() if isinstance(v, self.api.Adapter)}
            if len(made) != 1:
                raise ValueError("%s makes %d adapters, and should make one: Adapter(...)" % (name, len(made)))
            (self.known,) = made.values()
        return self.known

    def declaration(self):
        """What the adapter says of its pipeline, and where what answers each surface stands."""
        adapter = self.adapter()
        with open(self.file, "rb") as file:
            text = hashlib.sha256(file.read()).hexdigest()[:12]
        surfaces = {}
        for name, bound in sorted(adapter.bound.items()):
            named = adapter.named[name] or Behind(self.file).symbol(bound.function)
            surfaces[name] = (located(named) if named else None) or own(bound.function)
        said = {k: v for k, v in adapter.said.items() if k != "source"}
        if callable(said["profile"]):  # it hangs on the config
            said["profile"] = said["profile"](self.here.config)
        return dict(said, file=os.path.basename(self.file), digest=text, surfaces=surfaces)

    def source(self):
        """Where the pipeline's source lies, and its files there: the packages that the adapter names, or else what it
        has imported from its own folder."""
        named = self.adapter().said["source"]
        if named:
            entries = [e for e in sys.path if all(os.path.isdir(os.path.join(e, *n.split("."))) for n in named)]
            if not entries:
                raise ValueError("no folder of the import path holds %s" % " and ".join(named))
            root, folders = entries[0], [n.replace(".", os.sep) for n in named]
            files = [os.path.join(w, f) for n in folders for w, _, fs in os.walk(os.path.join(root, n)) for f in fs]
        else:
            root = os.path.dirname(os.path.realpath(self.file))
            files = [os.path.realpath(getattr(m, "__file__", None) or "") for m in list(sys.modules.values())]
        inside = [os.path.relpath(f, root) for f in files if f.startswith(root + os.sep) and f.endswith(".py")]
        own = [f for f in inside if "site-packages" not in f.split(os.sep)]
        # In parts, for whole paths of this machine never leave a worker; this one is told to be read, and kept nowhere.
        return {"root": root.split(os.sep), "files": sorted({f.replace(os.sep, "/") for f in own})}

    def answer(self, surface, request):
        """The answer of the adapter's function, in builtins; `setup` runs before the first."""
        adapter = self.adapter()
        if surface not in adapter.bound:
            return self.of_environment(surface, request)
        try:
            if "parts" not in vars(self.here):
                self.begin(adapter)
            value = adapter.bound[surface].function(self.asked(request), self.here)
        except Exception as error:
            self.told(error)
            raise
        if value is None:
            raise ValueError("the adapter's function for %s returned nothing" % surface)
        return plain(value)

    def of_environment(self, surface, request):
        """What the library answers for every adapter."""
        known = importlib.import_module(KIT + ".environment").ANSWERS
        if surface not in known:
            raise self.api.Unbound("the adapter does not answer it")
        answer, needs = known[surface]
        if needs and needs not in self.adapter().said["distributions"]:
            raise self.api.Unbound("the adapter does not list %s among its distributions" % needs)
        try:
            return answer(request)
        except ImportError as error:
            raise self.api.Unbound("it can't be asked there: %s" % error) from error

    def told(self, error):
        """Say of what lies behind an error that it is none of the adapter's: no tokenizer is there to ask with, or the
        pipeline gave a kernel bounds that do not fit."""
        behind = error
        while behind is not None:
            if isinstance(behind, self.missing):
                raise self.api.Unbound(str(behind)) from error
            if isinstance(behind, self.misbounded):
                raise self.api.Refused(type(behind).__name__, str(behind)) from error
            behind = behind.__cause__

    def begin(self, adapter):
        """Run the adapter's `setup`, once; where it fails, every answer says why."""
        if self.unfit is None:
            try:
                self.here.parts = adapter.make(self.here) if adapter.make else None
                return
            except Exception as error:
                self.unfit = error
        told = "%s: %s" % (type(self.unfit).__name__, self.unfit)
        raise RuntimeError("the adapter's setup failed: " + told) from self.unfit


class Behind(ast.NodeVisitor):
    """Which of the pipeline's own functions an answer comes of: the one that the adapter's function calls last, in the
    order in which Python evaluates, by itself or through functions of the adapter's file."""

    def __init__(self, adapter):
        self.adapter = os.path.realpath(adapter)
        self.found, self.within, self.names, self.inner = [], [], {}, {}

    def symbol(self, function):
        """`module:qualname`, or "" where none is known."""
        self.follow(inspect.unwrap(function))
        return self.found[-1] if self.found else ""

    def follow(self, function):
        with open(function.__code__.co_filename, encoding="utf-8") as file:
            node = defined(ast.parse(file.read()), function.__qualname__)
        before = self.names, self.inner
        self.names, self.inner = function.__globals__, {}
        self.run(node, function.__qualname__)
        self.names, self.inner = before

    def run(self, node, name):
        """Walk the body of a function; one that calls itself is walked once."""
        if node is None or name in self.within or len(self.found) > MOST_CALLS:
            return
        self.within.append(name)
        for statement in node.body:
            self.visit(statement)
        self.within.pop()

    def visit_FunctionDef(self, node):
        """What is only defined runs where it is called."""
        self.inner[node.name] = node

    def visit_Lambda(self, node):
        self.visit(node.body)

    def visit_Call(self, node):
        asks = isinstance(node.func, ast.Attribute) and node.func.attr in ("call", "ask") and bool(node.args)
        given = [*node.args, *(k.value for k in node.keywords)]
        for one in (node.func, *given):
            self.visit(one)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        self.run(self.inner.get(name), name)
        self.called(self.value(node.args[0] if asks else node.func), asked=asks)

    def called(self, value, asked):
        """Note what is called, or follow it. asked: it is called as the pipeline's (`here.call`)."""
        if not (inspect.isfunction(value) or inspect.ismethod(value) or inspect.isclass(value)):
            return
        try:
            path = os.path.realpath(inspect.getsourcefile(value) or "")
        except TypeError:  # a class that is built in
            return
        if path == self.adapter:
            if inspect.isfunction(value):
                self.follow(value)
        elif asked or os.path.dirname(path) == os.path.dirname(self.adapter):
            self.found.append("%s:%s" % (value.__module__, value.__qualname__))

    def value(self, node):
        """What a name or a dotted name stands for in the adapter; None for anything else."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            holder = self.value(node.value)
            return getattr(holder, node.attr, None) if inspect.ismodule(holder) or inspect.isclass(holder) else None
        return None


def plain(value):
    """Builtins of an answer: tensors and arrays as lists, their numbers as Python's."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return value.tolist() if hasattr(value, "tolist") else value


def own(function):
    """Where the adapter's own function stands."""
    code = inspect.unwrap(function).__code__
    name = os.path.basename(code.co_filename)
    symbol = "%s:%s" % (name[: -len(".py")], function.__qualname__)
    return {"path": name, "line": code.co_firstlineno, "symbol": symbol, "digest": digest(code.co_filename, symbol)}


def digest(path, symbol):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    node = defined(ast.parse(text), symbol.partition(":")[2])
    part = (ast.get_source_segment(text, node) if node is not None else None) or text
    return hashlib.sha256(part.encode()).hexdigest()[:16]


def located(symbol):
    """Where `module:qualname` stands, found on the import path without importing it; None where it does not."""
    module, _, qualname = symbol.partition(":")
    parts = module.split(".")
    for entry in sys.path:
        for path in (os.path.join(entry, *parts) + ".py", os.path.join(entry, *parts, "__init__.py")):
            if not os.path.isfile(path):
                continue
            with open(path, encoding="utf-8") as file:
                node = defined(ast.parse(file.read()), qualname)
            if node is None:
                return None
            where = os.path.relpath(path, entry).replace(os.sep, "/")
            return {"path": where, "line": node.lineno, "symbol": symbol, "digest": digest(path, symbol)}
    return None


def defined(tree, qualname):
    """The node that defines a qualified name, by its last part where functions are nested in functions."""
    nodes = [tree]
    for part in [p for p in qualname.split(".") if p != "<locals>"]:
        found = [n for node in nodes for n in ast.walk(node) if getattr(n, "name", None) == part and hasattr(n, "body")]
        if not found:
            return None
        nodes = found[:1]
    return nodes[0] if nodes[0] is not tree else None
