"""Whether an audited config's run comes by a place or key of a tree, and how that is known."""

import textwrap

import pytest

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.pipelines.coordexp.citing import COMMIT, NEWEST
from coordexp_audit_lib.pipelines.coordexp.reach import tables
from coordexp_audit_lib.source.tree import Tree
from tests.conftest import STAGE1, STAGE2

MAIN = """
from .config.schema import TrainingConfig
from .optim.coord_offset_optimizer import create_multimodal_coord_offset_optimizer
def resolve_trainer_cls(train_args):
    trainer_variant = getattr(train_args, "trainer_variant", None)
    if trainer_variant == "stage2_ab_training":
        from .trainers.stage2_ab_training import Stage2ABTrainingTrainer
        return Stage2ABTrainingTrainer
    if trainer_variant == "rollout_matching_sft":
        from .trainers.rollout_matching_sft import RolloutMatchingSFTTrainer
        return RolloutMatchingSFTTrainer
    return stage1()
def stage1(): ...
def main(train_args):
    augmenter = None
    return resolve_trainer_cls(train_args)(augmenter, create_multimodal_coord_offset_optimizer)
"""
FILES = {
    "src/sft.py": MAIN,
    "src/config/schema.py": "class TrainingConfig:\n    debug: int = 0\n",
    "src/config/loader.py": "class ConfigLoader:\n    def load(self): ...\n",
    "src/optim/coord_offset_optimizer.py": "def create_multimodal_coord_offset_optimizer(): ...\n",
    "src/trainers/stage2_ab_training.py": """
        from swift import Seq2SeqTrainer
        class Stage2ABTrainingTrainer(Seq2SeqTrainer):
            def compute_loss(self): self._inner()
            def _inner(self): ...
            def _prepare_window_packed_batches(self): ...
    """,
    "src/trainers/rollout_matching_sft.py": "class RolloutMatchingSFTTrainer:\n    def log(self): ...\n",
    "src/datasets/preprocessors/augmentation.py": "class AugmentationPreprocessor: ...\n",
    "src/infer/engine.py": "def infer(): ...\ndef idle(): ...\n",
    "scripts/run_infer.py": "from src.infer.engine import infer\nif __name__ == '__main__':\n    infer()\n",
    "scripts/train.sh": "from src.config.loader import ConfigLoader\nConfigLoader.load(path)\ntorchrun -m src.sft\n",
    "scripts/train_stage2.sh": "bash scripts/train.sh\n",
    "public_data/scripts/convert_to_coord_tokens.py": "def convert_record_to_ints(): ...\n",
    "public_data/scripts/other.py": "def f(): ...\n",
    "configs/base.yaml": "training: {packing: true, optimizer: multimodal}\ncustom: {coord_tokens: {enabled: true}}\n",
    STAGE1: "extends: ../../base.yaml\ncustom:\n  train_jsonl: a/train.coord.jsonl\n  augmentation: {enabled: true}\n",
    STAGE2: """
        extends: [../../base.yaml]
        custom: {trainer_variant: stage2_ab_training}
        rollout_matching: {vllm: {mode: server}}
    """,
    "configs/other/rollout.yaml": "extends: ../base.yaml\ncustom: {trainer_variant: rollout_matching_sft}\n",
    "configs/broken.yaml": "extends: missing.yaml\n",
}
STAGE2_FILE = "src/trainers/stage2_ab_training.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(textwrap.dedent(text))
    return Tree(root)


def reach(tree, config="", path="", symbol="", **rest):
    known = {"claim": "x.y", "subject": "", "where": Where(path, 0, symbol) if path else None} | rest
    return pipeline("coordexp").reach(tree, (STAGE1, STAGE2), config, **known)


