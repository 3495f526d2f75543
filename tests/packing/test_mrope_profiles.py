"""Profiles from names, files and batches; and their mRoPE rows against `get_rope_index` of transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib.kit import mrope, profile
from coordexp_audit_lib.kit.model import token_types
from coordexp_audit_lib.kit.profile import BUILT_IN, Profile

GRIDS = {"image": [[1, 4, 6], [1, 8, 4]], "video": [[3, 4, 4], [2, 4, 6]]}


def config_of(p: Profile) -> dict[str, Any]:
    """A small model's config in the form of its `config.json`, with ids of its own."""
    vision = {"spatial_merge_size": 2, "patch_size": p.patch_size, "temporal_patch_size": 2}
    vision |= {"tokens_per_second": 3} if p.videos == profile.SECONDS else {}
    tokens = {"image_token_id": 90, "video_token_id": 91, "vision_start_token_id": 92, "vision_end_token_id": 93}
    return {"model_type": p.name, "vision_config": vision, **tokens}


def rope_index(name: str, config: dict[str, Any], ids: list[int], **grids: Any) -> list[list[int]]:
    """What transformers' own function says, called on a stand-in that has a config and nothing else."""
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    class Stand:
        def __init__(self, values: dict[str, Any]) -> None:
            self.__dict__.update({k: Stand(v) if isinstance(v, dict) else v for k, v in values.items()})

        def __getattr__(self, method: str) -> Any:
            return getattr(models[name], method).__get__(self)

    models: dict[str, Any] = {"qwen2_vl": Qwen2VLModel, "qwen2_5_vl": Qwen2_5_VLModel, "qwen3_vl": Qwen3VLModel}
    given = {k: torch.tensor(v) for k, v in grids.items() if v}
    row, function = torch.tensor([ids]), models[name].get_rope_index
    rows, _ = function(Stand({"config": config}), row, **given, **token_types(function, row, 90, 91))
    found: list[list[int]] = rows[:, 0].tolist()
    return found


def ids_of(p: Profile, order: str) -> list[int]:
    """Text, images (i) and videos (v) in this order, as the family's processor writes them."""
    ids, rest = [1, 2, 3], {k: iter(v) for k, v in GRIDS.items()}
    for kind in order:
        what, pad = ("image", 90) if kind == "i" else ("video", 91)
        grid = np.array([next(rest[what])])
        for t, h, w in mrope.frames(grid, p).tolist() if what == "video" else grid.tolist():
            ids += [4, 92, *[pad] * (t * h * w // 4), 93]
    return [*ids, 5, 6]


@pytest.mark.parametrize("order", ["", "i", "v", "iv", "vi", "ivvi"])
@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("seconds", [None, [2.0, 0.5]])
def test_the_rows_are_those_of_transformers(name: str, order: str, seconds: Any, tmp_path: Path) -> None:
    config = config_of(BUILT_IN[name])
    (tmp_path / "config.json").write_text(json.dumps(config))
    p = profile.of_config(tmp_path / "config.json")
    ids, images, videos = ids_of(p, order), GRIDS["image"][: order.count("i")], GRIDS["video"][: order.count("v")]
    timed = {"second_per_grid_ts": seconds} if seconds and name == "qwen2_5_vl" and videos else {}
    theirs = rope_index(name, config, ids, image_grid_thw=images, video_grid_thw=videos, **timed)
    given = seconds if timed else None
    grids = {"images": images or None, "videos": videos or None}
    ours = mrope.positions(ids, p, **grids, seconds=given)
    # Later releases of 5.x (5.24) take seconds as they are, and go on after a video by its longer side, however many
    # frames it has.
    later = mrope.positions(ids, p, **grids, seconds=given, exact=True)
    for first, size, t, h, w, step in mrope.vision_runs(np.array(ids), p, *grids.values(), seconds=given, exact=True):
        later[:, first + size :] += max(h, w) - 1 - int(max((t - 1) * step, h - 1, w - 1))
    assert theirs in (ours.tolist(), later.tolist())
    assert "v" in order or np.array_equal(ours, later)


def test_samples_of_a_pack_are_numbered_one_by_one() -> None:
    p = BUILT_IN["qwen2_vl"]
    one = [1, 2, 151_652, *[151_655] * 6, 151_653, 7]
    made = mrope.positions(one * 2, p, [0, len(one), 2 * len(one)], images=[[1, 4, 6], [1, 6, 4]])
    assert np.array_equal(made[:, : len(one)], mrope.positions(one, p, images=[[1, 4, 6]]))
    assert np.array_equal(made[:, len(one) :], mrope.positions(one, p, images=[[1, 6, 4]]))


def test_what_the_rows_need_is_said() -> None:
    ids = np.array([1, 151_656, 2])
    with pytest.raises(mrope.Unfit, match="needs video_grid_thw"):
        mrope.positions(ids, BUILT_IN["qwen3_vl"])
    with pytest.raises(mrope.Unfit, match="does not fit"):
        mrope.positions(ids, BUILT_IN["qwen3_vl"], videos=[[1, 4, 4]])
    unknown = profile.of_batch({"input_ids": ids, "video_grid_thw": np.array([[1, 2, 2]])})
    with pytest.raises(mrope.Unfit, match="needs the profile"):
        mrope.positions(ids, unknown, videos=[[1, 2, 2]])


def test_a_profile_is_read_from_a_tokenizer(tmp_path: Path) -> None:
    tokens = [{"id": 7, "content": "<|im_start|>"}, {"id": 9, "content": "<|image_pad|>"}]
    tokens += [{"id": 20 + k, "content": f"<|coord_{k}|>"} for k in range(5)]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"processor_class": "Qwen2_5_VLProcessor"}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"merge_size": 3}))
    p = profile.named(str(tmp_path))
    assert (p.turn_start, p.image_pad, p.first_coordinate, p.coordinates) == (7, 9, 20, 5)
    assert (p.name, p.merge_size, p.videos, p.pixel_width) == ("qwen2_5_vl", 3, profile.SECONDS, 1176)
    assert profile.named(f"{tmp_path},label_shift=1").label_shift == 1


