"""Rendering: prompts, labels, padding, length limits, and what encoding leaves behind in a template."""

import contextlib
import os

from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.pipelines.api import Refused, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.template import conversation as talk
from coordexp_audit_lib.pipelines.coordexp.answers.template.conversation import PROMPTED, new_template, prompted
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.configs import sha, typed
from coordexp_audit_lib.pipelines.coordexp.harness.dataset import DATASET, dataset_of, encoding, record_of

MISSING = "(no such setting)"


@binds("template.prompt", **PROMPTED)
def prompt(request, here):
    _, encoded = talk.encoded_fixed(here, request)
    ids = harness.whole(encoded["input_ids"])[: harness.answer_at(encoded["labels"])]
    return {"tokens": talk.trace(ids), "system": ids[1] == tokenizer.encode("system")[0]}


@binds("template.rollout_prompt", ask=symbols.ROLLOUT_MANY, trainer=symbols.STAGE2_TRAINER, **PROMPTED)
def rollout_prompt(request, here):
    template, sample = talk.encoded_fixed(here, request)
    trainer = talk.trainer_of(here, template, request, request["backend"])
    generated = talk.generated_prompt(here, trainer, sample, request["backend"])
    forced, start = talk.teacher_forced_ids(here, trainer, sample)
    shared = talk.trace(forced[: len(generated)])
    return {"generated": talk.trace(generated), "teacher_forced": shared, "answer_at": start}


@binds("template.encode", collator=symbols.SAMPLE_COLLATOR, **DATASET)
def encode(request, here):
    template = new_template(here, request["system"])
    records = [record_of(here, r) for r in request["records"]]
    told = {"user_prompt": request["user"], "object_field_order": request["field_order"]}
    made = dataset_of(here, records, template, **told, **prompted(template))
    samples = [None] * len(records)
    for i in range(len(records)):
        encoded = encoding(here, made.__getitem__, i)
        samples[int(encoded["base_idx"])] = encoded
    unpacked = [facts(s) for s in samples]
    batch = encoding(here, here.collator(template, template.data_collator), samples)
    padded = {"padded_ids": batch["input_ids"].tolist(), "padded_labels": batch["labels"].tolist()}
    return {"unpacked": unpacked, "pad": int(template.tokenizer.pad_token_id), **padded}


def facts(encoded):
    grid = encoded.get("image_grid_thw")
    return {
        "input_ids": harness.whole(encoded["input_ids"]),
        "labels": harness.whole(encoded["labels"]),
        "grid": [] if grid is None else grid.tolist(),
    }


@binds("template.settings", load=symbols.MATERIALISE)
def settings(request, here):
    """The template section and the length limit of the materialised config, as the loader hands them upstream."""
    config = typed(here, request["config"])
    template = dict(config.template or {})
    limit = template.get("max_length", config.global_max_length)
    # ms-swift: no strategy is `delete`, and `delete` is `raise` in a template.
    strategy = template.get("truncation_strategy") or "delete"
    return {"max_length": limit, "strategy": "raise" if strategy == "delete" else strategy}


def dataset_of_one(here, record, template):
    return dataset_of(here, [record], template, user_prompt="Every object.", **prompted(template))


@binds("template.limit", **DATASET)
def limit(request, here):
    objects = [["object", [k % 1000, (k + 1) % 1000, 999, 999]] for k in range(request["objects"])]
    objects.sort(key=lambda o: (o[1][1], o[1][0]))
    record = record_of(here, {"objects": objects, "pictures": [[64, 64]]})

    def encoded(max_length):
        template = new_template(here, "Locate.", max_length, request["strategy"])
        sample = encoding(here, dataset_of_one(here, record, template).__getitem__, 0)
        return harness.whole(sample["input_ids"]), [i for i in harness.whole(sample["labels"]) if i != IGNORE_INDEX]

    whole, whole_answer = encoded(1_000_000)
    ids, answer = encoded(request["max_length"])
    return {
        **{"length": len(ids), "answer": len(answer), "ended": tokenizer.IM_END in answer},
        **{"whole_length": len(whole), "whole_answer": len(whole_answer)},
    }


def state_of(template):
    """The settings that encoding might touch; prompts by digest."""
    names = ("max_pixels", "max_length", "mode", "packing", "padding_free", "truncation_strategy")
    prompts = {"system": getattr(template, "system", MISSING), "default_system": template.template_meta.default_system}
    return {**flags_of(template, names), **{name: digest(value) for name, value in prompts.items()}}


def digest(value):
    return value if value == MISSING else sha(repr(value))


@binds("template.state", **DATASET)
def state(request, here):
    template = new_template(here, "Locate.")
    before, told = state_of(template), []
    for step in request["steps"]:
        record = record_of(here, {"objects": [["cup", [1, 2, 3, 4]]], "pictures": [[64, 64]]})
        if step["fails"]:
            record["images"] = [os.path.join(here.scratch, "no such picture.png")]
        made = dataset_of_one(here, record, template)
        made.system_prompt_dense = step["system"]
        ids, raised = "", ""
        try:
            sample = encoding(here, made.__getitem__, 0)
            ids = sha(repr(harness.whole(sample["input_ids"])))
        except Refused as refused:
            raised = refused.type_name
        told.append({"state": state_of(template), "ids": ids, "raised": raised})
    return {"before": before, "steps": told}


@binds("template.switch", switch=symbols.SWITCH_TEMPLATE, trainer=symbols.STAGE2_TRAINER)
def switch(request, here):
    template = new_template(here, "Locate.")
    template.packing = template.padding_free = request["packing"]
    template.set_mode(request["mode"])
    world = harness.World(template.tokenizer, harness.world(here).model, template)
    trainer = harness.make_trainer(here.trainer, world)
    names = {"packing_off": symbols.PACKING_OFF, "packing_on": symbols.PACKING_ON, "train": symbols.TRAIN_MODE}
    before, inside = flags_of(template), {}
    with contextlib.suppress(Deliberate), contextlib.ExitStack() as stack:
        for name in request["names"]:
            stack.enter_context(getattr(trainer, names[name].member)())
        inside = flags_of(template)
        if request["fails"]:
            raise Deliberate
    return {"before": before, "inside": inside, "after": flags_of(template)}


class Deliberate(Exception):
    """Raised within a temporary state, to see what it leaves behind."""


def flags_of(template, names=("packing", "padding_free", "mode")):
    return {n: str(getattr(template, n, MISSING)) for n in names}
