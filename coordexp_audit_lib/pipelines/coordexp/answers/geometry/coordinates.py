"""Records, bins, tokens and pixels: the project's codec, contract and converters, each asked by itself."""

from typing import Any

from coordexp_audit_lib.pipelines.api import Refused, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import wording


@binds("geometry.validate_record", validate=symbols.VALIDATE_RECORD)
def validate_record(request, here):
    here.call(here.validate, request["record"])
    return {"accepted": True}


ONE = {"to_token": symbols.INT_TO_TOKEN, "to_int": symbols.TOKEN_TO_INT}
LISTS = {"to_tokens": symbols.INTS_TO_TOKENS, "to_ints": symbols.TOKENS_TO_INTS}


@binds("geometry.codec", normalize=symbols.NORMALIZE_INTS, **ONE, **LISTS)
def codec(request, here):
    """Both forms of each function must agree: one value at a time, and whole lists."""
    tokens = [here.call(here.to_token, k) for k in request["bins"]]
    ints = [here.call(here.to_int, t) for t in tokens]
    if here.call(here.to_tokens, request["bins"]) != tokens or here.call(here.to_ints, tokens) != ints:
        raise Refused("Disagreement", "the codec's list functions disagree with its functions of one value")
    return {"tokens": tokens, "ints": ints, "normalized": here.call(here.normalize, ints)}


@binds("geometry.coord_tokens", encode=symbols.ENCODE_COORD, decode=symbols.DECODE_COORD)
def coord_tokens(request, here):
    tokens = [here.call(here.encode, k) for k in request["bins"]]
    return {"tokens": tokens, "ints": [here.call(here.decode, t) for t in tokens]}


@binds("geometry.annotate", annotate=symbols.ANNOTATE, coords=symbols.DECODE_COORD.optional)
def annotate(request, here):
    _ = here.coords  # the two modules import each other, which works from this end only
    item: dict[str, Any] = {"desc": "bins", "poly": list(request["bins"])}
    here.call(here.annotate, {"objects": [item], "width": 640, "height": 480})
    kept = {name: item[name]["poly"] for name in ("_coord_tokens", "_coord_token_ints", "_coord_token_norm")}
    return {"tokens": kept["_coord_tokens"], "ints": kept["_coord_token_ints"], "normalized": kept["_coord_token_norm"]}


@binds("geometry.expectation", decode=symbols.EXPECTATION_DECODE)
def expectation(request, here):
    """Logits with one peak so high that the softmax is one bin exactly."""
    import torch

    logits = torch.zeros(len(request["bins"]), 1000)
    logits[torch.arange(len(request["bins"])), torch.tensor(request["bins"])] = 1e4
    return {"normalized": [float(v) for v in here.ask(here.decode, coord_logits=logits, temperature=1.0)]}


@binds("geometry.to_pixels", exact=symbols.TO_PIXELS, rounded=symbols.TO_ROUNDED_PIXELS)
def to_pixels(request, here):
    points = [v for k in request["bins"] for v in (k, k)]
    exact, rounded = (here.call(f, points, request["width"], request["height"]) for f in (here.exact, here.rounded))
    return {"x": exact[0::2], "y": exact[1::2], "x_rounded": rounded[0::2], "y_rounded": rounded[1::2]}


@binds("geometry.standardize", standardizer=symbols.STANDARDIZER)
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


@binds("geometry.encode", convert=symbols.CONVERT_RECORD)
def encode(request, here):
    record = {"objects": request["objects"], "width": request["width"], "height": request["height"]}
    return bare(here.call(here.convert, record, ["bbox_2d", "poly"], assume_normalized=False), "desc")


@binds("geometry.gt_boxes", extract=symbols.GT_BOXES)
@binds("geometry.gt_objects", extract=symbols.GT_OBJECTS)
def ground_truth(request, here):
    found = here.call(here.extract, {"assistant_payload": wording.payload(request["objects"])})
    return {"points": [[int(v) for v in o.points_norm1000] for o in found]}


def bare(record, *others):
    """A record's objects without the private notes that the pipeline keeps on them."""
    names = {"bbox_2d", "poly", *others}
    return {"objects": [{k: v for k, v in o.items() if k in names} for o in record["objects"]]}
