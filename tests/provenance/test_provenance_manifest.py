"""The writer is complete, quick, light and atomic; the audit of a folder decides by it, whatever the folder holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from coordexp_audit_lib.boundaries.provenance import write_manifest
from coordexp_audit_lib.boundaries.provenance.artifact import sources
from coordexp_audit_lib.boundaries.provenance.artifact.reading import parsed
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunPair, audit_pair, audit_run
from coordexp_audit_lib.boundaries.provenance.cases import VERSIONS
from coordexp_audit_lib.boundaries.provenance.predicates.drift import differences, rank_of
from coordexp_audit_lib.boundaries.provenance.predicates.packages import upstream_versions
from coordexp_audit_lib.boundaries.provenance.reference.capture import Found, installed, probed
from coordexp_audit_lib.boundaries.provenance.reference.fingerprints import dataset
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.pipeline import pipeline

CONTRACT = pipeline().contract()
RULES = CONTRACT["provenance.ranks"]
FLAGS = {"dtype": "bfloat16", "data_parallel": 2, "tensor_parallel": 1, "max_model_len": 12000}
FLAGS |= {"eager": False, "memory_utilisation": 0.75}
ROLLOUT = {"rollout_backend": "vllm", "vllm": {"mode": "server", "max_model_len": 12000}}
CONFIG = {"training": {"seed": 17, "learning_rate": 1e-4, "save_only_model": True}, "rollout_matching": ROLLOUT}
LEAF = "extends: ../base.yaml\ntraining: {learning_rate: 1e-4}\n"
BASE = """\
training: {seed: 17, learning_rate: 1.0, save_only_model: true}
rollout_matching: {rollout_backend: vllm, vllm: {mode: server, max_model_len: 12000}}
custom: {nothing: null, empty: {}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "leaf.yaml").write_text(LEAF)
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "train.jsonl").write_text('{"objects": []}\n')

    def make(name: str = "run", **changed: Any) -> Path:
        given: dict[str, Any] = {
            "config": CONFIG,
            "config_path": tmp_path / "leaf.yaml",
            "parents": {"../base.yaml": tmp_path / "base.yaml"},
            "lookup": lambda name, _: Found("1.0", f"{tmp_path}/x.py"),
            "server": FLAGS,
            "datasets": {"train": tmp_path / "train.jsonl"},
            "seeds": {"dataset": 17},
            "template": "{{ messages }}",
            "environ": {"OMP_NUM_THREADS": "8", "PATH": "/bin"},
            "command": ["train"],
        }
        return write_manifest(tmp_path / name, **{**given, **changed}).parent

    return make


def by_id(findings: list[Finding]) -> dict[str, Finding]:
    return {f.invariant.removeprefix("provenance."): f for f in findings}


def test_a_written_manifest_satisfies_every_claim_that_a_folder_can_decide(write: Callable[..., Path]) -> None:
    found = by_id(audit_run(write()))
    held = ("files_present", "upstream_versions", "swift_source", "server_flags", "config_is_the_config", "no_secrets")
    assert {n: f.status for n, f in found.items()} == dict.fromkeys(held, "held") | {"weights_only": "unbound"}
    assert "checkpoint" in found["weights_only"].note


