"""One fault in a right batch: what it is called, where it can be put, and which claim and tensor must tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.packing import generated as g
from tests.packing.generated import IGNORED, IM_END, IM_START, IMAGE, PAD, VIDEO, VISION_START, Made, Tensors

ALIGNED, CU, POSITIONS, LABELS, VISION = (
    f"packing.{n}"
    for n in ("fields_aligned", "cu_seqlens", "positions_restart", "no_cross_boundary_label", "vision_in_order")
)
COVER, PREFIX, CUT, LOSS = (
    "template.labels_cover_assistant",
    "template.prompt_is_prefix",
    "template.no_truncation",
    "packing.loss_equivalent",
)
Change = Callable[[Made, np.random.Generator], Tensors | None]
# name -> change (None where the batch has nothing to break), claims of which one must tell, words of which one is said
FAULTS: dict[str, tuple[Change, tuple[str, ...], tuple[str, ...]]] = {}


def breaks(*claims: str, said: str | tuple[str, ...]) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        name = change.__name__.replace("_", " ")
        FAULTS[name] = change, claims, (said,) if isinstance(said, str) else said
        return change

    return register


def of(made: Made, *names: str) -> tuple[str, Any] | None:
    """The first of these tensors that is there, by its own name."""
    for theirs, a in made.tensors.items():
        last = theirs.rpartition(".")[2]
        if last in names:
            return theirs, np.array(a)
    return None


IDS, ROWS = ("input_ids", "tokens"), ("position_ids",)
BOUNDS_Q, BOUNDS_K = ("cu_seq_lens_q", "cu_seqlens_q", "cu_seqlens"), ("cu_seq_lens_k", "cu_seqlens_k")
LONGEST = ("max_length_q", "max_seqlen_q")
THD = ("Megatron", "Automodel, THD", "AReaL")


def ids_of(made: Made) -> Any:
    return np.atleast_2d(of(made, *IDS)[1])  # type: ignore[index]


def multimodal(made: Made) -> bool:
    return made.family in g.WIDTHS and any(p.images or p.videos for p in made.parts)


def some(change: Change, count: int, seed: int = 0, layout: str = "") -> Iterator[tuple[Made, Tensors]]:
    """Batches of any kind, or of one layout, with this fault, as many as asked for: the batch without it, and the
    tensors with it."""
    for _ in range(200 * count):
        rng = np.random.default_rng(seed)
        seed += 1
        made = g.right(rng, layout)
        tensors = change(made, rng)
        if tensors is None:
            continue
        yield made, tensors
        count -= 1
        if not count:
            return
    raise AssertionError("there is too little to break")


# Bounds -------------------------------------------------------------------------------------------------------------


def bounds_changed(change: Callable[[Any, np.random.Generator], Any], names: tuple[str, ...] = BOUNDS_Q) -> Change:
    def apply(made: Made, rng: np.random.Generator) -> Tensors | None:
        found = of(made, *names)
        if found is None or made.layout.startswith("Megatron") or len(made.parts) < 2:
            return None
        return {**made.tensors, found[0]: change(found[1], rng)}

    return apply


@breaks(CU, ALIGNED, said="cu_seq_lens")
def a_bound_is_lost(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.layout == "AReaL" and made.family in g.WIDTHS:
        return None
    return bounds_changed(lambda a, r: np.delete(a, r.integers(1, len(made.parts))))(made, rng)


@breaks(CU, ALIGNED, said="cu_seq_lens")
def a_bound_is_off_by_one(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.layout == "AReaL" and made.family in g.WIDTHS:
        return None  # told by nothing else; then the mRoPE rows tell, as a fault of theirs
    k = int(rng.integers(1, len(made.parts)))
    return bounds_changed(lambda a, r: a + (np.arange(len(a)) == k).astype(a.dtype))(made, rng)


@breaks(CU, ALIGNED, said="cu_seq_lens")
def a_bound_is_invented(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.layout == "AReaL" and made.family in g.WIDTHS:
        return None
    return bounds_changed(lambda a, r: np.insert(a, 1, a[1] // 2).astype(a.dtype))(made, rng)


@breaks(CU, said="cu_seq_lens")
def the_last_sample_has_no_bound(made: Made, rng: np.random.Generator) -> Tensors | None:
    return bounds_changed(lambda a, r: a[:-1])(made, rng)


@breaks(CU, said="int32")
def bounds_are_int64(made: Made, rng: np.random.Generator) -> Tensors | None:
    return bounds_changed(lambda a, r: a.astype(np.int64))(made, rng)


@breaks(CU, said="cu_seq_lens")
def bounds_do_not_begin_at_zero(made: Made, rng: np.random.Generator) -> Tensors | None:
    return bounds_changed(lambda a, r: a[1:])(made, rng)


@breaks(CU, said="cu_seq_lens_k")
def bounds_of_keys_differ(made: Made, rng: np.random.Generator) -> Tensors | None:
    return bounds_changed(lambda a, r: np.delete(a, 1), BOUNDS_K)(made, rng)


@breaks(CU, said="max_length")
def the_longest_is_too_short(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, *LONGEST)
    if found is None or made.layout.startswith("Megatron"):
        return None
    return {**made.tensors, found[0]: found[1] - 1}


@breaks(CU, said="cu_seq_lens")
def padded_bounds_end_early(made: Made, rng: np.random.Generator) -> Tensors | None:
    names = {n for n in made.tensors if n.rpartition(".")[2] in ("cu_seqlens_q", "cu_seqlens_kv")}
    if made.layout != "Megatron, padded THD":
        return None
    return {**made.tensors, **{n: np.array([0, 5], np.int32) for n in names}}


@breaks(CU, said="cu_seq_lens")
def a_place_is_smaller_than_its_sample(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.layout != "Megatron, padded THD" or len(made.parts) < 2:
        return None
    name, a = of(made, "cu_seqlens_q")  # type: ignore[misc]
    return {**made.tensors, name: a + np.where(np.arange(len(a)) == 1, 9, 0).astype(a.dtype)}


@breaks(CU, ALIGNED, said="lengths")
def lengths_are_another_order(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "lengths")
    if found is None or found[1][0] == found[1][-1]:
        return None
    return {**made.tensors, found[0]: found[1][::-1]}


@breaks(ALIGNED, said="seq_idx")
def sample_numbers_are_shifted(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "seq_idx")
    return None if found is None else {**made.tensors, "seq_idx": np.roll(found[1], 1, axis=-1)}


# Masks --------------------------------------------------------------------------------------------------------------


@breaks(ALIGNED, said="attention_mask")
def the_numbers_of_the_mask_become_ones(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "attention_mask")
    if found is None or found[1].ndim != 2 or found[1].max() < 2:
        return None
    if made.family not in g.WIDTHS and of(made, *ROWS) is None:
        return None
    return {**made.tensors, found[0]: (found[1] != 0).astype(np.int64)}


@breaks(ALIGNED, said="attention_mask")
def a_mask_of_ones_is_added(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.layout.startswith(("ms-swift", "TRL", "lengths")) and len(made.parts) > 1:
        return {**made.tensors, "attention_mask": np.ones_like(ids_of(made))}
    return None


@breaks(ALIGNED, POSITIONS, said=("attention_mask", "row of position_ids", "text position"))
def the_mask_joins_two_samples(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "attention_mask")
    if found is None or found[1].ndim != 2 or found[1].max() < 2:
        return None
    numbers = found[1].copy()
    row = int(np.argmax(numbers.max(axis=1)))
    numbers[row] = np.where(numbers[row] > 1, numbers[row] - 1, numbers[row])
    return {**made.tensors, found[0]: numbers}


def block_mask(made: Made) -> tuple[str, Any] | None:
    found = of(made, "attention_mask")
    return found if found is not None and made.layout.startswith("LLaMA-Factory, block") else None


@breaks(ALIGNED, said="attention_mask")
def a_block_mask_leaks(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = block_mask(made)
    if found is None or len(made.parts) < 2:
        return None
    mask, at = found[1], made.places[1][1]
    mask[0, 0, at + 1, at - 1] = mask.max()
    return {**made.tensors, found[0]: mask}


@breaks(ALIGNED, said="attention_mask")
def a_block_mask_is_only_causal(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = block_mask(made)
    if found is None or len(made.parts) < 2:
        return None
    mask = found[1]
    causal = np.tri(mask.shape[-1], dtype=bool)
    return {**made.tensors, found[0]: np.where(causal, mask.max(), mask.min()).astype(mask.dtype)[None, None][0]}


@breaks(ALIGNED, said="attention_mask")
def a_block_mask_hides_a_token_from_itself(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = block_mask(made)
    if found is None:
        return None
    mask, at = found[1], made.places[0][1] + made.parts[0].turns[0][0]
    mask[..., at, at] = mask.min()
    return {**made.tensors, found[0]: mask}


@breaks(ALIGNED, said=("see each other", "attention_mask"))
def nothing_tells_attention_the_samples(made: Made, rng: np.random.Generator) -> Tensors | None:
    """Three rows of mRoPE only."""
    told = (
        "cu_seq",
        "max_",
        "attention_mask",
        "text_position",
        "seq_",
        "lengths",
        "packed_seq",
        "max_seqlen",
        "docu",
        "segm",
    )
    rows = of(made, *ROWS)
    if made.family not in g.WIDTHS or rows is None or len(made.parts) < 2 or made.layout not in g.PACKED:
        return None
    if rows[1].ndim != 3 or made.layout in ("axolotl", "ms-swift, filled up") or len(ids_of(made)) > 1:
        return None
    return {n: a for n, a in made.tensors.items() if not n.startswith(told)} | {"position_ids": rows[1][-3:]}


@breaks(POSITIONS, said="harmless")
def text_positions_run_on_under_a_mask(made: Made, rng: np.random.Generator) -> Tensors | None:
    """Broken by the rule, harmless by effect: every attention reads the mask."""
    if made.family in g.WIDTHS or not made.layout.startswith("LLaMA-Factory, ") or made.layout.endswith("copied"):
        return None
    if len(made.parts) < 2:
        return None
    return {**made.tensors, "position_ids": np.arange(made.tensors["position_ids"].size)[None]}


# Positions ----------------------------------------------------------------------------------------------------------


def rows_changed(made: Made, change: Callable[[Any], Any]) -> Tensors | None:
    """The three rows of mRoPE [..., 3 last rows ...] changed in place."""
    found = of(made, *ROWS)
    if found is None or made.family not in g.WIDTHS:
        return None
    rows = found[1].copy()
    verl = made.layout == "verl"
    view = np.moveaxis(rows, 1, 0) if verl else rows
    if len(view) < 3:
        return None
    change(view[-3:])
    return None if (rows == found[1]).all() else {**made.tensors, found[0]: rows}


def swap(rows: Any) -> None:
    rows[[1, 2]] = rows[[2, 1]]


@breaks(POSITIONS, said=("height row", "width row"))
def height_and_width_are_exchanged(made: Made, rng: np.random.Generator) -> Tensors | None:
    if not any(g_[1] != g_[2] for p in made.parts for g_ in (*p.images, *p.videos)):
        return None
    return rows_changed(made, swap)


@breaks(POSITIONS, ALIGNED, said=("row of position_ids", "text position", "boundaries"))
def vision_tokens_count_as_text(made: Made, rng: np.random.Generator) -> Tensors | None:
    if not multimodal(made) or not all(max(r) != i for p in made.parts for i, r in enumerate(p.rows[-1:], 0)):
        return None
    if not any(np.prod(x) > 4 for p in made.parts for x in (*p.images, *p.videos)):
        return None
    found = of(made, *ROWS)
    if found is None:
        return None

    def change(rows: Any) -> None:
        flat = rows.reshape(3, -1, rows.shape[-1])
        for (row, at), one in zip(made.places, made.parts, strict=True):
            n = min(len(one.ids), flat.shape[-1] - at)
            flat[:, row, at : at + n] = np.arange(n)

    return rows_changed(made, change)


@breaks(POSITIONS, said=("row of position_ids", "rows run on"))
def mrope_runs_on_over_samples(made: Made, rng: np.random.Generator) -> Tensors | None:
    if len(made.parts) < 2 or made.layout not in g.PACKED or made.layout.endswith("copied") or len(ids_of(made)) > 1:
        return None
    at = made.places[1][1]

    def change(rows: Any) -> None:
        rows[..., at:] += 7

    return rows_changed(made, change)


@breaks(POSITIONS, said="row of position_ids")
def one_position_of_an_image_is_wrong(made: Made, rng: np.random.Generator) -> Tensors | None:
    ids = ids_of(made)
    cells = np.argwhere((ids == IMAGE) | (ids == VIDEO))
    if not len(cells):
        return None
    row, at = cells[int(rng.integers(len(cells)))]

    def change(rows: Any) -> None:
        flat = rows.reshape(3, -1, rows.shape[-1])
        flat[1, row, at] += 1

    return rows_changed(made, change)


@breaks(POSITIONS, said="one row")
def positions_have_one_row(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, *ROWS)
    if found is None or not multimodal(made) or made.layout == "AReaL" or found[1].ndim != 3:
        return None
    count = np.arange(ids_of(made).shape[1])[None] + np.zeros_like(ids_of(made))
    if len(made.parts) > 1 and made.layout in g.PACKED and len(ids_of(made)) == 1:
        starts = [at for _, at in made.places]
        count[0] = np.arange(count.shape[1]) - np.repeat(starts, np.diff([*starts, count.shape[1]]))
        if made.layout == "ms-swift, filled up":
            return None
    elif made.layout in g.PACKED:
        return None
    if made.layout in ("left padded", "verl"):
        return None
    return {n: a for n, a in made.tensors.items() if n != "text_position_ids"} | {found[0]: count}


@breaks(POSITIONS, ALIGNED, said="text position")
def text_positions_run_on(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "text_position_ids") or (of(made, *ROWS) if made.family not in g.WIDTHS else None)
    if found is None or len(made.parts) < 2 or made.layout not in g.PACKED or len(ids_of(made)) > 1:
        return None
    if not of(made, "text_position_ids") and not any("cu_" in n or "mask" in n or "seq_" in n for n in made.tensors):
        return None
    if made.layout == "AReaL":
        return {**made.tensors, found[0]: np.arange(found[1].size)}
    if "attention_mask" in made.tensors or "mask" in made.tensors:
        return None  # harmless: a fault of its own
    return {**made.tensors, found[0]: np.arange(found[1].size)[None]}


@breaks(POSITIONS, ALIGNED, said=("text position", "mRoPE", "boundaries"))
def a_text_position_skips(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "text_position_ids") or (of(made, *ROWS) if made.family not in g.WIDTHS else None)
    if found is None:
        return None
    row, at = made.places[-1]
    a = found[1].copy()
    flat = a.reshape(-1, a.shape[-1])
    flat[row, at + 3 : at + 5] += 2
    return {**made.tensors, found[0]: a}


@breaks(ALIGNED, said="position_ids")
def positions_are_not_padded_with_the_ids(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, *ROWS)
    if found is None or made.layout == "AReaL":
        return None
    return {**made.tensors, found[0]: found[1][..., :-3]}


# Labels -------------------------------------------------------------------------------------------------------------


def labelled(made: Made) -> tuple[str, Any] | None:
    found = of(made, "labels")
    return None if found is None or made.layout == "Megatron-LM" else found


@breaks(ALIGNED, said="labels")
def labels_are_one_short(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "labels")
    return None if found is None else {**made.tensors, "labels": found[1][:, :-1]}


@breaks(LABELS, said="label")
def labels_are_shifted_by_two(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None:
        return None
    by = 2 - made.shift  # by two in all
    return {**made.tensors, "labels": np.pad(found[1][:, by:], [(0, 0), (0, by)], constant_values=IGNORED)}


@breaks(LABELS, said="label")
def labels_are_of_another_row(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None:
        return None
    supervised = np.argwhere(found[1] != IGNORED)
    if len(supervised) < 8:
        return None
    moved = np.roll(found[1], 5, axis=-1)
    return {**made.tensors, "labels": moved} | (
        {"loss_mask": (moved != IGNORED).astype(np.float32)} if "loss_mask" in made.tensors else {}
    )


@breaks(LABELS, said="label")
def one_label_is_another_token(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None:
        return None
    row, at = made.places[0]
    at += made.parts[0].turns[0][0] + 1 - made.shift
    labels = found[1].copy()
    labels[row, at] = 17
    return {**made.tensors, "labels": labels}


@breaks(LABELS, said="first token of a segment")
def the_first_token_of_a_sample_is_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None or made.layout not in g.PACKED or len(made.parts) < 2 or made.layout == "Automodel, numbered mask":
        return None
    (_, _), (row, at) = made.places[0], made.places[-1]
    if at == 0:
        return None
    labels = found[1].copy()
    labels[row, at - made.shift] = ids_of(made)[row, at]
    made_ = {**made.tensors, "labels": labels}
    if made.shift:
        gap = made.places[-2][1] + len(made.parts[-2].ids) < at
        if gap:
            return None  # behind a pad: predicted from that
        if "loss_mask" in made_:
            made_["loss_mask"] = (labels != IGNORED).astype(np.float32)
    return made_


@breaks(ALIGNED, LABELS, said="labels")
def labels_hold_a_negative_number(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None:
        return None
    return {**made.tensors, "labels": np.where(found[1] == IGNORED, -1, found[1])}


@breaks(ALIGNED, LABELS, said="labels")
def labels_are_floats(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    return None if found is None else {**made.tensors, "labels": found[1].astype(np.float32)}


def supervise(made: Made, where: Callable[[Any], Any]) -> Tensors | None:
    """Labels at all tokens that `where` says [rows, L], as the layout has them."""
    found, ids = labelled(made), ids_of(made)
    flags = where(ids)
    if found is None or not flags.any():
        return None
    labels = found[1].copy()
    if made.shift:
        flags = np.roll(flags, -1, axis=1)
        flags[:, -1] = False
        labels = np.where(flags, np.roll(ids, -1, axis=1), labels)
    else:
        labels = np.where(flags, ids, labels)
    if (labels == found[1]).all():
        return None
    more = {"loss_mask": (labels != IGNORED).astype(np.float32)} if "loss_mask" in made.tensors else {}
    return {**made.tensors, "labels": labels, **more}


@breaks(COVER, said="image")
def image_pads_are_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    return supervise(made, lambda ids: ids == IMAGE) if made.family in g.WIDTHS else None


@breaks(COVER, said="video")
def video_pads_are_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    return supervise(made, lambda ids: ids == VIDEO) if made.family in g.WIDTHS else None


@breaks(COVER, said="vision")
def vision_starts_are_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    return supervise(made, lambda ids: ids == VISION_START) if made.family in g.WIDTHS else None


@breaks(COVER, said="opens a turn")
def turn_openers_are_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.family == "llama text":
        return None

    def answers(ids: Any) -> Any:
        """The openers of the assistant's turns."""
        return (ids == IM_START) & (np.roll(ids, -1, axis=1) == g.ASSISTANT)

    return supervise(made, answers)


