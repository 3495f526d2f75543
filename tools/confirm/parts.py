"""What the demonstrations stand on: the real words, a small real model, and a trainer of the tree's own class."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

COORD_0 = 151_670
CONTROL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
PLAIN = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
IM_END = 151_645


class NotHere(Exception):
    """The tree has not what the demonstration asks."""


def of_tree(*names: str) -> Any:
    """The first of these `module:member` that the tree has."""
    for name in names:
        module, _, member = name.partition(":")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        if not member:
            return found
        if hasattr(found, member):
            return getattr(found, member)
    raise NotHere("no " + " or ".join(names))


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The error's type and text, or nothing where the call goes through."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


@contextlib.contextmanager
def replaced(thing: Any, **values: Any) -> Iterator[None]:
    before = {name: getattr(thing, name) for name in values if hasattr(thing, name)}
    for name, value in values.items():
        setattr(thing, name, value)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                setattr(thing, name, before[name])
            else:
                delattr(thing, name)


def box(desc: str, bins: tuple[int, ...], key: str = "bbox_2d") -> str:
    """A record as the assistant writes it."""
    return f'{{"desc": {json.dumps(desc, ensure_ascii=False)}, "{key}": [{", ".join(f"<|coord_{k}|>" for k in bins)}]}}'


def container(*records: str) -> str:
    return '{"objects": [' + ", ".join(records) + "]}"


def thing(desc: str, bins: tuple[int, ...], key: str = "bbox_2d") -> dict[str, Any]:
    """An object as the project's records have it."""
    return {"desc": desc, key: [f"<|coord_{k}|>" for k in bins]}


@lru_cache(maxsize=1)
def words() -> Any:
    """The Qwen BPE from dashscope's ranks, with the coordinate tokens, as a `transformers` fast tokenizer."""
    from transformers import AddedToken, Qwen2TokenizerFast
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    spec = importlib.util.find_spec("dashscope")
    assert spec is not None and spec.origin is not None
    lines = (Path(spec.origin).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    tokens = [base64.b64decode(line.split()[0]) for line in lines]
    rank, letter = {t: i for i, t in enumerate(tokens)}, bytes_to_unicode()

    def written(token: bytes) -> str:
        return "".join(letter[b] for b in token)

    def halves(token: bytes) -> str:
        pieces = [token[i : i + 1] for i in range(len(token))]
        while len(pieces) > 2:
            pairs = [rank.get(pieces[i] + pieces[i + 1], len(tokens)) for i in range(len(pieces) - 1)]
            i = pairs.index(min(pairs))
            pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
        return " ".join(map(written, pieces))

    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({written(t): i for i, t in enumerate(tokens)}), encoding="utf-8")
        merges.write_text("\n".join(halves(t) for t in tokens if len(t) > 1), encoding="utf-8")
        coords = ("<|coord_*|>", *(f"<|coord_{k}|>" for k in range(1000)))
        added = {
            len(tokens) + i: AddedToken(t, normalized=False, special=t in CONTROL)
            for i, t in enumerate((*CONTROL, *PLAIN, *coords))
        }
        named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None, "unk_token": None}
        made = Qwen2TokenizerFast(
            vocab_file=str(vocabulary), merges_file=str(merges), added_tokens_decoder=added, **named
        )
    assert made.convert_tokens_to_ids("<|coord_0|>") == COORD_0 and made.eos_token_id == IM_END
    return made


def ids(text: str) -> list[int]:
    return [int(t) for t in words().encode(text, add_special_tokens=False)]


