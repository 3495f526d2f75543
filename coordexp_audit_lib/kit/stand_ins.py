"""Things put in place of others for a while; among them what upstream's image code imports and a CPU does not need.

Where `qwen_vl_utils` or `torchvision` is installed it is used. Standard library only at import time.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from typing import Any

PLAIN = "a stand-in that hands images on as they are"


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
def visible(modules: Mapping[str, Any]) -> Iterator[None]:
    """These modules importable under their names, for as long as this lasts; what stood there before comes back."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


@lru_cache(maxsize=1)
def vision() -> dict[str, Any]:
    """The parts of torchvision that the upstream code imports, with a resize of PIL's, where it is not installed.

    Only to be `visible` for a while: transformers asks whether there is a torchvision, and must be told no.
    """
    if importlib.util.find_spec("torchvision"):
        return {}
    made: Any = types.ModuleType("torchvision")
    made.io, made.transforms = types.ModuleType("torchvision.io"), types.ModuleType("torchvision.transforms")
    made.transforms.Resize = lambda size, **kw: lambda image: image.resize((size[1], size[0]))
    made.transforms.InterpolationMode, made.__version__ = None, "0.0.0"
    return {"torchvision": made, "torchvision.io": made.io, "torchvision.transforms": made.transforms}


@lru_cache(maxsize=1)
def loader() -> tuple[Any, str]:
    """`qwen_vl_utils`, the upstream image loader, and what it is; from then on importable in this process."""
    with visible(vision()):
        try:
            return importlib.import_module("qwen_vl_utils"), "qwen_vl_utils " + metadata.version("qwen_vl_utils")
        except (ImportError, metadata.PackageNotFoundError):
            made: Any = types.ModuleType("qwen_vl_utils")
            made.fetch_image = lambda ele, **kw: ele["image"].convert("RGB")
            made.fetch_video = None  # imported by name beside it; no sample here has a video
            sys.modules["qwen_vl_utils"] = made
            return made, PLAIN
