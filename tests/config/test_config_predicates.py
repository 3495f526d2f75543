"""The predicates and the editing of chains: input and expected result, one row a case."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from coordexp_audit_lib.boundaries.config.cases import edits as edit
from coordexp_audit_lib.boundaries.config.cases.edits import mapping_nodes
from coordexp_audit_lib.boundaries.config.predicates.chains import ChainBroken, check_profile, resolve
from coordexp_audit_lib.boundaries.config.predicates.messages import names_path, preflight_flaws, says_what_to_do
from coordexp_audit_lib.boundaries.config.predicates.rules import batch_adds_up, check_config, respects_segments
from coordexp_audit_lib.boundaries.config.predicates.values import Schema
from coordexp_audit_lib.boundaries.config.surfaces import Chain, SourceFile
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.kit.nested import dotted, lookup, merge, steps

CONTRACT = pipeline().contract()
PATH = "rollout_matching.vllm.server.servers[0].x"


@pytest.mark.parametrize(
    ("message", "path", "named"),
    [
        (f"Unknown keys: ['{PATH}']. Remove them.", PATH, True),
        (f"{PATH}: unknown key", PATH, True),
        ("Unknown keys: ['servers[0].x']", PATH, False),
        ("Unknown stage2_ab.schedule keys: ['x']", "stage2_ab.schedule.x", False),
        ("stage2_ab.schedule.x2 is unknown", "stage2_ab.schedule.x", False),
        ("deep.stage2_ab.schedule.x is unknown", "stage2_ab.schedule.x", False),
        ("see stage2_ab.schedule.x.", "stage2_ab.schedule.x", True),
        ("rollout_matching.servers[1].x", "rollout_matching.servers", False),
        ("", "x", False),
    ],
)
def test_names_path(message: str, path: str, named: bool) -> None:
    assert names_path(message, path) is named


@pytest.mark.parametrize(
    ("message", "guided"),
    [
        ("Unknown model keys: ['model.x']", False),
        ("Unknown keys: ['model.x']. Migration guidance: remove unsupported keys.", True),
        ("model.x: unknown key. Remedy: did you mean model.y?", True),
        ("model.x: allowed keys are a, b", True),
        ("model.x is not allowed", False),
        ("use_x.remove is unknown", False),
        ("", False),
    ],
)
def test_says_what_to_do(message: str, guided: bool) -> None:
    path = "use_x.remove" if "use_x" in message else "model.x"
    assert says_what_to_do(message, path) is guided


@pytest.mark.parametrize(
    ("backend", "sound"),
    [
        *(("flash_attention_2", True), (" FLASH_ATTN_2 ", True)),
        *(("sdpa", False), ("eager", False), (None, False), ("", False)),
    ],
)
def test_respects_segments(backend: Any, sound: bool) -> None:
    assert respects_segments(backend) is sound


@pytest.mark.parametrize(
    ("factors", "exact"), [((56, 1, 7, 8), True), ((56, 1, 3, 19), False), ((0, 1, 1, 0), True), ((5, 2, 2, 1), False)]
)
def test_batch_adds_up(factors: tuple[int, int, int, int], exact: bool) -> None:
    assert batch_adds_up(*factors) is exact


GOOD_PAYLOAD = {"rollout_backend": "vllm", "vllm_mode": None, "server_base_urls": ["http://a"]}


@pytest.mark.parametrize(
    ("change", "count"),
    [({}, 0), ({"rollout_backend": None}, 1), ({"server_base_urls": "http://a"}, 1), ({"server_base_urls": [1]}, 1)],
)
def test_preflight_flaws(change: dict[str, Any], count: int) -> None:
    assert len(preflight_flaws({**GOOD_PAYLOAD, **change}, CONTRACT["config.preflight"]["keys"])) == count


def test_preflight_flaws_of_nothing() -> None:
    assert len(preflight_flaws({}, CONTRACT["config.preflight"]["keys"])) == 3


TREE = {"a": {"b": [{"c": 1}, 2, {"d": {}}]}, "e": 3}


def test_mapping_nodes_include_list_items() -> None:
    assert [dotted(p) for p in mapping_nodes(TREE)] == ["", "a", "a.b[0]", "a.b[2]", "a.b[2].d"]


@pytest.mark.parametrize("text", ["a", "a.b", "a.b[0].c", "a.b[2].d.e"])
def test_a_dotted_path_reads_back(text: str) -> None:
    assert dotted(steps(text)) == text


def test_lookup_of_what_is_not_there() -> None:
    assert lookup(TREE, steps("a.b[2].d")) == {}
    assert lookup(TREE, steps("a.b[9].d"), "none") == "none"
    assert lookup(TREE, steps("e.f"), "none") == "none"


def test_merge_replaces_lists_and_merges_mappings() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    merged = {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 1}}
    assert merge(base, {"a": {"y": [3], "z": None}, "b": {"c": 1}}) == merged
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def two_files() -> Chain:
    base = SourceFile("configs/base.yaml", [], {"s": {"items": [{"k": 1}], "v": 1e-06}})
    leaf = SourceFile("configs/leaf.yaml", ["base.yaml"], {"s": {"w": 2}})
    return Chain([leaf, base], merge(base.raw, leaf.raw))


def test_an_edit_of_a_list_item_takes_the_list_over_into_the_leaf() -> None:
    overlay = edit.with_value(two_files(), steps("s.items[0].x"), 7)
    items = [{"k": 1, "x": 7}]
    assert yaml.safe_load(overlay["configs/leaf.yaml"]) == {"extends": "base.yaml", "s": {"w": 2, "items": items}}


def test_an_edit_leaves_the_chain_alone() -> None:
    chain = two_files()
    edit.with_values(chain, {"s.items[0].x": 7, "t.u": {}})
    edit.without(chain, steps("s.v"))
    assert chain == two_files()


def test_taking_a_key_out_reaches_every_file_that_sets_it() -> None:
    chain = two_files()
    assert set(edit.without(chain, steps("s.v"))) == {"configs/base.yaml"}
    assert set(edit.without(chain, ("s",))) == {"configs/base.yaml", "configs/leaf.yaml"}
    assert edit.without(chain, steps("s.absent")) == {}


@pytest.mark.parametrize(
    "value",
    [
        *(1e-06, -2.5e22, 1.0, 17, -3, "2", "true", "", "null", " a: #b\n", True, None, [1.5, {"a": "ö"}], {}, []),
        '\u2028\x85\x7f\t\\ " 😀 <|im_end|>',
        {"odd: key": {"😀": [{}]}},
    ],
)
def test_values_survive_the_way_through_yaml(value: Any) -> None:
    back = yaml.safe_load(edit.text_of({"k": value}))["k"]
    assert back == value
    assert type(back) is type(value)


def test_non_finite_numbers_survive_the_way_through_yaml() -> None:
    back = yaml.safe_load(edit.text_of({"n": math.nan, "i": -math.inf}))
    assert math.isnan(back["n"])
    assert back["i"] == -math.inf


def files_of(**texts: str) -> Any:
    return {f"configs/{name}.yaml": text for name, text in texts.items()}.get


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        ({"a": "extends: a.yaml"}, ["a.yaml -> configs/a.yaml"]),
        ({"a": "extends: b.yaml", "b": "extends: a.yaml"}, ["configs/a.yaml -> configs/b.yaml -> configs/a.yaml"]),
        ({"a": "extends: gone.yaml"}, ["configs/a.yaml -> configs/gone.yaml", "no such file"]),
        ({"a": "- 1"}, ["no mapping"]),
    ],
)
def test_a_broken_chain_is_shown(texts: dict[str, str], shown: list[str]) -> None:
    with pytest.raises(ChainBroken) as error:
        resolve(files_of(**texts), "configs/a.yaml")
    assert all(s in str(error.value) for s in shown)


def test_a_diamond_is_no_cycle() -> None:
    read = files_of(a="extends: [b.yaml, c.yaml]\nx: 1", b="extends: d.yaml", c="extends: d.yaml\nx: 2", d="x: 3\ny: 4")
    assert resolve(read, "configs/a.yaml").merged == {"x": 1, "y": 4}


def test_a_profile_is_told_everything_that_is_wrong_with_it() -> None:
    leaf = SourceFile("configs/stage2_ab/prod/x.yaml", ["../base.yaml", "../more.yaml"], {"model": {"model": "m"}})
    problems = [found.problem for found in check_profile(Chain([leaf], leaf.raw), CONTRACT)]
    assert problems[0].subject == leaf.path
    assert "../more.yaml" in problems[0].message
    assert {p.subject for p in problems[1:]} >= {"training.run_name", "stage2_ab.n_softctx_iter"}
    assert "model.model" not in {p.subject for p in problems}


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"unknown": 1}, "unknown"),
        ({"extra": {}}, "extra"),
        ({"custom.coord_tokens.enabled": False}, "custom.coord_tokens.enabled"),
        ({"custom.coord_tokens.typo": 1}, "custom.coord_tokens.typo"),
        ({"training.effective_batch_size": True}, "training.effective_batch_size"),
        ({"training.effective_batch_size": 2.0}, "training.effective_batch_size"),
        ({"stage2_ab": {"schedule": {"b_ratio": math.nan}}}, "stage2_ab.schedule.b_ratio"),
        ({"stage2_ab": {"schedule": {"b_ratio": "0.5"}}}, "stage2_ab.schedule.b_ratio"),
        ({"stage2_ab": {"schedule": {}}}, "stage2_ab.schedule.b_ratio"),
        ({"stage2_ab": {"schedule": {"pattern": "AB", "b_ratio": 1}}}, "stage2_ab.schedule.pattern"),
        ({"stage2_ab": 3}, "stage2_ab"),
        ({"rollout_matching": {"vllm": {"server": {"servers": []}}}}, "rollout_matching.vllm.server.servers"),
        ({"custom.extra": {"rollout_matching": {}}}, "custom.extra.rollout_matching"),
        ({"custom.trainer_variant": "stage2_ab_training"}, "rollout_matching"),
        (
            {"rollout_matching": {"vllm": {"max_model_len": 9}}, "global_max_length": 10},
            "rollout_matching.vllm.max_model_len",
        ),
        (
            {"rollout_matching": {"vllm": {"max_model_len": 9}}, "global_max_length": 9, "template.max_length": 10},
            "rollout_matching.vllm.max_model_len",
        ),
        ({"rollout_matching": {"vllm": {"max_model_len": 9}, "max_new_tokens": 9}}, "rollout_matching.max_new_tokens"),
    ],
)
def test_check_config_names_what_is_wrong(values: dict[str, Any], path: str) -> None:
    config: dict[str, Any] = {
        "model": {"model": "m"},
        "template": {"template": "t"},
        "training": {"effective_batch_size": 4},
        "custom": {"train_jsonl": "x", "object_field_order": "desc_first"},
    }
    assert list(check_config(config, CONTRACT)) == []
    leaf = SourceFile("configs/x.yaml", [], config)
    broken = yaml.safe_load(edit.with_values(Chain([leaf], config), values)["configs/x.yaml"])
    problems = [found.problem for found in check_config(broken, CONTRACT)]
    assert path in {p.subject for p in problems}
    assert all(p.expected for p in problems)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("any", [None, 1, "x"], []),
        ("free", [{}, {"a": 1}], [1, [], None]),
        ("flag", [True, False], [1, "true", None]),
        ("true", [True], [False, 1]),
        ("text", ["x"], ["", 1, None]),
        ("text a|b", ["a", "b"], ["c", ""]),
        ("number", [1, -2.5], [math.nan, math.inf, True, "1"]),
        ("number 0..1", [0, 1, 0.5], [-0.1, 1.1]),
        ("number >0", [0.1], [0, -1]),
        ("int 0..", [0, 9], [-1, 0.5, True, 2.0]),
        ("int -1..", [-1], [-2]),
        (["text"], [[], ["a"]], ["a", [1]]),
        (["int 0..", 1], [[0]], [[]]),
        ({"a!": "int 0..", "b?": "text"}, [{"a": 1}, {"a": 1, "b": None}], [{}, {"a": None}, {"a": 1, "c": 1}, []]),
    ],
)
def test_kinds_of_values(kind: Any, good: list[Any], bad: list[Any]) -> None:
    schema = Schema({"k": kind}, {}, "extra")
    assert [v for v in good if list(schema.check({"k": v}))] == []
    assert [v for v in bad if not list(schema.check({"k": v}))] == []


HUGE = int("f" * 5000, 16)  # what YAML reads of 0xfff…, and Python does not write in digits


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"n": made}
    return made


@pytest.mark.parametrize(
    "value", [10**400, HUGE, nested(400), ["x"] * 10**5, "x" * 10**6], ids=lambda v: type(v).__name__
)
def test_a_value_of_any_size_is_one_short_message(value: Any) -> None:
    schema = Schema({"a": "int 0..4", "b": "number 0..1", "c": {"x": "flag"}}, {}, "custom.extra")
    found = [str(one) for one in schema.check({"a": value, "b": value, "c": value})]
    assert len(found) == 3
    assert max(map(len, found)) < 5000


def test_many_unknown_keys_are_all_told_and_cost_no_more_than_their_number(lines_run: Any) -> None:
    schema = Schema({f"key_{n}": "any" for n in range(30)}, {}, "custom.extra")

    def work(keys: int) -> int:
        config = {f"kye_{n}": n for n in range(keys)}
        told = list(schema.check(config))
        assert len(told) == keys and "did you mean" in str(told[0])
        return int(lines_run(lambda: list(schema.check(config))))

    assert work(2000) <= 4.4 * work(500)