@lru_cache(maxsize=1)
def model() -> Any:
    """A Qwen3-VL of two small layers with random weights, on the CPU."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    torch.set_num_threads(1)
    torch.manual_seed(0)
    text = {
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"num_key_value_heads": 1, "head_dim": 16, "vocab_size": 152_704, "max_position_embeddings": 32_768},
        "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        **{"initializer_range": 0.2, "tie_word_embeddings": False},
    }
    vision = {
        **{"hidden_size": 32, "intermediate_size": 64, "depth": 1, "num_heads": 2, "patch_size": 16},
        **{"out_hidden_size": 32, "deepstack_visual_indexes": [0], "num_position_embeddings": 64},
    }
    marks = {"image_token_id": 151_655, "video_token_id": 151_656}
    marks.update(vision_start_token_id=151_652, vision_end_token_id=151_653)
    made = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **marks)
    )
    return made.float().train()


@contextlib.contextmanager
def vision_importable() -> Iterator[None]:
    """A module named torchvision for as long as upstream's image code asks for one, where none is installed."""
    if importlib.util.find_spec("torchvision"):
        yield
        return
    made: Any = types.ModuleType("torchvision")
    made.io, made.transforms = types.ModuleType("torchvision.io"), types.ModuleType("torchvision.transforms")
    made.__version__, made.__spec__ = "0.0.0", importlib.machinery.ModuleSpec("torchvision", None)
    made.transforms.InterpolationMode = None
    made.transforms.Resize = lambda size, **kw: lambda image: image.resize((size[1], size[0]))
    names = {"torchvision": made, "torchvision.io": made.io, "torchvision.transforms": made.transforms}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


def template(**settings: Any) -> Any:
    """ms-swift's `qwen3_vl` template over these words."""
    import torch
    from swift.llm import get_template
    from transformers import Qwen2VLImageProcessor

    with vision_importable():
        importlib.import_module("qwen_vl_utils")
    info = {"config": model().config, "task_type": "causal_lm", "max_model_len": 32_768, "model_dir": ""}
    parts = types.SimpleNamespace(
        tokenizer=words(),
        image_processor=Qwen2VLImageProcessor(patch_size=16, merge_size=2, temporal_patch_size=2),
        model_info=types.SimpleNamespace(**info, torch_dtype=torch.float32),
        model_meta=types.SimpleNamespace(is_multimodal=True, model_type="qwen3_vl"),
    )
    made = get_template("qwen3_vl", parts, **{"max_length": 32_768, "truncation_strategy": "raise", **settings})
    made.model = model()
    made.set_mode("train")
    return made


STAGE2 = {
    **{"schedule": {"b_ratio": 0.5}, "n_softctx_iter": 1, "softctx_grad_mode": "unroll", "softctx_temperature": 1.0},
    **{"desc_ce_weight": 1.0, "bbox_smoothl1_weight": 1.0, "bbox_ciou_weight": 1.0},
    "channel_b": {"drop_invalid_struct_ce_multiplier": 1.0},
}
MATCHING = {
    **{"rollout_backend": "hf", "decode_mode": "greedy", "decode_batch_size": 4, "max_new_tokens": 4096},
    **{"maskiou_gate": 0.3, "candidate_top_k": 5, "maskiou_resolution": 128, "fp_cost": 1.0, "fn_cost": 1.0},
    **{"packing_enabled": False, "packing_length": 16_384, "packing_buffer": 64, "packing_min_fill_ratio": 0.1},
    **{"packing_drop_last": True, "decoding": {"temperature": 0.0}},
}
# Of the reference commit, and of the newest.
STAGE2_TRAINER = (
    "src.trainers.stage2_ab_training:Stage2ABTrainingTrainer",
    "src.trainers.stage2_two_channel:Stage2ABTrainingTrainer",
    "src.trainers.stage2_two_channel:Stage2TwoChannelTrainer",
)
ROLLOUT_TRAINER = (
    "src.trainers.rollout_matching_sft:RolloutMatchingSFTTrainer",
    "src.trainers.stage2_rollout_aligned:RolloutMatchingSFTTrainer",
    "src.trainers.stage2_rollout_aligned:Stage2RolloutAlignedTrainer",
)
OBJECTIVE = {
    "token_ce": ("anchor_text_only", {"desc_ce_weight": 1.0, "rollout_fn_desc_weight": 1.0}),
    "bbox_geo": ("anchor_only", {"smoothl1_weight": 1.0, "ciou_weight": 1.0}),
    "bbox_size_aux": ("anchor_only", {"log_wh_weight": 0.0, "oversize_penalty_weight": 0.0}),
    "coord_reg": (
        "anchor_only",
        dict.fromkeys(("coord_ce_weight", "coord_gate_weight", "soft_ce_weight", "w1_weight"), 0.0),
    ),
}


