"""Things put in place of others for a while; among them what upstream's image code imports and a CPU does not need.

Where `qwen_vl_utils` or `torchvision` is installed it is used. What stands in for something that is not installed says
so when it has a part in an answer (`used`): it travels with the answer, and the finding names it. Things put in place
of a server or of a clock are part of the question, and are not told. Standard library only at import time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from importlib import metadata
from typing import Any

PLAIN = "a stand-in that hands images on as they are"
RESIZING = "a stand-in of which the image loader imports names only; where it resizes, PIL does"
USED: dict[str, tuple[str, str, bool]] = {}  # in the answer that is being made


def used(name: str, what: str, sound: bool) -> None:
    """Say that something stands in for `name`, which is not installed, in the answer that is being made.

    sound: whether the answer is what it would be with the real one; else nothing is held on the strength of it.
    """
    sound = sound and USED.get(name, (name, what, True))[2]
    USED[name] = name, what, sound


@contextmanager
def noted(kept: dict[str, tuple[str, str, bool]]) -> Iterator[None]:
    """Keep what is used in this part of an answer, for whoever remembers the part."""
    before = dict(USED)
    USED.clear()
    try:
        yield
    finally:
        kept.update(USED)
        USED.clear()
        for one in (*before.values(), *kept.values()):
            used(*one)


@contextmanager
def replaced(thing: Any, **values: Any) -> Iterator[None]:
    """A module, class or object with these attributes of its own, for as long as this lasts."""
    before = {name: vars(thing)[name] for name in values if name in vars(thing)}
    for name, value in values.items():
        setattr(thing, name, value)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                setattr(thing, name, before[name])
            else:
                delattr(thing, name)


@contextmanager
def entries(of: MutableMapping[str, Any], given: Mapping[str, Any]) -> Iterator[None]:
    """A mapping with these entries, for as long as this lasts; what stood there before comes back."""
    before = {name: of.get(name) for name in given}
    of.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                of.pop(name, None)
            else:
                of[name] = value


def visible(modules: Mapping[str, Any]) -> AbstractContextManager[None]:
    """These modules importable under their names, for as long as this lasts."""
    return entries(sys.modules, modules)


@lru_cache(maxsize=1)
def vision() -> dict[str, Any]:
    """The parts of torchvision that the upstream code imports, with a resize of PIL's, where it is not installed.

    Only to be `visible` for a while: transformers asks whether there is a torchvision, and must be told no.
    """
    if importlib.util.find_spec("torchvision"):
        return {}
    made: Any = types.ModuleType("torchvision")
    made.io, made.transforms = types.ModuleType("torchvision.io"), types.ModuleType("torchvision.transforms")
    made.transforms.Resize = _resize
    made.transforms.InterpolationMode, made.__version__ = None, "0.0.0"
    return {"torchvision": made, "torchvision.io": made.io, "torchvision.transforms": made.transforms}


def _resize(size: Any, **kw: Any) -> Any:
    used("torchvision", RESIZING, True)
    return lambda image: image.resize((size[1], size[0]))


def _handed_on(ele: Any, image_patch_size: int = 14, **kw: Any) -> Any:
    """The image of a request as it is, which is what the real loader makes of one whose sides are fit."""
    image = ele["image"].convert("RGB")
    step = 2 * image_patch_size
    fit = image.width % step == image.height % step == 0 and image.width * image.height >= 4 * step * step
    used("qwen_vl_utils", PLAIN, fit)
    return image


def _telling(fetch: Any) -> Any:
    """The real loader, which was imported beside a stand-in for torchvision."""

    @functools.wraps(fetch)
    def fetched(*args: Any, **kw: Any) -> Any:
        used("torchvision", RESIZING, True)
        return fetch(*args, **kw)

    return fetched


@lru_cache(maxsize=1)
def loader() -> tuple[Any, str]:
    """`qwen_vl_utils`, the upstream image loader, and what it is; from then on importable in this process."""
    with visible(vision()):
        try:
            real: Any = importlib.import_module("qwen_vl_utils")
            fetch, version = real.fetch_image, metadata.version("qwen_vl_utils")
            if vision():
                real.fetch_image = _telling(fetch)
            return real, f"qwen_vl_utils {version}"
        except (ImportError, AttributeError, metadata.PackageNotFoundError):
            made: Any = types.ModuleType("qwen_vl_utils")
            made.fetch_image = _handed_on
            made.fetch_video = None  # imported by name beside it; no sample here has a video
            sys.modules["qwen_vl_utils"] = made
            return made, PLAIN
