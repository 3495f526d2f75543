"""How the time of every command grows with its input: exponents at 10³, 10⁴, 10⁵.

Each case is judged in this process, from written files; the time is the processor's, the best of two at the smallest
size. The exponent is log(time ratio) / log(size ratio); above 1.1 the program ends with status 1.

    [GROWTH_SIZES='1000 10000'] python benchmarks/growth_of_runs.py [CASE …]
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli.streams import rarely_collected

SIZES = tuple(map(int, os.environ.get("GROWTH_SIZES", "1000 10000 100000").split()))
LIMIT = 1.1
Made = tuple[Path, Callable[[Path], object]]
Rows = Iterator[dict[str, Any]]


def swift(n: int) -> Rows:
    """A sound ms-swift log."""
    for s in range(1, n + 1):
        words = {"global_step/max_steps": f"{s}/{n}", "percentage": f"{s / n:.2%}", "elapsed_time": f"{s}s"}
        yield {"loss": 1 + 1 / s, "grad_norm": 0.5, "learning_rate": 1e-5, "token_acc": 0.7, "epoch": s / n, **words}


def stage2(n: int, *, seeds_vary: bool = False) -> Rows:
    """A sound log of both channels; with seeds that are all their own."""
    rng = random.Random(0)
    for s, row in enumerate(swift(n), 1):
        ran = 3 * s // 4
        is_b = ran > 3 * (s - 1) // 4
        row |= {"stage2/channel_a": float(not is_b), "stage2/channel_b": float(is_b)}
        row |= {"stage2_ab/b_ratio_realized": ran / s, "time/forward_s": rng.random()}
        if is_b:
            shift = rng.randrange(10**9) if seeds_vary else 0
            row |= {"rollout/seed_base": 17 + (s - 1) * 1_000_003 + shift, "time/rollout_generate_s": rng.random()}
        yield row


def metrics(path: Path) -> object:
    from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log
    from coordexp_audit_lib.core.target import TargetInfo
    from coordexp_audit_lib.report.document import document, dumps

    found = audit_log(path)
    return dumps(document(TargetInfo(kind="artifact", name=path.name), {}, [], found))


def lines(folder: Path, rows: Rows) -> Path:
    path = folder / "logging.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def state(folder: Path, rows: Rows) -> Path:
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({"log_history": list(rows)}))
    return path


def events(folder: Path, rows: Rows) -> Path:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = folder / "events.out.tfevents.1"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for s, row in enumerate(rows, 1):
            value = Summary.Value(tag="train/loss", simple_value=row["loss"])
            writer.write(Event(step=s, summary=Summary(value=[value])).SerializeToString())
    return path


def every_second(n: int) -> Rows:
    yield from ({**row, **({"sometimes": 1.0} if s % 2 else {})} for s, row in enumerate(stage2(n)))


def own_keys(n: int) -> Rows:
    yield from ({**row, f"coord_diag/{s}": 1.0, f"coord_diag/null_{s}": None} for s, row in enumerate(swift(n)))


def all_broken(n: int) -> Rows:
    yield from ({**row, "loss": math.nan, "rollout/x_total": 0.5} for row in stage2(n))


def doubled(n: int) -> Rows:
    yield from (row for once in swift(n // 2) for row in (once, once))


CASES: dict[str, Callable[[Path, int], Made]] = {
    "metrics: ms-swift's log": lambda folder, n: (lines(folder, swift(n)), metrics),
    "metrics: both channels": lambda folder, n: (lines(folder, stage2(n)), metrics),
    "metrics: seeds that vary": lambda folder, n: (lines(folder, stage2(n, seeds_vary=True)), metrics),
    "metrics: a key in every second row": lambda folder, n: (lines(folder, every_second(n)), metrics),
    "metrics: keys of one row each": lambda folder, n: (lines(folder, own_keys(n)), metrics),
    "metrics: every row broken": lambda folder, n: (lines(folder, all_broken(n)), metrics),
    "metrics: two processes": lambda folder, n: (lines(folder, doubled(n)), metrics),
    "metrics: a trainer state": lambda folder, n: (state(folder, swift(n)), metrics),
    "metrics: TensorBoard": lambda folder, n: (events(folder, swift(n)), metrics),
    "manifest: a resolved config": lambda folder, n: (folder_of(folder, keys(n)), manifest),
    "manifest: secrets in a config": lambda folder, n: (folder_of(folder, keys(n, "api_token")), manifest),
    "manifest: an extends path of many parts": lambda folder, n: (extended(folder, n), manifest),
    "manifest: a log": lambda folder, n: (logged(folder, n, "INFO step {n} loss: 3.5 tokens: 512\n"), manifest),
    "manifest: a log of secrets": lambda folder, n: (logged(folder, n, "HF_TOKEN=abcdef{n}\n"), manifest),
    "manifest: two runs": lambda folder, n: (folder_of(folder, keys(n)), against),
    "upstream: lines of a release": lambda folder, n: (release(folder, n), upstream),
    "upstream: names that a release has": lambda folder, n: (together(folder, n, there=True), upstream),
    "upstream: names that a release has not": lambda folder, n: (together(folder, n, there=False), upstream),
    "check: unknown keys of a config": lambda folder, n: (unknown_keys(folder, n), schema),
    "batch: tokens": lambda folder, n: (packed(folder, n, 50), batch),
    "batch: samples of two tokens": lambda folder, n: (packed(folder, n, 2), batch),
    "batch: every label wrong": lambda folder, n: (packed(folder, n, 50, wrong=True), batch),
    "data: records of objects": lambda folder, n: (dataset(folder, n, objects), data),
    "data: objects of one record": lambda folder, n: (dataset(folder, 1, lambda k: objects(k, n)), data),
    "data: conversations": lambda folder, n: (dataset(folder, n, talk), data),
    "data: boxes of one answer": lambda folder, n: (dataset(folder, 1, lambda k: talk(k, n)), data),
    "data: ms-swift's grounding": lambda folder, n: (dataset(folder, n, grounded), data),
    "data: an array": lambda folder, n: (dataset(folder, n, objects, array=True), data),
    "data: COCO": lambda folder, n: (coco(folder, n), data),
    "data: every record wrong": lambda folder, n: (dataset(folder, n, lambda k: {**objects(k), "width": 0}), data),
    "data: keys of one record": lambda folder, n: (dataset(folder, 1, lambda k: many_keys(n)), data),
    "data: numbers of one record": lambda folder, n: (dataset(folder, 1, lambda k: {"images": list(range(n))}), data),
    "diff, baseline: findings": lambda folder, n: (audits(folder, n), compared),
}


def folder_of(folder: Path, resolved: dict[str, Any]) -> Path:
    """A run's folder with a resolved config, and a source that sets all of it."""
    run = folder / "run"
    run.mkdir()
    (run / "resolved_config.json").write_text(json.dumps({"schema_version": 1, "resolved": resolved}))
    (run / "runtime_env.json").write_text(json.dumps({"schema_version": 1, "env": {}}))
    (run / "run_metadata.json").write_text(json.dumps({"created_at": "2026-01-01T00:00:00+00:00"}))
    (run / "config_source.yaml").write_text(json.dumps(resolved))
    return run


