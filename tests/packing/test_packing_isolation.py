"""Segments in a real Qwen3-VL: what isolates them, what does not, and how the finding says it."""

from __future__ import annotations

import math

import pytest

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.predicates import isolation
from coordexp_audit_lib.boundaries.packing.predicates.isolation import difference_shown, shown
from coordexp_audit_lib.boundaries.packing.reference.forward import How, measure
from coordexp_audit_lib.boundaries.packing.surfaces import Attention, ForwardRequest, Loss, Pack
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.kit import isolation as matrix
from coordexp_audit_lib.kit import model, varlen
from coordexp_audit_lib.kit.isolation import Call
from coordexp_audit_lib.targets.reference import ReferenceTarget

pytestmark = pytest.mark.model

REQUESTS = {(r.path, r.attention): r for _, r in cases.forward_requests()}
PICTURES, TEXT = cases.forward_requests()[0][1].samples[:3], [cases.forward_requests()[0][1].samples[i] for i in (1, 3)]


def packs(how: How, attention: Attention, text_only: bool = False) -> list[Pack]:
    return measure(ForwardRequest(TEXT if text_only else PICTURES, 400, attention=attention), how).packs


def isolates(how: How, attention: Attention, text_only: bool = False) -> bool:
    (pack,) = packs(how, attention, text_only)
    assert len(pack.lengths) > 1
    return not list(isolation.isolated(pack, attention))


@pytest.mark.parametrize(
    ("how", "sdpa", "kernel"),
    [
        (How(), True, True),
        (How(rows=3), False, True),
        (How(rows=1), False, False),  # image tokens lose height and width under either
        (How(restarts=False), False, True),  # rotary positions are relative: the kernel's bounds are enough
        (How(use_cache=True), False, True),
        (How(ones_mask=True), False, True),  # on the way to a kernel, transformers drops a mask of ones
        (How(bounded=False), True, False),  # sdpa reads the text row only
    ],
    ids=["four rows", "three rows", "one row", "never restarts", "cache", "mask of ones", "no bounds"],
)
def test_what_isolates_segments_with_pictures(how: How, sdpa: bool, kernel: bool) -> None:
    assert (isolates(how, "sdpa"), isolates(how, "varlen")) == (sdpa, kernel)


@pytest.mark.parametrize(("how", "sdpa"), [(How(rows=1), True), (How(rows=1, restarts=False), False)])
def test_without_pictures_one_row_is_the_text_row(how: How, sdpa: bool) -> None:
    assert isolates(how, "sdpa", text_only=True) is sdpa


def test_three_rows_without_pictures_are_read_as_the_installed_transformers_reads_them() -> None:
    """The temporal row is the text row then, if that release takes it for one: the matrix measures it on other models,
    samples and sizes."""
    call = Call("qwen3_vl", "text", "sdpa", "none", "three", False)
    assert isolates(How(rows=3), "sdpa", text_only=True) is (matrix.measure(call).verdict == matrix.APART)


def test_isolation_is_exact_where_it_is() -> None:
    for attention in ("varlen", "sdpa"):
        (pack,) = packs(How(), attention)
        crossed = [v for i, row in enumerate(pack.influence) for j, v in enumerate(row) if i != j]
        assert crossed == [0.0] * 6
        assert all(row[i] > 1 for i, row in enumerate(pack.influence))
        assert max(pack.differences) < 1e-5 and pack.largest_logit > 1


def finding(fault: str | None, claim: str) -> Finding:
    (broken,) = [f for f in faults() if f.id == fault] or [None]
    (check,) = [c for c in claims("packing") if c.id == claim]
    return judge(ReferenceTarget(broken), check, "")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("packing.three_rows", "the temporal row is taken for the text row"),
        ("packing.one_row", "position_ids have one row"),
        ("packing.never_restarts", "the text row of position_ids does not restart"),
        ("packing.counts_through", "position_ids have one row"),
        ("packing.with_cache", "with use_cache no boundary"),
        ("packing.mask_of_ones", "an attention_mask is passed"),
        ("packing.kernel_unbounded", "cu_seq_lens do not bound the samples"),
    ],
)
def test_the_finding_says_what_in_the_call_is_wrong(fault: str, words: str) -> None:
    found = finding(fault, "packing.segments_isolated")
    assert found.status == "violated"
    assert any(words in v.message for v in found.violations)


def test_the_measured_numbers_stand_in_the_finding() -> None:
    held = {e.symbol: e.value for e in finding(None, "packing.segments_isolated").evidence if e.kind == "fact"}
    assert len(held) == 4
    said = "max |Δlogit| negligible at logits up to 6; max |gradient across segments| exactly 0"
    assert all(v.startswith(said) for v in held.values()), held
    broken = {e.symbol: e.value for e in finding("packing.with_cache", "packing.segments_isolated").evidence}
    assert "exactly 0" not in broken["dataset packs, sdpa"] and "negligible" not in broken["dataset packs, sdpa"]
    losses = [e.value for e in finding(None, "packing.loss_equivalent").evidence if e.kind == "fact"]
    assert len(losses) == 4 and all(v.startswith("relative gap negligible over 2 packs") for v in losses)