@pytest.mark.parametrize(
    ("config", "path", "symbol", "expected"),
    [
        (STAGE1, "src/sft.py", "src.sft:main", "this config"),
        (STAGE1, "src/sft.py", "stage1", "this config"),
        (STAGE2, "src/sft.py", "stage1", "another config"),
        (STAGE2, STAGE2_FILE, "Stage2ABTrainingTrainer._inner", "this config"),
        (STAGE1, STAGE2_FILE, "Stage2ABTrainingTrainer._inner", "another config"),
        ("", STAGE2_FILE, "Stage2ABTrainingTrainer._inner", "this config"),
        ("", STAGE2_FILE, "Stage2ABTrainingTrainer._prepare_window_packed_batches", "none"),
        ("", "src/trainers/rollout_matching_sft.py", "RolloutMatchingSFTTrainer", "none"),
        ("", "src/infer/engine.py", "infer", "none"),
        ("", "src/infer/engine.py", "idle", "none"),
        ("", "src/config/loader.py", "ConfigLoader.load", "this config"),  # by the launcher
        ("", "src/datasets/preprocessors/augmentation.py", "AugmentationPreprocessor", "none"),
        ("", "src/optim/coord_offset_optimizer.py", "create_multimodal_coord_offset_optimizer", "none"),
        ("", "public_data/scripts/convert_to_coord_tokens.py", "convert_record_to_ints", "this config"),
        (STAGE2, "public_data/scripts/convert_to_coord_tokens.py", "convert_record_to_ints", "another config"),
        ("", "public_data/scripts/other.py", "f", "unknown"),
        (STAGE1, "scripts/train.sh", "", "this config"),
        (STAGE1, "scripts/train_stage2.sh", "", "another config"),
        (STAGE2, "scripts/train_stage2.sh", "", "this config"),
        (STAGE1, "configs/base.yaml", "", "this config"),
        (STAGE1, STAGE2, "", "another config"),
        ("", "configs/broken.yaml", "", "none"),
        ("", "src/missing.py", "f", "unknown"),
        ("", "", "", "unknown"),
    ],
)
def test_a_place_is_reached_by_the_configs_whose_runs_come_by_it(tree, config, path, symbol, expected):
    assert reach(tree, config, path, symbol)[0] == expected


@pytest.mark.parametrize(
    ("config", "claim", "subject", "expected"),
    [
        (STAGE1, "config.unknown_section_key_rejected", "custom.coord_tokens.unlisted", "this config"),
        (STAGE1, "config.unknown_section_key_rejected", "rlhf.unlisted", "none"),
        (STAGE1, "config.unknown_section_key_rejected", "unlisted", "this config"),  # at the top
        (
            STAGE1,
            "config.unknown_section_key_rejected",
            "custom.augmentation.unlisted",
            "none",
        ),  # the program is deaf to it
        (STAGE1, "config.unknown_key_rejected", "rollout_matching.vllm.unlisted", "another config"),
        (STAGE2, "config.unknown_key_rejected", "rollout_matching.vllm.unlisted", "this config"),
        (STAGE1, "config.required_key", "training.packing", "this config"),
        (STAGE1, "packing.eval_unpacked", "training.packing", "this config"),
        (STAGE1, "geometry.box", "objects[0].bbox_2d", "unknown"),  # no key of a config, and no place is named
    ],
)
def test_a_key_is_reached_where_a_config_has_it_or_what_it_would_stand_in(tree, config, claim, subject, expected):
    assert reach(tree, config, claim=claim, subject=subject)[0] == expected


@pytest.mark.parametrize(
    ("claim", "subject"),
    [
        ("config.batch_divisible", "rlhf.gradient_accumulation_steps"),
        ("config.packing_backend", "template.attn_impl"),
        ("config.length_coherent", "template.max_length"),
        ("config.profile_one_hop", "configs/other.yaml"),
        ("pipeline_map.keys_are_read", "stage2/trainer"),
        ("config.preflight_contract", "train_jsonl_resolved of a path that begins with a dot"),
        ("template.prompt_is_prefix", "sorted/desc_first/default, vllm"),
        ("rollout.seeds_nonzero", "one rollout"),
    ],
)
def test_what_a_config_would_have_to_set_first_is_not_reached_by_it(tree, claim, subject):
    said, why, _ = reach(tree, STAGE1, "src/sft.py", "main", claim=claim, subject=subject)
    assert said in ("none", "another config")
    assert "is not set" in why or "does not set" in why or "no path begins with a dot" in why


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ({"rollout_matching": {"decoding": {"temperature": 0.0}}}, False),
        ({"rollout_matching": {"decoding": {"temperature": 0.5}}}, True),
        ({"stage2_ab": {"channel_b": {"triage_posterior": {"explorer_temperature": 0.7}}}}, True),  # beside greedy ones
    ],
)
def test_seeds_count_where_any_rollout_of_a_step_is_sampled(values, reached):
    assert tables.SAMPLED.holds(values)[0] is reached


@pytest.mark.parametrize(
    ("prompt", "subject", "reached"),
    [
        ({}, "sorted/desc_first/default, vllm", True),
        ({"extra": {"prompt_variant": "coco_80"}}, "sorted/desc_first/default, vllm", False),
        ({"extra": {"prompt_variant": "coco_80"}}, "sorted/desc_first/coco_80, vllm", True),
        ({"object_ordering": "random"}, "sorted/desc_first/default, vllm", False),
        ({"object_field_order": "geometry_first"}, "sorted/geometry_first/default, vllm", True),
    ],
)
def test_only_the_prompt_of_the_config_counts(prompt, subject, reached):
    claim = "template.prompt_is_prefix"
    condition = next(c for (of, words), c in tables.SUBJECTS.items() if of == claim and words in subject)
    config = {"custom": prompt, "rollout_matching": {"rollout_backend": "vllm"}}
    assert condition.holds(config)[0] is reached
    assert not condition.holds({"custom": prompt})[0]


