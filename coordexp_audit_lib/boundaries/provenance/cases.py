"""What is planted to judge a manifest: packages that fail to import, homes of ms-swift, secrets, changes of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance.predicates.drift import Rank
from coordexp_audit_lib.boundaries.provenance.surfaces import WRITE, Module, WriteRequest, Written
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer

VERSIONS = {"transformers": "4.91.2", "torch": "2.93.1", "vllm": "0.94.3", "swift": "3.95.7"}
SOUND = {name: Module(version=version) for name, version in VERSIONS.items()}
FLAGS = {"dtype": "float16", "data_parallel": "3", "tensor_parallel": "2", "max_model_len": "12345"}
FLAGS |= {"eager": "true", "memory_utilisation": "0.83"}
# Names that no list of useful variables would hold.
UNLISTED = {f"AUDIT_UNLISTED_{n}": f"unlisted-value-{n}" for n in range(4)}

# Every value is made up: some have the shape of a token, of others only the name tells.
SECRETS = {
    "HF_TOKEN": "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",
    "HUGGING_FACE_HUB_TOKEN": "hf_AbCdEfGhJkLmNpQrStUvWxYzAbCdEfGhJk",
    "WANDB_API_KEY": "5f1d0c9b8a7e6d5c4b3a29180f7e6d5c4b3a2918",
    "AWS_ACCESS_KEY_ID": "AKIAQ3EGVTESTPLANTED",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYPLANTED0001",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEPlanted0000000000session",
    "OPENAI_API_KEY": "sk-proj-plantedPlantedPlanted0123456789",
    "GITHUB_TOKEN": "ghp_plantedPlantedPlantedPlanted01234567",
    "MODELSCOPE_API_TOKEN": "planted-modelscope-0123456789",
    "SLACK_TOKEN": "xoxb-planted-0123456789-planted",
    "MYSQL_PASSWORD": "planted-Passw0rd-mysql",
    "HTTPS_PROXY": "http://audit:planted-proxy-pass@proxy.invalid:3128",
}
PROXY_PASSWORD = "planted-proxy-pass"
URL_PASSWORD = "planted-url-pass-1"
REMOTE_TOKEN = "ghp_remotePlantedRemotePlantedRemote0123"
QUERY_TOKEN = "planted-query-token-1"
HUB_TOKEN = "hf_ConfigPlantedConfigPlantedConfig01"


def ask(ctx: Context, request: WriteRequest) -> Answer[Written]:
    """Have a manifest written; the configs' names are those of the target."""
    return ctx.ask(WRITE, replace(request, config=ctx.target.config_path(request.config)))


def write(ctx: Context, request: WriteRequest) -> Written:
    """The manifest of a run that must not be refused."""
    return ask(ctx, request).value


def place(ctx: Context, written: Written) -> Where | None:
    """The statement that writes the manifest, inside the function that answers."""
    where = ctx.where(WRITE)
    return Where(where.path, written.line, where.symbol) if where and written.line else where


def about(
    problems: Iterable[Problem], case: str, counterexample: Any = None, where: Where | None = None
) -> Iterator[Problem]:
    """The problems of one case, which is named in front of each subject."""
    for p in problems:
        subject = f"{case}: {p.subject}" if p.subject else case
        yield replace(p, subject=subject, counterexample=counterexample, where=where)


def _key(name: str) -> str:
    key: str = pipeline().contract()["provenance.keys"][name]
    return key


def searched() -> dict[str, str]:
    """The secrets of the environment, by the label under which a find is reported."""
    return {**SECRETS, "HTTPS_PROXY": PROXY_PASSWORD, **UNLISTED}


def baseline(config: str = "", **changed: Any) -> WriteRequest:
    """A run whose every input is set; by default of the anchored Stage-2 config, in server mode."""
    stage2 = pipeline().configs[-1]
    swift = Module(version=VERSIONS["swift"], home="checkout")
    made: dict[str, Any] = {
        "env": {"ROOT_IMAGE_DIR": "/data/images", "OMP_NUM_THREADS": "8", "CUDA_VISIBLE_DEVICES": "0,1"},
        "server": dict(FLAGS) if config in ("", stage2) else None,
        "modules": {**SOUND, "swift": swift},
    }
    return WriteRequest(config or stage2, **{**made, **changed})


