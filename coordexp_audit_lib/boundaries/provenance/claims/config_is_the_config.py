"""the resolved config that is written equals what its own YAML sources materialise to

The resolved config is what a reader takes the learning rates, weights and shares of a run from. If a section is lost in
it, or stands there as it was before the leaf's own values, a rerun from it optimises something else.

Example: the leaf sets `training.learning_rate: 1e-6`, and the document holds the base's 1e-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact.reading import Unreadable
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import document, writes
from coordexp_audit_lib.boundaries.provenance.predicates import documents as d
from coordexp_audit_lib.boundaries.provenance.predicates.redaction import redacted
from coordexp_audit_lib.boundaries.provenance.surfaces import WRITE
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import merge, nest


@claim(severity="P0", kind="A", remedy="write the config that the trainer is given, every value of it")
def config_is_the_config(ctx: Context) -> Iterator[Problem]:
    runs = {**cases.plain_runs(), "a value set in the leaf": cases.changes()["the learning rate"][0]}
    for name, request in runs.items():
        written = cases.write(ctx, request)
        if not written.merged:
            raise SurfaceUnbound("what the sources resolve to is not told", where=WRITE.name)
        ctx.judged()
        resolved = written.documents.get(d.RESOLVED)
        kept = resolved.get("resolved") if isinstance(resolved, dict) else None
        found = d.config_is_its_sources(written.merged, kept)
        yield from cases.about(found, name, None, cases.place(ctx, written))
    ctx.fact("values that the sources of the last run set", d.values_in(written.merged))


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    resolved = run.resolved
    try:
        merged = run.merged
    except Unreadable as error:
        ledger.judged()
        yield Problem(f"a config source cannot be read: {error}", d.CONFIG_SOURCE)
        return
    ledger.judged(d.values_in(merged))
    for p in d.config_is_its_sources(merged, resolved):
        # what stands under a secret's name is told by that name alone
        yield replace(p, expected=redacted(p.expected, (), p.subject), actual=redacted(p.actual, (), p.subject))


config_is_the_config.on(RunFolder, of_run)


def _resolved(change: Callable[[Any], Any]) -> Any:
    """A manifest writer that changes the resolved config."""
    return writes(lambda request, w: document(w, d.RESOLVED, resolved=change(w.documents[d.RESOLVED]["resolved"])))


KEYS = pipeline().contract()["provenance.keys"]
EARLY = "the resolved config that is written is that before the leaf's own values"
fault(config_is_the_config, "default_resolved", WRITE, EARLY)(_resolved(lambda r: merge(r, nest(KEYS["rate"], 1.0))))
fault(config_is_the_config, "section_lost", WRITE, "a section is missing from the resolved config")(
    _resolved(lambda resolved: {k: v for k, v in resolved.items() if k != KEYS["section"]})
)


def _truthy(value: Any) -> Any:
    return {k: _truthy(v) for k, v in value.items() if v or isinstance(v, dict)} if isinstance(value, dict) else value


fault(config_is_the_config, "falsy_lost", WRITE, "what is false or zero is missing from the resolved config")(
    _resolved(_truthy)
)