SHARED = {
    **FILES,
    "src/sft.py": MAIN.replace(
        "    augmenter", "    from .datasets.builders.jsonlines import render\n    render()\n    augmenter"
    ),
    "src/datasets/builders/jsonlines.py": (
        "from src.utils.coordjson_transpiler import transpile\ndef render(): transpile('x', mode='strict')\n"
    ),
    "src/utils/coordjson_transpiler.py": """
        def parse_coordjson(text, *, mode): return _scan(text)
        def transpile(text, *, mode): return parse_coordjson(text, mode=mode)
        def _scan(text): ...
    """,
    STAGE2_FILE: """
        from src.utils.coordjson_transpiler import parse_coordjson
        from swift import Seq2SeqTrainer
        class Stage2ABTrainingTrainer(Seq2SeqTrainer):
            def training_step(self): return self._prepare_batch_inputs_b()
            def _prepare_batch_inputs_b(self): return parse_coordjson("x", mode="salvage")
    """,
}


@pytest.mark.parametrize(
    ("claim", "subject", "config", "expected"),
    [
        ("coordjson.agrees_with_reference", "trailing comma, in salvage mode (8 texts)", STAGE2, "this config"),
        ("coordjson.agrees_with_reference", "trailing comma, in salvage mode (8 texts)", STAGE1, "another config"),
        ("coordjson.agrees_with_reference", "trailing comma, in strict mode (8 texts)", STAGE1, "this config"),
        ("coordjson.salvage_accounts", "entry is no record (20 texts)", STAGE1, "another config"),
        ("coordjson.linear_time", "coordjson.growth", STAGE1, "another config"),
        ("supervision.prefix_kept", "odd descriptions", STAGE1, "another config"),
        ("supervision.prefix_kept", "odd descriptions", STAGE2, "this config"),
        ("x.y", "", STAGE1, "this config"),  # the place alone
    ],
)
def test_a_place_that_many_calls_run_is_reached_by_the_call_that_the_violation_needs(
    tmp_path, claim, subject, config, expected
):
    for path, text in SHARED.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(textwrap.dedent(text))
    where = ("src/utils/coordjson_transpiler.py", "_scan")
    told = reach(Tree(tmp_path), config, *where, claim=claim, subject=subject)
    assert told[0] == expected
    if claim != "x.y" and "strict" not in subject:
        assert "_prepare_batch_inputs_b" in told[1] and "render" not in told[1]


def test_a_violation_that_needs_a_key_which_no_config_sets_is_latent(tree):
    subject = "from another directory if custom.user_prompt names a text file"
    told = reach(tree, STAGE1, "src/sft.py", "main", claim="config.deterministic", subject=subject)
    assert told[:2] == ("none", "no prompt is taken from a file: custom.user_prompt is not set")
    assert reach(tree, STAGE1, "src/sft.py", "main", claim="config.deterministic")[0] == "this config"


@pytest.mark.parametrize(
    ("ratio", "claim", "subject", "expected"),
    [
        (0.0, "supervision.fp_neutral", "a token", "none"),
        (0.85, "supervision.fp_neutral", "a token", "this config"),
        (1.0, "supervision.fp_neutral", "a token", "this config"),
        (1.0, "packing.loss_equivalent", "a step of Channel-A", "none"),
        (0.0, "packing.loss_equivalent", "a step of Channel-A", "this config"),
        (0.0, "packing.loss_equivalent", "a step of Channel-B", "none"),
        (1.0, "metrics.only_when_executed", "rollout/f1", "none"),
    ],
)
def test_a_channel_that_never_trains_reaches_nothing(ratio, claim, subject, expected, tmp_path):
    for path, text in (
        FILES | {STAGE2: FILES[STAGE2] + f"    stage2_ab: {{schedule: {{b_ratio: {ratio}}}}}\n"}
    ).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(textwrap.dedent(text))
    where = Where(STAGE2_FILE, 0, "Stage2ABTrainingTrainer._inner")
    told = pipeline("coordexp").reach(Tree(tmp_path), (STAGE2,), "", claim=claim, where=where, subject=subject)
    assert told.reach == expected
    assert ("never trains" in told.by) is (expected == "none")