def later() -> bool:
    """Whether the tree's trainers take their objective from a list of modules."""
    return importlib.util.find_spec("src.trainers.teacher_forcing") is not None


def _newest(stage2: dict[str, Any], matching: dict[str, Any]) -> dict[str, Any]:
    """What the newest trainers want in place of the reference commit's settings; the objective's manifest."""
    size = matching.pop("decode_batch_size")
    matching.update(channel_b_decode_batch_size=size, eval_decode_batch_size=size)
    matching.setdefault("prompt_variant", None)
    matching.setdefault("eval_rollout_backend", matching["rollout_backend"])
    explorer = {"explorer_temperature": 0.7, "explorer_top_p": 0.95, "explorer_top_k": 64}
    channel_b = {"triage_posterior": {"num_rollouts": 2, **explorer}}
    weights = {"bbox_smoothl1_weight": "smoothl1_weight", "bbox_ciou_weight": "ciou_weight"}
    boxes = {new: stage2[old] for old, new in weights.items()}
    kept = {"schedule": stage2["schedule"], "channel_b": channel_b}
    stage2.clear()
    stage2.update(kept)
    shared = {"enabled": True, "weight": 1.0, "channels": ["A", "B"]}
    modules = [
        {
            **{"name": name, **shared, "application": {"preset": preset}},
            "config": {**settings, **(boxes if name == "bbox_geo" else {})},
        }
        for name, (preset, settings) in OBJECTIVE.items()
    ]
    diagnostics = [{"name": "coord_diag", **shared, "config": {}}]
    return {"objective": modules, "diagnostics": diagnostics, "extra": {}, "checksum": ""}


def upstream_bases(cls: type, member: str) -> list[type]:
    return [b for b in cls.__mro__ if b.__module__.split(".")[0] in ("swift", "transformers") and member in vars(b)]


def trainer(
    names: tuple[str, ...] = STAGE2_TRAINER,
    *,
    whole: bool = True,
    seed: int = 0,
    step: int = 0,
    stage2: Any = None,
    **matching: Any,
) -> Any:
    """A trainer of the tree's own class whose upstream constructors were left out. whole: with model and template."""
    cls = of_tree(*names)
    with contextlib.ExitStack() as stack:
        for base in upstream_bases(cls, "__init__"):
            stack.enter_context(replaced(base, __init__=lambda self, *a, **k: None))
        made = cls()
    ones = ("per_device_train_batch_size", "world_size", "gradient_accumulation_steps", "logging_steps")
    made.args = types.SimpleNamespace(seed=seed, process_index=0, output_dir="", **dict.fromkeys(ones, 1))
    made.state = types.SimpleNamespace(global_step=step)
    made.object_field_order = "desc_first"
    chosen = {"object_ordering": "sorted", "object_field_order": "desc_first"}
    made.stage2_ab_cfg, made.rollout_matching_cfg = {**STAGE2, **(stage2 or {})}, {**MATCHING, **chosen, **matching}
    if later():
        made.stage2_pipeline_manifest = _newest(made.stage2_ab_cfg, made.rollout_matching_cfg)
    made.compute_loss_context_manager = contextlib.nullcontext
    if whole:
        made.model, made.template, made.processing_class = model(), template(), words()
        made.accelerator = types.SimpleNamespace(device=model().device)
    return made


def sample(*objects: dict[str, Any]) -> dict[str, Any]:
    """A dataset sample as the trainers receive it."""
    turns = [{"role": "user", "content": "Locate every object."}]
    return {"messages": turns, "assistant_payload": {"objects": list(objects)}, "width": 1000, "height": 1000}


def prompt_of(made: Any, one: dict[str, Any]) -> list[int]:
    """The tokens before the assistant's first one."""
    turns = [*one["messages"], {"role": "assistant", "content": [0]}]
    encoded = made.template.encode({**one, "messages": turns}, return_length=True)
    labels = [int(y) for y in encoded["labels"]]
    return [int(t) for t in encoded["input_ids"]][: next(i for i, y in enumerate(labels) if y != -100)]


