"""Wheels, sdists, trees and installed packages; and what is none of them, in one line each."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import msgspec
import pytest

from coordexp_audit_lib.boundaries.upstream.artifact import matrix as m
from coordexp_audit_lib.boundaries.upstream.artifact import tables
from coordexp_audit_lib.boundaries.upstream.artifact.matrix import contracts, packaged
from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import chosen
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.source import archive
from coordexp_audit_lib.source.facts import Ask
from coordexp_audit_lib.source.observed import see
from coordexp_audit_lib.source.package import Package

PINNED = pipeline().contract()["upstream.pinned"]
FILES = {"swift/__init__.py": "", "swift/version.py": "__version__ = '3.4.5'\n", "swift/m.py": "class X: pass\n"}


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            made.addfile(info, io.BytesIO(text.encode()))
    return path


def planted(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_every_kind_of_source_says_the_same(tmp_path: Path) -> None:
    inner = {f"ms-swift-3.4.5/{n}": t for n, t in FILES.items()}
    src = {f"ms-swift-3.4.5/src/{n}": t for n, t in FILES.items()}
    made = [
        (zipped(tmp_path / "a.whl", dict(FILES)), "wheel"),
        (tarred(tmp_path / "a.tar.gz", inner), "sdist"),
        (tarred(tmp_path / "b.tar.gz", src), "sdist"),
        (planted(tmp_path / "tree", FILES), "tree"),
        (planted(tmp_path / "srctree", {f"src/{n}": t for n, t in FILES.items()}), "tree"),
        (planted(tmp_path / "folder", FILES) / "swift", "tree"),
    ]
    for path, kind in made:
        source = open_source(str(path))
        assert (source.kind, source.distribution, source.version) == (kind, "ms-swift", "3.4.5"), path
        assert see(Package(source), Ask("swift.m:X")).home == "swift.m:X", path


def test_an_installed_package_is_found_without_importing_it() -> None:
    code = (
        "import sys; from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source\n"
        "s = open_source('transformers')\n"
        "print(s.kind, s.version, 'transformers' in sys.modules, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kind, version, *imported = ran.stdout.split()
    assert (kind, imported) == ("installed", ["False", "False"])
    assert version == PINNED["transformers"]


BAD = [
    ("no zip", "x.whl", b"not a zip at all", "no readable archive"),
    ("empty file", "x.whl", b"", "no readable archive"),
    ("no gzip", "x.tar.gz", b"\x1f\x8bnonsense", "no readable archive"),
    ("another file", "x.txt", b"words", "neither a wheel nor an sdist"),
    ("no such file", "nothing.whl", None, "no such file"),
]


@pytest.mark.parametrize(("name", "data", "what"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_what_is_no_release_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes | None, what: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UsageError, match=what) as refused:
        open_source(str(path))
    assert "\n" not in str(refused.value)
    assert "Remedy:" in str(refused.value)


@pytest.mark.parametrize(
    "name", ["../evil.py", "swift/../../evil.py", "/etc/evil.py", "C:\\evil.py", "swift\\..\\evil.py"]
)
def test_names_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    wheels = zipped(tmp_path / "a.whl", {**FILES, name: "x = 1"})
    sdists = tarred(tmp_path / "a.tar.gz", {f"top/{n}": t for n, t in FILES.items()} | {name: "x = 1"})
    for path in (wheels, sdists):
        with pytest.raises(UsageError, match="points outside"):
            open_source(str(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "a.whl"]


def test_a_cut_wheel_and_a_cut_sdist_are_refused(tmp_path: Path) -> None:
    big = {**FILES, "swift/big.py": "x = 1\n" * 5000}
    for path in (zipped(tmp_path / "a.whl", dict(big)), tarred(tmp_path / "a.tar.gz", big)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(UsageError, match="no readable archive"):
            open_source(str(path))


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"readme.txt": "x"}, "no Python file"),
        ({"numpy/__init__.py": ""}, "none of the known packages"),
        ({**FILES, "vllm/__init__.py": ""}, "several packages"),
    ],
)
def test_the_wrong_package_is_refused(tmp_path: Path, files: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        open_source(str(zipped(tmp_path / "a.whl", dict(files))))


def test_an_unknown_package_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no contract with numpy"):
        open_source("numpy==1.0", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_member_that_unpacks_to_too_much_is_not_decidable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBER", 1000)
    path = zipped(tmp_path / "a.whl", {**FILES, "swift/m.py": b"#" * 100_000})
    found = see(Package(open_source(str(path))), Ask("swift.m:X"))
    assert found.status == "undecided"
    assert "larger than 1000 bytes" in found.why


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"class X(:\n", b"(" * 5000, b"x = " + b"-" * 20000 + b"1"])
def test_a_module_that_does_not_parse_costs_its_surfaces_only(tmp_path: Path, data: bytes) -> None:
    path = zipped(tmp_path / "a.whl", {**FILES, "swift/bad.py": data})
    package = Package(open_source(str(path)))
    assert see(package, Ask("swift.bad:X")).status == "undecided"
    assert see(package, Ask("swift.m:X")).status == "found"


def test_a_damaged_member_is_not_decidable(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.whl", dict(FILES))
    data = bytearray(path.read_bytes())
    at = data.index(b"swift/m.py") + len("swift/m.py")
    data[at : at + 6] = b"\xff" * 6
    path.write_bytes(bytes(data))
    assert see(Package(open_source(str(path))), Ask("swift.m:X")).status == "undecided"


def test_links_out_of_a_tree_are_not_followed(tmp_path: Path) -> None:
    outside = planted(tmp_path / "outside", {"secret.py": "class Secret: pass\n"})
    tree = planted(tmp_path / "tree", FILES)
    (tree / "swift" / "secret.py").symlink_to(outside / "secret.py")
    (tree / "swift" / "folder").symlink_to(outside)
    names = open_source(str(tree)).files.names
    assert not [n for n in names if "secret" in n]


def test_pip_fetches_into_the_cache_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself is put aside: what it is asked for, and that a kept file is not asked for again."""
    asked = []

    def fetch(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        zipped(Path(words[words.index("--dest") + 1]) / "ms_swift-3.4.5-py3-none-any.whl", dict(FILES))
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fetch)
    for _ in range(2):
        assert open_source("ms-swift==3.4.5", tmp_path).version == "3.4.5"
    assert len(asked) == 1
    assert asked[0][-1] == "ms-swift==3.4.5"
    assert {"--no-deps", "--only-binary"} <= set(asked[0])


