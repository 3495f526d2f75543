"""Boundary 01: the map of the pipeline."""

import ast
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
