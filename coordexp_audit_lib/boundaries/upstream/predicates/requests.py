"""Requests to the rollout server: decoding settings, and chats with images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.upstream.surfaces import ConfigRequest, Configured, Sample, Sent
from coordexp_audit_lib.core.problem import Problem


def settings_arrive(request: ConfigRequest, made: Configured) -> Iterator[Problem]:
    """Each setting arrives with its value and type, details are asked for, and JSON changes nothing."""
    wanted = {**msgspec.to_builtins(request), "return_details": True}
    for name, value in wanted.items():
        found = made.config.get(name)
        if found != value or type(found) is not type(value):
            yield Problem(f"RequestConfig.{name} is {found!r}, not {value!r}", name, value, found, {name: value})
    for name in sorted(set(made.sent) - set(made.config)):
        yield Problem(f"RequestConfig has no field {name}, which the pipeline gives", name, name, None)
    if made.again != made.config:
        odd = sorted(k for k in {*made.config, *made.again} if made.config.get(k) != made.again.get(k))
        yield Problem("a RequestConfig does not survive its own JSON", "", made.config, made.again, odd)


def defaults_as_relied_on(made: Configured, defaults: dict[str, Any]) -> Iterator[Problem]:
    """A config that nothing was given has the defaults that are relied on."""
    for name, value in defaults.items():
        if name not in made.bare or made.bare[name] != value or type(made.bare[name]) is not type(value):
            message = f"RequestConfig().{name} is {made.bare.get(name, 'missing')!r}, not {value!r}"
            yield Problem(message, name, value, made.bare.get(name))


def chat_arrives(sample: Sample, sent: Sent) -> Iterator[Problem]:
    """Messages and images arrive as they were sent, and the template finds a slot for each image."""
    images = sample.images if sample.images is not None else _inside(sample)
    shown = msgspec.to_builtins(sample)
    for what, wanted, found in (
        ("the messages that are posted", sample.messages, sent.payload.get("messages")),
        ("the messages of the server's request", sample.messages, sent.request.get("messages")),
        ("the images of the server's request", sample.images or [], sent.request.get("images")),
        ("the request after its own JSON", sent.request, sent.again),
        ("the images that the template finds", images, sent.images),
        ("the image slots in the prompt", len(images), sent.slots),
    ):
        if wanted != found:
            yield Problem(f"{what} are not what was sent", what, wanted, found, shown)
    if not all(isinstance(i, str) for i in sent.request.get("images") or []):
        yield Problem("an image of the server's request is no string", "images", "str", sent.request["images"], shown)


def _inside(sample: Sample) -> list[str]:
    """The images within messages, in their order."""
    items = [i for m in sample.messages if isinstance(m["content"], list) for i in m["content"]]
    return [i["image"] for i in items if i["type"] == "image"]
