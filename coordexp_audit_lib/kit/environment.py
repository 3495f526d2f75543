"""What the library itself answers for every adapter: questions about the pipeline's environment alone.

Standard library only at import time: this runs in the pipeline's interpreter.
"""

from __future__ import annotations

import importlib
import os
from importlib import metadata
from typing import Any

from coordexp_audit_lib.kit import four_rows, model

SHOWN = 200  # characters of what an import raised


def qwen3vl(request: Any) -> dict[str, Any]:
    """`upstream.qwen3vl`, of the transformers that is installed."""
    model.settle()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    grid, lengths = list(request["grid"]), request["lengths"]
    return four_rows.facts(model.small(), grid, request["before"], request["after"], lengths)


def installed(request: Any) -> dict[str, Any]:
    """`upstream.environment`: of each distribution its version, empty where it is not installed, and what it
    requires."""
    found = []
    for name in request["distributions"]:
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            found.append({"name": name, "version": "", "requires": []})
        else:
            found.append({"name": name, "version": one.version, "requires": one.requires or []})
    return {"installed": found}


def names(request: Any) -> dict[str, Any]:
    """`upstream.names`: of each `module:name` `there`, `gone`, or `other` where no listed distribution holds the
    module, or why the module can't be imported."""
    listed = {_plain(d) for d in request["distributions"]}
    holds = {p for p, of in metadata.packages_distributions().items() if listed & set(map(_plain, of))}
    return {"seen": [_seen(one, holds) for one in request["names"]]}


def _seen(symbol: str, holds: set[str]) -> str:
    module, _, name = symbol.partition(":")
    if module.partition(".")[0] not in holds:
        return "other"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        own = error.name is not None and (module + ".").startswith(error.name + ".")
        return "gone" if own else "%s: %s" % (type(error).__name__, str(error)[:SHOWN])
    except Exception as error:  # whatever a package raises as it is imported
        return "%s: %s" % (type(error).__name__, str(error)[:SHOWN])
    if not name or hasattr(found, name):
        return "there"
    try:
        importlib.import_module(module + "." + name)
    except Exception:
        return "gone"
    return "there"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


# Surface -> what answers it, and the distribution that it needs.
ANSWERS = {
    "upstream.qwen3vl": (qwen3vl, "transformers"),
    "upstream.environment": (installed, ""),
    "upstream.names": (names, ""),
}
