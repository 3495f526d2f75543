"""Mutation testing of the audit's own judgement: each boundary's predicates and reference, and the kit.

    python tools/own_mutants.py --kept FOLDER [--each 100] [--seed 0] [--only BOUNDARY …] [--write]

cosmic-ray makes the mutants (it is in no requirement of the library: give it an environment of its own). A mutant is
killed if a claim no longer holds on the sound reference, or a fault, of a target or of an artifact, is no longer
caught. Asked are the claims and faults whose run comes by the mutant's line; of what runs at import, all. Set aside is
what differs in annotations, docstrings or `__all__` only; a mutant that can't be imported is no mutant.

Each is tried in a process forked from one that has imported everything. Interrupted, it goes on where it stopped.
--write: put the result into tests/history/own_mutants.json.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import io
import json
import multiprocessing
import pickle
import random
import resource
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims, declared
from coordexp_audit_lib.core.fault import faults, spoils
from coordexp_audit_lib.core.judge import Artifact, judge, judge_artifact
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "coordexp_audit_lib"
RESULT = ROOT / "tests" / "history" / "own_mutants.json"
KIT = "kit"
ROOMS = ("predicates", "reference")
LEFT_OUT = ("Variable", "ZeroIterationForLoop", "RemoveDecorator")  # they need settings, or take a registration away
SECONDS = 60  # of processor time; what takes longer is killed by its own loop
Case = tuple[str, str]  # a kind and an id
Ran = dict[Case, tuple[float, dict[str, set[int]]]]  # seconds, and lines by file


class Mutant(NamedTuple):
    """operator, occurrence: as cosmic-ray numbers them. line: 1-based."""

    boundary: str
    path: str
    operator: str
    occurrence: int
    line: int

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line} {self.operator.partition('/')[2]} {self.occurrence}"


def files(boundary: str) -> list[Path]:
    if boundary == KIT:
        return sorted((LIBRARY / KIT).glob("*.py"))
    rooms = [LIBRARY / "boundaries" / boundary / room for room in ROOMS]
    return sorted(p for room in rooms for p in (*room.rglob("*.py"), room.with_suffix(".py")) if p.is_file())


# ---- mutants ---------------------------------------------------------------------------------------------------------


def offered(path: Path, boundary: str) -> list[Mutant]:
    """Every occurrence of every operator; of operators that differ in what they put there, each."""
    from cosmic_ray import ast as theirs
    from cosmic_ray import plugins

    tree = theirs.get_ast(path.read_text(encoding="utf-8"))
    nodes = list(_nodes(tree))
    found = []
    for name in sorted(plugins.operator_names()):
        if any(word in name for word in LEFT_OUT):
            continue
        operator, number = plugins.get_operator(name)(), 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                found.append(Mutant(boundary, path.relative_to(ROOT).as_posix(), name, number, start[0]))
                number += 1
    return found


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def drawn(boundary: str, each: int, seed: int) -> tuple[list[tuple[Mutant, str]], int]:
    """So many mutants with their text, one of a line and a family of operators; and how many that leaves in all."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    rng, of = random.Random(f"{seed} {boundary}"), dict[tuple[str, int, str], list[Mutant]]()
    for path in files(boundary):
        for m in offered(path, boundary):
            of.setdefault((m.path, m.line, m.operator.partition("/")[2].partition("_")[0]), []).append(m)
    places, chosen = sorted(of), list[tuple[Mutant, str]]()
    rng.shuffle(places)
    for place in places:
        if len(chosen) == each:
            break
        mutant = rng.choice(of[place])
        source = (ROOT / mutant.path).read_text(encoding="utf-8")
        text = mutate_code(source, plugins.get_operator(mutant.operator)(), mutant.occurrence)
        if text is not None and bare(text) != bare(source):
            chosen.append((mutant, text))
    return chosen, len(places)


