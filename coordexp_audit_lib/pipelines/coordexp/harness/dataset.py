"""The project's dataset, as `src/sft.py` makes it, over records whose pictures are drawn into the scratch folder."""

import copy
import os

from coordexp_audit_lib.kit import picture, stand_ins
from coordexp_audit_lib.kit.coordjson import ORDERS
from coordexp_audit_lib.pipelines.api import CannotImport, NotSupported, Refused
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import boxed

DATASET = {"dataset": symbols.DATASET, "coord_config": symbols.COORD_TOKENS_CONFIG}


def dataset_of(here, records, template, **options):
    """The dataset over these records; options are its own, but for those that this tree's lacks."""
    told = {
        **{"base_records": copy.deepcopy(records), "template": template, "dataset_name": "audit", "seed": 0},
        **{"user_prompt": "Locate.", "emit_norm": "none", "json_format": "standard"},
        **{"object_ordering": "sorted", "object_field_order": "desc_first"},
        "coord_tokens": here.coord_config(enabled=True, skip_bbox_norm=True),
        **options,
    }
    written = ORDERS[0]  # before 2026-02-18 the one order of an object's fields
    if told["object_field_order"] != written and not here.fitting(here.dataset, object_field_order=written):
        raise NotSupported("an order of an object's fields other than %s" % written)
    return here.ask(here.dataset, **told)


def record_of(here, made):
    """A record with its pictures as files. Objects stand as given: the requests have them in sorted order."""
    width, height = made["pictures"][0] if made["pictures"] else (64, 64)
    return {
        "images": [drawn(here, number, size) for number, size in enumerate(made["pictures"])],
        "objects": [boxed(desc, box) for desc, box in made["objects"]],
        **{"width": width, "height": height},
    }


def drawn(here, number, size):
    """The file of a picture; sides that are multiples of 32 are not resized."""
    path = os.path.join(here.scratch, "picture-%d-%d-%d.png" % (*size, number))
    return path if os.path.exists(path) else picture.written(path, size[0], size[1], number)


def encoding(here, function, *args, **kwargs):
    """`here.call`, with stand-ins for what upstream wants of torchvision; what can't be imported is no refusal."""
    with stand_ins.visible(stand_ins.vision()):
        try:
            return here.call(function, *args, **kwargs)
        except Refused as refused:
            if refused.type_name in ("ModuleNotFoundError", "ImportError"):
                raise CannotImport("the template cannot encode: %s" % refused) from refused
            raise
