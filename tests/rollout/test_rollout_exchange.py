"""`coordexp-audit rollout` and its guard: recorded exchanges of several servers against batches of several trainers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib.boundaries.rollout.artifact import exchanged
from coordexp_audit_lib.boundaries.rollout.artifact.recorded import read_exchange
from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.errors import InvariantViolation, UsageError
from coordexp_audit_lib.guards import check_rollout_batch

Record = dict[str, Any]
Batch = dict[str, Any]
RANDOM = np.random.default_rng(3)
PROMPTS = [RANDOM.integers(10, 500, n).tolist() for n in (5, 7, 6)]
ANSWERS = [RANDOM.integers(10, 500, n).tolist() for n in (9, 12, 10)]
LOGPROBS = [np.round(RANDOM.uniform(-3, -0.01, len(a)), 4).tolist() for a in ANSWERS]
FINISH = ["stop", "length", "stop"]
END, PAD = 2, 0
CLAIMS = {"prompts_agree", "sampled_supervised", "only_sampled", "logprobs_aligned", "sampling_agrees"}


def swift() -> Any:
    """One call of ms-swift's `/infer/`."""
    details = {"temperature": 0.9, "max_tokens": 12, "return_details": True}
    items = [
        {
            "response": {
                "prompt_token_ids": p,
                "choices": [
                    {
                        "token_ids": a,
                        "finish_reason": f,
                        "logprobs": {"content": [{"token": "x", "logprob": v} for v in values]},
                    }
                ],
            },
            "rollout_infos": {},
        }
        for p, a, f, values in zip(PROMPTS, ANSWERS, FINISH, LOGPROBS, strict=True)
    ]
    return {"request": {"infer_requests": [{}, {}, {}], "request_config": details}, "response": items}


def openai() -> Any:
    """A record for each completion, with token ids as vLLM returns them."""
    return [
        {
            "request": {"prompt": p, "temperature": 0.9, "max_tokens": 12, "return_token_ids": True},
            "response": {"choices": [{"token_ids": a, "finish_reason": f, "logprobs": {"token_logprobs": values}}]},
        }
        for p, a, f, values in zip(PROMPTS, ANSWERS, FINISH, LOGPROBS, strict=True)
    ]


