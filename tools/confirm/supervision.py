"""Boundary 07: what a rollout teaches. Each case runs the trainer's own preparation, loss and backward pass."""

import inspect
import random
from pathlib import Path

import parts
import rollout
from parts import NotHere, box, container, of_tree, refusal, thing

CAT, DOG = ("cat", (100, 100, 300, 300)), ("dog", (600, 600, 900, 900))
BIRD, SHIRT = ("bird", (10, 500, 60, 560)), ("t-shirt.", (100, 100, 300, 300))


def _prefix_taught(tree: Path, matched: list[int]) -> tuple[bool, str]:
    """Later trees: the module's own cross-entropy over a clean prefix of one object, matched or not."""
    import torch

    contracts = of_tree("src.trainers.teacher_forcing.contracts")
    run = of_tree("src.trainers.teacher_forcing.modules.token_ce:run_token_ce_module")
    prompt, prefix, tail = [1, 2, 3], parts.ids('{"objects": [' + box(*CAT)), [*parts.ids("]}"), parts.IM_END]
    row = [*prompt, *prefix, *tail]
    lengths = {"prompt_len": len(prompt), "prefix_len": len(prefix), "train_len": len(prefix) + len(tail)}
    desc = prefix.index(parts.ids("cat")[0])
    struct = [i for i in range(len(prefix)) if i != desc] if matched else []
    meta = [{**lengths, "encoded_len": len(row), "prefix_struct_pos": struct, "stage2_channel": "B"}]
    logits = torch.zeros(1, len(row), 152_704, requires_grad=True)
    coords = list(range(parts.COORD_0, parts.COORD_0 + 1000))
    told = {"channel": "B", "registry_context": "rollout", "input_ids": torch.tensor([row]), "logits": logits}
    context = contracts.TeacherForcingContext(**told, logits_ce=logits, meta=meta, coord_token_ids=coords)
    spec = contracts.PipelineModuleSpec(name="token_ce", config={"desc_ce_weight": 1.0, "rollout_fn_desc_weight": 1.0})
    run(context=context, spec=spec).loss.backward()
    norm = float(logits.grad[0, len(prompt) + desc - 1].norm())
    return norm > 0, f"the desc of a clean prefix's object has a gradient of {norm:.4f}, by weights as shipped"


def append_tokenization(tree: Path) -> tuple[bool, str]:
    """An empty array, to which every object is appended: the target's tokens, and those of the same text."""
    found = parts.trained(parts.trainer(), parts.sample(thing(*CAT)), '{"objects": []}').tokens
    plain = [parts.words().decode([t]) for t in [*parts.ids("".join(found[:-1])), parts.IM_END]]
    part = next((i for i, (a, b) in enumerate(zip(found, plain, strict=False)) if a != b), -1)
    return (
        part >= 0,
        f"at token {part}: {found[part : part + 2]} in the target, {plain[part : part + 1]} in the same text",
    )


def fp_neutral(tree: Path) -> tuple[bool, str]:
    """Records without a space between: one token ends the false positive and begins the next record."""
    if parts.later():
        return _prefix_taught(tree, [])
    text = container(box(*BIRD), box(*CAT), box(*DOG)).replace("}, {", "},{")
    found = parts.trained(parts.trainer(), parts.sample(thing(*CAT), thing(*DOG)), text)
    first = next((i for i, t in enumerate(found.tokens) if "},{" in t), -1)
    return first >= 0 and found.text[
        first
    ] > 0, f"token {first} {found.tokens[first]!r}: gradient {found.text[first]:.4f}"


def invalid_rollout_fallback(tree: Path) -> tuple[bool, str]:
    text = "Sure: " + container(box(*CAT))
    said = refusal(parts.trained, parts.trainer(), parts.sample(thing(*CAT)), text)
    control = refusal(parts.trained, parts.trainer(), parts.sample(thing(*CAT)), "I see a cat.")
    return bool(said) and not control, f"words before the container: {said}; no container: {control or 'falls back'}"


