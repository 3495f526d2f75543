"""What the rollout bindings stand on: a trainer in server mode, stand-in sessions and servers, and a rank that is told.

The HTTP client, the pool of threads and `torch.distributed` are replaced from outside; the code under audit is not.
"""

import contextlib
import importlib
import importlib.util
import json
import re
import types
from concurrent import futures
from typing import Any

from coordexp_audit_lib.kit import rollout_stub
from coordexp_audit_lib.kit.stand_ins import replaced, used
from coordexp_audit_lib.kit.tokenizer import ENDOFTEXT
from coordexp_audit_lib.pipelines.api import Refused, Unbound
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness

LACKING = re.compile(r"(Trainer|Sessions|SimpleNamespace)' object has no attribute")


def settings(urls, batch=4, timeout_s=None, infer_timeout_s=None):
    """`rollout_matching` for vLLM servers at `urls`."""
    servers = [{"base_url": url, "group_port": 51216 + i} for i, url in enumerate(urls)]
    return {
        **harness.MATCHING,
        **{"rollout_backend": "vllm", "max_new_tokens": 64, "candidate_top_k": 8, "maskiou_resolution": 64},
        **dict.fromkeys(("decode_batch_size", "channel_b_decode_batch_size", "eval_decode_batch_size"), batch),
        **{"decoding": {"temperature": 0.0, "top_p": 1.0, "top_k": -1}, "repetition_penalty": 1.0},
        **{"packing_enabled": True, "packing_length": 4096},
        "vllm": {
            **{"mode": "server", "enable_lora": False, "sync": {"mode": "full", "fallback_to_full": True}},
            "server": {
                **{"servers": servers, "timeout_s": timeout_s, "infer_timeout_s": infer_timeout_s},
                **{"allow_infinite_infer_timeout": True, "debug_dump": {"enabled": False}},
            },
        },
    }


def trainer(here, urls, parts=None, *, seed=0, step=0, **chosen):
    """A trainer of the tree in server mode, whose weights count as synced."""
    made = harness.make_trainer(here.trainer, parts, step=step, seed=seed, matching=settings(urls, **chosen))
    if parts is None:
        made.template = types.SimpleNamespace(system=None)
    made.processing_class = parts.tokenizer if parts else types.SimpleNamespace(pad_token_id=ENDOFTEXT)
    made._stage2_skip_vllm_server_sync, made._vllm_server_last_synced_step = True, step
    made._vllm_server_last_logged_step = step  # its own log of the plan, once a step, is left out
    return made


def connected(made, sizes=(1,)):
    """The trainer with stand-in sessions, one a server of that many workers, and these."""
    sessions = Sessions(len(sizes))
    made._vllm_server_client, made._vllm_server_cached_world_sizes = sessions, list(sizes)
    return made, sessions


class Reply:
    """What `requests` would return for a POST."""

    def __init__(self, data):
        self.status_code, self.data, self.text = 200, data, ""

    def json(self):
        return json.loads(json.dumps(self.data))


class Sessions:
    """Stands in for the client's sessions: notes every POST, and answers it as a sound server would."""

    def __init__(self, servers):
        self.posts, self.round, self.pooled = [], -1, False
        self.sessions = [types.SimpleNamespace(post=self.poster(i)) for i in range(servers)]

    def poster(self, server):
        def post(url, json=None, timeout=None, **_):
            if not url.endswith("/infer/"):
                return Reply({"engine_type": "LLMEngine"})
            if not self.pooled:
                self.round += 1
            self.posts.append({"round": self.round, "server": server, "payload": json, "timeout": timeout})
            return Reply([rollout_stub.answer(r) for r in json["infer_requests"]])

        return post

    def get_engine_type(self):
        return {"engine_type": "LLMEngine", "enable_lora": False}

    @contextlib.contextmanager
    def one_pool_a_round(self):
        """Run what is handed to a thread pool at once and in order; each pool is a round of calls under way at once."""
        sessions = self

        class Pool(futures.Executor):
            def __init__(self, *args, **kwargs):
                sessions.round += 1

            def submit(self, function, /, *args, **kwargs):
                future: futures.Future[Any] = futures.Future()
                sessions.pooled = True
                try:
                    future.set_result(function(*args, **kwargs))
                except Exception as error:
                    future.set_exception(error)
                finally:
                    sessions.pooled = False
                return future

        with replaced(futures, ThreadPoolExecutor=Pool):
            yield


@contextlib.contextmanager
def as_rank(rank, world):
    """Let `torch.distributed` say that this is a rank of a group; no collective works in it."""
    import torch.distributed as dist

    told = {
        "is_available": lambda: True,
        "is_initialized": lambda: world > 1,
        **{"get_rank": lambda *_: rank, "get_world_size": lambda *_: world},
    }
    with replaced(dist, **told):
        yield


@contextlib.contextmanager
def real_client():
    """ms-swift's own `VLLMClient`, which only asks whether vLLM is there: its HTTP side needs none of it."""
    try:
        module: Any = importlib.import_module("swift.trainers.rlhf_trainer.vllm_client")
    except ImportError as error:
        raise Unbound("ms-swift's VLLMClient cannot be imported: %s" % type(error).__name__) from error
    if not module.is_vllm_available():
        used("vllm", "a word to ms-swift's client that it is there: the HTTP side, which is asked, needs none", True)
    with replaced(module, is_vllm_available=lambda: True):
        yield module


def called(here, function, *args, **kwargs):
    """`here.call`; that our trainer lacks what its upstream bases would have set is no refusal of the tree's."""
    try:
        return here.call(function, *args, **kwargs)
    except Refused as refused:
        if refused.type_name == "AttributeError" and LACKING.search(refused.message):
            raise RuntimeError("the trainer made for the audit is not whole: %s" % refused.message) from refused
        raise


def numbered(count):
    """Samples whose prompts carry their number."""
    return [{"messages": [{"role": "user", "content": "request %d" % i}]} for i in range(count)]


def answered_numbers(outputs):
    """Which requests a rollout's outputs answer: the stub puts the number into the last token."""
    return [int(o[0][-1]) - 1000 for o in outputs]
