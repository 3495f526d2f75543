"""The rollout's own token ids are kept up to the cut, which is not before its last complete record; only the last may
be re-tokenized, to the same text. Where the contract has the beginning written anew, it is the serializer's writing of
the rollout's usable objects.

Channel-B corrects what the model did. Decoded and encoded again, the prefix has other tokens than were sampled, so
that the model is conditioned on a text it did not write; cut too early, a found object counts as missed.

Example: of a rollout that was cut in its third record the tokens of the first two stand in the target unchanged."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import asking, rollouts
from coordexp_audit_lib.boundaries.supervision.predicates.rewritten import rewritten
from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY, text_of
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Kept, Supervised, kept, kept_live
from coordexp_audit_lib.boundaries.supervision.reference.target import cut_tokens, keep
from coordexp_audit_lib.boundaries.supervision.surfaces import PREFIX, Prefix, Prefixes, PrefixRequest, Sample
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import salvage
from coordexp_audit_lib.kit.tokenizer import encode


@claim(severity="P1", kind="B", remedy="Cut the list of sampled tokens; never decode and encode the whole prefix.")
def prefix_kept(ctx: Context) -> Iterator[Violation | Problem]:
    asked = [c.request.samples[0].rollout for c in rollouts.targets() if c.request.order == "desc_first"]
    asked += [*rollouts.truncations(), *(ids for i, (_, ids) in enumerate(rollouts.real_texts()) if i % 2 == 0)]
    answer = ctx.value(PREFIX, PrefixRequest(asked, "desc_first"))
    for ids, parse in zip(asked, answer.parses, strict=True):
        ctx.judged()
        yield from _of_parse(ids, parse)
    for case, one, sample in asking.targets(ctx):
        ctx.judged()
        if not one.segment.invalid:
            yield from (p.violation(case.name) for p in _of_target(ctx, one, sample))


prefix_kept.on(Kept, kept_live)


def _of_target(ctx: Context, one: Supervised, sample: Sample) -> Iterator[Problem]:
    if ctx.contract.get("supervision.prefix") == "clean":
        yield from rewritten(one, sample.rollout)
    else:
        yield from kept(one.segment.ids[: one.segment.prefix_len], sample.rollout)


def _of_parse(ids: list[int], parse: Prefix) -> Iterator[Problem]:
    name, text = f"{len(ids)} tokens", text_of(ids)
    for p in kept(parse.prefix, ids) if not parse.invalid else ():
        yield replace(p, subject=f"{name}, {p.subject}", counterexample=text.decode("utf-8", "replace"))
    wanted = keep(ids, "desc_first")
    spelled = text.count(b"<|im_end|>") > ids.count(VOCABULARY.turn_end or -1)  # whether that ends it is left open
    lost = len(text_of(parse.prefix)) < len(text_of(wanted.prefix))
    if lost and not (parse.invalid or wanted.invalid or spelled):
        right, got = (text_of(k).decode("utf-8", "replace")[-40:] for k in (wanted.prefix, parse.prefix))
        yield Problem("a complete record of the rollout is cut away", name, right, got)


@fault(prefix_kept, "prefix_encoded_anew", PREFIX, "The kept prefix is decoded and encoded again.")
def _encoded_anew(request: PrefixRequest, honest: Honest) -> Prefixes:
    found = honest(request).parses
    return Prefixes([replace(p, prefix=encode(text_of(p.prefix).decode("utf-8", "replace"))) for p in found])


@fault(prefix_kept, "last_record_cut_away", PREFIX, "The cut is behind the last record but one.")
def _last_record_cut_away(request: PrefixRequest, honest: Honest) -> Prefixes:
    def cut(prefix: list[int]) -> list[int]:
        found = salvage(text_of(prefix), request.order)
        ends = [found.opened, *(e.span[1] for e in found.entries)] if found else []
        return prefix if len(ends) < 2 else cut_tokens(prefix, ends[-2])

    return Prefixes([replace(p, prefix=cut(p.prefix)) for p in honest(request).parses])
