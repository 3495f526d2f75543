"""The pytest plugin: each claim a test item, with the verdict's outcome and reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coordexp_audit_lib import pytest_plugin
from coordexp_audit_lib.core.claim import claims

pytest_plugins = ["pytester"]
ARGUMENTS = "--coordexp-audit-args=--boundary packing"


def ran(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    registered = any(p is pytest_plugin for p in pytester._request.config.pluginmanager.get_plugins())
    plugins = [] if registered else [pytest_plugin]
    return pytester.inline_run(*options, "-p", "no:cacheprovider", plugins=plugins)  # type: ignore[return-value]


def test_each_claim_is_an_item_that_passes_fails_or_says_why_it_is_skipped(pytester: pytest.Pytester) -> None:
    made = ran(pytester, "--coordexp-audit=coordexp-b46e74f", ARGUMENTS)
    reports = {r.nodeid.rpartition("::")[2]: r for r in made.getreports("pytest_runtest_logreport") if r.when == "call"}  # type: ignore[attr-defined]
    assert set(reports) == {c.id for c in claims("packing")}
    assert reports["packing.cu_seqlens"].passed
    failed = reports["packing.each_once"]
    assert failed.failed and "Remedy: " in str(failed.longrepr) and "src/datasets" in str(failed.longrepr)
    assert "Traceback" not in str(failed.longrepr)
    latent = reports["packing.stable_order"]
    assert latent.skipped and "latent" in str(latent.longrepr)
    assert made.ret == 1  # type: ignore[attr-defined]


def test_items_stand_beside_a_projects_own_tests_and_are_listed_without_an_audit(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    options = ["--coordexp-audit=reference", ARGUMENTS, "--coordexp-audit-args=--boundary coordjson", "--collect-only"]
    made = ran(pytester, *options, "-q")
    (finished,) = made.getcalls("pytest_collection_finish")  # type: ignore[attr-defined]
    names = [i.name for i in finished.session.items]
    assert names[0] == "test_own" and len(names) == 1 + len(claims("coordjson"))


@pytest.mark.parametrize("words", ["--boundry packing", "--boundary pakcing", "--python x", "--select 'a"])
def test_options_that_do_not_fit_end_the_run_with_one_line(words: str, pytester: pytest.Pytester) -> None:
    made = ran(pytester, "--coordexp-audit=reference", f"--coordexp-audit-args={words}")
    assert made.ret == pytest.ExitCode.USAGE_ERROR


def test_the_plugin_costs_a_run_without_it_nothing() -> None:
    heavy = {"msgspec", "numpy", "torch", "yaml"}
    script = f"import sys, coordexp_audit_lib.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"
    root = Path(pytest_plugin.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
