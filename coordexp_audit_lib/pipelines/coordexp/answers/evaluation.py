"""How a CoordExp tree evaluates detections, and merges what the ranks of an evaluation left.

Stand-ins: the encoder of descriptions (a model on a hub), in whose place descriptions are compared as they are; and of
the inference engine the object itself, of which the merge asks nothing.
"""

import importlib
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

from coordexp_audit_lib.kit.model import settle
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.metrics import portable, ranks
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import short

SIDE = 640
MATCHING = {**harness.MATCHING, "eval_detection": {"enabled": False}}
KEYS = ("precision_loc_micro", "recall_loc_micro", "f1_loc_micro", "f1_loc_macro", "f1_full_micro")


def boxed(box, name):
    """An object as the evaluator keeps it once it is read."""
    x1, y1, x2, y2 = box
    points = [x1, y1, x2, y1, x2, y2, x1, y2]
    return {"type": "bbox_2d", "desc": name, "bbox": list(box), "points": list(box), "segmentation": [points]}


@binds(
    "metrics.matched_detections",
    evaluate=symbols.F1ISH,
    sample=symbols.F1ISH_SAMPLE,
    options=symbols.F1ISH_OPTIONS,
    embed=symbols.EMBED_TEXTS.optional,
)
def matched_detections(request, here):
    module = importlib.import_module(symbols.DETECTION[0])
    truth, found = [], []
    for n, scene in enumerate(request["scenes"]):
        objects = [boxed(box, "thing %d" % category) for category, box in scene["truth"]]
        size = {"width": SIDE, "height": SIDE}
        truth.append(here.sample(image_id=n, file_name="%d.png" % n, objects=objects, **size))
        found.append((n, [boxed(f["box"], "thing %d" % f["category"]) | {"score": f["score"]} for f in scene["found"]]))
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        told = {"f1ish_iou_thrs": [0.5], "f1ish_pred_scope": "all", "output_dir": Path(folder)}
        options = here.options(**here.fitting(here.options, **told))
        with replaced(module, **{symbols.EMBED_TEXTS.member: lambda texts, **rest: {}}):
            made = here.call(here.evaluate, truth, found, [], options=options)
    kept = {key.partition("_")[2]: value for key, value in made["metrics"].items()}
    return {"metrics": {key: short(kept[key], 9) for key in KEYS if key in kept}}


@binds("metrics.evaluate_rollouts", evaluate=symbols.STAGE2_EVALUATE, trainer=symbols.STAGE2_TRAINER)
def evaluate_rollouts(request, here):
    """The trainer's own `evaluate` on gloo ranks. Given: the batches of a data loader, and the text of generation."""
    trainer, world = here.trainer, harness.world(here)
    settle()
    return {"ranks": ranks(here, len(request["ranks"]), lambda rank: evaluated(request, rank, trainer, world))}


def evaluated(request, rank, cls, world):
    trials = request["ranks"][rank]
    samples = [harness.sample(trial["gt"]) for trial in trials]
    texts = {id(one["assistant_payload"]): trial["text"] for one, trial in zip(samples, trials, strict=True)}
    made = harness.make_trainer(cls, world, matching=MATCHING)
    made.args.world_size, made.args.process_index = len(request["ranks"]), rank
    made.callback_handler, made.control = SimpleNamespace(on_evaluate=lambda *told: None), None
    size = request["batch"]
    made.get_eval_dataloader = lambda dataset=None: [samples[n : n + size] for n in range(0, len(samples), size)]
    made.log = lambda told, *rest: None
    made._rollout_many = harness.replaying(
        lambda one: harness.generated(world, texts[id(one["assistant_payload"])], one)
    )
    told = made.evaluate()
    return portable({key.rpartition("/")[2]: value for key, value in told.items() if "time/" not in key})


@binds("metrics.average_precision", evaluate=symbols.LVIS_EVAL)
def average_precision(request, here):
    numbers: set[int] = set()
    images: list[dict[str, object]] = []
    truths: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    for n, scene in enumerate(request["scenes"], 1):
        images.append(
            {"id": n, "width": SIDE, "height": SIDE, "neg_category_ids": [], "not_exhaustive_category_ids": []}
        )
        for category, box in scene["truth"]:
            numbers.add(category)
            truths.append({"id": len(truths) + 1, "image_id": n, "category_id": category, "bbox": sized(box)})
        for one in scene["found"]:
            found.append(
                {"image_id": n, "category_id": one["category"], "bbox": sized(one["box"]), "score": one["score"]}
            )
    categories = [{"id": c, "name": "thing %d" % c, "frequency": "f"} for c in sorted(numbers)]
    told = {"gt_dataset": {"images": images, "annotations": truths, "categories": categories}, "detections": found}

    def run():
        made = here.evaluate(**told, iou_type="bbox", iou_thrs=None, max_dets=300)
        made.evaluate()
        made.accumulate()
        made.summarize()
        return made.results

    results = here.call(run)
    return {"metrics": {key: short(results[key], 9) for key in ("AP", "AP50")}}


def sized(box):
    """A box as x, y, width and height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


@binds("metrics.merge_shards", merge=symbols.MERGE_SHARDS, source=symbols.SOURCE_INDEX)
def merge_shards(request, here):
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        root = Path(folder)
        manifests = [left(root, n, shard, here.source) for n, shard in enumerate(request["shards"])]
        out, summary, trace = root / "out.jsonl", root / "summary.json", root / "trace.jsonl"
        paths = {"final_out_path": out, "final_summary_path": summary, "final_trace_path": trace}
        counters = here.ask(here.merge, None, manifest_paths=manifests, **paths)
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        traces = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    place = {row["line_idx"]: row["number"] for row in traces}
    return {
        "rows": [row["number"] for row in rows],
        "traces": [place.get(n, -1) for n in range(len(rows))],
        **{"emitted": int(counters.total_emitted), "errors": {k: int(v) for k, v in counters.counts.items()}},
    }


def left(root, rank, shard, key):
    """The files that a rank leaves, and the manifest that names them."""
    folder = root / ("rank_%05d" % rank)
    os.makedirs(folder)
    names = {"gt_vs_pred_jsonl": "out.jsonl", "summary_json": "summary.json", "pred_token_trace_jsonl": "trace.jsonl"}
    lines = "".join(json.dumps({"number": row, key: row}) + "\n" for row in shard["rows"])
    traces = "".join(json.dumps({"number": row, key: row, "line_idx": n}) + "\n" for n, row in enumerate(shard["rows"]))
    counted = {"errors_by_code": shard["errors"], "total_read": shard["emitted"], "total_emitted": shard["emitted"]}
    for name, text in zip(names.values(), (lines, json.dumps(counted), traces), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    told = {"status": "complete" if shard["complete"] else "running", "rank": rank}
    manifest = folder / "manifest.json"
    manifest.write_text(
        json.dumps({**told, "artifacts": {k: str(folder / n) for k, n in names.items()}}), encoding="utf-8"
    )
    return manifest
