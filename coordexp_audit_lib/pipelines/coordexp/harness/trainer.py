"""A trainer of the target's own class on a CPU: its own `__init__` chain, a real ms-swift template, a small real model.

Only the upstream bases' `__init__` (of `swift` and `transformers`) is left out, for it wants datasets, devices and
output folders. Configs are plain mappings, as the project's own entrypoint sets them after construction.
"""

from __future__ import annotations

import contextlib
import math
import types
import typing

from coordexp_audit_lib.kit import model, picture, template, tokenizer
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.kit.tokenizer import IM_END
from coordexp_audit_lib.pipelines.api import Unbound
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import settings, wording

PROMPT = "Locate every object."
UPSTREAM = ("swift", "transformers")
STAGE2 = {
    "schedule": {"b_ratio": 0.5},
    **{"n_softctx_iter": 1, "softctx_grad_mode": "unroll", "softctx_temperature": 1.0},
    **{"desc_ce_weight": 1.0, "bbox_smoothl1_weight": 1.0, "bbox_ciou_weight": 1.0},
    "channel_b": {"drop_invalid_struct_ce_multiplier": 1.0},
}
MATCHING = {
    **{"rollout_backend": "hf", "decode_mode": "greedy", "decode_batch_size": 4, "max_new_tokens": 4096},
    **{"maskiou_gate": 0.3, "candidate_top_k": 64, "maskiou_resolution": 1000, "fp_cost": 1.0, "fn_cost": 1.0},
    "decoding": {"temperature": 0.0},
    **{"packing_enabled": False, "packing_length": 16384, "packing_buffer": 64},
    **{"packing_min_fill_ratio": 0.1, "packing_drop_last": True},
}


class World(typing.NamedTuple):
    """What every trainer of one worker shares."""

    tokenizer: typing.Any
    model: typing.Any
    template: typing.Any


WORLDS: list[World] = []  # one at most


def world(here):
    """The shared parts, made on first use (about ten seconds, most of them imports)."""
    return world_at(here.scratch)


def world_at(folder):
    """The same for whoever has no `here`; the folder is written to if nothing is made yet."""
    if not WORLDS:
        model.settle()
        words, small = tokenizer.fast(tokenizer.at(folder)), model.small()
        WORLDS.append(World(words, small, template.build(template.processor(words, small.config), small)))
    return WORLDS[0]


def upstream_bases(cls, member):
    """The classes of `cls`'s method resolution order that come from upstream and define `member` themselves."""
    return [b for b in cls.__mro__ if b.__module__.split(".")[0] in UPSTREAM and member in vars(b)]


@contextlib.contextmanager
def quiet_bases(cls):
    """The upstream classes of `cls`'s method resolution order with an `__init__` that does nothing."""
    with contextlib.ExitStack() as stack:
        for base in upstream_bases(cls, "__init__"):
            stack.enter_context(replaced(base, __init__=lambda self, *args, **kwargs: None))
        yield


def make_trainer(cls, parts, *, step=0, seed=0, stage2=None, matching=None, order="desc_first", **prompted):
    """A trainer whose own constructors ran; `parts` is a World or None where no model is needed.

    stage2, matching: as the reference commit's configs have them; the tree gets them in its own words. prompted: the
    config's `ordering` of objects and prompt `variant`.
    """
    stage2 = stage2 if stage2 is not None else {"schedule": {"b_ratio": 0.5}}
    with quiet_bases(cls):
        trainer = cls()
    ones = ("per_device_train_batch_size", "world_size", "gradient_accumulation_steps", "logging_steps")
    trainer.args = types.SimpleNamespace(seed=seed, process_index=0, output_dir="", **dict.fromkeys(ones, 1))
    trainer.state = types.SimpleNamespace(global_step=step)
    trainer.optimizer = trainer.lr_scheduler = None  # some log a learning rate, where there is one
    trainer.stage2_ab_cfg, trainer.object_field_order = settings.stage2(stage2), order
    trainer.rollout_matching_cfg = settings.matching(matching, order, **prompted) if matching else {}
    trainer.stage2_pipeline_manifest = settings.objective(stage2)
    if parts is not None:
        trainer.model, trainer.template, trainer.processing_class = parts.model, parts.template, parts.tokenizer
        trainer.accelerator = types.SimpleNamespace(device=parts.model.device)
    return trainer


def by_share(trainer):
    """Raises:
    Unbound: the trainer's channels follow a pattern, and its self-context has no mode of gradients.
    """
    if hasattr(trainer, symbols.SCHEDULE_PATTERN.member):
        raise Unbound("channels follow a pattern, not a share, and gradients have no mode (before 2026-02-04)")


def sample(gt, image=0, width=1000, height=1000):
    """A dataset sample as the trainers receive it: messages, and the ground truth as `assistant_payload`.

    gt: list of {"desc", "bbox": 4 bins}. image: side of a generated RGB image in pixels, a multiple of 32; 0 for none.
    """
    return {
        "messages": [{"role": "user", "content": ("<image>" if image else "") + PROMPT}],
        "assistant_payload": wording.payload([boxed(o["desc"], o["bbox"]) for o in gt]),
        **{"width": width, "height": height},
        **({"images": [picture.image(0, image, image)]} if image else {}),
    }


def boxed(desc, bins):
    """An object as the project's records have it."""
    return {"desc": desc, "bbox_2d": ["<|coord_%d|>" % k for k in bins]}


def generated(parts, text, one):
    """A rollout of the sample as `_rollout_many` returns it."""
    text = wording.spoken(text)
    ids = [*parts.tokenizer.encode(text, add_special_tokens=False), IM_END]
    return ids, text, "greedy", prompt_ids(parts.template, one)


def replaying(answer):
    """Stands for `_rollout_many`: each sample gets what `answer(sample)` gives, and the same again when asked again.

    Later trainers ask for a second view of each sample (an explorer). It says the same again, so that an object that no
    ground truth matches has the support by which it stays in the target.
    """
    known: dict[int, tuple[object, object]] = {}

    def rollouts(chunk, **_):
        given = []
        for one in chunk:
            payload = one["assistant_payload"]  # samples are copied on the way, what they hold is not
            if id(payload) not in known:
                known[id(payload)] = payload, answer(one)  # held, so that no other payload gets its id
            given.append(known[id(payload)][1])
        return given

    return rollouts


def prompt_ids(made, one):
    """The ids before the assistant's first token, as a rollout server would report them."""
    turns = [*one["messages"], {"role": "assistant", "content": [0]}]
    encoded = made.encode({**one, "messages": turns}, return_length=True)
    return whole(encoded["input_ids"])[: answer_at(encoded["labels"])]


def answer_at(labels):
    """Where the supervised part begins; the length if there is none."""
    return next((i for i, label in enumerate(labels) if label != IGNORE_INDEX), len(labels))


def whole(values):
    """Integers of a list or a tensor."""
    return [int(v) for v in (values.tolist() if hasattr(values, "tolist") else values)]


def short(number, digits=4, floor=1e-9):
    """So many significant digits, and 0.0 below `floor`: what processors share; None where it is not finite."""
    value = float(number)
    if not math.isfinite(value):
        return None
    return 0.0 if abs(value) < floor else float("%.*g" % (digits, value))


def unfit(what):
    """What to raise where a trainer refuses the harness's settings: that must not read like an answer."""
    return Unbound("the trainer refuses the settings that the harness gives it: " + str(what)[:200])
