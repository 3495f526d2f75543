"""Which calls of the installed transformers keep packed samples apart: measured, recorded, judged and drawn."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from coordexp_audit_lib.boundaries.packing.artifact import isolation as facts_of
from coordexp_audit_lib.boundaries.packing.artifact.isolation import Facts, ModelCall, called
from coordexp_audit_lib.boundaries.packing.figures.isolation import draw, matrix
from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_artifact
from coordexp_audit_lib.kit import isolation, model, tiny, varlen
from coordexp_audit_lib.kit.isolation import APART, MIXED, Call
from coordexp_audit_lib.kit.tiny_pack import arguments, pack

SOUND = Call("qwen3_vl", "pictures", "sdpa", "none", "four", False)
# Enough of the matrix to meet each value of each axis, and both of each pair that an argument of the call decides.
SOME = [
    SOUND,
    replace(SOUND, cache=True),
    replace(SOUND, mask="ones"),
    replace(SOUND, attention="eager", mask="block"),
    replace(SOUND, attention="flex"),
    replace(SOUND, attention="flex", mask="numbers"),
    replace(SOUND, attention="varlen", positions="copied", mask="ones"),
    replace(SOUND, attention="varlen", positions="none"),
    replace(SOUND, attention="varlen_told", positions="none"),
    replace(SOUND, attention="varlen_told", positions="text"),
    replace(SOUND, content="text", positions="text"),
    Call("qwen2_5_vl", "text", "sdpa", "none", "four", False),
    Call("qwen2_5_vl", "pictures", "sdpa", "none", "three", False),
    Call("qwen2_5_vl", "pictures", "varlen", "none", "four", True),
]
each_release = pytest.mark.parametrize("facts", list(facts_of.all_recorded()), ids=lambda f: f.transformers)


@pytest.mark.model
@pytest.mark.parametrize("call", SOME, ids=lambda c: "-".join(map(str, c.__dict__.values())))
def test_a_measured_call_does_what_is_recorded_of_this_release(call: Call) -> None:
    measured = isolation.measure(call)
    known = facts_of.recorded(facts_of.installed())
    assert known is None or known.verdict(call) == measured.verdict
    sizes = [s for s in (measured.moved, measured.differs) if measured.verdict != isolation.REFUSED]
    assert all(s < 0.5 or s > 100 for s in sizes), "no verdict hangs on what counts as rounding"


@pytest.mark.model
def test_what_every_release_must_keep_apart() -> None:
    """By the kernel's bounds, whatever else is said; and what every release mixes: a mask of ones and nothing else."""
    told = replace(SOUND, attention="varlen_told")
    assert isolation.measure(told).verdict == APART
    assert isolation.measure(replace(SOUND, mask="ones", positions="none")).verdict == MIXED


@pytest.mark.model
def test_a_model_without_a_word_on_its_cache_is_called_as_its_config_says() -> None:
    """What the guard takes for granted where a call has no `use_cache`."""
    import torch

    for family in tiny.FAMILIES:
        made, row = tiny.kept(family), pack(family, "text")
        answers = {}
        with model.one_thread(), varlen.attending(made, "sdpa"), torch.no_grad():
            for cache in (None, made.config.text_config.use_cache, not made.config.text_config.use_cache):
                made.model.rope_deltas = None
                call = arguments(made, row, mask="none", positions="four", cache=cache, told=False)
                answers[cache] = made(**call).logits
        assert torch.equal(answers[None], answers[made.config.text_config.use_cache])


@pytest.mark.model
def test_the_last_bits_are_put_back_and_move_every_weight() -> None:
    import torch

    made = tiny.kept("qwen3_vl")
    before = {n: p.detach().clone() for n, p in made.named_parameters()}
    with isolation.last_bits(made, 0):
        assert all((p != before[n]).all() for n, p in made.named_parameters())
        assert all(torch.allclose(p, before[n], rtol=1e-6, atol=1e-12) for n, p in made.named_parameters())
    assert all(torch.equal(p, before[n]) for n, p in made.named_parameters())


@each_release
def test_what_is_recorded_is_the_whole_matrix(facts: Facts) -> None:
    verdicts = [facts.verdict(call) for call in isolation.calls()]
    assert None not in verdicts and len(verdicts) == 800
    assert min(facts.count(v) for v in facts_of.MARKS) > 0
    assert sum(facts.errors.values()) == facts.count(isolation.REFUSED)
    assert facts_of.written(facts) == (facts_of.FOLDER / f"{facts.transformers}.json").read_text()


