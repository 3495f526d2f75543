"""A packed batch through a small real Qwen3-VL, called by the project's own trainer: what reaches which segment.

Two trainers: for packs of the dataset, ms-swift's sequence-to-sequence trainer under the project's own mixin, as
`src/sft.py` stacks them; for post-rollout packs the project's own stage-2 trainer. Each computes its loss by its own
`compute_loss`, of cross-entropy alone; hooks on the model note what it was called with. `kit/varlen.py` stands, below
transformers' own code, for the kernel that packed training needs a GPU for.
"""

import types
from unittest import mock

from coordexp_audit_lib.kit import replies, template, varlen
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds, remembered
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.packing.batches import PACKERS, POST_ROLLOUT, encoded_samples, packs
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness


@binds(
    "packing.forward",
    loss=symbols.ACCUMULATION_SCALE / "compute_loss",  # named for the place that a finding points at
    metrics=symbols.ACCUMULATION_SCALE,
    trainer=symbols.STAGE2_TRAINER.optional,
    guard=symbols.PACKING_BACKEND.optional,
    **PACKERS,
    **POST_ROLLOUT,
)
@remembered
def forward(request, here):
    world, rollouts = harness.world(here), request["path"] == "post_rollout"
    make = stage2 if rollouts else stage1
    if rollouts and (here.trainer is None or here.mixin is None or here.select is None):
        raise Unbound("this tree has no trainer that packs rollout segments")
    samples = encoded_samples(here, request["samples"])
    with varlen.attending(world.model, request["attention"]):
        with template.packing(world.template, False):
            unpacked = each_unpacked(request, here, world, make, samples)
        with template.packing(world.template, True):
            found = []
            given = [dict(s) for s in samples]
            for members, batch in packs(request, here, given, world.template.data_collator):
                ran = run(here, world, make(here, world, True), batch, [samples[m] for m in members])
                found.append(one_pack(members, ran, unpacked, request["by_token"]))
    return {"packs": found, "sdpa_accepted": accepts_sdpa(here)}


def each_unpacked(request, here, world, make, samples):
    """Each sample by itself, unpacked, through the same trainer.

    Post-rollout trainers of later trees want settings that the harness does not write; that is no answer about packing,
    and must not read like one.
    """
    try:
        batches = [(world.template.data_collator([dict(s)]), s) for s in samples]
        return [run(here, world, make(here, world, False), batch, [s]) for batch, s in batches]
    except Refused as refused:
        if request["path"] != "post_rollout":
            raise
        raise harness.unfit(refused.told) from refused


def stage1(here, world, packed):
    """The trainer that `src/sft.py` makes where no variant is named, its constructor left out."""
    from swift.trainers import Seq2SeqTrainer

    cls = type("Stage1Trainer", (here.metrics, Seq2SeqTrainer), {})
    with harness.quiet_bases(cls):
        made = cls()
    made.model, made.template = world.model, world.template
    world.model.model_info = types.SimpleNamespace(is_moe_model=False)
    made.accelerator = types.SimpleNamespace(device=world.model.device, unwrap_model=lambda m: m, num_processes=1)
    off = ("enable_dft_loss", "enable_channel_loss", "use_liger_kernel", "average_tokens_across_devices")
    kinds = {"acc_strategy": "token", "tuner_backend": "peft", "task_type": "causal_lm", "router_aux_loss_coef": None}
    given = {**dict.fromkeys(off, False), **kinds, "past_index": -1, "gradient_accumulation_steps": 1}
    made.args = types.SimpleNamespace(**given)
    made.label_smoother = made.compute_loss_func = None
    made.model_accepts_loss_kwargs = True
    made.state = types.SimpleNamespace(global_step=0)
    made._get_learning_rate = lambda: 0.0
    made.custom_metrics = mock.MagicMock()  # running means: metrics are not what is judged here
    return made


def stage2(here, world, packed):
    """The project's own stage-2 trainer, with cross-entropy on text as its only loss."""
    text_only = {"schedule": {"b_ratio": 1.0}, "bbox_smoothl1_weight": 0.0, "bbox_ciou_weight": 0.0}
    matching = {**harness.MATCHING, "packing_enabled": packed, "packing_min_fill_ratio": 0.5}
    return harness.make_trainer(here.trainer, world, stage2={**harness.STAGE2, **text_only}, matching=matching)


def run(here, world, trainer, batch, samples):
    """One forward by the trainer's own loss, and what was seen of it."""
    labels = batch["labels"][0]
    if "_rollout_matching_meta" not in batch and hasattr(trainer, "_packing_enabled"):
        batch = {**batch, "_rollout_matching_meta": [meta(s) for s in samples], "_stage2_ab_channel": "B"}
    world.model.train()
    world.model.config.use_cache = world.model.config.text_config.use_cache = False  # as ms-swift's trainer sets it
    return replies.ran(world.model, labels, lambda: here.call(trainer.compute_loss, world.model, dict(batch)))


def meta(sample):
    """What a stage-2 trainer is told of a segment: all of the assistant's text is to be supervised."""
    labels = list(sample["labels"])
    lengths = {"prefix_len": 0, "train_len": sum(y != IGNORE_INDEX for y in labels), "encoded_len": len(labels)}
    return {"prompt_len": harness.answer_at(labels), **lengths, "stage2_channel": "B"}


def one_pack(members, ran, unpacked, by_token):
    """What was measured of a pack, given what its trainer's run showed and those of all samples unpacked."""
    try:
        return replies.pack(members, ran, unpacked, by_token)
    except replies.TooShort as error:
        raise Refused("TooShort", str(error)) from error


def accepts_sdpa(here):
    """Whether the project's own check lets packed training run without a variable-length kernel."""
    if here.guard is None:
        return True
    config = types.SimpleNamespace(training={"packing": True}, model={"attn_impl": "sdpa"})
    try:
        here.call(here.guard, training_config=config)
    except Refused:
        return False
    return True
