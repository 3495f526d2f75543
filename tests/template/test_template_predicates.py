"""The predicates, case by case; traces; the reference's own rendering; and tokenizers that are wrong on purpose."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.template import cases, reference, surfaces
from coordexp_audit_lib.boundaries.template import predicates as p
from coordexp_audit_lib.boundaries.template.reference import Template, answer, answer_at
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit import chat, tokenizer, variants
from coordexp_audit_lib.kit.profile import BUILT_IN
from coordexp_audit_lib.kit.prompt_trace import first_difference, trace

PROFILE = BUILT_IN["qwen3_vl"]
PROMISED = pipeline().contract()
HEADER = tokenizer.encode("<|im_start|>assistant\n")

GRID = [[1, 4, 4]]
IDS, LABELS = chat.render([("system", "s"), ("user", "<image>Where?"), ("assistant", "Here.")], GRID)
START, END = answer_at(LABELS), len(IDS) - 2
IMG, S, E, PAD = tokenizer.IMAGE_PAD, tokenizer.VISION_START, tokenizer.VISION_END, tokenizer.ENDOFTEXT


def masked(*places: int) -> list[int]:
    return [-100 if i in places else y for i, y in enumerate(LABELS)]


def supervised(*places: int) -> list[int]:
    return [IDS[i] if i in places else y for i, y in enumerate(LABELS)]


@pytest.mark.parametrize(
    ("labels", "token", "message"),
    [
        (LABELS, None, None),
        (masked(len(IDS) - 1), None, None),  # the newline after the turn may be left out
        (masked(START), START, "a token of the assistant turn is not supervised"),
        (masked(END), END, "a token of the assistant turn is not supervised"),
        (supervised(START - 1), START - 1, "a token outside the assistant turn is supervised"),
        (supervised(0), 0, "a token outside the assistant turn is supervised"),
        ([*LABELS[1:], -100], START - 1, "a label is not its own token"),
        (LABELS[:-1], None, "labels and ids differ in length"),
    ],
)
def test_labels(labels: list[int], token: int | None, message: str | None) -> None:
    found = list(p.label_problems(IDS, labels, PROFILE, HEADER))
    assert [(f.token, f.message) for f in found] == ([] if message is None else [(token, message)])


def test_a_turn_that_is_cut_or_ends_twice_is_noticed() -> None:
    cut = [f.message for f in p.label_problems(IDS[:END], LABELS[:END], PROFILE, HEADER)]
    assert cut == ["the assistant turn does not end with <|im_end|>"]
    twice = [
        f.message
        for f in p.label_problems([*IDS[: END + 1], IDS[END]], [*LABELS[: END + 1], IDS[END]], PROFILE, HEADER)
    ]
    assert twice == ["the assistant turn ends with more than one <|im_end|>"]
    prompt = [f.message for f in p.label_problems(IDS[: START - 3], LABELS[: START - 3], PROFILE, HEADER)]
    assert prompt == ["there is no assistant turn"]


def test_every_turn_of_a_long_conversation_is_judged() -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    ids, labels = chat.render(turns)
    assert (
        list(p.label_problems(ids, labels, PROFILE, HEADER)) == [] and len(p.assistant_turns(ids, PROFILE, HEADER)) == 2
    )
    first = answer_at(labels)
    last_only = [-100 if i < first + 3 else y for i, y in enumerate(labels)]
    assert [f.token for f in p.label_problems(ids, last_only, PROFILE, HEADER)] == [first]


@pytest.mark.parametrize(
    ("ids", "grid", "sizes", "messages"),
    [
        ([S, IMG, IMG, E], [[1, 2, 4]], [(64, 32)], []),
        ([S, IMG, E, S, IMG, IMG, E], [[1, 2, 2], [1, 4, 2]], [(32, 32), (32, 64)], []),
        ([S, IMG, E], [[1, 2, 4]], None, ["an image has another number of pads than its grid"]),
        ([S, IMG, IMG, E], [[1, 4, 2]], [(64, 32)], ["the grids are not those of the pictures, in order"]),
        ([S, IMG, IMG, E], [[1, 2, 2], [1, 2, 2]], None, ["there are not as many runs of image pads as grids"]),
        ([9, IMG, E], [[1, 2, 2]], None, ["an image's pads do not stand between <|vision_start|> and <|vision_end|>"]),
        ([S, IMG], [[1, 2, 2]], None, ["an image's pads do not stand between <|vision_start|> and <|vision_end|>"]),
        ([9, 9], [], [], []),
    ],
)
def test_image_pads(
    ids: list[int], grid: list[list[int]], sizes: list[tuple[int, int]] | None, messages: list[str]
) -> None:
    assert [f.message for f in p.grid_problems(ids, grid, PROFILE, sizes)] == messages


@pytest.mark.parametrize(
    ("ids", "labels", "messages"),
    [
        ([1, 2, PAD, PAD], [-100, 2, -100, -100], []),
        ([PAD, 1, 2], [-100, -100, 2], []),  # padded on the left
        ([1, 2, PAD], [-100, 2, PAD], ["a pad is supervised"]),
        ([1, 3, PAD], [-100, 3, -100], ["a padded row does not hold its sample's ids"]),
    ],
)
def test_pads(ids: list[int], labels: list[int], messages: list[str]) -> None:
    assert [f.message for f in p.pad_problems(ids, labels, [1, 2], PAD, -100)] == messages


def test_coordinate_ids_must_be_a_thousand_and_come_out_in_order() -> None:
    ids = list(range(5000, 6000))
    assert list(p.coordinate_problems(ids, [([5001, 7, 5002], [1, 2])])) == []
    (lost,) = p.coordinate_problems(ids, [([5001, 7, 8], [1, 2])])
    assert (lost.token, lost.message) == (1, "coordinate token 2 is not one id in text 0")
    (shared,) = p.coordinate_problems([*ids[:-1], 5000], [])
    assert (shared.expected, shared.actual) == (1000, 999)


@pytest.mark.parametrize(("kind", "sound"), [(k, k in variants.SOUND) for k in variants.KINDS if k != "none"])
def test_the_reference_refuses_every_flawed_tokenizer(kind: str, sound: bool) -> None:
    made = reference.variant(kind, 500)
    if sound:
        assert reference.coord_ids(made) == list(range(151_670, 152_670))
    else:
        with pytest.raises(Refuse, match="expand the vocabulary"):
            reference.coord_ids(made)


def test_contexts_cover_every_bin_and_every_neighbour() -> None:
    texts = cases.contexts()
    assert {k for _, bins in texts[:-2] for k in bins} == set(range(1000))
    assert len(texts) >= 70 and all(any(a in t for t, _ in texts) for a in cases.NEIGHBOURS)


def test_a_trace_finds_the_first_token_that_differs() -> None:
    ids = list(range(400))
    for at in (0, 1, 57, 399):
        other = [*ids[:at], 77_777, *ids[at + 1 :]]
        assert first_difference(trace(ids), trace(other)) == at
    assert first_difference(trace(ids), trace(ids)) is None
    assert first_difference(trace(ids), trace(ids[:300])) == 300
    assert first_difference(trace([]), trace([1])) == 0


def test_a_trace_tells_too_little_to_read_the_prompt_back() -> None:
    made = trace(IDS)
    assert len(made.marks) == 2 * len(IDS) and len(made.digest) == 16
    alike = [t for t in range(0, tokenizer.RANKS, 8) if trace([*IDS[:3], t]).marks == trace(IDS[:4]).marks]
    assert len(alike) > 50  # of every eighth: tokens that the fourth mark cannot tell apart, knowing the three before


def test_every_pin_is_there_for_both_pipelines() -> None:
    names = {cases.setting(r) for r in cases.prompt_requests(PROMISED)}
    for kind in ("prompt_pins", "reference_prompt_pins"):
        pinned = PROMISED[f"template.{kind}"]
        assert set(pinned) == names and len({t["digest"] for t in pinned.values()}) == 8
        assert all(len(t["marks"]) == 2 * t["length"] > 100 for t in pinned.values())


def test_a_template_gives_its_settings_back_after_an_exception() -> None:
    template = Template("one")
    before = template.state()
    with pytest.raises(ValueError, match="broken"), template.changed(system="two", mode="pt"):
        assert template.state() != before
        raise ValueError("broken")
    assert template.state() == before


def test_the_limit_is_inclusive_and_never_cuts() -> None:
    record = cases.records()[0]
    length = len(Template("s").encode(record, "u").input_ids)
    assert len(Template("s", length).encode(record, "u").input_ids) == length
    with pytest.raises(Refuse, match=f"{length} tokens, above the limit of {length - 1}"):
        Template("s", length - 1).encode(record, "u")


def test_field_order_changes_the_answer_only() -> None:
    record = surfaces.Record([('a "b"', [1, 2, 3, 4])])
    first, second = (answer(record, o) for o in PROMISED["template.field_orders"])
    assert first.startswith('{"objects": [{"desc": "a \\"b\\"", "bbox_2d": [<|coord_1|>, ')
    assert sorted(first) == sorted(second) and second.endswith('"desc": "a \\"b\\""}]}')
