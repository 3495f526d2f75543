"""The real parts that an adapter's writer is given: they agree with each other, and with what the audit expects."""

from __future__ import annotations

from typing import Any

import pytest

from coordexp_audit_lib.kit import parts, replies
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

TURNS = [
    ("system", "Be brief."),
    ("user", "<image>What? <image>"),
    ("assistant", "A cup <|coord_3|>."),
    ("user", "No?"),
]
PICTURES = [{"number": 1, "width": 64, "height": 64}, {"number": 2, "width": 128, "height": 96}]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return parts.processor(str(tmp_path_factory.mktemp("scratch")))


def test_the_processor_renders_a_chat_as_the_features_have_it(processor: Any) -> None:
    """Two ways to the same sample: transformers' own processor over messages, and tokens for a packer of tokens."""
    chat = parts.messages(TURNS, PICTURES)
    made = processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
    features = parts.features(TURNS, PICTURES, parts.image_processor())
    assert made["input_ids"][0].tolist() == features["input_ids"]
    assert made["image_grid_thw"].tolist() == [[1, 4, 4], [1, 6, 8]]
    assert (made["pixel_values"] == features["pixel_values"]).all()


def test_what_the_assistant_says_is_marked_for_assistant_only_losses(processor: Any) -> None:
    """The newline behind the end of a turn is supervised by some templates and not by others."""
    plain = [{"role": role, "content": text.replace("<image>", "")} for role, text in TURNS]
    asked = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
    made = processor.tokenizer.apply_chat_template(plain, **asked)
    labels = parts.features([(m["role"], m["content"]) for m in plain], [], None)["labels"]
    marked = [i for i, mark in enumerate(made["assistant_masks"]) if mark]
    supervised = [i for i, label in enumerate(labels) if label != IGNORE_INDEX]
    assert marked == supervised[:-1]


def test_a_record_becomes_a_chat_with_its_pictures_before_the_question() -> None:
    record = {"objects": [("cup", [1, 2, 3, 4])], "pictures": [(64, 64), (96, 64)]}
    made = parts.chat_of(record, "Locate.", "Every object.")
    said = '{"objects": [{"desc": "cup", "bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]}]}'
    assert made["turns"] == [("system", "Locate."), ("user", "<image><image>Every object."), ("assistant", said)]
    assert [(p["width"], p["height"]) for p in made["pictures"]] == [(64, 64), (96, 64)]


def test_replies_take_tensors_arrays_and_lists_alike() -> None:
    import numpy as np
    import torch

    lists = {"input_ids": [1, 2], "labels": [-100, 2]}
    tensors = {k: torch.tensor(v) for k, v in lists.items()}
    arrays = {k: np.array(v) for k, v in lists.items()}
    assert replies.encoded([lists]) == replies.encoded([tensors]) == replies.encoded([arrays])
    assert replies.batch((0,), tensors)["dtypes"] == replies.batch([0], arrays)["dtypes"]


def test_a_plan_shared_by_its_ranks_is_one_and_copies_are_compared() -> None:
    packs = [[0, 1], [2]]
    shared = replies.plan(packs, ranks=[[0], [1]])
    assert len(set(shared["rank_digests"])) == 1 and len(shared["rank_digests"]) == 2
    apart = replies.plan(packs, ranks=[[0], [1]], copies=[packs, [[0], [1, 2]]])
    assert len(set(apart["rank_digests"])) == 2