@breaks(COVER, ALIGNED, LABELS, said=("pad", "hides a token"))
def pads_are_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    ids = ids_of(made)
    if made.family == "llama text" or made.shift or (ids == PAD).sum(axis=1).max() < 3:
        return None
    return supervise(made, lambda ids: ids == PAD)


@breaks(COVER, said="end")
def the_end_of_a_turn_is_never_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None or made.family == "llama text":
        return None
    labels = np.where(found[1] == IM_END, IGNORED, found[1])
    more = {"loss_mask": (labels != IGNORED).astype(np.float32)} if "loss_mask" in made.tensors else {}
    return {**made.tensors, "labels": labels, **more}


@breaks(COVER, said="a token late")
def supervision_begins_a_token_late(made: Made, rng: np.random.Generator) -> Tensors | None:
    """As where a mask of the loss was not shifted with the labels."""
    if made.family == "llama text" or sum(len(p.turns) for p in made.parts) < 2 or labelled(made) is None:
        return None
    parts = []
    for p in made.parts:
        one = g.Sample(**{**vars(p), "labels": list(p.labels)})
        for start, end in p.turns:
            one.labels[start] = IGNORED
            if end - start < 2:
                return None
        parts.append(one)
    return again(made, parts, rng)


@breaks(COVER, said="header")
def the_header_of_an_answer_is_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.family == "llama text":
        return None
    return supervise(made, lambda ids: (np.roll(ids, 1, axis=1) == g.ASSISTANT) & (np.roll(ids, 2, axis=1) == IM_START))


