"""A trainer's settings in the words of its tree.

The harness writes settings as the reference commit has them. Later trees renamed some, removed others, and moved the
weights of the objective into a list of modules (`stage2_ab.pipeline.objective`). What a tree knows is read off its own
config classes, so that no commit is asked for by name.
"""

import contextlib
import dataclasses
import functools

from coordexp_audit_lib.pipelines.api import CannotImport, Unbound, load
from coordexp_audit_lib.pipelines.coordexp import symbols

CHANNELS = ["A", "B"]
MODULES = (
    # Module, what it does in Channel-A, its settings: new name -> the reference commit's and its value if not given.
    (
        "token_ce",
        "anchor_text_only",
        {"desc_ce_weight": ("desc_ce_weight", 1.0), "rollout_fn_desc_weight": ("desc_ce_weight", 1.0)},
    ),
    (
        "bbox_geo",
        "anchor_only",
        {"smoothl1_weight": ("bbox_smoothl1_weight", 1.0), "ciou_weight": ("bbox_ciou_weight", 1.0)},
    ),
    (
        "bbox_size_aux",
        "anchor_only",
        {"log_wh_weight": ("bbox_log_wh_weight", 0.0), "oversize_penalty_weight": ("bbox_oversize_weight", 0.0)},
    ),
    (
        "coord_reg",
        "anchor_only",
        {
            **{name: (name, 0.0) for name in ("coord_ce_weight", "coord_gate_weight")},
            **{"soft_ce_weight": ("coord_soft_ce_weight", 0.0), "w1_weight": ("coord_w1_weight", 0.0)},
        },
    ),
)
TRIAGE = {"num_rollouts": 2, "explorer_temperature": 0.7, "explorer_top_p": 0.95, "explorer_top_k": 64}


@functools.lru_cache(maxsize=None)
def fields(name):
    """The names of the settings that the tree's own class of that name has; none where it has no such class."""
    try:
        return frozenset(f.name for f in dataclasses.fields(load(name)))
    except (CannotImport, TypeError):
        return frozenset()


def takes(name, **value):
    """Whether the tree's own class of that name takes a value of a field; True where it says nothing about it."""
    try:
        load(name)(**value)
    except CannotImport:
        return True
    except (TypeError, ValueError) as error:
        return not any(field in str(error) for field in value)
    return True


def known_modules():
    """The names of the objective's modules that the tree knows; None where it keeps no list of them."""
    for name in (*symbols.MODULE_CATALOG, *symbols.MODULE_NAMES):
        with contextlib.suppress(CannotImport):
            return frozenset(load(name))
    return None


def matching(given, order="desc_first", ordering="sorted", variant=None):
    """`rollout_matching`, with what the entrypoint puts in beside the config's own keys."""
    made = {"object_ordering": ordering, "object_field_order": order, **given}
    known = fields(symbols.ROLLOUT_CONFIG[0])
    if "channel_b_decode_batch_size" in known:
        size = made.pop("decode_batch_size", 1)
        made = {"channel_b_decode_batch_size": size, "eval_decode_batch_size": size, "prompt_variant": variant, **made}
    if "eval_rollout_backend" in known:
        backend = made.get("rollout_backend", "hf")
        # from 2026-02-28 to 2026-03-09 evaluation was vLLM's alone
        backend = backend if takes(symbols.ROLLOUT_CONFIG[0], eval_rollout_backend=backend) else "vllm"
        made = {"eval_rollout_backend": backend, **made}
    return made


def stage2(given):
    """`stage2_ab` without what the tree's config no longer knows; the objective's weights are in `objective`.

    Raises:
        Unbound: something is asked for that the tree can't be told, with the commit that removed it.
    """
    known = fields(symbols.STAGE2_CONFIG[0])
    if "pipeline" not in known:
        if "semantic_desc_gate" not in fields(symbols.CHANNEL_B_CONFIG[0]):
            return given
        # by default it asks an encoder that is downloaded
        return {**given, "channel_b": {**given.get("channel_b", {}), "semantic_desc_gate": {"enabled": False}}}
    for name, neutral in (("n_softctx_iter", 1), ("channel_b.drop_invalid_struct_ce_multiplier", 1.0)):
        holder, _, leaf = name.rpartition(".")
        asked = (given.get(holder, {}) if holder else given).get(leaf, neutral)
        if asked != neutral and name not in known:
            raise Unbound("stage2_ab.%s is %s" % (name, symbols.removed(leaf) or "not known to this tree"))
    triage = {"triage_posterior": dict(TRIAGE)} if "triage_posterior" in fields(symbols.CHANNEL_B_CONFIG[0]) else {}
    return {**{k: v for k, v in given.items() if k in known}, "channel_b": triage}


def objective(given):
    """The list of modules that a later trainer takes its objective from; None where the tree has none.

    What a module's own defaults decide (the weight of a rollout's structure) is left to them.
    """
    if "pipeline" not in fields(symbols.STAGE2_CONFIG[0]):
        return None
    made, there = [], known_modules()
    for name, preset, named in MODULES:
        if there is not None and name not in there:
            continue
        config = {new: given.get(old, default) for new, (old, default) in named.items()}
        shared = {"name": name, "enabled": True, "weight": 1.0, "channels": CHANNELS}
        made.append({**shared, "application": {"preset": preset}, "config": config})
    diagnostics = [{"name": "coord_diag", "enabled": True, "weight": 1.0, "channels": CHANNELS, "config": {}}]
    return {"objective": made, "diagnostics": diagnostics, "extra": {}, "checksum": ""}
