"""Every assistant token has exactly one role (structure, desc, coordinate, closure); a BPE token that straddles two
roles is found, listed, and treated by one stated rule, and masks agree with gradients token by token.

Byte-pair encoding knows nothing of roles: `.",` ends a desc and begins structure. Where the matched prefix and the
appended tail treat such a token by two rules, the objective supervises the same text in one place and masks it in
the other.

Example: in `{"desc": "t-shirt.", …` the token `.",` is desc and structure at once; to take it for structure is
one rule."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over
from coordexp_audit_lib.boundaries.supervision.faults import each, of_fate, roles, scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.reading import APPENDED, MATCHED
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC, STRUCTURE, is_coordinate, layout, shown
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, ROLES, RolesRequest
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    root="supervision.fp_neutral",
    kind="B",
    remedy="Give a straddling token one role in both places where roles are derived: matched prefix and appended tail.",
)
def token_roles_partition(ctx: Context) -> Iterator[Violation | Problem]:
    rules: dict[str, str] = {}

    def judged(one: Supervised, ledger: Ledger) -> Iterator[Problem]:
        for p, rule in _rules(one):
            rules.setdefault(rule, f"{case.name}: {one.place(p)}")
        return targets.masks_agree(one, ledger)

    for case in rollouts.targets():
        yield from over(ctx, [case], judged)
    ctx.fact("rule for tokens that cover desc and structure", sorted(rules))
    if len(rules) > 1:
        message = "tokens that cover desc and structure are treated by more than one rule"
        yield Problem(message, "rule", 1, dict(sorted(rules.items())), severity="P2")
    yield from _claimed_roles(ctx)


def _rules(one: Supervised) -> Iterator[tuple[int, str]]:
    """Which rule each straddling token follows: a masked token of a matched object is held for desc."""
    names = {MATCHED: {"masked": "desc", "as structure": "structure"}}
    names[APPENDED] = {"as desc": "desc", "as structure": "structure"}
    for p, token in enumerate(one.reading.view.tokens):
        if DESC in token.roles and STRUCTURE in token.roles and len(token.objects) == 1:
            fate = one.reading.fates[token.objects[0]]
            if fate in names:
                treated = targets.treatment(one, p)
                yield p, names[fate].get(treated, treated)


def _claimed_roles(ctx: Context) -> Iterator[Problem]:
    """The pipeline's own lists of desc and coordinate tokens: disjoint, and complete for what lies within one role."""
    texts = [("generated", rollouts.rollout(rollouts.ODD))]
    texts += [t for i, t in enumerate(rollouts.real_texts()) if i % 4 == 0]
    for (name, ids), found in zip(texts, ctx.value(ROLES, RolesRequest([i for _, i in texts])).texts, strict=True):
        tokens = layout(ids, "desc_first").tokens
        ctx.judged(len(tokens))
        coordinates = [p for p, t in enumerate(ids) if is_coordinate(t)]
        if sorted(found.coordinate) != coordinates:
            yield Problem("the coordinate tokens are not those of the text", name, coordinates, found.coordinate)
        both = sorted(set(found.desc) & set(found.coordinate))
        if both:
            yield Problem("a token is desc and coordinate at once", name, [], both)
        wrong = [p for p, t in enumerate(tokens) if (p in found.desc) != (DESC in t.roles) and not t.straddles]
        if wrong:
            what = [f"{p}: {shown(ids[p])!r}" for p in wrong[:5]]
            yield Problem("a token that lies within one role got another", name, "desc only within desc", what)


_TWO = "A token that ends a desc counts as desc in the prefix and as structure in the tail."
fault(token_roles_partition, "two_rules", CHANNEL_B, _TWO)(
    scaled(lambda one, p: {DESC, STRUCTURE} <= {*roles(one, p)} and of_fate(one, p, MATCHED), 0.0)
)
_NO_EFFECT = "The masks say that desc is masked, but the loss reaches it."
fault(token_roles_partition, "mask_without_effect", CHANNEL_B, _NO_EFFECT)(
    answered(segments=lambda b: each(text_grad=lambda s: [v or 1e-3 for v in s.text_grad])(b.segments))
)
