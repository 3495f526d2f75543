"""The real Qwen BPE with the coordinate tokens, from the ranks file that the `dashscope` distribution carries.

The tokenizer files of the Qwen3-VL checkpoints are not on a fresh machine, the ranks behind them are: 151,643
byte sequences in `dashscope/resources/qwen.tiktoken`. `transformers.TikTokenConverter` lists every split of a token
as a merge; the published tokenizer holds the one split that byte-pair encoding itself arrives at. This module derives
the latter, so that ids equal the published tokenizer's, and keeps the result in the user's cache folder.

The answers give it to the target's own template, so that both sides of the wall speak of the same ids.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import tempfile
import types
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coordexp_audit_lib.kit import boxes, profile
from coordexp_audit_lib.kit.stand_ins import replaced

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
RANKS = 151_643  # byte sequences; the control tokens' ids go on from here
CONTROL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
PLAIN = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
COORD_BINS = boxes.BIN_COUNT
# A wildcard stands before the thousand bins, so that bin k has id COORD_0 + k.
COORD_TOKENS = ("<|coord_*|>", *boxes.TOKENS)
ENDOFTEXT, IM_START, IM_END = profile.ENDOFTEXT, profile.IM_START, profile.IM_END
VISION_START, VISION_END = profile.VISION_START, profile.VISION_END
IMAGE_PAD, VIDEO_PAD = profile.IMAGE_PAD, profile.VIDEO_PAD
COORD_0 = RANKS + len(CONTROL) + len(PLAIN) + 1  # 151,670
_LAYOUT = "1"
_BUILT: list[Any] = []


class TokenizerMissing(Exception):
    """The ranks file, or a package to read it with, is not installed."""


def ranks_path() -> Path:
    """Where `dashscope` keeps the ranks; the package itself is not imported."""
    spec = importlib.util.find_spec("dashscope")
    if spec is None or spec.origin is None:
        raise TokenizerMissing(
            "dashscope, which carries the tokenizer's ranks, is not installed. Remedy: "
            "`python -m pip install dashscope` in the interpreter of the pipeline; of it only that file is read"
        )
    return Path(spec.origin).parent / "resources" / "qwen.tiktoken"


def read_ranks(path: Path) -> list[bytes]:
    """The byte sequences in order of rank; rank and position must agree."""
    found: list[bytes] = []
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        if int(rank) != len(found):
            raise TokenizerMissing(f"{path.name}: rank {int(rank)} stands in line {len(found) + 1}")
        found.append(base64.b64decode(token))
    if len(found) != RANKS:
        raise TokenizerMissing(f"{path.name} holds {len(found)} ranks, expected {RANKS}. Remedy: reinstall dashscope")
    return found


def byte_symbols() -> dict[int, str]:
    """Each byte's symbol in a byte-level vocabulary: printable ones as they are, others from U+0100."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + n) for n, b in enumerate(hidden)}}


def split_of(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that byte-pair encoding has in hand just before it makes `token`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(parts[i] + parts[i + 1], RANKS) for i in range(len(parts) - 1)]
        i = joined.index(min(joined))
        if joined[i] >= RANKS:
            raise TokenizerMissing(f"rank {ranks[token]} can't be reached by merges: the ranks file is damaged")
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]


