"""Run the project's own Channel-A and Channel-B code on a small real model, and measure what reaches the logits.

Measuring changes nothing: forward hooks note what the model was called with, `retain_grad` keeps gradients at the
logits, and a wrapper round `cross_entropy` notes the labels it was given and keeps the gradient of each token's
loss.
"""

import contextlib
import types

from coordexp_audit_lib.pipelines.api import Unbound
from coordexp_audit_lib.pipelines.coordexp.answers import trainer_harness as harness
from coordexp_audit_lib.pipelines.coordexp.answers.trainer_harness import BINS, COORD_0, short

ALL_TERMS = ("coord_ce_weight", "coord_el1_weight", "coord_ehuber_weight", "coord_entropy_weight", "coord_gate_weight")
NO_TIMES = ("time/", "rollout/parse_truncated_rate")


def configs(request):
    """The stage-2 and rollout settings that a request asks for, as the trainers read them."""
    stage2 = {
        "schedule": {"b_ratio": 0.5},
        "n_softctx_iter": request.get("n_iter", 1),
        "softctx_grad_mode": request.get("grad_mode", "unroll"),
        "softctx_temperature": 1.0,
        "desc_ce_weight": request["desc_ce_weight"],
        "bbox_smoothl1_weight": 1.0,
        "bbox_ciou_weight": request["ciou_weight"],
        "channel_b": {"drop_invalid_struct_ce_multiplier": request.get("multiplier", 1.0)},
    }
    if request.get("all_terms"):
        stage2.update(dict.fromkeys(ALL_TERMS, 0.1))
    matching = {
        "rollout_backend": "hf",
        "decode_mode": "greedy",
        "decode_batch_size": 4,
        "max_new_tokens": 4096,
        "maskiou_gate": 0.3,
        "candidate_top_k": 64,
        "maskiou_resolution": 1000,
        "fp_cost": 1.0,
        "fn_cost": 1.0,
        "decoding": {"temperature": 0.0},
        "packing_enabled": bool(request["packed"]),
        "packing_length": 16384,
        "packing_buffer": 64,
        "packing_min_fill_ratio": 0.1,
        "packing_drop_last": True,
    }
    return stage2, matching


def make_trainer(request, here, world):
    stage2, matching = configs(request)
    made = harness.make_trainer(
        here.trainer,
        world,
        step=request["step"],
        seed=request["seed"],
        stage2=stage2,
        matching=matching,
        order=request["order"],
    )
    if request.get("all_terms"):
        made.coord_soft_ce_w1_cfg = types.SimpleNamespace(
            enabled=True, soft_ce_weight=0.1, w1_weight=0.1, target_sigma=2.0, target_truncate=8, temperature=1.0
        )
    return made


class Recorder:
    """What a model was called with, its logits, and the labels of the token cross-entropy."""

    def __init__(self, model):
        self.model, self.calls, self.logits, self.tokens = model, [], [], []

    @contextlib.contextmanager
    def watching(self):
        import torch.nn.functional as F

        original = F.cross_entropy
        hooks = [
            self.model.register_forward_pre_hook(self.before, with_kwargs=True),
            self.model.register_forward_hook(self.after),
        ]

        def noted(*args, **kwargs):
            loss = original(*args, **kwargs)
            target = args[1] if len(args) > 1 else kwargs["target"]
            if kwargs.get("reduction") == "none" and kwargs.get("ignore_index", -100) == -100 and loss.requires_grad:
                loss.retain_grad()
                self.tokens.append((target.detach(), loss))
            return loss

        F.cross_entropy = noted
        try:
            yield self
        finally:
            F.cross_entropy = original
            for hook in hooks:
                hook.remove()

    def before(self, module, args, kwargs):
        self.calls.append(kwargs)

    def after(self, module, args, output):
        if output.logits.requires_grad:
            output.logits.retain_grad()
        self.logits.append(output.logits)


def plainest(channel, here, world):
    """One sample, its one object predicted exactly: what every era's trainer must take."""
    gt = [{"desc": "cat", "bbox": [1, 1, 900, 900]}]
    text = '{"objects": [{"desc": "cat", "bbox_2d": [<|coord_1|>, <|coord_1|>, <|coord_900|>, <|coord_900|>]}]}'
    ids = [*world.tokenizer.encode(text, add_special_tokens=False), 151645]
    request = {
        "samples": [{"gt": gt, "rollout": ids}],
        "order": "desc_first",
        "desc_ce_weight": 1.0,
        "ciou_weight": 1.0,
        "packed": False,
        "image": 0,
        "seed": 0,
        "step": 0,
        "backward": True,
        "unclosed": [],
        "n_iter": 1,
    }
    return channel_a(request, here, world) if channel == "a" else channel_b(request, here, world)


