"""The project's dataset over ms-swift's `qwen3_vl` template with the real BPE, and the rollout path of its trainer.

The template is made as the project's entrypoint has it made: the prompts that the project's builder gives become the
template's default system prompt and the dataset's user prompt, and what the entrypoint reads off the template is read
off it here. Pictures are drawn into the scratch folder; their sides are multiples of 32, so that nothing resizes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any

from coordexp_audit_lib.pipelines.api import CannotImport, Refused
from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness
from coordexp_audit_lib.pipelines.coordexp.answers.geometry_template import visible, vision_modules
from coordexp_audit_lib.pipelines.coordexp.answers.packing_batch import _KEPT, part, template_of

MAX_PIXELS = 786_432
PROMPT_NAMES = ("ordering", "variant", "field_order")
FIXED = {"objects": [["cup", [12, 34, 256, 480]], ["t-shirt.", [300, 310, 640, 999]]], "pictures": [[64, 64]]}
DATASET = {
    "dataset": ("src.datasets.dense_caption:BaseCaptionDataset",),
    "coord_config": ("src.config.schema:CoordTokensConfig",),
}
PROMPTS = {"prompts": ("src.config.prompts:get_template_prompts",)}


def new_template(here, system, max_length=32_768, strategy="raise"):
    """A fresh template over the shared processor, in training mode, as `TrainArguments` would ask for it."""
    from swift.llm import get_template

    shared = template_of(here)
    template = get_template(
        "qwen3_vl",
        _KEPT["template"].processor,
        default_system=system,
        max_length=max_length,
        truncation_strategy=strategy,
        max_pixels=MAX_PIXELS,
    )
    template.model = shared.model
    template.set_mode("train")
    return template


def run(here, function, *args, **kwargs):
    """`here.call`, with stand-ins for what upstream wants of torchvision; what can't be imported is no refusal."""
    with visible(vision_modules()):
        try:
            return here.call(function, *args, **kwargs)
        except Refused as refused:
            if refused.type_name in ("ModuleNotFoundError", "ImportError"):
                raise CannotImport("the template cannot encode: %s" % refused) from refused
            raise


def prompts_of(here, request):
    """The project's system and user prompt for these settings."""
    wanted = dict(
        ordering=request["ordering"],
        coord_mode="coord_tokens",
        prompt_variant=request["variant"],
        object_field_order=request["field_order"],
    )
    return here.call(here.prompts, **here.fitting(here.prompts, **wanted))


def record_of(here, made):
    """A dataset record, its pictures as files. Objects stand as given: the requests have them in sorted order."""
    paths = [draw(here, size, number) for number, size in enumerate(made["pictures"])]
    objects = [{"desc": d, "bbox_2d": ["<|coord_%d|>" % k for k in box]} for d, box in made["objects"]]
    width, height = made["pictures"][0] if made["pictures"] else (64, 64)
    return {"images": paths, "objects": objects, "width": width, "height": height}


def draw(here, size, number):
    from PIL import Image

    path = os.path.join(here.scratch, "template-%d-%d-%d.png" % (*size, number))
    if not os.path.exists(path):
        Image.fromarray(part("picture").pixels(number, *size)).save(path)
    return path


def dataset_of(here, records, template, user, **settings):
    """The project's dataset; its system prompt is what the entrypoint reads off the template."""
    return here.call(
        here.dataset,
        base_records=records,
        template=template,
        user_prompt=user,
        emit_norm="none",
        json_format="standard",
        system_prompt_dense=getattr(template, "system", None),
        seed=0,
        coord_tokens=here.coord_config(enabled=True, skip_bbox_norm=True),
        object_ordering=settings.get("ordering", "sorted"),
        object_field_order=settings.get("field_order", "desc_first"),
    )


def encoded_fixed(here, request):
    """The fixed sample under the project's own prompts: the template, and what the dataset gives."""
    system, user = prompts_of(here, request)
    template = new_template(here, system)
    made = dataset_of(
        here, [record_of(here, FIXED)], template, user, field_order=request["field_order"], ordering=request["ordering"]
    )
    return template, run(here, made.__getitem__, 0)


def answer_at(labels):
    """Where the supervised part begins."""
    return next((i for i, label in enumerate(labels) if label != -100), len(labels))


def trace(ids):
    """What `coordexp_audit_lib.boundaries.template.trace.trace` makes of ids."""
    running, marks = hashlib.sha256(), []
    for token in ids:
        running.update(b"%d," % token)
        marks.append(running.hexdigest()[:2])
    return {"length": len(marks), "digest": running.hexdigest()[:16], "marks": "".join(marks)}


def plain(values):
    return [int(v) for v in (values.tolist() if hasattr(values, "tolist") else values)]


# ---- rollouts ------------------------------------------------------------------------------------------------------


def trainer_of(here, template, request, backend):
    """The stage-2 trainer over this template, as `trainer_harness` makes it."""
    world = harness.world(here)
    parts = harness.World(template.tokenizer, world.model, template)
    stage2 = {"schedule": {"b_ratio": 0.5}, "n_softctx_iter": 1, "channel_b": {}}
    matching = {
        "rollout_backend": backend,
        "decode_mode": "greedy",
        "decode_batch_size": 1,
        "max_new_tokens": 16,
        "decoding": {"temperature": 0.0},
        "vllm": {"mode": "colocate"},
        "maskiou_gate": 0.3,
        "candidate_top_k": 16,
        "maskiou_resolution": 256,
        "fp_cost": 1.0,
        "fn_cost": 1.0,
    }
    made = harness.make_trainer(here.trainer, parts, stage2=stage2, matching=matching, order=request["field_order"])
    made.object_ordering = request["ordering"]
    return made


def generated_prompt(here, trainer, sample, backend):
    """The ids that generation starts from, by the trainer's own way to its backend."""
    asked: list[Any] = []

    def capture(samples, **_):
        asked.extend(samples)
        return [([], "", "greedy", []) for _ in samples]

    setattr(trainer, "_rollout_many_hf" if backend == "hf" else "_rollout_many_vllm", capture)
    run(here, trainer._rollout_many, [sample])
    if not asked:
        raise Refused("NothingAsked", "the trainer asked its backend for nothing")
    if backend == "hf":
        template = trainer.template
        with trainer._template_packing_disabled(), template.generate_context():
            return plain(run(here, template.encode, dict(asked[0]), return_length=True)["input_ids"])
    from swift.llm import InferRequest

    if hasattr(trainer, "_build_vllm_server_infer_requests"):
        (message,) = here.call(trainer._build_vllm_server_infer_requests, asked)
    else:  # before 2026-02-11 the messages go out as they are
        message = asked[0]
    server = new_template(here, None)
    server.set_mode("pt")
    request = InferRequest(**{k: v for k, v in message.items() if k in ("messages", "images")})
    return plain(run(here, server.encode, request)["input_ids"])


def taught_ids(here, trainer, sample):
    """The teacher-forced ids of the trainer's own Channel-A encode, and where the answer begins.

    Where this tree's Channel-A wants settings that the harness does not write, the dataset's teacher-forced ids.
    """
    encoded = sample
    with contextlib.suppress(Refused):
        segments, _ = run(here, trainer._prepare_batch_inputs_a, [sample], _segments_only=True)
        encoded = segments[0][0]
    return plain(encoded["input_ids"]), answer_at(plain(encoded["labels"]))
