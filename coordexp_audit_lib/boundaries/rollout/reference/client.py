"""The reference's client of a rollout server. Every way in which a server can fail has an error with a name.

Nothing is sent twice. Each request carries a `uuid` and its answer must echo it, so that answers in another order are
noticed also where prompts do not tell them apart.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from coordexp_audit_lib.core.surface import Refuse


class RolloutError(Exception):
    """A rollout failed. Subclasses say how; the message says where and what to do."""


class ServerUnreachable(RolloutError):
    """No server answers at this address."""


class ServerTimeout(RolloutError):
    """The server did not answer in time."""


class ServerStatus(RolloutError):
    """The server answered with a status other than 200."""


class ServerCut(RolloutError):
    """The connection ended before the answer did."""


class ResponseShape(RolloutError):
    """The answer is no JSON list of one item per request."""


class ResponseField(RolloutError):
    """A field of an item is missing, empty or of the wrong type. The message begins with the field's path."""


class ResponseOrder(RolloutError):
    """An answer belongs to another request."""


Item = tuple[list[int], list[int], str]


def parse_item(item: Any, at: str = "item") -> Item:
    """Prompt token ids, token ids and text of one item, bare or in a `response` envelope.

    Raises:
        ResponseField: what is wrong with which field.
    """
    if not isinstance(item, dict):
        raise ResponseField(f"{at} is {type(item).__name__}, not an object")
    inner = item.get("response", item)
    if not isinstance(inner, dict):
        raise ResponseField(f"{at}.response is {type(inner).__name__}, not an object")
    if inner.get("object") == "error":
        raise ResponseField(f"{at} is an error of the server: {inner.get('message')}")
    prompt = _ids(inner.get("prompt_token_ids"), f"{at}.prompt_token_ids")
    choices = inner.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ResponseField(f"{at}.choices must be a list that begins with an object")
    tokens = _ids(choices[0].get("token_ids"), f"{at}.choices[0].token_ids")
    message = choices[0].get("message")
    text = message.get("content") if isinstance(message, dict) else None
    return prompt, tokens, text if isinstance(text, str) else ""


def _ids(value: Any, at: str) -> list[int]:
    if not isinstance(value, list) or not value:
        raise ResponseField(f"{at} must be a list of ints that is not empty; set request_config.return_details=true")
    for i, token in enumerate(value):
        if type(token) is not int or token < 0:
            raise ResponseField(f"{at}[{i}] is {type(token).__name__}, not a token id")
    return value


def infer(url: str, requests: list[dict[str, Any]], config: dict[str, Any], timeout: float | None) -> list[Item]:
    """POST to `/infer/` once; items in request order.

    Raises:
        RolloutError: see the subclasses.
    """
    sent = [{**r, "uuid": f"{i}"} for i, r in enumerate(requests)]
    data = _json(_exchange(url, "POST", "/infer/", {"infer_requests": sent, "request_config": config}, timeout), url)
    return read_outputs(data, [r["uuid"] for r in sent], f"{url}/infer/")


def read_outputs(data: Any, uuids: Sequence[str], at: str) -> list[Item]:
    """The items of a whole answer, one for each request and in that order. uuids: those sent; empty strings are free.

    Raises:
        RolloutError: see the subclasses.
    """
    if not isinstance(data, list):
        raise ResponseShape(f"{at} answered with {type(data).__name__}, not a list")
    if len(data) != len(uuids):
        raise ResponseShape(f"{at} answered with {len(data)} outputs to {len(uuids)} requests")
    items = [parse_item(item, f"outputs[{i}]") for i, item in enumerate(data)]
    for i, (item, uuid) in enumerate(zip(data, uuids, strict=True)):
        echoed = (item.get("rollout_infos") or {}).get("uuid") if uuid else uuid
        if echoed != uuid:
            raise ResponseOrder(f"outputs[{i}] answers request {echoed!r}: the order differs from that of the requests")
    return items


def connect(url: str, timeout_s: float) -> int:
    """Wait until `/health/` answers, at most `timeout_s`; then the world size.

    Raises:
        RolloutError: see the subclasses.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        left = deadline - time.monotonic()
        try:
            _exchange(url, "GET", "/health/", None, max(left, 0.05))
            break
        except RolloutError as error:
            if time.monotonic() + 0.05 >= deadline:
                raise ServerUnreachable(f"{url} did not answer /health/ within timeout_s={timeout_s:g}") from error
            time.sleep(0.05)
    body = _json(_exchange(url, "GET", "/get_world_size/", None, timeout_s), url)
    size = body.get("world_size") if isinstance(body, dict) else None
    if type(size) is not int or size < 1:
        raise ResponseField("world_size of /get_world_size/ must be a positive int")
    return size


def _exchange(url: str, method: str, route: str, body: Any, timeout: float | None) -> bytes:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout)
    try:
        text = None if body is None else json.dumps(body, allow_nan=False)
        connection.request(method, route, text, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        data = reply.read()
    except TimeoutError as error:
        raise ServerTimeout(f"{url}{route} did not answer within {timeout:g} seconds") from error
    except http.client.IncompleteRead as error:
        raise ServerCut(f"{url}{route} ended {error.expected} bytes before its answer did") from error
    except (http.client.HTTPException, ConnectionResetError, BrokenPipeError) as error:
        raise ServerCut(f"{url}{route} closed the connection without an answer") from error
    except OSError as error:
        raise ServerUnreachable(f"{url} cannot be reached: {error.strerror or error}") from error
    finally:
        connection.close()
    if reply.status != 200:
        raise ServerStatus(f"{url}{route} answered with status {reply.status}")
    return data


def _json(data: bytes, url: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ResponseShape(f"{url} answered with something that is not JSON") from error


def timeouts(timeout_s: Any, infer_timeout_s: Any) -> tuple[float, float | None]:
    """The two timeouts in seconds; for the second, null or not positive is none.

    Raises:
        Refuse: a value that is no number, or no wait at all.
    """
    for key, value in (("timeout_s", timeout_s), ("infer_timeout_s", infer_timeout_s)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Refuse(f"{key} must be a number, not {value!r}", "TypeError")
    wait = 240.0 if timeout_s is None else float(timeout_s)
    if wait <= 0:
        raise Refuse(f"timeout_s must be positive, not {timeout_s!r}")
    return wait, float(infer_timeout_s) if infer_timeout_s is not None and infer_timeout_s > 0 else None