@breaks(COVER, said="ends an answer")
def the_end_is_masked_as_the_pad_that_it_is(made: Made, rng: np.random.Generator) -> Tensors | None:
    """Pad and end are one token, and every pad is ignored."""
    if made.family != "llama text" or made.layout not in ("left padded", "right padded"):
        return None
    ids = np.where(made.tensors["input_ids"] == g.LLAMA_PAD, g.EOT, made.tensors["input_ids"])
    if not (ids[made.tensors["attention_mask"] == 0]).any():
        return None
    return {**made.tensors, "input_ids": ids, "labels": np.where(ids == g.EOT, IGNORED, made.tensors["labels"])}


@breaks(COVER, said="nothing in the batch")
def nothing_is_supervised(made: Made, rng: np.random.Generator) -> Tensors | None:
    """As where a template has no marks of what is generated."""
    found = labelled(made)
    if found is None or made.family == "llama text":
        return None
    return {**made.tensors, "labels": np.full_like(found[1], IGNORED)}


@breaks(PREFIX, said="one sees the other")
def no_bound_between_any_samples(made: Made, rng: np.random.Generator) -> Tensors | None:
    """One row that counts through, of samples that begin with system turns of their own."""
    if made.family != "qwen text" or len(made.parts) < 2 or made.parts[1].ids[1] != g.SYSTEM:
        return None
    j = g.joined(made.parts)
    return {"input_ids": j.ids[None], "labels": j.labels[None], "position_ids": np.arange(len(j.ids))[None]}


