"""Guards for what a run starts from: config, tokenizer, chat template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.predicates.chains import Followed
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved
from coordexp_audit_lib.boundaries.config.surfaces import Chain
from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template.predicates import Rendered, Tokens
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.guards import pins
from coordexp_audit_lib.guards.stopping import Verdict, check, judge_live, stop, stop_at
from coordexp_audit_lib.kit.prompt_trace import Trace, trace

CAUSES = ("config.unknown_key_rejected", "config.removed_key_rejected", "config.profile_one_hop")
Prompt = Sequence[int] | Callable[[], Sequence[int]]


def check_config(config: Mapping[str, Any], *, world_size: int | None = None) -> None:
    """A resolved config has known keys only, values in range, and values that agree with each other.

    Args:
        config: the mapping that the YAML files resolve to. world_size: of the run; without it, the effective batch is
            not judged.

    Raises:
        InvariantViolation: `where` is the dotted path of the key.
    """
    _stop(judge_live(Resolved(config, pipeline().contract(), world_size), "config"))


def load_config(path: Path | str, repository: Path | str = ".") -> Chain:
    """Follow a config's `extends` and judge the shape of the chain; `merged` of the result is the config.

    Args:
        path: the leaf's YAML file. repository: what the paths of stage-2 leaves are relative to.

    Raises:
        InvariantViolation: a parent is missing, the chain has a cycle, or a stage-2 leaf is not self-contained.
    """
    root = Path(repository).resolve()
    full = Path(path).resolve()
    leaf = full.relative_to(root).as_posix() if full.is_relative_to(root) else full.as_posix()

    def read(name: str) -> str | None:
        file = root / name
        return file.read_text(encoding="utf-8") if file.is_file() else None

    followed = Followed(read, leaf, pipeline().contract())
    _stop(judge_live(followed, "config"))
    return followed.chain


def _stop(verdicts: Iterable[Verdict]) -> None:
    """Raise for a claim that is broken; for a strange key or parent before what is missing because of it."""
    for verdict in sorted(verdicts, key=lambda v: (v.first is None, v.finding.invariant not in CAUSES)):
        if verdict.first is not None:
            remedy = verdict.first.expected or ""
            stop(verdict.finding.invariant, verdict.first.message, where=verdict.first.subject, remedy=remedy)
        stop_at(verdict)


def check_tokenizer(
    tokenizer: Any, fingerprint: str | None = None, rows: int | None = None, *, coordinates: bool = True
) -> None:
    """The 1000 coordinate tokens are one id each, wherever they stand; the vocabulary is the pinned one and fits.

    Args:
        tokenizer: of `transformers` (or a processor that has one) or of `tokenizers`.
        fingerprint: of the whole vocabulary, from `pins_of`. rows: of the model's embedding. coordinates: whether it is
            to have coordinate tokens.

    Raises:
        InvariantViolation: the message names the first coordinate token, id or fingerprint that is wrong.
    """
    made = pins.tokenizer_of(tokenizer)
    ids = pins.vocabulary(made)
    if not coordinates:
        own = pins.fingerprint(made) if fingerprint is not None else ""
        check("template.vocab_fits", Tokens([], [], own, max(ids.values(), default=0), fingerprint, rows), "tokenizer")
        return
    texts = [(pins.encoded(made, text), bins) for text, bins in cases.contexts()]
    numbers = [ids.get(t, -1) for t in pins.COORD_TOKENS]
    own = pins.fingerprint(made) if fingerprint is not None else ""
    for verdict in judge_live(Tokens(numbers, texts, own, max(ids.values()), fingerprint, rows), "template"):
        stop_at(verdict, "tokenizer")


def check_template(prompt: Prompt, pinned: Trace | Mapping[str, Any], name: str = "of the fixed sample") -> None:
    """The rendered prompt is the pinned one, token for token: system prompt, special tokens, template, tokenizer.

    Args:
        prompt: ids of a fixed sample's prompt, or a function that renders them. pinned: what `pins_of` kept of them.

    Raises:
        InvariantViolation: the message names the first token that differs.
    """
    ids = prompt() if callable(prompt) else prompt
    kept = pinned if isinstance(pinned, Trace) else msgspec.convert(dict(pinned), Trace)
    check("template.render_pinned", Rendered(trace(ids), kept, name), "template")
