"""The project's own Channel-A and Channel-B code on a small real model, and what it makes of given rollouts."""

import contextlib
import itertools
import sys
import types

from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS, IM_END
from coordexp_audit_lib.pipelines.api import Refused, Unbound, binds, remembered, watched
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.supervision.measure import Recorder, measure, split_norms, target_bin
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness import wording
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import short

ALL_TERMS = ("coord_ce_weight", "coord_el1_weight", "coord_ehuber_weight", "coord_entropy_weight", "coord_gate_weight")
# Of later objectives; the first two are a section of their own at the reference commit.
ALL_TERMS_LATER = ("coord_soft_ce_weight", "coord_w1_weight", "bbox_log_wh_weight", "bbox_oversize_weight")
NO_TIMES = ("time/", "rollout/parse_truncated_rate")
COUNTS = {
    **{"valid": "valid_pred_objects", "matched": "matched_for_supervision"},
    **{"fn": "fn_count", "dropped": "drop_invalid_total"},
}
PLAIN = {"desc_ce_weight": 1.0, "ciou_weight": 0.0, "packed": False, "order": "desc_first"}
NO_DISTANCE = 1e-4  # of embeddings: `supervision.softctx_forwards`
CLOSURES = (*dict.fromkeys(name.partition(":")[2] for name in symbols.TAIL_CLOSURE), "_tail_closure_positions")
NO_GRADIENTS = ("labels", "share", "text_grad", "coord_grad", "raised", "targets")


def make_trainer(request, here, world):
    """A trainer with the stage-2 and rollout settings that a request asks for."""
    stage2 = {
        **harness.STAGE2,
        "n_softctx_iter": request.get("n_iter", 1),
        "softctx_grad_mode": request.get("grad_mode", "unroll"),
        "desc_ce_weight": request["desc_ce_weight"],
        "bbox_ciou_weight": request["ciou_weight"],
        "channel_b": {"drop_invalid_struct_ce_multiplier": request.get("multiplier", 1.0)},
    }
    matching = {**harness.MATCHING, "packing_enabled": bool(request["packed"])}
    soft = {"soft_ce_weight": 0.1, "w1_weight": 0.1, "target_sigma": 2.0, "target_truncate": 8, "temperature": 1.0}
    if request.get("all_terms"):
        stage2.update(dict.fromkeys((*ALL_TERMS, *ALL_TERMS_LATER), 0.1))
    stage2.update(request.get("weights", {}))
    chosen = {"stage2": stage2, "matching": matching, **{k: request[k] for k in ("step", "seed", "order")}}
    made = harness.make_trainer(here.trainer, world, **chosen)
    if request.get("all_terms"):
        made.coord_soft_ce_w1_cfg = types.SimpleNamespace(enabled=True, **soft)
    return made


def accepted(channel, here):
    """Say `unbound` where this tree's trainer refuses the plainest sample under the settings that the harness knows.

    A tree may want settings that this harness does not write; that is no answer about rollouts, and must not read like
    one. The trainer of the reference commit takes them: what it refuses is its answer.
    """
    if here.trainer.__module__ == symbols.STAGE2[0] and not wording.numbered():
        return
    try:
        plainest({"channel": channel}, here)
    except Refused as refused:
        raise harness.unfit(refused.told) from refused


@remembered
def plainest(asked, here):
    """One sample, its one object predicted exactly: what every era's trainer must take."""
    world = harness.world(here)
    text = '{"objects": [{"desc": "cat", "bbox_2d": [<|coord_1|>, <|coord_1|>, <|coord_900|>, <|coord_900|>]}]}'
    ids = [*world.tokenizer.encode(text, add_special_tokens=False), IM_END]
    request = {
        **PLAIN,
        "samples": [{"gt": [{"desc": "cat", "bbox": [1, 1, 900, 900]}], "rollout": ids}],
        **{"ciou_weight": 1.0, "image": 0, "seed": 0, "step": 0, "backward": True, "unclosed": [], "n_iter": 1},
    }
    return (channel_a_of if asked["channel"] == "a" else channel_b_of)(request, here, world)


@binds("supervision.channel_b", prepare=symbols.PREPARE_B, loss=symbols.STAGE2_LOSS, trainer=symbols.STAGE2_TRAINER)
@remembered
def channel_b(request, here):
    """The project's own Channel-B preparation and loss on given rollouts; only `_rollout_many` is replaced."""
    wording.newer_only("answers")
    accepted("b", here)
    return channel_b_of(request, here, harness.world(here))


