"""The matrix as rows of tables: verdicts release by release, and what is not kept."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.upstream.artifact.matrix import Matrix, of_releases, ordered

Rows = list[tuple[str, ...]]


def rows(matrix: Matrix) -> dict[str, tuple[tuple[str, ...], Rows]]:
    """Of each distribution, a table: header and rows, a surface and its verdict for each version."""
    words = {(v.contract, v.version): v.word for v in matrix.verdicts}
    made = {}
    for distribution, versions in sorted(matrix.versions.items()):
        lines: Rows = [
            (c.title, *(words.get((c.id, v), "-") for v in versions))
            for c in of_releases()
            if c.distribution == distribution and c.id in matrix.contracts
        ]
        made[distribution] = ((distribution, *versions), lines)
    return made


def details(matrix: Matrix) -> Rows:
    """What is not kept, with the releases that it is true of: (versions, surface, symbol, verdict, what)."""
    titles = {c.id: c.title for c in of_releases()}
    grouped: dict[tuple[str, ...], set[str]] = {}
    for v in matrix.verdicts:
        for d in v.problems:
            grouped.setdefault((v.distribution, titles[v.contract], d.symbol, d.kind, d.what), set()).add(v.version)
    return [(f"{key[0]} {_span(versions)}", *key[1:]) for key, versions in grouped.items()]


def _span(versions: set[str]) -> str:
    first, *rest = ordered(versions)
    return f"{first} … {rest[-1]} ({len(versions)})" if rest else first
