"""Each violation of the audit at a CoordExp tree, shown once more by a script of its own.

    PYTHON tools/confirm TREE [BOUNDARY[.CLAIM]… | --of AUDIT_JSON]

PYTHON is the audited project's own interpreter. Nothing of the audit's library is imported: a demonstration asks the
tree's code, or reads its source, in as few lines as it takes. It works on a copy of the tree in a scratch folder.
Prints one line for each claim and exits 1 if one is not confirmed. With --of: what that audit says is violated, and
whether there is a demonstration of it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import logging
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # for what the demonstrations share, `parts`

from parts import NotHere  # noqa: E402

Shown = tuple[bool, str]
COPIED = ("src", "configs", "scripts", "public_data")


def boundaries() -> dict[str, Path]:
    return {p.stem: p for p in sorted(HERE.glob("*.py")) if p.stem not in ("__main__", "parts")}


def named(path: Path) -> list[str]:
    functions = (n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef))
    return [f"{path.stem}.{f.name}" for f in functions if not f.name.startswith("_")]


def demonstrations(path: Path) -> Iterator[tuple[str, Callable[[Path], Shown]]]:
    """The public functions of a boundary's file, in its order; each is named after its claim."""
    spec = importlib.util.spec_from_file_location(f"confirm_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in vars(module).items():
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_"):
            yield f"{path.stem}.{name}", value


def shown(function: Callable[[Path], Shown], tree: Path) -> tuple[str, str]:
    """The verdict on one claim, and what was seen; what the tree prints meanwhile is dropped."""
    sink = io.StringIO()
    try:
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            confirmed, seen = function(tree)
    except NotHere as error:
        return "NOT HERE", str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "NOT CONFIRMED", f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"
    finally:
        os.chdir(tree)
    return ("CONFIRMED" if confirmed else "NOT CONFIRMED"), seen


def main() -> int:
    if len(sys.argv) < 2 or not Path(sys.argv[1], "src").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    logging.disable(logging.CRITICAL)
    os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", PYTHONHASHSEED="0")
    wanted, failed = sys.argv[2:], 0
    if wanted[:1] == ["--of"]:
        found = json.loads(Path(wanted[1]).read_text(encoding="utf-8"))["findings"]
        wanted = sorted({f["invariant"] for f in found if f["status"] == "violated"})
        lacking = set(wanted) - {claim for path in boundaries().values() for claim in named(path)}
        print("".join(f"{claim} | NO DEMONSTRATION |\n" for claim in sorted(lacking)), end="")
        failed = len(lacking)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve() / "tree"
        for name in COPIED:
            if Path(sys.argv[1], name).is_dir():
                shutil.copytree(Path(sys.argv[1], name), tree / name)
        sys.path.insert(0, str(tree))
        os.chdir(tree)
        for boundary, path in boundaries().items():
            if wanted and not any(w.partition(".")[0] == boundary for w in wanted):
                continue
            for claim, function in demonstrations(path):
                if wanted and boundary not in wanted and claim not in wanted:
                    continue
                verdict, seen = shown(function, tree)
                failed += verdict == "NOT CONFIRMED"
                print(f"{claim} | {verdict} | {' '.join(seen.split())[:400]}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