@binds("supervision.channel_a", loss=symbols.STAGE2_LOSS, prepare=symbols.PREPARE_A, trainer=symbols.STAGE2_TRAINER)
@remembered
def channel_a(request, here):
    """The project's own Channel-A preparation, soft self-context loop and loss."""
    harness.by_share(here.trainer)
    accepted("a", here)
    return channel_a_of(request, here, harness.world(here))


def channel_b_of(request, here, world):
    made = make_trainer(request, here, world)
    if not request["backward"]:
        with blinded(made._prepare_batch_inputs_b, request["unclosed"]):
            segments, metrics = prepared_b(made, request, here, world, segments_only=True)
        found = [segment(m, encoded["input_ids"]) for encoded, m, _ in segments]
        return {"segments": found, "metrics": counted(metrics), "kwargs": [], "losses": {}, "use_cache": False}
    batch = prepared_b(made, request, here, world)
    metrics = batch.get("_rollout_matching_batch_metrics", {})
    seen, loss, found, rows = forward_backward(made, batch, here, world, ends=True)
    if not watched():
        measure(found, rows, seen, request)
    return {
        **{"segments": found, "metrics": counted(metrics), "losses": {"total": short(loss, 3)}},
        **called_with(seen.calls[-1]),
    }


def prepared_b(made, request, here, world, segments_only=False):
    """What the trainer's own preparation makes of the samples and their rollouts."""
    samples = [harness.sample(s["gt"], request["image"]) for s in request["samples"]]
    rollouts = [list(s["rollout"]) for s in request["samples"]]
    pending = list(zip(rollouts, [harness.prompt_ids(world.template, s) for s in samples], strict=False))

    def next_one(one):
        ids, prompt = pending.pop(0)
        return ids, world.tokenizer.decode(ids), "greedy", prompt

    made._rollout_many = harness.replaying(next_one)
    return here.call(made._prepare_batch_inputs_b, samples, _segments_only=segments_only)


def prepared_a(made, request, here, world):
    made._stage2_channel_override = "A"
    samples = [harness.sample(s["gt"], request["image"]) for s in request["samples"]]
    return here.call(made._prepare_batch_inputs_a, samples, _segments_only=False)


def called_with(call):
    """The keyword arguments of a model's call that held something, and its cache."""
    kwargs = sorted(k for k, v in call.items() if v is not None)
    return {"kwargs": kwargs, "use_cache": bool(call.get("use_cache", True))}


@contextlib.contextmanager
def blinded(prepare, calls):
    """Let the project's own closure search, at these calls, see a target whose end is cut off."""
    names = prepare.__globals__
    name = next((n for n in CLOSURES if n in names), None)
    if not calls:
        yield
        return
    if name is None:
        raise Unbound("the preparation calls none of the known closure searches: %s" % ", ".join(CLOSURES))
    original, numbers = names[name], itertools.count()

    def cut(**kwargs):
        if next(numbers) in calls:
            kwargs["assistant_span_ids"] = list(kwargs["assistant_span_ids"])[:-4]
        return original(**kwargs)

    with replaced(sys.modules[names["__name__"]], **{name: cut}):
        yield


@contextlib.contextmanager
def stepping(made, batch, here, world, ends=False):
    """The trainer's own step: what was seen of it, and its loss, of which no gradient was taken yet.

    ends: whether gradients end at the logits.
    """
    ids = batch["input_ids"]
    # What collators of other stages leave in a batch, and what no model takes.
    batch.setdefault("labels", ids.clone())
    batch.setdefault("loss_scale", ids.new_ones(ids.shape).float())
    batch.update(channel="x", logits_to_keep=None)
    world.model.zero_grad(set_to_none=True)
    world.model.train()
    seen = Recorder(world.model, ends)
    with seen.watching():
        yield seen, here.call(made.compute_loss, world.model, batch)


