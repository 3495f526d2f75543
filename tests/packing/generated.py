"""Right batches of every kind, made at random: samples with their own positions, then what frameworks make of them.

Nothing here asks the library: positions are counted while a sample is written, layouts are written from what each
framework's collator does. `broken.py` puts one fault into such a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

Array = Any
Tensors = dict[str, Any]
Grid = tuple[int, int, int]
IGNORED, PAD, IM_START, IM_END = -100, 151643, 151644, 151645
VISION_START, VISION_END, IMAGE, VIDEO = 151652, 151653, 151655, 151656
SYSTEM, USER, ASSISTANT, NEWLINE = 8948, 872, 77091, 198
BOS, EOT, HEAD, HEAD_END, LLAMA_PAD = 128000, 128009, 128006, 128007, 128004
WIDTHS = {"qwen2_vl": 1176, "qwen2_5_vl": 1176, "qwen3_vl": 1536}
FAMILIES = (*WIDTHS, "qwen text", "llama text")


@dataclass
class Sample:
    """One sample. rows: temporal, height, width [3, n]; images, videos: grids; seconds: of each video. pixels: of both
    kinds, one number a patch. turns: where assistant turns are, as (first token of the answer, its end token)."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    images: list[Grid] = field(default_factory=list)
    videos: list[Grid] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    pixels: dict[str, list[float]] = field(default_factory=lambda: {"image": [], "video": []})
    turns: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0

    def text(self, tokens: list[int], supervised: bool = False) -> None:
        for token in tokens:
            self.ids.append(token)
            self.labels.append(token if supervised else IGNORED)
            self.rows.append((self.at,) * 3)
            self.at += 1

    def cells(self, pad: int, grid: Grid, step: float = 1) -> None:
        """Pads of one grid, in patches, at the next position."""
        t, h, w = grid[0], grid[1] // 2, grid[2] // 2
        for k in range(t):
            for y in range(h):
                for x in range(w):
                    self.ids.append(pad)
                    self.labels.append(IGNORED)
                    self.rows.append((self.at + int(k * step), self.at + y, self.at + x))
        self.at = max(max(r) for r in self.rows[-t * h * w :]) + 1


@dataclass
class Made:
    """A batch, how it came about, and what it was made of. parts: the samples in order; places: row and first token of
    each."""

    layout: str
    family: str
    tensors: Tensors
    parts: list[Sample]
    places: list[tuple[int, int]]
    shift: int = 0


def words(rng: np.random.Generator, low: int, high: int) -> list[int]:
    return rng.integers(1000, 70_000, rng.integers(low, high)).tolist()


def image(one: Sample, rng: np.random.Generator) -> None:
    grid = (1, 2 * int(rng.integers(1, 4)), 2 * int(rng.integers(1, 5)))
    one.text([VISION_START])
    one.cells(IMAGE, grid)
    one.text([VISION_END])
    one.images.append(grid)
    one.pixels["image"] += rng.random(grid[1] * grid[2]).round(3).tolist()


def video(one: Sample, rng: np.random.Generator, family: str, whole: bool) -> None:
    """whole: the seconds between frames are cut to whole ones, as transformers does; else they are not, as verl."""
    grid = (int(rng.integers(1, 4)), 2 * int(rng.integers(1, 4)), 2 * int(rng.integers(1, 4)))
    seconds = float(rng.choice([0.5, 1.0, 1.5, 2.0])) if family == "qwen2_5_vl" else 1.0
    if family == "qwen3_vl":
        for _ in range(grid[0]):
            one.text(words(rng, 2, 4))
            one.text([VISION_START])
            one.cells(VIDEO, (1, *grid[1:]))
            one.text([VISION_END])
    else:
        one.text([VISION_START])
        one.cells(VIDEO, grid, (int(seconds) if whole else seconds) * 2 if family == "qwen2_5_vl" else 1)
        one.text([VISION_END])
    one.videos.append(grid)
    one.seconds.append(seconds)
    one.pixels["video"] += rng.random(int(np.prod(grid))).round(3).tolist()


