"""How a CoordExp tree answers the surfaces of boundary 05, template. Standard library only at import time."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import os
import sys
import tempfile
import types
from typing import Any

from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness
from coordexp_audit_lib.pipelines.coordexp.answers.config import MATERIALISE, materialise, workspace
from coordexp_audit_lib.pipelines.coordexp.answers.packing_batch import _KEPT, cache_of, part
from coordexp_audit_lib.pipelines.coordexp.answers.supervision import accepted
from coordexp_audit_lib.pipelines.coordexp.answers.template_render import (
    DATASET,
    PROMPTS,
    answer_at,
    dataset_of,
    encoded_fixed,
    generated_prompt,
    new_template,
    plain,
    record_of,
    run,
    taught_ids,
    trace,
    trainer_of,
)

COORD_IDS = ("src.coord_tokens.codec:get_coord_token_ids",)
COLLATORS = (
    "src.data_collators.batch_extras_collator:build_dataset_metrics_collator",
    "src.data_collators.batch_extras_collator:build_batch_extras_collator",
    "src.data_collators.dataset_metrics:build_dataset_metrics_collator",
)
TRAINER = (
    "src.trainers.stage2_ab_training:Stage2ABTrainingTrainer",
    "src.trainers.stage2_two_channel:Stage2ABTrainingTrainer",
)
# Named for the place that a finding points at; what is called is the trainer's own bound method.
MATCHING = (
    "src.trainers.rollout_matching_sft:RolloutMatchingSFTTrainer",
    "src.trainers.stage2_rollout_aligned:RolloutMatchingSFTTrainer",
)
ROLLOUT_MANY = tuple(name + "._rollout_many" for name in MATCHING)
SWITCHES = tuple(name + "._template_state_context" for name in MATCHING)
PREPARE_B = tuple(name + "._prepare_batch_inputs_b" for name in TRAINER)
LOSS = "src.trainers.losses.coord_soft_ce_w1:"
MISSING = "(no such setting)"


# ---- vocabulary ----------------------------------------------------------------------------------------------------


def tokenizer_of(here, kind, at=0):
    """A tokenizer of `parts/variants.py` as a `transformers` fast tokenizer."""
    parts = part("tokenizer")
    if "real tokenizer" not in _KEPT:
        _KEPT["real tokenizer"] = parts.build(cache_of(here))
    fast = parts.fast(part("variants").build(kind, at, parts, _KEPT["real tokenizer"]))
    if kind == "unknown":
        fast.unk_token = part("variants").UNKNOWN
    return fast


@binds("template.vocabulary", expand=("scripts.tools.expand_coord_vocab:main",), ids=COORD_IDS)
def vocabulary(request, here):
    """The project's own script, on a base tokenizer without coordinate tokens and a model of one small layer."""
    module: Any = sys.modules[here.expand.__module__]
    base, model = tokenizer_of(here, "none"), small_model(request["rows"])
    kept = {n: getattr(module, n) for n in ("AutoTokenizer", "Qwen3VLForConditionalGeneration")}
    module.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda *a, **k: base)
    module.Qwen3VLForConditionalGeneration = types.SimpleNamespace(from_pretrained=lambda *a, **k: model)
    arguments = sys.argv
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        sys.argv = ["expand_coord_vocab.py", "--src", folder, "--dst", os.path.join(folder, "made")]
        base.save_pretrained = model.save_pretrained = lambda *a, **k: None  # 12 MB that nobody reads
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                here.call(here.expand)
        finally:
            sys.argv = arguments
            for name, value in kept.items():
                setattr(module, name, value)
    return {
        "length": len(base),
        "rows": int(model.get_input_embeddings().weight.shape[0]),
        "coord_ids": [int(i) for i in here.call(here.ids, base, **here.fitting(here.ids, validate=True))],
        "encoded": [base.encode(t, add_special_tokens=False) for t in request["texts"]],
    }


