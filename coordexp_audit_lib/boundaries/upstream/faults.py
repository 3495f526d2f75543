"""A known-bad upstream for every claim of this boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream import contract as c
from coordexp_audit_lib.boundaries.upstream.facts import Level, Parameter, Seen
from coordexp_audit_lib.core.claim import fault

Honest = Callable[[Any], Any]


def changed(struct: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(struct, **fields)


def _seen(request: Any, honest: Honest, symbol: str, change: Callable[[Seen], Any]) -> Any:
    """The honest answer with one symbol's facts changed."""
    api = honest(request)
    return changed(api, seen=[change(s) if s.symbol.endswith(symbol) else s for s in api.seen])


def _without(symbol: str) -> Callable[[Any, Honest], Any]:
    gone = lambda s: Seen(s.symbol, "gone", why="it is not there")  # noqa: E731
    return lambda request, honest: _seen(request, honest, symbol, gone)


@fault(
    "upstream.decay_names_read_self",
    surface=c.API,
    caught_by=("upstream.trainer_helpers", "upstream.versions_matrix"),
    summary="get_decay_parameter_names reads self, and is called with None for it",
)
def decay_names_read_self(request: Any, honest: Honest) -> Any:
    return _seen(request, honest, ".get_decay_parameter_names", lambda s: changed(s, uses_self=True))


@fault(
    "upstream.optimizer_kwargs_of_an_instance",
    surface=c.API,
    caught_by=("upstream.trainer_helpers",),
    summary="get_optimizer_cls_and_kwargs is no longer static",
)
def optimizer_kwargs_of_an_instance(request: Any, honest: Honest) -> Any:
    return _seen(request, honest, ".get_optimizer_cls_and_kwargs", lambda s: changed(s, bound="self"))


@fault(
    "upstream.decay_on_norms",
    surface=c.TRAINER,
    caught_by=("upstream.trainer_helpers",),
    summary="norm weights get weight decay",
)
def decay_on_norms(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, decay=sorted({*made.decay, "visual.norm.weight"}))


@fault(
    "upstream.parameter_without_a_group",
    surface=c.TRAINER,
    caught_by=("upstream.trainer_helpers",),
    summary="create_optimizer leaves a trainable parameter out",
)
def parameter_without_a_group(request: Any, honest: Honest) -> Any:
    made = honest(request)
    first, *rest = made.groups
    return changed(made, groups=[changed(first, names=first.names[1:]), *rest])


@fault(
    "upstream.aligner_at_the_tower_rate",
    surface=c.TRAINER,
    caught_by=("upstream.trainer_helpers",),
    summary="the pipeline's own wiring gives the aligner the vision tower's learning rate",
)
def aligner_at_the_tower_rate(request: Any, honest: Honest) -> Any:
    made = honest(request)
    tower = next(g.lr for g in made.wiring if "visual.patch.weight" in g.names)
    wiring = [changed(g, lr=tower) if "merger" in g.names[0] else g for g in made.wiring]
    return changed(made, wiring=wiring)


@fault(
    "upstream.betas_ignored",
    surface=c.TRAINER,
    caught_by=("upstream.trainer_helpers",),
    summary="the optimizer takes default betas",
)
def betas_ignored(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, kwargs={**made.kwargs, "betas": [0.9, 0.999]})


@fault(
    "upstream.request_config_moved",
    surface=c.API,
    caught_by=("upstream.request_config", "upstream.versions_matrix"),
    summary="RequestConfig is to be had under another name only",
)
def request_config_moved(request: Any, honest: Honest) -> Any:
    return _seen(request, honest, ":RequestConfig", lambda s: changed(s, reached="swift:RequestConfig"))


@fault(
    "upstream.details_field_gone",
    surface=c.API,
    caught_by=("upstream.request_config",),
    summary="RequestConfig has no return_details",
)
def details_field_gone(request: Any, honest: Honest) -> Any:
    def change(s: Seen) -> Any:
        return changed(s, fields=[f for f in s.fields if f.name != "return_details"], levels=None)

    return _seen(request, honest, ":RequestConfig", change)


@fault(
    "upstream.details_by_default",
    surface=c.CONFIG,
    caught_by=("upstream.request_config",),
    summary="the config that is sent asks for no details",
)
def details_by_default(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, config={**made.config, "return_details": False}, again={**made.again, "return_details": False})


@fault(
    "upstream.temperature_as_text",
    surface=c.CONFIG,
    caught_by=("upstream.request_config",),
    summary="the temperature arrives as a string",
)
def temperature_as_text(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, config={**made.config, "temperature": str(request.temperature)})


@fault(
    "upstream.images_lost",
    surface=c.INFER,
    caught_by=("upstream.infer_request",),
    summary="images beside the messages are not posted",
)
def images_lost(request: Any, honest: Honest) -> Any:
    bare = [changed(s, images=None) for s in request.samples]
    return honest(changed(request, samples=bare))


@fault(
    "upstream.content_flattened",
    surface=c.INFER,
    caught_by=("upstream.infer_request",),
    summary="message content arrives as one string, without the images in it",
)
def content_flattened(request: Any, honest: Honest) -> Any:
    def flat(message: dict[str, Any]) -> dict[str, Any]:
        content = message["content"]
        text = content if isinstance(content, str) else "".join(i.get("text", "") for i in content)
        return {**message, "content": text}

    return honest(changed(request, samples=[changed(s, messages=[*map(flat, s.messages)]) for s in request.samples]))