def sample(rng: np.random.Generator, family: str, kinds: str, newline: bool, whole: bool) -> Sample:
    one = Sample()
    if family == "llama text":
        one.text([BOS])
        for _ in range(rng.integers(1, 3)):
            one.text([HEAD, *words(rng, 1, 2), HEAD_END, *words(rng, 2, 8), EOT, HEAD, *words(rng, 1, 2), HEAD_END])
            start = len(one.ids)
            one.text([*words(rng, 2, 9), EOT], supervised=True)
            one.turns.append((start, len(one.ids) - 1))
        return one
    if rng.random() < 0.7:
        one.text([IM_START, SYSTEM, NEWLINE, *words(rng, 3, 7), IM_END, NEWLINE])
    for _ in range(rng.integers(1, 3)):
        one.text([IM_START, USER, NEWLINE])
        for _ in range(rng.integers(0, 3) if kinds else 0):
            video(one, rng, family, whole) if rng.choice(list(kinds)) == "v" else image(one, rng)
        one.text([*words(rng, 1, 6), IM_END, NEWLINE, IM_START, ASSISTANT, NEWLINE])
        start = len(one.ids)
        one.text([*words(rng, 2, 9), IM_END], supervised=True)
        one.turns.append((start, len(one.ids) - 1))
        one.text([NEWLINE], supervised=newline)
    return one


def samples(rng: np.random.Generator, family: str, count: int | None = None) -> list[Sample]:
    kinds = str(rng.choice(["", "i", "i", "v", "iv", "iv"])) if family in WIDTHS else ""
    newline, whole = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    return [sample(rng, family, kinds, newline, whole) for _ in range(count or rng.integers(2, 6))]


@dataclass
class Joined:
    """Samples one after the other, each filled up to a multiple. ends: of the places; real: lengths."""

    ids: Array
    labels: Array
    rows: Array
    numbers: Array
    ends: Array
    real: Array

    @property
    def text(self) -> Array:
        return np.concatenate([np.arange(b - a) for a, b in pairwise(self.ends)])


def joined(parts: list[Sample], multiple: int = 1, pad: int = PAD) -> Joined:
    ids, labels, rows, numbers, ends = [], [], [], [], [0]
    for number, one in enumerate(parts, 1):
        n = len(one.ids)
        rest = -n % multiple
        ids.append([*one.ids, *[pad] * rest])
        labels.append([*one.labels, *[IGNORED] * rest])
        rows.append(np.concatenate([np.array(one.rows).T, np.tile(one.at + np.arange(rest), (3, 1))], axis=1))
        numbers.append(np.full(n + rest, number))
        ends.append(ends[-1] + n + rest)
    flat = [np.concatenate(v, axis=-1).astype(np.int64) for v in (ids, labels, rows, numbers)]
    return Joined(*flat, np.array(ends, np.int32), np.array([len(p.ids) for p in parts]))