def test_a_claim_whose_violation_comes_about_in_one_function_is_reached_with_it(tree):
    told = reach(tree, "", STAGE2_FILE, "Stage2ABTrainingTrainer", claim="metrics.no_dilution")
    assert told[0] == "none"
    assert "nothing that runs calls Stage2ABTrainingTrainer._prepare_window_packed_batches" in told[1]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ({"path": "src/sft.py", "symbol": "stage1"}, "static call path src/sft.py:main → resolve_trainer_cls → stage1"),
        ({"subject": "training.packing"}, "the config's own value: training.packing is True"),
        (
            {"path": "src/datasets/preprocessors/augmentation.py", "symbol": "AugmentationPreprocessor"},
            "src/sft.py:main leaves augmenter None",
        ),
        (
            {"path": "src/config/loader.py", "symbol": "ConfigLoader.load"},
            "static call path scripts/train.sh → src/config/loader.py:ConfigLoader.load",
        ),
        ({"path": "scripts/train_stage2.sh"}, "scripts/train_stage2.sh launches it"),
        (
            {"path": "src/infer/engine.py", "symbol": "infer"},
            "only scripts/run_infer.py, which reads configs of its own, leads there",
        ),
        (
            {"path": "src/optim/coord_offset_optimizer.py", "symbol": "create_multimodal_coord_offset_optimizer"},
            "another optimizer is chosen: training.optimizer is 'multimodal'",
        ),
        (
            {"path": "src/trainers/rollout_matching_sft.py", "symbol": "RolloutMatchingSFTTrainer"},
            "only configs/other/rollout.yaml, which is not under audit, leads there",
        ),
    ],
)
def test_the_answer_says_how_it_is_known(tree, rest, said):
    assert said in reach(tree, **rest)[1]


@pytest.mark.parametrize(
    ("config", "symbol", "those"),
    [
        ("", "main", (STAGE1, STAGE2)),
        ("", "stage1", (STAGE1,)),
        (STAGE2, "stage1", (STAGE1,)),
        (STAGE2, "main", (STAGE1, STAGE2)),
    ],
)
def test_the_configs_that_reach_a_place_are_named_as_the_user_named_them(tree, config, symbol, those):
    assert reach(tree, config, "src/sft.py", symbol).configs == those


def test_a_config_that_cannot_be_resolved_is_unknown(tree):
    told = pipeline("coordexp").reach(
        tree, (STAGE1,), "configs/broken.yaml", claim="x.y", where=Where("src/sft.py", 0, "stage1"), subject=""
    )
    assert told[:2] == ("unknown", "configs/broken.yaml cannot be resolved")


TRUE_AND_REACHED = [
    (STAGE1, "upstream.trainer_helpers", "src/optim/coord_offset_optimizer.py", 83, ""),
    (
        *(STAGE2, "template.prompt_is_prefix", "src/trainers/rollout_matching_sft.py", 4662),
        "sorted/desc_first/coco_80, vllm",
    ),
    (STAGE1, "packing.eval_unpacked", "src/sft.py", 399, "training.eval_packing"),
    (STAGE2, "supervision.invalid_rollout_fallback", "src/trainers/rollout_matching/parsing.py", 314, "junk before"),
    (
        STAGE1,
        "config.unknown_section_key_rejected",
        "src/config/schema.py",
        239,
        "custom.coord_soft_ce_w1.unlisted_knob",
    ),
    (STAGE1, "packing.each_once", "src/datasets/wrappers/packed_caption.py", 394, "static packing"),
    (
        *(STAGE2, "coordjson.agrees_with_reference", "src/utils/coordjson_transpiler.py", 600),
        "trailing comma, in salvage mode (8 texts)",
    ),
    (STAGE2, "supervision.fp_neutral", "src/trainers/stage2_ab_training.py", 580, ""),
    (STAGE2, "supervision.fp_neutral", "src/trainers/stage2_ab_training.py", 625, ""),
    (STAGE2, "supervision.append_tokenization", "src/trainers/stage2_ab_training.py", 1736, "empty array"),
    (STAGE1, "rollout.no_rank_conditional_collective", "src/trainers/metrics/mixins.py", 273, ""),
    (STAGE1, "provenance.swift_source", "src/sft.py", 553, ""),
    (STAGE2, "rollout.fail_together", "src/trainers/stage2_ab_training.py", 783, ""),
    (STAGE2, "packing.loss_equivalent", "src/trainers/stage2_ab/executors.py", 384, ""),
]
LATENT = [
    ("metrics.identity_not_averaged", "src/trainers/stage2_ab_training.py", 42, "rollout/seed_base"),
    ("metrics.no_dilution", "src/trainers/stage2_ab_training.py", 42, "loss/bbox_ciou"),
    ("config.batch_divisible", "src/config/loader.py", 523, "rlhf.gradient_accumulation_steps"),
    ("config.packing_backend", "src/sft.py", 427, "training.attn_impl"),
    ("template.prompt_is_prefix", "src/trainers/rollout_matching_sft.py", 4662, "random/desc_first/coco_80, vllm"),
    ("geometry.augment_identity", "src/datasets/preprocessors/augmentation.py", 19, "refuses a sound poly"),
    ("geometry.bins_in_range", "src/datasets/preprocessors/augmentation.py", 19, "objects[0].bbox_2d"),
    ("packing.stable_order", "src/datasets/wrappers/packed_caption.py", 769, "dynamic packing"),
    ("packing.stable_order", "src/datasets/wrappers/packed_caption.py", 560, "dynamic packing"),
    (
        "config.unknown_section_key_rejected",
        "src/config/loader.py",
        625,
        "custom.augmentation.ops[3].params.unlisted_knob",
    ),
]


