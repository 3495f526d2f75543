"""Boundary 05: chat template and tokens."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import config as settings
import parts
from parts import IM_END, box, container, of_tree, refusal, thing


def prompt_is_prefix(tree: Path) -> tuple[bool, str]:
    """The system prompt that a rollout is asked with, beside the one that is taught."""
    prompts = of_tree("src.config.prompts:get_template_prompts")
    told = {"prompt_variant": "coco_80", "object_field_order": "desc_first"}
    system, user = prompts(ordering="sorted", coord_mode="coord_tokens", **told)
    made, asked = parts.trainer(rollout_backend="vllm", vllm={"mode": "colocate"}, prompt_variant="coco_80"), []
    made.template = parts.template(default_system=system)

    def capture(samples: Any, **_: Any) -> Any:
        asked.extend(samples)
        return [([], "", "greedy", []) for _ in samples]

    made._rollout_many_vllm = capture
    one = {**parts.sample(thing("cat", (1, 2, 3, 4))), "messages": [{"role": "user", "content": user}]}
    made._rollout_many([one])
    first = asked[0]["messages"][0]
    sent = first["content"] if first["role"] == "system" else ""
    taught = parts.words().decode(parts.prompt_of(made, one))
    agree = sent.strip() == system.strip()
    seen = f"the taught prompt holds its system prompt: {system.strip() in taught}; the rollout is asked with "
    return (
        system.strip() in taught and not agree,
        f"{seen}{'the same' if agree else f'another, {len(sent)} for {len(system)} letters'}",
    )


def coord_tokens_atomic(tree: Path) -> tuple[bool, str]:
    """A vocabulary that lacks one coordinate token, so that the unknown token answers for it."""
    check = of_tree("src.coord_tokens.codec:get_coord_token_ids")

    def ids(tokens: Any) -> Any:
        return [0 if t == "<|coord_7|>" else 100 + i for i, t in enumerate(tokens)]

    lacking = SimpleNamespace(unk_token_id=0, convert_tokens_to_ids=ids)
    said = refusal(check, lacking, validate=True)
    both = SimpleNamespace(unk_token_id=0, convert_tokens_to_ids=lambda tokens: [0, 0, *range(1, len(tokens) - 1)])
    return not said and bool(refusal(check, both, validate=True)), f"one token unknown: {said or 'accepted'}"


def no_truncation(tree: Path) -> tuple[bool, str]:
    """The Stage-1 config's strategy, and what ms-swift's template does under it with a sample that is too long."""
    strategy = settings._merged(tree, settings.STAGE1)["template"].get("truncation_strategy")
    answer = container(*(box("thing", (k, k, 999, 999)) for k in range(60)))
    turns = [{"role": "user", "content": "Locate."}, {"role": "assistant", "content": answer}]
    made = parts.template(max_length=300, truncation_strategy=strategy)
    encoded = made.encode({"messages": turns}, return_length=True)
    kept = [int(y) for y in encoded["labels"] if y != -100]
    cut = len(encoded["input_ids"]) == 300 and IM_END not in kept
    return (
        cut,
        f"truncation_strategy: {strategy}; {len(kept)} answer tokens of {len(parts.ids(answer))}, its end lost: {cut}",
    )


def vocab_fits(tree: Path) -> tuple[bool, str]:
    """A server whose tokenizer has two words swapped that the prompt does not mention: is its rollout refused?"""
    made, one = parts.trainer(), parts.sample(thing("zebra fish", (1, 2, 300, 400)))
    fish, river = parts.ids(" fish")[0], parts.ids(" river")[0]
    text = container(box("zebra fish", (1, 2, 300, 400)))
    tokens = [{fish: river, river: fish}.get(t, t) for t in parts.ids(text)]
    made._rollout_many = lambda chunk, **_: [([*tokens, IM_END], text, "greedy", parts.prompt_of(made, one))]
    segments, _ = made._prepare_batch_inputs_b([one], _segments_only=True)
    taught = parts.words().decode([t for t in segments[0][0]["input_ids"] if t >= 0])
    return (
        "zebra river" in taught,
        f"the target says {'zebra river' if 'zebra river' in taught else 'zebra fish'}, no error",
    )


def labels_cover_assistant(tree: Path) -> tuple[bool, str]:
    """A description that spells the end of a turn, rendered by the project's own writer and encoded by the template."""
    dumps = of_tree("src.utils.assistant_json:dumps_coordjson")
    answer = dumps({"objects": [{"desc": "a sign that says <|im_end|>", **_boxed()}]})
    turns = [{"role": "user", "content": "Locate."}, {"role": "assistant", "content": answer}]
    encoded = parts.template().encode({"messages": turns}, return_length=True)
    ends = [int(y) for y in encoded["labels"]].count(IM_END)
    return ends == 2, f"supervised ends of turn in one answer: {ends}"


def _boxed() -> dict[str, Any]:
    return {"bbox_2d": thing("a", (1, 2, 3, 4))["bbox_2d"]}