def fn_injected(tree: Path) -> tuple[bool, str]:
    spelled = parts.sample(thing("label <|coord_7|>", (400, 100, 500, 300)))
    said = refusal(parts.trained, parts.trainer(), spelled, container(box(*BIRD)))
    nothing = refusal(parts.trained, parts.trainer(), parts.sample(), container(box(*CAT)))
    return bool(said) and bool(nothing), f"a desc that spells a coordinate: {said}; no ground truth: {nothing}"


def match_deterministic(tree: Path) -> tuple[bool, str]:
    """Eight boxes over each other, each predicted exactly, with the shipped candidate_top_k of 5."""
    match = of_tree("src.trainers.rollout_matching.matching:hungarian_match_maskiou")
    make = of_tree("src.trainers.rollout_matching.contracts:GTObject")
    boxes = [[100 + 6 * i, 100 + 6 * i, 600 + 6 * i, 600 + 6 * i] for i in range(8)]
    made = [make(index=i, geom_type="bbox_2d", points_norm1000=b, desc="x") for i, b in enumerate(boxes)]
    same = [make(index=i, geom_type="bbox_2d", points_norm1000=boxes[0], desc="x") for i in range(8)]
    told = {"gate_threshold": 0.3, "mask_resolution": 256, "fp_cost": 0.5, "fn_cost": 2.0}
    found = {k: len(match(preds=same, gts=made, top_k=k, **told).matched_pairs) for k in (5, 8)}
    return found[5] < found[8], f"matched with top_k 5 and 8: {found}"


def matched_struct_only(tree: Path) -> tuple[bool, str]:
    """A desc that ends in a point, which one token ends together with the string; and a key with an escape in it."""
    if parts.later():
        return _prefix_taught(tree, [0])
    found = parts.trained(parts.trainer(), parts.sample(thing(*SHIRT)), container(box(*SHIRT)))
    at = next(i for i, t in enumerate(found.tokens) if t.startswith('.",') or t == '."')
    escaped = container(box(*CAT)).replace('"desc"', '"d\\u0065sc"')
    key = parts.trained(parts.trainer(), parts.sample(thing(*CAT)), escaped)
    desc = next(i for i, t in enumerate(key.tokens) if t == "cat")
    seen = f"token {at} {found.tokens[at]!r}: gradient {found.text[at]}"
    return found.text[at] == 0 and key.text[desc] > 0, f"{seen}; the desc under an escaped key: {key.text[desc]:.4f}"


def multiplier_scope(tree: Path) -> tuple[bool, str]:
    """A dropped polygon and a multiplier of 2: the weight of the end of turn beside that of an appended desc."""
    poly = box("p", (1, 1, 9, 1, 9, 9), "poly")
    told = {}
    for multiplier in (1.0, 2.0):
        made = parts.trainer(stage2={"channel_b": {"drop_invalid_struct_ce_multiplier": multiplier}})
        found = parts.trained(made, parts.sample(thing(*CAT), thing(*DOG)), container(box(*CAT), poly))
        desc = max(i for i, t in enumerate(found.tokens) if t == "dog")
        end = max(i for i, t in enumerate(found.tokens) if t == "<|im_end|>")
        told[multiplier] = round(found.share[end] / found.share[desc], 3)
    return told == {1.0: 1.0, 2.0: 2.0}, f"<|im_end|> weighs, with a multiplier of 1 and 2: {told}"


def rollout_seed(tree: Path) -> tuple[bool, str]:
    """Six samples of one Channel-B step, two a call: the seeds that the server is sent."""
    made, posts = rollout._connected(
        lambda requests: [rollout._answer(r) for r in requests], batch=2, seed=17, step=3, names=parts.STAGE2_TRAINER
    )
    made.template = parts.template()
    samples = rollout._samples(6)
    size, given = made._rollout_decode_batch_size_per_rank(), []
    for start in range(0, len(samples), size):  # as the preparation cuts a step's samples, each call by itself
        given.append(made._rollout_many(samples[start : start + size]))
    seeds = [p["request_config"]["seed"] for p in posts]
    source = (tree / "src/trainers/stage2_ab_training.py").read_text(encoding="utf-8")
    passed = "request_index_offset" in source
    return len(set(seeds)) == 1 and not passed, f"seeds of {len(seeds)} calls: {seeds}; an offset is passed: {passed}"


