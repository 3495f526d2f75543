"""What the target's installed transformers and ms-swift do with what the target gives them.

Standard library only at import; the template, tokenizer and model are those of `packing_batch` and `trainer_harness`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import types

from coordexp_audit_lib.pipelines.api import CannotImport, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp.answers.packing_batch import chat, part, template_of
from coordexp_audit_lib.pipelines.coordexp.answers.trainer_harness import settle, tiny_model

TRAINER = (
    "src.trainers.rollout_matching_sft:RolloutMatchingSFTTrainer",
    "src.trainers.stage2_rollout_aligned:RolloutMatchingSFTTrainer",
)


@binds("upstream.trainer", wiring=("src.optim.coord_offset_optimizer:create_multimodal_coord_offset_optimizer", "?"))
def trainer(request, here):
    wiring = part("wiring")
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        found = here.call(wiring.facts, folder, request)
        found["wiring"] = own_wiring(here, wiring, folder, request) if here.wiring else None
    return found


def own_wiring(here, wiring, folder, request):
    """The project's optimizer for a network with coordinate offsets, on the arguments that ms-swift would give it."""
    model, given = wiring.network(), wiring.arguments(folder, request)
    model.model_meta = types.SimpleNamespace(model_arch=types.SimpleNamespace(**wiring.TOWERS))
    given.coord_offset_config = types.SimpleNamespace(
        enabled=True, embed_lr=request["embed_lr"], head_lr=request["head_lr"], weight_decay=0.0
    )
    optimizer, _ = here.call(here.wiring, given, model, None)
    return wiring.groups(optimizer, model)


def had(module, name):
    """A name of the target's environment, where the release at hand may not have it."""
    try:
        return getattr(__import__(module, fromlist=[name]), name)
    except (ImportError, AttributeError) as error:
        raise CannotImport("%s.%s: %s" % (module, name, error)) from error


def own(here, name):
    """A method of the project's trainer, under the name that it has at the reference commit."""
    if not hasattr(here.trainer, name):
        raise Unbound("the trainer has no %s" % name)
    return getattr(here.trainer, name)


@binds("upstream.request_config", trainer=TRAINER)
def request_config(request, here):
    config = had("swift.llm", "RequestConfig")
    sent = here.call(own(here, "_rollout_vllm_request_config_kwargs"), **request)
    made = dataclasses.asdict(here.call(config, **sent))
    again = dataclasses.asdict(config(**json.loads(json.dumps(made))))
    return {"sent": sent, "config": made, "again": again, "bare": dataclasses.asdict(config())}


@binds("upstream.infer_request", trainer=TRAINER)
def infer_request(request, here):
    kind = had("swift.llm", "RolloutInferRequest")
    inputs = had("swift.llm.template.template_inputs", "StdTemplateInputs")
    samples = [{k: v for k, v in s.items() if v is not None} for s in request["samples"]]
    found = []
    for payload in here.call(own(here, "_build_vllm_server_infer_requests"), None, samples):
        posted = json.loads(json.dumps(payload))
        made = dataclasses.asdict(here.call(kind, **posted))
        again = dataclasses.asdict(kind(**json.loads(json.dumps(made))))
        read = here.call(inputs.from_dict, made)
        texts = [read.system or "", *(m["content"] for m in read.messages)]
        found.append(
            {
                "payload": posted,
                "request": {k: made[k] for k in ("messages", "images", "uuid", "data_dict")},
                "again": {k: again[k] for k in ("messages", "images", "uuid", "data_dict")},
                "slots": sum(t.count("<image>") for t in texts),
                "images": list(read.images),
            }
        )
    return {"sent": found}


@binds("upstream.template")
def template(request, here):
    made = template_of(here)
    before = made.packing, made.padding_free
    chats = [
        chat({"turns": turns, "pictures": [{"number": i, "width": w, "height": h} for i, (w, h) in enumerate(sizes)]})
        for turns, sizes in zip(request["chats"], request["sizes"], strict=True)
    ]
    try:
        made.packing = made.padding_free = False
        encoded = [here.call(made.encode, c, return_length=True) for c in chats]
        padded = collated(here.call(made.data_collator, [dict(e) for e in encoded]))
        made.packing = made.padding_free = True
        row = here.call(made.packing_row, [dict(e) for e in encoded])
        packed = collated(here.call(made.data_collator, [[dict(e) for e in encoded]]))
    finally:
        made.packing, made.padding_free = before
    return {
        "keys": [sorted(k for k, v in e.items() if v is not None) for e in encoded],
        "lengths": [int(e["length"]) for e in encoded],
        "patches": [0 if e.get("pixel_values") is None else len(e["pixel_values"]) for e in encoded],
        "row": sorted(row),
        "packed": packed,
        "padded": padded,
    }


def collated(batch):
    """Shape and dtype of each tensor."""
    tensors = {k: v for k, v in batch.items() if hasattr(v, "dtype")}
    return {
        "shapes": {k: list(v.shape) for k, v in tensors.items()},
        "dtypes": {k: str(v.dtype).replace("torch.", "") for k, v in tensors.items()},
    }


@binds("upstream.qwen3vl")
def qwen3vl(request, here):
    settle()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return part("four_rows").facts(
        tiny_model(), list(request["grid"]), request["before"], request["after"], request["lengths"]
    )
