"""Each guard on its own: what it lets pass, and which invariant it names, and where, for what it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coordexp_audit_lib import guards
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import rollout
from coordexp_audit_lib.boundaries.supervision.predicates.roles import is_coordinate
from coordexp_audit_lib.boundaries.supervision.reference.target import Target, build
from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelBRequest, Sample, Thing
from coordexp_audit_lib.core import judge
from coordexp_audit_lib.core.errors import InvariantViolation, UsageError
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.guards import pins, rehearsal, stopping
from coordexp_audit_lib.guards.collator import GuardedCollator
from coordexp_audit_lib.kit import tokenizer, variants
from coordexp_audit_lib.kit.prompt_trace import trace


def violation(guard: Callable[[], Any]) -> InvariantViolation:
    with pytest.raises(InvariantViolation) as caught:
        guard()
    assert "Remedy: " in str(caught.value)
    return caught.value


RECORD: dict[str, Any] = {
    "images": ["a.png"],
    "width": 640,
    "height": 480,
    "objects": [{"desc": "cup", "bbox_2d": ["<|coord_1|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]}],
}


@pytest.mark.parametrize(
    ("change", "claim", "where"),
    [
        ({"width": 0}, "geometry.record_contract", "width"),
        ({"objects": [{"desc": "cup", "bbox_2d": [1, 2, 3]}]}, "geometry.record_contract", "objects[0].bbox_2d"),
        ({"objects": [{"desc": "cup", "bbox_2d": [1, 2, 3, 1000]}]}, "geometry.bins_in_range", "objects[0].bbox_2d[3]"),
        ({"objects": [{"desc": "cup", "bbox_2d": [5, 2, 3, 4]}]}, "geometry.box_ordered", "objects[0].bbox_2d"),
    ],
)
def test_a_record(change: dict[str, Any], claim: str, where: str) -> None:
    guards.check_record(RECORD)
    found = violation(lambda: guards.check_record({**RECORD, **change}))
    assert (found.invariant, found.where) == (claim, where)


@pytest.mark.parametrize(
    ("answer", "requests", "says"),
    [
        ({"error": 1}, 1, "not a list"),
        ([], 1, "0 outputs to 1 requests"),
        ([{"choices": [{"token_ids": [1]}]}], 1, "outputs[0].prompt_token_ids"),
        ([{"prompt_token_ids": [1], "choices": [{"token_ids": [True]}]}], 1, "outputs[0].choices[0].token_ids[0]"),
        ([{"prompt_token_ids": [1], "choices": [{"token_ids": [2]}], "rollout_infos": {"uuid": "b"}}], ["a"], "'b'"),
    ],
)
def test_an_answer_of_the_server(answer: Any, requests: Any, says: str) -> None:
    found = violation(lambda: guards.check_rollout_response(answer, requests))
    assert found.invariant == "rollout.response_schema" and says in str(found)


def test_a_right_answer_is_read() -> None:
    item = {"prompt_token_ids": [1, 2], "choices": [{"token_ids": [3], "message": {"content": "x"}}]}
    assert guards.check_rollout_response([item], 1) == [([1, 2], [3], "x")]
    echoed = {**item, "rollout_infos": {"uuid": "a"}}
    assert guards.check_rollout_response([{**echoed, "response": item}], ["a"]) == [([1, 2], [3], "x")]


def test_a_guard_keeps_the_ledger_of_what_it_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, str, int]] = []
    whole = judge.judge_artifact

    def noted(*given: Any) -> Any:
        made = whole(*given)
        seen.append((made.invariant, made.status, made.checked))
        return made

    monkeypatch.setattr(stopping, "judge_artifact", noted)
    item = {"prompt_token_ids": [1, 2], "choices": [{"token_ids": [3], "message": {"content": "x"}}]}
    guards.check_rollout_response([item, item], 2)
    violation(lambda: guards.check_rollout_response([], 1))
    guards.check_rollout_prefix([1, 2, 3], prompt=[1, 2], rollout=[3], kept=1)
    violation(lambda: guards.check_checkpoint(tmp_path, save_only_model=True))
    assert seen == [
        ("rollout.response_schema", "held", 2),
        ("rollout.response_schema", "violated", 1),
        ("template.prompt_is_prefix", "held", 1),
        ("supervision.prefix_kept", "held", 1),
        ("provenance.weights_only", "violated", 1),
    ]


GT = [Thing(*rehearsal.CUP), Thing(*rehearsal.CAT)]
STRANGER = Thing("dog", [700, 700, 800, 800])


def target() -> Target:
    """A rollout with one object that is there and one that is not; the second ground truth is appended."""
    said = rollout([GT[0], STRANGER])
    sample = Sample(GT, said)
    return build(sample, ChannelBRequest([sample]))


def supervised(change: Callable[[list[int], list[int]], None]) -> Callable[[], None]:
    made = target()
    labels = [t if w > 0 else -100 for t, w in zip(made.ids, made.weights, strict=True)]
    change(made.ids, labels)
    boxes = [(g.pos, g.bins) for g in (*made.matched_groups, *made.missed_groups)]
    gt = [(t.desc, t.bbox) for t in GT]
    weights = [w or 1.0 for w in made.weights]
    return lambda: guards.check_supervision(made.ids, labels, weights, gt=gt, boxes=boxes, prefix_len=made.prefix_len)


def test_a_sound_target_passes() -> None:
    supervised(lambda ids, labels: None)()


def supervise(which: Callable[[int, int], bool]) -> Callable[[list[int], list[int]], None]:
    def change(ids: list[int], labels: list[int]) -> None:
        place = next(p for p, t in enumerate(ids) if which(p, t))
        labels[place] = ids[place]

    return change


def silence_the_end(ids: list[int], labels: list[int]) -> None:
    labels[ids.index(tokenizer.IM_END)] = -100


DOG = tokenizer.encode("dog")[0]
CUP = tokenizer.encode("cup")[0]


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (supervise(lambda p, t: is_coordinate(t)), "supervision.coord_out_of_ce"),
        (supervise(lambda p, t: t == DOG), "supervision.fp_neutral"),
        (supervise(lambda p, t: t == CUP), "supervision.matched_struct_only"),
        (silence_the_end, "supervision.closure"),
    ],
)
def test_a_target_that_supervises_what_it_must_not(change: Callable[[list[int], list[int]], None], claim: str) -> None:
    found = violation(supervised(change))
    assert found.invariant == claim and "token " in str(found)


def test_a_target_without_a_ground_truth_is_not_complete() -> None:
    made = target()
    labels = [t if w > 0 else -100 for t, w in zip(made.ids, made.weights, strict=True)]
    gt = [(t.desc, t.bbox) for t in (*GT, STRANGER)]
    found = violation(lambda: guards.check_supervision(made.ids, labels, gt=gt, prefix_len=made.prefix_len))
    assert found.invariant == "supervision.fn_injected"


def test_a_prefix_and_an_answer_that_starts_elsewhere() -> None:
    made, prompt = target(), rehearsal.prompt()
    said = made.kept.prefix
    guards.check_rollout_prefix(prompt + made.ids, prompt=prompt, rollout=said, kept=made.prefix_len)
    guards.check_rollout_prefix(prompt + made.ids, prompt=prompt)  # an invalid rollout keeps nothing
    late = violation(lambda: guards.check_rollout_prefix(prompt + made.ids, prompt=prompt, answer_at=len(prompt) + 1))
    assert late.invariant == "template.prompt_is_prefix"
    longer = violation(lambda: guards.check_rollout_prefix(prompt + made.ids, prompt=prompt, rollout=said[:3], kept=5))
    assert longer.invariant == "supervision.prefix_kept" and "the end of the rollout" in str(longer)


def test_a_log_of_stage_2_that_lost_all_its_keys_does_not_pass() -> None:
    guards.check_metrics({"loss": 1.0, "epoch": 0.1})
    found = violation(lambda: guards.check_metrics({"loss": 1.0}, step=3, stage2=True))
    assert (found.invariant, found.where) == ("metrics.required_keys", "stage2_ab/b_ratio_realized")
    nan = violation(lambda: guards.check_metrics({"loss": float("nan")}))
    assert (nan.invariant, nan.where) == ("metrics.finite", "loss")


NAN = float("nan")
NUMBERS: dict[str, Callable[[float], Any]] = {
    "a float32 of NumPy": np.float32,
    "a long double": np.longdouble,
    "an array of one entry": lambda x: np.array([x]),
    "a tensor": torch.tensor,
    "a bfloat16 tensor of one entry": lambda x: torch.tensor([x], dtype=torch.bfloat16),
    "a Decimal": Decimal,
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_a_number_that_is_none_stops_the_run_whatever_its_type(number: Callable[[float], Any], value: float) -> None:
    row = guards.check_metrics({"loss": number(1.0)}, step=1)
    assert row.values["loss"] == 1.0
    found = violation(lambda: guards.check_metrics({"loss": number(value)}, step=2, earlier=[row]))
    assert (found.invariant, found.where) == ("metrics.finite", "loss")


def test_a_signalling_nan_is_one_and_what_is_no_number_is_not_read_as_one() -> None:
    found = violation(lambda: guards.check_metrics({"loss": Decimal("sNaN")}))
    assert (found.invariant, found.where) == ("metrics.finite", "loss")
    row = guards.check_metrics({"loss": 1.0, "step": np.int64(3), "histogram": torch.ones(4), "done": np.True_})
    assert (row.step, row.values) == (3, {"loss": 1.0, "step": 3.0}) and set(row.odd) == {"histogram", "done"}


def test_a_seed_that_was_summed_over_ranks_is_known_by_the_rows_before() -> None:
    rows = [guards.check_metrics({"loss": 1.0, "rollout/seed_base": 17.0 + s * 1_000_003}, step=s) for s in (1, 2, 3)]
    summed = {"loss": 1.0, "rollout/seed_base": 2 * (17.0 + 4 * 1_000_003)}
    found = violation(lambda: guards.check_metrics(summed, step=4, earlier=rows))
    assert found.invariant == "metrics.identity_not_averaged" and "step 4" in str(found)


def test_a_tokenizer_by_whatever_library() -> None:
    fast = tokenizer.fast()
    pinned = guards.pins_of(tokenizer.qwen())["tokenizer"]
    guards.check_tokenizer(fast, pinned, rows=152_704)
    few = violation(lambda: guards.check_tokenizer(fast, rows=152_000))
    assert few.invariant == "template.vocab_fits" and "152669" in str(few) and "152000" in str(few)
    other = variants.build("special", 0, tokenizer, tokenizer.qwen())
    guards.check_tokenizer(other)
    absent = violation(lambda: guards.check_tokenizer(variants.build("missing", 500, tokenizer, tokenizer.qwen())))
    assert absent.invariant == "template.coord_tokens_atomic" and "expected 1000, found 999" in str(absent)
    drifted = violation(lambda: guards.check_tokenizer(fast, "0" * 64))
    assert drifted.invariant == "template.vocab_fits" and "00000000" in str(drifted)


class SwiftLike:
    """Encodes messages as a template of ms-swift does."""

    def encode(self, row: dict[str, Any]) -> dict[str, list[int]]:
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
        return {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}


def test_prompts_come_from_templates_functions_and_ids() -> None:
    assert pins.prompt_ids(SwiftLike()) == pins.prompt_ids(lambda: [5, 6]) == pins.prompt_ids((5, 6)) == [5, 6]
    fast = tokenizer.fast()
    fast.chat_template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    assert pins.prompt_ids(fast)[0] == tokenizer.IM_START
    guards.check_template([5, 6], trace([5, 6]))
    assert violation(lambda: guards.check_template(lambda: [5, 7], trace([5, 6]))).invariant == "template.render_pinned"


def test_configs_by_their_files(tmp_path: Path) -> None:
    leaf = rehearsal.written_config(tmp_path)
    chain = guards.load_config(leaf, tmp_path)
    guards.check_config(chain.merged, world_size=1)
    odd = violation(lambda: guards.check_config(chain.merged, world_size=5))
    assert (odd.invariant, odd.where) == ("config.batch_divisible", "training.effective_batch_size")
    (leaf.parent / "more.yaml").write_text("extends: ab_mixed.yaml\n")
    assert (
        violation(lambda: guards.load_config(leaf.parent / "more.yaml", tmp_path)).invariant == "config.profile_one_hop"
    )
    (tmp_path / "loop.yaml").write_text("extends: loop.yaml\n")
    loop = violation(lambda: guards.load_config(tmp_path / "loop.yaml", tmp_path))
    assert loop.invariant == "config.extends_sound" and "cycle" in str(loop)
    with pytest.raises(UsageError, match="write it with pins_of"):
        pins.read_pins(tmp_path / "none.json")


def test_a_misspelt_key_is_told_before_the_one_that_is_missing_for_it(tmp_path: Path) -> None:
    merged = guards.load_config(rehearsal.written_config(tmp_path), tmp_path).merged
    training = {k.replace("effective_batch_size", "effective_batch_sise"): v for k, v in merged["training"].items()}
    found = violation(lambda: guards.check_config({**merged, "training": training}))
    assert (found.invariant, found.where) == ("config.unknown_key_rejected", "training.effective_batch_sise")
    assert "did you mean effective_batch_size?" in str(found)


def test_what_a_config_alone_cannot_tell_is_not_judged(tmp_path: Path) -> None:
    merged = guards.load_config(rehearsal.written_config(tmp_path), tmp_path).merged
    contract = pipeline().contract()

    def said(config: dict[str, Any], size: int | None) -> dict[str, str]:
        verdicts = stopping.judge_live(Resolved(config, contract, size), "config")
        return {v.finding.invariant.partition(".")[2]: v.finding.status for v in verdicts}

    assert said(merged, None)["batch_divisible"] == "unbound" and set(said(merged, 1).values()) == {"held"}
    broken = said({**merged, "more": 1}, 1)
    assert broken["unknown_key_rejected"] == "violated"
    assert broken["batch_divisible"] == broken["packing_backend"] == "unbound"


def test_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    empty = violation(lambda: guards.check_checkpoint(folder, save_only_model=True))
    assert empty.invariant == "provenance.weights_only" and "no safetensors weights" in str(empty)


def test_batches_of_torch_and_numpy() -> None:
    batch = rehearsal.collate([[0, 1]])
    decided = guards.check_packed_batch(batch, packing_length=4096)
    assert len(decided) == 6
    arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    assert guards.check_packed_batch(arrays, packing_length=4096) == decided
    half = {**batch, "pixel_values": batch["pixel_values"].bfloat16()}
    assert guards.check_packed_batch(half) == [c for c in decided if c != "packing.capacity"]
    full = violation(lambda: guards.check_packed_batch(batch, packing_length=50))
    assert (full.invariant, full.expected) == ("packing.capacity", 50)
    wrong = violation(lambda: guards.check_packed_batch({**batch, "cu_seq_lens_q": batch["cu_seq_lens_q"].long()}))
    assert wrong.invariant == "packing.cu_seqlens" and "int32" in str(wrong)
    text = violation(lambda: guards.check_packed_batch({**batch, "labels": batch["labels"].float()}))
    assert text.invariant == "packing.no_cross_boundary_label"
    with pytest.raises(UsageError, match="decide no claim"):
        guards.check_packed_batch({"other": 1})


def test_a_collator_by_itself_raises_at_once_and_every_nth() -> None:
    made = GuardedCollator(rehearsal.Collator("running_positions"), every=3)
    for _ in range(3):
        made([[0, 1]])
    assert made.broken == "running_positions" and made.calls == 3
    assert violation(lambda: made([[0, 1]])).invariant == "packing.positions_restart"
    rows = GuardedCollator(lambda rows: rows, packed=False)
    assert rows([1, 2]) == [1, 2] and rows.decided == {}


def test_the_guards_import_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'tokenizers', 'matplotlib', 'networkx'}"
    code = f"import sys, coordexp_audit_lib.guards; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
