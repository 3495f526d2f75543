"""`data` on one core over every form that people have, against msgspec alone decoding the same records.

    python benchmarks/data_forms.py [--megabytes 4] [--turns 3] [--only FORM ...]

For each form a file is made up, as people's tools write it. One JSON line each: megabytes a second of processor time,
the best of some turns that take turns, for `data` and for msgspec alone, and the ratio. msgspec decodes the same
records into the very types that `data` does ("into"), answers that are a JSON list included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
from coordexp_audit_lib.boundaries.geometry.artifact.files import opened
from coordexp_audit_lib.boundaries.geometry.artifact.judging import File, Judge
from coordexp_audit_lib.boundaries.geometry.artifact.stream import look, stream_of
from coordexp_audit_lib.boundaries.geometry.artifact.talks import ANSWER, TalkLayout
from coordexp_audit_lib.kit.boxes import TOKENS

NAMES = ("person", "car", "chair", "dining table", "traffic light", "cup", "potted plant", "bird", "umbrella")
Made = Iterator[dict[str, Any]]


def boxes(rng: Random, wide: int, high: int, most: int = 14) -> list[tuple[str, list[int]]]:
    found = []
    for _ in range(1 + rng.randrange(most)):
        x, y = sorted(rng.sample(range(wide), 2)), sorted(rng.sample(range(high), 2))
        found.append((rng.choice(NAMES), [x[0], y[0], x[1], y[1]]))
    return found


def tokens(rng: Random) -> Made:
    while True:
        objects = [{"desc": n, "bbox_2d": [TOKENS[k] for k in b]} for n, b in boxes(rng, 1000, 1000)]
        yield {"images": ["train/1.jpg"], "objects": objects, "width": 640, "height": 480}


def pixels(rng: Random) -> Made:
    while True:
        objects = [{"desc": n, "bbox_2d": b} for n, b in boxes(rng, 1920, 1080)]
        yield {"images": ["train/1.jpg"], "objects": objects, "width": 1920, "height": 1080}


def polygons(rng: Random) -> Made:
    while True:
        objects: list[Any] = []
        for n, b in boxes(rng, 1000, 1000):
            poly = [b[0], b[1], b[2], b[1], b[2], b[3], b[0], b[3]]
            objects.append(
                {"desc": n, "poly": poly, "poly_points": 4} if rng.random() < 0.5 else {"desc": n, "bbox_2d": b}
            )
        yield {"images": ["train/1.jpg"], "objects": objects, "width": 640, "height": 480}


def swift(rng: Random, kind: str = "") -> Made:
    while True:
        found = boxes(rng, 640 if not kind else 1000, 480 if not kind else 1000)
        answer = "".join(f"<ref-object>{'<bbox>'}" for _ in found)
        objects = {"ref": [n for n, _ in found], "bbox": [b for _, b in found], **({"bbox_type": kind} if kind else {})}
        more = {} if kind else {"width": 640, "height": 480}
        yield {
            "messages": [{"role": "user", "content": "<image>Find all."}, {"role": "assistant", "content": answer}],
            "images": ["train/1.jpg"],
            "objects": {**objects, **more},
        }


def talk(rng: Random, most: int = 1000, sizes: bool = False) -> Made:
    while True:
        found = boxes(rng, *((640, 480) if sizes else (most, most)))
        answer = json.dumps([{"bbox_2d": b, "label": n} for n, b in found])
        turns = [{"from": "human", "value": "<image>\nFind all."}, {"from": "gpt", "value": answer}]
        yield {"image": "train/1.jpg", "conversations": turns, **({"width": 640, "height": 480} if sizes else {})}


def sharegpt(rng: Random) -> Made:
    while True:
        found = boxes(rng, 1000, 1000)
        answer = "```json\n" + json.dumps([{"bbox_2d": b, "label": n} for n, b in found], indent=1) + "\n```"
        turns = [{"role": "user", "content": "<image>Find all."}, {"role": "assistant", "content": answer}]
        yield {"messages": turns, "images": ["train/1.jpg"]}


def spelled(rng: Random) -> Made:
    while True:
        answer = "".join(
            f"<|object_ref_start|>{n}<|object_ref_end|><|box_start|>({b[0]},{b[1]}),({b[2]},{b[3]})<|box_end|>"
            for n, b in boxes(rng, 1000, 1000)
        )
        turns = [{"role": "user", "content": "<image>Find all."}, {"role": "assistant", "content": answer}]
        yield {"messages": turns, "images": ["train/1.jpg"]}


def lines(path: Path, made: Made, size: int) -> None:
    written = 0
    with path.open("w") as file:
        for record in made:
            written += file.write(json.dumps(record) + "\n")
            if written >= size:
                return


def array(path: Path, made: Made, size: int, indent: int | None = None) -> None:
    held, records = 0, []
    for record in made:
        records.append(record)
        held += len(json.dumps(record, indent=indent))
        if held >= size:
            break
    path.write_text(json.dumps(records, indent=indent))


def coco(path: Path, rng: Random, size: int) -> None:
    images, annotations = [], []
    for i in range(1, size // 1000):
        images.append({"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480})
        for _, b in boxes(rng, 640, 480):
            more = {"area": 1.0, "iscrowd": 0, "segmentation": [], "id": len(annotations), "category_id": 1}
            annotations.append({**more, "image_id": i, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]]})
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    path.write_text(json.dumps(whole))


def parquet(path: Path, made: Made, size: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [next(made) for _ in range(size // 700)]
    pq.write_table(pa.Table.from_pylist(rows), path)


FORMS: dict[str, tuple[str, Callable[[Path, Random, int], None], How]] = {
    "objects, tokens": ("a.jsonl", lambda p, r, n: lines(p, tokens(r), n), How()),
    "objects, pixels": ("a.jsonl", lambda p, r, n: lines(p, pixels(r), n), How()),
    "objects, boxes and polygons": ("a.norm.jsonl", lambda p, r, n: lines(p, polygons(r), n), How()),
    "objects, an array": ("a.json", lambda p, r, n: array(p, tokens(r), n), How()),
    "objects, an indented array": ("a.json", lambda p, r, n: array(p, tokens(r), n, 2), How()),
    "objects, Parquet": ("a.parquet", lambda p, r, n: parquet(p, tokens(r), n), How()),
    "ms-swift, pixels": ("a.jsonl", lambda p, r, n: lines(p, swift(r), n), How()),
    "ms-swift, thousandths": ("a.jsonl", lambda p, r, n: lines(p, swift(r, "norm1000"), n), How()),
    "conversations, frame said": ("a.jsonl", lambda p, r, n: lines(p, talk(r), n), How(frame="norm1000")),
    "conversations, frame not said": ("a.jsonl", lambda p, r, n: lines(p, talk(r), n), How()),
    "conversations, pixels": ("a.jsonl", lambda p, r, n: lines(p, talk(r, 640, True), n), How(frame="real")),
    "conversations, an array": ("a.json", lambda p, r, n: array(p, talk(r), n, 2), How(frame="norm1000")),
    "ShareGPT, fenced answers": ("a.jsonl", lambda p, r, n: lines(p, sharegpt(r), n), How(frame="norm1000")),
    "Qwen-VL's box tokens": ("a.jsonl", lambda p, r, n: lines(p, spelled(r), n), How()),
    "COCO": ("a.json", coco, How()),
}


def alone(path: Path, how: How) -> tuple[Callable[[], object], str]:
    """msgspec alone on what the file holds; and into what."""
    with opened(str(path)) as source:
        stream = stream_of(source)
        looked = look(source.name, stream, how.form, how.frame)
        judge = Judge(File(path.name, looked.form, looked.space, ""), how)
        for block in chain(looked.blocks, stream.blocks):
            judge.take(block, stream.lines)
    layout = judge.layout
    decoder: Any = layout.decoder if layout and layout.decoder else msgspec.json.Decoder()
    into = "its types" if layout and layout.decoder else "plain values"
    data = path.read_bytes()
    if path.suffix == ".jsonl":
        if isinstance(layout, TalkLayout) and into == "its types" and looked.form == "conversations":
            return lambda: answers(layout, decoder.decode_lines(data)), "its types, answers too"
        return lambda: decoder.decode_lines(data), into
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return lambda: pq.read_table(path).to_pylist(), "rows, by pyarrow"
    if looked.form == "coco":
        from coordexp_audit_lib.boundaries.geometry.artifact.coco import SoundWhole

        whole = msgspec.json.Decoder(SoundWhole)
        return lambda: whole.decode(data), "COCO's types"
    listed: Any = msgspec.json.Decoder(list[decoder.type] if into == "its types" else Any)
    if isinstance(layout, TalkLayout) and into == "its types":
        return lambda: answers(layout, listed.decode(data)), "its types, answers too"
    return lambda: listed.decode(data), into


def answers(layout: TalkLayout, records: list[Any]) -> None:
    """Decode the lists that answers hold, as far as they are JSON."""
    for record in records:
        for turn in layout.items(record):
            text = layout.content(turn)
            if '"bbox_2d"' in text:
                ANSWER.decode(text[text.find("[") : text.rfind("]") + 1])


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(FORMS))
    arguments = parser.parse_args()
    boundaries.load(["geometry"])
    for form in arguments.only:
        name, write, how = FORMS[form]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            write(path, Random(0), int(arguments.megabytes * 1e6))
            found = audit_file(path, how)
            work, into = alone(path, how)
            best = {"data": float("inf"), "msgspec": float("inf")}
            for _ in range(arguments.turns):
                best["data"] = min(best["data"], seconds(partial(audit_file, path, how)))
                best["msgspec"] = min(best["msgspec"], seconds(work))
            size = path.stat().st_size / 1e6
            rates = {key: round(size / s, 1) for key, s in best.items()}
            verdicts = "".join(sorted({f.status[0] for f in found}))
            told = {"form": form, **rates, "ratio": round(best["msgspec"] / best["data"], 2), "into": into}
            print(json.dumps({**told, "verdicts": verdicts}), flush=True)


if __name__ == "__main__":
    main()
