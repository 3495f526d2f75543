"""Sampled answers out of recorded requests and responses: ms-swift, vLLM, servers that speak OpenAI's protocol and
return token ids, SGLang, TRL's server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import Array, Sampled
from coordexp_audit_lib.core.errors import UsageError

MOST = 64 << 20  # characters of one document or line
REMEDY = (
    "record what the server answers with its token ids: `return_details` in ms-swift's request_config, "
    "`return_token_ids` in vLLM's"
)
REQUEST, RESPONSE = ("request", "req", "input", "body"), ("response", "resp", "output", "answer", "responses")
PARAMETERS = ("request_config", "sampling_params", "sampling_parameters", "params", "extra_body", "generation_kwargs")
LIMITS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
PROMPT, SAMPLED = ("prompt_token_ids", "prompt_ids", "input_ids"), ("token_ids", "output_ids", "completion_ids")


def read_exchange(path: Path) -> list[Sampled]:
    """The answers in a file: JSON, or a record a line, which is read line by line.

    Raises:
        UsageError: it can't be read, is too large, or holds no answer with token ids.
    """
    where = str(path)
    if not path.is_file():
        raise UsageError("is no file", where=where, remedy="name a recorded exchange")
    try:
        made = [a for name, record in _records(path) for a in answers_in(record, name)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=where, remedy="name a recorded exchange") from error
    if not made:
        raise UsageError("holds no answer with token ids", where=where, remedy=REMEDY)
    return made


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """The records of a file, each with its name."""
    with path.open(encoding="utf-8") as lines:
        first = lines.readline(MOST)
        if _parsed(first) is None:  # one document over several lines
            rest = lines.read(MOST)
            if len(rest) == MOST:
                what = f"is one document of more than {MOST >> 20} million characters"
                raise UsageError(what, where=str(path), remedy="write one record a line")
            found = _parsed(first + rest)
            if found is not None:
                yield path.name, found[0]
                return
            raise UsageError("is no JSON", where=f"{path}:1", remedy="write one record a line")
        number, line = 1, first
        while line:
            found = _parsed(line) if line.strip() else (None,)
            if found is None:
                raise UsageError("is no JSON", where=f"{path}:{number}", remedy="write one record a line")
            yield (f"{path.name}:{number}" if number > 1 else path.name), found[0]
            number, line = number + 1, lines.readline(MOST)


def _parsed(text: str) -> tuple[Any] | None:
    """What a text holds; None if it is no JSON."""
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        return None


def answers_in(record: Any, name: str) -> Iterator[Sampled]:
    """The answers of a record, or of a list of records. Whatever has no token ids is left out."""
    if isinstance(record, (list, tuple)):
        for n, one in enumerate(record):
            yield from answers_in(one, f"{name}[{n}]")
        return
    if not isinstance(record, Mapping):
        return
    request, response = _first(record, REQUEST), _first(record, RESPONSE)
    bare = not isinstance(response, (Mapping, list)) or "rollout_infos" in record
    asked = request if isinstance(request, Mapping) else record
    for n, item in enumerate(_items(record if bare else response)):
        yield from _of_item(item, asked, f"{name}[{n}]" if n or isinstance(response, list) else name)


def _items(response: Any) -> Iterable[Any]:
    items = response if isinstance(response, list) else [response]
    return [i.get("response", i) if isinstance(i, Mapping) else i for i in items]


def _of_item(item: Any, asked: Mapping[str, Any], name: str) -> Iterator[Sampled]:
    if not isinstance(item, Mapping):
        return
    if _nested(item.get("completion_ids")):
        yield from _of_columns(item, asked, name)
        return
    choices = _first(item, ("choices", "outputs"))
    for n, choice in enumerate(choices if isinstance(choices, list) else [item]):
        if not isinstance(choice, Mapping):
            continue
        ids = _ids(_first(choice, SAMPLED))
        if ids is None:
            continue
        prompts = (_prompt(choice), _prompt(item), _prompt(asked), _ids(asked.get("prompt")))
        prompt = next((p for p in prompts if p is not None), None)
        meta = item.get("meta_info")
        meta = meta if isinstance(meta, Mapping) else {}
        finish = _first(choice, ("finish_reason",)) or meta.get("finish_reason")
        told = _logprobs(choice.get("logprobs") or meta.get("output_token_logprobs"), ids)
        yield _asked_for(Sampled(f"{name}.choices[{n}]" if n else name, ids, prompt, told, _why(finish)), asked)


def _of_columns(item: Mapping[str, Any], asked: Mapping[str, Any], name: str) -> Iterator[Sampled]:
    """As TRL's server answers: a list of each, with as many answers to each prompt."""
    prompts, answers, told = item.get("prompt_ids") or [], item["completion_ids"], item.get("logprobs") or []
    each = max(1, len(answers) // max(1, len(prompts)))
    for n, answer in enumerate(answers):
        ids = _ids(answer)
        if ids is not None:
            prompt = _ids(prompts[n // each]) if n // each < len(prompts) else None
            mine = _logprobs(_at(told, n), ids, _at(item.get("logprob_token_ids"), n))
            yield _asked_for(Sampled(f"{name}[{n}]", ids, prompt, mine), asked)


def _at(values: Any, n: int) -> Any:
    return values[n] if isinstance(values, list) and n < len(values) else None


def _why(finish: Any) -> str:
    """Why an answer ended, as one word."""
    word = finish.get("type") if isinstance(finish, Mapping) else finish
    return word if isinstance(word, str) else ""


def _asked_for(answer: Sampled, request: Mapping[str, Any]) -> Sampled:
    """An answer with what its request asked for."""
    most, warm = _asked(request, *LIMITS), _asked(request, "temperature")
    limit = int(most) if isinstance(most, int) and most > 0 else None
    return msgspec.structs.replace(answer, most=limit, temperature=float(warm) if warm is not None else None)


def _asked(request: Mapping[str, Any], *names: str) -> int | float | None:
    """A number of the request, wherever it keeps its parameters."""
    places = [request, *(p for n in PARAMETERS if isinstance(p := request.get(n), Mapping))]
    found = (p[n] for p in places for n in names if n in p)
    return next((v for v in found if isinstance(v, (int, float)) and not isinstance(v, bool)), None)


def _prompt(part: Mapping[str, Any]) -> Array | None:
    return _ids(_first(part, PROMPT))


def _first(part: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((part[n] for n in names if part.get(n) is not None), None)


def _nested(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, list) for v in value)


def _ids(value: Any) -> Array | None:
    """Token ids [n]; None where they are none."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not all(type(v) is int and 0 <= v < 1 << 62 for v in value):
        return None
    return np.asarray(value, dtype=np.int64)


def _logprobs(value: Any, ids: Array, named: Any = None) -> Array | None:
    """The sampled tokens' log-probabilities [n], in whichever form a server gives them; None where one is missing.

    named: of each token the ids that its several log-probabilities are of, where the server gives these apart.
    """
    if isinstance(value, Mapping):
        value = value.get("content") or value.get("token_logprobs")
    if not isinstance(value, list) or len(value) != ids.size:
        return None
    others = named if isinstance(named, list) and len(named) == ids.size else [None] * ids.size
    made = [_number(one, int(token), own) for one, token, own in zip(value, ids, others, strict=True)]
    return None if any(v is None for v in made) else np.asarray(made, dtype=np.float64)


def _number(one: Any, token: int, named: Any = None) -> float | None:
    """Of one token: a number, one with its token, one of several by its id. Of several without ids none is known to be
    the sampled one's."""
    if isinstance(one, Mapping):
        if "logprob" in one:
            return _number(one["logprob"], token)
        mine = one.get(str(token), one.get(token))
        return _number(mine, token) if mine is not None else None
    if isinstance(one, (list, tuple)):
        if isinstance(named, list) and len(named) == len(one) and token in named:
            return _number(one[named.index(token)], token)
        with_token = len(one) > 1 and type(one[1]) is int and one[1] == token  # SGLang: number, id, text
        return _number(one[0], token) if len(one) == 1 or with_token else None
    return float(one) if isinstance(one, (int, float)) and not isinstance(one, bool) else None
