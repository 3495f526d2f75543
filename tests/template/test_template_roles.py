"""Whoever looks for the answer by the word of its role supervises a question that begins with that word."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.template.claims.labels_cover_assistant import labels_cover_assistant
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.kit import chat, tokenizer
from coordexp_audit_lib.targets.adapter import AdapterTarget

ADAPTER = """
from coordexp_audit_lib.kit import chat, parts, replies, tokenizer
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported

adapter = Adapter("by-role", profile="qwen3_vl", lacks=({lacks}))
WORD, END, IGNORED = tokenizer.encode("assistant")[0], tokenizer.encode("<|im_end|>")[0], -100


@adapter.answers("template.encode")
def encode(request, here):
    if any("<|" in desc for record in request.records for desc, _ in record.objects):
        raise NotSupported("text that spells a control token")
    made = []
    for record in request.records:
        asked = parts.chat_of(record, request.system, request.user, request.field_order)
        grids = [(1, p.height // 16, p.width // 16) for p in asked.pictures]
        ids, labels = chat.render([tuple(turn) for turn in asked.turns], grids)
        made.append({{"input_ids": ids, "labels": {labels}, "image_grid_thw": grids}})
    return replies.records(made)


def scanned(ids):
    labels, at = [IGNORED] * len(ids), 0
    while at < len(ids):
        if ids[at] == WORD:
            end = ids.index(END, at)
            labels[at + 2 : end + 2] = ids[at + 2 : end + 2]
            at = end
        at += 1
    return labels
"""


@pytest.mark.parametrize(
    ("labels", "lacks", "told"),
    [
        ("labels", "", set()),
        (
            "scanned(ids)",
            "",
            {"a question that begins with the word assistant", "a system prompt that is the word assistant"},
        ),
        ("scanned(ids)", "'system',", {"a question that begins with the word assistant"}),
    ],
)
def test_a_prompt_that_begins_as_the_header_goes_on_is_not_supervised(
    tmp_path: Path, labels: str, lacks: str, told: set[str]
) -> None:
    path = tmp_path / "adapter.py"
    path.write_text(ADAPTER.format(labels=labels, lacks=lacks))
    with AdapterTarget(path) as target:
        finding = judge(target, labels_cover_assistant, "")
    assert finding.checked > 0
    assert {v.subject for v in finding.violations} == told, finding


def test_the_word_of_the_role_is_one_token_at_the_beginning_of_a_line() -> None:
    ids, _ = chat.render([("user", "assistant\nWhich?"), ("assistant", "This.")])
    assert ids.count(tokenizer.encode("assistant")[0]) == 2
