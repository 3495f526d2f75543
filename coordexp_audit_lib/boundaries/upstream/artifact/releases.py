"""Releases of upstream packages: a wheel, an sdist, a source tree, an installed package, or `PACKAGE==VERSION`.

None of them is imported, and none is extracted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.source.archive import SDIST, WHEEL, Files, Unreadable, open_archive, open_folder
from coordexp_audit_lib.source.package import Source

# distribution: its import package
PACKAGES = {"transformers": "transformers", "ms-swift": "swift", "vllm": "vllm"}
PACKAGES |= {name: name for name in ("trl", "peft", "accelerate", "deepspeed")}
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9._!+-]*)")
_ASSIGNED = re.compile(r"^__version__\s*(?::\s*str\s*)?=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
_KNOWN = "one of " + ", ".join(PACKAGES)


def open_source(word: str, cache: Path | None = None) -> Source:
    """Open a file, a folder, `PACKAGE==VERSION` (downloaded into `cache`), or `PACKAGE`, which is installed.

    Raises:
        UsageError: there is no such thing, or it holds none of the packages that are known here.
    """
    pinned = _PINNED.fullmatch(word)
    if pinned and not Path(word).exists():
        distribution = _known(pinned[1], word)
        return _of_files(open_archive(download(distribution, pinned[2], cache)), "wheel", word)
    if _name(word) in PACKAGES and not Path(word).exists():
        return _installed(_name(word), word)
    path = Path(word).expanduser()
    if path.is_dir():
        return _tree(path, word)
    if not path.is_file():
        remedy = f"give a wheel, an sdist, a folder, PACKAGE==VERSION or the name of an installed package ({_KNOWN})"
        raise UsageError("there is no such file, folder or known package", where=word, remedy=remedy)
    if not path.name.endswith((*WHEEL, *SDIST)):
        raise UsageError("neither a wheel nor an sdist by its name", where=word, remedy="give a .whl or .tar.gz file")
    return _of_files(open_archive(path), "wheel" if path.name.endswith(WHEEL) else "sdist", word)


def _name(word: str) -> str:
    return re.sub(r"[-_.]+", "-", word).lower()


def _known(word: str, where: str) -> str:
    if _name(word) not in PACKAGES:
        raise UsageError(f"the audit has no contract with {word}", where=where, remedy=f"name {_KNOWN}")
    return _name(word)


def _tree(root: Path, word: str) -> Source:
    if (root / "__init__.py").is_file() and root.name in PACKAGES.values():
        return _of_files(open_folder(root, f"{root.name}/"), "tree", word)  # the package's own folder: it alone
    here = any((root / package / "__init__.py").is_file() for package in PACKAGES.values())
    return _of_files(open_folder(root if here or not (root / "src").is_dir() else root / "src"), "tree", word)


def _of_files(files: Files, kind: str, word: str) -> Source:
    found = [d for d, p in PACKAGES.items() if f"{p}/__init__.py" in files.names]
    if len(found) != 1:
        what = "none of the known packages is in it" if not found else f"several packages are in it: {', '.join(found)}"
        raise UsageError(what, where=word, remedy=f"give a release of {_KNOWN}")
    (distribution,) = found
    return Source(distribution, PACKAGES[distribution], _version(files, PACKAGES[distribution]), kind, files)


def _version(files: Files, package: str) -> str:
    """From the metadata, else from the package's source; `unknown` where neither says it."""
    records = [n for n in files.names if n.endswith(".dist-info/METADATA") or n in ("PKG-INFO", "METADATA")]
    try:
        for name in sorted(records):
            said = HeaderParser().parsestr(files.text(name) or "", headersonly=True)["Version"]
            if said:
                return str(said).strip()
        if stated := (files.text(f"{package}/VERSION") or "").strip():
            return stated[:64]
        for name in (f"{package}/version.py", f"{package}/_version.py", f"{package}/__init__.py"):
            assigned = _ASSIGNED.search(files.text(name) or "")
            if assigned:
                return assigned[1]
    except Unreadable:
        pass  # the version is not decidable; the surfaces may still be
    return "unknown"


def requirements(source: Source) -> list[str] | None:
    """The `Requires-Dist` of a release; None where its metadata is not at hand, as in a source tree."""
    if source.kind == "installed":
        return metadata.requires(source.distribution) or []
    files = source.files
    records = [n for n in files.names if n.endswith(".dist-info/METADATA") or n in ("PKG-INFO", "METADATA")]
    try:
        texts = [files.text(name) or "" for name in sorted(records)]
    except Unreadable:
        return None
    read = [HeaderParser().parsestr(text, headersonly=True).get_all("Requires-Dist", []) for text in texts]
    return [str(line) for lines in read for line in lines] if read else None


def _installed(distribution: str, word: str) -> Source:
    """The package as its own metadata lists it: finding it imports nothing."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError as error:
        raise UsageError("not installed here", where=word, remedy=f"name a file, or {word}==VERSION") from error
    package = PACKAGES[distribution]
    folder = Path(str(found.locate_file(package)))
    if not (folder / "__init__.py").is_file():
        raise UsageError("installed without its sources", where=word, remedy="name its source tree")
    made = _tree(folder, word)
    return Source(distribution, package, found.version, "installed", made.files)


def download(distribution: str, version: str, cache: Path | None = None) -> Path:
    """The wheel from the index that pip is set up for, kept in `cache`. An sdist would have to be run to be fetched.

    Raises:
        UsageError: pip found or fetched none.
    """
    folder = (cache or default_cache()) / f"{distribution}-{version}"
    if not (files := _archives(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"),
            *("--only-binary", ":all:", "--dest", str(folder), f"{distribution}=={version}"),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        files = _archives(folder)
        if ran.returncode or not files:
            said = "pip could not fetch it: " + (ran.stderr.strip().splitlines() or ["pip downloaded nothing"])[-1]
            raise UsageError(said, where=f"{distribution}=={version}", remedy="name a file")
    return files[0]


def _archives(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.glob("*")) if p.name.endswith((*WHEEL, *SDIST))]


def default_cache() -> Path:
    """The user's cache folder for downloads."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "coordexp-audit" / "upstream"