def pack(**changes: object) -> Pack:
    made = {
        "members": [0, 1],
        "lengths": [3, 4],
        "keys": ["cu_seq_lens_q"],
        "position_rows": 4,
        "use_cache": False,
        "differences": [0.0, 2e-6],
        "largest_logit": 6.0,
        "influence": [[2.0, 0.0], [0.0, 3.0]],
        "loss": 2.5,
        "supervised": 4,
        "unpacked": [Loss(1.0, 1), Loss(3.0, 3)],
    }
    return Pack(**{**made, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 0),
        ({"differences": [0.0, 1e-3]}, 1),
        ({"differences": [math.nan, 0.0]}, 1),
        ({"differences": [math.inf, 0.0]}, 1),
        ({"influence": [[2.0, 1e-30], [0.0, 3.0]]}, 1),  # exactly zero is exactly zero
        ({"influence": [[2.0, math.nan], [0.0, 3.0]]}, 1),
        ({"influence": [[0.0, 0.0], [0.0, 3.0]]}, 1),  # nothing reaches anything: nothing was measured
    ],
)
def test_isolated(changes: dict[str, object], count: int) -> None:
    assert len(list(isolation.isolated(pack(**changes), "sdpa"))) == count


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 0),
        ({"loss": 2.50001}, 0),
        ({"loss": 2.0}, 1),  # the mean of the segments' means
        ({"loss": math.nan}, 1),
        ({"supervised": 5}, 1),
        ({"supervised": 0, "unpacked": [Loss(0.0, 0), Loss(0.0, 0)]}, 1),
    ],
)
def test_loss_equivalent(changes: dict[str, object], count: int) -> None:
    assert len(list(isolation.loss_equivalent(pack(**changes)))) == count


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "exactly 0"), (1.9e-6, "not exactly 0"), (-9e-7, "not exactly 0")),
        *((8.12, "8"), (0.0123, "0.01"), (math.inf, "inf")),
    ],
)
def test_numbers_are_shown_so_that_rounding_does_not_show(value: float, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        *((0.0, 1, "negligible"), (9e-6, 1, "negligible"), (5e-5, 6, "negligible")),
        *((5e-5, 1, "5e-05"), (math.nan, 1, "nan")),
    ],
)
def test_a_difference_that_is_rounding_is_one_word_zero_or_not(value: float, scale: float, text: str) -> None:
    assert difference_shown(value, scale) == text


def test_the_kernel_stand_in_attends_within_segments() -> None:
    import torch

    torch.manual_seed(0)
    q, k, v = torch.randn(7, 4, 8), torch.randn(7, 2, 8), torch.randn(7, 2, 8)
    cu = torch.tensor([0, 3, 7], dtype=torch.int32)
    bounds = {"cu_seqlens_q": cu, "cu_seqlens_k": cu, "max_seqlen_q": 4, "max_seqlen_k": 4, "causal": True}
    packed = varlen.varlen(q, k, v, **bounds)
    for a, b in ((0, 3), (3, 7)):
        unpacked = varlen.dense(q[None, a:b], k[None, a:b], v[None, a:b], causal=True)[0]
        assert torch.equal(packed[a:b], unpacked)
    by_hand = torch.softmax(q[1, 3] @ k[:2, 1].T / 8**0.5, -1) @ v[:2, 1]
    assert torch.allclose(packed[1, 3], by_hand, atol=1e-6)


@pytest.mark.parametrize(
    ("ends", "dtype", "longest", "words"),
    [
        ([0, 3, 7], "int64", 4, "reads int32"),
        ([0, 3, 6], "int32", 4, "from 0 to 6"),
        ([0, 3, 7], "int32", 3, "max_seqlen is 3"),
        ([0, 5, 3, 7], "int32", 7, "fall by 2"),
    ],
)
def test_the_kernel_stand_in_refuses_what_a_kernel_would_misread(
    ends: list[int], dtype: str, longest: int, words: str
) -> None:
    import torch

    cu, t = torch.tensor(ends, dtype=getattr(torch, dtype)), torch.ones(7, 1, 8)
    with pytest.raises(ValueError, match=words):
        varlen.varlen(t, t, t, cu_seqlens_q=cu, cu_seqlens_k=cu, max_seqlen_q=longest, max_seqlen_k=longest)


def test_attention_is_put_back_after_a_failure() -> None:
    import transformers.modeling_flash_attention_utils as flash

    small = model.small()
    before = small.config.text_config._attn_implementation, flash._flash_varlen_fn
    with pytest.raises(KeyError), varlen.attending(small, "varlen"):
        assert small.config.text_config._attn_implementation == varlen.NAME
        raise KeyError
    assert (small.config.text_config._attn_implementation, flash._flash_varlen_fn) == before
