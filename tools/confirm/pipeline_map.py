"""Boundary 01: the map of the pipeline."""

import ast
import builtins
from pathlib import Path

from parts import NotHere

KEY = "ce_weight"


def keys_are_read(tree: Path) -> tuple[bool, str]:
    """No module of the Stage-2 trainer mentions `coord_soft_ce_w1.ce_weight`, a key of the Stage-2 config's schema."""
    trainers = [
        *(tree / "src/trainers").glob("stage2_ab*.py"),
        *(tree / "src/trainers").glob("rollout_matching*.py"),
        *(tree / "src/trainers/stage2_ab").rglob("*.py"),
        *(tree / "src/trainers/rollout_matching").rglob("*.py"),
    ]
    if not trainers:
        raise NotHere("other modules train Stage 2 here")
    reading = []
    for path in trainers:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            attribute = isinstance(node, ast.Attribute) and node.attr == KEY
            text = isinstance(node, ast.Constant) and node.value == KEY
            if attribute or text:
                reading.append(f"{path.name}:{node.lineno}")
    schema = (tree / "src/config/schema.py").read_text(encoding="utf-8")
    return not reading and KEY in schema, f"of {len(trainers)} modules none reads {KEY}; the schema takes it {reading}"


def names_defined(tree: Path) -> tuple[bool, str]:
    """`asdict` is called where the Stage-2 trainer keeps what a checkpoint needs; no statement of the file binds it."""
    path = tree / "src/trainers/stage2_two_channel.py"
    if not path.is_file():
        raise NotHere("no such module here")
    module = ast.parse(path.read_text(encoding="utf-8"))
    bound = set(dir(builtins))
    for node in ast.walk(module):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(a.asname or a.name).split(".")[0] for a in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    loose = [n for n in ast.walk(module) if isinstance(n, ast.Name) and n.id not in bound]
    return bool(loose), f"bound nowhere in {path.name}: {sorted({f'{n.id}, line {n.lineno}' for n in loose})}"