def derive(path: Path) -> str:
    """Vocabulary and merges as one text: tokens a line, an empty line, merges a line (their parts' ids)."""
    tokens = read_ranks(path)
    ranks = {token: i for i, token in enumerate(tokens)}
    symbols = byte_symbols()
    vocabulary = ["".join(symbols[b] for b in token) for token in tokens]
    splits = (split_of(token, ranks) for token in tokens if len(token) > 1)
    merges = (f"{vocabulary[ranks[left]]} {vocabulary[ranks[right]]}" for left, right in splits)
    return "\n".join(vocabulary) + "\n\n" + "\n".join(merges)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/coordexp-audit`, or `~/.cache/coordexp-audit`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "coordexp-audit"


def hand_on(home: Path) -> None:
    """Give a worker with that home what the user's cache holds, so that it need not derive the merges again."""
    kept = sorted(cache_folder().glob("qwen-bpe-*.txt"))
    folder = home / ".cache" / "coordexp-audit"
    if kept:
        folder.mkdir(parents=True)
    for path in kept:
        with suppress(OSError):
            shutil.copyfile(path, folder / path.name)


def place(scratch: str) -> Path:
    """The user's cache if it holds the merges already, else the folder `scratch`: nothing else is written to."""
    return cache_folder() if kept_file(ranks_path(), cache_folder()).is_file() else Path(scratch)


def at(scratch: str) -> Any:
    """`build` with what is derived kept at `place`, once per process, whichever folder is named later."""
    if not _BUILT:
        _BUILT.append(build(place(scratch)))
    return _BUILT[0]


def kept_file(path: Path, folder: Path) -> Path:
    """Where `folder` keeps what was derived from these ranks, by this layout and distribution version."""
    return folder / f"qwen-bpe-{_LAYOUT}-dashscope-{version('dashscope')}-{path.stat().st_size}.txt"


def cached(path: Path, folder: Path) -> str:
    """`derive(path)`, from the cache if an undamaged copy is there; a read-only cache is no error."""
    kept = kept_file(path, folder)
    with suppress(OSError, UnicodeDecodeError):
        head, _, body = kept.read_text(encoding="utf-8").partition("\n")
        if head == hashlib.sha256(body.encode()).hexdigest():
            return body
    body = derive(path)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(hashlib.sha256(body.encode()).hexdigest() + "\n" + body)
        Path(temporary).replace(kept)
    return body


def build(folder: Path | None = None) -> Any:
    """A `tokenizers.Tokenizer`: Qwen's BPE, control tokens, and `<|coord_0|>` … `<|coord_999|>`.

    Args:
        folder: where to keep the derived merges; the user's cache folder by default.

    Raises:
        TokenizerMissing: `dashscope` or `tokenizers` is not installed, or the ranks file is damaged.
    """
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    except ImportError as error:
        raise TokenizerMissing(f"tokenizers is not installed: {error}. Remedy: install it") from error
    vocabulary, _, merges = cached(ranks_path(), folder or cache_folder()).partition("\n\n")
    ids = {token: i for i, token in enumerate(vocabulary.split("\n"))}
    made = Tokenizer(models.BPE(ids, [tuple(line.split(" ")) for line in merges.split("\n")]))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    add(made, CONTROL, special=True)
    add(made, (*PLAIN, *COORD_TOKENS))
    return made


def add(made: Any, tokens: Iterable[str], special: bool = False) -> None:
    """Give a `tokenizers.Tokenizer` these tokens, as they are written."""
    from tokenizers import AddedToken

    made.add_tokens([AddedToken(t, normalized=False, special=special) for t in tokens])


def qwen() -> Any:
    """The tokenizer, built once per process."""
    if not _BUILT:
        _BUILT.append(build())
    return _BUILT[0]


def encode(text: str) -> list[int]:
    """Token ids of `text`; control and coordinate tokens written in it count as such."""
    ids: list[int] = qwen().encode(text, add_special_tokens=False).ids
    return ids


def text_of(ids: Iterable[int]) -> str:
    """The text of token ids, control tokens included."""
    text: str = qwen().decode(list(ids), skip_special_tokens=False)
    return text


def fast(made: Any = None, given_away: bool = False) -> Any:
    """The same as a `transformers` fast tokenizer (imports transformers: seconds).

    given_away: whether `made` may become its backend; else that is a copy, which takes half a second.
    """
    from transformers import Qwen2TokenizerFast, tokenization_utils_fast

    tokens = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None, "unk_token": None}
    more = {"additional_special_tokens": list(CONTROL[1:]), "model_max_length": 262_144}
    kept = {"copy": types.SimpleNamespace(deepcopy=lambda thing: thing)} if given_away else {}
    with replaced(tokenization_utils_fast, **kept):
        return Qwen2TokenizerFast(tokenizer_object=made or qwen(), **tokens, **more)  # type: ignore[no-untyped-call]