@breaks(LOSS, said="num_items_in_batch")
def the_loss_is_divided_by_too_few(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = labelled(made)
    if found is None or "loss_mask" in made.tensors:
        return None
    return {**made.tensors, "num_items_in_batch": np.int64((found[1] != IGNORED).sum() // 2)}


# Samples ------------------------------------------------------------------------------------------------------------


@breaks(PREFIX, said="opening token")
def the_opening_token_is_doubled(made: Made, rng: np.random.Generator) -> Tensors | None:
    """As where a template writes the token and the tokenizer adds another."""
    parts = []
    for p in made.parts:
        one = g.Sample(images=p.images, videos=p.videos, seconds=p.seconds, pixels=p.pixels)
        one.ids, one.labels = [p.ids[0], *p.ids], [IGNORED, *p.labels]
        one.rows = [(0, 0, 0), *[tuple(v + 1 for v in r) for r in p.rows]]  # type: ignore[misc]
        one.turns, one.at = [(a + 1, b + 1) for a, b in p.turns], p.at + 1
        parts.append(one)
    return again(made, parts, rng)


@breaks(CUT, said="middle of")
def a_sample_begins_in_its_answer(made: Made, rng: np.random.Generator) -> Tensors | None:
    if made.family == "llama text" or len(made.parts) < 2 or any(p.images or p.videos for p in made.parts):
        return None
    p = made.parts[1]
    start = p.turns[0][0] + 1
    one = g.Sample(ids=p.ids[start:], labels=p.labels[start:])
    one.rows = [(i, i, i) for i in range(len(one.ids))]
    one.labels[0], one.at = IGNORED, len(one.ids)
    one.turns = [(1, p.turns[0][1] - start)]
    return again(made, [made.parts[0], one, *made.parts[2:]], rng)


@breaks(PREFIX, said="second time")
def two_samples_are_one_segment(made: Made, rng: np.random.Generator) -> Tensors | None:
    """Two samples with the same system turn and no bound between them."""
    if made.family != "qwen text" or len(made.parts) < 2:
        return None
    a, b = made.parts[:2]
    head = [IM_START, g.SYSTEM, g.NEWLINE, 5000, 5001, 5002, 5003, IM_END, g.NEWLINE]
    one = g.Sample()
    for p in (a, b):
        skip = p.ids.index(IM_END) + 2 if p.ids[1] == g.SYSTEM else 0
        one.ids += [*head, *p.ids[skip:]]
        one.labels += [*[IGNORED] * len(head), *p.labels[skip:]]
    one.rows, one.at = [(i, i, i) for i in range(len(one.ids))], len(one.ids)
    one.turns = [(one.labels.index(next(y for y in one.labels if y != IGNORED)), one.ids.index(IM_END))]
    return again(made, [one, *made.parts[2:]], rng)


def again(made: Made, parts: list[g.Sample], rng: np.random.Generator) -> Tensors:
    tensors = {n: np.asarray(a) for n, a in g.LAYOUTS[made.layout](parts, made.family, rng).items()}
    return tensors | (g.vision(parts, made.family, rng) if made.family in g.WIDTHS else {})


# Pictures -----------------------------------------------------------------------------------------------------------


def tensor(made: Made, name: str, change: Callable[[Any], Any]) -> Tensors | None:
    found = of(made, name)
    if found is None:
        return None
    a = change(found[1])
    return None if a is None else {**made.tensors, name: a}


def reversed_grids(a: Any) -> Any:
    sizes = a.prod(axis=1)
    return a[::-1] if (sizes != sizes[::-1]).any() else None


@breaks(VISION, said="mm_token_type_ids")
def token_types_are_padded_on_the_other_side(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "mm_token_type_ids", lambda a: np.roll(a, 1, axis=-1) if a.any() else None)


@breaks(VISION, said="image")
def image_grids_are_reversed(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "image_grid_thw", reversed_grids)


@breaks(VISION, said="image")
def an_image_grid_is_lost(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "image_grid_thw", lambda a: a[:-1] if len(a) > 1 else None)


@breaks(VISION, said="image")
def an_image_grid_too_many(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "image_grid_thw", lambda a: np.concatenate([a, a[-1:]]))


@breaks(VISION, said="pixel")
def pixel_rows_are_lost(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "pixel_values", lambda a: a[:-1])


@breaks(VISION, said="image_grid_thw")
def the_image_grid_is_missing(made: Made, rng: np.random.Generator) -> Tensors | None:
    if "image_grid_thw" not in made.tensors or "pixel_values" not in made.tensors:
        return None
    return {n: a for n, a in made.tensors.items() if n != "image_grid_thw"}


@breaks(VISION, said="pixel_values_videos")
def the_pixels_of_videos_only_are_missing(made: Made, rng: np.random.Generator) -> Tensors | None:
    if not {"pixel_values", "pixel_values_videos"} <= set(made.tensors):
        return None
    return {n: a for n, a in made.tensors.items() if n != "pixel_values_videos"}


@breaks(VISION, said=("video", "grid"))
def a_video_grid_has_another_size(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "video_grid_thw", lambda a: a + np.array([0, 2, 0]))


@breaks(VISION, said="video")
def pixel_rows_of_a_video_are_lost(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "pixel_values_videos", lambda a: a[:-1])


@breaks(VISION, said="image")
def a_stray_image_pad(made: Made, rng: np.random.Generator) -> Tensors | None:
    name, ids = of(made, *IDS)  # type: ignore[misc]
    if "image_grid_thw" not in made.tensors:
        return None
    ids = ids.copy()
    flat = np.atleast_2d(ids)
    row, at = made.places[-1]
    spot = at + made.parts[-1].turns[-1][0] - 6  # the user's last word
    if flat[row, spot] in (IM_START, IM_END, VISION_START, g.VISION_END, IMAGE, VIDEO):
        return None
    flat[row, spot] = IMAGE
    return {**made.tensors, name: ids}


@breaks(ALIGNED, VISION, said="pixel_values")
def a_pixel_is_not_a_number(made: Made, rng: np.random.Generator) -> Tensors | None:
    def change(a: Any) -> Any:
        made_ = np.array(a)
        made_[0, 7] = np.nan
        return made_

    return tensor(made, "pixel_values", change)


@breaks(ALIGNED, VISION, said="image_grid_thw")
def grids_have_two_columns(made: Made, rng: np.random.Generator) -> Tensors | None:
    return tensor(made, "image_grid_thw", lambda a: a[:, :2])


@breaks(POSITIONS, said="row of position_ids")
def a_videos_seconds_are_lost(made: Made, rng: np.random.Generator) -> Tensors | None:
    found = of(made, "second_per_grid_ts")
    if found is None or made.family != "qwen2_5_vl" or of(made, *ROWS) is None:
        return None
    if not any(s >= 2 and v[0] > 1 for p in made.parts for s, v in zip(p.seconds, p.videos, strict=True)):
        return None
    return {**made.tensors, "second_per_grid_ts": np.ones_like(found[1])}
