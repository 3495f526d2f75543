"""A record that breaks the contract (images, objects, width, height, a desc, one geometry of the right arity, no other
geometry keys) is refused with an error that names the path, whatever else it holds.

A malformed record that is let through becomes text all the same: an object without a box, a box under a key that
nothing reads, a size that scales every coordinate. The model learns that text as the truth about the image, and the
loss does not show it. An error that does not say where leaves one object among millions to be looked for by hand.

Example: `{"desc": "cup", "bbox_2d": [1, 2, 3]}` as the 18th object is refused with `objects[17].bbox_2d` in the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.predicates import grounding, records
from coordexp_audit_lib.core.claim import Context, claim, provokes
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer, Refuse
from coordexp_audit_lib.kit.coordjson import container


@claim(
    severity="P0",
    kind="B",
    remedy="Check the record where it is loaded, and put the path, such as objects[17].bbox_2d, into the error.",
)
def record_contract(ctx: Context) -> Iterator[Violation]:
    for case in cases.malformed():
        ctx.judged()
        request = cases.render(ctx, case.record, max_pixels=10**9)
        answer = ctx.ask(s.RENDER, request) if case.late else ctx.ask(s.VALIDATE, s.RecordRequest(case.record))
        if answer.refusal is None:
            message = f"a record is {'rendered' if case.late else 'accepted'} in which {case.name}"
            shown = _excerpt(case)
            yield Violation(
                message, ".".join(case.names), "refused", "accepted", shown, severity="P1" if case.late else None
            )
        elif not all(name in answer.refusal.message for name in case.names):
            message = f"the error for a record in which {case.name} does not name the path"
            wanted, said = list(case.names), answer.refusal.message
            yield Violation(message, ".".join(case.names), wanted, said, _excerpt(case), severity="P2")
    for name, record in _sound_records(ctx):
        ctx.judged()
        answer = ctx.ask(s.VALIDATE, s.RecordRequest(record))
        if answer.refusal is not None:
            yield Violation(f"a sound record is refused: {name}", name, "accepted", answer.refusal.message, record)


record_contract.on(records.Record, records.record_contract)
record_contract.on(grounding.Talk, grounding.contract)


@provokes(s.VALIDATE)
def malformed_records(ctx: Context) -> Iterator[tuple[str, Answer[Any]]]:
    for case in cases.malformed():
        if not case.late:
            yield case.name, ctx.ask(s.VALIDATE, s.RecordRequest(case.record))


def _excerpt(case: cases.Malformed) -> Any:
    """What a malformed record holds at its path: the record itself has many sound objects."""
    here = f"objects[{cases.DEEP}]"
    key = case.names[0].split("[")[0]
    beside = {"messages": case.record["messages"]} if "messages" in case.record else {}
    held = case.record["objects"][cases.DEEP] if case.names[0].startswith(here) else case.record.get(key, "(missing)")
    return {here if case.names[0].startswith(here) else key: held, **beside}


def _sound_records(ctx: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "tokens", cases.sound()
    yield "ints", {**cases.sound(), "objects": [{"desc": "a", "bbox_2d": [1, 2, 3, 4]}]}
    yield "the least polygon", cases.sound([1, 2, 30, 4, 5, 60], "poly")
    yield "no object", {**cases.sound(), "objects": []}
    yield "other keys beside", {**cases.sound(), "image_id": 7, "metadata": {"source": "x"}}
    yield "many objects", cases.record(ctx.rng("sound"), 60)


@fault(
    record_contract,
    "legacy_keys_taken",
    s.VALIDATE,
    "an object with a legacy geometry key beside bbox_2d or poly is accepted",
)
def legacy_keys_taken(request: s.RecordRequest, honest: Honest) -> Any:
    record = request.record
    if isinstance(record, dict) and isinstance(record.get("objects"), list):
        objects = record["objects"]
        kept = [{k: v for k, v in o.items() if k not in records.LEGACY_KEYS} for o in objects if isinstance(o, dict)]
        if len(kept) == len(objects):
            return honest(s.RecordRequest({**record, "objects": kept}))
    return honest(request)


@fault(record_contract, "messages_excuse", s.RENDER, "a record that has a key `messages` is not checked")
def messages_excuse(request: s.RenderRequest, honest: Honest) -> Any:
    record = request.record
    return s.RenderResponse(container()) if isinstance(record, dict) and "messages" in record else honest(request)


@fault(
    record_contract,
    "error_without_path",
    s.VALIDATE,
    "a malformed record is refused with an error that does not say where it is wrong",
)
def error_without_path(request: s.RecordRequest, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse as error:
        raise Refuse("the record is malformed") from error
