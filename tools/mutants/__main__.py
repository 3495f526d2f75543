"""Small changes of the audited tree, one at a time: which of them the audit notices.

    python tools/mutants TREE --python PYTHON --kept FOLDER [--count 320] [--seed 0] [--write]

TREE: a clean clone that may be changed; each file is put back. Changes of one line are drawn by kind, in turn, from the
files that the pipeline map names. Equivalent by rule, and never drawn, is what only a human or a type checker reads:
docstrings, annotations, log and print calls, warnings, f-strings, the exception that is raised (its `raise` is drawn).

A change is noticed if a claim comes to another status or to other kinds of violations than on the unchanged tree. The
unchanged tree's answers are kept in FOLDER with the lines that ran; a claim is judged anew if one of its questions
comes by the change, or if it reads source and the kind of change can matter to it. A line that no question comes by is
missed, as long as no claim on source tells it. Interrupted, it goes on where it stopped. --write: put the result into
tests/history/mutants.json.
"""

from __future__ import annotations

import argparse
import ast
import json
import pickle
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from asking import Asking, Forks, Known, Signature, Spot, judged, touches
from sites import Site, Sites, mutated

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.source.names import resolve
from coordexp_audit_lib.source.tree import Tree

RESULT = Path(__file__).resolve().parents[2] / "tests" / "history" / "mutants.json"
SECONDS = 60.0
CONTROLS = 12  # changes that change nothing: none may be noticed
STAGES = {
    **{"launch": "config", "data": "geometry", "template": "template", "packing": "packing"},
    **{"trainer": "supervision", "rollout": "rollout", "metrics": "metrics", "artifacts": "provenance"},
}
SPEECH = ("common/coordjson", "coord_tokens/codec", "utils/assistant", "transpiler", "coordjson")  # boundary 04's files
# What these read of a source, by which kinds of change it can become another: names and calls, keys, the YAML files.
WORDS = ("constant", "changed default", "removed statement", "other function")
READ = {
    **dict.fromkeys(("pipeline_map.names_defined", "pipeline_map.calls_fit"), ("removed statement", "other function")),
    **dict.fromkeys(("pipeline_map.keys_are_read", "rollout.endpoints"), WORDS),
    **dict.fromkeys(("config.parents_exist", "config.keys_once"), ()),
}
Case = tuple[Claim, str]


def owned(tree: Tree, target: Target) -> dict[str, str]:
    """The files that the pipeline map names, each with the boundary of the stage that owns most in it."""
    counted: dict[str, Counter[str]] = {}
    for row in target.contract()["pipeline_map.owners"]:
        found = next((f for n in row["names"] if (f := tree.locate(n) or resolve(tree, n))), None)
        if found is not None and found.path.endswith(".py"):
            counted.setdefault(found.path, Counter())[STAGES[row["stage"]]] += 1
    of = {path: min(c, key=lambda b: (-c[b], list(STAGES.values()).index(b))) for path, c in counted.items()}
    return {path: "coordjson" if any(s in path for s in SPEECH) else b for path, b in sorted(of.items())}


def drawn(tree: Tree, files: dict[str, str], count: int, seed: int) -> tuple[list[tuple[str, Site]], dict[str, int]]:
    """Of each kind in turn, at most one of a line; and how many there were, offered and set aside."""
    rng, by_kind, aside = random.Random(seed), dict[str, list[tuple[str, Site]]](), 0
    for path in files:
        sites = Sites(tree.text(path))
        aside += sites.set_aside
        for site in sites.found:
            by_kind.setdefault(site.kind, []).append((path, site))
    offered = sum(map(len, by_kind.values()))
    for _, found in sorted(by_kind.items()):
        rng.shuffle(found)
    chosen, lines, kinds = list[tuple[str, Site]](), set[tuple[str, int]](), sorted(by_kind)
    while len(chosen) < count and any(by_kind.values()):
        for kind in kinds:
            while by_kind[kind]:
                path, site = by_kind[kind].pop()
                source = tree.text(path)
                if (path, site.line) not in lines and _other(source, mutated(source, site)):
                    lines.add((path, site.line))
                    chosen.append((path, site))
                    break
    return chosen[:count], {"offered": offered, "set aside": aside}


def _other(source: str, changed: str) -> bool:
    try:
        return ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


class Change(NamedTuple):
    """text: the file's, changed."""

    kind: str
    place: Spot
    text: str


