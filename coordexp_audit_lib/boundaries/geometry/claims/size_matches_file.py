"""A record's width and height equal the image file's: what is launched has been checked for every record.

Pixels become bins by the stated size. Where the file has another, every box of that image is scaled wrongly, and the
model is supervised and scored with the error.

Example: record 300 of 300 says 32x64 and its file is 64x32; a check of the first 256 launches the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.predicates import pictured
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import asked, fault
from coordexp_audit_lib.core.finding import Authority, Violation

SMALL, WIDE = [32, 64], [64, 32]
LARGE = 300
"""Records of a JSONL that is larger than a spot check of 256."""


@claim(
    severity="P1",
    kind="B",
    remedy="Open every image of every split before launch (headers suffice), or compare sizes when a sample loads.",
)
def size_matches_file(ctx: Context) -> Iterator[Violation]:
    for launcher in ctx.contract["geometry.launchers"]:
        for split in ("train", "val"):
            for count, at in ((3, None), (3, 0), (3, 2), (LARGE, LARGE - 1)):
                ctx.judged()
                rows = [_row(int(i == at)) for i in range(count)]
                limit = ctx.contract["geometry.max_pixels"]
                answer = ctx.ask(s.GATE, s.GateRequest(launcher, split, [SMALL, WIDE], rows, limit))
                if not cases.passes(answer):
                    if at is None:
                        message = f"{launcher} refuses a sound {split} file"
                        yield Violation(message, f"{launcher} {split}", "accepted", "refused")
                elif at is not None:
                    where = Where(answer.value.file or launcher, max(answer.value.lines, default=1), "")
                    yield _launched(launcher, split, count, at, where)


size_matches_file.on(pictured.Pictured, pictured.size_matches_file)


def _row(image: int) -> dict[str, Any]:
    width, height = SMALL
    return {"images": [f"images/{image}.png"], "objects": [cases.SAMPLE], "width": width, "height": height}


def _launched(launcher: str, split: str, count: int, at: int, where: Where) -> Violation:
    what = f"a {split} file of {count} records whose record {at + 1} states another size than its image"
    shown = {"stated": SMALL, "file": WIDE, "record": at + 1}
    # The contract is about the record; that each of many is opened before launch is our measure.
    whose: Authority | None = "practice" if count == LARGE else None
    text, subject = f"{launcher} launches on {what}", f"{launcher} {split}"
    return Violation(text, subject, "refused", "accepted", shown, where, authority=whose)


fault(size_matches_file, "sizes_spot_checked", s.GATE, "only the first 256 images of a file are opened before launch")(
    asked(records=lambda request: request.records[:256])
)
