"""the key of a cache changes with everything that what is cached depends on

A cache outlives the run that filled it. If its key leaves out the tokenizer, the chat template or the budget of pixels,
the next run that changes one of them trains on the tokens of the last one, or packs by lengths that its samples no
longer have, and its manifest says that it did not.

Example: `template.max_pixels` is halved. Pictures take half as many tokens, the plan still counts the old ones, and
packs are half empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance.surfaces import PLAN_KEY, SAMPLES_KEY, CacheKey, KeyRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.surface import Surface

CACHES = {"packing plan": PLAN_KEY, "encoded samples": SAMPLES_KEY}
TOKENS = ("<|audited|>",)


@claim(
    severity="P1",
    kind="B",
    remedy="take into the key what the encoding depends on: tokenizer and chat template by content, and the pixels",
)
def cache_key(ctx: Context) -> Iterator[Problem]:
    kept = ctx.contract["provenance.caches"]
    for name, question in CACHES.items():
        if name not in kept["names"]:
            continue
        if not ctx.answers(question):
            ctx.left_out(name, "not in this tree")
            continue
        yield from _judged(ctx, name, question)


def _judged(ctx: Context, name: str, question: Surface[KeyRequest, CacheKey]) -> Iterator[Problem]:
    kept = ctx.contract["provenance.caches"]
    plain = KeyRequest(ctx.target.config_path(ctx.target.pipeline().configs[0]))
    key = ctx.value(question, plain).key
    if not key:
        raise Undecided(f"the {name} have no key")
    for what, changes in kept["depends"].items():
        changed = []
        for values in changes:
            answer = ctx.ask(question, replace(plain, values=values, tokens=TOKENS if what in kept["tokens"] else ()))
            if not answer.refused:  # a config that can't be loaded shares no cache
                changed.append(answer.value.key != key)
        if not changed:
            ctx.left_out(f"{name}: {what}", "the tree refuses every change of it")
            continue
        ctx.judged()
        if not any(changed):
            message = f"the key of the {name} is the same with another {what}"
            yield Problem(message, f"{name}: {what}", "another key", "the same key", {"changed": list(changes)})
    ctx.judged()
    idle: dict[str, Any] = kept["nothing"]
    if ctx.value(question, replace(plain, values=idle)).key != key:
        message = f"the key of the {name} changes with what nothing of it depends on, so that it is never found again"
        yield Problem(message, f"{name}: {', '.join(idle)}", "the same key", "another key", {"changed": idle})


def _without(*paths: str) -> Any:
    """A key that leaves these settings out."""

    def apply(request: KeyRequest, honest: Honest) -> CacheKey:
        values = {k: v for k, v in request.values.items() if k not in paths}
        made: CacheKey = honest(replace(request, values=values))
        return made

    return apply


fault(cache_key, "key_without_pixels", PLAN_KEY, "the key of the packing plan leaves the pixel budget out")(
    _without("template.max_pixels")
)
fault(cache_key, "key_without_dataset", PLAN_KEY, "the key of the packing plan leaves the dataset out")(
    _without("custom.train_jsonl")
)


@fault(cache_key, "key_without_tokenizer", PLAN_KEY, "the key of the packing plan leaves the tokenizer out")
def key_without_tokenizer(request: KeyRequest, honest: Honest) -> CacheKey:
    made: CacheKey = honest(KeyRequest(request.config) if request.tokens else request)
    return made


@fault(cache_key, "key_with_the_rate", PLAN_KEY, "the key of the packing plan changes with the learning rate")
def key_with_the_rate(request: KeyRequest, honest: Honest) -> CacheKey:
    return CacheKey(honest(request).key + str(request.values.get("training.learning_rate", "")))
