"""The adapter that `coordexp-audit adapter new` writes: every surface that holds of any pipeline, with its fields."""

from __future__ import annotations

import inspect
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.core.surface import Surface, surfaces

HEAD = '''"""How coordexp-audit asks {name}: each function below answers one question by calls of the pipeline's own.

It runs in the pipeline's environment, contained: `coordexp-audit adapter check {file} --python PATH/TO/python`.
Delete what the pipeline does not have: it is then not judged by it. An option that it lacks: raise
NotSupported("its name").
"""

from coordexp_audit_lib.kit import parts, replies, varlen  # noqa: F401  real parts, and answers as they are wanted
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported  # noqa: F401

adapter = Adapter(
    "{name}",
    distributions=("torch", "transformers"),  # packages whose versions count
    profile="qwen3_vl",  # the model family: qwen2_vl, qwen2_5_vl, qwen3_vl, text, or the folder of a tokenizer
    policies=(),  # what this pipeline promises beyond what holds of any: see the page "Audit your own pipeline"
)


@adapter.setup
def setup(here):
    """Once in a worker; what it returns is `here.parts`. here.config: the path given with --config, or None."""
    return parts.processor(here.scratch)
'''
# Surface -> what to write in its function.
BODIES = {
    "packing.plan": "return replies.plan(here.call(MY_PLANNER, request.lengths, request.packing_length))",
    "packing.stream": "return replies.stream(here.call(MY_STREAMING_PACKER, request.lengths, request.packing_length))",
    "packing.encode": (
        "samples = [here.call(MY_ENCODE, here.parts, parts.messages(s.turns, s.pictures)) for s in request.samples]\n"
        "return replies.encoded(samples, here.parts.image_processor)"
    ),
    "packing.batch": (
        "# for each pack: the numbers of its samples, and the tensors that your collator makes of them\n"
        "return replies.batches([(pack, MY_COLLATE(pack)) for pack in MY_PACKS], here.parts.image_processor)"
    ),
    "packing.forward": (
        "model = parts.model()  # a small real one\n\n"
        "def ran(batch):  # your own loss; the audit watches what the model is called with\n"
        '    return replies.ran(model, batch["labels"], lambda: here.call(MY_LOSS, model, batch))\n\n'
        "with varlen.attending(model, request.attention):\n"
        "    alone = [ran(MY_COLLATE([sample])) for sample in MY_SAMPLES]\n"
        "    packs = [replies.pack(pack, ran(MY_COLLATE(pack)), alone, request.by_token) for pack in MY_PACKS]\n"
        "return replies.forward(packs)"
    ),
    "template.encode": (
        "chats = [parts.chat_of(r, request.system, request.user, request.field_order) for r in request.records]\n"
        "samples = [here.call(MY_ENCODE, here.parts, parts.messages(c.turns, c.pictures)) for c in chats]\n"
        "return replies.records(samples)  # with your padded batch of all of them, if it pads"
    ),
    "template.settings": 'return {"max_length": None, "strategy": "raise"}  # as --config says',
    "template.limit": "return replies.limit(SAMPLE_WITH_THE_LIMIT, SAMPLE_WITHOUT)",
    "metrics.accumulate": 'return {"ranks": [MY_AVERAGE_OF_THE_MICRO_STEPS for rank in request.ranks]}',
}


def text(name: str) -> str:
    """The adapter's text. The functions stand as comments until they are filled in."""
    known = surfaces()
    return HEAD.format(name=name, file="adapter.py") + "".join(
        _function(known[surface], body) for surface, body in BODIES.items()
    )


def _function(question: Surface[Any, Any], body: str) -> str:
    name = question.name.replace(".", "_")
    said = [
        question.summary,
        "",
        "Asked with: " + _fields(question.request),
        "To be told: " + _fields(question.response),
    ]
    lines = [f'@adapter.answers("{question.name}")  # of="my_package.my_module:MyClass.my_function" for the place', ""]
    lines[1:] = [f"def {name}(request, here):", textwrap.indent(body, "    ")]
    comments = [c for line in said for c in (textwrap.wrap(line, 116) or [""])]
    return (
        "\n\n"
        + "".join(f"# {c}".rstrip() + "\n" for c in comments)
        + "".join(f"# {line}".rstrip() + "\n" for line in "\n".join(lines).splitlines())
    )


def _fields(kind: type[msgspec.Struct]) -> str:
    """A struct's fields, and what its docstring says of them."""
    doc = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
    inner = [f"Each of `{name}`: {_fields(one)}" for name, one in _parts(kind)]
    return " ".join([f"{', '.join(kind.__struct_fields__)}. {doc}", *inner])


def _parts(kind: type[msgspec.Struct]) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """The structs that a struct's lists hold, by field."""
    for name, hint in typing.get_type_hints(kind).items():
        for one in typing.get_args(hint):
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                yield name, one
