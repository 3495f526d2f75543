"""Only what pyproject.toml cannot say: the notebooks and the book's prose go into the wheel beside the package.

In a clone they are read where they lie (`coordexp_audit_lib.report.sources`), so there is one copy of each.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithBook(build_py):
    """Copy `notebooks/`, `book/` and `_config.yml` to where an installed package looks for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "coordexp_audit_lib"
        hidden = shutil.ignore_patterns("_build", "__pycache__", ".ipynb_checkpoints")
        for name in ("notebooks", "book"):
            shutil.copytree(name, package / f"_{name}", ignore=hidden, dirs_exist_ok=True)
        shutil.copyfile("_config.yml", package / "_book" / "_config.yml")


setup(cmdclass={"build_py": WithBook})
