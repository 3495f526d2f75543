"""Small changes of the audited tree, one at a time: which of them the audit notices.

    python tools/mutants TREE --python PYTHON --kept FOLDER [--count 320] [--seed 0] [--write]

TREE: a clean clone that may be changed; each file is put back. Changes of one line are drawn by kind, in turn, from the
files that the pipeline map names. Equivalent by rule, and never drawn, is what only a human or a type checker reads:
docstrings, annotations, log and print calls, warnings, f-strings, the exception that is raised (its `raise` is drawn).

A change is noticed if a claim comes to another status or to other kinds of violations than on the unchanged tree. The
unchanged tree's answers are kept in FOLDER with the lines that ran. Of the questions that come by the change at most
10 are asked anew, some of each claim; a claim is judged anew if one of its answers is another, or if it reads source
and the kind of change can matter to it. So a change may be counted as missed that the whole audit would notice, never
the other way. A line that no question comes by is missed, unless a claim on source tells it. Interrupted, it goes on
where it stopped. --write: put the result into tests/history/mutants.json;
what there was no time for is told as not judged.
"""

from __future__ import annotations

import argparse
import ast
import json
import pickle
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
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
QUESTIONS = 10  # that are asked anew of a changed tree; of more, a drawn part
ASKERS = 6  # claims that are judged anew for one other answer
CONTROLS = 12  # changes that change nothing: none may be noticed
STAGES = {
    **{"launch": "config", "data": "geometry", "template": "template", "packing": "packing"},
    **{"trainer": "supervision", "rollout": "rollout", "metrics": "metrics", "artifacts": "provenance"},
}
SPEECH = ("common/coordjson", "coord_tokens/codec", "utils/assistant", "transpiler", "coordjson")  # boundary 04's files
# Which changes can make what these read of a source another: by kind, and by what stood there. No change takes a
# definition or the binding of a name away, or gives a call other arguments than its own.
GONE, ANY = "removed statement", re.compile("")
READ: dict[str, dict[str, re.Pattern[str]]] = {
    **{f"pipeline_map.{name}": {} for name in ("names_defined", "calls_fit", "owners_resolve", "entrypoints_exist")},
    **{f"config.{name}": {} for name in ("parents_exist", "keys_once")},
    "silence.no_blanket_suppression": {GONE: re.compile("raise|log|warn")},
    "rollout.no_rank_conditional_collective": {GONE: re.compile("barrier|reduce|gather|broadcast|sync|dist")},
    "coordjson.transpiled_before_json": {GONE: re.compile("json|pars|transpil|coord")},
    "pipeline_map.keys_are_read": {GONE: re.compile(r"get|pop|\["), "constant": re.compile("['\"]")},
}
READ_KINDS = {kind for matters in READ.values() for kind in matters}
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
                if (path, site.line) not in lines:
                    lines.add((path, site.line))
                    chosen.append((path, site))
                    break
    return chosen[:count], {"offered": offered, "set aside": aside}


def parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def rows_of(tree: Tree, path: str, site: Site) -> range:
    """The lines of which one must run for a change to take part; none where it takes part in the import. A default is
    used by its function."""
    rows = site.rows
    if site.kind == "changed default":
        around = [n for n in ast.walk(tree.module(path)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        mine = [n for n in around if n.lineno <= site.line < n.body[0].lineno]
        rows = (mine[-1].lineno, mine[-1].end_lineno or 0) if mine else rows
        return range(rows[0], rows[1] + 1) if mine or site.function else range(0)
    return range(rows[0], rows[1] + 1) if site.function else range(0)


def spot_of(tree: Tree, path: str, site: Site) -> Spot:
    return path, frozenset(rows_of(tree, path, site)) if site.kind != "control" else frozenset()


class Change(NamedTuple):
    """was: what stood there. text: the file's, changed."""

    kind: str
    place: Spot
    was: str
    text: str


class Baseline:
    """What the unchanged tree is judged to be: by claim and config the signature, and the questions that were asked."""

    def __init__(self, folder: Path, forks: Forks, cases: list[Case]) -> None:
        self.file, self.known = folder / "baseline.pickle", Known()
        self.said: dict[tuple[str, str], tuple[Signature, list[str], float]] = {}
        if self.file.exists():
            self.known, self.said = pickle.loads(self.file.read_bytes())
        for number, (claim, config) in enumerate(cases, 1):
            if (claim.id, config) in self.said and all("request" in self.known[k] for k in self._keys(claim, config)):
                continue
            target, began = Asking(forks.fork(), self.known, None), time.perf_counter()
            told = judged(target, claim, config)
            target.live.close()
            before = self.said.get((claim.id, config), (told, [], 0.0))[2]
            self.said[claim.id, config] = told, list(target.asked), before or time.perf_counter() - began
            if not before:
                self.file.write_bytes(pickle.dumps((self.known, self.said)))
            print(f"[{number}/{len(cases)}] {claim.id} {config}: {told[0]}", file=sys.stderr, flush=True)
        self.file.write_bytes(pickle.dumps((self.known, self.said)))

    def _keys(self, claim: Claim, config: str) -> list[str]:
        return [k for k in self.said[claim.id, config][1] if self.known[k]["answer"] is not None]

    def reading(self, cases: list[Case], change: Change) -> list[Case]:
        """The claims on source that may come to something else, the quickest first."""
        mine = [
            c for c in cases if not self.said[c[0].id, c[1]][1] and change.kind in READ.get(c[0].id, (change.kind,))
        ]
        return sorted(mine, key=self._seconds)

    def asking(self, cases: list[Case], change: Change) -> list[tuple[Case, str]]:
        """The questions that come by the change, each of a claim that asks it: the quickest claims first, one question
        of each in turn, so many at most."""
        turns = []
        for case in sorted(cases, key=self._seconds):
            keys = self.said[case[0].id, case[1]][1]
            mine = [k for k in keys if touches(self.known[k]["lines"], change.place)]
            random.Random(f"{case[0].id} {change.place}").shuffle(mine)
            turns.append([(case, k) for k in mine])
        found: dict[str, Case] = {}
        for case, k in (one for turn in zip_longest(*turns) for one in turn if one):
            if self.known[k]["answer"] is not None:
                found.setdefault(k, case)
        return [(case, k) for k, case in list(found.items())[:QUESTIONS]]

    def askers(self, cases: list[Case], key: str) -> list[Case]:
        return sorted((c for c in cases if key in self.said[c[0].id, c[1]][1]), key=self._seconds)

    def _seconds(self, case: Case) -> float:
        return self.said[case[0].id, case[1]][2]

    def reached(self, place: Spot) -> bool:
        """Whether a question comes by a change."""
        return any(touches(k["lines"], place) for k in self.known.values())


def measured(forks: Forks, baseline: Baseline, cases: list[Case], change: Change) -> dict[str, Any]:
    """Judge a changed tree; the file is put back. Claims are judged if they read source, or if the answer to a question
    of theirs is another one than the unchanged tree's."""
    path, began = change.place[0], time.perf_counter()
    file = forks.base.tree.root / path
    source, asked = file.read_bytes(), baseline.asking(cases, change)
    target = Asking(forks.fork(path), baseline.known, change.place)
    noticed, done, others = dict[str, Any](), set[tuple[str, str]](), 0

    def judged_anew(claim: Claim, config: str) -> bool:
        done.add((claim.id, config))
        told = judged(target, claim, config)
        if told != baseline.said[claim.id, config][0]:
            noticed.update(claim=claim.id, status=told[0])
        return bool(noticed)

    try:
        file.write_text(change.text, encoding="utf-8")
        if not any(judged_anew(*case) for case in baseline.reading(cases, change)):
            for _, key in asked:
                if target.same(key):
                    continue
                others += 1
                if any(judged_anew(*c) for c in baseline.askers(cases, key)[:ASKERS] if (c[0].id, c[1]) not in done):
                    break
    finally:
        target.live.close()
        file.write_bytes(source)
    took = round(time.perf_counter() - began, 1)
    reached = baseline.reached(change.place)
    return {"reached": reached, "asked": len(asked), "other answers": others, "noticed": noticed, "seconds": took}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="end after so many, with what is done by then")
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
        choice = given.kept / f"drawn.{given.seed}.{given.count}.pickle"
        if not choice.exists():
            choice.write_bytes(pickle.dumps(drawn(target.tree, files, given.count, given.seed)))
        sites, counts = pickle.loads(choice.read_bytes())
        measure = partial(measured, forks, baseline, cases)
        same = [(p, s._replace(kind="control")) for p, s in sorted(dict(sites).items())[:CONTROLS]]
        # What nothing has to be asked of is judged at once, what only source tells at the end.
        spots = {(path, site): spot_of(target.tree, path, site) for path, site in sites}
        sites.sort(key=lambda one: baseline.reached(spots[one]) or 2 * (one[1].kind in READ_KINDS))
        rows = _each(target.tree, [*same, *sites], given.kept / "rows.jsonl", measure, given.minutes)
        done = {row["name"] for row in rows}
        left = [(path, site) for path, site in sites if name_of(path, site) not in done]
        rows += [{**told_of(*one), "reached": baseline.reached(spots[one]), "noticed": None} for one in left]
        for row in rows:
            row["boundary"] = files[row["path"]]
    finally:
        forks.close()
    commit = target.info().commit
    result = {"commit": commit, "seed": given.seed, "files": len(files), **counts, "drawn": len(sites), "mutants": rows}
    for row in rows:
        row.pop("seconds", None)
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    (RESULT if given.write else given.kept / "mutants.json").write_text(text, encoding="utf-8")
    return 0


def name_of(path: str, site: Site) -> str:
    return f"{path}:{site.line} {site.kind} {site.first} {site.instead}"


def told_of(path: str, site: Site) -> dict[str, Any]:
    place = {"path": path, "line": site.line, "function": site.function}
    return {"name": name_of(path, site), "kind": site.kind, **place}


def _each(
    tree: Tree, sites: list[tuple[str, Site]], kept: Path, measure: Callable[[Change], dict[str, Any]], minutes: float
) -> list[dict[str, Any]]:
    """Every change in turn, as long as there is time; what was measured before is taken as it was kept."""
    known = {}
    if kept.exists():
        known = {r["name"]: r for r in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
    jobs = [(p, s, f"{tree.text(p)}\n# same\n" if s.kind == "control" else mutated(tree.text(p), s)) for p, s in sites]
    rows, ends = [], time.monotonic() + 60 * minutes
    for number, (path, site, text) in enumerate(jobs, 1):
        name = name_of(path, site)
        if name not in known:
            if time.monotonic() > ends:
                continue
            was = tree.text(path).split("\n")[site.line - 1][site.first : site.last]
            found = measure(Change(site.kind, spot_of(tree, path, site), was, text))
            if found["reached"] and not parses(text):
                continue
            known[name] = {**told_of(path, site), **found}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[name]) + "\n")
            said = found["noticed"] or ("missed" if found["reached"] else "not reached")
            print(f"[{number}/{len(jobs)}] {name}: {said}, {found['seconds']} s", file=sys.stderr, flush=True)
        rows.append(known[name])
    return rows


if __name__ == "__main__":
    sys.exit(main())
