"""Claims about keys: unknown, removed and missing ones are refused, and the error helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config import chain as edit
from coordexp_audit_lib.boundaries.config.bench import SKELETON, Bench
from coordexp_audit_lib.boundaries.config.chain import Path, dotted, lookup, mapping_nodes, steps
from coordexp_audit_lib.boundaries.config.contract import LOAD, Loaded, names_path, says_what_to_do
from coordexp_audit_lib.core.claim import Context, invariant, provokes
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Answer

STAGE2_SECTIONS = ("stage2_ab", "rollout_matching")
UNKNOWN = "unlisted_knob"
UNKNOWN_VALUES = (1, None)

# Mappings whose keys the project does not own, with the reason. No unknown key is tried in them.
PASS_THROUGH = {
    "custom.extra": "the escape hatch",
    "training.lr_scheduler_kwargs": "handed to transformers' scheduler",
    "training.gradient_checkpointing_kwargs": "handed to torch's checkpoint",
    "training.accelerator_config": "handed to accelerate",
    "training.optim_args": "handed to transformers' optimizer",
    "model.model_kwargs": "handed to the model class",
    "model.rope_scaling": "handed to the model's config",
    "model.quantization_config": "handed to the quantizer",
    "deepspeed.config": "DeepSpeed's own config",
    "rollout_matching.vllm.limit_mm_per_prompt": "vLLM's modalities",
    "rollout_matching.vllm.mm_processor_kwargs": "handed to the model's processor",
}


class Tried(msgspec.Struct, frozen=True):
    """An unknown key that was tried: its dotted path, and what became of it. flaws: empty if all is well."""

    path: str
    value: Any
    refused: bool
    named: bool
    guided: bool
    said: str

    @property
    def flaws(self) -> list[str]:
        if not self.refused:
            return ["it is accepted in silence"]
        return ["the error does not name the full dotted path"] * (not self.named) + [
            "the error does not say what to do"
        ] * (not self.guided)


def tried(answer: Answer[Loaded], path: str, value: Any) -> Tried:
    """Judge the answer to a config with an unknown key at `path`."""
    said = answer.refusal.message if answer.refusal else ""
    return Tried(path, value, answer.refused, names_path(said, path), says_what_to_do(said, path), said)


def nodes_of(bench: Bench, *, stage2: bool) -> list[Path]:
    """The mapping nodes to try: those of the resolved config, and those that the skeleton knows besides."""
    found = set(mapping_nodes(bench.chain.merged)) | set(mapping_nodes(SKELETON))
    mine = [n for n in found if n and (n[0] in STAGE2_SECTIONS) == stage2]
    kept = [n for n in mine if not any(dotted(n[:end]) in PASS_THROUGH for end in range(1, len(n) + 1))]
    return sorted(kept, key=dotted)


def try_unknown_keys(bench: Bench, nodes: list[Path]) -> Iterator[Tried]:
    """Put an unknown key into each node that can be made to exist."""
    for node in nodes:
        start = bench.start(node)
        if start is not None:
            path = dotted((*node, UNKNOWN))
            for value in UNKNOWN_VALUES:
                yield tried(bench.load_with({**start, path: value}), path, value)


def try_inherited(bench: Bench, sections: tuple[str, ...]) -> Iterator[Tried]:
    """Put an unknown key into the parents of the leaf, where they set one of the sections."""
    for i, file in enumerate(bench.chain.files[1:], start=1):
        section = next((s for s in sections if isinstance(file.raw.get(s), dict)), None)
        if section:
            path = (section, UNKNOWN)
            yield tried(bench.load(edit.with_value(bench.chain, path, 1, file=i)), dotted(path), 1)


def _violation(t: Tried, where: str = "") -> Violation:
    return Violation(
        f"An unknown key at {t.path}{where}: {', and '.join(t.flaws)}.",
        subject=t.path,
        expected="refused, with the full dotted path and what to do",
        actual="accepted" if not t.refused else {"names the path": t.named, "says what to do": t.guided},
        counterexample={t.path: t.value, **({"error": t.said} if t.refused else {})},
    )


def _judge(ctx: Context, found: Iterator[Tried], where: str = "") -> Iterator[Violation]:
    """Count every key that was tried; one violation for each node where one of them came through."""
    nodes: dict[str, bool] = {}
    for t in found:
        ctx.judged()
        node = t.path.rpartition(".")[0]
        if t.flaws and not nodes.get(node):
            yield _violation(t, where)
        nodes[node] = nodes.get(node, False) or bool(t.flaws)
    if not where:
        ctx.fact("mapping nodes tried", len(nodes))
        ctx.fact("nodes", sorted(nodes))


@invariant(
    "config.unknown_key_rejected",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="An unknown key in any mapping at any depth under stage2_ab or rollout_matching, list items included, is "
    "refused at load; the error names the full dotted path and says what to do.",
    remedy="Parse every nested mapping with the strict, schema-derived parser, and give its error the full path.",
    spec="stage2-ab-training: Stage-2 config sections are parsed by schema-derived strict contracts",
)
def unknown_key_rejected(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    yield from _judge(ctx, try_unknown_keys(bench, nodes_of(bench, stage2=True)))
    yield from _judge(ctx, try_inherited(bench, STAGE2_SECTIONS[::-1]), " in a parent file")


@invariant(
    "config.unknown_section_key_rejected",
    boundary="config",
    severity="P1",
    kind="B",
    per_config=True,
    claim="An unknown key in any other schema-owned section, at any depth, and an unknown top-level section are "
    "refused, with the dotted path and what to do; custom.extra alone takes free keys, a top-level extra is refused.",
    remedy="Check the keys of each section and of its nested mappings against their schema before use.",
    spec="stage2-ab-training: Stage-2 config sections are parsed by schema-derived strict contracts",
)
def unknown_section_key_rejected(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    yield from _judge(ctx, try_unknown_keys(bench, nodes_of(bench, stage2=False)))
    yield from _judge(ctx, try_inherited(bench, ("training", "template", "custom")), " in a parent file")
    for path, value in ((UNKNOWN, 1), (UNKNOWN, {}), ("extra", {}), ("extra", {"knob": 1})):
        ctx.judged()
        t = tried(bench.load_with({path: value}), path, value)
        if t.flaws:
            yield _violation(t)
    ctx.judged()
    free = bench.load_with({f"custom.extra.{UNKNOWN}": 1})
    if free.refused:
        said = free.refusal.message if free.refusal else ""
        yield Violation(
            "A free key under custom.extra, the one escape hatch, is refused.", "custom.extra", "accepted", said
        )
    there = sorted(p for p in PASS_THROUGH if isinstance(lookup(bench.chain.merged, steps(p)), dict))
    ctx.fact("mappings left to their owners", {p: PASS_THROUGH[p] for p in there})


CHANNEL_B = "stage2_ab.channel_b"
# Removed or moved knobs: path, a value it once had, and the name that the error must give instead (if the row has one).
REMOVED: tuple[tuple[str, Any, str], ...] = (
    ("stage2_ab.schedule.pattern", ["A", "B"], "b_ratio"),
    (f"{CHANNEL_B}.mode", "step", ""),
    (f"{CHANNEL_B}.async", {"enabled": True}, ""),
    (f"{CHANNEL_B}.rollouts_per_step", 32, ""),
    (f"{CHANNEL_B}.enable_pipeline", True, ""),
    (f"{CHANNEL_B}.rollout_decode_batch_size", 4, ""),
    (f"{CHANNEL_B}.reordered_gt_sft", True, ""),
    (f"{CHANNEL_B}.desc_ce_weight_matched", 0.5, ""),
    (f"{CHANNEL_B}.semantic_desc_gate", {"enabled": True}, ""),
    (f"{CHANNEL_B}.stop_neutral", {"enabled": True}, ""),
    ("rollout_matching.rollout_buffer", {"enabled": True}, ""),
    ("custom.extra.rollout_matching", {"decode_batch_size": 4}, "rollout_matching"),
    ("rollout_matching.vllm.server.base_url", ["http://127.0.0.1:8000"], "servers"),
    ("rollout_matching.vllm.server.group_port", [51216], "servers"),
    ("custom.coord_expectation_metrics", {"enabled": True}, ""),
)


@invariant(
    "config.removed_key_rejected",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="Removed or moved knobs are refused by name, with their replacement where there is one.",
    remedy="Refuse the knob at load, before anything reads it, and name what took its place.",
    spec="stage2-ab-training: removed Channel-B knobs; rollout-matching-sft: legacy paired-list server form",
)
def removed_key_rejected(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx)
    for path, old, replacement in REMOVED:
        start = {} if path.startswith("custom.") else bench.start(steps(path)[:-1])
        if start is None:
            continue
        for value in (old, None):
            answer = bench.load_with({**start, path: value})
            ctx.judged()
            flaw = removed_key_flaw(answer, path, replacement)
            if flaw:
                yield Violation(
                    f"The removed knob {path} {flaw}.",
                    subject=path,
                    expected=f"refused, naming {replacement or 'the knob'}",
                    actual=answer.refusal.message if answer.refusal else "accepted",
                    counterexample={path: value},
                )


@provokes(LOAD)
def removed_knobs(ctx: Context) -> Iterator[tuple[str, Answer[Loaded]]]:
    bench = Bench(ctx)
    for path, old, _ in REMOVED:
        start = {} if path.startswith("custom.") else bench.start(steps(path)[:-1])
        if start is not None:
            yield path, bench.load_with({**start, path: old})


def removed_key_flaw(answer: Answer[Loaded], path: str, replacement: str) -> str:
    """What is wrong with the answer to a removed knob; empty if nothing is."""
    if answer.refusal is None:
        return "is accepted in silence"
    said, knob = answer.refusal.message, path.rpartition(".")[2]
    if knob not in said:
        return "is refused, but the error does not name it"
    if replacement and not names_any(said.replace(path, " "), replacement):
        return f"is refused, but the error does not name {replacement} instead"
    return ""


def names_any(message: str, name: str) -> bool:
    """Whether a message holds a key's name, alone or within a dotted path."""
    return any(name in word.strip(".,;:'\"()[]{}").replace("[", ".").split(".") for word in message.split())


