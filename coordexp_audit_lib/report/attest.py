"""An in-toto statement of a run and its book: every file with its digest, and where they come from.

https://github.com/in-toto/attestation: a `Statement` with SLSA's provenance as predicate. With a key it lies in a DSSE
envelope, signed by securesystemslib, the library that in-toto's own tools sign with.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.folder import MARKER, write_atomically
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.report.sources import fingerprint

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD, BUILDER = "urn:coordexp-audit:run", "urn:coordexp-audit"
NAME = "attestation.intoto.json"  # in the book's folder
MOST = 256 << 20  # bytes of a statement that are read
# Not of the audit itself: what a run needs to go on, our own marks, and what the book is made of.
LEFT_OUT = (MARKER, ".gitignore", "run.json")


class Verified(NamedTuple):
    """What of a statement holds. signed: the id of the key that signed it, once that was checked; `""` if nobody did;
    None if it is signed and no key was given. Names are relative to the run's folder."""

    files: int
    changed: list[str]
    missing: list[str]
    unlisted: list[str]
    signed: str | None
    origin: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether each file is there as it was attested."""
        return not (self.changed or self.missing)


def attest(run: Path, made: Mapping[str, Any], when: str, key: Path | None = None) -> Path:
    """Write the statement of a run into its book's folder, where `when` is the time that it bears (ISO 8601).

    Args:
        made: the run's document. key: a private key (PEM: Ed25519, ECDSA or RSA), or None for an unsigned statement.

    Raises:
        UsageError: the key can't be used.
    """
    subject = [{"name": name, "digest": {"sha256": _digest(run / name)}} for name in listed(run)]
    statement = {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": _origin(made, when)}
    text = json.dumps(statement, sort_keys=True, indent=1) + "\n"
    if key is not None:
        text = json.dumps(_signed(text.encode(), key), sort_keys=True, indent=1) + "\n"
    path = run / "book" / NAME
    write_atomically(path, text)
    return path


def listed(run: Path) -> Iterator[str]:
    """The files of a run that are attested, in order: documents, findings, notebooks, and the book as it is read."""
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run)
        made_of = name.parts[:2] == ("book", "source") or any(p.startswith(".doctrees") for p in name.parts)
        if path.is_file() and not path.is_symlink() and not made_of and path.name not in (*LEFT_OUT, NAME):
            yield name.as_posix()


def _origin(made: Mapping[str, Any], when: str) -> dict[str, Any]:
    """SLSA's provenance: what was audited, by which configs, with what."""
    target = made["target"]
    audited: dict[str, Any] = {"name": target["name"]}
    if target.get("commit"):
        audited["digest"] = {"gitCommit": target["commit"]}
    if target.get("repository"):
        audited["uri"] = f"git+https://github.com/{target['repository']}"
    tool = {"name": "coordexp-audit", "digest": {"coordexpAuditModules": fingerprint()}}
    packages = [{"name": n, "annotations": {"version": v}} for n, v in sorted(made["tool"]["packages"].items())]
    return {
        "buildDefinition": {
            "buildType": BUILD,
            "externalParameters": {"target": target["name"], "kind": target["kind"], "configs": made["configs"]},
            "internalParameters": {"schema": made["schema"], "python": made["tool"]["python"]},
            "resolvedDependencies": [audited, tool, *packages],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"coordexp-audit": made["tool"]["version"]}},
            "metadata": {"finishedOn": when},
        },
    }


def verify(run: Path, key: Path | None = None) -> Verified:
    """Compare a run's files with its statement, and the statement with its signature where a public key is given.

    Raises:
        UsageError: there is no statement, it is none, it is not signed by that key, or it names a file elsewhere.
    """
    path = run / "book" / NAME if run.is_dir() else run
    root = path.parent.parent
    remedy = "give the folder of a run whose book was built by `coordexp-audit book`"
    try:
        found = json.loads(content(path, MOST))
        signed: str | None = ""
        if "payload" in found:
            signed = _checked(found, key, path)
            found = json.loads(base64.b64decode(found["payload"], validate=True))
        elif key is not None:
            raise UsageError("nobody signed it", where=str(path), remedy="leave out --key, or ask for a signed one")
        if found["_type"] != STATEMENT or found["predicateType"] != PREDICATE:
            raise ValueError("it is of another type")
        subject = {str(s["name"]): str(s["digest"]["sha256"]) for s in found["subject"]}
        origin = dict(found["predicate"])
    except FileNotFoundError as error:
        raise UsageError("there is no such statement", where=str(path), remedy=remedy) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"not a statement: {error}", where=str(path), remedy=remedy) from error
    for name in subject:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UsageError(f"it names a file outside its folder: {name}", where=str(path), remedy="do not trust it")
    there = {name for name in subject if (root / name).is_file() and not (root / name).is_symlink()}
    changed = sorted(name for name in there if _digest(root / name) != subject[name])
    missing = sorted(subject.keys() - there)
    return Verified(len(subject), changed, missing, sorted(set(listed(root)) - subject.keys()), signed, origin)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signed(payload: bytes, key: Path) -> dict[str, Any]:
    """The payload in a DSSE envelope that the key signed."""
    signing = _library(key)
    try:
        private = signing.pem.load_pem_private_key(content(key, 1 << 20), None)
        envelope = signing.Envelope(payload, PAYLOAD, {})
        envelope.sign(signing.CryptoSigner(private))
    except (OSError, ValueError, TypeError, signing.error) as error:
        remedy = "give a private key in PEM without a password, as `openssl genpkey -algorithm ed25519` writes it"
        raise UsageError(f"it can't sign: {error}", where=str(key), remedy=remedy) from error
    return dict(envelope.to_dict())


def _checked(envelope: Mapping[str, Any], key: Path | None, path: Path) -> str | None:
    """The id of the key that signed an envelope, None where no key is given."""
    if key is None:
        return None
    signing = _library(key)
    try:
        public = signing.SSlibKey.from_crypto(signing.pem.load_pem_public_key(content(key, 1 << 20)))
        made = signing.Envelope.from_dict(dict(envelope))
        if made.payload_type != PAYLOAD:
            raise ValueError(f"its payload is {made.payload_type}")
        return ", ".join(made.verify([public], 1))
    except (OSError, ValueError, TypeError, KeyError, signing.error) as error:
        remedy = "do not trust it, or give the public key of who signed it"
        raise UsageError(f"it is not signed by {key}: {error}", where=str(path), remedy=remedy) from error


class _Signing(NamedTuple):
    """What signing needs of two libraries that only signing needs."""

    pem: Any
    Envelope: Any
    CryptoSigner: Any
    SSlibKey: Any
    error: type[Exception]


def _library(key: Path) -> _Signing:
    try:
        from cryptography.hazmat.primitives import serialization
        from securesystemslib import signer
        from securesystemslib.dsse import Envelope
        from securesystemslib.exceptions import Error
    except ImportError as error:
        raise UsageError(
            f"keys need {error.name}", where=str(key), remedy="pip install 'coordexp-audit[sign]'"
        ) from error
    made: Any = signer
    return _Signing(serialization, Envelope, made.CryptoSigner, made.SSlibKey, Error)
