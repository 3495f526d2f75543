"""Planted secrets: none is in any byte that is written, and the scan of a folder finds what others wrote."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from coordexp_audit_lib.boundaries.provenance import write_manifest
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunPair, audit_pair, audit_run
from coordexp_audit_lib.boundaries.provenance.cases import SECRETS
from coordexp_audit_lib.boundaries.provenance.predicates import redaction as r

# Where each of these twenty-odd secrets is planted; none may come out anywhere.
ENVIRONMENT = {**SECRETS, "DATABASE_URL": "postgres://audit:planted-db-pass@db.invalid/x"}
ENVIRONMENT |= {"KAGGLE_KEY": "not-listed-kaggle-0001"}
REMOTE = "ghp_remotePlantedRemotePlantedRemote0123"
IN_CONFIG = {
    "training": {"hub_token": "planted-hub-token-plain", "learning_rate": 1e-6, "max_new_tokens": 3},
    "extra": {"url": "https://user:planted-url-pass@host.invalid/a", "hook": "https://h.invalid/?sig=planted-sig-0001"},
    "list": ["--api_key", "planted-argv-in-config", "AKIAPLANTEDPLANTED01"],
    "nested": [{"password": "planted pass phrase, with comma"}],
}
COMMAND = [
    *("train", "--hub_token", "planted-argv-token", "--wandb_api_key=planted-argv-inline"),
    *("--url", "ftp://u:planted-ftp-pass@h.invalid", SECRETS["WANDB_API_KEY"]),
]
YAML = """\
training:
  hub_token: planted-hub-token-plain   # comment
  learning_rate: 1.0e-6
secret_key: |
  planted-block-line-one
  planted-block-line-two
extra: {password: planted-flow-pass, url: 'https://user:planted-url-pass@host.invalid/a'}
header: "Authorization: Bearer planted.bearer.token.0001"
passphrase:
  planted-folded-passphrase
key_file: |
  -----BEGIN RSA PRIVATE KEY-----
  plantedPrivateKeyMaterial0123456789
  -----END RSA PRIVATE KEY-----