def small_model(rows):
    """A Qwen3-VL whose embedding has this many rows, tied to its head as the checkpoint's is."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = dict(
        vocab_size=rows,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        rope_scaling={"rope_type": "default", "mrope_section": [2, 1, 1]},
        tie_word_embeddings=True,
    )
    vision = dict(
        depth=1,
        hidden_size=8,
        intermediate_size=8,
        num_heads=1,
        out_hidden_size=8,
        deepstack_visual_indexes=[0],
        num_position_embeddings=16,
    )
    with torch.random.fork_rng(devices=[]):
        return Qwen3VLForConditionalGeneration(
            Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
        )


@binds("template.coord_check", ids=COORD_IDS)
def coord_check(request, here):
    made = tokenizer_of(here, request["kind"], request["at"])
    ids = [int(i) for i in here.call(here.ids, made, **here.fitting(here.ids, validate=True))]
    return {"first": ids[0], "last": ids[-1], "distinct": len(set(ids))}


@binds("template.rows_check", loss=(LOSS + "compute_coord_soft_ce_w1_loss",), id_map=(LOSS + "build_coord_id_map",))
def rows_check(request, here):
    """The coordinate loss of one step: a label on the last bin, logits as wide as the model's embedding has rows."""
    import torch

    rows, ids = request["rows"], [harness.COORD_0 + k for k in range(harness.BINS)]
    labels = torch.tensor([[-100, min(ids[-1], rows - 1), -100]])
    cfg = types.SimpleNamespace(
        enabled=True,
        ce_weight=0.0,
        soft_ce_weight=1.0,
        w1_weight=1.0,
        gate_weight=0.0,
        text_gate_weight=0.0,
        temperature=1.0,
        target_sigma=2.0,
        target_truncate=8,
    )
    device = torch.device("cpu")
    wanted = dict(
        logits=torch.zeros(1, 3, rows),
        labels=labels,
        masked_labels=labels.clone(),
        coord_token_ids=ids,
        coord_id_map=here.id_map(vocab_size=rows, device=device, coord_token_ids=ids),
        cfg=cfg,
        average_tokens_across_devices=False,
        model_accepts_loss_kwargs=False,
        accelerator_num_processes=1,
        coord_token_weights=None,
        tokenizer=None,
    )
    wanted = here.fitting(here.loss, **wanted)
    try:
        inspect.signature(here.loss).bind(**wanted)
    except TypeError as error:  # an argument that this file does not know is no judgement of the target's
        raise Unbound("the coordinate loss wants other arguments: %s" % error) from error
    here.call(here.loss, **wanted)
    return {"accepted": True}


@binds("template.server_check", prepare=PREPARE_B, trainer=TRAINER, **PROMPTS, **DATASET)
def server_check(request, here):
    """One Channel-B preparation on the project's default prompts; the server's ids differ as the request says."""
    accepted("b", here)
    settings = {"ordering": "sorted", "variant": "default", "field_order": "desc_first"}
    template, sample = encoded_fixed(here, settings)
    trainer = trainer_of(here, template, settings, "hf")
    tokenizer = template.tokenizer
    prompt = plain(sample["input_ids"])[: answer_at(plain(sample["labels"]))]
    text = '{"objects": [{"desc": "zebra fish", "bbox_2d": [' + ", ".join("<|coord_%d|>" % k for k in BINS) + "]}]}"
    answer = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.convert_tokens_to_ids("<|im_end|>")]
    other = renumbered(tokenizer, request["differs"], set(prompt))
    rollout = ([other.get(t, t) for t in answer], text, "greedy", [other.get(t, t) for t in prompt])
    trainer._rollout_many = lambda chunk, **_: [rollout for _ in chunk]
    run(here, trainer._prepare_batch_inputs_b, [sample], _segments_only=True)
    return {"accepted": True}


BINS = (701, 703, 811, 813)


def renumbered(tokenizer, differs, prompt):
    """How the server's ids differ from the learner's."""
    if differs == "shifted":
        return {i: i - 1 for i in range(harness.COORD_0, harness.COORD_0 + harness.BINS)}
    if differs == "no":
        return {}
    pair = [harness.COORD_0 + k for k in BINS[:2]]
    if differs == "word":
        pair = [tokenizer.encode(w, add_special_tokens=False)[0] for w in (" fish", " river")]
    if prompt & set(pair):
        raise ValueError("the prompt mentions the tokens that no prompt should mention")
    return {pair[0]: pair[1], pair[1]: pair[0]}


# ---- rendering -----------------------------------------------------------------------------------------------------


@binds("template.prompt", **PROMPTS, **DATASET)
def prompt(request, here):
    _, encoded = encoded_fixed(here, request)
    ids = plain(encoded["input_ids"])[: answer_at(plain(encoded["labels"]))]
    return {"tokens": trace(ids), "system": ids[1] == part("tokenizer").encode("system")[0]}


@binds("template.rollout_prompt", ask=ROLLOUT_MANY, trainer=TRAINER, **PROMPTS, **DATASET)
def rollout_prompt(request, here):
    template, sample = encoded_fixed(here, request)
    trainer = trainer_of(here, template, request, request["backend"])
    generated = generated_prompt(here, trainer, sample, request["backend"])
    taught, start = taught_ids(here, trainer, sample)
    return {"generated": trace(generated), "taught": trace(taught[: len(generated)]), "answer_at": start}


