"""Requests, responses, chunks, seeds and timeouts: who answers in a CoordExp tree.

The trainer's own `_rollout_many` runs with its own plan, payload and parser; only the HTTP sessions are stand-ins.
"""

import json
import math
import types

from coordexp_audit_lib.kit import picture, rollout_stub
from coordexp_audit_lib.pipelines.api import CannotImport, Refused, Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.rollout import stage
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.configs import sha

BELOW = "https://rollout-%d.test"
SYSTEM = {"role": "system", "content": "Be exact."}  # else the tree puts its own before the prompt


@binds("rollout.parse_response", parse=symbols.PARSE_SERVER_OUTPUT, trainer=symbols.ROLLOUT_TRAINER_OF_ANY_NAME)
def parse_response(request, here):
    try:
        parse = here.parse
    except CannotImport:  # a tree in which the parser stands inside the rollout
        parse = by_rollout(here)
    return {"outcomes": [outcome(here, parse, item) for item in request["items"]]}


def outcome(here, parse, item):
    try:
        tokens, text, prompt = stage.called(here, parse, item)[:3]
    except Refused as error:
        return {"error": error.type_name, "message": error.message}
    return {"prompt_token_ids": list(prompt), "token_ids": list(tokens), "text": text}


def by_rollout(here):
    """The parser as a rollout of one request uses it, whose answer is the item."""

    def parse(item):
        made, sessions = stage.connected(stage.trainer(here, [BELOW % 0]))
        sessions.sessions[0].post = lambda *args, **kwargs: stage.Reply([item])
        tokens, text, _, prompt = made._rollout_many(stage.numbered(1))[0][:4]
        return tokens, text, prompt

    return parse


@binds("rollout.request", build=symbols.BUILD_SERVER_REQUESTS, trainer=symbols.ROLLOUT_TRAINER_OF_ANY_NAME)
def request_payload(request, here):
    sample = request["sample"]
    made, sessions = stage.connected(stage.trainer(here, [BELOW % 0]))
    with sessions.one_pool_a_round():
        stage.called(here, made._rollout_many, [dataset_sample(sample)])
    (post,) = sessions.posts
    payload = post["payload"]
    (sent,) = payload["infer_requests"]
    known = {text for _, text in sample["turns"]}
    return {
        "turns": [[turn["role"], shown(turn["content"], known)] for turn in sent["messages"]],
        **{"images": [list(sent.get("images") or [])], "keys": sorted(payload)},
        "config": json.loads(json.dumps(payload["request_config"])),
        "unsound": list(changed_by_json(payload, "payload")),
    }


def dataset_sample(sample):
    """The sample as a dataset gives it."""
    kind = tuple if sample["tuples"] else list
    images = [image(i) for i in sample["images"]]
    turns = []
    for role, text in sample["turns"]:
        content = text
        if sample["parts"]:
            pictures = [{"type": "image", "image": i} for i in images if isinstance(i, str)] if role == "user" else []
            content = kind([*pictures, {"type": "text", "text": text}])
        turns.append({"role": role, "content": content})
    return {"messages": turns, **({"images": kind(images)} if images else {})}


def image(described):
    if described["kind"] == "pil":
        return picture.image(0, 4, 4)
    if described["kind"] == "bytes":
        return {"bytes": bytes.fromhex(described["value"]), "path": None}
    return described["value"]


def shown(content, known):
    """A turn's text if the sample holds it, else its digest: the tree's own prompts are not told."""
    text = content if isinstance(content, str) else "".join(p.get("text", "") for p in content if isinstance(p, dict))
    return text if text in known else "digest:" + sha(text)


