"""The figures' data is right, and each is drawn from it."""

import matplotlib as mpl
import pytest

from coordexp_audit_lib.boundaries.coordjson import figures
from coordexp_audit_lib.core.claim import Context, exhibits
from coordexp_audit_lib.targets.reference import ReferenceTarget

mpl.use("Agg")


def data(name):
    return exhibits("coordjson")[name](Context(ReferenceTarget(), "any", 0, name))


@pytest.fixture(autouse=True)
def _close():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_every_character_has_its_part():
    spans = data("coordjson.spans")
    text, parts = spans["text"], spans["parts"]
    assert len(text) == len(parts)
    assert set(parts) == set(figures.COLOURS)
    said = {part: "".join(c for c, p in zip(text, parts, strict=True) if p == part) for part in figures.COLOURS}
    assert said["desc"] == '"sign with ]} on it""roof"'
    assert said["outside"] == "Here it is: "
    assert said["coordinate token"].count("<|coord_") == 10
    assert said["dropped record"].startswith('{"desc": "cat"')
    assert said["incomplete tail"].startswith('{"desc": "dog"')
    assert [r[0] for r in spans["records"]] == [0, 2]


def test_lines_break_behind_spaces_and_lose_nothing():
    text = "word " * 40 + "x" * 200
    lines = [text[a:b] for a, b in figures._lines(text)]
    assert "".join(lines) == text
    assert max(map(len, lines)) <= figures.WIDTH


def test_every_class_is_refused_and_dropped_once():
    classes = data("coordjson.classes")
    for kind, row in classes["rows"].items():
        assert row[0] == classes["texts"][kind]
        assert sum(row[1:-2]) == (0 if kind == "open brace" else classes["texts"][kind])
        assert row[-2:] == [0, 0]


def test_all_are_drawn():
    for draw, name in (
        (figures.draw_spans, "coordjson.spans"),
        (figures.draw_classes, "coordjson.classes"),
        (figures.draw_growth, "coordjson.growth"),
    ):
        figure = draw(data(name))
        figure.canvas.draw()
        assert figure.axes[0].texts


def test_markup_in_a_text_is_drawn_as_text():
    figure = figures.draw_spans({"text": "$a_b$ \x1b[0m<b>", "parts": ["outside"] * 18})
    assert not any(t.get_parse_math() for t in figure.axes[0].texts)
