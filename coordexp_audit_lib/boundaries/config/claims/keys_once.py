"""No config that the tree ships gives a key twice in one mapping.

YAML demands that keys are unique, and the usual loaders don't check it: they keep the last value and drop what stood
before without a word. A whole section can go that way, so that a run trains with the base's schedule under the name of
another, and a reader of the file, or of a diff of it, sees the value that doesn't count.

Example: `stage2_ab:` with `schedule: {b_ratio: 1.0}` stands at the top of a smoke config, and once more at its end with
other keys: the run uses the base's ratio."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.config.predicates import keys
from coordexp_audit_lib.boundaries.config.reference import TREE
from coordexp_audit_lib.boundaries.config.surfaces import KEYS, Keys, KeysRequest
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="S",
    remedy="Keep one of the two: what both sections are to set goes into one.",
    spec=(Citation("yaml/yaml-spec", "spec/1.2.2/spec.md", "Loading Failure Points", "04c1a48"),),
)
def keys_once(ctx: Context) -> Iterator[Problem]:
    files = ctx.value(KEYS, KeysRequest(ctx.contract["config.shipped"]["folder"])).files
    ctx.fact("config files", len(files))
    yield from keys.keys_once(files, ctx)


def _rewritten(config: int, pattern: str, instead: str) -> Callable[[KeysRequest, Honest], Any]:
    """A break of an anchored config's text: the first match of `pattern` is replaced."""

    def apply(request: KeysRequest, honest: Honest) -> Keys:
        path = pipeline().configs[config]
        broken, count = re.subn(pattern, instead, (TREE / path).read_text(encoding="utf-8"), count=1, flags=re.M)
        assert count, pattern
        files = [keys.keyed_file(path, broken) if f.path == path else f for f in honest(request).files]
        return Keys(files)

    return apply


fault(keys_once, "section_twice", KEYS, "a section stands at the end once more, with one key")(
    _rewritten(-1, r"\Z", "stage2_ab:\n  n_softctx_iter: 1\n")
)
fault(keys_once, "nested_key_twice", KEYS, "a weight stands twice in its section")(
    _rewritten(-1, r"^( +)coord_gate_weight: .*\n", r"\g<0>\1coord_gate_weight: 0.0\n")
)
fault(keys_once, "quoted_key_twice", KEYS, "a key stands once plain and once in quotation marks")(
    _rewritten(-1, r"^( +)b_ratio: .*\n", r'\g<0>\1"b_ratio": 0.0\n')
)
fault(keys_once, "value_repeated", KEYS, "a line is doubled as it stands")(
    _rewritten(0, r"^( +)(\w+): (\S+)\n", r"\g<0>\g<0>")
)
