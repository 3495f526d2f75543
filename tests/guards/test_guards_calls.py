"""How a model is called with a pack, in a training under guard: what is known to mix samples stops it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.boundaries.packing.artifact import isolation as facts_of
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.guards import check_model_call
from coordexp_audit_lib.guards.calls import Calls, call_of
from coordexp_audit_lib.guards.collator import Inbox
from coordexp_audit_lib.kit import isolation, tiny, varlen
from coordexp_audit_lib.kit.isolation import Call
from coordexp_audit_lib.kit.tiny_pack import arguments, pack

pytestmark = pytest.mark.model
CALL = Call("qwen3_vl", "pictures", "sdpa", "none", "four", False)
TELLING = [  # what can be told from the batch alone
    call
    for call in isolation.calls()
    if (call.positions != "none" or call.mask in ("numbers", "block") or call.attention == isolation.TOLD)
    and not (call.content == "text" and call.positions == "copied")
]


def batch(call: Call, **more: Any) -> dict[str, Any]:
    row, told = pack(call.family, call.content), call.attention == isolation.TOLD
    made = arguments(tiny.kept(call.family), row, mask=call.mask, positions=call.positions, cache=call.cache, told=told)
    return {**made, **more}


def facts(**changes: Any) -> facts_of.Facts:
    """What is known of the installed release; here it may be any."""
    known = facts_of.recorded("4.57.6")
    assert known is not None
    return msgspec.structs.replace(known, transformers=facts_of.installed(), **changes)


def read(call: Call, **more: Any) -> Call | None:
    made = tiny.kept(call.family)
    with varlen.attending(made, "varlen" if call.attention == isolation.TOLD else call.attention):
        return call_of(made, batch(call, **more))


def test_every_call_that_a_batch_can_tell_is_read_as_what_it_is() -> None:
    assert len(TELLING) > 600
    some = TELLING[::11]  # by far from one to the next, so that every value of every axis is met
    assert [call for call in some if read(call) != call] == []
    axes = zip(*(call.__dict__.values() for call in some), strict=True)
    assert [len(set(values)) for values in axes] == [2, 2, 5, 4, 5, 2]


def test_where_the_batch_does_not_show_that_it_is_a_pack_nothing_is_said() -> None:
    assert read(replace(CALL, positions="none")) is None
    assert read(replace(CALL, positions="none", mask="ones")) is None


def strange() -> Iterator[tuple[str, dict[str, Any]]]:
    import torch

    row = pack("qwen3_vl", "pictures")
    size = len(row.ids)
    padded = torch.ones(1, size, dtype=torch.long)
    padded[0, -2:] = 0
    runs_on = torch.arange(size).expand(4, 1, -1)
    causal = torch.zeros(1, 1, size, size).masked_fill(~torch.ones(size, size, dtype=torch.bool).tril(), -1e9)
    yield "a mask with padding", {"attention_mask": padded}
    yield "segment numbers that begin at 3", {"attention_mask": padded * 0 + 3 + (row.text.cumsum(0) > 200).long()}
    yield "positions that run on", {"position_ids": runs_on}
    yield "a causal mask that is no block mask", {"attention_mask": causal}
    yield "a video", {"pixel_values_videos": torch.zeros(1, 1)}
    yield "some of the kernel's bounds", {"cu_seq_lens_q": torch.tensor(row.bounds, dtype=torch.int32)}


@pytest.mark.parametrize("more", [m for _, m in strange()], ids=[n for n, _ in strange()])
def test_a_call_that_was_not_measured_is_read_as_none(more: dict[str, Any]) -> None:
    assert read(replace(CALL, attention="varlen"), **more) is None


def test_another_family_is_none_of_ours() -> None:
    made = tiny.kept("qwen3_vl")
    before = made.config.model_type
    try:
        made.config.model_type = "qwen9_vl"
        assert call_of(made, batch(CALL)) is None
    finally:
        made.config.model_type = before


def test_a_call_that_is_known_to_mix_raises_and_a_sound_one_does_not(tmp_path: Path) -> None:
    made = tiny.kept("qwen3_vl")
    with varlen.attending(made, "sdpa"):
        assert check_model_call(made, batch(CALL), facts())
        with pytest.raises(InvariantViolation, match=r"sdpa, all-ones mask, 4 rows, transformers .*: samples see each"):
            check_model_call(made, batch(replace(CALL, mask="ones")), facts())
        file = tmp_path / "own.json"
        file.write_text(facts_of.written(facts(rows={})))
        assert not check_model_call(made, batch(replace(CALL, mask="ones", cache=True)), facts(rows={}))


def test_in_training_each_kind_of_call_is_looked_at_once_and_left_in_the_inbox(tmp_path: Path) -> None:
    made, file = tiny.build("qwen3_vl"), tmp_path / "facts.json"
    file.write_text(facts_of.written(facts()))
    inbox = Inbox()
    calls = Calls(inbox, file)
    calls.listen(made)
    mixed = replace(CALL, cache=True)
    with varlen.attending(made, "sdpa"):
        made(**batch(mixed))
        assert inbox.first() is None, "it evaluates"
        made.train()
        made(**batch(CALL))
        assert inbox.first() is None and calls.decided == 1
        made(**batch(mixed))
        made(**batch(mixed))
    found = inbox.first()
    assert isinstance(found, InvariantViolation) and found.invariant == "packing.segments_isolated"
    assert "use_cache" in str(found) and calls.decided == 1
    calls.end()
    assert not made._forward_pre_hooks


def test_without_a_word_on_the_cache_the_config_decides_unless_activations_are_recomputed() -> None:
    made = tiny.build("qwen3_vl")
    given = {name: value for name, value in batch(CALL).items() if name != "use_cache"}
    with varlen.attending(made, "sdpa"):
        made.config.text_config.use_cache = True
        assert call_of(made, given) == replace(CALL, cache=True)
        # The newer name first: the older one warns.
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        next(getattr(made, name) for name in names if hasattr(made, name))()
        assert call_of(made.train(), given) is None
        made.config.text_config.use_cache = False
        assert call_of(made, given) == CALL
