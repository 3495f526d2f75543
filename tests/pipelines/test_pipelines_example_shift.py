"""A packer whose own loss is not of the next token: packed and unpacked alike, so that only a recomputation tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordexp_audit_lib.boundaries.packing.claims.loss_equivalent import loss_equivalent
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.kit.shift import mean, misplaced
from coordexp_audit_lib.targets.adapter import AdapterTarget

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SOUND = "    return model(**batch, use_cache=False).loss\n"
LOGITS = """    labels = batch["labels"][0]
    logits = model(**{k: v for k, v in batch.items() if k != "labels"}, use_cache=False).logits[0]
"""
CROSS = "    return torch.nn.functional.cross_entropy("
LOSSES = {
    "sound": (SOUND, ""),
    "unshifted": (f"{LOGITS}{CROSS}logits, labels)\n", "of the same token"),
    "shifted twice": (
        '    return model(**{**batch, "labels": batch["labels"].roll(-1)}, use_cache=False).loss\n',
        "of the next but one token",
    ),
    "a sum": (f'{LOGITS}{CROSS}logits[:-1], labels[1:], reduction="sum")\n', ""),
}


@pytest.fixture(scope="module")
def packer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdapterTarget]:
    """The packer in a folder of its own, asked by workers that are forked from one that has imported what they need."""
    folder = tmp_path_factory.mktemp("packer")
    for name in ("packer.py", "packer_adapter.py"):
        shutil.copyfile(EXAMPLES / name, folder / name)
    with AdapterTarget(folder / "packer_adapter.py") as target:
        assert target.spread(1)
        yield target


@pytest.mark.model
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_not_of_the_next_token_is_told_and_no_other_is(name: str, packer: AdapterTarget) -> None:
    loss, told = LOSSES[name]
    text = (EXAMPLES / "packer.py").read_text(encoding="utf-8")
    assert text.count(SOUND) == 1
    (packer.file.parent / "packer.py").write_text(text.replace(SOUND, loss), encoding="utf-8")
    with packer.apart() as target:
        finding = judge(target, loss_equivalent, "")
    said = [v.message for v in finding.violations if "not shifted by one" in v.message]
    assert finding.checked > 0
    assert all(told in message for message in said)
    assert bool(said) == bool(told), finding


def test_of_any_other_loss_and_of_labels_that_come_shifted_nothing_is_told() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    ids, logits = torch.randint(0, 50, (1, 12)), 3 * torch.randn(1, 12, 50)
    labels = ids[0].clone()
    labels[:5] = -100
    means = {k: mean(logits[0], labels, k) for k in (0, 1, 2)}
    assert [misplaced(means[k], ids, logits, labels) for k in (0, 1, 2)] == [0, None, 2]
    others = [means[1] / 2, means[1] * 7, means[1] + 0.1, means[0] * 7, 0.999 * means[0], float("nan")]
    assert [misplaced(loss, ids, logits, labels) for loss in others] == [None] * len(others)
    assert misplaced(mean(logits[0], labels.roll(-1), 0), ids, logits, labels.roll(-1)) is None
    assert misplaced(means[0], None, logits, labels) is None