def forward_backward(made, batch, here, world, ends=False):
    """What was seen of the trainer's own step, its loss, and the batch's segments with their rows and starts.

    ends: as in `stepping`. No line of the tree runs backward, which is left out where lines are watched.
    """
    metas, ids = batch["_rollout_matching_meta"], batch["input_ids"]
    with stepping(made, batch, here, world, ends) as (seen, loss):
        if loss.requires_grad and not watched():
            here.call(loss.backward)
    rows = places(metas, ids)
    found = [segment(m, ids[b, start:].tolist()) for m, (b, start) in zip(metas, rows, strict=False)]
    return seen, loss.detach(), found, rows


def places(metas, ids):
    """For each segment the row of the batch and the position in it where the segment starts."""
    if len(metas) == ids.shape[0]:
        return [(b, 0) for b in range(len(metas))]
    starts = itertools.accumulate((int(meta["encoded_len"]) for meta in metas[:-1]), initial=0)
    return [(0, start) for start in starts]


def segment(meta, ids):
    """The bookkeeping of one training segment; positions are relative to the assistant's first token."""
    prompt, length, prefix = int(meta["prompt_len"]), int(meta["train_len"]), int(meta["prefix_len"])

    def groups(name):
        found = meta.get(name) or []
        return [{"pos": [int(p) - prompt for p in g["pos"]], "bins": [int(k) for k in g["gt_bins"]]} for g in found]

    def positions(name, start):
        return [start + int(p) for p in meta.get(name) or []]

    return {
        **{"prompt_len": prompt, "prefix_len": prefix, "ids": [int(t) for t in ids[prompt : prompt + length]]},
        "invalid": bool(meta.get("stage2_invalid_rollout", 0)),
        "truncated": bool(meta.get("parse_truncated", False)),
        **{name: int(meta.get(counted_as, 0)) for name, counted_as in COUNTS.items()},
        **{"prefix_groups": groups("bbox_groups_prefix"), "fn_groups": groups("bbox_groups_fn")},
        "struct_pos": positions("prefix_struct_pos", 0),
        "closure_pos": positions("tail_closure_pos", prefix),
        "desc_pos": positions("tail_desc_pos", prefix),
        "seed_base": meta.get("rollout_seed_base"),
        **{name: [] for name in NO_GRADIENTS},
    }


def counted(metrics):
    return {k: short(v) for k, v in sorted(metrics.items()) if not k.startswith(NO_TIMES) and "/_" not in k}


class Session:
    """A server that answers every request with an empty rollout and notes how many there were, and the seed."""

    def __init__(self, prompt):
        self.prompt, self.calls = prompt, []

    def post(self, url, json=None, timeout=None):
        count = len(json["infer_requests"])
        self.calls.append([count, int(json["request_config"]["seed"])])
        choice = {"message": {"content": ""}, "token_ids": [IM_END]}
        outputs = [{"prompt_token_ids": self.prompt, "choices": [choice]} for _ in range(count)]
        return types.SimpleNamespace(status_code=200, text="", json=lambda: outputs)


@binds("supervision.request_seeds", prepare=symbols.PREPARE_B, trainer=symbols.STAGE2_TRAINER)
def request_seeds(request, here):
    """The seeds that one Channel-B step sends to its server: a session object stands for it, nothing is sent."""
    if not wording.numbered():
        accepted("b", here)
    world = harness.world(here)
    made = make_trainer({**PLAIN, **request}, here, world)
    server = {"servers": [{"base_url": "http://127.0.0.1:9", "group_port": 1}], "timeout_s": 1, "infer_timeout_s": 1}
    chosen = {"rollout_backend": "vllm", "decode_batch_size": request["chunk"]}
    made.rollout_matching_cfg.update(chosen, vllm={"mode": "server", "server": server})
    one = harness.sample([{"desc": "cat", "bbox": [1, 1, 9, 9]}])
    one["messages"] = [{"role": "system", "content": "Answer."}, *one["messages"]]
    session = Session(harness.prompt_ids(world.template, one))
    made._sync_vllm_server_rollout_model_if_needed = lambda *_, **__: None
    made._ensure_vllm_server_client = lambda *_, **__: types.SimpleNamespace(sessions=[session])
    made._vllm_server_world_sizes = lambda *_, **__: [1]
    here.call(made._prepare_batch_inputs_b, [dict(one) for _ in range(request["samples"])], _segments_only=True)
    return {"calls": session.calls}