"""
PLANTED = [
    *(v for k, v in ENVIRONMENT.items() if k not in ("HTTPS_PROXY", "DATABASE_URL")),
    *("planted-proxy-pass", "planted-db-pass", REMOTE, "planted-hub-token-plain", "planted-url-pass"),
    *("planted-sig-0001", "planted-argv-in-config", "AKIAPLANTEDPLANTED01", "planted pass phrase", "with comma"),
    *("planted-argv-token", "planted-argv-inline", "planted-ftp-pass", "planted-block-line-one"),
    *("planted-block-line-two", "planted-flow-pass", "planted.bearer.token", "planted-folded-passphrase"),
    *("plantedPrivateKeyMaterial", "planted-server-pass"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    repository = tmp_path / "repository"
    repository.mkdir()
    url = f"https://audit:{REMOTE}@git.invalid/a.git"
    (repository / "train.py").write_text("pass\n")
    for command in (("init", "-q"), ("config", "remote.origin.url", url), ("add", "train.py")):
        subprocess.run(["git", *command], cwd=repository, check=True, capture_output=True)
    config = tmp_path / "leaf.yaml"
    config.write_text(YAML)
    server = {"dtype": "bfloat16", "data_parallel": 2, "tensor_parallel": 1, "max_model_len": 12000, "eager": False}
    server |= {"memory_utilisation": 0.75, "base_url": "http://u:planted-server-pass@127.0.0.1:8000"}
    out = tmp_path / "run"
    write_manifest(
        out,
        config=IN_CONFIG,
        config_path=config,
        server=server,
        repository=repository,
        command=COMMAND,
        environ={**ENVIRONMENT, "OMP_NUM_THREADS": "8", "MASTER_ADDR": SECRETS["HF_TOKEN"]},
        seeds={"dataset": 17},
    )
    return out


def leaked(data: bytes) -> list[str]:
    forms = {s: {s, quote(s, safe=""), json.dumps(s)[1:-1]} for s in PLANTED}
    return [s for s, written in forms.items() if any(f.encode() in data for f in written)]


def test_twenty_secrets_are_in_no_byte_of_what_is_written(run: Path) -> None:
    assert len(PLANTED) >= 20
    written = [p for p in run.rglob("*") if p.is_file()]
    assert len(written) >= 4
    for path in written:
        assert leaked(path.read_bytes()) == [], path.name
    document = json.loads((run / "run_metadata.json").read_text())
    assert document["launcher"]["base_url"] == "http://<redacted>@127.0.0.1:8000"
    assert document["code"]["remote"] == "https://<redacted>@git.invalid/a.git"
    assert json.loads((run / "runtime_env.json").read_text())["env"]["OMP_NUM_THREADS"] == "8"


def test_what_is_no_secret_stays(run: Path) -> None:
    resolved = json.loads((run / "resolved_config.json").read_text())["resolved"]
    assert resolved["training"]["learning_rate"] == 1e-6
    assert resolved["training"]["max_new_tokens"] == 3
    assert "learning_rate: 1.0e-6\n" in (run / "config_source.yaml").read_text()


def test_findings_and_differences_hold_no_secret_of_a_careless_run(run: Path, tmp_path: Path) -> None:
    careless = tmp_path / "careless"
    careless.mkdir()
    metadata = json.loads((run / "run_metadata.json").read_text())
    (careless / "run_metadata.json").write_text(json.dumps({**metadata, "command": COMMAND}))
    environment = {"schema_version": 1, "env": ENVIRONMENT}
    (careless / "runtime_env.json").write_text(json.dumps(environment))
    resolved = {"schema_version": 1, "resolved": IN_CONFIG}
    (careless / "resolved_config.json").write_text(json.dumps(resolved))
    (careless / "config_source.yaml").write_text(YAML)
    findings = audit_run(careless)
    assert leaked(msgspec.json.encode(findings)) == []
    assert leaked(msgspec.json.encode(RunPair(run, careless).differences)) == []
    assert leaked(msgspec.json.encode(audit_pair(RunPair(run, careless)))) == []
    secrets = next(f for f in findings if f.invariant == "provenance.no_secrets")
    assert secrets.status == "violated"
    assert secrets.violation_count >= 15


SECRET_NAMES = "HF_TOKEN hub_token WANDB_API_KEY AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID password db.password apiKey"
SECRET_NAMES += " accessToken token --hub-token servers[0].api_key Authorization"
INNOCENT_NAMES = "max_new_tokens pad_token eos_token coord_tokens tokenizer token_type_metrics key object_key monkey"
INNOCENT_NAMES += " author pass image_token num_tokens"
NAMES = {**dict.fromkeys(SECRET_NAMES.split(), True), **dict.fromkeys(INNOCENT_NAMES.split(), False)}


@pytest.mark.parametrize(("name", "secret"), NAMES.items())
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert r.is_secret_name(name) is secret


@pytest.mark.parametrize(
    "innocent",
    [
        "4c9f738a1b2c3d4e5f60718293a4b5c6d7e8f901",  # a commit
        "http://127.0.0.1:8000/health/",
        "git@github.com:owner/name.git",
        "configs/stage2_ab/prod/ab_mixed.yaml",
        "pad_token: <|endoftext|>",
        "the token is appended, the key stays",
        "--max_new_tokens 2048",
        "hub_token: null",
        "hub_token: ${HF_TOKEN}",
        "sk-learn",
        "Basic tests only",
        "basic\nsomething_long_on_the_next_line",
    ],
)
def test_innocent_text_is_left_alone(innocent: str) -> None:
    assert r.redact_lines(innocent) == innocent
    assert list(r.sightings(innocent)) == []


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://u:p@h/x", "https://<redacted>@h/x"),
        ("https://ghp_0123456789012345678901@github.com/a.git", "https://<redacted>@github.com/a.git"),
        ("https://h/?a=1&token=abc&b=2", "https://h/?a=1&token=<redacted>&b=2"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer <redacted>"),
        ("see hf_0123456789abcdefghij.", "see <redacted>."),
        ("eyJhbGciOi0J9.eyJzdWIiOiIx0.c2lnbmF0dXJl", "<redacted>"),
    ],
)
def test_shapes_are_redacted_in_place(text: str, clean: str) -> None:
    assert r.redact(text) == clean
    assert list(r.sightings(text))
    assert list(r.sightings(r.redact_lines(text))) == []


def test_redaction_is_idempotent_and_keeps_types() -> None:
    value = {"a": [1, None, True, 2.5, {"password": 5, "hub_token": ""}], "b": ("--api-key", "abcdef", "rest")}
    once = r.redacted(value)
    assert once == {"a": value["a"], "b": ["--api-key", "<redacted>", "rest"]}
    assert r.redacted(once) == once


@pytest.mark.parametrize("piece", ["a", '"', "a ", "?", "eyJ-", "http://", "-", "[", "key: ", "\\", "Bearer ", " "])
def test_hostile_text_is_scanned_in_linear_time(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    started = time.process_time()
    list(r.sightings(text))
    r.redact_lines(text)
    assert time.process_time() - started < 5


def test_any_config_type_is_written(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Training:
        hub_token: str = "planted-hub-token-plain"
        rates: tuple[float, ...] = (1.0, 0.5)

    (tmp_path / "c.yaml").write_text("{}\n")
    config: dict[str, Any] = {"training": Training()}
    write_manifest(tmp_path / "run", config=config, config_path=tmp_path / "c.yaml", environ={})
    resolved = json.loads((tmp_path / "run" / "resolved_config.json").read_text())["resolved"]
    assert resolved == {"training": {"hub_token": "<redacted>", "rates": [1.0, 0.5]}}


@pytest.mark.parametrize(
    "text",
    [
        "export WANDB_API_KEY=planted0123",
        "env HF_TOKEN=planted0123 python train.py",
        "INFO HF_TOKEN=planted0123",
        "2026-01-01 12:00:00 INFO: WANDB_API_KEY=planted0123",
        "my password: planted0123",
        '{"note": "my password: planted0123"}',
        '{"argv": "{\\"hub_token\\": \\"planted0123\\"}"}',
        "a: b: hub_token: planted0123",
        "train --hub_token planted0123 --wandb_api_key=planted0123",
    ],
)
def test_what_stands_before_a_secret_hides_none(text: str) -> None:
    assert list(r.sightings(text))
    clean = r.redact_lines(text)
    assert "planted0123" not in clean
    assert list(r.sightings(clean)) == [] and r.redact_lines(clean) == clean


def test_many_known_secrets_go_as_few_do() -> None:
    values = [f"planted-{n:03}" for n in range(40)] + ["planted-00", "planted-001-and-more", "zz\0\u00e4planted"]
    text = " ".join(values) + " planted-99x planted-001-and-m"
    few = text
    for value in sorted(values, key=len, reverse=True):
        few = few.replace(value, r.MARK)
    assert r.Known(values).replaced(text) == few
    assert r.Known(values[:3]).replaced(text) == r.Known(values[:3] * 20).replaced(text)
