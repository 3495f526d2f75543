"""Right inputs of each boundary, made at random, and judged by what judges a user's own (`benchmarks/controls.py`)."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.logs_right_and_wrong import WRITERS, made
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved
from coordexp_audit_lib.boundaries.config.reference import CONTRACT, resolved
from coordexp_audit_lib.boundaries.coordjson.cases.texts import things
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.reference import parse_coordjson, render
from coordexp_audit_lib.boundaries.coordjson.surfaces import ParseRequest, RenderRequest
from coordexp_audit_lib.boundaries.geometry.artifact import audit_data
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log
from coordexp_audit_lib.boundaries.provenance.artifact.reading import Saved
from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import Exchanged, Pair, Sampled, TrainedRow
from coordexp_audit_lib.boundaries.silence.predicates import lacks
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.boundaries.upstream.predicates.environment import Environment
from coordexp_audit_lib.core.claim import declared
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, finding_of, judge_all, sheet_for
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.boxes import TOKENS
from coordexp_audit_lib.kit.coordjson import ORDERS
from coordexp_audit_lib.run.batches import audit_batch
from coordexp_audit_lib.source.parsing import Parser
from coordexp_audit_lib.source.undefined import undefined
from tests.packing import generated

Rng = random.Random
Judged = tuple[str, Iterable[Finding]]
WORDS = ("cat", "dining table", "traffic light", "t-shirt", 'a "quoted" sign', "père", "猫", "a\\b", "cup, red")


def of_problems(claim: str, problems: Iterable[Problem], cases: int = 1) -> Finding:
    """The finding of a claim that asks targets, on what was judged here."""
    sheet = sheet_for(next(c for c in declared() if c.id == claim))
    sheet.ledger.judged(cases)
    sheet.run(lambda: problems)
    return finding_of(Artifact(None), sheet)


def batch(boundary: str) -> Callable[[Rng, np.random.Generator, Path], Judged]:
    def judged(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
        right = generated.right(arrays)
        found = audit_batch(right.tensors).findings
        return f"{right.layout}, {right.family}", [f for f in found if f.boundary == boundary]

    return judged


# ---- configs, answers and data ---------------------------------------------------------------------------------------


@cache
def _merged(which: int) -> dict[str, Any]:
    return resolved(pipeline().configs[which], {}).merged


def config(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """A resolved config with other values that it may have, and without some that it need not have."""
    which = rng.randrange(2)
    values, world = copy.deepcopy(_merged(which)), rng.choice((1, 2, 4, 8))
    training, device = values["training"], rng.choice((1, 2, 4))
    training |= {
        "per_device_train_batch_size": device,
        "effective_batch_size": device * world * rng.randint(1, 9),
        "learning_rate": 10 ** rng.uniform(-6, -3),
        "num_train_epochs": rng.randint(1, 9),
        "seed": rng.randrange(10**6),
    }
    for optional in ("save_steps", "eval_steps", "weight_decay", "warmup_ratio", "packing_buffer"):
        if rng.random() < 0.3:
            training.pop(optional, None)
    values["model"]["attn_impl"] = rng.choice(("flash_attention_2", "flash_attn", "flash_attention_3"))
    values["custom"]["object_field_order"] = rng.choice(ORDERS)
    values["custom"].setdefault("extra", {})[f"free_{rng.randrange(99)}"] = rng.choice((1, "x", None, [1, {"a": 2}]))
    if "stage2_ab" in values:
        stage = values["stage2_ab"]
        stage["schedule"]["b_ratio"] = rng.choice((0.0, 1.0, 0, 1, rng.random()))
        stage |= {"n_softctx_iter": rng.randint(1, 9), "bbox_ciou_weight": rng.choice((0.0, rng.random(), 3))}
    found = judge_all(Artifact(Resolved(values, CONTRACT, world)), "config")
    return ("Stage 1", "Stage 2")[which], found


def answer(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """A CoordJSON answer of random objects, read back in either mode."""
    order, some = rng.choice(ORDERS), things(rng, rng.randint(0, 12))
    text, mode = render(RenderRequest(some, order)).text, rng.choice(("strict", "salvage"))
    read = parse_coordjson(ParseRequest(text, mode, order))
    reading = getattr(coordjson, mode)(text, order)
    return f"{order}, {mode}", [
        of_problems("coordjson.roundtrip", parsing.roundtrip(some, order, read)),
        of_problems("coordjson.spans_exact", parsing.exact_spans(text, read)),
        of_problems("coordjson.agrees_with_reference", parsing.agreement(read, reading)),
    ]


def _box(rng: Rng, width: float, height: float, whole: bool = True) -> list[float]:
    xs, ys = (sorted(rng.sample(range(int(most) + 1), 2)) for most in (width, height))
    box = [xs[0], ys[0], xs[1], ys[1]]
    return (
        list(box) if whole else [v + 0.25 if v < most else v for v, most in zip(box, (width, height) * 2, strict=True)]
    )


def _coordexp(rng: Rng, width: int, height: int) -> tuple[Any, dict[str, str]]:
    objects = [
        {"desc": rng.choice(WORDS), "bbox_2d": [TOKENS[int(v)] for v in _box(rng, 999, 999)]}
        for _ in range(rng.randint(1, 9))
    ]
    return {"images": ["a/0.jpg"], "objects": objects, "width": width, "height": height}, {}


def _swift(rng: Rng, width: int, height: int) -> tuple[Any, dict[str, str]]:
    count, kind = rng.randint(1, 6), rng.choice(("", "real", "norm1000"))
    size = (1000, 1000) if kind == "norm1000" else (width, height)
    boxes = [_box(rng, *size, whole=kind == "norm1000" or rng.random() < 0.5) for _ in range(count)]
    refs = [rng.choice(WORDS[:4])] * (1 if rng.random() < 0.5 else count)
    asked = {"role": "user", "content": "<image>Find the " + ", ".join("<ref-object>" for _ in refs) + "."}
    said = {"role": "assistant", "content": "<bbox>" * count}
    objects = {"ref": refs, "bbox": boxes, **({"bbox_type": kind} if kind else {})}
    return {"messages": [asked, said], "images": ["a/0.jpg"], "objects": objects, "width": width, "height": height}, {}


def _qwen(rng: Rng, width: int, height: int) -> tuple[Any, dict[str, str]]:
    boxes = [
        {"bbox_2d": [int(v) for v in _box(rng, 1000, 1000)], "label": rng.choice(WORDS)}
        for _ in range(rng.randint(1, 6))
    ]
    turns = [{"from": "human", "value": "<image>\nFind it."}, {"from": "gpt", "value": json.dumps(boxes)}]
    return {"image": "a/0.jpg", "conversations": turns}, {"frame": "norm1000"}


def _coco(rng: Rng, width: int, height: int) -> tuple[Any, dict[str, str]]:
    notes = []
    for i in range(rng.randint(1, 6)):
        x, y, right, low = _box(rng, width, height)
        notes.append({"id": i + 1, "image_id": 1, "category_id": 3, "bbox": [x, y, right - x, low - y]})
    image = {"id": 1, "file_name": "0.jpg", "width": width, "height": height}
    return {"images": [image], "annotations": notes, "categories": [{"id": 3, "name": "cat"}]}, {}


FORMS = {"CoordExp": _coordexp, "ms-swift": _swift, "Qwen": _qwen, "COCO": _coco}


def data_file(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    name = rng.choice(sorted(FORMS))
    record, how = FORMS[name](rng, rng.randint(32, 2000), rng.randint(32, 2000))
    path = folder / "data"
    path.write_text(json.dumps(record, ensure_ascii=rng.random() < 0.5) + "\n", encoding="utf-8")
    return name, audit_data(path, **how)  # type: ignore[arg-type]


# ---- runs ------------------------------------------------------------------------------------------------------------


def log(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    name = rng.choice(sorted(WRITERS))
    path = folder / "logging.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made(rng, name)), encoding="utf-8")
    return name, audit_log(path)


def short_run(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """What is kept of a short run: each of the subjects that its claims read."""
    steps, count, tied = rng.randint(1, 50), rng.randint(1, 900), rng.random() < 0.5
    losses = [rng.choice((rng.random(), 0.0, "nan")) for _ in range(rng.randint(1, 9))]
    subjects = (
        running.Trained(steps, count),
        running.Frozen(count),
        running.Tied(tied or rng.random() < 0.5, tied, tied, True),
        running.Modes(rng.randint(0, 5), steps),
        running.Weights(steps, count),
        running.Repeated(losses, list(losses), "a", "a", steps, steps),
    )
    return "tied" if tied else "untied", [f for one in subjects for f in judge_all(Artifact(one), "supervision")]


def exchange(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """Rows of a batch beside the answers that they were made of: padded, cut or whole, with or without logprobs."""
    pad, told, start = rng.choice(("right", "none")), rng.random() < 0.7, rng.random() < 0.7
    pairs, temperature = [], rng.choice((0.7, 1.0))
    for i in range(rng.randint(1, 5)):
        prompt, ids = arrays.integers(10, 900, rng.randint(2, 30)), arrays.integers(10, 900, rng.randint(2, 40))
        logs, fill = -arrays.random(ids.size) * 5, rng.randint(1, 5) if pad == "right" else 0
        whole = np.concatenate([prompt, ids, np.zeros(fill, int)])
        marks = (np.arange(whole.size) >= prompt.size) & (np.arange(whole.size) < prompt.size + ids.size)
        values = np.concatenate([np.full(prompt.size, np.nan), logs, np.zeros(fill)]) if told else None
        finish = rng.choice(("stop", "length"))
        most = ids.size if finish == "length" else ids.size + rng.randint(0, 9)
        row = TrainedRow(f"row {i}", whole, int(prompt.size) if start else None, marks, values, cut=finish == "length")
        said = Sampled(f"answer {i}", ids, prompt, logs if told else None, finish, int(most), temperature)
        pairs.append(Pair(row, said, int(prompt.size), marks))
    one = Exchanged(pairs, len(pairs), temperature=temperature)
    return f"{pad} padding, {'with' if told else 'without'} logprobs", judge_all(Artifact(one), "rollout")


def _weights(path: Path, names: Iterable[str]) -> int:
    head, at = {}, 0
    for name in names:
        head[name] = {"dtype": "F32", "shape": [1], "data_offsets": [at, at + 4]}
        at += 4
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return at


def checkpoint(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """A folder of weights: one file, shards with their index, or an adapter; with a trainer's state where it may be."""
    root = folder / f"run{rng.randrange(8)}" / "checkpoint-1"
    root.mkdir(parents=True, exist_ok=True)
    for old in root.iterdir():
        old.unlink()
    names, form = [f"layers.{i}.weight" for i in range(rng.randint(1, 9))], rng.choice(("one", "shards", "adapter"))
    if form == "shards":
        shards = [names[i::2] for i in range(2) if names[i::2]]
        files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
        total = sum(_weights(root / file, shard) for file, shard in zip(files, shards, strict=True))
        weight_map = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (root / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        _weights(root / ("model.safetensors" if form == "one" else "adapter_model.safetensors"), names)
    (root / "config.json").write_text("{}")
    alone = rng.random() < 0.5
    for state in () if alone else ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "trainer_state.json"):
        (root / state).write_bytes(b"")
    found = judge_all(Artifact(Saved(root.parent, root.name, alone)), "provenance")
    return f"{form}, {'weights only' if alone else 'with state'}", found


