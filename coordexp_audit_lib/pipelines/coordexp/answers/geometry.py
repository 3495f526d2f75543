"""How CoordExp answers the geometry surfaces: its codec, contract, dataset, converters and launch checks.

A record goes through the project's own dataset. Only the chat template is a stub there (it returns the text's bytes as
ids), but for the patch grid, where the template is ms-swift's own over a byte-level tokenizer.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import shutil
import sys
from typing import Any

from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers.geometry_launch import launch_runs
from coordexp_audit_lib.pipelines.coordexp.answers.geometry_template import grid_of

CODEC, COORDS = "src.coord_tokens.codec:", "src.common.geometry.coord_utils:"
CONVERT = "public_data.scripts.convert_to_coord_tokens:"
STAGE2 = ("src.trainers.stage2_ab_training:", "src.trainers.stage2_two_channel:")
ROLLOUT = ("src.trainers.rollout_matching_sft:", "src.trainers.stage2_rollout_aligned:")
DATASET = {
    "dataset": ("src.datasets.dense_caption:BaseCaptionDataset",),
    "coord_config": ("src.config.schema:CoordTokensConfig",),
}


# ---- records and bins ----------------------------------------------------------------------------------------------


@binds("geometry.validate_record", validate=("src.datasets.contracts:validate_conversation_record",))
def validate_record(request, here):
    here.call(here.validate, request["record"])
    return {"accepted": True}


@binds(
    "geometry.codec",
    normalize=(CODEC + "normalized_from_ints",),
    to_token=(CODEC + "int_to_token",),
    to_int=(CODEC + "token_to_int",),
    to_tokens=(CODEC + "ints_to_tokens",),
    to_ints=(CODEC + "tokens_to_ints",),
)
def codec(request, here):
    """Both forms of each function must agree: one value at a time, and whole lists."""
    tokens = [here.call(here.to_token, k) for k in request["bins"]]
    ints = [here.call(here.to_int, t) for t in tokens]
    if here.call(here.to_tokens, request["bins"]) != tokens or here.call(here.to_ints, tokens) != ints:
        raise Refused("Disagreement", "the codec's list functions disagree with its functions of one value")
    return {"tokens": tokens, "ints": ints, "normalized": here.call(here.normalize, ints)}


@binds("geometry.coord_tokens", encode=(COORDS + "encode_coord",), decode=(COORDS + "decode_coord",))
def coord_tokens(request, here):
    tokens = [here.call(here.encode, k) for k in request["bins"]]
    return {"tokens": tokens, "ints": [here.call(here.decode, t) for t in tokens]}


@binds(
    "geometry.annotate",
    annotate=("src.coord_tokens.validator:annotate_coord_tokens",),
    coords=(COORDS + "decode_coord", "?"),
)
def annotate(request, here):
    _ = here.coords  # the two modules import each other, which works from this end only
    item: dict[str, Any] = {"desc": "bins", "poly": list(request["bins"])}
    here.call(here.annotate, {"objects": [item], "width": 640, "height": 480})
    kept = {name: item[name]["poly"] for name in ("_coord_tokens", "_coord_token_ints", "_coord_token_norm")}
    return {"tokens": kept["_coord_tokens"], "ints": kept["_coord_token_ints"], "normalized": kept["_coord_token_norm"]}


@binds(
    "geometry.expectation",
    decode=(
        *(module + "_expectation_decode_coords" for module in STAGE2),
        "src.trainers.teacher_forcing.geometry:expectation_decode_coords",
    ),
)
def expectation(request, here):
    """Logits with one peak so high that the softmax is one bin exactly."""
    import torch

    logits = torch.zeros(len(request["bins"]), 1000)
    logits[torch.arange(len(request["bins"])), torch.tensor(request["bins"])] = 1e4
    told = here.fitting(here.decode, coord_logits=logits, temperature=1.0)
    return {"normalized": [float(v) for v in here.call(here.decode, **told)]}


@binds("geometry.to_pixels", exact=(COORDS + "ints_to_pixels_norm1000",), rounded=(COORDS + "denorm_and_clamp",))
def to_pixels(request, here):
    points = [v for k in request["bins"] for v in (k, k)]
    exact = here.call(here.exact, points, request["width"], request["height"])
    rounded = here.call(here.rounded, points, request["width"], request["height"])
    return {"x": exact[0::2], "y": exact[1::2], "x_rounded": rounded[0::2], "y_rounded": rounded[1::2]}


@binds("geometry.standardize", standardizer=("src.common.coord_standardizer:CoordinateStandardizer",))
def standardize(request, here):
    standardizer = here.call(here.standardizer, "coord")
    x, y = [], []
    for k in request["bins"]:
        item = {"desc": "box", "bbox_2d": ["<|coord_0|>", "<|coord_0|>", "<|coord_%d|>" % k, "<|coord_%d|>" % k]}
        size = {"width": request["width"], "height": request["height"]}
        made = here.call(standardizer.process_objects, [item], is_gt=False, errors=[], **size)
        points = made[0]["points"] if made else [None] * 4
        x.append(points[2])
        y.append(points[3])
    return {"x": x, "y": y}


@binds("geometry.encode", convert=(CONVERT + "convert_record_to_ints",))
def encode(request, here):
    record = {"objects": request["objects"], "width": request["width"], "height": request["height"]}
    return plain(here.call(here.convert, record, ["bbox_2d", "poly"], assume_normalized=False)["objects"])


@binds("geometry.gt_boxes", extract=tuple(module + "_extract_gt_bboxonly" for module in STAGE2))
def gt_boxes(request, here):
    return ground_truth(request, here)


@binds("geometry.gt_objects", extract=tuple(module + "_extract_gt_objects" for module in ROLLOUT))
def gt_objects(request, here):
    return ground_truth(request, here)


def ground_truth(request, here):
    found = here.call(here.extract, {"assistant_payload": {"objects": request["objects"]}})
    return {"points": [[int(v) for v in o.points_norm1000] for o in found]}


def plain(objects):
    """Objects without the private notes that the pipeline keeps on them."""
    return {"objects": [{k: v for k, v in o.items() if k in ("desc", "bbox_2d", "poly")} for o in objects]}


# ---- the dataset ---------------------------------------------------------------------------------------------------


class ByteTemplate:
    """Stands in for the chat template: encodes the assistant's text as its bytes."""

    system = None

    def __init__(self, max_pixels):
        self.max_pixels = max_pixels

    def encode(self, merged, return_length=False):
        ids = list(assistant_text(merged).encode("utf-8"))
        return {"input_ids": ids, "labels": ids, "length": len(ids)}