def vllm() -> Any:
    """vLLM's own outputs; of each token the chosen one's log-probability by its id."""
    return [
        {
            "request": {"sampling_params": {"temperature": 0.9, "max_tokens": 12}},
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
        for p, a, f, values in zip(PROMPTS, ANSWERS, FINISH, LOGPROBS, strict=True)
    ]


def sglang() -> Any:
    return [
        {
            "request": {"input_ids": p, "sampling_params": {"temperature": 0.9, "max_new_tokens": 12}},
            "response": {
                "output_ids": a,
                "meta_info": {
                    "finish_reason": {"type": f},
                    "output_token_logprobs": [[v, t, None] for v, t in zip(values, a, strict=True)],
                },
            },
        }
        for p, a, f, values in zip(PROMPTS, ANSWERS, FINISH, LOGPROBS, strict=True)
    ]


def trl_server() -> Any:
    told = {"prompt_ids": PROMPTS, "completion_ids": ANSWERS, "logprobs": [[[v] for v in one] for one in LOGPROBS]}
    return {"request": {"temperature": 0.9, "max_tokens": 12}, "response": told}


def several() -> Any:
    """vLLM's outputs with three log-probabilities a token, of which the sampled one's is not the first."""
    made = vllm()
    for record in made:
        (output,) = record["response"]["outputs"]
        output["logprobs"] = [{"7": {"logprob": -0.001}, **one, "8": {"logprob": -9.0}} for one in output["logprobs"]]
    return made


def trl_server_with_several() -> Any:
    made = trl_server()
    told = made["response"]
    told["logprobs"] = [[[-0.001, *v] for v in one] for one in told["logprobs"]]
    told["logprob_token_ids"] = [[[7, t] for t in one] for one in ANSWERS]
    return made


SERVERS = {
    "several": several,
    "trl, several": trl_server_with_several,
    "ms-swift": swift,
    "openai": openai,
    "vllm": vllm,
    "sglang": sglang,
    "trl": trl_server,
}


def filled(rows: list[list[Any]], width: int, value: Any, *, left: bool = False) -> Any:
    made = [[value] * (width - len(r)) + r if left else r + [value] * (width - len(r)) for r in rows]
    return np.array(made)


def grpo() -> Batch:
    """As TRL has it: prompts padded on the left, completions on the right, in another order than they were sampled."""
    order = [2, 0, 1]
    prompts, answers = [PROMPTS[n] for n in order], [ANSWERS[n] for n in order]
    return {
        "prompt_ids": filled(prompts, 8, PAD, left=True),
        "prompt_mask": filled([[1] * len(p) for p in prompts], 8, 0, left=True),
        "completion_ids": filled(answers, 12, PAD),
        "completion_mask": filled([[1] * len(a) for a in answers], 12, 0),
        "sampling_per_token_logps": filled([LOGPROBS[n] for n in order], 12, 0.0).astype(np.float32),
        "temperature": np.array(0.9),
        "truncated_mask": np.array([False, False, True]),
    }


def swift_batch() -> Batch:
    """As ms-swift has it: whole sequences, and mask and log-probabilities of the last tokens."""
    whole = [p + a for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    marks = [[0] * len(p) + [1] * len(a) for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    told = [[0.0] * len(p) + v for p, v in zip(PROMPTS, LOGPROBS, strict=True)]
    keep = 14
    return {
        "input_ids": filled(whole, 19, PAD),
        "attention_mask": filled([[1] * len(w) for w in whole], 19, 0),
        "completion_mask": filled(marks, 19, 0)[:, -keep:],
        "rollout_per_token_logps": filled(told, 19, 0.0)[:, -keep:],
        "truncated_mask": np.array([False, True, False]),
    }


def packed() -> Batch:
    """One row, samples one after the other, labels unshifted."""
    ids = [t for p, a in zip(PROMPTS, ANSWERS, strict=True) for t in p + a]
    labels = [t for p, a in zip(PROMPTS, ANSWERS, strict=True) for t in [-100] * len(p) + a]
    sizes = [len(p) + len(a) for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    return {"input_ids": [ids], "labels": [labels], "position_ids": [[n for s in sizes for n in range(s)]]}


BATCHES = {"grpo": grpo, "ms-swift": swift_batch, "packed": packed}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_batch_of_what_was_sampled_holds(server: Callable[[], Any], batch: Callable[[], Batch]) -> None:
    decided = set(check_rollout_batch(server(), batch(), 0.9))
    missing = {"logprobs_aligned"} if batch is packed else set()
    assert {c.removeprefix("rollout.") for c in decided} == CLAIMS - missing
    assert len(exchanged(server(), batch()).pairs) == 3


def encoded_again(batch: Batch) -> None:
    batch["completion_ids"][0][[3, 4]] = [501, 502]


def another_first_token(batch: Batch) -> None:
    batch["completion_ids"][0][0] = 501


def another_prompt(batch: Batch) -> None:
    batch["prompt_ids"][1][-2] = 501


def longer_prompt(batch: Batch) -> None:
    """A token that the server did not see stands behind its prompt."""
    batch["prompt_ids"] = np.concatenate([batch["prompt_ids"], np.full((3, 1), 501)], 1)
    batch["prompt_mask"] = np.concatenate([batch["prompt_mask"], np.ones((3, 1), int)], 1)


def prefix_supervised(batch: Batch) -> None:
    """The template's own beginning of the answer, which the server had in its prompt, is the response's."""
    for n in range(3):
        moved = batch["prompt_ids"][n][-1]
        batch["completion_ids"][n] = [moved, *batch["completion_ids"][n][:-1]]
    batch["completion_ids"] = np.concatenate([batch["completion_ids"], np.array([[PAD], [PAD], [ANSWERS[1][-1]]])], 1)
    batch["completion_mask"] = np.concatenate([np.ones((3, 1), int), batch["completion_mask"]], 1)
    batch["sampling_per_token_logps"] = np.concatenate([np.zeros((3, 1)), batch["sampling_per_token_logps"]], 1)
    batch["prompt_mask"][:, -1] = 0


def mask_late(batch: Batch) -> None:
    batch["completion_mask"] = np.roll(batch["completion_mask"], 1, 1)


def logprobs_early(batch: Batch) -> None:
    batch["sampling_per_token_logps"] = np.roll(batch["sampling_per_token_logps"], -1, 1)


def logprobs_of_another(batch: Batch) -> None:
    batch["sampling_per_token_logps"][0] = batch["sampling_per_token_logps"][1]


def own_logprobs_late(batch: Batch) -> None:
    """Of the trainer's own forward: a little away from the server's, and one token late."""
    noise = RANDOM.normal(0, 0.01, (3, 12))
    batch["old_per_token_logps"] = np.roll(batch.pop("sampling_per_token_logps"), 1, 1) + noise


def warmer(batch: Batch) -> None:
    batch["temperature"] = np.array(1.0)


def end_behind_a_cut(batch: Batch) -> None:
    for name, value in (("completion_ids", END), ("completion_mask", 1), ("sampling_per_token_logps", 0.0)):
        batch[name] = np.concatenate([batch[name], np.array([[0], [0], [value]])], 1)


def cut_shorter(batch: Batch) -> None:
    for name in ("completion_ids", "completion_mask", "sampling_per_token_logps"):
        batch[name] = batch[name][:, :8]


def cut_not_told(batch: Batch) -> None:
    batch["truncated_mask"][2] = False


WRONG: dict[str, tuple[Callable[[Batch], None], str]] = {
    "encoded again": (encoded_again, r"sampled_supervised\] batch row 0: .* from its token 3 on .*found 501"),
    "another first token": (another_first_token, r"sampled_supervised\] batch row 0: .* from its token 0 on"),
    "another prompt": (another_prompt, r"prompts_agree\] batch row 1: the prompt is not the one .* at token 3"),
    "a longer prompt": (longer_prompt, r"prompts_agree\] batch row 0: the prompt .* expected the end, found 501"),
    "the prefix is supervised": (prefix_supervised, r"only_sampled\] batch row 0: 1 tokens before the first sampled"),
    "the mask is late": (mask_late, r"logprobs_aligned\] batch row 0: the mask stands one token late"),
    "log-probabilities are early": (logprobs_early, r"logprobs_aligned\] batch row 0: the log-prob.* one token early"),
    "those of another row": (logprobs_of_another, r"logprobs_aligned\] batch row 0: .* not those of the sampled"),
    "the trainer's own are late": (own_logprobs_late, r"logprobs_aligned\] batch row 0: the log-prob.* one token late"),
    "another temperature": (warmer, r"sampling_agrees\] batch row 0: sampled at another temperature.*0\.9"),
    "an end behind a cut": (end_behind_a_cut, r"sampling_agrees\] batch row 2: 1 tokens are supervised behind"),
    "cut shorter": (cut_shorter, r"sampling_agrees\] batch row 0: the batch cuts the answer where the server did not"),
    "a cut that is not told": (cut_not_told, r"sampling_agrees\] batch row 2: the batch says that the answer ended"),
}


@pytest.mark.parametrize(("mistake", "says"), WRONG.values(), ids=WRONG)
def test_a_batch_of_something_else_is_stopped(mistake: Callable[[Batch], None], says: str) -> None:
    batch = grpo()
    mistake(batch)
    with pytest.raises(InvariantViolation, match=says):
        check_rollout_batch(swift(), batch)


def own(batch: Batch) -> None:
    """The trainer's own forward differs as another kernel does."""
    values = batch.pop("sampling_per_token_logps")
    batch["old_per_token_logps"] = values + RANDOM.normal(0, 0.3, values.shape)


def masked_answer(batch: Batch) -> None:
    """`mask_truncated_completions`: a cut answer is masked whole."""
    batch["completion_mask"][2] = 0


def end_not_returned(batch: Batch) -> None:
    """The server does not return the end of turn, and the trainer appends it to answers that ended."""
    for n in range(2):
        batch["completion_ids"][n][len(ANSWERS[[2, 0][n]])] = END
        batch["completion_mask"][n][len(ANSWERS[[2, 0][n]])] = 1


def half_precision(batch: Batch) -> None:
    batch["sampling_per_token_logps"] = batch["sampling_per_token_logps"].astype(np.float16)


def one_dropped(batch: Batch) -> None:
    """Answers without an advantage are left out."""
    for name, value in list(batch.items()):
        batch[name] = value[:2] if np.ndim(value) else value


SOUND = (own, masked_answer, end_not_returned, half_precision, one_dropped)


@pytest.mark.parametrize("how", SOUND, ids=lambda how: how.__name__)
def test_what_trainers_do_on_purpose_stops_nothing(how: Callable[[Batch], None]) -> None:
    batch = grpo()
    how(batch)
    assert "rollout.sampled_supervised" in check_rollout_batch(swift(), batch)


def test_log_probabilities_that_may_be_of_other_tokens_are_not_compared() -> None:
    made = trl_server_with_several()
    del made["response"]["logprob_token_ids"]
    assert "rollout.logprobs_aligned" not in check_rollout_batch(made, grpo())


def test_earlier_turns_of_one_row_were_sampled_too() -> None:
    """Two turns: the second prompt holds the first prompt, its answer and a tool's words."""
    first, second = ANSWERS[0], ANSWERS[1]
    again = PROMPTS[0] + first + [501, 502]
    exchange = [{"prompt_token_ids": p, "token_ids": a} for p, a in ((PROMPTS[0], first), (again, second))]
    ids = again + second
    labels = [-100] * len(PROMPTS[0]) + first + [-100, -100] + second
    assert "rollout.only_sampled" in check_rollout_batch(exchange, {"input_ids": [ids], "labels": [labels]})
    labels[len(again) - 1] = ids[len(again) - 1]
    with pytest.raises(InvariantViolation, match="1 tokens before the first sampled one"):
        check_rollout_batch(exchange, {"input_ids": [ids], "labels": [labels]})


def test_pictures_that_one_side_does_not_expand_are_no_other_prompt() -> None:
    prompt, pad = [11, 12, 77, 77, 77, 77, 13], [11, 12, 77, 13]
    batch = {"input_ids": [prompt + ANSWERS[0]], "labels": [[-100] * len(prompt) + ANSWERS[0]]}
    check_rollout_batch([{"prompt_token_ids": pad, "token_ids": ANSWERS[0]}], batch)


def test_the_command_tells_by_its_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(r) + "\n" for r in openai()))
    np.savez(tmp_path / "batch.npz", **grpo())
    asked = ["rollout", str(tmp_path / "calls.jsonl"), "--batch", str(tmp_path / "batch.npz"), "--json"]
    assert main(asked) == 0
    told = {f["invariant"]: (f["status"], f["checked"]) for f in json.loads(capsys.readouterr().out)["findings"]}
    assert told == {f"rollout.{name}": ("held", 3) for name in CLAIMS}
    broken = grpo()
    encoded_again(broken)
    np.savez(tmp_path / "batch.npz", **broken)
    assert main(asked) == 1
    (tmp_path / "batch.json").write_text(json.dumps(packed()))
    assert main([*asked[:3], str(tmp_path / "batch.json"), "--temperature", "0.5"]) == 1


@pytest.mark.parametrize("indent", [None, 1])
def test_one_document_is_read_as_lines_are(indent: int | None, tmp_path: Path) -> None:
    (tmp_path / "calls.json").write_text(json.dumps(openai(), indent=indent))
    (tmp_path / "batch.json").write_text(json.dumps(packed()))
    assert main(["rollout", str(tmp_path / "calls.json"), "--batch", str(tmp_path / "batch.json")]) == 0


def test_what_is_too_large_to_be_one_document_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calls.json").write_text(json.dumps(openai(), indent=1))
    monkeypatch.setattr("coordexp_audit_lib.boundaries.rollout.artifact.recorded.MOST", 200)
    with pytest.raises(UsageError, match=r"is one document of more than.*write one record a line"):
        read_exchange(tmp_path / "calls.json")


@pytest.mark.parametrize(
    ("exchange", "batch", "says"),
    [
        ("{}\n\n[", "{}", r"calls\.json:3: is no JSON"),
        ("{}", "{}", "holds no answer with token ids"),
        ("not json", "{}", r"calls\.json:1: is no JSON"),
        ('{"token_ids": [1, 2], "prompt_token_ids": [3]}', "{}", "holds no tokens"),
        ('{"token_ids": [1, 2], "prompt_token_ids": [3]}', '{"input_ids": [[1], [2, 3]]}', "several lengths"),
    ],
)
def test_what_is_no_exchange_or_no_batch_is_told(
    exchange: str, batch: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "calls.json").write_text(exchange)
    (tmp_path / "batch.json").write_text(batch)
    assert main(["rollout", str(tmp_path / "calls.json"), "--batch", str(tmp_path / "batch.json")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "Remedy" in err
    with pytest.raises(UsageError, match=says):
        raise UsageError(err)
