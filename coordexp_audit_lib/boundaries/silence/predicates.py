"""What an actionable error says.

An error that a stranger can act on names a thing (a key path, a field, an index, a quoted symbol, a value), and says
what is demanded or what to do. These are the words in which Python programs say so; the claim is P2 for that reason.
"""

from __future__ import annotations

import re

PARTS = ("a cause", "a place", "a remedy")
_NAMES_A_PLACE = re.compile(
    r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[\d+\])+|[\w-]+_[\w-]+|['\"`][^'\"`]+['\"`]"
    r"|\b(char|character|line|position|index|step|rank)s?\W*\d+|^[a-z]\w*(:| must\b| is\b)"
)
_SAYS_WHAT = re.compile(
    r"\b(must|should|expect\w*|requires?|required|needs?|use|set|provide\w*|remove\w*|move|migrat\w+|edit|replace"
    r"|re-?run|one of|allowed|supported|unsupported|forbidden|cannot|only|exactly|at least|remedy|instead|between"
    r"|in [\[(]|[<>]=?)(\b|\s|$)",
    re.IGNORECASE,
)


def lacks(message: str) -> list[str]:
    """What an error message fails to say: any of `a cause`, `a place`, `a remedy`."""
    missing = []
    if len(message.split()) < 3:
        missing.append("a cause")
    if not _NAMES_A_PLACE.search(message):
        missing.append("a place")
    if not _SAYS_WHAT.search(message):
        missing.append("a remedy")
    return missing
