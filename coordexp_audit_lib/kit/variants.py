"""Tokenizers that differ from the real one in their coordinate tokens: to see whether a pipeline's check notices.

Standard library only at import time.
"""

from __future__ import annotations

from typing import Any

SOUND = ("plain", "special")
FLAWED = ("missing", "unknown", "split")
KINDS = (*SOUND, *FLAWED, "none")
UNKNOWN = "<|endoftext|>"


def build(kind: str, at: int, parts: Any, real: Any) -> Any:
    """A `tokenizers.Tokenizer` of that kind.

    Args:
        kind: `plain` or `special` (how the coordinate tokens were added: both are sound); `missing` (bin `at` was not
            added); `unknown` (the same, and an unknown token answers for it); `split` (all are listed in the
            vocabulary, none is ever produced); `none` (no coordinate token, as before the vocabulary is expanded).
        at: the bin that is wrong, for `missing` and `unknown`.
        parts: the module `kit.tokenizer`. real: what its `build` made.
    """
    from tokenizers import Tokenizer

    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}, use one of {', '.join(KINDS)}")
    if kind == "split":
        return _listed_only(parts)
    made = Tokenizer(real.model)  # the model is shared, not copied: its 151,643 ranks are dear
    made.normalizer, made.pre_tokenizer = real.normalizer, real.pre_tokenizer
    made.post_processor, made.decoder = real.post_processor, real.decoder
    parts.add(made, parts.CONTROL, special=True)
    parts.add(made, parts.PLAIN)
    absent = parts.COORD_TOKENS[at + 1] if kind in ("missing", "unknown") else None
    coords = [] if kind == "none" else [t for t in parts.COORD_TOKENS if t != absent]
    parts.add(made, coords, special=kind == "special")
    return made


def _listed_only(parts: Any) -> Any:
    """A byte-level vocabulary that lists the coordinate tokens without a merge that would lead to them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = [*sorted(parts.byte_symbols().values()), *parts.COORD_TOKENS]
    made = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(False, use_regex=False), decoders.ByteLevel()
    parts.add(made, parts.CONTROL, special=True)
    return made
