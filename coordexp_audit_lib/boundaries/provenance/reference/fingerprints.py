"""Digests of what a run reads: datasets, tokenizer, chat template."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.errors import UsageError

WHOLE = 256 << 20  # bytes; a larger file is sampled, for a digest must not hold up the start of a run
BLOCKS, BLOCK = 64, 1 << 20
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"),
    *("added_tokens.json", "qwen.tiktoken", "tokenizer.model"),
)


def dataset(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file: of all of it, or above `WHOLE` of its size and 64 blocks spread over it (`method`).

    Raises:
        UsageError: it is not a readable regular file.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise OSError("not a regular file")
        with path.open("rb") as file:
            if size <= WHOLE:
                return {"bytes": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest(), "method": "whole"}
            made = hashlib.sha256(str(size).encode())
            for number in range(BLOCKS):
                file.seek((size - BLOCK) * number // (BLOCKS - 1))
                made.update(file.read(BLOCK))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot be read: {reason}", where=str(path), remedy="give the dataset's file") from error
    return {"bytes": size, "sha256": made.hexdigest(), "method": f"{BLOCKS} blocks of {BLOCK} bytes"}


def tokenizer(given: Any) -> dict[str, Any]:
    """Digest of a tokenizer: of its files if `given` is a folder or file, else of what the object holds."""
    if isinstance(given, (str, Path)):
        path = Path(given)
        files = [path] if path.is_file() else [path / n for n in TOKENIZER_FILES if (path / n).is_file()]
        if not files:
            raise UsageError("holds no tokenizer file", where=str(path), remedy="give the tokenizer's folder")
        return {"files": {f.name: dataset(f)["sha256"] for f in files}}
    backend = getattr(given, "backend_tokenizer", given)
    if hasattr(backend, "to_str"):
        return {"sha256": _sha(backend.to_str()), "size": int(backend.get_vocab_size())}
    if hasattr(given, "get_vocab"):
        vocabulary = given.get_vocab()
        return {"sha256": _sha(json.dumps(sorted(vocabulary.items()))), "size": len(vocabulary)}
    remedy = "give a folder, a file, or a tokenizer"
    raise UsageError(f"{type(given).__name__} is no tokenizer", where="tokenizer", remedy=remedy)


def template(given: Any) -> dict[str, Any]:
    """Digest of a chat template: of a text, or of what an object (a tokenizer, a processor) has as `chat_template`."""
    text = given if isinstance(given, str) else getattr(given, "chat_template", None)
    if not isinstance(text, str) or not text:
        remedy = "give its text or the tokenizer that has it"
        raise UsageError(f"{type(given).__name__} holds no chat template", where="template", remedy=remedy)
    return {"sha256": _sha(text), "characters": len(text)}


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
