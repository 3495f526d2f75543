"""The real Qwen BPE: ids, the facts that checks rest on, and the cache."""

from __future__ import annotations

import inspect
import time
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.kit import tokenizer

TEXTS = (
    "The quick brown fox, 12345 times.\n\n  Then\tnothing.",
    '{"objects": [{"desc": "a t-shirt.", "bbox_2d": [<|coord_0|>, <|coord_12|>, <|coord_500|>, <|coord_999|>]}]}',
    "Straße 街道 😀 naïve Ünïcödé … don't can't WE'LL",
    "def f(x):\n    return x**2  # \\d+\r\n",
    "\u0041\u030a is normalised, \u212b too",
)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("<|endoftext|>", 151643),
        ("<|im_start|>", 151644),
        ("<|im_end|>", 151645),
        ("<|vision_start|>", 151652),
        ("<|vision_end|>", 151653),
        ("<|image_pad|>", 151655),
        ("<|video_pad|>", 151656),
        ("</think>", 151668),
        ("<|coord_*|>", 151669),
        ("<|coord_0|>", 151670),
        ("<|coord_999|>", 152669),
    ],
)
def test_known_ids(token: str, expected: int) -> None:
    assert tokenizer.qwen().token_to_id(token) == expected
    assert tokenizer.encode(token) == [expected]


def test_size() -> None:
    assert tokenizer.qwen().get_vocab_size() == 152_670


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"objects": [{"desc"', ['{"', "objects", '":', 'Ġ[{"', "desc", '"']),
        ('{"objects": [', ['{"', "objects", '":', "Ġ["]),
        ('{"desc"', ['{"', "desc", '"']),
        ('t-shirt.",', ["t", "-shirt", '.",']),
        ("<|coord_7|>, <|coord_8|>", ["<|coord_7|>", ",", "Ġ", "<|coord_8|>"]),
    ],
)
def test_facts_about_coordjson(text: str, expected: list[str]) -> None:
    assert tokenizer.qwen().encode(text).tokens == expected


@pytest.mark.parametrize("text", TEXTS)
def test_same_ids_as_the_converter_of_transformers(text: str) -> None:
    assert tokenizer.encode(text) == converted().encode(text).ids


_CONVERTED: list[Any] = []


def converted() -> Any:
    """The tokenizer that `TikTokenConverter` makes of the same ranks, with the same added tokens."""
    if not _CONVERTED:
        from tokenizers import AddedToken, normalizers
        from transformers.convert_slow_tokenizer import TikTokenConverter

        path, control = str(tokenizer.ranks_path()), list(tokenizer.CONTROL)
        wanted: Any = TikTokenConverter
        named = next(n for n in inspect.signature(wanted).parameters if n.endswith("special_tokens"))  # renamed in 5.0
        made = wanted(path, pattern=tokenizer.PATTERN, **{named: control}).converted()
        made.normalizer = normalizers.NFC()
        made.add_tokens([AddedToken(t, normalized=False) for t in (*tokenizer.PLAIN, *tokenizer.COORD_TOKENS)])
        _CONVERTED.append(made)
    return _CONVERTED[0]


def test_text_survives_a_round_trip() -> None:
    for text in TEXTS[:4]:
        assert tokenizer.qwen().decode(tokenizer.encode(text), skip_special_tokens=False) == text


def test_the_second_start_is_fast_and_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = _seconds(tmp_path)
    (kept,) = tmp_path.iterdir()
    body = kept.read_bytes()
    best = min(_seconds(tmp_path) for _ in range(3))
    assert best < first / 3
    kept.write_bytes(body[:-100])
    assert tokenizer.build(tmp_path).get_vocab_size() == 152_670
    assert kept.read_bytes() == body


def _seconds(folder: Path) -> float:
    """Processor time: other processes of the machine are no part of it."""
    started = time.process_time()
    tokenizer.build(folder)
    return time.process_time() - started


def test_a_damaged_ranks_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ranks").write_bytes(b"IQ== 0\nIg== 2\n")
    with pytest.raises(tokenizer.TokenizerMissing, match="line 2"):
        tokenizer.read_ranks(tmp_path / "ranks")
    (tmp_path / "ranks").write_bytes(b"IQ== 0\n")
    with pytest.raises(tokenizer.TokenizerMissing, match="holds 1 ranks"):
        tokenizer.read_ranks(tmp_path / "ranks")
