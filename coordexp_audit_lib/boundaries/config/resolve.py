"""How a config file becomes one mapping: parents first, the leaf last, and which shapes of chain are allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from coordexp_audit_lib.boundaries.config.chain import lookup, merge, parent_path, steps
from coordexp_audit_lib.boundaries.config.contract import Chain, SourceFile
from coordexp_audit_lib.boundaries.config.values import Problem

Read = Callable[[str], str | None]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PROFILE_FOLDERS = ("configs/stage2_ab/prod/", "configs/stage2_ab/smoke/")
PROFILE_PARENT = "../base.yaml"
SOUND = "config.extends_sound"
# What a stage-2 leaf states by itself, so that a reader of the one file knows the run.
EXPLICIT = (
    "model.model",
    "training.run_name",
    "training.output_dir",
    "training.logging_dir",
    "training.learning_rate",
    "training.vit_lr",
    "training.aligner_lr",
    "training.effective_batch_size",
    "training.eval_strategy",
    "training.eval_steps",
    "training.save_strategy",
    "training.save_steps",
    "stage2_ab.schedule.b_ratio",
    "stage2_ab.n_softctx_iter",
)


class ChainBroken(Exception):
    """The chain of parents cannot be followed."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def resolve(read: Read, leaf: str) -> Chain:
    """Follow the parents of `leaf`; `read` gives the text of a path, or None where there is no file.

    Raises:
        ChainBroken: a cycle, a missing parent, or a file that is no mapping.
    """
    files: dict[str, SourceFile] = {}
    merged = _resolve(read, leaf, (), files)
    return Chain(list(files.values()), merged)


def _resolve(read: Read, path: str, above: tuple[str, ...], files: dict[str, SourceFile]) -> dict[str, Any]:
    shown = " -> ".join((*above, path))
    if path in above:
        raise ChainBroken(Problem(path, f"a cycle of parents: {shown}", "take one `extends` out of the cycle", SOUND))
    content = read(path)
    if content is None:
        remedy = "correct the `extends` that names it"
        raise ChainBroken(Problem(path, f"no such file, in the chain {shown}", remedy, SOUND))
    raw = yaml.load(content, Loader=_LOADER) or {}
    if not isinstance(raw, dict):
        what = f"the file holds no mapping, in the chain {shown}"
        raise ChainBroken(Problem(path, what, "write a mapping", SOUND))
    parents = raw.pop("extends", None)
    names = [str(p) for p in parents] if isinstance(parents, list) else [] if parents is None else [str(parents)]
    files.setdefault(path, SourceFile(path, names, raw))
    merged: dict[str, Any] = {}
    for name in names:
        merged = merge(merged, _resolve(read, parent_path(path, name), (*above, path), files))
    return merge(merged, raw)


def is_profile(path: str) -> bool:
    """Whether a path is that of a stage-2 leaf, which has rules of its own."""
    return path.startswith(PROFILE_FOLDERS) and path.endswith(".yaml")


def check_profile(chain: Chain) -> Iterator[Problem]:
    """A stage-2 leaf has one parent, the base, which has none, and states the run's knobs by itself."""
    leaf = chain.files[0]
    if not is_profile(leaf.path):
        return
    shown = "; ".join(f"{f.path} -> {', '.join(f.extends)}" for f in chain.files if f.extends)
    if leaf.extends != [PROFILE_PARENT] or any(f.extends for f in chain.files[1:]):
        what = f"a stage-2 leaf extends exactly {PROFILE_PARENT}, which extends nothing; found {shown or 'no parent'}"
        yield Problem(leaf.path, what, "write what the other files set into the leaf", "config.profile_one_hop")
    for key in EXPLICIT:
        if lookup(leaf.raw, steps(key), _ABSENT) is _ABSENT:
            what = f"a stage-2 leaf states it by itself, and {leaf.path} does not"
            yield Problem(key, what, "set it in the leaf", "config.profile_explicit")


_ABSENT: Mapping[str, Any] = {}