def channel_b(request, here, world):
    made = make_trainer(request, here, world)
    samples = [harness.sample(s["gt"], request["image"]) for s in request["samples"]]
    rollouts = [list(s["rollout"]) for s in request["samples"]]
    pending = list(zip(rollouts, [harness.prompt_ids(world.template, s) for s in samples], strict=False))

    def answered(chunk, **_):
        taken = [pending.pop(0) for _ in chunk]
        return [(ids, world.tokenizer.decode(ids), "greedy", prompt) for ids, prompt in taken]

    made._rollout_many = answered
    prepare = made._prepare_batch_inputs_b
    if not request["backward"]:
        with blinded(prepare, request["unclosed"]):
            segments, metrics = here.call(prepare, samples, _segments_only=True)
        return {
            "segments": [segment(m, encoded["input_ids"]) for encoded, m, _ in segments],
            "metrics": counted(metrics),
            "kwargs": [],
            "losses": {},
            "use_cache": False,
        }
    batch = here.call(prepare, samples, _segments_only=False)
    metas, metrics = batch["_rollout_matching_meta"], batch.get("_rollout_matching_batch_metrics", {})
    ids = batch["input_ids"]
    seen, loss = forward_backward(made, batch, here, world)
    rows = places(metas, ids)
    found = [segment(m, ids[b, start:].tolist()) for m, (b, start) in zip(metas, rows, strict=False)]
    measure(found, rows, seen, request)
    call = seen.calls[-1]
    return {
        "segments": found,
        "metrics": counted(metrics),
        "kwargs": sorted(k for k, v in call.items() if v is not None),
        "losses": {"total": short(loss)},
        "use_cache": bool(call.get("use_cache", True)),
    }


CLOSURES = ("_stage2_ab_tail_closure_positions", "tail_closure_positions", "_tail_closure_positions")


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
    original, numbers = names[name], iter(range(10**6))

    def cut(**kwargs):
        if next(numbers) in calls:
            kwargs["assistant_span_ids"] = list(kwargs["assistant_span_ids"])[:-4]
        return original(**kwargs)

    names[name] = cut
    try:
        yield
    finally:
        names[name] = original


def add_helper_keys(batch):
    """What collators of other stages leave in a batch, and what no model takes."""
    import torch

    batch.setdefault("labels", batch["input_ids"].clone())
    batch.setdefault("loss_scale", torch.ones(batch["input_ids"].shape))
    batch["channel"] = "x"
    batch["logits_to_keep"] = None


def forward_backward(made, batch, here, world):
    add_helper_keys(batch)
    world.model.zero_grad(set_to_none=True)
    world.model.train()
    seen = Recorder(world.model)
    with seen.watching():
        loss = here.call(made.compute_loss, world.model, batch)
        if loss.requires_grad:
            here.call(loss.backward)
    return seen, loss.detach()


def places(metas, ids):
    """For each segment the row of the batch and the position in it where the segment starts."""
    if len(metas) == ids.shape[0]:
        return [(b, 0) for b in range(len(metas))]
    starts, cursor = [], 0
    for meta in metas:
        starts.append((0, cursor))
        cursor += int(meta["encoded_len"])
    return starts


def segment(meta, ids):
    """The bookkeeping of one training segment; positions are relative to the assistant's first token."""
    prompt, length, prefix = int(meta["prompt_len"]), int(meta["train_len"]), int(meta["prefix_len"])

    def groups(name):
        found = meta.get(name) or []
        return [{"pos": [int(p) - prompt for p in g["pos"]], "bins": [int(k) for k in g["gt_bins"]]} for g in found]

    return {
        "prompt_len": prompt,
        "prefix_len": prefix,
        "ids": [int(t) for t in ids[prompt : prompt + length]],
        "invalid": bool(meta.get("stage2_invalid_rollout", 0)),
        "valid": int(meta.get("valid_pred_objects", 0)),
        "matched": int(meta.get("matched_for_supervision", 0)),
        "fn": int(meta.get("fn_count", 0)),
        "dropped": int(meta.get("drop_invalid_total", 0)),
        "truncated": bool(meta.get("parse_truncated", False)),
        "prefix_groups": groups("bbox_groups_prefix"),
        "fn_groups": groups("bbox_groups_fn"),
        "struct_pos": [int(p) for p in meta.get("prefix_struct_pos") or []],
        "closure_pos": [prefix + int(p) for p in meta.get("tail_closure_pos") or []],
        "desc_pos": [prefix + int(p) for p in meta.get("tail_desc_pos") or []],
        "seed_base": meta.get("rollout_seed_base"),
        "labels": [],
        "share": [],
        "text_grad": [],
        "coord_grad": [],
        "pulls": [],
        "targets": [],
    }