REQUIRED = (
    "stage2_ab.schedule.b_ratio",
    "rollout_matching",
    "training.effective_batch_size",
    "custom.object_field_order",
)


@invariant(
    "config.required_key",
    boundary="config",
    severity="P0",
    kind="B",
    per_config=True,
    claim="A config without stage2_ab.schedule.b_ratio, without rollout_matching (stage-2 variant), without "
    "training.effective_batch_size or without custom.object_field_order is refused.",
    remedy="Refuse the missing key at load; a default for it would change what is trained without a word.",
    spec="stage2-ab-training: schedule, effective_batch_size; object-field-ordering",
)
def required_key(ctx: Context) -> Iterator[Violation]:
    bench = Bench(ctx).flat()
    for key in REQUIRED:
        if bench.get(key) is None:
            continue
        answer = bench.load(edit.without(bench.chain, steps(key)), depth="arguments")
        ctx.judged()
        name = key.rpartition(".")[2]
        if answer.refusal is None or name not in answer.refusal.message:
            yield Violation(
                f"A config without {key} is {'refused for another reason' if answer.refusal else 'accepted'}.",
                subject=key,
                expected=f"refused, naming {name}",
                actual=answer.refusal.message if answer.refusal else "accepted",
                counterexample={"without": key},
            )
