"""Coordinate tokens survive a no-op augmentation token for token.

Bins run to 999 whatever the image's size. A stage that takes them for pixels clips them at the image's edge or rounds
them, and every augmented epoch supervises boxes that were moved.

Example: `<|coord_999|>` in an image of 64x32 comes back as `<|coord_999|>`, not as `<|coord_63|>`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.boxes import BIN_OF_TOKEN, TOKENS, tokens


@claim(
    severity="P1",
    kind="B",
    remedy="Turn bins into pixels before a pipeline that clips to the image, and back after it.",
)
def augment_identity(ctx: Context) -> Iterator[Violation]:
    geometries: list[tuple[str, list[int]]] = [
        ("bbox_2d", [1, 2, 30, 31]),
        ("bbox_2d", [0, 0, 999, 999]),
        ("bbox_2d", [10, 20, 500, 600]),
        ("poly", [10, 20, 30, 20, 30, 40, 10, 40]),
        ("poly", [10, 20, 30, 40, 5, 60]),
        ("poly", [100, 90, 900, 80, 950, 700]),
    ]
    geometries += [("bbox_2d", cases.box(ctx.rng(i))) for i in range(12)]
    changed: dict[tuple[str, str], list[tuple[list[int], Any]]] = {}
    for key, bins in geometries:
        ctx.judged()
        item = {"desc": "object 0", key: tokens(bins)}
        record = {**cases.sound(index=0), "objects": [item], "width": 64, "height": 32}
        answer = ctx.ask(s.AUGMENT, s.AugmentRequest(record))
        if answer.refusal is not None:
            changed.setdefault(("refuses a sound", key), []).append((bins, answer.refusal.message))
        elif [out.get(key) for out in answer.value.objects] != [item[key]]:
            got = answer.value.objects[0] if answer.value.objects else {}
            changed.setdefault(("changes the tokens of a", key), []).append((bins, got.get(key, got)))
    for (effect, key), found in changed.items():
        bins, got = min(found, key=lambda pair: (len(pair[0]), pair[0]))
        message = (
            f"a no-op augmentation {effect} {key} in an image of 64x32, in {len(found)} of {len(geometries)} cases"
        )
        yield Violation(message, f"{effect} {key}", tokens(bins), got, bins, kind=f"a no-op augmentation {effect} …")


@fault(
    augment_identity, "augment_clips_bins", s.AUGMENT, "augmentation takes bins for pixels and clips them to the image"
)
def augment_clips_bins(request: s.AugmentRequest, honest: Honest) -> Any:
    limits = (request.record["width"] - 1, request.record["height"] - 1)
    objects = []
    for item in honest(request).objects:
        ((key, values),) = item.items()
        objects.append({key: [TOKENS[min(BIN_OF_TOKEN[t], limits[i % 2])] for i, t in enumerate(values)]})
    return s.ObjectsResponse(objects)