def vision(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """Grids and pixel rows of all samples in order."""
    made: Tensors = {}
    for kind, grids, name in (
        ("image", [g for p in parts for g in p.images], "pixel_values"),
        ("video", [g for p in parts for g in p.videos], "pixel_values_videos"),
    ):
        if not grids:
            continue
        made[f"{kind}_grid_thw"] = np.array(grids)
        values = np.array([v for p in parts for v in p.pixels[kind]], np.float32)
        made[name] = np.broadcast_to(values[:, None], (len(values), WIDTHS[family]))
    if family == "qwen2_5_vl" and "video_grid_thw" in made:
        made["second_per_grid_ts"] = np.array([s for p in parts for s in p.seconds], np.float32)
    return made


def mrope(j: Joined, family: str) -> Array:
    """[3, 1, L], or of a text family [1, L]."""
    return j.rows[:, None] if family in WIDTHS else j.text[None]


Layout = Callable[[list[Sample], str, np.random.Generator], Tensors]
PACKED: dict[str, Layout] = {}
PADDED: dict[str, Layout] = {}
SHIFTED: set[str] = set()


def packs(name: str, shifted: bool = False) -> Callable[[Layout], Layout]:
    def register(layout: Layout) -> Layout:
        PACKED[name] = layout
        SHIFTED.update({name} if shifted else ())
        return layout

    return register


def pads(name: str, shifted: bool = False) -> Callable[[Layout], Layout]:
    def register(layout: Layout) -> Layout:
        PADDED[name] = layout
        SHIFTED.update({name} if shifted else ())
        return layout

    return register


def bounds(ends: Array) -> Tensors:
    longest = np.int32(np.diff(ends).max())
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def tokens(j: Joined) -> Tensors:
    return {"input_ids": j.ids[None], "labels": j.labels[None]}


@packs("ms-swift")
def swift(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    return {**tokens(j), "position_ids": mrope(j, family), "text_position_ids": j.text[None], **bounds(j.ends)}


@packs("ms-swift, four rows")
def swift_four(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    rows = np.concatenate([j.text[None], j.rows])[:, None] if family in WIDTHS else j.text[None]
    return {**tokens(j), "position_ids": rows, **(bounds(j.ends) if rng.random() < 0.5 else {})}


@packs("ms-swift, filled up")
def swift_filled(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """The row filled up to a multiple: each pad a segment of its own, or all of them one that counts on."""
    j = joined(parts)
    rest = -len(j.ids) % 16 or 16
    count = np.zeros(rest, np.int64) if rng.random() < 0.5 else np.arange(rest)
    more = np.arange(1, rest + 1) if not count.any() else [rest]
    ends = np.append(j.ends, j.ends[-1] + np.array(more)).astype(np.int32)
    rows = np.concatenate([j.rows, np.tile(count, (3, 1))], axis=1)
    text = np.append(j.text, count)
    made = {
        "input_ids": np.append(j.ids, [PAD] * rest)[None],
        "labels": np.append(j.labels, [IGNORED] * rest)[None],
        "text_position_ids": text[None],
        "position_ids": rows[:, None] if family in WIDTHS else text[None],
    }
    return made | bounds(ends)


@packs("TRL, flattened")
def trl_flat(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    made = {**tokens(j), "position_ids": mrope(j, family)}
    if family in WIDTHS or rng.random() < 0.6:
        made |= bounds(j.ends)
    if rng.random() < 0.5:
        made["seq_idx"] = (j.numbers - 1)[None].astype(np.int32)
    return made


@packs("LLaMA-Factory, numbered mask")
def factory(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    rest = int(rng.integers(0, 9))
    rows = np.pad(mrope(j, family), [*[(0, 0)] * (mrope(j, family).ndim - 1), (0, rest)])
    return {
        "input_ids": np.append(j.ids, [PAD] * rest)[None].astype(np.int64),
        "labels": np.append(j.labels, [IGNORED] * rest)[None].astype(np.int64),
        "attention_mask": np.append(j.numbers, [0] * rest)[None].astype(np.int64),
        "position_ids": rows,
    }


@packs("LLaMA-Factory, temporal row copied")
def factory_copied(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    rows = np.concatenate([j.rows[:1], j.rows])[:, None] if family in WIDTHS else j.text[None]
    return {**tokens(j), "position_ids": rows}


def block(kind: str) -> Layout:
    def layout(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
        j = joined(parts)
        seen = (j.numbers[:, None] == j.numbers[None]) & np.tri(len(j.ids), dtype=bool)
        mask: Any = seen if kind == "bool" else seen.astype(np.int64)
        if kind == "added":
            mask = np.where(seen, 0, np.finfo(np.float32).min).astype(np.float32)
        return {**tokens(j), "attention_mask": mask[None, None], "position_ids": mrope(j, family)}

    return layout


for _kind in ("bool", "ints", "added"):
    packs(f"LLaMA-Factory, block mask, {_kind}")(block(_kind))


@packs("axolotl")
def axolotl(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """Several rows of packs, filled up at their ends, with a mask that numbers the samples of each."""
    cut = max(1, len(parts) // 2)
    each = [joined(p) for p in (parts[:cut], parts[cut:]) if p]
    longest = max(len(j.ids) for j in each)
    made = []
    for j in each:
        rest = longest - len(j.ids)
        rows = mrope(j, family)
        made.append(
            (
                np.append(j.ids, [PAD] * rest),
                np.append(j.labels, [IGNORED] * rest),
                np.append(j.numbers, [0] * rest),
                np.pad(rows, [*[(0, 0)] * (rows.ndim - 1), (0, rest)]),
            )
        )
    ids, labels, mask, rows = zip(*made, strict=True)
    stacked = {"input_ids": np.stack(ids), "labels": np.stack(labels), "attention_mask": np.stack(mask)}
    stacked = {n: a.astype(np.int64) for n, a in stacked.items()}
    return stacked | {"position_ids": np.concatenate(rows, axis=1 if family in WIDTHS else 0)}


def shifted_labels(j: Joined) -> Array:
    labels = j.labels.copy()
    for a, b in pairwise(j.ends):
        labels[a:b] = np.append(labels[a + 1 : b], IGNORED)
    return labels


@packs("Megatron, padded THD", shifted=True)
def megatron(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts, int(rng.choice([1, 4, 8])))
    labels = shifted_labels(j)
    real = np.concatenate([[0], np.cumsum(j.real)]).astype(np.int32)
    longest = int(np.diff(j.ends).max())
    params = {"cu_seqlens_q": real, "cu_seqlens_kv": real, "max_seqlen_q": longest, "max_seqlen_kv": longest}
    params |= {"cu_seqlens_q_padded": j.ends, "cu_seqlens_kv_padded": j.ends}
    made = {"tokens": j.ids[None], "labels": labels[None], "loss_mask": (labels != IGNORED).astype(np.float32)[None]}
    if rng.random() < 0.3:
        made["attention_mask"] = np.triu(np.ones((len(j.ids),) * 2, bool), 1)[None, None]  # true hides; not read
    return {**made, "position_ids": mrope(j, family), **{f"packed_seq_params.{n}": v for n, v in params.items()}}


@packs("Megatron-Bridge", shifted=True)
def bridge(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """Bounds filled up with -1 to those of the longest list, and how many count."""
    j = joined(parts, 4)
    labels = shifted_labels(j)
    real = np.concatenate([[0], np.cumsum(j.real)]).astype(np.int32)
    rest = [-1] * int(rng.integers(1, 4))
    return {
        "tokens": j.ids[None],
        "labels": labels[None],
        "loss_mask": (labels != IGNORED).astype(np.float32)[None],
        "position_ids": mrope(j, family),
        "cu_seqlens": np.append(j.ends, rest)[None].astype(np.int32),
        "cu_seqlens_argmin": np.array([[len(j.ends)]], np.int32),
        "cu_seqlens_unpadded": np.append(real, rest)[None].astype(np.int32),
        "cu_seqlens_unpadded_argmin": np.array([[len(j.ends)]], np.int32),
        "max_seqlen": np.array([[np.diff(j.ends).max()]], np.int32),
    }


@packs("Automodel, numbered mask", shifted=True)
def automodel(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """Each sample without its last token in the ids and without its first in the labels."""
    j = joined(parts)
    keep = np.ones(len(j.ids), bool)
    keep[j.ends[1:] - 1] = False
    later = np.append(j.labels[1:], IGNORED)
    rows = mrope(j, family)[..., keep]
    return {
        "input_ids": j.ids[keep][None],
        "labels": later[keep][None],
        "attention_mask": j.numbers[keep][None],
        "position_ids": rows,
    }


@packs("Automodel, THD", shifted=True)
def automodel_thd(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts, int(rng.choice([1, 8])))
    rest = [-1000] * int(rng.integers(0, 3))
    return {
        "input_ids": j.ids[None],
        "labels": shifted_labels(j)[None],
        "position_ids": mrope(j, family),
        "seq_lens": np.append(j.real, rest)[None].astype(np.int64),
        "seq_lens_padded": np.append(np.diff(j.ends), rest)[None].astype(np.int64),
    }


@packs("AReaL")
def areal(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """One dimension, a mask of what is trained on and no labels."""
    j = joined(parts)
    made = {"input_ids": j.ids, "loss_mask": (j.labels != IGNORED).astype(np.int32), "cu_seqlens": j.ends}
    made |= {"max_seqlen": int(np.diff(j.ends).max()), "logprobs": rng.random(len(j.ids)).astype(np.float32)}
    return made | {"position_ids": j.rows if family in WIDTHS else j.text}


@packs("torchtune")
def torchtune(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """A block mask of three dimensions, in which each pad sees itself, and positions that go on over the pads."""
    j = joined(parts)
    rest = int(rng.integers(0, 5))
    count = len(j.ids) + rest
    mask = np.eye(count, dtype=bool)
    mask[: len(j.ids), : len(j.ids)] = (j.numbers[:, None] == j.numbers[None]) & np.tri(len(j.ids), dtype=bool)
    rows = mrope(j, family)
    tail = np.broadcast_to(rows[..., -1:] + 1 + np.arange(rest), (*rows.shape[:-1], rest))
    return {
        "tokens": np.append(j.ids, [PAD] * rest)[None].astype(np.int64),
        "labels": np.append(j.labels, [IGNORED] * rest)[None].astype(np.int64),
        "input_pos": np.concatenate([rows, tail], axis=-1),
        "mask": mask[None],
    }


@packs("document numbers")
def documents(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    names = rng.choice(["document_ids", "segment_ids"])
    return {**tokens(j), "position_ids": mrope(j, family), names: j.numbers[None] - int(rng.integers(0, 2))}


@packs("numbered mask, places filled up")
def numbered_places(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """Each sample filled up to a multiple with pads that the mask hides."""
    j = joined(parts, 8)
    own = np.concatenate([np.arange(b - a) < n for (a, b), n in zip(pairwise(j.ends), j.real, strict=True)])
    rows = np.where(own, mrope(j, family), int(rng.integers(0, 2)))
    return {**tokens(j), "attention_mask": np.where(own, j.numbers, 0)[None], "position_ids": rows}


@packs("lengths")
def by_lengths(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    j = joined(parts)
    return {**swift(parts, family, rng), "lengths": j.real}


@pads("right padded")
def right_padded(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    return padded(parts, family, rng, left=False)


@pads("left padded")
def left_padded(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    return padded(parts, family, rng, left=True)


def padded(parts: list[Sample], family: str, rng: np.random.Generator, left: bool, with_rows: bool = False) -> Tensors:
    """Rows of one sample each, as TRL, ms-swift and LLaMA-Factory collate them without packing."""
    pad = LLAMA_PAD if family == "llama text" else PAD
    longest = max(len(p.ids) for p in parts) + int(rng.integers(0, 3))
    fill = int(rng.integers(0, 2))  # what positions of pads are

    def filled(values: Any, value: int) -> Array:
        rest = [value] * (longest - len(values))
        return np.array([*rest, *values] if left else [*values, *rest])

    made = {
        "input_ids": np.stack([filled(p.ids, pad) for p in parts]),
        "labels": np.stack([filled(p.labels, IGNORED) for p in parts]),
        "attention_mask": np.stack([filled([1] * len(p.ids), 0) for p in parts]),
    }
    style = "own" if with_rows else rng.choice(["none", "own", "counted"])
    if style != "none":
        rows = [np.stack([filled([r[k] for r in p.rows], fill) for k in range(3)]) for p in parts]
        text = np.stack([filled(range(len(p.ids)), fill) for p in parts])
        if style == "counted" and left and family not in WIDTHS:
            text = np.tile(np.arange(longest), (len(parts), 1))
        made["position_ids"] = np.stack(rows, axis=1) if family in WIDTHS else text
    return made


@pads("padded, square mask")
def padded_square(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """As transformers makes it of the flags: of every row, causal, without the pads."""
    left = bool(rng.random() < 0.5)
    made = padded(parts, family, rng, left)
    flags, count = made["attention_mask"], made["attention_mask"].shape[1]
    seen = (flags[:, None, :] != 0) & np.tri(count, dtype=bool)[None]
    if rng.random() < 0.5:  # pads see themselves, so that no row of the softmax is empty
        seen |= np.eye(count, dtype=bool)
    mask: Any = seen if rng.random() < 0.5 else np.where(seen, 0, np.finfo(np.float32).min).astype(np.float32)
    return {**made, "attention_mask": mask[:, None]}


@pads("verl")
def verl(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """Prompts padded at the left, responses at the right; positions of each row first."""
    pad = LLAMA_PAD if family == "llama text" else PAD
    starts = [p.turns[-1][0] for p in parts]
    before, behind = max(starts), max(len(p.ids) - s for p, s in zip(parts, starts, strict=True))
    made: dict[str, list[Any]] = {n: [] for n in ("input_ids", "attention_mask", "position_ids", "response_mask")}
    for p, s in zip(parts, starts, strict=True):
        left, right = before - s, behind - (len(p.ids) - s)
        rows = np.array(p.rows).T if family in WIDTHS else np.arange(len(p.ids))[None]
        if family in WIDTHS and rng.random() < 0:
            rows = np.concatenate([np.arange(len(p.ids))[None], rows])
        made["input_ids"].append([*[pad] * left, *p.ids, *[pad] * right])
        made["attention_mask"].append([*[0] * left, *[1] * len(p.ids), *[0] * right])
        made["position_ids"].append(np.pad(rows, [(0, 0), (left, right)]))
        made["response_mask"].append([*[1] * (len(p.ids) - s), *[0] * right])
    stacked: Tensors = {n: np.array(v) for n, v in made.items()}
    if family not in WIDTHS:
        stacked["position_ids"] = stacked["position_ids"][:, 0]
    stacked["responses"] = stacked["input_ids"][:, before:]
    return stacked | {"advantages": rng.random(stacked["response_mask"].shape).astype(np.float32)}


@pads("Megatron-LM", shifted=True)
def megatron_rows(parts: list[Sample], family: str, rng: np.random.Generator) -> Tensors:
    """A causal mask in which true hides, labels shifted already."""
    made = padded(parts, family, rng, left=False, with_rows=family in WIDTHS)
    ids, count = made["input_ids"], made["input_ids"].shape[1]
    labels = np.concatenate([made["labels"][:, 1:], np.full((len(ids), 1), IGNORED)], axis=1)
    mask = np.triu(np.ones((count, count), bool), 1)[None, None]
    return {
        "tokens": ids,
        "labels": np.where(labels == IGNORED, 0, labels),
        "loss_mask": (labels != IGNORED).astype(np.float32),
        "attention_mask": mask if rng.random() < 0.5 else np.repeat(mask, len(ids), axis=0),
        "position_ids": made["position_ids"] if family in WIDTHS else np.tile(np.arange(count), (len(ids), 1)),
    }


LAYOUTS = {**PACKED, **PADDED}
RENAMED = {
    "cu_seq_lens_q": ("cu_seqlens_q", "cu_seqlens"),
    "cu_seq_lens_k": ("cu_seqlens_k",),
    "max_length_q": ("max_seqlen_q",),
    "max_length_k": ("max_seqlen_k",),
}
VISUAL = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
NO_TEXT = ("Megatron-LM",)  # layouts that have no mRoPE


def everything(one: Sample) -> Sample:
    """The sample with all of its text supervised but the first token, as for language modelling."""
    one.labels = [IGNORED if t in (IMAGE, VIDEO) else t for t in one.ids]
    one.labels[0] = IGNORED
    return one


def right(rng: np.random.Generator, layout: str = "", family: str = "", *, prompts: bool = False) -> Made:
    """A batch without a fault. prompts: they are supervised too."""
    layout = layout or str(rng.choice(list(LAYOUTS)))
    family = family or str(rng.choice(FAMILIES))
    parts = samples(rng, family)
    parts = [everything(p) for p in parts] if prompts else parts
    tensors = {n: np.asarray(a) for n, a in LAYOUTS[layout](parts, family, rng).items()}
    if family in WIDTHS:
        tensors |= vision(parts, family, rng)
        if layout.startswith(("LLaMA", "right", "left", "TRL")) and rng.random() < 0.4:
            ids = tensors["input_ids"]
            tensors["mm_token_type_ids"] = (ids == IMAGE) + 2 * (ids == VIDEO)
        if rng.random() < 0.3:
            tensors = {n: a for n, a in tensors.items() if not n.startswith("pixel")}
    if layout.startswith(("ms-swift", "TRL")) and rng.random() < 0.3:
        names = {ours: str(rng.choice(theirs)) for ours, theirs in RENAMED.items()}
        tensors = {names.get(n, n): a for n, a in tensors.items()}
    return Made(layout, family, tensors, parts, places(layout, tensors, parts), int(layout in SHIFTED))


def places(layout: str, tensors: Tensors, parts: list[Sample]) -> list[tuple[int, int]]:
    """Row and first token of each sample, by looking for its tokens."""
    ids = np.atleast_2d(tensors.get("input_ids", tensors.get("tokens")))
    found, row, at = [], 0, 0
    for one in parts:
        n = len(one.ids) - (layout == "Automodel, numbered mask")
        while ids[row, at : at + n].tolist() != one.ids[:n]:
            at += 1
            if at >= ids.shape[1]:
                row, at = row + 1, 0
        found.append((row, at))
        at += n
    return found