def prefix_kept(tree: Path) -> tuple[bool, str]:
    """Two descriptions, one with an emoji: what becomes of it in the target that later trees write anew."""
    if not parts.later():
        raise NotHere("the target begins with the rollout's own tokens")
    named, at = "cat \U0001f408 é", (100, 500, 300, 700)
    found = parts.trained(parts.trainer(), parts.sample(thing(named, at)), container(box(named, at), box(*DOG)))
    told = parts.words().decode(found.ids)
    return named not in told, f"the rollout says {named!r}, the target {told[:40]!r}"


def token_roles_partition(tree: Path) -> tuple[bool, str]:
    """The token `.",` ends a desc and its string: its weight in a clean prefix, and in what is appended."""
    import torch

    contracts = of_tree("src.trainers.teacher_forcing.contracts")
    run = of_tree("src.trainers.teacher_forcing.modules.token_ce:run_token_ce_module")
    find = of_tree("src.trainers.rollout_matching.parsing:find_desc_value_token_positions")
    prefix, tail = parts.ids('{"objects": [' + box(*SHIRT)), parts.ids(", " + box(*SHIRT) + "]}")
    row = [1, 2, 3, *prefix, *tail, parts.IM_END]
    lengths = {"prompt_len": 3, "prefix_len": len(prefix), "train_len": len(row) - 3, "encoded_len": len(row)}
    meta = [{**lengths, "tail_desc_pos": find(tokenizer=parts.words(), token_ids=tail), "stage2_channel": "B"}]
    logits = torch.zeros(1, len(row), 152_704, requires_grad=True)
    coords = list(range(parts.COORD_0, parts.COORD_0 + 1000))
    told = {"channel": "B", "registry_context": "rollout", "input_ids": torch.tensor([row]), "logits": logits}
    context = contracts.TeacherForcingContext(**told, logits_ce=logits, meta=meta, coord_token_ids=coords)
    weights = {"desc_ce_weight": 1.0, "rollout_fn_desc_weight": 0.5}
    run(context=context, spec=contracts.PipelineModuleSpec(name="token_ce", config=weights)).loss.backward()
    point = parts.ids('t-shirt.", ')[-2]
    norms = [float(logits.grad[0, i - 1].norm()) for i, t in enumerate(row) if t == point]
    ratio = round(norms[1] / norms[0], 3)
    return (
        ratio == 0.5,
        f"with desc_weight 0.5, {parts.words().decode([point])!r} appended weighs {ratio} of it in the prefix",
    )


def suffix_taught(tree: Path) -> tuple[bool, str]:
    """One object asked of an empty prefix: how often each place of the answer is taught."""
    encode = of_tree("src.trainers.stage1_set_continuation.full_suffix:encode_full_suffix_branch")
    meta = parts.sample(thing(*CAT))
    meta["messages"] = [*meta["messages"], {"role": "assistant", "content": "{}"}]
    told = {"meta": meta, "template": parts.template(), "object_field_order": "desc_first"}
    told.update(prefix_indices=(), suffix_indices=(0,))
    accepted = inspect.signature(encode).parameters
    optional = {"system_prompt": None, "user_prompt": None}
    found = encode(**told, **{k: v for k, v in optional.items() if k in accepted})
    places = [int(s.label_position) for s in found.steps]
    twice = sorted({p for p in places if places.count(p) > 1})
    token = [parts.words().decode([int(found.labels[0, p])]) for p in twice]
    return bool(twice), f"{len(places)} steps at {len(set(places))} places; twice: {token}"


def subset_sampling(tree: Path) -> tuple[bool, str]:
    """Three of six candidates, a thousand times: how often each is drawn."""
    choose = of_tree("src.trainers.stage1_set_continuation.sampling:select_tail_protected_candidates")
    drawn, counts = random.Random(0), [0] * 6
    for _ in range(1000):
        for index in choose(candidate_indices=tuple(range(6)), limit=3, rng=drawn):
            counts[index] += 1
    return counts[5] == 1000 and max(counts[:5]) < 500, f"each of six should be drawn 500 times: {counts}"
