"""The contracts of a claim, judged on what the pipeline's own environment has of upstream."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.artifact.matrix import MatrixRequest
from coordexp_audit_lib.boundaries.upstream.predicates import contracts
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Contract, Part
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import differences
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.source.facts import Seen

REMEDY = "install the release that the contract was written for, or change the call"


def swift(path: str, symbol: str) -> Citation:
    """A place in the ms-swift release that the contracts were written for."""
    return Citation("modelscope/ms-swift", path, symbol, "v3.10.3")


def transformers(path: str, symbol: str) -> Citation:
    """A place in the transformers release that the contracts were written for."""
    return Citation("huggingface/transformers", path, symbol, "v4.57.6")


def promised(ctx: Context, claim: str = "") -> list[Contract]:
    """The contracts that the target's pipeline writes down; of one claim, if named.

    Raises:
        Undecided: it writes down none.
    """
    made = contracts.chosen(contracts.read(ctx.contract.get("upstream.contracts", {})), claim=claim)
    if not made:
        raise Undecided("the pipeline writes down no contract with an upstream package")
    return made


def asked(ctx: Context, promises: list[Contract]) -> Iterator[tuple[str, Contract, Part, Seen]]:
    """Each part of the contracts with the installed version, and what the environment has of it."""
    for distribution in dict.fromkeys(k.distribution for k in promises):
        mine = contracts.chosen(promises, distribution)
        api = ctx.value(s.API, s.ApiRequest(distribution, contracts.asks(mine)))
        parts = [(contract, part) for contract in mine for part in contract.parts]
        for (contract, part), seen in zip(parts, api.seen, strict=True):
            yield api.version, contract, part, seen


def used_as_there(ctx: Context, claim: str) -> Iterator[Problem]:
    """Judge the contracts of a claim.

    A part that cannot be imported is judged by the shipped verdict on the installed release, where there is one; what
    is decided by neither is left out.
    """
    shipped = {(v.contract, v.version): v for v in ctx.value(s.MATRIX, MatrixRequest()).verdicts}
    undecided: dict[str, list[str]] = {}
    read_only, here = [], ""
    for version, contract, part, seen in asked(ctx, promised(ctx, claim)):
        if contract.distribution != here:
            here = contract.distribution
            ctx.fact(f"{here} here", version or "not installed")
        found, read = [*differences(part, seen)], shipped.get((contract.id, version))
        if seen.status == "undecided" and read is not None:
            found = [d for d in read.problems if d.symbol == part.symbol]
            read_only.append(part.symbol)
        told = [f"{d.symbol}: {d.what}" for d in found if d.kind == "undecidable"]
        undecided.setdefault(here, []).extend(told)
        ctx.judged(0 if told else 1)
        for d in found:
            if d.kind != "undecidable":
                expected = f"as in {here} {ctx.contract['upstream.pinned'].get(here, '')}"
                message = f"{here} {version}: {part.symbol}: {d.what}"
                yield Problem(message, f"{contract.title} ({contract.used})", expected, d.kind, part.symbol)
    if read_only:
        ctx.fact("read, for they cannot be imported here", read_only)
    if any(undecided.values()):
        ctx.fact("not decided", [one for told in undecided.values() for one in told])
    for distribution, told in undecided.items():
        if told:
            ctx.left_out(f"{len(told)} of the names used of {distribution}", told[0].partition(": ")[2])