def bare(source: str) -> str:
    """The syntax without what only a reader or a type checker sees; empty where there is none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(0))
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _said(s)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _said(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


# ---- trying ----------------------------------------------------------------------------------------------------------


def cases(boundary: str) -> list[Case]:
    of = None if boundary == KIT else boundary
    sound = [("sound", c.id) for c in claims(of)]
    return [*(("spoil", s.id) for s in spoils(of)), *sound, *(("fault", f.id) for f in faults(of))]


def passes(case: Case, memory: Memory) -> bool:
    """Whether a claim holds on the reference, or a fault is caught."""
    kind, name = case
    by_id, config = {c.id: c for c in declared()}, pipeline().configs[-1]
    if kind == "sound":
        return judge(ReferenceTarget(memory=memory), by_id[name], config).status == "held"
    if kind == "fault":
        fault = next(f for f in faults() if f.id == name)
        return all(
            judge(ReferenceTarget(fault, memory), by_id[c], config).status == "violated" for c in fault.caught_by
        )
    one = next(s for s in spoils() if s.id == name)
    both = (judge_artifact(Artifact(made), by_id[one.caught_by]) for made in (one.sound(), one.apply(one.sound())))
    return tuple(f.status for f in both) == ("held", "violated")


def apart(work: Callable[[], Any], seconds: int = SECONDS) -> Any:
    """What `work` gives in a process forked from this one; None if that died."""
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe(duplex=False)

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            theirs.send(work())

    process = forks.Process(target=run)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return None
    finally:
        process.join()


class Watched:
    """Of each case the seconds and the lines of the library that ran, asked in one process, cold."""

    def __init__(self, folder: Path, boundary: str) -> None:
        kept = folder / f"{boundary}.pickle"
        if not kept.exists():
            ran = apart(lambda: self._watch(boundary), 60 * SECONDS)
            if ran is None:
                raise SystemExit(f"{boundary}: its cases could not be watched")
            kept.write_bytes(pickle.dumps(ran))
        self.ran: Ran = pickle.loads(kept.read_bytes())

    def _watch(self, boundary: str) -> Ran:
        import coverage

        found: Ran = {}
        watch = coverage.Coverage(data_file=None, include=[str(p) for p in files(boundary)])
        for case in cases(boundary):
            began = time.process_time()
            watch.erase()
            watch.start()
            good = passes(case, {})
            watch.stop()
            data = watch.get_data()
            lines = {Path(f).relative_to(ROOT).as_posix(): set(data.lines(f) or ()) for f in data.measured_files()}
            if good:
                found[case] = time.process_time() - began, lines
        return found

    def by(self, mutant: Mutant, rows: range) -> list[Case]:
        """The cases that come by a mutant, the quickest first."""
        found = [c for c, (_, lines) in self.ran.items() if not rows or lines.get(mutant.path, set()) & set(rows)]
        return sorted(found, key=lambda c: self.ran[c][0])


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def put_in(path: str, text: str) -> bool:
    """Give the functions of a module that is imported the code of another text of it; whether each found its own."""
    file, new = str(ROOT / path), dict[tuple[str, int], list[types.CodeType]]()
    for code in codes(compile(text, file, "exec")):
        new.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
    mine = [f for f in gc.get_objects() if isinstance(f, types.FunctionType) and f.__code__.co_filename == file]
    for function in mine:
        found = new.get((function.__code__.co_qualname, function.__code__.co_firstlineno), [])
        if len(found) != 1 or found[0].co_freevars != function.__code__.co_freevars:
            return False
        function.__code__ = found[0]
    return True


def rows_of(source: str, line: int) -> range:
    """The lines of the innermost statement in a function that holds a line, its body left out; none at import."""
    rows, inside = range(0), False
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.stmt, ast.ExceptHandler)) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = inside or line > last
        if line <= max(last, node.lineno):
            rows = range(node.lineno, max(last, node.lineno) + 1)
    return rows if inside else range(0)


def tried(mutant: Mutant, text: str, watched: Watched) -> dict[str, Any]:
    """killed: by which case; empty where all pass as before."""
    rows = rows_of((ROOT / mutant.path).read_text(encoding="utf-8"), mutant.line)
    asked = watched.by(mutant, rows)

    def work() -> str:
        return first_failing(asked) if rows and put_in(mutant.path, text) else anew(mutant, text, asked)

    killed = apart(work) if asked else ""
    return {"asked": len(asked), "killed": "its process died" if killed is None else killed}


def first_failing(asked: list[Case]) -> str:
    memory: Memory = {}
    for case in asked:
        try:
            if not passes(case, memory):
                return " ".join(case)
        except Exception as error:
            return f"{' '.join(case)}: {type(error).__name__}"
    return ""


def anew(mutant: Mutant, text: str, asked: list[Case]) -> str:
    """Import the library once more, with the mutant in it."""
    from importlib.machinery import SourceFileLoader

    file, plain = str(ROOT / mutant.path), SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        return compile(text, file, "exec") if self.path == file else plain(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    for name in [n for n in sys.modules if n.split(".")[0] == "coordexp_audit_lib"]:
        del sys.modules[name]
    try:
        import coordexp_audit_lib.boundaries as again

        again.load(None if mutant.boundary in (KIT, again.ALL_OTHERS) else [mutant.boundary])
        own = types.ModuleType("own_mutants_again")
        own.__file__ = __file__
        exec(compile(Path(__file__).read_text(encoding="utf-8"), __file__, "exec"), own.__dict__)
    except Exception as error:
        return f"import: {type(error).__name__}"
    return str(own.first_failing(asked))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    names = [b.name for b in boundaries.load()] + [KIT]
    import torch  # noqa: F401  once, for all that are forked
    import transformers  # noqa: F401

    known, kept = {}, given.kept / "rows.jsonl"
    if kept.exists():
        known = {r["name"]: r for r in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
    rows, sizes = [], dict[str, int]()
    for boundary in given.only or names:
        drawn_file = given.kept / f"{boundary}.{given.seed}.{given.each}.json"
        if not drawn_file.exists():
            drawn_file.write_text(json.dumps(drawn(boundary, given.each, given.seed)))
        chosen, sizes[boundary] = json.loads(drawn_file.read_text())
        watched = Watched(given.kept, boundary)
        for number, (told, text) in enumerate(chosen, 1):
            mutant = Mutant(*told)
            if mutant.name not in known:
                found = tried(mutant, text, watched)
                known[mutant.name] = {"name": mutant.name, **mutant._asdict(), **found}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[mutant.name]) + "\n")
                said = found["killed"] or ("SURVIVED" if found["asked"] else "SURVIVED, not reached")
                print(f"{boundary} {number}/{len(chosen)} {mutant.name}: {said}", file=sys.stderr, flush=True)
            rows.append(known[mutant.name])
    told = Counter((r["boundary"], bool(r["killed"])) for r in rows)
    for boundary in sizes:
        print(boundary, told[boundary, True], "killed of", told[boundary, True] + told[boundary, False])
    if given.write:
        result = {"seed": given.seed, "places": sizes, "mutants": rows}
        RESULT.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
