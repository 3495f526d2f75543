"""environment.yml, pyproject.toml and constraints.txt say the same, and the core install stays small."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE: list[str] = PROJECT["dependencies"]
TEST: list[str] = PROJECT["optional-dependencies"]["test"]
FORBIDDEN = re.compile(r"^(ms-swift|vllm.*|flash-attn|deepspeed|nvidia.*|cuda.*|triton|cupy.*|jax.*)$")


def pins() -> dict[str, str]:
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), pairs
    return {canonicalize_name(name): version for name, version in pairs}


def closure(requirements: list[str]) -> set[str]:
    """The names of what the requirements bring along, as installed here. torch's own differ with its build."""
    found: set[str] = set()
    todo = [Requirement(r) for r in requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        wanted = [
            e for e in ("", *requirement.extras) if not requirement.marker or requirement.marker.evaluate({"extra": e})
        ]
        if name in found or not wanted:
            continue
        found.add(name)
        if name != "torch":
            todo += [
                r
                for r in map(Requirement, metadata.requires(name) or [])
                if any(not r.marker or r.marker.evaluate({"extra": e}) for e in ("", *requirement.extras))
            ]
    return found


def test_environment_yml_is_pyproject_with_the_test_extra() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "ms"
    assert "python=3.11" in environment["dependencies"]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert sorted(p for p in pip if not p.startswith("-")) == sorted(CORE + TEST)
    assert "-c constraints.txt" in pip


def test_every_dependency_is_pinned_with_what_it_brings() -> None:
    pinned = pins()
    missing = sorted(name for name in closure(CORE + TEST) if name not in pinned)
    assert missing == []
    for requirement in map(Requirement, CORE + TEST):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement
    assert not [p for p in pinned.values() if "+" in p]


def test_the_core_install_has_no_training_framework_and_no_cuda() -> None:
    core = closure(CORE)
    assert len(core) > 50
    assert not [name for name in core if FORBIDDEN.match(name)]
    assert not [name for name in pins() if FORBIDDEN.match(name)]


def test_the_library_needs_none_of_the_test_extra() -> None:
    core = closure(CORE)
    only_test = {canonicalize_name(Requirement(r).name) for r in TEST} - core
    assert {"pytest", "nbval", "hypothesis"} <= only_test