def judged(call: ModelCall) -> Finding:
    (claim,) = [c for c in claims("packing") if c.id == "packing.segments_isolated"]
    return judge_artifact(Artifact(call), claim)


def test_a_call_is_violated_where_exactly_it_was_seen_to_mix() -> None:
    found = judged(called(replace(SOUND, mask="ones", positions="three"), release="4.57.6"))
    assert found.status == "violated"
    assert found.violations[0].message == (
        "your call: sdpa, all-ones mask, 3 rows, transformers 4.57.6: samples see each other"
    )
    assert judged(called(SOUND, release="4.57.6")).status == "held"


def test_a_call_that_changes_what_a_sample_is_unpacked_is_violated_in_other_words() -> None:
    found = judged(called(replace(SOUND, attention="varlen", positions="text"), release="4.57.6"))
    assert found.status == "violated" and "not what they are unpacked" in found.violations[0].message


def test_the_releases_differ_and_each_call_is_judged_by_its_own() -> None:
    """From which row a release reads where samples begin is its own affair: three rows do under one and not another."""
    call = replace(SOUND, attention="varlen", positions="three")
    verdicts = {facts.transformers: facts.verdict(call) for facts in facts_of.all_recorded()}
    assert verdicts["4.57.6"] == APART
    statuses = {release: judged(called(call, release=release)).status for release in verdicts}
    assert statuses == {r: "held" if v == APART else "violated" for r, v in verdicts.items()}


@pytest.mark.parametrize(
    ("call", "release", "words"),
    [
        (SOUND, "4.57.6000", "nothing is recorded of transformers 4.57.6000"),
        (replace(SOUND, family="qwen9_vl"), "4.57.6", "was not measured"),
        (replace(SOUND, attention="varlen", mask="block"), "4.57.6", "refuses such a call"),
    ],
)
def test_of_what_is_not_known_nothing_is_said(call: Call, release: str, words: str) -> None:
    found = judged(called(call, release=release))
    assert found.status == "unbound" and words in found.note and not found.violations


def test_own_facts_go_before_recorded_ones_and_count_for_their_release_only() -> None:
    known = facts_of.recorded("4.57.6")
    assert known is not None
    rows = {name: row.replace("=", "X") for name, row in known.rows.items()}
    own = msgspec.structs.replace(known, rows=rows, transformers="4.57.7")
    assert judged(called(SOUND, own, "4.57.7")).status == "violated"
    assert judged(called(SOUND, own, "4.57.6")).status == "held"


def test_facts_are_kept_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "facts.json"
    assert main(["isolation", "--recorded", "4.57.6", "--json", "--out", str(file)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["transformers"] == "4.57.6" and said["recorded"] and said["changed"] == []
    assert facts_of.read(file) == facts_of.recorded("4.57.6")
    assert main(["isolation", "--recorded", "4.57.6"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^qwen3_vl +pictures +sdpa +ones +XX", shown, re.MULTILINE) and "use_cache" in shown


def test_what_is_no_file_of_facts_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "facts.json"
    wrong.write_text('{"transformers": "5.0.0"}')
    with pytest.raises(UsageError, match="holds no facts on isolation"):
        facts_of.read(wrong)
    assert main(["isolation", "--recorded", "1.0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "4.57.6" in error


def test_the_figure_has_a_stripe_for_each_release_and_call(tmp_path: Path) -> None:
    known = list(facts_of.all_recorded())
    data = matrix(known)
    assert data["releases"] == facts_of.releases()
    cells = [v for panel in data["panels"].values() for row in panel.values() for v in itertools.chain(*row)]
    assert len(cells) == 800 * len(known)
    assert data["panels"]["qwen3_vl pictures"]["sdpa ones"][0] == [MIXED] * 10
    figure = draw(data)
    drawn = [len(c.get_paths()) for axis in figure.axes for c in axis.collections if hasattr(c, "set_verts")]
    assert len(drawn) == 4 and 800 <= sum(drawn) <= len(cells)
    figure.savefig(tmp_path / "isolation.svg")
    assert "<svg" in (tmp_path / "isolation.svg").read_text()