def test_a_failed_fetch_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(UsageError, match="No matching distribution found"):
        open_source("vllm==0.0.1", tmp_path)


# ---- the matrix ------------------------------------------------------------------------------------------------


def audited(words: list[str]) -> tuple[m.Matrix, list[Finding]]:
    made = m.read_matrix(words)
    return made, m.audit(made)


def test_the_shipped_matrix_covers_the_releases_that_were_asked_for() -> None:
    made, found = audited([])
    assert set(made.versions) == {"transformers", "ms-swift", "vllm", "trl", "peft", "accelerate", "deepspeed"}
    assert [v for v in made.versions["transformers"] if v.startswith("5.")]
    assert {"4.55.4", "4.57.6"} <= set(made.versions["transformers"])
    assert {"3.8", "3.9", "3.10", "3.11", "3.12", "4.0"} <= {v.rpartition(".")[0] for v in made.versions["ms-swift"]}
    assert len(made.versions["vllm"]) == 2
    assert len(made.verdicts) == sum(len(chosen(m.of_releases(), d)) * len(v) for d, v in made.versions.items())
    assert {f.config for f in found} == {f"{d}=={v}" for d, vs in made.versions.items() for v in vs}


def test_the_pinned_releases_keep_every_contract() -> None:
    made, found = audited([])
    pinned = [v for v in made.verdicts if v.version == PINNED.get(v.distribution)]
    assert len(pinned) == sum(len(chosen(m.of_releases(), d)) for d in PINNED)
    assert {v.word for v in pinned} == {"kept"}
    assert {f.status for f in found if f.config in {f"{d}=={v}" for d, v in PINNED.items()}} == {"held"}


@pytest.mark.parametrize(
    ("contract", "version", "word"),
    [
        ("swift.request_config", "4.6.0", "moved"),
        ("swift.trainer", "4.6.0", "changed"),
        ("swift.client_methods", "3.9.3", "changed"),
        ("swift.train_arguments", "4.6.0", "undecidable"),
        ("transformers.four_rows", "4.56.2", "gone"),
        ("transformers.get_rope_index", "5.24.0", "changed"),
        ("transformers.get_rope_index", "5.0.0", "kept"),
        ("vllm.weight_sync", "0.33.0", "moved"),
    ],
)
def test_what_was_looked_up_by_hand(contract: str, version: str, word: str) -> None:
    (found,) = [v for v in packaged().verdicts if (v.contract, v.version) == (contract, version)]
    assert found.word == word
    assert word == "kept" or all(p.what for p in found.problems)


def test_one_release_takes_seconds_and_has_the_shipped_verdicts() -> None:
    started = time.process_time()
    made, found = audited(["transformers"])
    assert time.process_time() - started < 20
    shipped = [
        v for v in packaged().verdicts if (v.distribution, v.version) == ("transformers", PINNED["transformers"])
    ]
    pinned = {c.id for c in contracts()}
    assert [v for v in made.verdicts if v.contract in pinned] == shipped
    assert made.versions == {"transformers": [PINNED["transformers"]]}
    assert {f.status for f in found} == {"held"}


def test_the_shipped_facts_can_be_made_anew(tmp_path: Path) -> None:
    release = open_source(str(zipped(tmp_path / "a.whl", {**FILES, "swift/version.py": "__version__ = '3.10.3'"})))
    m.write_packaged([release], tmp_path / "made.json")
    made = msgspec.json.decode((tmp_path / "made.json").read_bytes(), type=m.Packaged)
    assert [*made.verdicts, *made.releases] == m.verdicts(release, m.of_releases())
    assert made.seen == {"ms-swift": m.observe(release)}


def test_findings_tell_what_broke(tmp_path: Path) -> None:
    made, found = audited([str(zipped(tmp_path / "a.whl", dict(FILES)))])
    by_id = {f.invariant: f for f in found}
    assert {f.config for f in found} == {"ms-swift==3.4.5"}
    assert by_id["upstream.client_surface"].status == "violated"
    assert any("VLLMClient" in subject for k in by_id["upstream.client_surface"].kinds for subject in k.subjects)
    ((header, rows),) = tables.rows(made).values()
    assert header == ("ms-swift", "3.4.5")
    assert {r[1] for r in rows} == {"gone"}
    assert len(rows) == len(chosen(m.of_releases(), "ms-swift"))