def leaking() -> dict[str, WriteRequest]:
    """Runs with secrets in different places, by place."""
    base = baseline()
    url = f"http://audit:{URL_PASSWORD}@127.0.0.1:8000"
    servers = [{"base_url": url, "group_port": 51216}]
    password, token = {"a password in a URL": URL_PASSWORD}, {"a Hugging Face token": HUB_TOKEN}
    query, remote = {"a token in a query": QUERY_TOKEN}, {"a token in a git remote": REMOTE_TOKEN}
    link = f"https://hub.invalid/x?token={QUERY_TOKEN}"
    return {
        "the environment": baseline(env={**base.env, **SECRETS, **UNLISTED}, search=searched()),
        "the rollout server's address": baseline(server={**FLAGS, "base_url": url}, search=password),
        "a URL in the config": baseline(values={_key("servers"): servers}, search=password),
        "a token in the config": baseline(values={_key("token"): HUB_TOKEN}, search=token),
        "a URL's query in the config": baseline(values={_key("name"): link}, search=query),
        "the git remote": baseline(remote=f"https://audit:{REMOTE_TOKEN}@git.invalid/run.git", search=remote),
    }


def homes() -> dict[str, Module]:
    """ms-swift as it can be installed, by what a reader would call it."""
    wheel = SOUND["swift"]
    return {
        "a checkout": replace(wheel, home="checkout"),
        "a changed checkout": replace(wheel, home="changed_checkout"),
        "an older commit of a checkout": replace(wheel, home="checkout", commit=0),
        "a wheel": wheel,
        "a wheel in a virtual environment inside another repository": replace(wheel, home="wheel_in_repository"),
    }


def imports() -> dict[str, dict[str, Module]]:
    """Sets of packages, by what is odd about them."""
    made = {"everything imports": dict(SOUND)}
    for name in ("vllm", "swift"):
        made[f"{name} is not installed"] = {**SOUND, name: Module("absent")}
    made["vllm raises ImportError"] = {**SOUND, "vllm": Module("import_error", VERSIONS["vllm"])}
    made["vllm raises OSError, as for a missing CUDA library"] = {**SOUND, "vllm": Module("os_error", VERSIONS["vllm"])}
    return made


def changes() -> dict[str, tuple[WriteRequest, Rank]]:
    """Runs that differ from the baseline in one thing, with the rank of the most that it can change."""
    base = baseline()
    swift = base.modules["swift"]
    other: dict[str, tuple[dict[str, Any], Rank]] = {
        "the seed": ({"seed": 18}, "objective"),
        "the learning rate": ({"values": {_key("rate"): 3e-6}}, "objective"),
        "transformers": ({"modules": {**base.modules, "transformers": Module(version="4.91.3")}}, "objective"),
        "ms-swift's commit": ({"modules": {**base.modules, "swift": replace(swift, commit=0)}}, "objective"),
        "torch": ({"modules": {**base.modules, "torch": Module(version="2.93.2")}}, "numerics"),
        "vllm": ({"modules": {**base.modules, "vllm": Module("absent")}}, "numerics"),
        "the server's dtype": ({"server": {**FLAGS, "dtype": "bfloat16"}}, "numerics"),
        "the threads": ({"env": {**base.env, "OMP_NUM_THREADS": "4"}}, "speed"),
        "the run's name": ({"run_name": "again"}, "nothing"),
    }
    return {name: (baseline(**changed), rank) for name, (changed, rank) in other.items()}


def plain_runs() -> dict[str, WriteRequest]:
    """Runs that must leave every file, by name."""
    return {
        "stage 2, server mode": baseline(),
        "stage 2, a base config given": baseline(with_base=True),
        "stage 1": baseline(pipeline().configs[0]),
    }
