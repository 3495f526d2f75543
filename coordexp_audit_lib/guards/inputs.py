"""Guards for what a run starts from: config, tokenizer, chat template."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.predicates import chains, rules
from coordexp_audit_lib.boundaries.config.predicates.values import Broken
from coordexp_audit_lib.boundaries.config.surfaces import Chain
from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template import predicates as p
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.guards import pins
from coordexp_audit_lib.guards.stopping import check, stop
from coordexp_audit_lib.kit.prompt_trace import Trace, trace

Prompt = Sequence[int] | Callable[[], Sequence[int]]


def check_config(config: Mapping[str, Any], *, world_size: int | None = None) -> None:
    """A resolved config has known keys only, values in range, and values that agree with each other.

    Args:
        config: the mapping that the YAML files resolve to. world_size: of the run; without it, the effective batch is
            not judged.

    Raises:
        InvariantViolation: `where` is the dotted path of the key.
    """
    contract = pipeline().contract()
    _stop(rules.check_config(config, contract), rules.check_attention(config, contract))
    if world_size is not None:
        _stop(rules.check_batch(config, world_size, contract))


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

    try:
        chain = chains.resolve(read, leaf)
    except chains.ChainBroken as error:
        _stop([error.broken])
        raise
    _stop(chains.check_profile(chain, pipeline().contract()))
    return chain


def _stop(*found: Iterable[Broken]) -> None:
    for claim, problem in itertools.chain(*found):
        stop(claim, problem.message, where=problem.subject, remedy=problem.expected)


def check_tokenizer(tokenizer: Any, fingerprint: str | None = None, rows: int | None = None) -> None:
    """The 1000 coordinate tokens are one id each, wherever they stand; the vocabulary is the pinned one and fits.

    Args:
        tokenizer: of `transformers` (or a processor that has one) or of `tokenizers`.
        fingerprint: of the whole vocabulary, from `pins_of`. rows: of the model's embedding.

    Raises:
        InvariantViolation: the message names the first coordinate token, id or fingerprint that is wrong.
    """
    made = pins.tokenizer_of(tokenizer)
    ids = pins.vocabulary(made)
    texts = [(pins.encoded(made, text), bins) for text, bins in cases.contexts()]
    numbers = [ids.get(t, -1) for t in pins.COORD_TOKENS]
    check("template.coord_tokens_atomic", lambda ledger: p.coordinate_problems(numbers, texts), "tokenizer")
    if fingerprint is not None:
        found = partial(p.vocabulary_problems, pins.fingerprint(made), fingerprint, "the pinned")
        check("template.vocab_fits", lambda ledger: found(), "tokenizer")
    if rows is not None:
        check("template.vocab_fits", lambda ledger: p.rows_problems(max(ids.values()), rows), "tokenizer")


def check_template(prompt: Prompt, pinned: Trace | Mapping[str, Any], name: str = "of the fixed sample") -> None:
    """The rendered prompt is the pinned one, token for token: system prompt, special tokens, template, tokenizer.

    Args:
        prompt: ids of a fixed sample's prompt, or a function that renders them. pinned: what `pins_of` kept of them.

    Raises:
        InvariantViolation: the message names the first token that differs.
    """
    ids = prompt() if callable(prompt) else prompt
    kept = pinned if isinstance(pinned, Trace) else msgspec.convert(dict(pinned), Trace)
    check("template.render_pinned", lambda ledger: p.pinned_problems(trace(ids), kept, name), "template")