def rolling_out(made: Any, *texts: str) -> Any:
    """The trainer, which is given these rollouts one after the other; a text ends in `<|im_end|>`.

    Who asks for a second view of a sample is given the same again.
    """
    pending, known = list(texts), {}

    def rollouts(chunk: Any, **_: Any) -> list[Any]:
        given = []
        for one in chunk:
            payload = one["assistant_payload"]
            if id(payload) not in known:
                text = pending.pop(0)
                known[id(payload)] = payload, ([*ids(text), IM_END], text, "greedy", prompt_of(made, one))
            given.append(known[id(payload)][1])
        return given

    made._rollout_many = rollouts
    return made


@dataclasses.dataclass
class Segment:
    """A Channel-B training segment: the assistant's tokens, and for each whether it is supervised (has gradient)."""

    tokens: list[str]
    text: list[float]  # norm of the gradient on columns of text at the logits that predict the token
    share: list[float]  # of the token's cross-entropy in the loss
    meta: dict[str, Any]
    metrics: dict[str, float]
    ids: list[int]


def trained(made: Any, one: dict[str, Any], text: str) -> Segment:
    """One Channel-B sample through the trainer's own preparation, loss and backward pass."""
    import torch.nn.functional as F

    rolling_out(made, text)
    batch = made._prepare_batch_inputs_b([one], _segments_only=False)
    meta = batch["_rollout_matching_meta"][0]
    metrics = dict(batch.get("_rollout_matching_batch_metrics", {}))
    row, kept, losses = batch["input_ids"][0].tolist(), [], []
    batch.setdefault("labels", batch["input_ids"].clone())
    batch.update(channel="x", logits_to_keep=None)
    batch.setdefault("loss_scale", batch["input_ids"].new_ones(batch["input_ids"].shape).float())

    def keep(module: Any, args: Any, output: Any) -> None:
        output.logits.retain_grad()
        kept.append(output.logits)

    plain = F.cross_entropy

    def watched(*args: Any, **kwargs: Any) -> Any:
        loss = plain(*args, **kwargs)
        if kwargs.get("reduction") == "none" and loss.requires_grad:
            loss.retain_grad()
            losses.append(loss)
        return loss

    made.model.zero_grad(set_to_none=True)
    hook = made.model.register_forward_hook(keep)
    try:
        with replaced(F, cross_entropy=watched):
            made.compute_loss(made.model, batch).backward()
    finally:
        hook.remove()
    prompt, length = int(meta["prompt_len"]), int(meta["train_len"])
    grad = kept[-1].grad[0]
    norms = [float(grad[p - 1, :COORD_0].norm()) for p in range(prompt, prompt + length)]
    weighed = next((x.grad for x in losses if x.numel() == len(row) - 1), None)
    shares = [] if weighed is None else [float(v) for v in weighed[prompt - 1 : prompt - 1 + length]]
    made.model.zero_grad(set_to_none=True)
    answer = row[prompt : prompt + length]
    return Segment([words().decode([t]) for t in answer], norms, shares, meta, metrics, answer)


def on_two_ranks(body: Callable[[int, Any], Any], seconds: float = 240.0) -> list[Any]:
    """`body(rank, torch.distributed)` in two forked processes of a gloo group; what each returned, None if it hung."""
    import select
    import signal
    import time
    from datetime import timedelta

    import torch.distributed as dist

    folder, pipes, pids = tempfile.mkdtemp(), [], []
    for rank in (0, 1):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.environ["GLOO_SOCKET_IFNAME"] = "lo"
                meeting = f"file://{folder}/meeting"
                limit = timedelta(seconds=seconds)
                dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=limit)
                try:
                    value = {"value": body(rank, dist)}
                except Exception as error:
                    value = {"error": f"{type(error).__name__}: {error}"}
                os.write(writing, json.dumps(value).encode())
                with contextlib.suppress(Exception):
                    dist.barrier()
            finally:
                os._exit(0)
        os.close(writing)
        pipes.append(reading)
        pids.append(pid)
    until, answers = time.monotonic() + seconds, []
    for reading in pipes:
        ready = select.select([reading], [], [], max(0.1, until - time.monotonic()))[0]
        data = os.read(reading, 1 << 20) if ready else b""
        answers.append(json.loads(data) if data else None)
    time.sleep(0.2)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return answers
