"""Routes of the rollout server that is installed beside the tree: read from its source, which is not imported."""

import ast
import importlib.metadata
import importlib.util
import os
from pathlib import Path

from coordexp_audit_lib.pipelines.api import Unbound, binds

METHODS = ("get", "post", "put", "delete")


@binds("rollout.routes_served")
def routes_served(request, here):
    found = importlib.util.find_spec("swift")  # of the package itself: finding a submodule would import its parents
    for folder in (found.submodule_search_locations or ()) if found else ():
        for inner in (("llm", "infer", "rollout.py"), ("pipelines", "infer", "rollout.py"), ("infer", "rollout.py")):
            path = os.path.join(folder, *inner)
            if os.path.isfile(path):
                routes = sorted(set(declared(ast.parse(Path(path).read_text(encoding="utf-8")))))
                return {"routes": routes, "package": "ms-swift", "version": importlib.metadata.version("ms-swift")}
    raise Unbound("no rollout server of ms-swift is installed for this interpreter")


def declared(module):
    """(method, path) of every `app.get("/path/")`, called or used as a decorator."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        first = node.args[0]
        if node.func.attr in METHODS and isinstance(first, ast.Constant) and str(first.value).startswith("/"):
            yield node.func.attr.upper(), first.value
