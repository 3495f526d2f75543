"""What the project's own writer leaves at the reference commit, each violation confirmed by reading its code.

`_build_static_packing_fingerprint` reads neither the checkpoint nor the template's name nor its `max_pixels`;
`_safe_module_info` catches ImportError only; `_collect_dependency_provenance` has no word for an ms-swift that is no
checkout, and takes any repository above it for its own; `write_run_manifest_files` and the launcher's metadata write
values as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance import surfaces as s
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from tests.conftest import only_at_reference

boundaries.load(["provenance"])
pytestmark = pytest.mark.checkout
CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"


@pytest.fixture(scope="module")
def findings(checkout: Target) -> dict[str, Finding]:
    return {c.id.removeprefix("provenance."): judge(checkout, c, CONFIG) for c in claims("provenance")}


HELD = ("server_flags", "config_is_the_config", "weights_only", "rerun_drift")
VERDICTS = dict.fromkeys(HELD, "held") | dict.fromkeys(
    ("upstream_versions", "swift_source", "no_secrets", "cache_key", "files_present"), "violated"
)


@pytest.mark.parametrize(("name", "status"), VERDICTS.items())
def test_verdicts_at_the_reference_commit(findings: dict[str, Finding], name: str, status: str) -> None:
    assert (findings[name].status, findings[name].note) == (status, "")


def test_the_violations_are_those_that_the_code_shows(checkout: Target, findings: dict[str, Finding]) -> None:
    only_at_reference(checkout)
    subjects = {n: sorted({v.subject for v in f.violations}) for n, f in findings.items() if f.violations}
    assert subjects["upstream_versions"] == ["vllm raises OSError, as for a missing CUDA library"]
    assert subjects["swift_source"] == [
        "ms-swift is a wheel in a virtual environment inside another repository: upstream.ms_swift",
        "ms-swift is a wheel: upstream.ms_swift",
    ]
    assert subjects["cache_key"] == [
        f"packing plan: {what}" for what in ("budget of pixels", "chat template", "tokenizer")
    ]
    assert findings["no_secrets"].violation_count == 7
    assert not any("environment" in name or "remote" in name for name in subjects["no_secrets"])
    places = {(n, v.where.path, v.where.symbol.partition(":")[2]) for n, f in findings.items() for v in f.violations}
    assert places == {
        ("cache_key", "src/sft.py", "_build_static_packing_fingerprint"),
        ("files_present", "src/utils/run_manifest.py", "write_run_manifest_files"),
        ("no_secrets", "src/utils/run_manifest.py", "write_run_manifest_files"),
        ("swift_source", "src/sft.py", "_collect_dependency_provenance"),
        ("upstream_versions", "src/sft.py", "_safe_module_info"),
    }


def test_answers_name_no_machine(checkout: Target) -> None:
    request = cases.baseline(checkout.config_path(CONFIG))
    answers: list[Any] = [
        checkout.ask(s.WRITE, request).value,
        checkout.ask(s.UPSTREAM, s.Upstream({**cases.SOUND})).value,
        checkout.ask(s.LAUNCH, s.Flags(cases.FLAGS)).value,
        checkout.ask(s.SAVE, s.SaveRequest()).value,
    ]
    text = repr(answers)
    for place in ("/tmp", "/home/", os.environ["COORDEXP_REPO"], str(Path(os.environ["COORDEXP_PYTHON"]).parent)):
        assert place not in text
    assert checkout.ask(s.WRITE, request).value == answers[0]