def counted(metrics):
    return {k: short(v) for k, v in sorted(metrics.items()) if not k.startswith(NO_TIMES) and "/_" not in k}


def measure(segments, rows, seen, request):
    """Fill in, for each assistant token, what the loss did at the logits that predict it."""
    logits = seen.logits[-1]
    labels, share = token_losses(seen, logits)
    grads = logits.grad if logits.grad is not None else logits.detach() * 0
    slots = []
    for found, (b, start) in zip(segments, rows, strict=False):
        first = start + found["prompt_len"] - 1
        span = slice(first, first + len(found["ids"]))
        text, coord = split_norms(grads[b, span])
        found["text_grad"], found["coord_grad"] = [short(v) for v in text], [short(v) for v in coord]
        found["pulls"] = pulls(grads[b, span], text)
        if labels is not None:
            found["labels"], found["share"] = labels[b][span], [short(v) for v in share[b][span]]
        slots += [
            (found, i, b, first + i) for i, (t, c) in enumerate(zip(text, coord, strict=False)) if c > 0 and t == 0
        ]
        found["targets"] = [-1] * len(found["ids"])
    if request["ciou_weight"] == 0 and not request.get("all_terms"):
        for found, i, b, row in slots:
            found["targets"][i] = target_bin(logits[b, row].detach(), grads[b, row], len(slots))


def token_losses(seen, logits):
    """Labels and each token's share of the loss, as the project's own cross-entropy call got them, or (None, None)."""
    size = (logits.shape[0], logits.shape[1] - 1)
    for target, loss in seen.tokens:
        if target.numel() == size[0] * size[1] and loss.grad is not None:
            # Row t of both predicts token t + 1; the last position predicts nothing.
            return target.reshape(size).tolist(), loss.grad.reshape(size).tolist()
    return None, None


def split_norms(rows):
    """Norms of the gradient rows on the text columns and on the coordinate columns."""
    coord = rows[:, COORD_0 : COORD_0 + BINS].norm(dim=-1)
    before, after = rows[:, :COORD_0], rows[:, COORD_0 + BINS :]
    text = (before.pow(2).sum(-1) + after.pow(2).sum(-1)).sqrt()
    return text.tolist(), coord.tolist()


def pulls(rows, text):
    """The token that each row's gradient raises, -1 where there is no cross-entropy."""
    best = rows.argmin(dim=-1).tolist()
    return [int(k) if norm > 0 else -1 for k, norm in zip(best, text, strict=False)]


def target_bin(logits, grad, slots):
    """The bin that a slot is pulled to, from its gradient alone.

    With SmoothL1 only, loss = mean over slots of (E - t)^2 / 2 and E = sum of p(k) k/999, so that the gradient at
    logit k is (E - t) / slots * p(k) (k/999 - E): solved for t by least squares over k.
    """
    import torch

    p = torch.softmax(logits[COORD_0 : COORD_0 + BINS].double(), -1)
    k = torch.arange(BINS, dtype=torch.float64) / 999
    mean = (p * k).sum()
    direction = p * (k - mean)
    slope = (grad[COORD_0 : COORD_0 + BINS].double() * direction).sum() / direction.pow(2).sum()
    return round(float((mean - slope * slots) * 999))


class Session:
    """A server that answers every request with an empty rollout and notes how many there were, and the seed."""

    def __init__(self, prompt):
        self.prompt, self.calls = prompt, []

    def post(self, url, json=None, timeout=None):
        count = len(json["infer_requests"])
        self.calls.append([count, int(json["request_config"]["seed"])])
        choice = {"message": {"content": ""}, "token_ids": [151645]}
        outputs = [{"prompt_token_ids": self.prompt, "choices": [choice]} for _ in range(count)]
        return types.SimpleNamespace(status_code=200, text="", json=lambda: outputs)


