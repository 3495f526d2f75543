"""Trainer.get_decay_parameter_names, create_optimizer, get_optimizer_cls_and_kwargs and what else optimizer wiring
uses are there as they are called, and group parameters, decay and rates as configured.

The pipeline builds its optimizer from transformers' helpers, one of them called on the class with None for `self`. A
helper that reads `self`, or groups otherwise, either breaks the start of training or, worse, trains: with decay on
biases and norms, with a parameter that no group holds and that never moves, with one part at another part's learning
rate. The loss goes down all the same, and the run is not the one that its config describes.

Example: the merger's parameters are named `visual.merger.*`; a wiring that takes `visual.*` for the vision tower trains
the aligner at the tower's rate, whatever `aligner_lr` says."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.cases import SETTINGS, rates
from coordexp_audit_lib.boundaries.upstream.faults import changed, seen
from coordexp_audit_lib.boundaries.upstream.predicates import wiring
from coordexp_audit_lib.boundaries.upstream.predicates.installed import REMEDY, transformers, used_as_there
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Release, release_keeps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem

TRAINER = "src/transformers/trainer.py"


@claim(
    severity="P0",
    kind="B",
    remedy=REMEDY,
    spec=(
        transformers(TRAINER, "Trainer.get_decay_parameter_names"),
        transformers(TRAINER, "Trainer.create_optimizer"),
        transformers(TRAINER, "Trainer.get_optimizer_cls_and_kwargs"),
    ),
)
def trainer_helpers(ctx: Context) -> Iterator[Problem]:
    yield from used_as_there(ctx, "upstream.trainer_helpers")
    made = ctx.value(s.TRAINER, SETTINGS)
    ctx.judged(len(made.names) + len(made.kwargs))
    if not made.names:
        ctx.left_out("decay and groups", "the network that was wired has no trainable parameter")
    yield from wiring.decay_by_name(made)
    yield from wiring.groups_by_name(SETTINGS, made)
    yield from wiring.optimizer_as_set(SETTINGS, made)
    if made.wiring is None:
        ctx.left_out("the pipeline's own wiring", "not in this tree")
    else:
        ctx.judged(len(made.names))
        yield from wiring.rates_by_part(SETTINGS, rates(), made.names, made.decay, made.wiring)


trainer_helpers.on(Release, release_keeps)


def _one_rate(groups: list[s.Group]) -> list[s.Group]:
    tower = next(g.lr for g in groups if "visual.patch.weight" in g.names)
    return [changed(g, lr=tower) if "merger" in g.names[0] else g for g in groups]


fault(
    trainer_helpers,
    "decay_names_read_self",
    s.API,
    "get_decay_parameter_names reads self, and is called with None for it",
    also=("upstream.versions_matrix",),
)(seen(".get_decay_parameter_names", lambda k: changed(k, uses_self=True)))
fault(trainer_helpers, "optimizer_kwargs_of_an_instance", s.API, "get_optimizer_cls_and_kwargs is no longer static")(
    seen(".get_optimizer_cls_and_kwargs", lambda k: changed(k, bound="self"))
)
fault(trainer_helpers, "decay_on_norms", s.TRAINER, "norm weights get weight decay")(
    answered(decay=lambda made: sorted({*made.decay, "visual.norm.weight"}))
)
fault(trainer_helpers, "parameter_without_a_group", s.TRAINER, "create_optimizer leaves a trainable parameter out")(
    answered(groups=lambda made: [changed(made.groups[0], names=made.groups[0].names[1:]), *made.groups[1:]])
)
fault(
    trainer_helpers,
    "aligner_at_the_tower_rate",
    s.TRAINER,
    "the pipeline's own wiring gives the aligner the vision tower's learning rate",
)(answered(wiring=lambda made: _one_rate(made.wiring or [])))
fault(trainer_helpers, "betas_ignored", s.TRAINER, "the optimizer takes default betas")(
    answered(kwargs=lambda made: {**made.kwargs, "betas": [0.9, 0.999]})
)
