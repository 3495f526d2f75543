"""Releases that are named together, and what is asked of a release beyond the pinned contracts."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.upstream.artifact import matrix
from coordexp_audit_lib.boundaries.upstream.artifact.releases import open_source
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.pipelines.coordexp.contract.upstream import CONTRACT

boundaries.load(["upstream"])
VLLM = {"vllm/__init__.py": "from vllm.sampling_params import SamplingParams\nfrom vllm.llm import LLM\n"}
VLLM |= {
    "vllm/llm.py": "class LLM:\n    pass\n",
    "vllm/lora/__init__.py": "",
    "vllm/lora/models.py": "class LoRAModel:\n    pass\n",
}
NEW_PARAMS = "class SamplingParams:\n    def __init__(self, n=1, seed=None):\n        pass\n"
OLD_PARAMS = NEW_PARAMS.replace("n=1,", "n=1, best_of=None,")
ENGINE = """
try:
    from vllm import SamplingParams
except Exception:
    raise
def prepare(request):
    kwargs = {}
    for key in ["n", "best_of"]:
        kwargs[key] = getattr(request, key)
    if request.odd:
        kwargs["odd"] = 1
    return SamplingParams(**kwargs)
"""


def wheel(folder: Path, distribution: str, version: str, files: Mapping[str, str], requires: str = "") -> Path:
    path = folder / f"{distribution.replace('-', '_')}-{version}-py3-none-any.whl"
    told = "".join(f"Requires-Dist: {r}\n" for r in filter(None, requires.split("; ")))
    made = {
        f"{distribution}-{version}.dist-info/METADATA": f"Name: {distribution}\nVersion: {version}\n{told}\n",
        **files,
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in made.items():
            archive.writestr(name, text)
    return path


def together(*wheels: Path) -> list[Finding]:
    sources = [open_source(str(w)) for w in wheels]
    return [f for f in matrix.audit(matrix.of_sources(sources), sources) if f.invariant == "upstream.release_pairs"]


def swift(folder: Path, code: str = "", requires: str = "") -> Path:
    return wheel(folder, "ms-swift", "1.2.3", {"swift/__init__.py": "", "swift/engine.py": code}, requires)


def vllm(folder: Path, version: str = "0.11.0", params: str = OLD_PARAMS) -> Path:
    return wheel(folder, "vllm", version, {**VLLM, "vllm/sampling_params.py": params})


# code of ms-swift, what it requires, the release of vLLM, and what is said: (severity, message)
PAIRS = [
    (ENGINE, "vllm>=0.5", ("0.11.0", OLD_PARAMS), []),
    (ENGINE, "", ("0.33.0", NEW_PARAMS), [("P0", "uses vllm:SamplingParams, which takes no best_of in vllm 0.33.0")]),
    ("", "vllm<0.20,>=0.5", ("0.33.0", OLD_PARAMS), [("P0", "requires vllm<0.20,>=0.5, and not 0.33.0")]),
    ("", "vllm<0.20; torch", ("0.11.0", OLD_PARAMS), []),
    (
        "from vllm.gone import X\n",
        "",
        ("1.0", OLD_PARAMS),
        [("P0", "uses vllm.gone:X, which is not there in vllm 1.0")],
    ),
    ("def f():\n    from vllm import Lost\n", "", ("1.0", OLD_PARAMS), [("P1", "uses vllm:Lost, which is not there")]),
    ("from vllm.lora.models import LoRAModel\n", "", ("1.0", OLD_PARAMS), []),
    (
        "try:\n    from vllm import Lost\nexcept ImportError:\n    Lost = None\nimport vllm\n",
        "vllm",
        ("1.0", OLD_PARAMS),
        [],
    ),
    ("if old:\n    from vllm import Lost\n", "vllm", ("1.0", OLD_PARAMS), []),
    ("from vllm import LLM\ndef f(x):\n    return LLM(**x)\n", "", ("1.0", OLD_PARAMS), []),
]


@pytest.mark.parametrize(("code", "requires", "release", "says"), PAIRS)
def test_what_one_release_needs_of_another(
    tmp_path: Path, code: str, requires: str, release: tuple[str, str], says: list[tuple[str, str]]
) -> None:
    (found,) = together(swift(tmp_path, code, requires), vllm(tmp_path, *release))
    assert found.status == ("violated" if says else "held")
    assert [v.severity for v in found.violations] == [s for s, _ in says]
    assert all(text in v.message for v, (_, text) in zip(found.violations, says, strict=True))


def test_what_can_not_be_read_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    (found,) = together(swift(tmp_path, "from vllm import LLM\n", "vllm>=0.5"), vllm(tmp_path, "4.²"))
    assert (found.status, found.checked) == ("unbound", 1)
    assert "'4.²' is no version" in found.note
    (found,) = together(swift(tmp_path, "from vllm import LLM\ndef (\n"), vllm(tmp_path))
    assert (found.status, "swift/engine.py: it can't be read" in found.note) == ("unbound", True)


def test_releases_that_name_each_other_nowhere_are_no_pair(tmp_path: Path) -> None:
    assert together(swift(tmp_path), vllm(tmp_path)) == []


def test_a_key_that_the_audited_configs_set_and_a_release_has_not_is_p0(tmp_path: Path) -> None:
    wanted = CONTRACT["upstream.contracts"]["transformers"]["transformers.training_arguments"]["uses"]
    names = [n.strip() for n in wanted["transformers:TrainingArguments"]["fields"].split(";")]

    def audited(version: str, fields: list[str]) -> Finding:
        body = "".join(f"    {n}: int = 0\n" for n in fields)
        code = f"from dataclasses import dataclass\n@dataclass\nclass TrainingArguments:\n{body}"
        root = {
            "transformers/__init__.py": "from .training_args import TrainingArguments\n",
            "transformers/training_args.py": code,
        }
        source = open_source(str(wheel(tmp_path, "transformers", version, root)))
        found = matrix.audit(matrix.of_sources([source]))
        return next(f for f in found if f.invariant == "upstream.versions_matrix")

    assert audited("4.57.6", names).status == "held"
    found = audited("5.0.0", [n for n in names if n != "save_safetensors"])
    assert (found.status, found.severity, found.violation_count) == ("violated", "P0", 1)
    assert (
        found.violations[0].message
        == "the audited configs set save_safetensors, which transformers 5.0.0 does not take"
    )


@pytest.mark.parametrize(("parameters", "status"), [("", "held"), (", mm_token_type_ids=None", "violated")])
def test_a_forward_that_silently_computes_something_else_is_changed(
    tmp_path: Path, parameters: str, status: str
) -> None:
    given = "input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, pixel_values=None"
    code = f"class Qwen3VLModel:\n    def forward(self, {given}, image_grid_thw=None{parameters}):\n        pass\n"
    place = "transformers/models/qwen3_vl"
    files = {"transformers/__init__.py": "", "transformers/models/__init__.py": "", f"{place}/__init__.py": ""}
    source = open_source(
        str(wheel(tmp_path, "transformers", "5.3.0", {**files, f"{place}/modeling_qwen3_vl.py": code}))
    )
    made = matrix.of_sources([source])
    words = {v.contract: v.word for v in made.verdicts}
    assert words["transformers.forward_positions"] == ("kept" if status == "held" else "changed")


@pytest.mark.parametrize("name", ["trl", "peft", "accelerate", "deepspeed"])
def test_trl_peft_accelerate_and_deepspeed_are_read_too(tmp_path: Path, name: str) -> None:
    source = open_source(str(wheel(tmp_path, name, "9.9", {f"{name}/__init__.py": ""})))
    (found,) = matrix.audit(matrix.of_sources([source]))
    assert (found.invariant, found.status, found.config) == ("upstream.used_members", "violated", f"{name}==9.9")


def test_versions_that_are_no_numbers_have_an_order() -> None:
    assert matrix.ordered({"4.²", "10.0", "9.1rc1", "9.1", "unknown"})[-1] == "10.0"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("class C0: pass\n" + "".join(f"class C{i + 1}(C{i}): pass\n" for i in range(2000)), "more than 100 classes"),
        ("from dataclasses import dataclass\nx = " + "[" * 90 + "1" + "]" * 90 + "\n", ""),
    ],
)
def test_source_of_any_shape_costs_one_part_and_no_more(tmp_path: Path, code: str, why: str) -> None:
    last = "C2000" if why else "object"
    files = {"swift/__init__.py": "", "swift/llm/__init__.py": f"{code}class RequestConfig({last}): pass\n"}
    source = open_source(str(wheel(tmp_path, "ms-swift", "4.²", files)))
    found = {f.invariant: f for f in matrix.audit(matrix.of_sources([source]), [source])}
    assert len(found) > 5
    assert not [f for f in found.values() if f.status == "error"]
    assert why in found["upstream.request_config"].note


def test_the_work_for_a_pair_grows_no_faster_than_it(
    tmp_path: Path, lines_run: Callable[[Callable[[], object]], int]
) -> None:
    def work(names: int) -> int:
        listed = [f"Name{n}" for n in range(names)]
        has = "".join(f"class {name}: pass\n" for name in listed)
        other = wheel(
            tmp_path, "vllm", f"0.{names}", {**VLLM, "vllm/sampling_params.py": OLD_PARAMS, "vllm/names.py": has}
        )
        user = swift(tmp_path, "".join(f"from vllm.names import {name}\n" for name in listed))
        return lines_run(lambda: together(user, other))

    work(20)
    few, many = work(100), work(400)
    assert many <= 4.4 * few
