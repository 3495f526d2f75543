"""The project's dataset over ms-swift's `qwen3_vl` template with the real BPE, and the rollout path of its trainer.

The template is made as the project's entrypoint has it made: the prompts that the project's builder gives become the
template's default system prompt and the dataset's user prompt, and what the entrypoint reads off the template is read
off it here.
"""

import contextlib
import dataclasses
from typing import Any

from coordexp_audit_lib.kit import prompt_trace
from coordexp_audit_lib.kit import template as kit_template
from coordexp_audit_lib.pipelines.api import Refused
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.dataset import DATASET, dataset_of, encoding, record_of

MAX_PIXELS = 786_432
FIXED = {"objects": [["cup", [12, 34, 256, 480]], ["t-shirt.", [300, 310, 640, 999]]], "pictures": [[64, 64]]}
PROMPTED = {"prompts": symbols.TEMPLATE_PROMPTS, **DATASET}


def new_template(here, system, max_length=kit_template.LONGEST, strategy="raise"):
    """A fresh template over the shared parts, as `TrainArguments` would ask for it."""
    world = harness.world(here)
    limits = {"max_length": max_length, "truncation_strategy": strategy, "max_pixels": MAX_PIXELS}
    return kit_template.build(world.template.processor, world.model, default_system=system, **limits)


def prompted(template):
    """The dataset's own system prompt: what the entrypoint reads off the template."""
    return {"system_prompt_dense": getattr(template, "system", None)}


def prompts_of(here, request):
    """The project's system and user prompt for these settings."""
    wanted = {"prompt_variant": request["variant"], "object_field_order": request["field_order"]}
    return here.ask(here.prompts, ordering=request["ordering"], coord_mode="coord_tokens", **wanted)


def encoded_fixed(here, request):
    """The fixed sample under the project's own prompts: the template, and what the dataset gives."""
    system, user = prompts_of(here, request)
    template = new_template(here, system)
    order = {"object_field_order": request["field_order"], "object_ordering": request["ordering"]}
    made = dataset_of(here, [record_of(here, FIXED)], template, user_prompt=user, **prompted(template), **order)
    return template, encoding(here, made.__getitem__, 0)


def trace(ids):
    """The ids, told so that they can be compared but not read."""
    return dataclasses.asdict(prompt_trace.trace(ids))


def trainer_of(here, template, request, backend):
    """The stage-2 trainer over this template, as the harness makes it."""
    world = harness.world(here)
    parts = harness.World(template.tokenizer, world.model, template)
    matching = {
        **harness.MATCHING,
        **{"rollout_backend": backend, "decode_batch_size": 1, "max_new_tokens": 16, "vllm": {"mode": "colocate"}},
        **{"candidate_top_k": 16, "maskiou_resolution": 256},
    }
    chosen = {"stage2": harness.STAGE2, "matching": matching, "order": request["field_order"]}
    chosen.update(ordering=request["ordering"], variant=request["variant"])  # as the entrypoint sets both
    made = harness.make_trainer(here.trainer, parts, **chosen)
    made.object_ordering = request["ordering"]
    return made


def generated_prompt(here, trainer, sample, backend):
    """The ids that generation starts from, by the trainer's own way to its backend."""
    asked: list[Any] = []

    def capture(samples, **_):
        asked.extend(samples)
        return [([], "", "greedy", []) for _ in samples]

    way = symbols.ROLLOUT_BY_HF if backend == "hf" else symbols.ROLLOUT_BY_VLLM
    setattr(trainer, way.member, capture)
    encoding(here, trainer._rollout_many, [sample])
    if not asked:
        raise Refused("NothingAsked", "the trainer asked its backend for nothing")
    if backend == "hf":
        template = trainer.template
        with trainer._template_packing_disabled(), template.generate_context():
            return harness.whole(encoding(here, template.encode, dict(asked[0]), return_length=True)["input_ids"])
    from swift.llm import InferRequest

    # before 2026-02-11 the messages go out as they are
    build = getattr(trainer, symbols.BUILD_SERVER_REQUESTS.member, list)
    (message,) = here.call(build, asked)
    server = new_template(here, None)
    server.set_mode("pt")
    request = InferRequest(**{k: v for k, v in message.items() if k in ("messages", "images")})
    return harness.whole(encoding(here, server.encode, request)["input_ids"])


def teacher_forced_ids(here, trainer, sample):
    """The teacher-forced ids of the trainer's own Channel-A encode, and where the answer begins.

    Where this tree's Channel-A wants settings that the harness does not write, the dataset's teacher-forced ids.
    """
    encoded = sample
    with contextlib.suppress(Refused):
        segments, _ = encoding(here, trainer._prepare_batch_inputs_a, [sample], _segments_only=True)
        encoded = segments[0][0]
    return harness.whole(encoded["input_ids"]), harness.answer_at(encoded["labels"])
