"""What the target's installed transformers and ms-swift do with what the target gives them.

The template, tokenizer and model are the harness's.
"""

import dataclasses
import json
import tempfile
import types

from coordexp_audit_lib.kit import chat, environment, replies, wiring
from coordexp_audit_lib.kit.template import packing
from coordexp_audit_lib.pipelines.api import CannotImport, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import world


@binds("upstream.trainer", wiring=symbols.OPTIMIZER_WIRING.optional)
def trainer(request, here):
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        found = here.call(wiring.facts, folder, request)
        found["wiring"] = own_wiring(here, folder, request) if here.wiring else None
    return found


def own_wiring(here, folder, request):
    """The project's optimizer for a network with coordinate offsets, on the arguments that ms-swift would give it."""
    network, given = wiring.network(), wiring.arguments(folder, request)
    network.model_meta = types.SimpleNamespace(model_arch=types.SimpleNamespace(**wiring.TOWERS))
    rates = {name: request[name] for name in ("embed_lr", "head_lr")}
    given.coord_offset_config = types.SimpleNamespace(enabled=True, weight_decay=0.0, **rates)
    optimizer, _ = here.call(here.wiring, given, network, None)
    return wiring.groups(optimizer, network)


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


@binds("upstream.request_config", trainer=symbols.ROLLOUT_TRAINER)
def request_config(request, here):
    config = had("swift.llm", "RequestConfig")
    sent = here.call(own(here, symbols.REQUEST_OPTIONS.member), **request)
    made = dataclasses.asdict(here.call(config, **sent))
    again = dataclasses.asdict(config(**json.loads(json.dumps(made))))
    return {"sent": sent, "config": made, "again": again, "bare": dataclasses.asdict(config())}


@binds("upstream.infer_request", trainer=symbols.ROLLOUT_TRAINER)
def infer_request(request, here):
    kind, names = had("swift.llm", "RolloutInferRequest"), ("messages", "images", "uuid", "data_dict")
    inputs = had("swift.llm.template.template_inputs", "StdTemplateInputs")
    samples = [{k: v for k, v in s.items() if v is not None} for s in request["samples"]]
    found = []
    for payload in here.call(own(here, symbols.BUILD_SERVER_REQUESTS.member), None, samples):
        posted = json.loads(json.dumps(payload))
        made = dataclasses.asdict(here.call(kind, **posted))
        again = dataclasses.asdict(kind(**json.loads(json.dumps(made))))
        read = here.call(inputs.from_dict, made)
        texts = [read.system or "", *(m["content"] for m in read.messages)]
        facts = {"payload": posted, "request": {k: made[k] for k in names}, "again": {k: again[k] for k in names}}
        found.append({**facts, "slots": sum(t.count("<image>") for t in texts), "images": list(read.images)})
    return {"sent": found}


@binds("upstream.template")
def template(request, here):
    made = world(here).template
    encoded = []
    with packing(made, False):
        for turns, sizes in zip(request["chats"], request["sizes"], strict=True):
            pictures = [{"number": i, "width": w, "height": h} for i, (w, h) in enumerate(sizes)]
            encoded.append(here.call(made.encode, chat.conversation(turns, pictures), return_length=True))
        padded = replies.shaped(here.call(made.data_collator, [dict(e) for e in encoded]))
    with packing(made, True):
        row = here.call(made.packing_row, [dict(e) for e in encoded])
        packed = replies.shaped(here.call(made.data_collator, [[dict(e) for e in encoded]]))
    return {
        "keys": [sorted(k for k, v in e.items() if v is not None) for e in encoded],
        "lengths": [int(e["length"]) for e in encoded],
        "patches": [0 if e.get("pixel_values") is None else len(e["pixel_values"]) for e in encoded],
        **{"row": sorted(row), "packed": packed, "padded": padded},
    }


@binds("upstream.qwen3vl")
def qwen3vl(request, here):
    return environment.qwen3vl(request)
