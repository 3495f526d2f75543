"""Bugs between a rollout server and the batch that is trained on: what was sampled, against what is supervised."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.guards import check_rollout_batch
from coordexp_audit_lib.kit.tokenizer import encode, qwen
from tests.silent_bugs.pairs import Pair, Told, stopped

Batch = dict[str, Any]
Given = tuple[Any, Batch]
RANDOM = np.random.default_rng(3)
PAD = 0
PROMPTS = [encode(t) for t in ("Where is the cup?", "Tell me which animals there are.", "Count to three, please")]
WORDS = [
    ["he", "llo", " there, it is on the ta", "ble"],
    [" tw", "o cats, a very small dog, and a third animal that I can not make out"],
    [" one", " two", " th", "ree"],
]
ANSWERS = [[t for word in words for t in encode(word)] for words in WORDS]
LOGITS = [RANDOM.normal(0, 2, (len(a), 7)) for a in ANSWERS]  # of seven tokens, the first of which was sampled
FINISH = ["stop", "length", "stop"]


def logprobs(temperature: float) -> list[list[float]]:
    scaled = [v / temperature for v in LOGITS]
    return [(v[:, 0] - np.log(np.exp(v).sum(1))).tolist() for v in scaled]


def server(temperature: float = 0.9, prompts: list[list[int]] = PROMPTS, scored: float = 0.9) -> Any:
    """The server's answers: what it was given, what it sampled, and how likely that was."""
    return [
        {
            "request": {"sampling_params": {"temperature": temperature, "max_tokens": len(ANSWERS[1])}},
            "response": {
                "prompt_token_ids": p,
                "outputs": [
                    {
                        "token_ids": a,
                        "finish_reason": f,
                        "logprobs": [{str(t): {"logprob": v}} for t, v in zip(a, values, strict=True)],
                    }
                ],
            },
        }
        for p, a, f, values in zip(prompts, ANSWERS, FINISH, logprobs(scored), strict=True)
    ]


def filled(rows: list[list[Any]], value: Any, *, left: bool = False) -> Any:
    width = max(map(len, rows))
    return np.array([[value] * (width - len(r)) + r if left else r + [value] * (width - len(r)) for r in rows])


def batch(answers: list[list[int]] = ANSWERS) -> Batch:
    """As TRL has it."""
    values = [v[: len(a)] + [-1.0] * (len(a) - len(v)) for v, a in zip(logprobs(0.9), answers, strict=True)]
    return {
        "prompt_ids": filled(PROMPTS, PAD, left=True),
        "prompt_mask": filled([[1] * len(p) for p in PROMPTS], 0, left=True),
        "completion_ids": filled(answers, PAD),
        "completion_mask": filled([[1] * len(a) for a in answers], 0),
        "sampling_per_token_logps": filled(values, 0.0).astype(np.float32),
        "temperature": np.array(0.9),
        "truncated_mask": np.array([False, True, False]),
    }


def given(change: Callable[[Batch], None]) -> Callable[[bool, Path], Given]:
    def made(broken: bool, _: Path) -> Given:
        one = batch()
        if broken:
            change(one)
        return server(), one

    return made


def encoded_again(broken: bool, _: Path) -> Given:
    """The real tokenizer reads the text of what was sampled, and writes other tokens for it."""
    again = [encode(qwen().decode(a)) for a in ANSWERS]
    return server(), batch(again if broken else ANSWERS)


def prompts_encoded_again(broken: bool, _: Path) -> Given:
    """The server decodes the prompt that it is given as ids, and encodes the text."""
    split = [encode("Wh") + encode("ere is the cup?"), *PROMPTS[1:]]
    one = batch()
    one["prompt_ids"] = filled(split, PAD, left=True)
    one["prompt_mask"] = filled([[1] * len(p) for p in split], 0, left=True)
    return server(prompts=[encode(qwen().decode(p)) for p in split] if broken else split), one


def mask_of_inputs(one: Batch) -> None:
    """The mask is taken at the place of the token that predicts, and not of the one that is predicted."""
    one["completion_mask"] = np.roll(one["completion_mask"], 1, 1)


