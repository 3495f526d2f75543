"""What the notebook shows: a conversation as tokens, prompts beside what is taught, ids, images, and the length limit.

Exhibits ask the target and give numbers. Texts shown are our own; of the target's prompts there are lengths and traces.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template import contract as c
from coordexp_audit_lib.boundaries.template.predicates import image_runs
from coordexp_audit_lib.boundaries.template.trace import first_difference
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.kit import chat, tokenizer

ROLES = ("markup", "prompt text", "image pad", "answer text", "coordinate token")
SHOWN = c.Record([("t-shirt.", [12, 34, 256, 480])])
SIZES = (
    (64, 64),
    (96, 64),
    (64, 128),
    (160, 96),
    (192, 192),
    (256, 160),
    (320, 256),
    (416, 320),
    (512, 384),
    (640, 480),
    (768, 512),
    (768, 1024),
)
OBJECTS = (60, 180, 300, 420, 470, 490, 520, 560, 600)


@exhibit("template.conversation")
def conversation(ctx: Context) -> dict[str, Any]:
    """Our own record under prompts of our own, token by token: id, text, role, and whether it is supervised."""
    made = ctx.value(c.ENCODE, c.EncodeRequest([SHOWN], "Locate.", "List every object.")).alone[0]
    return {
        "ids": made.input_ids,
        "pieces": pieces(made.input_ids),
        "roles": roles(made.input_ids, made.labels),
        "supervised": [int(y != chat.IGNORE_INDEX) for y in made.labels],
        "grid": made.grid,
    }


def pieces(ids: list[int]) -> list[str]:
    """The text of each token alone; part of a character shows as U+FFFD."""
    decode = tokenizer.qwen().decode
    return [decode([t], skip_special_tokens=False) for t in ids]


def roles(ids: list[int], labels: list[int]) -> list[int]:
    """Indices into `ROLES`. A turn's header, its end and the newline after it are markup."""
    newline = tokenizer.encode("\n")[0]
    header = {newline, *(t for role in chat.ROLES for t in tokenizer.encode(role))}
    found = []
    for i, (token, label) in enumerate(zip(ids, labels, strict=True)):
        opens = ids[i - 1 : i] == [tokenizer.IM_START] or ids[max(0, i - 2) : i - 1] == [tokenizer.IM_START]
        ends = ids[i - 1 : i] == [tokenizer.IM_END] and token == newline
        if token == tokenizer.IMAGE_PAD:
            found.append(2)
        elif tokenizer.ENDOFTEXT <= token < tokenizer.COORD_0 or ends or (opens and token in header):
            found.append(0)
        elif label == chat.IGNORE_INDEX:
            found.append(1)
        else:
            found.append(4 if token >= tokenizer.COORD_0 else 3)
    return found


@exhibit("template.masks")
def masks(ctx: Context) -> dict[str, Any]:
    """Every record of the cases under the short prompt: runs of role and supervision along the sample."""
    _, request = next(cases.encode_requests())
    rows = []
    for record, made in zip(request.records, ctx.value(c.ENCODE, request).alone, strict=True):
        supervised = [i for i, y in enumerate(made.labels) if y != chat.IGNORE_INDEX]
        rows.append(
            {
                "objects": len(record.objects),
                "pictures": len(record.pictures),
                "tokens": len(made.input_ids),
                "image pads": made.input_ids.count(tokenizer.IMAGE_PAD),
                "supervised": len(supervised),
                "from": supervised[0],
                "to": supervised[-1],
                "roles": roles(made.input_ids, made.labels),
                "flags": [int(y != chat.IGNORE_INDEX) for y in made.labels],
            }
        )
    return {"records": rows}


@exhibit("template.prompts")
def shown_prompts(ctx: Context) -> dict[str, Any]:
    """For every prompt setting and backend: the tokens generated from, those taught, and how many they share."""
    rows = []
    for request in cases.prompt_requests():
        for backend in c.BACKENDS:
            made = ctx.value(
                c.ROLLOUT, c.RolloutRequest(backend, request.ordering, request.field_order, request.variant)
            )
            at = first_difference(made.generated, made.taught)
            rows.append(
                {
                    "setting": cases.setting(request),
                    "backend": backend,
                    "generated": made.generated.length,
                    "taught": made.answer_at,
                    "shared": made.generated.length if at is None else at,
                    "digest": made.generated.digest,
                }
            )
    return {"rows": rows}


@exhibit("template.ids")
def ids(ctx: Context) -> dict[str, Any]:
    """The coordinate tokens' ids, the tokenizer's length, and the embedding's rows after the expansion."""
    made = ctx.value(c.VOCABULARY, c.VocabularyRequest(cases.BASE_ROWS, []))
    offsets = sorted({token - k for k, token in enumerate(made.coord_ids)})
    return {
        "coord_ids": made.coord_ids,
        "offsets": offsets,
        "length": made.length,
        "rows": made.rows,
        "base_rows": cases.BASE_ROWS,
        "ranks": tokenizer.RANKS,
    }


@exhibit("template.images")
def images(ctx: Context) -> dict[str, Any]:
    """Placeholders counted in the ids, and the grid, for pictures of many sizes; then three in one sample."""
    records = [c.Record(list(SHOWN.objects), (size,)) for size in SIZES]
    made = ctx.value(c.ENCODE, c.EncodeRequest(records, "Locate.", "List every object.")).alone
    rows = []
    for (width, height), sample in zip(SIZES, made, strict=True):
        (run,), (grid,) = image_runs(sample.input_ids), sample.grid
        rows.append({"width": width, "height": height, "grid": grid, "pads": run[1], "tokens": len(sample.input_ids)})
    return {"rows": rows}


@exhibit("template.limit")
def limit(ctx: Context) -> dict[str, Any]:
    """What the config's limit does to samples of growing length: tokens encoded, answer tokens kept, or an error."""
    settings = ctx.value(c.SETTINGS, c.SettingsRequest(ctx.target.config_path(ctx.config)))
    if settings.max_length is None:
        raise SurfaceUnbound("the config sets no limit", where=c.SETTINGS.name)
    rows = []
    for objects in OBJECTS:
        whole = ctx.value(c.LIMIT, c.LimitRequest(objects, 1_000_000, "raise"))
        answer = ctx.ask(c.LIMIT, c.LimitRequest(objects, settings.max_length, settings.strategy))
        kept = answer.content
        rows.append(
            {
                "objects": objects,
                "tokens": whole.whole_length,
                "answer": whole.whole_answer,
                "encoded": kept.length if kept else 0,
                "kept": kept.answer if kept else 0,
                "error": answer.refused,
            }
        )
    return {"max_length": settings.max_length, "strategy": settings.strategy, "rows": rows}