@binds("template.encode", collator=COLLATORS, **DATASET)
def encode(request, here):
    template = new_template(here, request["system"])
    records = [record_of(here, r) for r in request["records"]]
    made = dataset_of(here, records, template, request["user"], field_order=request["field_order"])
    samples = [None] * len(records)
    for i in range(len(records)):
        encoded = run(here, made.__getitem__, i)
        samples[int(encoded["base_idx"])] = encoded
    alone = [facts(s) for s in samples]
    batch = run(here, here.collator(template, template.data_collator), samples)
    return {
        "alone": alone,
        "padded_ids": batch["input_ids"].tolist(),
        "padded_labels": batch["labels"].tolist(),
        "pad": int(template.tokenizer.pad_token_id),
    }


def facts(encoded):
    grid = encoded.get("image_grid_thw")
    return {
        "input_ids": plain(encoded["input_ids"]),
        "labels": plain(encoded["labels"]),
        "grid": [] if grid is None else grid.tolist(),
    }


# ---- length --------------------------------------------------------------------------------------------------------


@binds("template.settings", load=MATERIALISE)
def settings(request, here):
    """The template section and the length limit of the materialised config, as the loader hands them upstream."""
    asked = {"config": request["config"], "files": {}, "depth": "typed"}
    with workspace(here, asked) as place:
        config, _ = materialise(asked, here, place)
    template = dict(config.template or {})
    limit = template.get("max_length", config.global_max_length)
    # ms-swift: no strategy is `delete`, and `delete` is `raise` in a template.
    strategy = template.get("truncation_strategy") or "delete"
    return {"max_length": limit, "strategy": "raise" if strategy == "delete" else strategy}


@binds("template.limit", **DATASET)
def limit(request, here):
    objects = [["object", [k % 1000, (k + 1) % 1000, 999, 999]] for k in range(request["objects"])]
    objects.sort(key=lambda o: (o[1][1], o[1][0]))
    record = record_of(here, {"objects": objects, "pictures": [[64, 64]]})

    def encoded(max_length):
        template = new_template(here, "Locate.", max_length, request["strategy"])
        sample = run(here, dataset_of(here, [record], template, "Every object.").__getitem__, 0)
        return plain(sample["input_ids"]), [i for i in plain(sample["labels"]) if i != -100]

    whole, whole_answer = encoded(1_000_000)
    ids, answer = encoded(request["max_length"])
    end = part("tokenizer").IM_END
    return {
        "length": len(ids),
        "answer": len(answer),
        "ended": end in answer,
        "whole_length": len(whole),
        "whole_answer": len(whole_answer),
    }


# ---- state ---------------------------------------------------------------------------------------------------------


def state_of(template):
    """The settings that encoding might touch; prompts by digest."""
    found = {"max_pixels": template.max_pixels, "max_length": template.max_length, "mode": template.mode}
    found.update({n: getattr(template, n, MISSING) for n in ("packing", "padding_free", "truncation_strategy")})
    told = {name: str(value) for name, value in found.items()}
    told["system"] = digest(getattr(template, "system", MISSING))
    told["default_system"] = digest(template.template_meta.default_system)
    return told


def digest(value):
    return value if value == MISSING else hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@binds("template.state", **DATASET)
def state(request, here):
    template = new_template(here, "Locate.")
    before, told = state_of(template), []
    for step in request["steps"]:
        record = record_of(here, {"objects": [["cup", [1, 2, 3, 4]]], "pictures": [[64, 64]]})
        if step["fails"]:
            record["images"] = [os.path.join(here.scratch, "no such picture.png")]
        made = dataset_of(here, [record], template, "Every object.")
        made.system_prompt_dense = step["system"]
        ids, raised = "", ""
        try:
            sample = run(here, made.__getitem__, 0)
            ids = hashlib.sha256(repr(plain(sample["input_ids"])).encode()).hexdigest()[:16]
        except Refused as refused:
            raised = refused.type_name
        told.append({"state": state_of(template), "ids": ids, "raised": raised})
    return {"before": before, "steps": told}


@binds("template.switch", switch=SWITCHES, trainer=TRAINER)
def switch(request, here):
    template = new_template(here, "Locate.")
    template.packing = template.padding_free = request["packing"]
    template.set_mode(request["mode"])
    world = harness.World(template.tokenizer, harness.world(here).model, template)
    trainer = harness.make_trainer(here.trainer, world)
    names = {"packing_off": "_template_packing_disabled", "packing_on": "_template_packing_enabled"}
    names["train"] = "_template_train_mode"
    before, inside = flags_of(template), {}
    with contextlib.suppress(Deliberate), contextlib.ExitStack() as stack:
        for name in request["names"]:
            stack.enter_context(getattr(trainer, names[name])())
        inside = flags_of(template)
        if request["fails"]:
            raise Deliberate
    return {"before": before, "inside": inside, "after": flags_of(template)}


class Deliberate(Exception):
    """Raised within a temporary state, to see what it leaves behind."""


def flags_of(template):
    return {n: str(getattr(template, n, MISSING)) for n in ("packing", "padding_free", "mode")}