@fault(
    "upstream.template_without_packing_row",
    surface=c.API,
    caught_by=("upstream.template_surface",),
    summary="the template has no packing_row",
)
def template_without_packing_row(request: Any, honest: Honest) -> Any:
    return _without(":Template.packing_row")(request, honest)


@fault(
    "upstream.pack_with_a_mask",
    surface=c.TEMPLATE,
    caught_by=("upstream.template_surface",),
    summary="the collator gives a pack an attention mask",
)
def pack_with_a_mask(request: Any, honest: Honest) -> Any:
    made = honest(request)
    shapes = {**made.packed.shapes, "attention_mask": made.packed.shapes["input_ids"]}
    return changed(made, packed=changed(made.packed, shapes=shapes))


@fault(
    "upstream.int64_boundaries",
    surface=c.TEMPLATE,
    caught_by=("upstream.template_surface",),
    summary="cu_seq_lens_q is int64",
)
def int64_boundaries(request: Any, honest: Honest) -> Any:
    made = honest(request)
    dtypes = {**made.packed.dtypes, "cu_seq_lens_q": "int64"}
    return changed(made, packed=changed(made.packed, dtypes=dtypes))


@fault(
    "upstream.rope_wants_token_types",
    surface=c.API,
    caught_by=("upstream.qwen3vl_surface", "upstream.versions_matrix"),
    summary="get_rope_index takes another argument in the place of the image grids",
)
def rope_wants_token_types(request: Any, honest: Honest) -> Any:
    def change(s: Seen) -> Any:
        first, *rest = (s.levels or [Level("", [])])[0].parameters
        added = [first, Parameter("mm_token_type_ids", "normal", True), *rest]
        return changed(s, levels=[Level(s.home, added)])

    return _seen(request, honest, ".get_rope_index", change)


@fault(
    "upstream.four_rows_not_split",
    surface=c.API,
    caught_by=("upstream.qwen3vl_surface",),
    summary="the model does not tell four rows of position_ids from three",
)
def four_rows_not_split(request: Any, honest: Honest) -> Any:
    return _seen(request, honest, ":Qwen3VLTextModel.forward", lambda s: changed(s, expressions=[]))


@fault(
    "upstream.rope_shifted",
    surface=c.ROWS,
    caught_by=("upstream.qwen3vl_surface",),
    summary="the text after an image goes on one position too late",
)
def rope_shifted(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, rope=[[*row[:-1], row[-1] + 1] for row in made.rope])


@fault(
    "upstream.segments_leak",
    surface=c.ROWS,
    caught_by=("upstream.qwen3vl_surface",),
    summary="segments of a pack see one another",
)
def segments_leak(request: Any, honest: Honest) -> Any:
    return changed(honest(request), isolated=False, blind=False)


@fault(
    "upstream.flag_renamed",
    surface=c.API,
    caught_by=("upstream.rollout_cli",),
    summary="swift rollout calls --vllm_max_model_len otherwise",
)
def flag_renamed(request: Any, honest: Honest) -> Any:
    def change(s: Seen) -> Any:
        return changed(s, fields=[f for f in s.fields if f.name != "vllm_max_model_len"])

    return _seen(request, honest, ":RolloutArguments", change)


@fault(
    "upstream.flag_misspelt",
    surface=c.LAUNCHER,
    caught_by=("upstream.rollout_cli",),
    summary="the launcher passes a flag that no release has",
)
def flag_misspelt(request: Any, honest: Honest) -> Any:
    found = honest(request)
    first, *rest = found.flags
    return changed(found, flags=[changed(first, name=first.name + "s"), *rest])


@fault(
    "upstream.client_without_flattened_sync",
    surface=c.API,
    caught_by=("upstream.client_surface", "upstream.versions_matrix"),
    summary="VLLMClient has no update_flattened_params",
)
def client_without_flattened_sync(request: Any, honest: Honest) -> Any:
    return _without(":VLLMClient.update_flattened_params")(request, honest)


@fault(
    "upstream.client_takes_one_server",
    surface=c.API,
    caught_by=("upstream.client_surface",),
    summary="VLLMClient's constructor takes no list of base_urls",
)
def client_takes_one_server(request: Any, honest: Honest) -> Any:
    def change(s: Seen) -> Any:
        kept = [changed(x, parameters=[p for p in x.parameters if p.name != "base_urls"]) for x in s.levels or []]
        return changed(s, levels=kept)

    return _seen(request, honest, ":VLLMClient", change)


@fault(
    "upstream.verdict_missing",
    surface=c.MATRIX,
    caught_by=("upstream.versions_matrix",),
    summary="the matrix has a hole",
)
def verdict_missing(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, verdicts=made.verdicts[1:])


@fault(
    "upstream.verdict_without_a_reason",
    surface=c.MATRIX,
    caught_by=("upstream.versions_matrix",),
    summary="a verdict other than kept does not say where, how or why",
)
def verdict_without_a_reason(request: Any, honest: Honest) -> Any:
    made = honest(request)
    return changed(made, verdicts=[changed(v, problems=[]) for v in made.verdicts])
