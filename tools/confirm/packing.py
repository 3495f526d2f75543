"""Boundary 06: packs."""

import contextlib
import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import parts
from parts import of_tree, refusal


class _Lengths:
    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, int]:
        return {"length": self.lengths[i], "index": i}


def _static(lengths: list[int], length: int, **more: Any) -> Any:
    build = of_tree("src.datasets.wrappers.packed_caption:build_static_packed_dataset")
    with tempfile.TemporaryDirectory() as cache:
        flags = SimpleNamespace(packing=False, padding_free=False)
        given = {"packing_length": length, "cache_dir": cache, "fingerprint": {}, "train_dataloader_shuffle": False}
        return build(_Lengths(lengths), flags, **{**given, **more})


def each_once(tree: Path) -> tuple[bool, str]:
    """Two packs below the least fill: both go, and nothing of what the plan says of itself tells of it."""
    made = _static([60, 60, 90, 95, 60], 100, min_fill_ratio=0.65, packing_drop_last=True)
    kept = sorted(i for pack in made.raw_plan for i in pack)
    told = {k: v for k, v in vars(made).items() if isinstance(v, int) and ("skip" in k or "drop" in k or "single" in k)}
    quiet = all(not v for v in told.values())
    return kept == [2, 3] and quiet, f"of samples 0…4 the plan holds {kept}; its own counts: {told}"


def ddp_aligned(tree: Path) -> tuple[bool, str]:
    said = refusal(_static, [90, 95], 100, world_size=8)
    return said.startswith("IndexError"), f"2 packs on 8 ranks: {said}"


def stable_order(tree: Path) -> tuple[bool, str]:
    """Dynamic packing with carry-over: a pack whose samples do not stand in the dataset's order."""
    build = of_tree("src.datasets.wrappers.packed_caption:build_packed_dataset")
    drawn, found = random.Random(0), []
    for _ in range(60):
        lengths, flags = [drawn.randint(5, 70) for _ in range(12)], SimpleNamespace(packing=False, padding_free=False)
        made = build(_Lengths(lengths), flags, packing_length=100, buffer_size=4, min_fill_ratio=0.9)
        found += [[s["index"] for s in pack] for pack in made]
    odd = [pack for pack in found if pack != sorted(pack)]
    return bool(odd), f"packs {odd[:3]}"


def eval_unpacked(tree: Path) -> tuple[bool, str]:
    """The Stage-1 config asks for packed evaluation, and its own launcher's check refuses that."""
    import yaml

    name, asked = tree / "configs/stage1/ablation/geometry_first_coco80.yaml", None
    if not name.is_file():
        raise parts.NotHere("no such config")
    path: Path | None = name
    while path is not None and asked is None:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        asked, parent = (raw.get("training") or {}).get("eval_packing"), raw.get("extends")
        where, path = path.name, (path.parent / parent) if isinstance(parent, str) else None
    sft = of_tree("src.sft")
    lengths = SimpleNamespace(max_length=12_000, max_model_len=12_000)
    packing = sft._parse_packing_config({"packing": True, "eval_packing": asked}, lengths, lengths)
    said = refusal(sft._validate_stage1_static_packing_policy, packing_cfg=packing, trainer_variant=None)
    without = sft._parse_packing_config({"packing": True}, lengths, lengths)
    control = refusal(sft._validate_stage1_static_packing_policy, packing_cfg=without, trainer_variant=None)
    return asked is True and bool(said) and not control, f"eval_packing: {asked} in {where}; the launcher: {said[:120]}"


