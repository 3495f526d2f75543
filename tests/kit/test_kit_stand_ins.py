"""What is put in place of other things for a while, and that everything is as before afterwards."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib.kit import chat, model, picture, stand_ins, template, tokenizer


def test_attributes_come_back_also_after_an_error() -> None:
    thing: Any = types.SimpleNamespace(a=1)
    with pytest.raises(KeyError), stand_ins.replaced(thing, a=2, b=3):
        assert (thing.a, thing.b) == (2, 3)
        raise KeyError
    assert vars(thing) == {"a": 1}


def test_a_static_method_stays_one() -> None:
    class Loader:
        @staticmethod
        def read(path: str) -> str:
            return path

    with stand_ins.replaced(Loader, read=staticmethod(lambda path: path + "!")):
        assert Loader().read("x") == "x!"
    assert Loader().read("x") == "x"


def test_modules_are_visible_for_a_while() -> None:
    made = types.ModuleType("no_such_module")
    with stand_ins.visible({"no_such_module": made, "json": made}):
        assert sys.modules["no_such_module"] is sys.modules["json"] is made
    assert "no_such_module" not in sys.modules and sys.modules["json"] is not made


def test_the_template_is_packed_for_a_while() -> None:
    made = types.SimpleNamespace(packing=False, padding_free=True)
    with pytest.raises(KeyError), template.packing(made, True):
        assert made.packing and made.padding_free
        raise KeyError
    assert (made.packing, made.padding_free) == (False, True)


def test_a_conversation_holds_the_pictures() -> None:
    made = chat.conversation([("user", "<image>Where?")], [{"number": 3, "width": 64, "height": 32}])
    assert made["messages"] == [{"role": "user", "content": "<image>Where?"}]
    assert (np.asarray(made["images"][0]) == picture.pixels(3, 64, 32)).all()


def test_a_chat_of_unknown_roles_or_too_few_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="1 image slots and 0 pictures"):
        chat.render([("user", "<image>")])
    with pytest.raises(ValueError, match="unknown role 'tool'"):
        chat.render([("tool", "x")])


def test_pixel_rows_are_told_apart_whatever_the_normalisation() -> None:
    import torch

    _, rows = picture.patches(picture.pixels(1, 64, 64))
    for mean, deviation in (([0.5] * 3, [0.5] * 3), ([0.48, 0.45, 0.4], [0.27, 0.26, 0.28])):
        images = types.SimpleNamespace(image_mean=mean, image_std=deviation)
        at, by = (torch.tensor(v).repeat_interleave(512) for v in (mean, deviation))
        normal = (torch.tensor(rows.astype("float32")) / 255 - at) / by
        assert picture.digests(normal, images) == picture.row_digests(rows)


def test_the_small_model_has_the_rows_that_are_asked_for() -> None:
    made = model.build(rows=152_000, tied=True)
    assert made.get_input_embeddings().weight.shape[0] == 152_000
    assert made.lm_head.weight is made.get_input_embeddings().weight


def test_the_tokenizer_is_kept_where_nobody_else_writes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    assert tokenizer.place(str(tmp_path)) == tmp_path


def test_a_picture_that_the_real_loader_leaves_alone_is_soundly_handed_on() -> None:
    """The real one enlarges what has fewer than four merged patches, and rounds sides to whole ones."""
    from PIL import Image

    told = {}
    for size in ((64, 64), (96, 64), (32, 32), (100, 64), (32, 160)):
        with stand_ins.noted(kept := {}):
            handed = stand_ins._handed_on({"image": Image.new("RGB", size)}, image_patch_size=16)
        assert handed.size == size
        told[size] = kept["qwen_vl_utils"][2]
    assert told == {(64, 64): True, (96, 64): True, (32, 32): False, (100, 64): False, (32, 160): True}


def test_what_was_used_in_a_part_is_told_of_the_whole() -> None:
    whole: dict[str, tuple[str, str, bool]] = {}
    part: dict[str, tuple[str, str, bool]] = {}
    with stand_ins.noted(whole):
        stand_ins.used("a", "for a", True)
        with stand_ins.noted(part):
            stand_ins.used("b", "for b", False)
    assert set(whole) == {"a", "b"} and set(part) == {"b"} and not whole["b"][2]
