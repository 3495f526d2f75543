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

API, KIT = "coordexp_audit_lib.pipelines.api", "coordexp_audit_lib.kit"


class Adapted:
    """The adapter of a file, loaded when it is first needed.

    setup: the worker's first frame. load: `worker.load_answers`.
    """

    def __init__(self, setup, load):
        self.api, self.asked = importlib.import_module(API), importlib.import_module(KIT + ".asked").asked
        self.file, self.load = setup["adapter"], load
        self.here = self.api.Here(setup["tree"], setup["scratch"], {}, setup.get("config"))
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
            surfaces[name] = (located(adapter.named[name]) if adapter.named[name] else None) or own(bound.function)
        return dict(adapter.said, file=os.path.basename(self.file), digest=text, surfaces=surfaces)

    def answer(self, surface, request):
        """The answer of the adapter's function, in builtins; `setup` runs before the first."""
        api, adapter = self.api, self.adapter()
        if surface not in adapter.bound:
            raise api.Unbound("the adapter does not answer it")
        if "parts" not in vars(self.here):
            self.begin(adapter)
        value = adapter.bound[surface].function(self.asked(request), self.here)
        if value is None:
            raise ValueError("the adapter's function for %s returned nothing" % surface)
        return plain(value)

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
