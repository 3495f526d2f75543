"""ms-swift's Qwen3-VL template over a byte-level tokenizer: what grid does an image end in, and what was asked?"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from importlib import metadata
from typing import Any, ClassVar

from coordexp_audit_lib.pipelines.api import CannotImport, Refused

SPECIAL = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<|vision_start|>": 151652,
    "<|vision_end|>": 151653,
    "<|image_pad|>": 151655,
    "<|video_pad|>": 151656,
}
_KEPT: dict[str, Any] = {}


def grid_of(max_pixels, encode):
    """Call `encode(template)` and give what the image processor was called with, and the grid that it gave."""
    template = template_of(max_pixels)
    processor = template.processor.image_processor
    processor.asked.clear()
    with visible(vision_modules()):
        loader = loader_module()
        with visible({"qwen_vl_utils": loader}):
            try:
                encoded = encode(template)
            except Refused as refused:
                if refused.type_name in ("ModuleNotFoundError", "ImportError"):
                    raise CannotImport("the template cannot encode: %s" % refused.message) from refused
                raise
    return {
        "do_resize": list(processor.asked),
        "grid": [int(v) for v in encoded["image_grid_thw"].reshape(-1)],
        "patch": int(processor.patch_size),
        "fetched": loader.audit_name,
    }


@contextlib.contextmanager
def visible(modules):
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


def template_of(max_pixels):
    """The template in training mode, made once."""
    if "template" not in _KEPT:
        from swift.llm.template.register import get_template
        from transformers import Qwen2VLImageProcessor

        class Watched(Qwen2VLImageProcessor):
            """The real processor; it notes the do_resize that it is called with."""

            asked: ClassVar[list[Any]] = []

            def __call__(self, *args, **kwargs):
                self.asked.append(kwargs.get("do_resize"))
                return super().__call__(*args, **kwargs)

        means = [0.5, 0.5, 0.5]
        images = Watched(patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=means, image_std=means)
        info = types.SimpleNamespace(config=None, task_type="causal_lm", max_model_len=32768, model_dir="")
        processor = types.SimpleNamespace(
            tokenizer=byte_tokenizer(),
            image_processor=images,
            model_info=info,
            model_meta=types.SimpleNamespace(is_multimodal=True),
        )
        template = get_template("qwen3_vl", processor, max_length=32768, truncation_strategy="raise")
        template.set_mode("train")
        _KEPT["template"] = template
    _KEPT["template"].max_pixels = max_pixels
    return _KEPT["template"]


def byte_tokenizer():
    """One id a byte, and Qwen's special tokens under their real ids: enough for a grid, and made in no time."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab={**vocab, **SPECIAL}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def loader_module():
    """`qwen_vl_utils`, the upstream image loader; where it is not installed, one that hands images on as they are."""
    if "loader" not in _KEPT:
        _KEPT["loader"] = real_loader() or stand_in()
    return _KEPT["loader"]


def stand_in():
    module: Any = types.ModuleType("qwen_vl_utils")
    module.fetch_image = lambda ele, **kw: ele["image"].convert("RGB")
    module.fetch_video = None
    module.audit_name = "a stand-in that hands images on as they are"
    return module


def real_loader():
    """A copy of the installed one, whatever another binding has put in its place."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "qwen_vl_utils"}
    try:
        module: Any = importlib.import_module("qwen_vl_utils")
        module.audit_name = "qwen_vl_utils " + metadata.version("qwen_vl_utils")
        return module
    except (ImportError, metadata.PackageNotFoundError):
        return None
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] == "qwen_vl_utils"]:
            del sys.modules[name]
        sys.modules.update(hidden)


def vision_modules():
    """The parts of torchvision that the upstream code imports, with a resize of PIL's, where it is not installed."""
    if "vision" not in _KEPT:
        _KEPT["vision"] = {} if importlib.util.find_spec("torchvision") else vision_stand_in()
    return _KEPT["vision"]


def vision_stand_in():
    vision: Any = types.ModuleType("torchvision")
    vision.io, vision.transforms = types.ModuleType("torchvision.io"), types.ModuleType("torchvision.transforms")
    vision.transforms.Resize = lambda size, **kw: lambda image: image.resize((size[1], size[0]))
    vision.transforms.InterpolationMode, vision.__version__ = None, "0.0.0"
    return {"torchvision": vision, "torchvision.io": vision.io, "torchvision.transforms": vision.transforms}
