"""Records through the project's own dataset.

Only the chat template is a stub (it returns the text's bytes as ids), but for the patch grid, where it is ms-swift's.
"""

import importlib.util
import json
import os
import random
import types
from typing import Any

from coordexp_audit_lib.kit import picture, stand_ins, template
from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.geometry.coordinates import bare
from coordexp_audit_lib.pipelines.coordexp.harness import wording
from coordexp_audit_lib.pipelines.coordexp.harness.configs import sha
from coordexp_audit_lib.pipelines.coordexp.harness.dataset import DATASET, dataset_of, encoding
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import boxed, world


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


@binds("geometry.render_record", **DATASET)
def render_record(request, here):
    names = ("object_ordering", "object_field_order", "seed")
    template = ByteTemplate(request["max_pixels"])
    made = dataset_of(here, [request["record"]], template, **{n: request[n] for n in names})
    return {"text": wording.rendered(assistant_text(here.call(made.__getitem__, 0)))}


@binds("geometry.sample_order", **DATASET)
def sample_order(request, here):
    import torch.utils.data as loading

    options = {"seed": request["seed"], "object_ordering": request["object_ordering"]}
    made = dataset_of(here, request["records"], ByteTemplate(786432), **options)
    settings: dict[str, Any] = {"batch_size": None, "sampler": list(request["indices"]), "collate_fn": digested}
    if request["workers"]:
        settings.update(multiprocessing_context="fork", persistent_workers=request["persistent"])
    loader: Any = loading.DataLoader(made, num_workers=request["workers"], **settings)
    epochs = []
    for epoch in request["epochs"]:
        here.call(made.set_epoch, epoch)
        epochs.append(here.call(list, loader))
    return {"epochs": epochs}


def digested(sample):
    ids = json.dumps([sample["input_ids"], assistant_text(sample)])
    return {"record": int(sample["base_idx"]), "digest": sha(ids)}


@binds("geometry.processor_grid", **DATASET)
def processor_grid(request, here):
    """ms-swift's own template on an image of this size: the grid that it ends in, and what was asked on the way."""
    from transformers import Qwen2VLImageProcessor

    class Watched(Qwen2VLImageProcessor):
        """The real processor; it notes the do_resize that it is called with."""

        def __call__(self, *args, **kwargs):
            asked.append(kwargs.get("do_resize"))
            return super().__call__(*args, **kwargs)

    asked: list[Any] = []
    shared, images = world(here), Watched(**template.IMAGES)
    parts = template.processor(shared.tokenizer, shared.model.config, images)
    made = template.build(parts, shared.model, max_pixels=request["max_pixels"])
    size = request["width"], request["height"]
    path = picture.written(os.path.join(here.scratch, "grid.png"), *size)
    record = {"images": [path], "objects": [boxed("a", (1, 2, 3, 4))], "width": size[0], "height": size[1]}
    encoded = encoding(here, dataset_of(here, [record], made).__getitem__, 0)
    return {
        **{"do_resize": asked, "grid": [int(v) for v in encoded["image_grid_thw"].reshape(-1)]},
        **{"patch": int(images.patch_size), "fetched": stand_ins.loader()[1]},
    }


@binds("geometry.augment", preprocessor=symbols.AUGMENT, pipeline=symbols.COMPOSE)
def augment(request, here):
    record = request["record"]
    record["images"] = [picture.written(os.path.join(here.scratch, "augment.png"), record["width"], record["height"])]
    with stand_ins.visible(upright()):
        return augmented(record, here)


def upright():
    """The one function of `data_conversion` that older trees import: no picture that is asked here is turned by EXIF
    data."""
    if importlib.util.find_spec("data_conversion"):
        return {}
    names = "data_conversion", "data_conversion.utils", "data_conversion.utils.exif_utils"
    parts: list[Any] = [types.ModuleType(name) for name in names]
    parts[-1].apply_exif_orientation = lambda image: image
    return {part.__name__: part for part in parts}


def augmented(record, here):
    stage = here.call(here.preprocessor, augmenter=here.pipeline([]), rng=random.Random(0), coord_tokens_enabled=True)
    try:
        return bare(here.call(stage, record))
    except Refused as refused:
        if refused.type_name == "ModuleNotFoundError":
            raise Unbound("the augmentation does not import: %s" % refused.message) from refused
        raise
