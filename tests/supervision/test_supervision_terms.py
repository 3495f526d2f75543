"""The terms of a coordinate's loss against what can be worked out by hand, and what their measure tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from coordexp_audit_lib.boundaries.supervision.predicates import terms as predicates
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import Forced, Slot
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.kit import coordinate_terms as terms
from coordexp_audit_lib.kit.tokenizer import COORD_0

FIRST = 24  # columns of ordinary tokens before bin 0


def test_the_distance_of_all_mass_on_one_bin_is_that_to_the_target_as_a_share_of_the_line() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.full((1, FIRST + 1000), -200.0)
    logits[0, FIRST + 900] = 200.0
    (far,) = terms.losses(terms.WASSERSTEIN, logits, torch.tensor([100]), FIRST).tolist()
    assert far == pytest.approx(800 / 999, abs=1e-4)


def test_the_gate_is_minus_the_log_of_the_mass_on_all_bins() -> None:
    torch = pytest.importorskip("torch")
    (even,) = terms.losses(terms.GATE, torch.zeros(1, FIRST + 1000), torch.tensor([5]), FIRST).tolist()
    assert even == pytest.approx(0.0237, abs=1e-4)  # -log(1000 / 1024)


def test_a_soft_target_is_cut_at_the_edge_of_the_line_and_still_adds_up_to_one() -> None:
    """Even logits have the loss log(1000) for whatever adds up to one."""
    torch = pytest.importorskip("torch")
    found = terms.losses(terms.SOFT, torch.zeros(3, FIRST + 1000), torch.tensor([0, 500, 999]), FIRST)
    assert found.tolist() == pytest.approx([6.9078] * 3, abs=1e-3)


@pytest.mark.parametrize("term", terms.TERMS)
def test_a_gradient_tells_its_terms_weight_and_what_is_not_the_terms(term: str) -> None:
    torch = pytest.importorskip("torch")
    drawn = torch.randn((2, FIRST + 1000), generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    own = terms.losses(term, drawn, torch.tensor([3, 700]), FIRST).sum()
    other = terms.losses(term, drawn, torch.tensor([90, 200]), FIRST).sum()
    (grads,) = torch.autograd.grad(3.0 * own, drawn, retain_graph=True)
    assert terms.pulls(term, drawn, grads, [3, 700], FIRST) == [(pytest.approx(3.0), pytest.approx(0.0, abs=1e-6))] * 2
    assert terms.pulls(term, drawn, grads * 0, [3, 700], FIRST) == [(0.0, 0.0)] * 2
    if term != terms.GATE:  # which knows no bin
        (wrong,) = torch.autograd.grad(other, drawn)
        assert all(stray > predicates.STRAY for _, stray in terms.pulls(term, drawn, wrong, [3, 700], FIRST))


def _told(slots: Sequence[Slot], wanted: Sequence[int]) -> list[str]:
    one = predicates.Pulled(terms.GATE, 0.5, [slots], [wanted])
    return [p.message for p in predicates.reached(one, Ledger())]


def test_a_slot_is_told_by_what_is_wrong_with_it() -> None:
    def slot(pull: float, stray: float = 0.0) -> Slot:
        return Slot(7, 40, "appended", pull, stray)

    assert _told([slot(0.5)], [40]) == []
    assert _told([slot(0.0)], [40]) == ["the gate does not reach a supervised coordinate"]
    assert _told([slot(1.0)], [40]) == ["the gate of a coordinate has another weight"]
    assert _told([slot(0.5, 0.4)], [40]) == ["a coordinate's gradient is not that of its gate"]
    assert _told([], [40]) == ["not each coordinate has its gate"]


def test_one_token_too_many_in_the_divisor_is_told_in_a_long_answer_too() -> None:
    ids = list(range(200))
    row = Forced(ids, ids, [1 / 201] * 200, [])
    ledger = Ledger()
    assert [p.message for p in predicates.averaged([row], 1, ledger)] == [
        "a token's cross-entropy has not the weight of 1 of 200 tokens"
    ]
    assert list(predicates.averaged([Forced(ids, ids, [1 / 600] * 200, [])], 3, ledger)) == []
    assert ledger.checked == 201


def test_a_coordinate_with_a_label_or_a_share_and_a_token_without_its_own_are_told() -> None:
    coordinate = COORD_0 + 999
    ids = [11, coordinate, 12]
    right = Forced(ids, [11, -100, 12], [0.5, 0.0, 0.5], [])
    assert list(predicates.labelled([right], Ledger())) == []
    unmasked = [p.message for p in predicates.labelled([Forced(ids, ids, [0.3] * 3, [])], Ledger())]
    assert unmasked == ["a coordinate token has a cross-entropy label", "cross-entropy reaches a coordinate token"]
    lost = [p.message for p in predicates.labelled([Forced(ids, [11, -100, -100], [], [])], Ledger())]
    assert lost == ["a token of the answer has not its own label"]


def test_shares_that_nobody_can_see_are_left_out_and_not_held() -> None:
    ledger = Ledger()
    assert list(predicates.whole([[], []], ledger)) == []
    assert ledger.checked == 0 and ledger.unjudged