def channel_a_of(request, here, world):
    import torch

    made = make_trainer(request, here, world)
    batch = prepared_a(made, request, here, world)
    ids = batch["input_ids"]
    seen, loss, found, rows = forward_backward(made, batch, here, world)
    slots = [
        (b, start + s["prompt_len"] + i)
        for s, (b, start) in zip(found, rows, strict=False)
        for i, t in enumerate(s["ids"])
        if COORD_0 <= t < COORD_0 + COORD_BINS
    ]
    told = [
        {"ids": s["ids"], "prompt_len": s["prompt_len"], "start": start, "row": b}
        for s, (b, start) in zip(found, rows, strict=False)
    ]
    with torch.no_grad():
        table = world.model.get_input_embeddings()(torch.arange(COORD_0, COORD_0 + COORD_BINS))
        base = world.model.get_input_embeddings()(ids)
        passes = [one_pass(seen, n, base, table, slots) for n in range(len(seen.calls))]
    return {
        **{"segments": told, "length": ids.shape[1], "passes": passes, "loss": short(loss, 3)},
        "slots": [b * ids.shape[1] + p for b, p in slots],
        "tables": tables(request, here, world, slots),
        "aims": [] if request["ciou_weight"] or watched() else aims(seen.logits[-1], slots),
    }


def tables(request, here, world, slots):
    """Of each forward but the first, rows of the embedding table that the slots' content reaches where gradients end at
    the logits; None where there is nothing to ask."""
    import torch

    if request.get("grad_mode") != "unroll" or request.get("n_iter", 1) < 2 or not slots or watched():
        return None
    made = make_trainer(request, here, world)
    batch = prepared_a(made, request, here, world)
    with stepping(made, batch, here, world, ends=True) as (seen, _):
        pass
    weight, at = world.model.get_input_embeddings().weight, tuple(map(torch.tensor, zip(*slots, strict=True)))
    found = []
    for embeds in (call.get("inputs_embeds") for call in seen.calls[1:]):
        held = embeds is not None and embeds.requires_grad
        grad = torch.autograd.grad(embeds[at].sum(), weight, retain_graph=True, allow_unused=True)[0] if held else None
        found.append(0 if grad is None else int((grad != 0).any(-1).sum()))
    return found


def aims(logits, slots):
    """The bin that each slot's gradient points to, -1 without a gradient."""
    grads = logits.grad if logits.grad is not None else logits.detach() * 0
    rows = [(b, p - 1) for b, p in slots]
    reached = [bool(grads[row][COORD_0 : COORD_0 + COORD_BINS].any()) for row in rows]
    found = zip(rows, reached, strict=True)
    return [target_bin(logits[row].detach(), grads[row], sum(reached)) if there else -1 for row, there in found]


def one_pass(seen, n, base, table, slots):
    """What forward `n` got, which embedding rows differ from the plain ones, and where the loss reaches its logits."""
    import torch

    call, logits = seen.calls[n], seen.logits[n]
    embeds, length = call.get("inputs_embeds"), base.shape[1]
    changed = [] if embeds is None else (embeds.detach() != base).any(-1).flatten().nonzero().flatten().tolist()
    silent = [0.0] * (base.shape[0] * length)
    text, coord = (silent, silent) if logits.grad is None else split_norms(logits.grad.flatten(0, 1))
    at_slot = {b * length + p - 1 for b, p in slots}
    distances = [None, None]
    if n > 0 and embeds is not None and slots:
        rows, places_ = torch.tensor([b for b, _ in slots]), torch.tensor([p for _, p in slots])
        for i, shift in enumerate((1, 0)):
            before = seen.logits[n - 1].detach()[rows, places_ - shift, COORD_0 : COORD_0 + COORD_BINS].float()
            expected = torch.softmax(before, -1) @ table
            distances[i] = short((embeds.detach()[rows, places_] - expected).abs().max(), 3, NO_DISTANCE)
    return {
        **called_with(call),
        **{"ids": call.get("input_ids") is not None, "embeds": embeds is not None},
        **{"past": call.get("past_key_values") is not None, "tracked": bool(logits.requires_grad)},
        **{"changed": changed, "update_error": distances[0], "update_error_unshifted": distances[1]},
        "text_rows": [i for i, v in enumerate(text) if v > 0],
        "slot_grad": short(sum(coord[i] ** 2 for i in at_slot) ** 0.5, 3),
        "text_grad": short(sum(v**2 for v in text) ** 0.5, 3),
        "slots_reached": sum(1 for i in at_slot if coord[i] > 0),
    }