def manifest(path: Path) -> object:
    from coordexp_audit_lib.boundaries.provenance.artifact.run import audit_run

    return audit_run(path)


def against(path: Path) -> object:
    from coordexp_audit_lib.boundaries.provenance.artifact.run import RunPair, audit_pair

    other = path.with_name("other")
    if not other.exists():
        other.mkdir()
        for file in path.iterdir():
            (other / file.name).write_text(file.read_text().replace("value 1", "value 2"))
    return audit_pair(RunPair(path, other))


def keys(n: int, name: str = "value") -> dict[str, Any]:
    return {f"section_{k % 10}": {f"of_{j}_{name}": f"value {j}" for j in range(k % 10, n, 10)} for k in range(10)}


def extended(folder: Path, parts: int) -> Path:
    run = folder_of(folder, {"a": 1})
    (run / "config_source.yaml").write_text(f"extends: {'/'.join(f'p{n}' for n in range(parts))}/base.yaml\n")
    return run


def logged(folder: Path, rows: int, line: str) -> Path:
    run = folder_of(folder, {"a": 1})
    (run / "train.log").write_text("".join(line.format(n=n) for n in range(rows)))
    return run


def wheel(path: Path, distribution: str, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            **files,
            f"{distribution}-1.0.dist-info/METADATA": f"Name: {distribution}\nVersion: 1.0\n\n",
        }.items():
            archive.writestr(name, text)
    return path


