"""Releases made up for a test."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coordexp_audit_lib import boundaries

boundaries.load(["upstream"])

Wheel = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def wheel(tmp_path: Path) -> Wheel:
    """A wheel of ms-swift with these files; missing `__init__.py` are added."""

    def make(files: Mapping[str, str]) -> Path:
        path = tmp_path / "ms_swift-1.2.3-py3-none-any.whl"
        inside = {"swift/__init__.py": "", "ms_swift-1.2.3.dist-info/METADATA": "Name: ms-swift\nVersion: 1.2.3\n\n"}
        for name in files:
            parts = name.split("/")[:-1]
            inside.update({"/".join(parts[: i + 1]) + "/__init__.py": "" for i in range(len(parts))})
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in {**inside, **files}.items():
                archive.writestr(name, text)
        return path

    return make
