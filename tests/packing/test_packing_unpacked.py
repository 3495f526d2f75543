"""`batch --samples`: what a batch alone can't decide, with the unpacked samples that it was made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing.artifact import Unpacked
from coordexp_audit_lib.cli import main
from coordexp_audit_lib.run.batches import audit_batch, read_samples
from tests.packing import generated as g

boundaries.load(["packing", "template"], ("claims",))
Parts = list[g.Sample]
LAYOUTS = ("ms-swift", "LLaMA-Factory, numbered mask", "Megatron, padded THD", "Automodel, numbered mask", "axolotl")


def unpacked(one: g.Sample, family: str) -> Unpacked:
    """A generated sample as it is encoded by itself."""
    pixels = {k: np.tile(np.array(v, np.float32)[:, None], g.WIDTHS[family]) for k, v in one.pixels.items()}
    grids = (np.array(kind, np.int64).reshape(-1, 3) for kind in (one.images, one.videos))
    images, videos = grids
    return Unpacked(np.array(one.ids), np.array(one.labels), images, pixels["image"], videos, pixels["video"])


def pictured(seed: int, family: str = "qwen3_vl") -> Parts:
    """Four samples, the first two with an image of the same size."""
    rng = np.random.default_rng(seed)
    parts = [g.sample(rng, family, kinds, True, True) for kinds in ("", "iv", "i", "")]
    for one in parts[:2]:
        other = g.Sample()
        other.text([g.IM_START, g.USER, g.NEWLINE, g.VISION_START])
        other.cells(g.IMAGE, (1, 4, 4))
        other.text([g.VISION_END, *g.words(rng, 2, 5), g.IM_END, g.NEWLINE, g.IM_START, g.ASSISTANT, g.NEWLINE])
        other.turns.append((len(other.ids), len(other.ids) + 3))
        other.text([*g.words(rng, 3, 4), g.IM_END], supervised=True)
        other.images, other.pixels = [(1, 4, 4)], {"image": rng.random(16).round(3).tolist(), "video": []}
        parts[parts.index(one)] = other
    return parts


def batch(parts: Parts, layout: str, family: str = "qwen3_vl") -> g.Tensors:
    rng = np.random.default_rng(0)
    return {n: np.asarray(a) for n, a in g.LAYOUTS[layout](parts, family, rng).items()} | g.vision(parts, family, rng)


def told(tensors: g.Tensors, samples: list[Unpacked]) -> list[tuple[str, str]]:
    found = audit_batch(tensors, samples=samples).findings
    assert [f.note for f in found if f.status == "error"] == []
    return [(f.invariant.removeprefix("packing."), v.message) for f in found for v in f.violations]


@pytest.mark.parametrize("layout", g.LAYOUTS)
def test_a_right_batch_holds_with_its_samples(layout: str) -> None:
    for seed in range(2):
        made = g.right(np.random.default_rng(seed), layout, "qwen2_5_vl")
        assert told(made.tensors, [unpacked(p, made.family) for p in made.parts]) == []


def test_the_order_of_samples_is_the_packers() -> None:
    parts = pictured(1)
    assert told(batch(parts[::-1], "ms-swift"), [unpacked(p, "qwen3_vl") for p in parts]) == []


def cut(one: g.Sample, start: int, end: int) -> g.Sample:
    made = g.Sample(ids=one.ids[start:end], labels=one.labels[start:end], turns=one.turns)
    made.rows = [(i, i, i) for i in range(end - start)]
    made.at = end - start
    return made


def merged(a: g.Sample, b: g.Sample) -> g.Sample:
    rows = [*a.rows, *[(r[0] + a.at, r[1] + a.at, r[2] + a.at) for r in b.rows]]
    pixels = {k: [*a.pixels[k], *b.pixels[k]] for k in a.pixels}
    made = g.Sample(ids=[*a.ids, *b.ids], labels=[*a.labels, *b.labels], rows=rows, turns=a.turns, pixels=pixels)
    made.images, made.videos, made.at = [*a.images, *b.images], [*a.videos, *b.videos], a.at + b.at
    return made


def relabelled(one: g.Sample) -> g.Sample:
    """Without the label of the second token of its answer."""
    labels = list(one.labels)
    labels[one.turns[0][0] + 1] = g.IGNORED
    return g.Sample(one.ids, labels, one.rows, one.images, one.videos, one.seconds, one.pixels, one.turns, one.at)


CHANGES: dict[str, tuple[Callable[[Parts], Parts], str, str]] = {
    "lost": (lambda p: p[:-1], "each_once", "sample 3 of 4 is lost"),
    "doubled": (lambda p: [*p, p[3]], "each_once", "sample 3 of 4 stands in the batch 2 times"),
    "cut short": (lambda p: [*p[:3], cut(p[3], 0, len(p[3].ids) - 5)], "each_once", "sample 3 of 4 is not whole"),
    "split": (
        lambda p: [*p[:3], cut(p[3], 0, 9), cut(p[3], 9, len(p[3].ids))],
        "fields_aligned",
        "the samples tell different segment boundaries",
    ),
    "merged": (lambda p: [merged(p[0], p[1]), *p[2:]], "fields_aligned", "segment"),
    "other labels": (lambda p: [p[0], relabelled(p[1]), *p[2:]], "no_cross_boundary_label", "labels of sample 1"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_happened_to_a_sample_is_told(change: str, layout: str) -> None:
    done, claim, words = CHANGES[change]
    parts = pictured(2)
    if change == "split" and layout.startswith(("Automodel", "Megatron")):
        claim, words = "each_once", "sample 3 of 4 is not whole"  # a token less, or pads between the parts
    tensors = batch(done(parts), layout)
    found = told(tensors, [unpacked(p, "qwen3_vl") for p in parts])
    assert any(c == claim and words in m for c, m in found), found
    assert claim != "each_once" or [c for c, _ in found] == ["each_once"]


def swapped(name: str) -> Callable[[g.Tensors], g.Tensors]:
    def change(t: g.Tensors) -> g.Tensors:
        rows = np.array(t[name])
        rows[:16], rows[16:32] = rows[16:32].copy(), rows[:16].copy()
        return {**t, name: rows}

    return change


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_pictures_that_changed_places_are_told(layout: str, dtype: Any) -> None:
    parts = pictured(3)
    tensors, samples = batch(parts, layout), [unpacked(p, "qwen3_vl") for p in parts]
    tensors = {n: a.astype(dtype) if n.startswith("pixel") else a for n, a in tensors.items()}
    assert told(tensors, samples) == []
    assert told(swapped("pixel_values")(tensors), samples) == [
        ("vision_in_order", "pixel row 0 is not that of image 0: rows do not follow the samples' order")
    ]


def written(parts: Parts, form: str, folder: Path) -> Path:
    """The samples as a file of that form."""
    if form == "lines":
        path = folder / "samples.jsonl"
        grids = [{"image_grid_thw": p.images, "video_grid_thw": p.videos} for p in parts]
        lines = [json.dumps({"input_ids": p.ids, "labels": p.labels, **v}) for p, v in zip(parts, grids, strict=True)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
    if form == "a padded batch":
        path = folder / "samples.safetensors"
        save_file({n: np.ascontiguousarray(a) for n, a in batch(parts, "left padded").items()}, path)
        return path
    each = [
        {"input_ids": np.array(p.ids), "labels": np.array(p.labels), **g.vision([p], "qwen3_vl", None)} for p in parts
    ]
    if form == "numbered":
        np.savez(folder / "samples.npz", **{f"{k}.{n}": a for k, t in enumerate(each) for n, a in t.items()})
        return folder / "samples.npz"
    (folder / "samples").mkdir()
    for k, t in enumerate(each):
        np.savez(folder / "samples" / f"{k}.npz", **t)
    return folder / "samples"


@pytest.mark.parametrize("form", ["lines", "a padded batch", "numbered", "a folder"])
def test_samples_come_in_many_forms(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = pictured(4)
    place = written(parts, form, tmp_path)
    read = read_samples(place)
    assert [s.input_ids.tolist() for s in read] == [p.ids for p in parts]
    assert [s.labels.tolist() for s in read] == [p.labels for p in parts]
    assert [np.asarray(s.grid).tolist() for s in read] == [list(map(list, p.images)) for p in parts]
    right, wrong = batch(parts, "ms-swift"), batch(parts[:-1], "ms-swift")
    for name, tensors in (("right", right), ("wrong", wrong), ("swapped", swapped("pixel_values")(right))):
        save_file({n: np.ascontiguousarray(a) for n, a in tensors.items()}, tmp_path / f"{name}.safetensors")
    ask = ["batch", "--samples", str(place)]
    assert main([*ask, str(tmp_path / "right.safetensors")]) == 0
    assert main([*ask, str(tmp_path / "wrong.safetensors")]) == 1
    assert "sample 3 of 4 is lost" in capsys.readouterr().out
    assert main([*ask, str(tmp_path / "swapped.safetensors")]) == (0 if form == "lines" else 1)


@pytest.mark.parametrize("text", ["", "{}\n", "[1, 2]\n", '{"input_ids": "words"}\n', "no JSON"])
def test_what_are_no_samples_is_refused_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, packed = tmp_path / "samples.jsonl", tmp_path / "packed.safetensors"
    path.write_text(text, encoding="utf-8")
    save_file({"input_ids": np.ones((1, 9), np.int64)}, packed)
    assert main(["batch", str(packed), "--samples", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Remedy" in said
