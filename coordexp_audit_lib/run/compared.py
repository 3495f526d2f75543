"""Beside the audit of a recording that comes along: the audits of the others, for the book to say what changed."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.report.book import COMPARED
from coordexp_audit_lib.report.document import document, dumps
from coordexp_audit_lib.targets.recording import Recording, RecordingTarget, packaged, read_recording


def compare_recordings(
    word: str, out: Path, names: list[str] | None = None, seed: int = 0, claims: Container[str] | None = None
) -> list[Path]:
    """Judge every other packaged recording of the target's pipeline, each on the configs that it was made for.

    Their documents are written to `out/compared`; nothing where the target is no packaged recording. claims: ids of
    those that are judged, all by default.
    """
    written = []
    own = _pipeline_of(read_recording(packaged()[word])) if word in packaged() else ""
    for name in packaged() if word in packaged() else ():
        if name == word:
            continue
        recording = read_recording(packaged()[name])
        if _pipeline_of(recording) != own:
            continue
        with RecordingTarget(recording, name) as other:
            configs = list(dict.fromkeys(v for v in recording.configs.values() if v in recording.configs))
            chosen = [c for b in boundaries.load(names) for c in applicable(other.pipeline(), b.name)]
            chosen = [c for c in chosen if claims is None or c.id in claims]
            found = audit(other, chosen, configs, seed)
            info = msgspec.structs.replace(other.info(), repository=other.pipeline().repository)
            made = document(info, other.bindings(), configs, found)
        written.append(write_atomically(out / COMPARED / f"{name}.json", dumps(made)))
    return written


def _pipeline_of(recording: Recording) -> str:
    return recording.declared.name if recording.declared else ""
