"""Profiles: what a model family fixes about a batch, as values that judges read instead of constants.

A profile is named, read from a model's `config.json`, from a tokenizer's folder, or from what a batch itself shows.
What is not known is None (or "" for `videos`); a judge that needs it says so and decides nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FRAMES, SECONDS, TIMESTAMPS = "frames", "seconds", "timestamps"
CHANNELS = 3
IGNORE_INDEX = -100  # the label that `torch.nn.functional.cross_entropy` leaves out
PATCH, MERGE, TEMPORAL_PATCH = 16, 2, 2  # of Qwen3-VL: pixels and patches per side, frames; fields of a profile

# Since Qwen2 one vocabulary has these ids; see `image_token_id` and its neighbours in each family's configuration.
ENDOFTEXT, IM_START, IM_END = 151_643, 151_644, 151_645
VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD = 151_652, 151_653, 151_655, 151_656
SYSTEM, USER, ASSISTANT = 8948, 872, 77_091
ROLES = (SYSTEM, USER, ASSISTANT)
# What families that are not built in begin every text with: DeepSeek, Llama, Mistral, Gemma, gpt-oss.
FIRST_TOKENS = (0, 1, 2, 100_000, 128_000, 151_646, 199_998)
NEWLINE = 198


@dataclass(frozen=True)
class Profile:
    """What a model family fixes.

    pad, image_pad, video_pad, vision_start, vision_end, turn_start, turn_end: token ids; None where there is none or it
    is not known. merge_size: patches per side that become one token. patch_size: pixels per side of a patch.
    temporal_patch_size: frames in a patch. ignore_index: the label that is not supervised. label_shift: 0 where
    `labels[i]` is the token at i (the model shifts), 1 where it is the token at i + 1 (shifted already).
    position_rows: of `position_ids`: one text row, and three of mRoPE where the family has it.
    videos: how the temporal row counts a video's frames: `frames` one by one, `seconds` by `tokens_per_second`,
    `timestamps` each frame is a grid of its own with text between. first_coordinate, coordinates: the id of the first
    coordinate token, and how many follow one another.
    """

    name: str
    pad: int | None = None
    image_pad: int | None = None
    video_pad: int | None = None
    vision_start: int | None = None
    vision_end: int | None = None
    turn_start: int | None = None
    turn_end: int | None = None
    merge_size: int = MERGE
    patch_size: int | None = None
    temporal_patch_size: int = TEMPORAL_PATCH
    ignore_index: int = IGNORE_INDEX
    label_shift: int = 0
    position_rows: int = 4
    videos: str = ""
    tokens_per_second: float = 1.0
    first_coordinate: int | None = None
    coordinates: int = 0

    @property
    def mrope_rows(self) -> int:
        """Rows of `position_ids` beside the text row: temporal, height and width, or none."""
        return self.position_rows - 1

    @property
    def pixel_width(self) -> int | None:
        """Width of a row of `pixel_values`: channels x frames x height x width of a patch."""
        return self.patch_size and CHANNELS * self.temporal_patch_size * self.patch_size**2

    @property
    def has_vision(self) -> bool:
        """Whether the token of an image or a video is known."""
        return self.image_pad is not None or self.video_pad is not None

    def merged(self, grid: Sequence[int]) -> int:
        """Tokens that an image or video of `grid` (t, h, w) in patches becomes."""
        return math.prod(grid) // self.merge_size**2


_TOKENS: dict[str, str] = {
    "pad": "<|endoftext|>",
    "turn_start": "<|im_start|>",
    "turn_end": "<|im_end|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "image_pad": "<|image_pad|>",
    "video_pad": "<|video_pad|>",
}
_QWEN = Profile(
    "qwen_vl",
    pad=ENDOFTEXT,
    turn_start=IM_START,
    turn_end=IM_END,
    vision_start=VISION_START,
    vision_end=VISION_END,
    image_pad=IMAGE_PAD,
    video_pad=VIDEO_PAD,
)
BUILT_IN: dict[str, Profile] = {
    p.name: p
    for p in (
        replace(_QWEN, name="qwen2_vl", patch_size=14, videos=FRAMES),
        replace(_QWEN, name="qwen2_5_vl", patch_size=14, videos=SECONDS, tokens_per_second=2.0),
        replace(_QWEN, name="qwen3_vl", patch_size=PATCH, videos=TIMESTAMPS),
        Profile("text", position_rows=1),
    )
}
QWEN3_VL = BUILT_IN["qwen3_vl"]
_COORDINATE = "<|coord_0|>"


def named(word: str) -> Profile:
    """A profile as `--profile` names it: a built-in name, a `config.json`, or a folder of a tokenizer or model; then,
    if need be, single values: `qwen3_vl,label_shift=1`.

    Raises:
        ValueError: in one line, what there is instead.
    """
    first, *changes = word.split(",")
    place = Path(first)
    if first in BUILT_IN:
        found = BUILT_IN[first]
    elif place.is_dir():
        found = of_tokenizer(place)
    elif place.is_file():
        found = of_config(place)
    else:
        raise ValueError(f"no profile is called {first!r}: use one of {', '.join(BUILT_IN)}, a folder or a config.json")
    return replace(found, **dict(_change(c) for c in changes)) if changes else found


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    kinds = {f.name: f.type for f in dataclasses.fields(Profile) if f.name != "name"}
    if name not in kinds:
        raise ValueError(f"a profile has no {name!r}: use one of {', '.join(kinds)}")
    try:
        return name, value if name == "videos" else float(value) if name == "tokens_per_second" else int(value)
    except ValueError:
        raise ValueError(f"{name} of a profile is a number, not {value!r}") from None


def of_config(path: Path | str) -> Profile:
    """The profile of a model, from its `config.json`: what it does not say is its family's.

    Raises:
        ValueError: the file holds no JSON object.
    """
    return of_values(_read(Path(path)))


def of_values(config: Mapping[str, Any]) -> Profile:
    """As `of_config`, of a config that is read already (`model.config.to_dict()`)."""
    family = str(config.get("model_type", "")).removesuffix("_moe")
    vision = config.get("vision_config") or {}
    text = config.get("text_config") or config
    known = BUILT_IN.get(family) or _kin(config, text)
    given: dict[str, Any] = {
        "image_pad": config.get("image_token_id"),
        "video_pad": config.get("video_token_id"),
        "vision_start": config.get("vision_start_token_id"),
        "vision_end": config.get("vision_end_token_id"),
        "pad": config.get("pad_token_id", text.get("pad_token_id")),
        "merge_size": vision.get("spatial_merge_size"),
        "patch_size": vision.get("patch_size", vision.get("spatial_patch_size")),
        "temporal_patch_size": vision.get("temporal_patch_size"),
        "tokens_per_second": vision.get("tokens_per_second") if known.videos == SECONDS else None,
    }
    return replace(known, name=family or known.name, **{n: v for n, v in given.items() if v is not None})


def _kin(config: Mapping[str, Any], text: Mapping[str, Any]) -> Profile:
    """What is known of a family that is not built in: how its positions count, by its rope's sections."""
    ropes = [t.get(n) for t in (config, text) for n in ("rope_scaling", "rope_parameters")]
    sections = any(isinstance(r, Mapping) and "mrope_section" in r for r in ropes)
    vision = config.get("vision_config") and "image_token_id" in config
    return _QWEN if vision and sections else BUILT_IN["text"]