class Baseline:
    """What the unchanged tree is judged to be: by claim and config the signature, and the questions that were asked."""

    def __init__(self, folder: Path, forks: Forks, cases: list[Case]) -> None:
        self.file, self.known = folder / "baseline.pickle", Known()
        self.said: dict[tuple[str, str], tuple[Signature, list[str], float]] = {}
        if self.file.exists():
            self.known, self.said = pickle.loads(self.file.read_bytes())
        for number, (claim, config) in enumerate(cases, 1):
            if (claim.id, config) in self.said:
                continue
            target, began = Asking(forks.fork(), self.known, None), time.perf_counter()
            told = judged(target, claim, config)
            target.live.close()
            self.said[claim.id, config] = told, list(target.asked), time.perf_counter() - began
            self.file.write_bytes(pickle.dumps((self.known, self.said)))
            shown = f"{claim.id} {config}: {told[0]}, {len(target.asked)} questions"
            print(
                f"[{number}/{len(cases)}] {shown}, {self.said[claim.id, config][2]:.1f} s", file=sys.stderr, flush=True
            )

    def asking(self, cases: list[Case], change: Change) -> Iterator[Case]:
        """The claims that may come to something else, the quickest first."""
        for claim, config in sorted(cases, key=lambda c: self.said[c[0].id, c[1]][2]):
            keys = self.said[claim.id, config][1]
            reads = not keys and change.kind in READ.get(claim.id, (change.kind,))
            if reads or any(self._open(k) or touches(self.known[k]["lines"], change.place) for k in keys):
                yield claim, config

    def reached(self, change: Change) -> bool:
        """Whether a question comes by the change."""
        return any(touches(k["lines"], change.place) for k in self.known.values())

    def _open(self, key: str) -> bool:
        return self.known[key]["answer"] is None


def measured(forks: Forks, baseline: Baseline, cases: list[Case], change: Change) -> dict[str, Any]:
    """Judge a changed tree; the file is put back."""
    path = change.place[0]
    file, began = forks.base.tree.root / path, time.perf_counter()
    source, asked = file.read_bytes(), list(baseline.asking(cases, change))
    live = forks.fork(path)
    target = Asking(live, baseline.known, change.place)
    noticed: dict[str, Any] = {}
    try:
        file.write_text(change.text, encoding="utf-8")
        for claim, config in asked:
            told = judged(target, claim, config)
            if told != baseline.said[claim.id, config][0]:
                noticed = {"claim": claim.id, "status": told[0]}
                break
    finally:
        live.close()
        file.write_bytes(source)
    took = round(time.perf_counter() - began, 1)
    return {"reached": baseline.reached(change), "judged": len(asked), "noticed": noticed, "seconds": took}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    loaded = boundaries.load()
    forks = Forks(given.tree, given.python, seconds=SECONDS)
    try:
        target = forks.base
        configs = target.all_named(target.pipeline().configs)
        chosen = [c for b in loaded for c in applicable(target.pipeline(), b.name)]
        cases = [(c, config) for c in chosen for config in (configs if c.per_config else configs[:1])]
        baseline = Baseline(given.kept, forks, cases)
        files = owned(target.tree, target)
        sites, counts = drawn(target.tree, files, given.count, given.seed)
        measure = partial(measured, forks, baseline, cases)
        rows = _each(target.tree, files, sites, given.kept / "rows.jsonl", measure)
    finally:
        forks.close()
    commit = target.info().commit
    result = {"commit": commit, "seed": given.seed, "files": len(files), **counts, "mutants": rows}
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    (RESULT if given.write else given.kept / "mutants.json").write_text(text, encoding="utf-8")
    return 0


def _each(
    tree: Tree,
    files: dict[str, str],
    sites: list[tuple[str, Site]],
    kept: Path,
    measure: Callable[[Change], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Every change in turn, then the controls; what was measured before is taken as it was kept."""
    known = {}
    if kept.exists():
        known = {r["name"]: r for r in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
    jobs = [(path, site, mutated(tree.text(path), site)) for path, site in sites]
    same = sorted({path: site for path, site in sites}.items())[:CONTROLS]
    jobs += [(path, site._replace(kind="control"), tree.text(path) + "\n# nothing\n") for path, site in same]
    rows = []
    for number, (path, site, text) in enumerate(jobs, 1):
        name = f"{path}:{site.line} {site.kind} {site.first} {site.instead}"
        if name not in known:
            inside = site.function and site.kind != "control"
            lines = frozenset(range(site.rows[0], site.rows[1] + 1) if inside else ())
            found = measure(Change(site.kind, (path, lines), text))
            place = {"path": path, "line": site.line, "function": site.function, "boundary": files[path]}
            known[name] = {"name": name, "kind": site.kind, **place, **found}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[name]) + "\n")
            said = found["noticed"] or ("missed" if found["reached"] else "not reached")
            print(f"[{number}/{len(jobs)}] {name}: {said}, {found['seconds']} s", file=sys.stderr, flush=True)
        rows.append(known[name])
    return rows


if __name__ == "__main__":
    sys.exit(main())
