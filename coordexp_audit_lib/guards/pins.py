"""Fingerprints that a run is pinned to: of its whole vocabulary, and of a rendered prompt.

python -c 'from coordexp_audit_lib.guards import pins_of; …; print(json.dumps(pins_of(tokenizer, template)))'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.template.predicates import vocabulary_fingerprint
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.kit.boxes import TOKENS as COORD_TOKENS
from coordexp_audit_lib.kit.profile import IGNORE_INDEX, Profile, of_values, of_vocabulary
from coordexp_audit_lib.kit.prompt_trace import trace

__all__ = ["COORD_TOKENS"]
# What is rendered to pin a template's prompt: it shows the system prompt, the roles and the special tokens.
QUESTION = {"role": "user", "content": "What is in the picture?"}
MOST = 64 << 20  # bytes of a file of pins
ANSWER = {"role": "assistant", "content": "Nothing."}


def pins_of(tokenizer: Any, template: Any = None) -> dict[str, Any]:
    """What to pin, as JSON holds it: `tokenizer`, a digest; `prompt`, a trace of the fixed sample's prompt.

    Args:
        template: see `prompt_ids`; without it no prompt is pinned.
    """
    made: dict[str, Any] = {"tokenizer": fingerprint(tokenizer_of(tokenizer))}
    if template is not None:
        made["prompt"] = msgspec.to_builtins(trace(prompt_ids(template)))
    return made


def read_pins(given: Path | str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Pins from a JSON file or a mapping; none are an empty mapping.

    Raises:
        UsageError: the file cannot be read.
    """
    if given is None or isinstance(given, Mapping):
        return given or {}
    try:
        found = json.loads(content(given, MOST))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(given), remedy="write it with pins_of") from error
    if not isinstance(found, dict):
        raise UsageError("holds no object", where=str(given), remedy="write it with pins_of")
    return found


def prompt_ids(template: Any) -> list[int]:
    """Ids of the fixed sample's prompt, up to where the answer begins.

    Args:
        template: of ms-swift (it encodes messages), a tokenizer with a chat template, a function, or the ids.
    """
    if isinstance(template, (list, tuple)):
        return list(template)
    if hasattr(template, "apply_chat_template"):
        made = template.apply_chat_template([QUESTION], tokenize=True, add_generation_prompt=True)
        # The ids, or since transformers 5 by name what a model is called with.
        return [int(t) for t in (made["input_ids"] if isinstance(made, Mapping) else made)]
    if hasattr(template, "encode"):
        encoded = template.encode({"messages": [QUESTION, ANSWER]})
        answer = next((i for i, y in enumerate(encoded["labels"]) if y != IGNORE_INDEX), len(encoded["labels"]))
        return [int(t) for t in encoded["input_ids"][:answer]]
    return list(template())


def tokenizer_of(given: Any) -> Any:
    """A processor's tokenizer, or the tokenizer itself."""
    return getattr(given, "tokenizer", given)


def profile_of(model: Any, tokenizer: Any) -> Profile | None:
    """The profile of a model at hand by its config, or of a tokenizer by its vocabulary; None without either."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_dict"):
        return of_values(config.to_dict())
    given = tokenizer_of(tokenizer)
    return of_vocabulary(vocabulary(given)) if hasattr(given, "get_vocab") else None


def vocabulary(tokenizer: Any) -> dict[str, int]:
    """Every token with its id, added ones included."""
    found: dict[str, int] = tokenizer.get_vocab()
    return found


def fingerprint(tokenizer: Any) -> str:
    """One digest of the whole vocabulary, in the order of ids."""
    ids = vocabulary(tokenizer)
    return vocabulary_fingerprint(sorted(ids, key=lambda token: ids[token]))


def encoded(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text without special tokens around it."""
    found = tokenizer.encode(text, add_special_tokens=False)
    return list(getattr(found, "ids", found))