def test_a_manifest_tells_all_that_a_run_stands_on(write: Callable[..., Path], tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.json"
    vocabulary.write_text('{"a": 0}')
    made = json.loads((write(tokenizer=tmp_path, run_name="r1", lookup=installed) / "run_metadata.json").read_text())
    assert made["datasets"]["train"]["bytes"] == 16
    assert len(made["datasets"]["train"]["sha256"]) == 64
    assert list(made["tokenizer"]["files"]) == ["vocab.json"]
    assert made["template"]["characters"] == 14
    assert made["seeds"] == {"dataset": 17}
    assert set(made["hardware"]) == {"cpu", "cores", "memory", "system", "gpu"}
    assert made["hardware"]["gpu"]["driver"]
    assert made["launcher"] == {"server_mode": True, **FLAGS}
    assert list(upstream_versions(made["upstream"], CONTRACT["provenance.packages"])) == []
    assert made["upstream"]["transformers"]["version"]


def test_writing_imports_nothing_heavy_and_takes_less_than_two_seconds(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1\n")
    program = (
        "import sys, time\n"
        "t = time.perf_counter()\n"
        "from coordexp_audit_lib.boundaries.provenance import write_manifest\n"
        f"write_manifest({str(tmp_path / 'run')!r}, config={{'a': 1}}, config_path={str(tmp_path / 'c.yaml')!r})\n"
        "print(time.perf_counter() - t, sorted({'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules)))\n"
    )
    root, command = Path(__file__).resolve().parents[2], [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=60)
    seconds, _, loaded = ran.stdout.strip().partition(" ")
    assert loaded == "[]"
    assert float(seconds) < 2


def test_a_failed_write_leaves_nothing_behind(write: Callable[..., Path], tmp_path: Path) -> None:
    for changed in (
        {"config": {"a": float("nan")}},
        {"config": {"a": object()}},
        {"config_path": tmp_path / "none.yaml"},
        {"server": {"dtype": "bfloat16"}},
        {"datasets": {"train": tmp_path / "none"}},
        {"tokenizer": tmp_path / "none"},
        {"template": 3},
        {"parents": {"..": tmp_path / "base.yaml"}},
    ):
        with pytest.raises(UsageError) as raised:
            write("failed", **changed)
        assert "Remedy:" in str(raised.value)
        assert not (tmp_path / "failed").exists()


def test_a_full_disk_leaves_the_earlier_manifest(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out = write()
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write(config={"other": 1})
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before


def test_nothing_is_written_through_links_out_of_the_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("kept")
    out = tmp_path / "run"
    out.mkdir()
    (out / "run_metadata.json").symlink_to(outside / "victim")
    write()
    assert (outside / "victim").read_text() == "kept"
    shutil.rmtree(out / "config_parents")
    (out / "config_parents").symlink_to(outside)
    with pytest.raises(UsageError, match="leads out"):
        write()
    assert sorted(p.name for p in outside.iterdir()) == ["victim"]


def edit(out: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((out / name).read_text())
    change(document)
    (out / name).write_text(json.dumps(document))


METADATA, RESOLVED, ENV = "run_metadata.json", "resolved_config.json", "runtime_env.json"


@pytest.mark.parametrize(
    ("name", "change", "claim", "message"),
    [
        (METADATA, lambda d: d["upstream"].pop("vllm"), "upstream_versions", "vllm"),
        (METADATA, lambda d: d["upstream"].update(torch="2.13"), "upstream_versions", "torch"),
        (METADATA, lambda d: d["upstream"].update(torch={"version": ""}), "upstream_versions", "neither"),
        (METADATA, lambda d: d.update(upstream=[]), "upstream_versions", "not recorded"),
        (METADATA, lambda d: d["upstream"].pop("ms_swift"), "swift_source", "not recorded"),
        (METADATA, lambda d: d["upstream"].update(ms_swift={"path": "/x", "sha": "1"}), "swift_source", "commit"),
        (METADATA, lambda d: d["upstream"].update(ms_swift={"path": "/", "sha": "a" * 40}), "swift_source", "modifi"),
        (METADATA, lambda d: d["launcher"].pop("dtype"), "server_flags", "dtype"),
        (METADATA, lambda d: d.pop("launcher"), "server_flags", "not recorded"),
        (METADATA, lambda d: d.update(created_at="yesterday"), "files_present", "no time"),
        (RESOLVED, lambda d: d.pop("schema_version"), "files_present", "schema version"),
        (RESOLVED, lambda d: d.update(schema_version=True), "files_present", "schema version"),
        (RESOLVED, lambda d: d.update(base_config_path="b.yaml"), "files_present", "base_config_source.yaml"),
        (RESOLVED, lambda d: d["resolved"]["training"].update(seed=18), "config_is_the_config", "another value"),
        (RESOLVED, lambda d: d["resolved"].pop("training"), "config_is_the_config", "another value"),
        (RESOLVED, lambda d: d.update(resolved=[]), "config_is_the_config", "no resolved config"),
        (ENV, lambda d: d["env"].update(HF_TOKEN="x"), "no_secrets", "HF_TOKEN"),
        (ENV, lambda d: d["env"].update(PATH="/", HOME="/", SHLVL="1"), "no_secrets", "whole environment"),
        (ENV, lambda d: d.update(env=[]), "no_secrets", "not an object"),
        (ENV, lambda d: d["env"].update(A="http://u:p@h"), "no_secrets", "password in a URL"),
    ],
)
def test_what_a_manifest_lacks_is_found(
    write: Callable[..., Path], name: str, change: Callable[[dict[str, Any]], object], claim: str, message: str
) -> None:
    out = write()
    edit(out, name, change)
    finding = by_id(audit_run(out))[claim]
    assert finding.status == "violated"
    assert any(message in v.message for v in finding.violations), [v.message for v in finding.violations]


def test_extra_fields_are_no_defect(write: Callable[..., Path]) -> None:
    out = write()
    for name in (METADATA, RESOLVED, ENV):
        edit(out, name, lambda d: d.update(later_field={"a": [1]}))
    assert {f.status for f in audit_run(out)} == {"held", "unbound"}


GOOD = b'{"schema_version": 1, "a": {"b": 1}}'


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (GOOD[:-3], "not JSON"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"x": {"k": 1, "k": 1}}', "'k' stands twice"),
        (b"\x89PNG\r\n\0\xff", "UTF-8"),
        (b"[1]", "not an object"),
        (b"null", "not an object"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested"),
        (b"[" * 200_000, "cannot be parsed"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be parsed"),
    ],
)
def test_defects_of_a_document_are_one_line_each(
    raw: bytes, defect: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    made = parsed(raw)
    assert any(defect in d for d in made.defects), made.defects
    out = write()
    for name in (METADATA, RESOLVED, ENV):
        shutil.copytree(out, tmp_path / name)
        (tmp_path / name / name).write_bytes(raw)
        found = by_id(audit_run(tmp_path / name))
        assert found["files_present"].status == "violated"
        assert any(name in v.message and "\n" not in v.message for v in found["files_present"].violations)
        assert {f.status for f in found.values()} <= {"held", "violated", "unbound"}


def test_links_out_fifos_and_folders_are_named_and_not_followed(write: Callable[..., Path], tmp_path: Path) -> None:
    out = write()
    secret = tmp_path / "secret.json"
    secret.write_text('{"schema_version": 1, "resolved": {"password": "planted-outside"}}')
    (out / RESOLVED).unlink()
    (out / RESOLVED).symlink_to(secret)
    (out / ENV).unlink()
    os.mkfifo(out / ENV)
    (out / METADATA).unlink()
    (out / METADATA).mkdir()
    (out / "loop.json").symlink_to("loop.json")
    found = audit_run(out)
    messages = [v.message for v in by_id(found)["files_present"].violations]
    assert any("leads out" in m for m in messages)
    assert sum("no regular file" in m for m in messages) == 2
    assert b"planted-outside" not in msgspec.json.encode(found)


def test_a_config_whose_parent_was_not_kept_is_undecided_not_held(write: Callable[..., Path]) -> None:
    out = write(parents={})
    finding = by_id(audit_run(out))["config_is_the_config"]
    assert finding.status == "unbound"
    assert "../base.yaml" in finding.note


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "\0", "a: &x [1]\n<<: *x\n", "extends: config_source.yaml\n", ""])
def test_a_broken_source_is_a_finding(write: Callable[..., Path], text: str) -> None:
    out = write()
    (out / "config_source.yaml").write_text(text)
    assert by_id(audit_run(out))["config_is_the_config"].status in ("violated", "unbound")


def test_an_alias_bomb_is_refused_quickly(write: Callable[..., Path]) -> None:
    out = write()
    lines = [f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}" for n in range(1, 12)]
    lines = ["a0: &a0 {x: 1}", *lines]
    (out / "config_source.yaml").write_text("\n".join(lines))
    assert "expands" in by_id(audit_run(out))["config_is_the_config"].violations[0].message


def test_a_manifest_younger_than_its_first_checkpoint_was_written_late(write: Callable[..., Path]) -> None:
    out = write()
    (out / "checkpoint-10").mkdir()
    os.utime(out / "checkpoint-10", (1_700_000_000, 1_700_000_000))
    assert "younger" in by_id(audit_run(out))["files_present"].violations[0].message
    edit(out, RESOLVED, lambda d: d["resolved"]["training"].update(resume_from_checkpoint="checkpoint-10"))
    assert by_id(audit_run(out))["files_present"].status == "held"


def test_no_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for wrong in (tmp_path / "none", tmp_path / "file", Path("a\0b")):
        with pytest.raises(UsageError, match="no such folder"):
            audit_run(wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="can be read"):
        RunPair(tmp_path / "empty", tmp_path / "empty")
    assert by_id(audit_run(tmp_path / "empty"))["files_present"].violation_count == 4


RANKED = (
    (RESOLVED, "objective", "resolved.training.learning_rate resolved.template.max_pixels"),
    (METADATA, "objective", "code.sha git_sha datasets.train.sha256 tokenizer.sha256 seeds.dataset unknown"),
    (METADATA, "objective", "upstream.transformers.version upstream.swift.version"),
    (METADATA, "numerics", "upstream.torch.version launcher.dtype launcher.COORDEXP_STAGE2_SERVER_TORCH_DTYPE"),
    (METADATA, "numerics", "hardware.gpu.driver"),
    (RESOLVED, "numerics", "resolved.model.attn_impl"),
    (ENV, "speed", "env.OMP_NUM_THREADS"),
    (METADATA, "speed", "launcher.data_parallel hardware.cores"),
    (RESOLVED, "speed", "resolved.training.dataloader_num_workers"),
    (METADATA, "nothing", "run_name created_at upstream.torch.file"),
    (ENV, "nothing", "env.MASTER_PORT"),
    (RESOLVED, "nothing", "resolved.training.logging_steps"),
)
FIELDS = [(f"{name}:{field}", rank) for name, rank, fields in RANKED for field in fields.split()]


@pytest.mark.parametrize(("field", "rank"), FIELDS)
def test_ranks(field: str, rank: str) -> None:
    assert rank_of(field, RULES) == rank


def test_differences_are_ranked_worst_first_and_types_count(write: Callable[..., Path]) -> None:
    one = write("one", run_name="one")
    changed = {**CONFIG, "training": {**CONFIG["training"], "learning_rate": 2e-4}}
    more = {"server": {**FLAGS, "dtype": "float16"}, "environ": {"OMP_NUM_THREADS": "4"}}
    two = write("two", run_name="two", config=changed, **more)
    found = RunPair(one, two).differences
    assert [d.field.rpartition(".")[2] for d in found if d.rank == "objective"] == ["learning_rate"]
    ranks = [d.rank for d in found]
    assert ranks == sorted(ranks, key=("objective", "numerics", "speed", "nothing").index)
    assert {"objective", "numerics", "speed", "nothing"} == set(ranks)
    assert RunPair(one, one).differences == []
    assert [f.status for f in audit_pair(RunPair(one, two))] == ["violated"]
    (same,) = audit_pair(RunPair(one, one))
    assert same.status == "held" and same.checked > 50
    assert [d.field for d in differences({"d": {"a": 1}}, {"d": {"a": True}}, RULES)] == ["d:a"]
    assert [d.after for d in differences({"d": {"a": 1}}, {"d": {}}, RULES)] == [{}, "(not recorded)"]


def test_a_large_dataset_is_sampled_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordexp_audit_lib.boundaries.provenance.reference.fingerprints.WHOLE", 1 << 20)
    file = tmp_path / "big"
    file.write_bytes(bytes(3 << 20))
    first = dataset(file)
    assert first["method"] != "whole"
    with file.open("r+b") as f:
        f.seek(-1, 2)
        f.write(b"x")
    assert dataset(file)["sha256"] != first["sha256"]


def test_an_import_that_fails_is_told_by_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("__version__ = '1'\nraise OSError('libcudart.so: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert installed("absent_package_x", "absent-x").error
    assert probed("wave", "absent-x").error == "no version is stated anywhere"
    place = "coordexp_audit_lib.boundaries.provenance.reference.capture.metadata.version"
    monkeypatch.setattr(place, lambda name: "1.0")
    assert "libcudart" in str(probed("broken_package", "broken").error)
    assert installed("broken_package", "broken").error is None


def test_the_planted_versions_are_of_no_real_release() -> None:
    assert len(set(VERSIONS.values())) == 4


def unjudged(out: Path) -> dict[str, str]:
    return {n: f.note for n, f in by_id(audit_run(out)).items() if f.status == "unbound"}


def test_what_was_not_judged_is_not_held(write: Callable[..., Path], tmp_path: Path) -> None:
    """Each claim, on a folder that lacks the thing which it is about."""
    (tmp_path / "empty").mkdir()
    assert {f.status for f in audit_run(tmp_path / "empty")} == {"violated", "unbound"}

    colocated = write("colocated", config={**CONFIG, "rollout_matching": {"vllm": {"mode": "colocate"}}})
    assert "no rollout server" in unjudged(colocated)["server_flags"]

    bare = write("bare", lookup=lambda name, _: Found(error=f"ModuleNotFoundError: No module named {name!r}"))
    assert "ms-swift was not there" in unjudged(bare)["swift_source"]

    silent = write("silent")
    (silent / ENV).unlink()
    assert "the captured environment" in unjudged(silent)["no_secrets"]

    (tmp_path / "leaf.yaml").write_text("{}\n")
    (tmp_path / "base.yaml").write_text("{}\n")
    assert "config_is_the_config" in unjudged(write("unset"))


def test_a_file_that_can_not_be_read_for_secrets_is_named(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write()
    (out / "train.log").write_text("x" * 100_000)
    assert by_id(audit_run(out))["no_secrets"].status == "held"
    monkeypatch.setattr("coordexp_audit_lib.boundaries.provenance.artifact.texts.MAX_TEXT", 50_000)
    assert "train.log: it has 100000 bytes" in unjudged(out)["no_secrets"]
    monkeypatch.setattr("coordexp_audit_lib.boundaries.provenance.artifact.texts.MAX_FILES", 2)
    assert "further files" in unjudged(out)["no_secrets"]


def test_files_that_are_not_read_are_told(write: Callable[..., Path], tmp_path: Path) -> None:
    out = write()
    for name in ("model.safetensors", "optimizer.pt", "a.png", "events.out.tfevents.1.host"):
        (out / name).write_bytes(b"\0")
    (out / "inside").symlink_to(out / "train.log")
    (out / "train.log").write_text("fine\n")
    assert by_id(audit_run(out))["no_secrets"].status == "held"
    for n in range(3):
        (out / f"training_args{n}.bin").write_bytes(b"x")
    (out / "dump.log").write_bytes(b"a\0b")
    (tmp_path / "outside").mkdir()
    (out / "outside").symlink_to(tmp_path / "outside")
    note = unjudged(out)["no_secrets"]
    assert "training_args0.bin: it is no archive of PyTorch: File is not a zip file (and 2 more files like it)" in note
    assert "dump.log: it holds NUL bytes" in note and "outside: it is a link that leads out" in note


def test_a_text_in_utf_16_is_read_and_a_secret_behind_a_nul_byte_is_found(write: Callable[..., Path]) -> None:
    out = write()
    (out / "wide.log").write_bytes("hub_token: planted-token\n".encode("utf-16"))
    (out / "late.log").write_bytes(b"x\n" * 4096 + b"\0\nhub_token: planted-token\n")
    found = by_id(audit_run(out))["no_secrets"]
    assert {v.subject for v in found.violations} == {"wide.log:1: hub_token", "late.log:4098: hub_token"}


def test_a_checkpoint_is_judged_in_full_or_the_finding_says_what_is_missing(write: Callable[..., Path]) -> None:
    out = write()
    (out / "checkpoint-10").mkdir()
    save_file({"a": np.zeros(2, np.float32)}, out / "checkpoint-10/model.safetensors")
    judged = by_id(audit_run(out))
    assert judged["weights_only"].status == judged["files_present"].status == "held"
    edit(out, RESOLVED, lambda d: d["resolved"]["training"].pop("save_only_model"))
    edit(out, METADATA, lambda d: d.pop("created_at"))
    assert "does not tell training.save_only_model" in unjudged(out)["weights_only"]
    assert "states no time" in unjudged(out)["files_present"]


def test_two_runs_that_lack_the_same_document_are_not_the_same_run(write: Callable[..., Path]) -> None:
    one, two = write("one"), write("two")
    for out in (one, two):
        (out / METADATA).unlink()
    (found,) = audit_pair(RunPair(one, two))
    assert (found.status, found.violations) == ("unbound", []) and METADATA in found.note


def test_counts_are_of_what_each_claim_is_about(write: Callable[..., Path]) -> None:
    found = by_id(audit_run(write()))
    judged = {"files_present": 4, "upstream_versions": 4, "swift_source": 1, "server_flags": 6, "no_secrets": 6}
    assert {n: found[n].checked for n in judged} == judged
    assert found["config_is_the_config"].checked == 7  # the values that leaf and base set


def test_a_source_that_is_no_yaml_is_told_without_its_text(write: Callable[..., Path]) -> None:
    out = write()
    (out / "config_source.yaml").write_text("a: [1, my secret phrase\n")
    (said,) = [v.message for v in by_id(audit_run(out))["config_is_the_config"].violations]
    assert "line 2" in said and "phrase" not in said


def test_a_parent_that_was_kept_by_its_path_from_the_repository_is_found(tmp_path: Path) -> None:
    """As the callback keeps it: the leaf names it relative to itself, and does not say where it lies."""
    parents = tmp_path / "config_parents" / "configs" / "stage2"
    (parents / "deep").mkdir(parents=True)
    (tmp_path / "config_source.yaml").write_text("extends: ../deep/mid.yaml\na: 1\n")
    (parents / "deep" / "mid.yaml").write_text("extends: ../base.yaml\nb: 2\n")
    (parents / "base.yaml").write_text("a: 0\nc: 3\n")
    assert sources.merged(tmp_path) == {"a": 1, "b": 2, "c": 3}
    (tmp_path / "config_parents" / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "config_parents" / "elsewhere" / "deep" / "mid.yaml").write_text("b: 5\n")
    with pytest.raises(sources.Incomplete, match="2 of the kept files may be"):
        sources.merged(tmp_path)