# ---- source and releases ---------------------------------------------------------------------------------------------


def releases(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """An environment in which each requirement on another distribution is met."""
    names = [f"package-{i}" for i in range(rng.randint(2, 9))]
    versions = {n: (rng.randint(0, 9), rng.randint(0, 30), rng.randint(0, 9)) for n in names}

    def required(other: str) -> str:
        major, minor, _ = versions[other]
        shown = rng.choice((other, other.replace("-", "_"), other.title()))
        sign = rng.choice((f">={major}.{minor}", f"<{major + 1}", f"=={major}.{minor}.*", f">={major},!={major + 2}"))
        return f"{shown}{sign}" + rng.choice(("", '; python_version >= "3.8"', '; extra == "dev"'))

    told = {
        n: (".".join(map(str, versions[n])), tuple(required(o) for o in names if o != n and rng.random() < 0.4))
        for n in names
    }
    return f"{len(names)} distributions", judge_all(Artifact(Environment(told, "3.11.7")), "upstream")


PLACES = ("stage2_ab.schedule.b_ratio", "choices[0].token_ids", "'desc'", "max_new_tokens", "images[3]")
WHAT = ("must be a number in [0, 1]", "expected a list of ints, got None", "is required; set it in the config")
WHAT += ("is unknown. Remedy: remove it, or use one of `a`, `b`", "cannot be negative", "needs at least one entry")


def refusal(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """A message that names a place, what is wrong and what to do."""
    message = f"{rng.choice(PLACES)}: the value {rng.randrange(99)} {rng.choice(WHAT)}"
    missing = lacks(message)
    found = [Problem(f"the error lacks {', '.join(missing)}", message)] if missing else []
    return "a message", [of_problems("silence.errors_actionable", found)]


STATEMENTS = (
    "{a} = [{b} for {b} in range({n}) if {b}]",
    "for {a} in range({n}):\n    {b} = {a}\nelse:\n    {b} = {n}",
    "try:\n    import json as {a}\nexcept ImportError:\n    {a} = None",
    "with open(__file__) as {a}:\n    {b} = {a}.read()",
    "if ({a} := {n}) > 1:\n    {b} = {a}\nelse:\n    {b} = 0",
    "{a} = lambda {b}, *rest, **more: ({b}, rest, more)",
    "{a}, *{b} = [{n}, 2, 3]",
    "from collections import OrderedDict as {a}\n{b} = {a}()",
    "def {a}(x, y={n}):\n    return x + y + len(str(x))\n{b} = {a}(1)",
    "class {a}:\n    size = {n}\n    def twice(self):\n        return 2 * self.size\n{b} = {a}().twice()",
    "global {g}\n{g} = {n}\n{a} = {b} = {g}",
)


def program(rng: Rng, arrays: np.random.Generator, folder: Path) -> Judged:
    """A module whose names are all bound before they are used."""
    lines = ["import math", ""]
    for i in range(rng.randint(1, 4)):
        lines += [f"def function_{i}(given):"]
        known = ["given", "math"]
        for k in range(rng.randint(1, 5)):
            a, b = f"name_{i}_{k}", f"other_{i}_{k}"
            text = rng.choice(STATEMENTS).format(a=a, b=b, g=f"shared_{i}_{k}", n=rng.randint(2, 99))
            lines += [f"    {line}" for line in text.splitlines()] + [f"    print({rng.choice(known)}, {a})"]
            known.append(a)
        lines += [f"    return {known[-1]}", ""]
    text = "\n".join(lines)
    found = [Problem(b.message, b.name) for b in undefined(Parser().parse(text, "made.py"), text, "made.py")]
    return "a module", [of_problems("pipeline_map.names_defined", found)]
