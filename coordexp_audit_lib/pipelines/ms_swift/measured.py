"""What was measured of encoded samples, batches and forward passes, as the surfaces take it; and what is asked with."""

import itertools
import json

from coordexp_audit_lib.kit import influence, picture
from coordexp_audit_lib.pipelines.api import Refused

ROUNDING = 1e-5  # of float32, as a share of the numbers it is of


def sample(encoded, images):
    grid, pixels = encoded.get("image_grid_thw"), encoded.get("pixel_values")
    told = {
        "input_ids": [int(i) for i in encoded["input_ids"]],
        "labels": [int(i) for i in encoded["labels"]],
        "grid": [] if grid is None else grid.tolist(),
    }
    if images is None:
        return told
    rows = [] if pixels is None else picture.digests(pixels, images)
    return {**told, "length": int(encoded["length"]), "pixel_rows": rows}


def batch(members, tensors, images):
    """A collated batch as facts: integers in full, pixel rows by digest."""
    found = {k: v for k, v in tensors.items() if hasattr(v, "dtype")}
    pixels = found.get("pixel_values")
    return {
        "members": members,
        "ints": {k: v.tolist() for k, v in found.items() if not v.is_floating_point()},
        "shapes": {k: list(v.shape) for k, v in found.items()},
        "dtypes": {k: str(v.dtype).replace("torch.", "") for k, v in found.items()},
        "pixel_rows": None if pixels is None else picture.digests(pixels, images),
    }


def pack(members, ran, unpacked, by_token):
    """What was measured of a pack, given what its own forward showed and those of all samples unpacked.

    ran: (what a watch on the model saw, the loss, the labels [L]); unpacked: the same of each sample by itself.
    """
    seen, loss, labels = ran
    others = [unpacked[m] for m in members]
    lengths = [one.logits.shape[1] for one, _, _ in others]
    bounds = list(itertools.pairwise(itertools.accumulate(lengths, initial=0)))
    if seen.logits.shape[1] < sum(lengths):
        raise Refused("TooShort", "the model was called with fewer tokens than the samples have")
    largest = float(seen.logits.abs().max())
    parts = zip(bounds, others, strict=True)
    differences = [influence.largest_difference(seen.logits[:, a:b], s.logits) for (a, b), (s, _, _) in parts]
    counts = [influence.supervised_rows(value, s.logits) for s, value, _ in others]
    losses, whole = portable([float(value) for _, value, _ in others], counts, float(loss))
    return {
        **{"members": members, "lengths": lengths, "keys": seen.keys(), "position_rows": seen.position_rows()},
        "use_cache": bool(seen.kwargs.get("use_cache", False)),
        "differences": [rounded(d, ROUNDING * max(1.0, largest)) for d in differences],
        "largest_logit": rounded(largest),
        "influence": [[rounded(v) for v in row] for row in influence.influence(seen, labels, bounds)],
        "loss": whole,
        "supervised": influence.supervised_rows(loss, seen.logits),
        "tokens": influence.by_token(seen) if by_token else [],
        "unpacked": [{"loss": value, "supervised": n} for value, n in zip(losses, counts, strict=True)],
    }


def rounded(value, floor=0.0):
    return 0.0 if abs(value) <= floor else float("%.3g" % value)


def portable(losses, counts, whole):
    """The samples' losses with four digits, and a packed loss as far from their mean as the measured one is."""

    def mean(values):
        return sum(n * value for n, value in zip(counts, values, strict=True)) / (sum(counts) or 1)

    shared = [float("%.4g" % value) for value in losses]
    return shared, mean(shared) + rounded(whole - mean(losses), ROUNDING * abs(mean(losses)))


def answer(objects):
    """The assistant's text of (desc, bins)."""
    said = [{"desc": desc, "bbox_2d": ["<|coord_%d|>" % k for k in bins]} for desc, bins in objects]
    return json.dumps({"objects": said}, ensure_ascii=False).replace('"<|', "<|").replace('|>"', "|>")


def answering(count):
    """A chat about so many objects."""
    boxes = [("thing %d" % i, [10 * i, 10 * i, 10 * i + 300, 10 * i + 300]) for i in range(count)]
    return [("user", "Locate every object."), ("assistant", answer(boxes))]


def crowded(count):
    """A record of so many objects in one picture."""
    objects = [("object", [k % 1000, (k + 1) % 1000, 999, 999]) for k in range(count)]
    return {"objects": objects, "pictures": [[64, 64]]}


def conversation(record, system, user):
    """A record as ms-swift's messages, its pictures before the question."""
    objects, sizes = record["objects"], record["pictures"]
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": "<image>" * len(sizes) + user})
    turns.append({"role": "assistant", "content": answer(objects)})
    return {"messages": turns, "images": [picture.image(i, w, h) for i, (w, h) in enumerate(sizes)]}