def of_tokenizer(folder: Path | str) -> Profile:
    """The profile of a tokenizer's or model's folder: `tokenizer.json`, `added_tokens.json` or `tokenizer_config.json`
    for the ids, `config.json` or the processor's files for the rest.

    Raises:
        ValueError: it holds none of the first three, or one that is no JSON object.
    """
    place = Path(folder)
    ids = _special_tokens(place)
    if not ids:
        raise ValueError(f"{place.name} holds no tokenizer: no added tokens in tokenizer.json or beside it")
    base = of_config(place / "config.json") if (place / "config.json").is_file() else _family(place, ids)
    settings = _optional(place / "tokenizer_config.json")
    pad = settings.get("pad_token")
    pad = pad.get("content") if isinstance(pad, dict) else pad
    found: dict[str, Any] = {n: ids[t] for n, t in _TOKENS.items() if t in ids}
    found |= {"pad": ids[pad]} if pad in ids else {}
    if base.image_pad is None:  # a text model whose vocabulary happens to hold the tokens of another
        found = {n: i for n, i in found.items() if n in ("pad", "turn_start", "turn_end")}
    return replace(base, **found, **_coordinates(ids))


def of_vocabulary(ids: Mapping[str, int], base: Profile | None = None) -> Profile:
    """A profile with the ids that a vocabulary gives the special tokens; one that it lacks is not there.

    Args:
        base: what else is known; by default of the Qwen-VL families, where the vocabulary has their image token.
    """
    known = base or (_QWEN if _TOKENS["image_pad"] in ids else BUILT_IN["text"])
    found: dict[str, Any] = {n: ids.get(t) for n, t in _TOKENS.items()}
    return replace(known, **found, **_coordinates(ids))


def _coordinates(ids: Mapping[str, int]) -> dict[str, Any]:
    """The first coordinate token, and how many follow it one by one."""
    first, number = ids.get(_COORDINATE), 0
    if first is None:
        return {}
    while ids.get(f"<|coord_{number}|>") == first + number:
        number += 1
    return {"first_coordinate": first, "coordinates": number}


