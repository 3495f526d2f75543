"""Real parts for an adapter, of whatever transformers is installed (4.57 and 5.x): tokenizer, image processor,
processor, a small Qwen3-VL, and chats with pictures. Nothing is downloaded.

Standard library only at import time. Requests may be given as they come (`Adapter`'s), or as dicts.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from coordexp_audit_lib.kit import chat, coordjson, picture, profile
from coordexp_audit_lib.kit import model as models
from coordexp_audit_lib.kit import tokenizer as words
from coordexp_audit_lib.kit.asked import Asked
from coordexp_audit_lib.kit.stand_ins import replaced, used
from coordexp_audit_lib.kit.template import IMAGES

VISION = ("pixel_values", "image_grid_thw")
# Renders what `kit.chat.render` encodes; what an assistant says, its end included, is marked for assistant-only losses.
CHAT = """{%- macro said(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}
{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.role == 'assistant' -%}
{%- generation -%}{{- said(message.content) + '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- said(message.content) + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""


def tokenizer(scratch: str) -> Any:
    """The real Qwen tokenizer with the coordinate tokens and a chat template of ours, as a fast tokenizer.

    scratch: a folder to write to (`here.scratch`).

    Raises:
        TokenizerMissing: `dashscope`, which carries the ranks, is not installed there.
    """
    made = words.fast(words.at(scratch))
    made.chat_template = CHAT
    return made


def image_processor(family: str = "qwen3_vl") -> Any:
    """The image processor of a Qwen-VL family (`kit.profile`): for Qwen3-VL patches of 16 pixels, of which 2 x 2 are
    merged."""
    import transformers

    # Without torchvision, 5.x warns that it falls back to this one.
    kind = getattr(transformers, "Qwen2VLImageProcessorPil", None) or transformers.Qwen2VLImageProcessor
    known = profile.named(family)
    return kind(**{name: getattr(known, name) for name in IMAGES})


class NoVideos:
    """Stands for the video processor where torchvision is not installed; no sample here has a video."""

    merge_size, temporal_patch_size, model_input_names = picture.MERGE, picture.FRAMES, ()
    patch_size, fps, min_frames, max_frames = picture.PATCH, 2, 4, 768

    def __init__(self) -> None:
        self.size = {"shortest_edge": 4096, "longest_edge": 25_165_824}  # as Qwen3-VL's has it; pipelines set them

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no video can be processed: torchvision is not installed")

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Nothing of it is saved beside the processor's other parts."""


def processor(scratch: str, tokenizer_: Any = None) -> Any:
    """transformers' own `Qwen3VLProcessor` over `tokenizer` and `image_processor`.

    tokenizer_: in place of a new one.
    """
    import transformers

    hub: Any = transformers
    try:
        videos = hub.Qwen3VLVideoProcessor()
    except ImportError:
        videos = NoVideos()
        used("torchvision", "nothing: no sample has a video", True)
    kind = hub.Qwen3VLProcessor
    unchecked = {"check_argument_for_proper_class": lambda self, name, given: type(given)}
    with replaced(kind, **(unchecked if isinstance(videos, NoVideos) else {})):
        return kind(
            image_processor=image_processor(),
            tokenizer=tokenizer_ or tokenizer(scratch),
            video_processor=videos,
            chat_template=CHAT,
        )


@functools.lru_cache(maxsize=1)
def model() -> Any:
    """The small Qwen3-VL, float32 on the CPU and in training mode, built once in a worker; its vocabulary is the real
    one. Leave its weights as they are.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models.settle()
        return models.small()


def ready() -> None:
    """Import and build what takes longest of the parts here, once for all workers that are forked: an adapter's
    `preload` names it as `coordexp_audit_lib.kit.parts:ready`."""
    import transformers

    hub: Any = transformers
    with suppress(words.TokenizerMissing):  # each worker says so where it is asked
        words.at(str(Path.cwd()))
    model(), image_processor(), hub.Qwen3VLProcessor


def images(pictures: Sequence[Mapping[str, Any]]) -> list[Any]:
    """PIL images of a request's pictures: number, width and height in pixels of each."""
    return [picture.image(p["number"], p["width"], p["height"]) for p in pictures]


def messages(turns: Sequence[Sequence[str]], pictures: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """A chat as `apply_chat_template` takes it: content parts of type `image` (with the PIL image) and `text`.

    turns: (role, text); each `<image>` in a text that is not an assistant's stands for the next picture.
    """
    waiting = iter(images(pictures))
    told = []
    for role, text in turns:
        if role == "assistant":
            told.append({"role": role, "content": [{"type": "text", "text": text}]})
            continue
        content: list[dict[str, Any]] = []
        for number, piece in enumerate(text.split(chat.SLOT)):
            content += [{"type": "image", "image": next(waiting)}] if number else []
            content += [{"type": "text", "text": piece}] if piece else []
        told.append({"role": role, "content": content})
    return told


def chat_of(record: Mapping[str, Any], system: str, user: str, order: str = "desc_first") -> Asked:
    """The chat of a `template` record: turns and pictures as in `packing` samples.

    record: objects (desc, bins) and pictures (width, height). order: of an object's fields.
    """
    slots = chat.SLOT * len(record["pictures"])
    text = answer(record["objects"], order)
    turns = [("system", system), ("user", slots + user), ("assistant", text)]
    pictures = [{"number": n, "width": w, "height": h} for n, (w, h) in enumerate(record["pictures"])]
    return Asked(turns=turns[0 if system else 1 :], pictures=[Asked(p) for p in pictures])


def named(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A chat of text about the objects of a data set's record (`geometry.sample_order`)."""
    objects = [{"desc": "", **one} for one in record["objects"]]
    said = "; ".join(" ".join(str(value) for value in one.values()) for one in objects)
    return [("user", "Name the objects."), ("assistant", said)]


def crowded(objects: int) -> Asked:
    """A record of so many objects in one picture, for a chat of any length."""
    boxes = [("object", [k % 1000, (k + 1) % 1000, 999, 999]) for k in range(objects)]
    return Asked(objects=boxes, pictures=[(64, 64)])


def answer(objects: Sequence[Sequence[Any]], order: Any = "desc_first") -> str:
    """The assistant's CoordJSON text of (desc, bins)."""
    return coordjson.container(*(coordjson.record(desc, "bbox_2d", bins, order) for desc, bins in objects))


def features(turns: Sequence[Sequence[str]], pictures: Sequence[Mapping[str, Any]], images_: Any) -> dict[str, Any]:
    """A chat as token lists: input_ids, labels (unshifted, -100 outside what the assistant says), pixel_values
    [patches, 1536] and image_grid_thw [images, 3] where there are pictures.

    For a pipeline that packs what is tokenized already. images_: an image processor.
    """
    told: dict[str, Any] = {}
    if pictures:
        told = dict(images_(images=images(pictures), return_tensors="pt"))
    grids = told["image_grid_thw"].tolist() if pictures else []
    ids, labels = chat.render([(role, text) for role, text in turns], grids)
    return {"input_ids": ids, "labels": labels, **{k: v for k, v in told.items() if k in VISION}}
