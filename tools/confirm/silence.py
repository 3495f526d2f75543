"""Boundary 12: errors."""

import ast
from pathlib import Path

from parts import NotHere, box, container, of_tree, refusal


def no_blanket_suppression(tree: Path) -> tuple[bool, str]:
    found = []
    for path in sorted((tree / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            )
            if broad and all(isinstance(s, ast.Pass) for s in node.body):
                found.append(f"{path.relative_to(tree)}:{node.lineno}")
    return any("/trainers/" in place for place in found), f"`except Exception: pass` at {', '.join(found)}"


def errors_actionable(tree: Path) -> tuple[bool, str]:
    parse = of_tree("src.utils.coordjson_transpiler:parse_coordjson")
    cut = container(box("cat", (1, 2, 3, 4)))[:-2]
    said = refusal(parse, cut, mode="strict")
    if not said:
        raise NotHere("a cut text is read")
    return "objects[" not in said and not any(c.isdigit() for c in said), f"of a text that is cut off: {said}"
