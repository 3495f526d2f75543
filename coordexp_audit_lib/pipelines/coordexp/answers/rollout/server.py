"""Rollouts on a server that misbehaves, and connecting to one that is not there.

The trainer's own code runs with ms-swift's real `VLLMClient` over loopback; the server is the library's stub.
"""

import os
import re
import threading
import time
from typing import Any

from coordexp_audit_lib.kit import picture, rollout_stub
from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.rollout import stage
from coordexp_audit_lib.pipelines.coordexp.answers.rollout.client import SYSTEM, answer_to
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness

SIDE = 64
LIMIT_S = 2 * rollout_stub.PATIENCE
PIPELINE = ("swapped",)  # what only the preparation after the rollout could notice


@binds("rollout.reach", connect=symbols.CONNECT_SERVER, trainer=symbols.ROLLOUT_TRAINER_OF_ANY_NAME)
def reach(request, here):
    trouble, limit = request["trouble"], request["timeout_s"]
    server = rollout_stub.Stub(silent=() if trouble == "closed" else (trouble,))
    if trouble == "closed":
        server.close()
    made = stage.trainer(here, [server.url], timeout_s=limit)

    def connect():
        made._ensure_vllm_server_client()
        made._vllm_server_world_sizes()

    return ended(here, connect, server)


@binds("rollout.server", infer=symbols.ROLLOUT_ON_SERVER, trainer=symbols.ANY_TRAINER)
def served(request, here):
    limit, count = request["infer_timeout_s"], request["requests"]
    whole = request["misdeed"] in PIPELINE
    parts = harness.world(here) if whole else None
    samples = pictured(here, count, request["alike"]) if whole else stage.numbered(count)
    answers = (lambda r: answer_to(parts, r)) if whole else rollout_stub.answer
    with rollout_stub.Stub(request["misdeed"], answers=answers) as server:
        made = stage.trainer(here, [server.url], parts, batch=count, timeout_s=server.patience, infer_timeout_s=limit)
        outputs = []

        def run():
            found = prepared(made, parts, samples) if whole else stage.answered_numbers(made._rollout_many(samples))
            outputs.extend(found)

        return {**ended(here, run, server), "outputs": outputs, "posts": server.posts}


def ended(here, function, server):
    """How a call of the target's own code ended, and whether within the server's patience."""
    found: list[Any] = []

    def body():
        begun = time.monotonic()
        error, message = "", ""
        try:
            with stage.real_client():
                stage.called(here, function)
        except Refused as refused:
            error, message = refused.type_name, server.without_port(refused.message)
        except BaseException as broken:  # not the target's own: told to the caller, who raises it
            found.append(broken)
        bounded = time.monotonic() - begun < server.patience
        found.append({"error": error, "message": message, "bounded": bounded})

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    server.close()
    if found and isinstance(found[0], BaseException):
        raise found[0]
    return found[0] if found else {"error": "", "message": "it did not end", "bounded": False}


def pictured(here, count, alike):
    """Samples with an image file each. alike: prompts of the same tokens; else each prompt has its own text."""
    samples = []
    for i in range(count):
        path = picture.written(os.path.join(here.scratch, "request %d.png" % i), SIDE, SIDE, number=0)
        sample = harness.sample([{"desc": "thing %d" % i, "bbox": [i, i, 500 + i, 500 + i]}], SIDE)
        prompt = "<image>Locate what is asked for%s." % ("" if alike else " again" * i)
        samples.append({**sample, "images": [path], "messages": [SYSTEM, {"role": "user", "content": prompt}]})
    return samples


def prepared(made, parts, samples):
    """The trainer's own Channel-B preparation; which answer each of its segments holds."""
    prepare = getattr(made, symbols.PREPARE_B.member, None)
    if prepare is None:
        raise Unbound("the trainer has no %s" % symbols.PREPARE_B.member)
    segments, _ = prepare(samples, _segments_only=True)
    found = []
    for encoded, _, _ in segments:
        first = re.search(r"thing (\d+)", parts.tokenizer.decode([t for t in encoded["input_ids"] if t >= 0]))
        found.append(int(first.group(1)) if first else -1)
    return found
