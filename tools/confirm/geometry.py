"""Boundary 03: records, boxes and pictures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import parts
from parts import of_tree, refusal, thing


class _Bytes:
    """A template that keeps what it is asked to encode."""

    system, max_pixels = None, 786_432

    def encode(self, merged: Any, return_length: bool = False) -> dict[str, Any]:
        return {"input_ids": [1], "labels": [1], "length": 1}


def _dataset(record: dict[str, Any], template: Any = None) -> Any:
    make = of_tree("src.datasets.dense_caption:BaseCaptionDataset")
    coords = of_tree("src.config.schema:CoordTokensConfig")(enabled=True, skip_bbox_norm=True)
    told = {"user_prompt": "Locate.", "emit_norm": "none", "json_format": "standard", "coord_tokens": coords}
    return make(base_records=[record], template=template or _Bytes(), **told)


def _record(*objects: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"images": ["a.png"], "objects": list(objects), "width": 640, "height": 480, **more}


def _read(record: dict[str, Any]) -> str:
    return refusal(lambda: _dataset(record)[0])


def box_ordered(tree: Path) -> tuple[bool, str]:
    crossed = thing("a", (501, 100, 500, 200))
    gt = refusal(
        of_tree(
            "src.trainers.rollout_matching_sft:_extract_gt_objects",
            "src.trainers.stage2_rollout_aligned:_extract_gt_objects",
        ),
        {"assistant_payload": {"objects": [crossed]}},
    )
    read = _read(_record(crossed))
    convert = of_tree("public_data.scripts.convert_to_coord_tokens:convert_record_to_ints")
    pixels = _record({"desc": "a", "bbox_2d": [320, 100, 300, 200]})
    made = convert(pixels, ["bbox_2d"], assume_normalized=False)["objects"][0]["bbox_2d"]
    told = f"rollout truth: {gt or 'accepted'}; dataset: {read or 'accepted'}; the converter makes {made}"
    return not read and made[2] > made[0], f"[501, 100, 500, 200]: {told}"


def bins_in_range(tree: Path) -> tuple[bool, str]:
    read = _read(_record({"desc": "a", "bbox_2d": [True, 2, 3, 4]}))
    stage = of_tree("src.datasets.preprocessors.augmentation:AugmentationPreprocessor")
    made = stage._geom_tokens_to_ints({}, {"bbox_2d": [-1, 12.3, 1000, 5]})[0]
    control = _read(_record({"desc": "a", "bbox_2d": ["<|coord_1000|>", "<|coord_2|>", "<|coord_3|>", "<|coord_4|>"]}))
    seen = f"true as a coordinate: {read or 'accepted'}; augmentation takes -1, 12.3, 1000 as {made}; {control[:60]}"
    return not read and bool(control), seen


def bins_k999(tree: Path) -> tuple[bool, str]:
    """Pixel 125 of 0…999 is bin 125 by any rounding; the converter says 126. And it rounds the far corner up."""
    convert = of_tree("public_data.scripts.convert_to_coord_tokens:convert_record_to_ints")

    def far(pixel: int, size: int) -> int:
        record = {"objects": [{"desc": "a", "bbox_2d": [0, 0, pixel, pixel]}], "width": size, "height": size}
        return int(convert(record, ["bbox_2d"], assume_normalized=False)["objects"][0]["bbox_2d"][2])

    wrong = [p for p in range(1, 1000) if far(p, 1000) != p]
    up = far(571, 1184), round(999 * 571 / 1183)
    return bool(
        wrong
    ), f"of 1000x1000: {len(wrong)} wrong, pixel {wrong[:1]} is {far(wrong[0], 1000)}; 571 of 1184: {up}"


def record_contract(tree: Path) -> tuple[bool, str]:
    good = thing("a", (1, 2, 3, 4))
    cases = {
        "an image that is a number": _record(good, images=["a.png", 7], messages=[]),
        "a legacy bbox": _record({**good, "bbox": [1, 2, 3, 4]}, messages=[]),
    }
    read = [name for name, record in cases.items() if not _read(record)]
    control = [bool(_read({k: v for k, v in r.items() if k != "messages"})) for r in cases.values()]
    return bool(read) and all(control), f"rendered beside `messages: []`: {read}; without messages refused: {control}"


def no_resize(tree: Path) -> tuple[bool, str]:
    """A picture of 32x32 through the project's dataset and upstream's template and loader."""
    from PIL import Image

    path = tree / "small.png"
    Image.new("RGB", (32, 32), (90, 90, 90)).save(path)
    record = {**_record(thing("a", (1, 2, 3, 4))), "images": [str(path)], "width": 32, "height": 32}
    with parts.vision_importable():
        encoded = _dataset(record, parts.template(max_pixels=786_432))[0]
    grid = [int(v) for v in encoded["image_grid_thw"].reshape(-1)]
    return grid == [1, 4, 4], f"32x32 pixels become a grid of {grid} patches of 16"


def augment_identity(tree: Path) -> tuple[bool, str]:
    """An augmentation of no operations on a picture that is smaller than 1000 pixels."""
    from PIL import Image

    stage = of_tree("src.datasets.preprocessors.augmentation:AugmentationPreprocessor")
    nothing = of_tree("src.datasets.augmentation.base:Compose")([])
    path = tree / "augmented.png"
    Image.new("RGB", (64, 32), (90, 90, 90)).save(path)
    before = thing("a", (0, 0, 0, 593))
    record = {**_record(json.loads(json.dumps(before))), "images": [str(path)], "width": 64, "height": 32}
    after = stage(augmenter=nothing, coord_tokens_enabled=True)(record)["objects"][0]["bbox_2d"]
    return after != before["bbox_2d"], f"{before['bbox_2d']} becomes {after}"


def size_matches_file(tree: Path) -> tuple[bool, str]:
    """Both checks that `scripts/train.sh` makes of a train file, on 300 records; the last one's size is wrong."""
    from PIL import Image

    folder = tree / "gate"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), (90, 90, 90)).save(folder / "images" / "a.png")
    record = {"images": ["images/a.png"], "objects": [thing("a", (1, 2, 3, 4))], "width": 64, "height": 64}
    lines = [json.dumps(record)] * 299 + [json.dumps({**record, "width": 96})]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ends = []
    for check in (["exists", "0"], ["open", "256"], ["open", "0"]):
        words = [sys.executable, "public_data/scripts/validate_jsonl.py", str(folder / "train.jsonl")]
        words += ["--max-pixels", "786432", "--multiple-of", "32", "--image-check-mode", check[0]]
        words += ["--enforce-rescale-images-real-dir", "--image-check-n", check[1]]
        ends.append(subprocess.run(words, cwd=tree, capture_output=True, check=False).returncode)
    launcher = (tree / "scripts/train.sh").read_text(encoding="utf-8")
    return ends[:2] == [0, 0] and ends[2] != 0 and "--image-check-n 256" in launcher, (
        f"as the launcher checks it: {ends[:2]}; opening all of them: {ends[2]}"
    )