def assistant_text(sample):
    content = [m["content"] for m in sample["messages"] if m["role"] == "assistant"][-1]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def dataset_of(here, records, template, **options):
    """The project's dataset, as `src/sft.py` makes it, over these records."""
    told = {
        "base_records": copy.deepcopy(records),
        "template": template,
        "user_prompt": "Locate.",
        "emit_norm": "none",
        "json_format": "standard",
        "seed": 0,
        "coord_tokens": here.coord_config(enabled=True, skip_bbox_norm=True),
        "object_ordering": "sorted",
        "object_field_order": "desc_first",
        "dataset_name": "audit",
        **options,
    }
    return here.call(here.dataset, **here.fitting(here.dataset, **told))


@binds("geometry.render_record", **DATASET)
def render_record(request, here):
    names = ("object_ordering", "object_field_order", "seed")
    template = ByteTemplate(request["max_pixels"])
    made = dataset_of(here, [request["record"]], template, **{n: request[n] for n in names})
    return {"text": assistant_text(here.call(made.__getitem__, 0))}


@binds("geometry.sample_order", **DATASET)
def sample_order(request, here):
    import torch.utils.data as loading

    options = {"seed": request["seed"], "object_ordering": request["object_ordering"]}
    made = dataset_of(here, request["records"], ByteTemplate(786432), **options)
    parallel = {"multiprocessing_context": "fork", "persistent_workers": request["persistent"]}
    loader = loading.DataLoader(
        made,
        batch_size=None,
        sampler=list(request["indices"]),
        num_workers=request["workers"],
        collate_fn=digested,
        **(parallel if request["workers"] else {}),
    )
    epochs = []
    for epoch in request["epochs"]:
        here.call(made.set_epoch, epoch)
        epochs.append(here.call(list, loader))
    return {"epochs": epochs}


def digested(sample):
    ids = json.dumps([sample["input_ids"], assistant_text(sample)])
    return {"record": int(sample["base_idx"]), "digest": hashlib.sha256(ids.encode()).hexdigest()[:16]}


@binds("geometry.processor_grid", **DATASET)
def processor_grid(request, here):
    size = (request["width"], request["height"])
    item = {"desc": "a", "bbox_2d": ["<|coord_%d|>" % k for k in (1, 2, 3, 4)]}
    image = picture(os.path.join(here.scratch, "grid.png"), size)
    record = {"images": [image], "objects": [item], "width": size[0], "height": size[1]}
    return grid_of(
        request["max_pixels"], lambda template: here.call(dataset_of(here, [record], template).__getitem__, 0)
    )


def picture(path, size):
    """A plain image file of this size."""
    from PIL import Image

    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.new("RGB", tuple(size), (90, 90, 90)).save(path)
    return path


@binds(
    "geometry.augment",
    preprocessor=("src.datasets.preprocessors.augmentation:AugmentationPreprocessor",),
    pipeline=("src.datasets.augmentation.base:Compose",),
)
def augment(request, here):
    record = request["record"]
    record["images"] = [picture(os.path.join(here.scratch, "augment.png"), (record["width"], record["height"]))]
    stage = here.call(here.preprocessor, augmenter=here.pipeline([]), rng=random.Random(0), coord_tokens_enabled=True)
    try:
        made = plain(here.call(stage, record)["objects"])
    except Refused as refused:
        if refused.type_name == "ModuleNotFoundError":
            raise Unbound("the augmentation does not import: %s" % refused.message) from refused
        raise
    return {"objects": [{k: v for k, v in o.items() if k != "desc"} for o in made["objects"]]}


# ---- before a launch -----------------------------------------------------------------------------------------------


@binds(
    "geometry.launch_gate",
    check=("public_data.scripts.validate_jsonl:main",),
    python_launcher=("src.launchers.stage2_vllm_server:_run_validate_jsonl", "?"),
)
def launch_gate(request, here):
    """Run, in the launcher's order, each check that it runs on this split, until one fails as the launcher would."""
    folder = os.path.join(here.scratch, "gate")
    shutil.rmtree(folder, ignore_errors=True)
    for i, size in enumerate(request["files"]):
        picture(os.path.join(folder, "images", "%d.png" % i), size)
    jsonl = os.path.join(folder, request["split"] + ".jsonl")
    with open(jsonl, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in request["records"])
    runs = launch_runs(here, request["launcher"], request["split"], jsonl, request["max_pixels"])
    accepted = all(passes(here.check, arguments) for _, arguments in runs)
    return {"accepted": accepted, "runs": len(runs), "lines": [line for line, _ in runs]}


def passes(check, arguments):
    """Whether the check's command ends with status 0."""
    before, sys.argv = sys.argv, ["validate_jsonl.py", *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check()
    except SystemExit as end:
        return not end.code
    finally:
        sys.argv = before
    return True