def together(folder: Path, n: int, *, there: bool) -> Path:
    """ms-swift that imports n names of vLLM, a hundred from a file, which has them, or has none of them."""
    files = {k: [f"Name{k}" for k in range(100 * k, 100 * k + 100)] for k in range(n // 100)}
    names = {k: "".join(f"class {name}: pass\n" for name in names if there) for k, names in files.items()}
    made = {"vllm/__init__.py": "", **{f"vllm/names{k}.py": text for k, text in names.items()}}
    takes = {k: "".join(f"from vllm.names{k} import {name}\n" for name in names) for k, names in files.items()}
    wheel(folder / "vllm-1.0-py3-none-any.whl", "vllm", made)
    swift_files = {"swift/__init__.py": "", **{f"swift/a{k}.py": text for k, text in takes.items()}}
    wheel(folder / "ms_swift-1.0-py3-none-any.whl", "ms-swift", swift_files)
    return folder


def upstream(folder: Path) -> object:
    from coordexp_audit_lib.boundaries.upstream.artifact import matrix
    from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source

    sources = [open_source(str(p)) for p in sorted(folder.glob("*.whl"))]
    return matrix.audit(matrix.of_sources(sources), sources)


def release(folder: Path, n: int) -> Path:
    """ms-swift of n lines, a hundred a file; the names that are asked for are in none of them."""
    body = "".join(f"def f{k}(a, b=1): return a\n" for k in range(100))
    files = {f"swift/llm/m{k}.py": body for k in range(n // 100)}
    wheel(
        folder / "ms_swift-1.0-py3-none-any.whl",
        "ms-swift",
        {"swift/__init__.py": "", "swift/llm/__init__.py": "", **files},
    )
    return folder


def unknown_keys(folder: Path, n: int) -> Path:
    path = folder / "config.yaml"
    path.write_text("".join(f"unknown_{k}: {k}\n" for k in range(n)))
    return path


def schema(path: Path) -> object:
    from coordexp_audit_lib.boundaries.config.predicates.values import Schema

    known = {f"key_{k}": "any" for k in range(60)}
    made = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return sum(1 for _ in Schema(known, {}, "custom.extra").check(made))


def packed(folder: Path, n: int, size: int, *, wrong: bool = False) -> Path:
    """A pack of n tokens in samples of one size, all but the first of which are supervised."""
    ids = np.arange(n, dtype=np.int64)[None] % 1000
    at = ids * 0 + np.arange(n)[None] % size
    labels = np.where(at == 0, -100, ids + wrong)
    cu = np.append(np.arange(0, n, size), n).astype(np.int32)
    np.savez(folder / "batch.npz", input_ids=ids, labels=labels, text_position_ids=at, cu_seq_lens_q=cu)
    return folder / "batch.npz"


def batch(path: Path) -> object:
    from coordexp_audit_lib.boundaries.packing import artifact
    from coordexp_audit_lib.run.batches import audit_batch

    return audit_batch(artifact.read(path), name=path.name)


def objects(k: int, count: int = 5) -> dict[str, Any]:
    found = [{"desc": "car", "bbox_2d": [j % 500, k % 500, j % 500 + 9, k % 500 + 9]} for j in range(count)]
    return {"images": ["a.jpg"], "objects": found, "width": 640, "height": 480}


def talk(k: int, count: int = 5) -> dict[str, Any]:
    answer = json.dumps([{"bbox_2d": o["bbox_2d"], "label": "car"} for o in objects(k, count)["objects"]])
    turns = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "images": ["a.jpg"]}


def grounded(k: int) -> dict[str, Any]:
    boxes = [o["bbox_2d"] for o in objects(k)["objects"]]
    turns = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "<ref-object><bbox>" * 5}]
    told = {"ref": ["car"] * 5, "bbox": boxes, "bbox_type": "norm1000"}
    return {"messages": turns, "images": ["a.jpg"], "objects": told}


def many_keys(n: int) -> dict[str, Any]:
    return {**objects(0), **{f"key_{j}": j for j in range(n)}}


def dataset(folder: Path, n: int, record: Callable[[int], dict[str, Any]], *, array: bool = False) -> Path:
    path = folder / "train.jsonl"
    texts = [json.dumps(record(k)) for k in range(n)]
    path.write_text("[" + ",".join(texts) + "]" if array else "\n".join(texts))
    return path


def coco(folder: Path, n: int) -> Path:
    path = folder / "train.json"
    images = [{"id": k, "file_name": "a.jpg", "width": 640, "height": 480} for k in range(n)]
    notes = [{"id": k, "image_id": k, "category_id": 1, "bbox": [1, 2, 3, 4]} for k in range(n)]
    path.write_text(json.dumps({"images": images, "annotations": notes, "categories": [{"id": 1, "name": "car"}]}))
    return path


def data(path: Path) -> object:
    from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file

    return audit_file(path, How(images="none"))


def audits(folder: Path, n: int) -> Path:
    """Two audits, each with n findings of configs of their own."""
    from coordexp_audit_lib.core.finding import Finding
    from coordexp_audit_lib.core.target import TargetInfo
    from coordexp_audit_lib.report.document import document, dumps

    for name, status in (("before.json", "held"), ("after.json", "unbound")):
        found = [
            Finding(f"config.made_up_{k}", "config", "P1", "S", status, 0, None, "", [], 0, [], "", "", "", 0.0)
            for k in range(n)
        ]
        (folder / name).write_text(dumps(document(TargetInfo(kind="artifact", name="x"), {}, [], found)))
    return folder


def compared(path: Path) -> object:
    from coordexp_audit_lib.report import baseline
    from coordexp_audit_lib.report.compare import compare
    from coordexp_audit_lib.report.document import read_audit

    before, after = read_audit(path / "before.json"), read_audit(path / "after.json")
    return compare(before, after), baseline.entries(after, "known", date(2026, 1, 1), [])


def seconds(made: Made, rounds: int) -> float:
    path, judge = made
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        judge(path)
        taken.append(time.process_time() - started)
    return min(taken)


def main(chosen: list[str]) -> int:
    boundaries.load()
    with rarely_collected():  # as commands run
        return measured(chosen)


def measured(chosen: list[str]) -> int:
    worst = 0.0
    print(f"{'case':44}" + "".join(f"{n:>12,}" for n in SIZES) + "   exponents")
    for name, make in CASES.items():
        if chosen and not any(word in name for word in chosen):
            continue
        times = []
        for n in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                times.append(seconds(make(Path(folder), n), 2 if n < SIZES[-1] else 1))
        pairs = zip(zip(times, SIZES, strict=True), zip(times[1:], SIZES[1:], strict=True), strict=False)
        grown = [math.log(b / a) / math.log(m / n) for (a, n), (b, m) in pairs]
        worst = max(worst, *grown)
        print(f"{name:44}" + "".join(f"{t:11.3f}s" for t in times) + "   " + ", ".join(f"{g:.2f}" for g in grown))
    print(f"largest exponent: {worst:.2f}, at most {LIMIT}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