def test_a_text_model_has_no_vision_whatever_its_vocabulary_holds(tmp_path: Path) -> None:
    tokens = {"<|im_start|>": 7, "<|image_pad|>": 9}
    (tmp_path / "added_tokens.json").write_text(json.dumps(tokens))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3", "pad_token_id": 3}))
    p = profile.of_tokenizer(tmp_path)
    assert (p.has_vision, p.mrope_rows, p.pad, p.turn_start) == (False, 0, 3, 7)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("qwen9", "no profile is called 'qwen9': use one of qwen2_vl"),
        ("text,colour=1", "a profile has no 'colour'"),
        ("text,merge_size=two", "merge_size of a profile is a number"),
    ],
)
def test_a_word_that_names_none_is_refused(word: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        profile.named(word)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_file_that_holds_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        profile.named(str(tmp_path / "config.json"))
    with pytest.raises(ValueError, match="holds no tokenizer"):
        profile.named(str(tmp_path))


VIDEO = np.array([[1, 151_656, 2, 151_656]])
IDS, NARROW = np.array([[1, 151_655, 2]]), np.zeros((4, 1176))


@pytest.mark.parametrize(
    ("tensors", "name", "image_pad"),
    [
        ({"input_ids": IDS, "pixel_values": np.zeros((4, 1536))}, "qwen3_vl", 151_655),
        ({"input_ids": IDS, "pixel_values": NARROW}, "qwen_vl", 151_655),
        ({"input_ids": IDS, "pixel_values": NARROW, "second_per_grid_ts": np.ones(1)}, "qwen2_5_vl", 151_655),
        ({"input_ids": IDS}, "qwen_vl", 151_655),
        ({"input_ids": VIDEO, "video_grid_thw": np.array([[2, 2, 2]])}, "qwen3_vl", 151_655),
        ({"input_ids": VIDEO, "video_grid_thw": np.array([[1, 2, 2]] * 2)}, "qwen_vl", 151_655),
        ({"input_ids": np.array([[1, 2]])}, "text", None),
        ({"input_ids": np.array([[1, 2]]), "position_ids": np.zeros((3, 1, 2))}, "qwen_vl", 151_655),
        ({"input_ids": np.array([[1, 2]]), "image_grid_thw": np.ones((1, 3))}, "qwen_vl", None),
    ],
)
def test_what_a_batch_shows_of_its_family(tensors: dict[str, Any], name: str, image_pad: int | None) -> None:
    found = profile.of_batch(tensors)
    assert (found.name, found.image_pad) == (name, image_pad)