def whole() -> Batch:
    """Whole sequences, with mask and values over prompts and answers."""
    rows = [p + a for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    return {
        "input_ids": filled(rows, PAD),
        "attention_mask": filled([[1] * len(w) for w in rows], 0),
        "completion_mask": filled([[0] * len(p) + [1] * len(a) for p, a in zip(PROMPTS, ANSWERS, strict=True)], 0),
        "rollout_per_token_logps": filled(
            [[0.0] * len(p) + v for p, v in zip(PROMPTS, logprobs(0.9), strict=True)], 0.0
        ),
    }


def mask_early(broken: bool, _: Path) -> Given:
    one = whole()
    if broken:
        one["completion_mask"] = np.roll(one["completion_mask"], -1, 1)
    return server(), one


def columns_of_the_shortest(broken: bool, _: Path) -> Given:
    """The server's values stand from the shortest prompt's end on, in every row."""
    one: Any = whole()
    shortest = min(map(len, PROMPTS))
    if broken:
        values = [[0.0] * shortest + v for v in logprobs(0.9)]
        width = one["input_ids"].shape[1]
        one["rollout_per_token_logps"] = np.array([v + [0.0] * (width - len(v)) for v in values])
    return server(), one


def other_temperature(one: Batch) -> None:
    one["temperature"] = np.array(1.0)


def raw_logprobs(broken: bool, _: Path) -> Given:
    """The server's values are of the logits before the temperature, the trainer's own of those after it."""
    one = batch()
    one["sampling_per_token_logps"] = filled(logprobs(1.0 if broken else 0.6), 0.0)
    one["old_per_token_logps"] = filled(logprobs(0.6), 0.0)
    one["temperature"] = np.array(0.6)
    return server(0.6, scored=1.0 if broken else 0.6), one


def never_cut(one: Batch) -> None:
    one["truncated_mask"][:] = False


def supervised(made: Given) -> Any:
    """Each supervised token with the log-probability beside it, and what else the batch says of them."""
    one = made[1]
    ids = one.get("completion_ids", one.get("input_ids"))
    mask = one["completion_mask"].astype(bool)
    values = one.get("sampling_per_token_logps", one.get("rollout_per_token_logps"))
    said = [np.asarray(one.get(n, 0)).tolist() for n in ("temperature", "truncated_mask")]
    return [ids[mask].tolist(), np.round(values[mask], 4).tolist(), said]


def seen_by_the_server(made: Given) -> Any:
    return [record["response"]["prompt_token_ids"] for record in made[0]]


def asked(made: Given) -> Told:
    return stopped(lambda: check_rollout_batch(*made))


SAMPLED, PROMPT, ALIGNED, AGREES = (
    f"rollout.{n}" for n in ("sampled_supervised", "prompts_agree", "logprobs_aligned", "sampling_agrees")
)
rollout = partial(Pair, tool="rollout", asked=asked, shown=supervised)
PAIRS = [
    rollout(
        "answers are decoded and encoded again",
        "huggingface/trl#5224",
        claim=SAMPLED,
        says="batch row 0: .* from its token",
        made=encoded_again,
    ),
    rollout(
        "a prompt given as ids is decoded and encoded again",
        "sgl-project/sglang#26555",
        claim=PROMPT,
        says="batch row 0: the prompt is not the one",
        made=prompts_encoded_again,
        shown=seen_by_the_server,
    ),
    rollout(
        "the mask stands at the tokens that predict",
        "Goekdeniz-Guelmez/mlx-lm-lora#80",
        claim=ALIGNED,
        says="the mask stands one token late",
        made=given(mask_of_inputs),
    ),
    rollout(
        "the mask is a token before the log-probabilities",
        "modelscope/ms-swift#8427",
        claim="rollout.only_sampled",
        says="batch row 0: 1 tokens before the first sampled",
        made=mask_early,
    ),
    rollout(
        "log-probabilities stand from the shortest prompt on",
        "huggingface/trl#6191",
        claim=ALIGNED,
        says="batch row .* log-prob",
        made=columns_of_the_shortest,
    ),
    rollout(
        "the trainer takes another temperature than the server",
        "NVIDIA-NeMo/RL#935",
        claim=AGREES,
        says="another temperature.*0.9",
        made=given(other_temperature),
    ),
    rollout(
        "the server's log-probabilities leave the temperature out",
        "huggingface/trl#4159",
        claim=ALIGNED,
        says="log-prob",
        made=raw_logprobs,
    ),
    rollout(
        "an answer that was cut is said to have ended",
        "huggingface/trl#5318",
        claim=AGREES,
        says="batch row 1: the batch says that the answer ended",
        made=given(never_cut),
    ),
]
