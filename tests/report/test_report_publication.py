"""A book as it is published: the same bytes each time, one file to mail, and a statement that tells of changes."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report import attest, single, tex

EPOCH = "1771545600"
WORDS = ("mark01 plain", "mark02 <b>plain</b>")


class Keys:
    """A fresh pair of keys as files."""

    def __init__(self, folder: Path, name: str) -> None:
        pair = ed25519.Ed25519PrivateKey.generate()
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        self.private, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        self.private.write_bytes(pair.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public.write_bytes(pair.public_key().public_bytes(pem, public))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, Keys]:
    folder = tmp_path_factory.mktemp("keys")
    return Keys(folder, "ours"), Keys(folder, "theirs")


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
    statuses: Callable[..., list[Finding]],
    make_run: Callable[[Path, Sequence[str], Sequence[Finding]], Path],
    keys: tuple[Keys, Keys],
) -> list[Path]:
    """Two runs that found the same, their books built one after the other, the second's statement signed."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        for name, options in (("first", []), ("second", ["--sign-key", str(keys[0].private)])):
            run = make_run(tmp_path_factory.mktemp(name), WORDS, statuses(WORDS))
            assert main(["book", str(run), "--single-file", *options]) == 0
            made.append(run)
    return made


def published(run: Path) -> dict[str, bytes]:
    kinds = (".html", ".css", ".js", ".tex", ".sty", ".pdf", ".svg", ".png", ".inv")
    return {n: (run / n).read_bytes() for n in attest.listed(run) if n.startswith("book/") and n.endswith(kinds)}


def test_two_builds_give_the_same_bytes(runs: list[Path]) -> None:
    first, second = map(published, runs)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    kinds = {Path(name).suffix for name in first}
    assert {".html", ".tex", ".svg"} <= kinds and (".pdf" in kinds or tex.missing())


def test_one_file_holds_every_page_and_asks_for_nothing(runs: list[Path]) -> None:
    text = (runs[0] / "book" / single.NAME).read_text()
    assert "mark01 plain" in text and "<script" not in text and "<b>plain" not in text

    class Links(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.ids: list[str] = []
            self.links: list[str] = []
            self.sources: list[str] = []
            self.feed(text)

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            told = {k: v or "" for k, v in attrs}
            self.ids += [told["id"]] if "id" in told else []
            self.links += [told["href"]] if "href" in told else []
            self.sources += [told[k] for k in ("src", "data") if k in told and tag not in ("td",)]

    seen = Links()
    assert [one for one, times in Counter(seen.ids).items() if times > 1] == []
    inside = [link for link in seen.links if not re.match(r"https?:|mailto:", link)]
    assert inside and [link for link in inside if link != "#" and link.removeprefix("#") not in seen.ids] == []
    assert all(s.startswith("data:") for s in seen.sources)
    assert not re.search(r"url\((?!data:|none)", text)
    assert sum(i.startswith("page-") for i in seen.ids) >= 8


def test_a_statement_lists_every_file_with_its_origin_and_tells_what_changed(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    made = json.loads((run / "book" / attest.NAME).read_text())
    names = {s["name"] for s in made["subject"]}
    assert {"audit.json", "audit.sarif", "book/html/index.html", "book/latex/audit.tex", "book/audit.html"} <= names
    commit = made["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"]
    assert made["predicateType"] == attest.PREDICATE and commit == "b46e74f"
    assert made["predicate"]["runDetails"]["metadata"]["finishedOn"] == "2026-02-20T00:00:00+00:00"
    assert main(["verify", str(run)]) == 0
    assert "as attested; not signed" in capsys.readouterr().out
    (run / "book/html/index.html").write_text("other")
    (run / "audit.sarif").unlink()
    (run / "book/html/new.html").write_text("new")
    assert main(["verify", str(run)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        "changed: book/html/index.html",
        "missing: audit.sarif",
        "not in the statement: book/html/new.html",
    ]
    assert "NOT as attested" in told[3]


def test_a_signature_is_checked_against_the_key_and_never_taken_on_trust(
    runs: list[Path], keys: tuple[Keys, Keys], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = keys
    run = shutil.copytree(runs[1], tmp_path / "run")
    assert main(["verify", str(run), "--key", str(ours.public)]) == 0
    assert "signed by the key " in capsys.readouterr().out
    assert main(["verify", str(run)]) == 0
    assert "was not checked" in capsys.readouterr().out
    assert main(["verify", str(run), "--key", str(theirs.public)]) == 2
    assert "is not signed by" in capsys.readouterr().err
    path = run / "book" / attest.NAME
    forged = json.loads(path.read_text())
    forged["payload"] = forged["payload"][::-1]
    path.write_text(json.dumps(forged))
    assert main(["verify", str(run), "--key", str(ours.public)]) == 2
    assert main(["verify", str(runs[0]), "--key", str(ours.public)]) == 2
    assert "nobody signed it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../../other", "/etc/passwd"])
def test_a_statement_of_files_elsewhere_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "book").mkdir()
    subject: list[Any] = [{"name": name, "digest": {"sha256": "0"}}]
    made = {"_type": attest.STATEMENT, "predicateType": attest.PREDICATE, "predicate": {}, "subject": subject}
    (tmp_path / "book" / attest.NAME).write_text(json.dumps(made))
    assert main(["verify", str(tmp_path)]) == 2
    assert "outside its folder" in capsys.readouterr().err


def test_what_has_no_effect_or_can_not_sign_is_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["book", str(runs[0]), "--format", "pdf", "--single-file"]) == 2
    assert "no effect without the format html" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 2
    assert "there is no such statement" in capsys.readouterr().err
