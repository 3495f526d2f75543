"""What the data-flow scan says of small modules: source text -> verdict of each strict parser call, by line."""

import pytest

from coordexp_audit_lib.boundaries.coordjson.surfaces import scan
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.source.sinks import ScanRequest
from coordexp_audit_lib.source.tree import Tree

TRANSPILER = """
import json
def parse_coordjson(text, *, mode):
    literal = text[3:9]
    return json.loads(literal)
def coordjson_to_strict_json(text, *, mode):
    return str(parse_coordjson(text, mode=mode))
"""
HEAD = """
import json
from src.utils.coordjson_transpiler import coordjson_to_strict_json
"""
TABLE = {
    "a decoded rollout": ("def f(tokenizer, ids):\n    return json.loads(tokenizer.decode(ids))", ["raw"]),
    "a batch": ("def f(proc, ids):\n    for t in proc.batch_decode(ids):\n        json.loads(t)", ["raw"]),
    "a choice's content": ("def f(r):\n    json.loads(r.choices[0].message.content)", ["raw"]),
    "a choice's content by key": ("def f(r):\n    json.loads(r['choices'][0]['message']['content'])", ["raw"]),
    "a name that says so": ("def f(assistant_text):\n    json.loads(assistant_text)", ["raw"]),
    "a reader's parameter": ("def parse_prediction(text):\n    return json.loads(text)", ["raw"]),
    "a slice and a method": ("def f(response_text):\n    t = response_text[2:].strip()\n    json.loads(t)", ["raw"]),
    "a fallback": ("def f(pred_text, d):\n    json.loads(cut(pred_text) or d)", ["raw"]),
    "a join of pieces": (
        "def f(tokenizer, ids):\n    p = [tokenizer.decode([i]) for i in ids]\n    json.loads(''.join(p))",
        ["raw"],
    ),
    "one branch": (
        "def f(model_output_text, ok):\n    t = '{}'\n    if ok:\n        t = model_output_text\n    json.loads(t)",
        ["raw"],
    ),
    "one branch transpiled": (
        "def f(raw_output, ok):\n    t = raw_output\n    if ok:\n"
        "        t = coordjson_to_strict_json(t, mode='strict')\n    json.loads(t)",
        ["raw"],
    ),
    "a loop's end": (
        "def f(lines, pred_text):\n    t = '{}'\n    for _ in lines:\n        json.loads(t)\n        t = pred_text",
        ["raw"],
    ),
    "a call in the module": ("def g(x):\n    return json.loads(x)\ndef f(rollout_text):\n    g(rollout_text)", ["raw"]),
    "a result in the module": (
        "def g(tokenizer, i):\n    return tokenizer.decode(i)\ndef f(tokenizer, i):\n    json.loads(g(tokenizer, i))",
        ["raw"],
    ),
    "a method": (
        "class A:\n    def g(self, x):\n        return json.loads(x)\n"
        "    def f(self, completion_text):\n        return self.g(completion_text)",
        ["raw"],
    ),
    "a nested function": (
        "def f(assistant_text):\n    def g():\n        return json.loads(assistant_text)\n    return g",
        ["raw"],
    ),
    "another alias": ("import json as _j\ndef f(assistant_text):\n    _j.loads(assistant_text)", ["raw"]),
    "another parser": ("import ast\ndef f(assistant_text):\n    ast.literal_eval(assistant_text)", ["raw"]),
    "a decoder": ("def f(assistant_text):\n    json.JSONDecoder().raw_decode(assistant_text)", ["raw"]),
    "rendered text": ("def f(o):\n    json.loads(dumps_coordjson(o))", ["raw"]),
    "transpiled": (
        "def f(assistant_text):\n    t = coordjson_to_strict_json(assistant_text, mode='strict')\n    json.loads(t)",
        ["transpiled"],
    ),
    "transpiled under its old name": (
        "def f(assistant_text):\n    assistant_text = coordjson_to_strict_json(assistant_text, mode='strict')\n"
        "    json.loads(assistant_text)",
        ["transpiled"],
    ),
    "a line of a file": ("def f(path):\n    for line in open(path):\n        json.loads(line)", ["not-assistant"]),
    "a deep copy": ("def f(assistant_text):\n    json.loads(json.dumps({'a': assistant_text}))", ["not-assistant"]),
    "a server's body": ("def f(body):\n    json.loads(body.decode('utf-8'))", ["not-assistant"]),
    "a config": ("import yaml\ndef f(path):\n    yaml.safe_load(path.read_text())", ["not-assistant"]),
}


def verdicts(tmp_path, files):
    for path, text in {"src/utils/coordjson_transpiler.py": TRANSPILER, **files}.items():
        full = tmp_path / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text, encoding="utf-8")
    return scan(Tree(tmp_path), ScanRequest()).sinks


@pytest.mark.parametrize(("body", "expected"), TABLE.values(), ids=TABLE)
def test_the_verdict_of_a_sink(tmp_path, body, expected):
    sinks = verdicts(tmp_path, {"src/eval/it.py": HEAD + body + "\n"})
    assert [s.verdict for s in sinks if s.path == "src/eval/it.py"] == expected


def test_a_text_is_followed_into_another_module(tmp_path):
    files = {
        "src/common/load.py": "import json\ndef load(x):\n    return json.loads(x)\n",
        "src/infer/run.py": "from src.common.load import load\ndef f(tok, i):\n    return load(tok.decode(i))\n",
    }
    assert [(s.path, s.line, s.symbol, s.verdict) for s in verdicts(tmp_path, files)] == [
        ("src/common/load.py", 3, "load", "raw"),
        ("src/utils/coordjson_transpiler.py", 5, "parse_coordjson", "string-literal"),
    ]


def test_the_transpiler_itself_may_not_give_the_whole_text_away(tmp_path):
    quick = TRANSPILER + "def quick(text):\n    return parse_coordjson(text) or json.loads(text)\n"
    quick = quick.replace("literal = text[3:9]", "literal = text")
    assert [s.verdict for s in verdicts(tmp_path, {"src/utils/coordjson_transpiler.py": quick})] == [
        "raw",
        "not-assistant",
    ]


def test_folders_that_no_run_passes_through_are_left_out(tmp_path):
    files = {"src/analysis/a.py": "import json\ndef f(assistant_text):\n    json.loads(assistant_text)\n"}
    assert [s.path for s in verdicts(tmp_path, files)] == ["src/utils/coordjson_transpiler.py"]


def test_a_tree_without_a_transpiler_is_unbound(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(SurfaceUnbound):
        scan(Tree(tmp_path), ScanRequest())