def loss_equivalent(tree: Path) -> tuple[bool, str]:
    """One Channel-B step over samples of unequal length, in one pack and in several: the same samples, another loss."""
    import torch

    objects = [[parts.thing(f"thing {i}", (9 * i, 9 * i, 9 * i + 300, 9 * i + 300)) for i in range(n)] for n in (1, 8)]
    samples = [parts.sample(*found) for found in objects]
    texts = [parts.container(*(parts.box(o["desc"], _bins(o)) for o in found)) for found in objects]
    ready, _ = parts.rolling_out(parts.trainer(), *texts)._prepare_batch_inputs_b(samples, _segments_only=True)
    longest = max(int(n) for _, _, n in ready)
    losses, packs = {}, {}
    for length in (16_384, longest + 1):
        text_only = {"schedule": {"b_ratio": 1.0}, "bbox_smoothl1_weight": 0.0, "bbox_ciou_weight": 0.0}
        made = parts.trainer(stage2=text_only, packing_enabled=True, packing_length=length)
        parts.rolling_out(made, *texts)
        packs[length] = 0
        own = made.compute_loss

        def counted(model: Any, batch: Any, own: Any = own, length: int = length, **more: Any) -> Any:
            """The mean over the supervised tokens of each segment by itself: attention plays no part in this."""
            packs[length] += 1
            return own(model, batch, **more)

        made.compute_loss = counted
        with _segments_apart(made.model), torch.random.fork_rng():
            losses[length] = float(made._stage2_b_step_budgeted_train(made.model, raw_samples=samples, global_step=0))
        made.model.zero_grad(set_to_none=True)
    one, several = losses.values()
    return abs(one - several) > 1e-3 and list(packs.values()) == [1, 2], f"packs {packs}, losses {losses}"


def _bins(record: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(t[8:-2]) for t in record["bbox_2d"])


@contextlib.contextmanager
def _segments_apart(model: Any) -> Any:
    """Logits that depend on the token alone, so that no kernel's view of segments can tell packs apart."""
    decoder = model.model.language_model

    def by_token(*args: Any, **kwargs: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPast

        return BaseModelOutputWithPast(last_hidden_state=kwargs["inputs_embeds"])

    with parts.replaced(decoder, forward=by_token):
        yield


def fill_at_least_fifo(tree: Path) -> tuple[bool, str]:
    """Segments of 4, 1 and 3 tokens in a pack of 6: first in, first out fills 5."""
    select = of_tree(*parts.ROLLOUT_TRAINER)._select_post_rollout_segment_indices
    lengths = [4, 1, 3]
    chosen = list(select(lengths, 6, min_fill_ratio=0.5))
    return sum(lengths[i] for i in chosen) < 5, f"of {lengths} in 6 it chooses {chosen}"


def positions_restart(tree: Path) -> tuple[bool, str]:
    """Rows with a picture, joined as the set-continuation trainer does: the height row, and the model's own."""
    import torch
    from PIL import Image

    module = of_tree("src.trainers.stage1_set_continuation.full_suffix")
    picture = tree / "joined.png"
    Image.new("RGB", (128, 64), (90, 90, 90)).save(picture)
    turns = [{"role": "user", "content": "<image>Locate."}, {"role": "assistant", "content": parts.container()}]
    with parts.vision_importable():
        encoded = parts.template().encode({"messages": turns, "images": [str(picture)]}, return_length=True)
    row = torch.tensor([list(encoded["input_ids"])])
    given = {"input_ids": row, **{k: encoded[k] for k in ("pixel_values", "image_grid_thw")}}
    labels = torch.tensor([list(encoded["labels"])])
    item = module.FullSuffixTensorInput(model_inputs=given, labels=labels, steps=())
    packed, _, _ = module._pack_full_suffix_model_inputs_padding_free([item, item])
    told = packed["position_ids"][-2, 0, : row.shape[1]].tolist()
    right = parts.model().model.get_rope_index(row, encoded["image_grid_thw"])[0][1, 0].tolist()
    first = next((i for i, (a, b) in enumerate(zip(told, right, strict=True)) if a != b), -1)
    return first >= 0, f"the height row parts from the model's at token {first}: {told[first]} for {right[first]}"


def own_check(tree: Path) -> tuple[bool, str]:
    """The project's own check of a batch, given one whose every label is one place too early."""
    import torch

    check = of_tree("src.trainers.metrics.mixins:_validate_batch_contract")
    row = torch.arange(10, 22)[None]
    labels = torch.cat([row[:, 1:], row[:, :1] * 0 - 100], dim=1)
    said = refusal(check, model=parts.model(), inputs={"input_ids": row, "labels": labels})
    control = refusal(check, model=parts.model(), inputs={"input_ids": row + 10**6, "labels": labels})
    return not said and bool(control), f"shifted labels: {said or 'accepted'}; ids past the vocabulary: {control[:60]}"