@pytest.fixture
def reference(checkout):
    """The checkout, where it is of the commit whose lines stand in the tables above."""
    if not checkout.info().commit.startswith(COMMIT):
        pytest.skip(f"the lines are of {COMMIT}")
    return checkout


@pytest.mark.checkout
@pytest.mark.parametrize("case", TRUE_AND_REACHED, ids=lambda case: case[1])
def test_what_changes_a_run_from_an_audited_config_is_reached(reference, case):
    config, claim, path, line, subject = case
    assert reference.reach(config, claim, Where(path, line), subject)[0] == "this config"


@pytest.mark.checkout
@pytest.mark.parametrize(("claim", "path", "line", "subject"), LATENT)
def test_what_no_audited_config_leads_to_is_latent(reference, claim, path, line, subject):
    for config in ("", STAGE1, STAGE2):
        assert reference.reach(config, claim, Where(path, line), subject)[0] == "none"


@pytest.mark.checkout
def test_the_first_stage_reads_no_rollout(reference):
    where = Where("src/utils/coordjson_transpiler.py", 503)
    said, why, _ = reference.reach(
        STAGE1, "coordjson.agrees_with_reference", where, "entry is no record, in salvage mode"
    )
    assert said == "another config"
    assert "parse_rollout_for_matching" in why
    assert reference.reach(STAGE1, "coordjson.strict_rejects", where, "trailing comma")[0] == "this config"


@pytest.mark.checkout
def test_the_newest_second_stage_packs_no_dataset_and_asks_for_no_lvis_metric(checkout):
    if not checkout.info().commit.startswith(NEWEST):
        pytest.skip(f"the places are of {NEWEST}")
    packer, evaluator = Where("src/datasets/wrappers/packed_caption.py", 604), Where("src/eval/detection.py", 2103)
    assert checkout.reach(STAGE1, "packing.each_once", packer, "static packing")[0] == "this config"
    assert checkout.reach(STAGE2, "packing.each_once", packer, "static packing")[0] == "another config"
    fingerprint = Where("src/sft.py", 980)
    assert checkout.reach(STAGE2, "provenance.cache_key", fingerprint, "packing plan")[0] == "another config"
    assert checkout.reach("", "silence.no_blanket_suppression", evaluator, "accumulate")[0] == "none"


@pytest.mark.checkout
def test_what_only_the_other_stage_runs_is_said_so(reference):
    where = Where("src/trainers/stage2_ab_training.py", 2063)
    assert reference.reach(STAGE1, "supervision.x", where, "")[0] == "another config"
    assert reference.reach("", "supervision.x", where, "")[0] == "this config"
    assert reference.reach(STAGE2, "x.y", Where("src/infer/engine.py", 1346), "")[0] == "none"


@pytest.mark.parametrize(
    ("setting", "config", "reached"),
    [
        ("JOINS_ROWS", {}, False),
        ("JOINS_ROWS", {"train_forward": {"branch_runtime": {"mode": "smart_batched_exact"}}}, False),
        ("JOINS_ROWS", {"train_forward": {"branch_runtime": {"mode": "padding_free_packed"}}}, True),
        ("CHOOSES_SOME", {"candidates": {"mode": "exact"}}, False),
        ("CHOOSES_SOME", {"candidates": {"mode": "uniform_subsample"}}, True),
    ],
)
def test_what_only_one_mode_of_the_set_continuation_reaches(
    setting: str, config: dict[str, object], reached: bool
) -> None:
    found, why = getattr(tables, setting).holds({"custom": {"stage1_set_continuation": config}})
    assert found is reached
    assert why
