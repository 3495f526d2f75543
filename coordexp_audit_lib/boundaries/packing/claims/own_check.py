"""A pipeline's own check of packed batches lets every sound batch pass and refuses every broken one, whenever it comes.

A check that looks at the first batches only, or at shapes only, is taken for a guard: whoever reads that it is there
does not look again, and the batch that joins two samples comes in the second hour.

Example: cu_seq_lens that end before the last token are refused in the first batch, and let through in the 257th."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.cases import GLOBAL_MAX_LENGTH, samples
from coordexp_audit_lib.boundaries.packing.reference.batches import PROFILE, collate, encode_one
from coordexp_audit_lib.boundaries.packing.surfaces import CHECK, Accepted, Batch, CheckRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Refuse

Ints = dict[str, list[int]]
TURNS = (1, 9, 257)
VOCABULARY = 160_000


def _at(name: str, place: int, value: int) -> Callable[[Batch], None]:
    """Set one number of a tensor of shape [1, L] or [n]."""

    def edit(made: Batch) -> None:
        row = made.ints[name]
        (row[0] if isinstance(row[0], list) else row)[place] = value

    return edit


def _second(made: Batch) -> int:
    start: int = made.ints["cu_seq_lens_q"][1]
    return start


def _run_on(made: Batch) -> None:
    made.ints["text_position_ids"] = [list(range(len(made.ints["input_ids"][0])))]


def _short(made: Batch) -> None:
    for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
        made.ints[name] = [*made.ints[name][:-1], made.ints[name][-1] - 1]


def _shifted(made: Batch) -> None:
    labels = made.ints["labels"][0]
    made.ints["labels"] = [[*labels[1:], PROFILE.ignore_index]]


def _first_supervised(made: Batch) -> None:
    at = _second(made)
    made.ints["labels"][0][at] = made.ints["input_ids"][0][at]


def _jump(made: Batch) -> None:
    row, at = made.ints["text_position_ids"][0], _second(made)
    made.ints["text_position_ids"] = [[*row[: at + 3], *(p + 5 for p in row[at + 3 :])]]


def _rows_run_on(made: Batch) -> None:
    at = _second(made)
    for (row,) in made.ints["position_ids"]:
        row[at:] = [p + at for p in row[at:]]


BROKEN: dict[str, Callable[[Batch], object]] = {
    "cu_seq_lens end before the last token": _short,
    "text positions run on into the next segment": _run_on,
    "text positions jump within a segment": _jump,
    "the mRoPE rows run on into the next segment": _rows_run_on,
    "the first token of a segment is supervised": _first_supervised,
    "labels are shifted": _shifted,
    "a token is not in the vocabulary": _at("input_ids", 3, VOCABULARY + 5),
    "the longest segment is said to be longer": lambda made: made.ints.update(max_length_q=GLOBAL_MAX_LENGTH),
    "an image is missing": lambda made: made.ints["image_grid_thw"].pop(),
}


@claim(severity="P1", kind="B", remedy="Check every batch, by what its tensors say of each other, not by their shapes.")
def own_check(ctx: Context) -> Iterator[Violation]:
    chosen = samples()
    sound = collate([encode_one(chosen[i]) for i in (0, 1, 3)], [0, 1, 2])
    for turn in TURNS:
        ctx.judged()
        answer = ctx.ask(CHECK, CheckRequest(sound, sound, turn, VOCABULARY))
        if answer.refusal is not None:
            yield Violation("a sound batch is refused", f"batch {turn}", "accepted", answer.refusal.message)
    for name, edit in BROKEN.items():
        broken = copy.deepcopy(sound)
        edit(broken)
        early = None
        for turn in TURNS:
            ctx.judged()
            passed = not ctx.ask(CHECK, CheckRequest(broken, sound, turn, VOCABULARY)).refused
            early = passed if early is None else early
            if passed and (turn == TURNS[0] or not early):
                when = "" if turn == TURNS[0] else " where others were checked before it"
                message = f"a broken batch passes the pipeline's own check{when}: {name}"
                yield Violation(message, f"batch {turn}: {name}", "refused", "accepted", {"broken": name, "turn": turn})
                break


@fault(own_check, "first_batches_only", CHECK, "only the first eight batches are checked")
def first_batches_only(request: CheckRequest, honest: Honest) -> Accepted:
    return Accepted() if request.turn > 8 else _answer(request, honest)


@fault(own_check, "shapes_only", CHECK, "only the ends of cu_seq_lens are checked")
def shapes_only(request: CheckRequest, honest: Honest) -> Accepted:
    total = len(request.batch.ints["input_ids"][0])
    if request.batch.ints["cu_seq_lens_q"][-1] != total:
        raise Refuse("cu_seq_lens_q does not end at the number of tokens")
    return Accepted()


@fault(own_check, "pictures_refused", CHECK, "batches with pictures are refused")
def pictures_refused(request: CheckRequest, honest: Honest) -> Accepted:
    if "image_grid_thw" in request.batch.ints:
        raise Refuse("position_ids must be [1, L]")
    return _answer(request, honest)


def _answer(request: CheckRequest, honest: Honest) -> Accepted:
    made: Accepted = honest(replace(request, turn=1))
    return made