def _family(place: Path, ids: Mapping[str, int]) -> Profile:
    """The family by what the processor's files say, else by what the vocabulary has."""
    image, settings = _optional(place / "preprocessor_config.json"), _optional(place / "tokenizer_config.json")
    processor = str(image.get("processor_class") or settings.get("processor_class") or "")
    family = {"Qwen2VL": "qwen2_vl", "Qwen2_5_VL": "qwen2_5_vl", "Qwen3VL": "qwen3_vl"}.get(
        processor.partition("Processor")[0]
    )
    known = BUILT_IN[family] if family else _QWEN if _TOKENS["image_pad"] in ids else BUILT_IN["text"]
    sizes = {n: image[n] for n in ("merge_size", "patch_size", "temporal_patch_size") if isinstance(image.get(n), int)}
    return replace(known, **sizes)


def _special_tokens(place: Path) -> dict[str, int]:
    """Ids of the tokens that a tokenizer adds to its vocabulary."""
    found = {t: i for t, i in _optional(place / "added_tokens.json").items() if isinstance(i, int)}
    decoder = _optional(place / "tokenizer_config.json").get("added_tokens_decoder") or {}
    found |= {t["content"]: int(i) for i, t in decoder.items()}
    return found | {t["content"]: t["id"] for t in _optional(place / "tokenizer.json").get("added_tokens") or []}


def _optional(path: Path) -> dict[str, Any]:
    return _read(path) if path.is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} can't be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return found


def of_batch(tensors: Mapping[str, Any]) -> Profile:
    """What a batch itself shows of its family: the width of its pixel rows, its image tokens, its rows of positions.

    Args:
        tensors: arrays by name, as `boundaries.packing.artifact.TENSORS` lists them.

    The image tokens are None where a grid is there and no known one stands in the ids: then only a named profile tells.
    """
    pixels: Any = tensors.get("pixel_values", tensors.get("pixel_values_videos"))
    width = pixels.shape[-1] if getattr(pixels, "ndim", 0) > 1 else None
    grids = any(n in tensors for n in ("image_grid_thw", "video_grid_thw"))
    ids = tensors.get("input_ids")
    shown = {n: ids is not None and bool((ids == getattr(_QWEN, n)).any()) for n in ("image_pad", "video_pad")}
    positions: Any = tensors.get("position_ids")
    if not grids and width is None and not any(shown.values()):
        return _QWEN if _has_mrope(positions, ids) else _text(ids)
    found = BUILT_IN["qwen3_vl"] if width == BUILT_IN["qwen3_vl"].pixel_width else _QWEN
    if "second_per_grid_ts" in tensors:
        found = BUILT_IN["qwen2_5_vl"]
    elif width == BUILT_IN["qwen2_vl"].pixel_width:
        found = replace(_QWEN, patch_size=BUILT_IN["qwen2_vl"].patch_size)
    if ids is not None and not any(shown.values()):
        return replace(found, image_pad=None, video_pad=None)
    return BUILT_IN["qwen3_vl"] if not found.videos and shown["video_pad"] and _frame_by_frame(tensors) else found


def _has_mrope(positions: Any, ids: Any) -> bool:
    """Whether positions have rows beside each other for one token: [3, 1, L], or [3, L] of a single row of tokens."""
    dims = getattr(positions, "ndim", 0)
    single = ids is None or ids.ndim == 1 or len(ids) == 1
    return dims == 3 or (dims == 2 and single and len(positions) in (_QWEN.mrope_rows, _QWEN.position_rows))


def _text(ids: Any) -> Profile:
    """A text model; where turns are written as Qwen writes them, with the tokens that open and end one."""
    found, flat = BUILT_IN["text"], getattr(ids, "reshape", lambda _: None)(-1)
    if flat is None or flat.dtype.kind not in "iu":
        return found
    heads = flat[1:][flat[:-1] == IM_START]
    if not any(bool((heads == role).any()) for role in ROLES):
        return found
    return replace(found, pad=ENDOFTEXT, turn_start=IM_START, turn_end=IM_END)


def _frame_by_frame(tensors: Mapping[str, Any]) -> bool:
    """Whether a video's pads stand in as many runs as it has frames, as with timestamps between them."""
    grid: Any = tensors.get("video_grid_thw")
    if getattr(grid, "ndim", 0) != 2:
        return False
    pads = tensors["input_ids"].reshape(-1) == _QWEN.video_pad
    runs = int(pads[0]) + int((pads[1:] & ~pads[:-1]).sum())
    return len(grid) < runs == int(grid[:, 0].sum())
