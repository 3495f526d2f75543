"""One thing in a tree's own source that can't run, as every reading of the source tells it."""

from __future__ import annotations

import msgspec


class Broken(msgspec.Struct, frozen=True):
    """kind: `syntax`, `name`, `import`, `package` or `call`; symbol: the function or class that holds it, empty at
    module level. name: what is used, imported or called. message: what is wrong, with the name."""

    kind: str
    path: str
    line: int
    symbol: str
    name: str
    message: str
