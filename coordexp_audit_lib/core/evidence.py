"""Evidence: handles that a reader can follow from a finding back to the pipeline."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec


class Where(msgspec.Struct, frozen=True):
    """A place in the target's source: path relative to its root, 1-based line, qualified symbol."""

    path: str
    line: int = 0
    symbol: str = ""


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One handle. `kind` is `symbol`, `key`, `call`, `artifact`, `fact` or `stand-in`.

    symbol: path, line, symbol, digest (sha256 of the symbol's source, first 16 hex digits).
    key: path (a YAML file) and key (dotted path). call: surface, calls (how many), digest of input and output.
    artifact: path and digest. fact: a name and a measured value, in `symbol` and `value`. stand-in: what is not
    installed and what took part in the answers in its place, there too.
    """

    kind: str
    path: str = ""
    line: int = 0
    symbol: str = ""
    key: str = ""
    surface: str = ""
    calls: int = 0
    digest: str = ""
    value: Any = None


def canonical_json(value: Any) -> str:
    """Serialise builtins to the one JSON text that digests are taken of (sorted keys, no spaces, ASCII)."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """First 16 hex digits of the sha256 of `value` (text, bytes, or builtins through `canonical_json`)."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    elif not isinstance(value, (bytes, bytearray)):
        value = canonical_json(value).encode("ascii")
    return hashlib.sha256(value).hexdigest()[:16]
