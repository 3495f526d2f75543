"""The brace that closes the outermost object and <|im_end|> are supervised; braces in strings do not fool it; a target
with no resolvable closure is counted, and dropped or kept as the contract says.

The closure is where the model learns to stop. Masked, rollouts run into the length limit; supervised at a brace inside
a description, the model learns to stop there.

Example: of `{"objects": [{"desc": "smile :-}", …}]}<|im_end|>` the last `}` and `<|im_end|>` carry labels."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over
from coordexp_audit_lib.boundaries.supervision.faults import scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY, layout, piece, text_of
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, CLOSURE, ClosureRequest, Positions
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.tokenizer import encode


@claim(severity="P0", kind="B", remedy="Find the closing brace by depth outside strings, and count what is dropped.")
def closure(ctx: Context) -> Iterator[Violation | Problem]:
    yield from over(ctx, rollouts.targets(), targets.closed)
    for things in ([rollouts.CAT], rollouts.ODD, [], *([t] for t in rollouts.BRACES), rollouts.BRACES):
        ids = rollouts.rollout(things) + encode("\n")
        for prefix_len in (0, 3):
            ctx.judged()
            wanted = [p - prefix_len for p in layout(ids, "desc_first").closing()]
            answer = ctx.ask(CLOSURE, ClosureRequest(ids, prefix_len))
            found = answer.content.positions if answer.content else "refused"
            if found != wanted:
                name = f"{len(things)} objects, {text_of(ids)[:60].decode('utf-8', 'replace')}"
                yield Problem("the closure is found at other tokens", name, wanted, found)
    whole = rollouts.rollout([rollouts.ODD[2]])
    unclosed = [("no closing brace", whole[:-2])]
    if ctx.contract.get("supervision.closure_with_end", True):
        unclosed.append(("no <|im_end|>", whole[:-1]))
    for name, ids in unclosed:
        ctx.judged()
        if not ctx.ask(CLOSURE, ClosureRequest(ids, 0)).refused:
            yield Problem("a target without closure gets positions", name, "refused", "positions")
    yield from _unclosed(ctx)


def _unclosed(ctx: Context) -> Iterator[Problem]:
    first = rollouts.one(rollouts.GT, rollouts.rollout([rollouts.CAT]), backward=False, unclosed=[0])
    second = rollouts.one(rollouts.GT[:1], rollouts.rollout([rollouts.DOG]))
    answer = ctx.value(CHANNEL_B, replace(first, samples=first.samples + second.samples))
    ctx.judged()
    counted, fate = answer.metrics.get(ctx.contract["supervision.counters"]["unclosed"]), _fate(ctx)
    wanted = 2 if fate == "kept" else 1
    if len(answer.segments) != wanted or counted != 1:
        message = f"a target without closure is not {fate} and counted"
        yield Problem(message, "1 of 2 samples", [wanted, 1], [len(answer.segments), counted])


def _fate(ctx: Context) -> str:
    """What the contract says becomes of a target without closure: `dropped` or `kept`."""
    return str(ctx.contract.get("supervision.unclosed", "dropped"))


closure.on(targets.Supervised, targets.closed)

fault(closure, "stop_neutral", CHANNEL_B, "The closing brace and <|im_end|> are masked.")(
    scaled(lambda one, p: p in one.reading.view.closing(), 0.0)
)


_FIRST = "The first closing brace is taken for the outermost one, also in a string."
_COUNTED = "The closing brace is found by depth, but braces in descriptions count too."


@fault(closure, "first_brace_closes", CLOSURE, _FIRST)
def _first_brace_closes(request: ClosureRequest, honest: Honest) -> Positions:
    first = next(p for p, t in enumerate(request.ids) if b"}" in piece(t))
    return Positions([first - request.prefix_len, honest(request).positions[-1]])


@fault(closure, "braces_counted_in_strings", CLOSURE, _COUNTED)
def _braces_counted_in_strings(request: ClosureRequest, honest: Honest) -> Positions:
    depth, end = 0, VOCABULARY.turn_end
    for p, token in enumerate(request.ids):
        for sign in text_of([token]):
            depth += (sign == ord("{")) - (sign == ord("}"))
            if sign == ord("}") and depth == 0 and end in request.ids[p:]:
                return Positions([p - request.prefix_len, request.ids.index(end) - request.prefix_len])
    raise Refuse("the outermost brace is not found")