def changed_by_json(value, at):
    """Paths at which JSON would give back something else: tuples, tensors, keys that are no texts, NaN."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if type(key) is not str:
                yield "%s: key %s" % (at, type(key).__name__)
            yield from changed_by_json(inner, "%s.%s" % (at, key))
    elif type(value) is list:
        for i, inner in enumerate(value):
            yield from changed_by_json(inner, "%s[%d]" % (at, i))
    elif type(value) not in (str, int, float, bool, type(None)) or (type(value) is float and math.isnan(value)):
        yield "%s: %s" % (at, type(value).__name__)


@binds("rollout.dispatch", plan=symbols.ROLLOUT_ON_SERVER, trainer=symbols.ANY_TRAINER)
def dispatch(request, here):
    train = request["step"] == "train"
    parts = harness.world(here) if train else None
    return {"runs": [[rank_run(request, case, r, here, parts) for r in range(case[2])] for case in request["cases"]]}


def rank_run(request, case, rank, here, parts):
    """One rank's rollout: its calls by first request, and the numbers of the requests that its outputs answer."""
    count, sizes, world, batch = case
    urls = [BELOW % i for i in range(len(sizes))]
    chosen = {"seed": request["seed"], "step": request["global_step"], "batch": batch}
    made, sessions = stage.connected(stage.trainer(here, urls, parts, **chosen), sizes)
    error, outputs = "", []
    try:
        with stage.as_rank(rank, world), sessions.one_pool_a_round():
            if parts is None:
                outputs = stage.answered_numbers(stage.called(here, made._rollout_many, stage.numbered(count)))
            else:
                train_step(made, sessions, here, parts, count)
    except Refused as refused:
        error = refused.told
    calls = []
    for post in sessions.posts:
        numbers = [rollout_stub.number(r) for r in post["payload"]["infer_requests"]]
        calls.append([post["round"], post["server"], post["payload"]["request_config"].get("seed"), numbers])
    return [sorted(calls, key=lambda c: c[3] or [0]), outputs, error]


def train_step(made, sessions, here, parts, count):
    """The trainer's own Channel-B step over `count` samples, with a loss of zero and the template's own prompts."""
    step = getattr(made, symbols.STEP_B.member, None)
    if step is None:
        raise Unbound("the trainer has no %s" % symbols.STEP_B.member)
    cat = [{"desc": "cat", "bbox": [1, 1, 500, 500]}]
    samples = [dict(harness.sample(cat), messages=[SYSTEM, *s["messages"]]) for s in stage.numbered(count)]
    for i, session in enumerate(sessions.sessions):
        session.post = with_answers(sessions.poster(i), parts)
    weight = next(p for p in parts.model.parameters() if p.requires_grad)
    made.compute_loss, made.compute_loss_context_manager = (lambda model, batch, **_: weight.sum() * 0.0), None
    made.accelerator = types.SimpleNamespace(device=parts.model.device)
    stage.called(here, step, parts.model, raw_samples=samples, global_step=made.state.global_step)
    parts.model.zero_grad(set_to_none=True)


def answer_to(parts, request):
    """A server's answer to what was posted: the prompt's tokens as the template encodes it, and one object."""
    item, i = rollout_stub.answer(request), rollout_stub.number(request)
    corners = ", ".join("<|coord_%d|>" % (i + k) for k in (0, 0, 500, 500))
    text = '{"objects": [{"desc": "thing %d", "bbox_2d": [%s]}]}' % (i, corners)
    item["prompt_token_ids"] = harness.prompt_ids(parts.template, dict(request))
    item["choices"][0]["token_ids"] = parts.tokenizer(text, add_special_tokens=False)["input_ids"]
    item["choices"][0]["message"]["content"] = text
    return item


def with_answers(post, parts):
    def posted(url, json=None, **kwargs):
        reply = post(url, json=json, **kwargs)
        reply.data = [answer_to(parts, r) for r in json["infer_requests"]]
        return reply

    return posted


@binds("rollout.timeouts", read=symbols.SERVER_TIMEOUTS, trainer=symbols.ROLLOUT_TRAINER_OF_ANY_NAME)
def timeouts(request, here):
    return {"outcomes": [timeout_outcome(here, pair) for pair in request["values"]]}


def timeout_outcome(here, pair):
    made, sessions = stage.connected(stage.trainer(here, [BELOW % 0], **pair))
    try:
        wait, infer = stage.called(here, made._vllm_server_timeouts)
        with sessions.one_pool_a_round():
            stage.called(here, made._rollout_many, stage.numbered(1))
    except Refused as refused:
        return {"error": refused.type_name, "message": refused.message}
    posted = sessions.posts[0]["timeout"]
    read = posted[1] if isinstance(posted, (tuple, list)) else posted
    return {"timeout_s": wait, "infer_timeout_s": infer, "posted": read}
