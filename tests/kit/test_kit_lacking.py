"""What a pipeline can't have in a chat is left out of what it is asked, and the rest is asked."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from coordexp_audit_lib.kit import lacking, stand_ins, varlen
from coordexp_audit_lib.kit.asked import asked
from coordexp_audit_lib.pipelines.api import Adapter

TURNS = [
    ("system", "Be brief."),
    ("user", "<image>First?"),
    ("assistant", "A."),
    ("user", "<image>?"),
    ("assistant", "B."),
]


@pytest.mark.parametrize(
    ("lacks", "kept"),
    [((), TURNS), (("system",), TURNS[1:]), (("turns",), TURNS[:3]), (("system", "turns"), TURNS[1:3])],
)
def test_turns_are_left_out_by_what_is_lacking(lacks: tuple[str, ...], kept: list[tuple[str, str]]) -> None:
    assert lacking.kept(TURNS, lacks) == kept


def test_the_pictures_of_a_turn_that_is_left_out_go_with_it() -> None:
    request = asked({"samples": [{"turns": TURNS, "pictures": [{"number": 1}, {"number": 2}]}], "system": "Be brief."})
    (sample,) = lacking.request(request, ["turns"]).samples
    assert [p.number for p in sample.pictures] == [1]
    assert lacking.request(request, ["system"]).system == ""
    assert request.samples[0].turns == TURNS  # what was asked stays as it is


def test_what_no_chat_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"lacks 'sistem': what it may lack is system \(a system prompt\)"):
        Adapter("mine", lacks="sistem")


@pytest.fixture
def kernel() -> Iterator[None]:
    """The names of the kernel's package, which no other test is to find."""
    names = ("flash_attn", "flash_attn.flash_attn_interface", "flash_attn.bert_padding")
    with stand_ins.entries(sys.modules, {name: sys.modules.get(name) for name in names}):
        for name in names:
            sys.modules.pop(name, None)
        varlen.importable()
        yield


@pytest.mark.usefixtures("kernel")
def test_a_pipeline_that_calls_the_kernel_by_itself_finds_one() -> None:
    torch = pytest.importorskip("torch")
    called = importlib.import_module("flash_attn.flash_attn_interface").flash_attn_varlen_func
    q = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0))
    bounds, alone = (torch.tensor(ends, dtype=torch.int32) for ends in ([0, 2, 5], [0, 3]))
    packed = called(q, q, q, bounds, bounds, 3, 3, causal=True)
    named = {"cu_seqlens_q": alone, "cu_seqlens_k": alone, "max_seqlen_q": 3, "max_seqlen_k": 3, "causal": True}
    assert torch.allclose(packed[2:], called(q[2:], q[2:], q[2:], **named), atol=1e-6)