def request_seeds(request, here, world):
    """The seeds that one Channel-B step sends to its server, in the order of the requests."""
    plain = {"desc_ce_weight": 1.0, "ciou_weight": 0.0, "packed": False, "order": "desc_first"}
    made = make_trainer({**plain, **request}, here, world)
    server = {"servers": [{"base_url": "http://127.0.0.1:9", "group_port": 1}], "timeout_s": 1, "infer_timeout_s": 1}
    vllm = {"mode": "server", "server": server}
    made.rollout_matching_cfg = {
        **made.rollout_matching_cfg,
        "rollout_backend": "vllm",
        "vllm": vllm,
        "decode_batch_size": request["chunk"],
    }
    gt = [{"desc": "cat", "bbox": [1, 1, 9, 9]}]
    one = harness.sample(gt)
    one["messages"] = [{"role": "system", "content": "Answer."}, *one["messages"]]
    session = Session(harness.prompt_ids(world.template, one))
    made._sync_vllm_server_rollout_model_if_needed = lambda *_, **__: None
    made._ensure_vllm_server_client = lambda *_, **__: types.SimpleNamespace(sessions=[session])
    made._vllm_server_world_sizes = lambda *_, **__: [1]
    here.call(made._prepare_batch_inputs_b, [dict(one) for _ in range(request["samples"])], _segments_only=True)
    return {"calls": session.calls}


def channel_a(request, here, world):
    import torch

    made = make_trainer(request, here, world)
    made._stage2_channel_override = "A"
    samples = [harness.sample(s["gt"], request["image"]) for s in request["samples"]]
    batch = here.call(made._prepare_batch_inputs_a, samples, _segments_only=False)
    metas, ids = batch["_rollout_matching_meta"], batch["input_ids"]
    seen, loss = forward_backward(made, batch, here, world)
    rows = places(metas, ids)
    found = [segment(m, ids[b, start:].tolist()) for m, (b, start) in zip(metas, rows, strict=False)]
    slots = [
        (b, start + s["prompt_len"] + i)
        for s, (b, start) in zip(found, rows, strict=False)
        for i, t in enumerate(s["ids"])
        if COORD_0 <= t < COORD_0 + BINS
    ]
    for i, (s, (b, start)) in enumerate(zip(found, rows, strict=False)):
        s["sample"], s["start"], s["row"] = i, start, b
    with torch.no_grad():
        table = world.model.get_input_embeddings()(torch.arange(COORD_0, COORD_0 + BINS))
        base = world.model.get_input_embeddings()(ids)
        passes = [one_pass(seen, n, base, table, slots) for n in range(len(seen.calls))]
    return {
        "segments": [{k: s[k] for k in ("ids", "prompt_len", "start", "row")} for s in found],
        "length": ids.shape[1],
        "passes": passes,
        "slots": [b * ids.shape[1] + p for b, p in slots],
        "loss": short(loss),
    }


def one_pass(seen, n, base, table, slots):
    """What forward `n` got, which embedding rows differ from the plain ones, and where the loss reaches its logits."""
    import torch

    call, logits = seen.calls[n], seen.logits[n]
    embeds, length = call.get("inputs_embeds"), base.shape[1]
    changed = [] if embeds is None else (embeds.detach() != base).any(-1).nonzero().tolist()
    grads = logits.grad
    text: "list[float]" = []
    coord: "list[float]" = []
    for b in range(base.shape[0]):
        t, c = split_norms(grads[b]) if grads is not None else ([0.0] * length, [0.0] * length)
        text += t
        coord += c
    at_slot = {b * length + p - 1 for b, p in slots}
    distances = [None, None]
    if n > 0 and embeds is not None and slots:
        rows, places_ = torch.tensor([b for b, _ in slots]), torch.tensor([p for _, p in slots])
        for i, shift in enumerate((1, 0)):
            before = seen.logits[n - 1].detach()[rows, places_ - shift, COORD_0 : COORD_0 + BINS].float()
            expected = torch.softmax(before, -1) @ table
            distances[i] = short((embeds.detach()[rows, places_] - expected).abs().max())
    return {
        "kwargs": sorted(k for k, v in call.items() if v is not None),
        "ids": call.get("input_ids") is not None,
        "embeds": embeds is not None,
        "use_cache": bool(call.get("use_cache", True)),
        "past": call.get("past_key_values") is not None,
        "tracked": bool(logits.requires_grad),
        "changed": [b * length + p for b, p in changed],
        "update_error": distances[0],
        "update_error_unshifted": distances[1],
        "text_rows": [i for i, v in enumerate(text) if v > 0],
        "slot_grad": short(sum(coord[i] ** 2 for i in at_slot) ** 0.5),
        "text_grad": short(sum(v**2 for v in text) ** 0.5),
        "slots_reached": sum(1 for i in at_slot if coord[i] > 0),
    }
