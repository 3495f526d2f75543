"""A rollout server on loopback that speaks ms-swift's rollout protocol, and misbehaves in one chosen way.

Routes: GET /health/ and /get_world_size/, POST /get_engine_type/ and /infer/ (3.10.3).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MISDEEDS = (
    *("none", "status_500", "hang", "no_reply", "cut_body", "not_json", "not_a_list", "error_object", "too_few"),
    *("too_many", "swapped", "no_prompt_token_ids", "no_token_ids", "no_choices"),
)
# Seconds after which a silent route closes the connection: far more than any wait that is bounded takes, so that a slow
# machine is not mistaken for a wait without an end.
PATIENCE = 30.0
SERVER = "<server>"  # stands for the address, which differs from run to run
NUMBER = re.compile(r"request (\d+)")


def number(request: dict[str, Any]) -> int:
    """The number that a request carries in its images' names or its messages, as `request 17`; −1 if it has none."""
    found = NUMBER.search(json.dumps([request.get("images"), request.get("messages")], ensure_ascii=False))
    return int(found.group(1)) if found else -1


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """A chat completion as ms-swift's engine returns it with `return_details`: tokens 7 and the request's number."""
    n = number(request)
    choice = {"index": 0, "message": {"role": "assistant", "content": f"answer {n}"}, "finish_reason": "stop"}
    made = {
        **{"model": "stub", "id": f"chatcmpl-{n}", "object": "chat.completion", "created": 0},
        "choices": [{**choice, "logprobs": None, "token_ids": [7, 1000 + n]}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **{"prompt_token_ids": [1, 2, 3000 + n], "images_size": None},
    }
    uuid = request.get("uuid")  # a scheduler plugin may echo what it was sent
    return {"response": made, "rollout_infos": {"uuid": uuid}} if isinstance(uuid, str) else made


class Stub:
    """A running server. `posts` holds the numbers of the requests of every POST to /infer/, in order of arrival.

    misdeed: one of `MISDEEDS`, done on every /infer/. silent: routes that never answer. patience: seconds after which a
    silent route closes the connection, so that nothing waits for ever. answers: what it says to one request.
    """

    def __init__(
        self,
        misdeed: str = "none",
        world_size: int = 1,
        silent: tuple[str, ...] = (),
        patience: float = PATIENCE,
        answers: Callable[[dict[str, Any]], dict[str, Any]] = answer,
    ) -> None:
        if misdeed not in MISDEEDS:
            raise ValueError(f"no such misdeed: {misdeed}")
        self.misdeed, self.world_size, self.silent, self.patience = misdeed, world_size, silent, patience
        self.answers = answers
        self.posts: list[list[int]] = []
        self.bodies: list[dict[str, Any]] = []
        self.lock, self.released = threading.Lock(), threading.Event()
        self.server = Server(self)
        self.port = int(self.server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Let waiting handlers go and stop. Safe to call twice."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5.0)

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def without_port(self, text: str) -> str:
        """`text` with this server's address replaced by `<server>`: a port differs from run to run."""
        return re.sub(rf"127\.0\.0\.1('?)(?:, port=|:){self.port}\b", rf"{SERVER}\1", text)


class Server(ThreadingHTTPServer):
    """A server that knows its stub."""

    daemon_threads = True

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers for the stub that its server belongs to."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write

    def do_GET(self) -> None:
        self.tell({"/health/": {"status": "ok"}, "/get_world_size/": {"world_size": self.server.stub.world_size}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/infer/" and self.path not in self.server.stub.silent:
            self.infer(json.loads(body))
        else:
            kind = {"engine_type": "LLMEngine", "enable_lora": False, "enable_multi_turn": False}
            self.tell({"/get_engine_type/": kind})

    def tell(self, answers: dict[str, Any]) -> None:
        """What stands under the path; nothing on a silent route."""
        if self.path in self.server.stub.silent:
            self.wait()
        elif self.path in answers:
            self.say(answers[self.path])
        else:
            self.say({"detail": "Not Found"}, 404)

    def infer(self, sent: dict[str, Any]) -> None:
        stub, requests = self.server.stub, sent["infer_requests"]
        with stub.lock:
            stub.posts.append([number(r) for r in requests])
            stub.bodies.append(sent)
        made, misdeed = [stub.answers(r) for r in requests], stub.misdeed
        if misdeed == "status_500":
            self.say("Internal Server Error", 500)
        elif misdeed == "hang":
            self.wait()
        elif misdeed == "no_reply":
            self.close_connection = True
        elif misdeed == "cut_body":
            self.say(made, cut=True)
        elif misdeed == "not_json":
            self.write(200, b"<html>busy</html>", "text/html")
        else:
            self.say(_spoilt(misdeed, made))

    def say(self, value: Any, status: int = 200, cut: bool = False) -> None:
        self.write(status, json.dumps(value).encode(), "application/json", cut)

    def write(self, status: int, body: bytes, kind: str, cut: bool = False) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut or self.close_connection

    def wait(self) -> None:
        """Say nothing until the other side has had enough, then close."""
        until = time.monotonic() + self.server.stub.patience
        while time.monotonic() < until and not self.server.stub.released.wait(0.02):
            pass
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is printed would differ from run to run."""


def _spoilt(misdeed: str, made: list[dict[str, Any]]) -> Any:
    """The answers with one thing wrong."""
    wholes = {
        "not_a_list": {"outputs": made},
        "too_few": made[:-1],
        "too_many": made + made[-1:],
        "swapped": made[::-1],
    }
    last = made[-1].get("response", made[-1]) if made else {}
    if misdeed == "error_object":
        last.update({"object": "error", "message": "CUDA out of memory"})
    elif misdeed in ("no_prompt_token_ids", "no_choices"):
        del last[misdeed.removeprefix("no_")]
    elif misdeed == "no_token_ids":
        del last["choices"][0]["token_ids"]
    return wholes.get(misdeed, made)
