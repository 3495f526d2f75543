"""Demonstrations of bugs of the audited project's history, apart from the audit: run in a tree by the project's own
interpreter, exit status 1 where the bug is there and 0 where it is not.

Standard library only, but for what the tree itself imports.
"""

import builtins
import json
import sys
import types
from pathlib import Path


def compiled(path):
    return compile(Path(path).read_text(encoding="utf-8"), path, "exec")


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def syntax(path):
    """The file compiles."""
    try:
        compiled(path)
    except SyntaxError:
        return False
    return True


def names(path, name):
    """Where the compiler takes the name for a global, the module's top level stores it."""
    import dis

    top = compiled(path)
    stored = {
        i.argval for c in codes(top) for i in dis.get_instructions(c) if i.opname in ("STORE_NAME", "STORE_GLOBAL")
    }
    read = {i.argval for c in codes(top) for i in dis.get_instructions(c) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return name not in read or name in stored or hasattr(builtins, name)


def late(path, name):
    """No function reads its local of that name on a line above its first binding of it."""
    import dis

    for code in codes(compiled(path)):
        line, loads, stores = code.co_firstlineno, [], []
        for i in dis.get_instructions(code):
            line = i.starts_line if isinstance(i.starts_line, int) and i.starts_line > 1 else line
            if i.argval == name and i.opname.startswith("LOAD_FAST"):
                loads.append(line)
            elif i.argval == name and i.opname == "STORE_FAST":
                stores.append(line)
        if loads and stores and min(loads) < min(stores) and name not in code.co_varnames[: code.co_argcount]:
            return False
    return True


def files(paths):
    return all(Path(path).exists() for path in paths)


def parents(path):
    """Every parent of a config is there, to the end of the chain; so is a config that is gone itself."""
    import yaml

    if not Path(path).exists():
        return True
    told = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    above = told.get("extends") or told.get("inherit") or []
    found = [Path(path).parent / p for p in ([above] if isinstance(above, str) else above)]
    return all(p.exists() and parents(p) for p in found)


def dupes(path):
    """No key stands twice at the top of a YAML file."""
    if not Path(path).exists():
        return True
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    tops = [line.split(":")[0] for line in lines if line[:1].isalpha() and ":" in line]
    return len(tops) == len(set(tops))


def imports(path, name):
    """A module that is not in the tree is imported inside a `try` only."""
    import ast

    body = ast.parse(Path(path).read_text(encoding="utf-8")).body
    plain = [n for n in body if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == name]
    return Path(name).exists() or not plain


def python(code):
    """The code, in the tree: it exits with 1 where the bug is there."""
    try:
        exec(code, {"__name__": "demonstration"})
    except SystemExit as end:
        return not end.code
    return True


KINDS = {f.__name__: f for f in (syntax, names, late, files, parents, dupes, imports, python)}


def main():
    told = json.loads(sys.argv[1])
    sys.path.insert(0, str(Path.cwd()))
    try:
        good = KINDS[told.pop("kind")](**told)
    except Exception as error:
        print(repr(error), file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
