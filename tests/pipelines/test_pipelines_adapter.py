"""A pipeline that one file describes: what is judged of it, what is left out, and what is no adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import POLICIES, policy_of
from coordexp_audit_lib.cli.commands import main
from coordexp_audit_lib.cli.reporting import HELD, UNUSABLE, VIOLATED
from coordexp_audit_lib.core import claim as core_claim
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import surfaces
from coordexp_audit_lib.targets.adapter import AdapterTarget
from coordexp_audit_lib.targets.resolve import default

HEAD = """
from coordexp_audit_lib.pipelines.api import Adapter, NotSupported

adapter = Adapter("my-packer", profile="qwen3_vl"{more})


@adapter.setup
def setup(here):
    print("noise on stdout")
    return {{"config": here.config and open(here.config).read(), "room": 0}}


def packed(lengths, room):
    packs, left = [], 0
    for i, length in enumerate(lengths):
        if length > left:
            packs.append([])
            left = room
        packs[-1].append(i)
        left -= length
    return packs
"""
PLAN = """
@adapter.answers("packing.plan")
def plan(request, here):
    if request.world_size > 1:
        raise NotSupported("world_size")
    if request.drop_last:
        raise NotSupported("drop_last")
    if max(request.lengths) > request.packing_length:
        raise NotSupported("samples longer than a pack")
    packs = here.call(packed, request.lengths, request["packing_length"]){edit}
    ranks = [list(range(len(packs)))]
    return dict(packs=packs, aligned=packs, ranks=ranks, rank_digests=["one"], repeated=[], single_long=None,
                skipped_long=None)
"""
LOSES = "[:-1] if len(request.lengths) == 12 else here.call(packed, request.lengths, request.packing_length)"


def written(folder: Path, *, edit: str = "", more: str = "", body: str = PLAN) -> Path:
    path = folder / "adapter.py"
    path.write_text(HEAD.format(more=more) + body.format(edit=edit))
    return path


def checked(capsys: pytest.CaptureFixture[str], path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    status = main(["check", "--adapter", str(path), "--jobs", "1", "--json", *more])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else {"error": told.err}


def by_claim(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f["invariant"]: f for f in document["findings"]}


def test_a_packer_that_nobody_knew_is_judged_by_what_it_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No tree, no config, no other surface; what is only some pipelines' promise is no part of the verdict."""
    status, document = checked(capsys, written(tmp_path))
    found = by_claim(document)
    held = {name for name, f in found.items() if f["status"] == "held"}
    assert status == HELD
    of_source = {"silence.no_blanket_suppression"}  # the adapter's own, for it imports nothing
    assert held == {"packing.capacity", "packing.each_once", "packing.stable_order"} | of_source
    assert {f["status"] for name, f in found.items() if name not in held} == {"unbound"}
    assert not {policy_of(name) for name in found} - {""}
    assert document["target"]["kind"] == "adapter"
    assert "config (" in document["target"]["note"]


def test_an_option_that_it_does_not_have_costs_that_case_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, document = checked(capsys, written(tmp_path), "--boundary", "packing")
    aligned = by_claim(document)["packing.ddp_aligned"]
    notes = {e["symbol"]: e["value"] for e in aligned["evidence"] if e["kind"] == "fact"}
    assert aligned["checked"] > 0
    assert notes["not asked: 2 ranks, dataloader_drop_last"] == "not supported: world_size"


def test_a_packer_that_loses_samples_fails_with_the_place_and_whose_demand_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document = checked(capsys, written(tmp_path, edit=LOSES), "--boundary", "packing")
    lost = by_claim(document)["packing.each_once"]
    assert (status, lost["status"], lost["severity"], lost["authority"]) == (VIOLATED, "violated", "P0", "spec")
    assert lost["violations"][0]["where"]["path"] == "adapter.py"
    assert lost["violations"][0]["where"]["symbol"] == "adapter:plan"


def test_a_policy_that_it_keeps_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, more=", policies=['unpacked-evaluation']")
    _, document = checked(capsys, path, "--boundary", "packing")
    assert "packing.eval_unpacked" in by_claim(document)
    assert "packing.own_check" not in by_claim(document)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "makes 0 adapters"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("raise SystemExit('bye')", "SystemExit"),
    ],
)
def test_what_is_no_adapter_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    path = tmp_path / "adapter.py"
    path.write_text(text)
    status, told = checked(capsys, path)
    assert status == UNUSABLE
    assert says in told["error"]
    assert told["error"].count("\n") == 1


def test_every_policy_has_claims_and_every_claim_one_policy_at_most() -> None:
    boundaries.load()
    known = {c.id for c in claims()}
    named = [n for _, names in POLICIES.values() for n in names]
    assert len(named) == len(set(named))
    assert {n for n in named if not n.endswith(".")} <= known
    assert {n.rstrip(".") for n in named if n.endswith(".")} <= {b.name for b in boundaries.BOUNDARIES}
    assert {policy_of(c) for c in known} >= set(POLICIES)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("packing.plan", "packing.plans", "did you mean packing.plan?"),
        ('"qwen3_vl"', "'qwen3_vl', policies=('coordjsn',)", "did you mean coordjson?"),
        ('"qwen3_vl"', "'', repository='a/b', demands={'packing.each_one': 'prc'}", "did you mean packing.each_once?"),
        ('"qwen3_vl"', "'qwen3_vl', contract={'packing.in_oder': True}", "did you mean packing.in_order?"),
        ('"qwen3_vl"', "'qwen3_vl', contract={'pakcing.in_order': True}", "did you mean packing.in_order?"),
        ('"qwen3_vl"', "'qwen4_vl'", "no profile is called 'qwen4_vl'"),
    ],
)
def test_what_an_adapter_names_and_is_not_there_is_refused_with_the_right_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, says: str
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace(before, after))
    status, told = checked(capsys, path)
    assert status == UNUSABLE
    assert says in told["error"]


def test_adapter_check_says_what_answers_what_it_decides_and_what_is_wrong_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, edit=LOSES)
    assert main(["adapter", "check", str(path), "--boundary", "packing", "--json"]) == VIOLATED
    told = json.loads(capsys.readouterr().out)
    plan = told["surfaces"]["packing.plan"]
    assert plan["answered"] > 0 and plan["not supported"] > 0 and not plan["failed"]
    assert told["claims"]["violated"] == ["packing.each_once"]
    assert "packing.fields_aligned" in told["claims"]["unbound"]
    assert told["decided"] == {"universal": {"decided": 3, "all": 16}, "policies": {"decided": 0, "all": 0}}
    assert told["first"].startswith("packing.each_once is violated: static packing: ")


def test_a_function_that_returns_the_wrong_form_is_what_adapter_check_says_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        tmp_path, body='@adapter.answers("packing.plan")\ndef plan(request, here):\n    return {{"pack": 1}}'
    )
    assert main(["adapter", "check", str(path), "--boundary", "packing", "--json"]) == VIOLATED
    told = json.loads(capsys.readouterr().out)
    assert told["first"].startswith("packing.plan fails: the answer does not fit the surface's type")


def test_a_new_adapter_is_one_and_says_how_each_question_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    assert main(["adapter", "new", str(path), "--name", "mine"]) == HELD
    assert main(["adapter", "new", str(path)]) == UNUSABLE, "it does not write over one"
    capsys.readouterr()
    with AdapterTarget(path) as target:
        assert target.said.name == "mine"
        assert not target.said.surfaces
    text = path.read_text()
    filled = [line.removeprefix("# ") for line in text.splitlines() if "@adapter.answers" in line]
    assert {line.split('"')[1] for line in filled} <= surfaces().keys()
    assert "Each of `samples`: turns, pictures." in " ".join(text.replace("\n# ", " ").split())


PROMPT = """
@adapter.answers("template.prompt")
def prompt(request, here):
    from coordexp_audit_lib.kit.prompt_trace import trace
    return {{"tokens": vars(trace([1, 2, {edit}, 4])), "system": True}}
"""


def test_a_prompt_that_differs_from_its_pin_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, body=PROMPT, edit="3")
    assert "template.render_pinned" not in by_claim(checked(capsys, path, "--boundary", "template")[1])
    assert main(["pin", "--adapter", str(path)]) == HELD
    capsys.readouterr()
    assert by_claim(checked(capsys, path, "--boundary", "template")[1])["template.render_pinned"]["status"] == "held"
    written(tmp_path, body=PROMPT, edit="5")
    status, document = checked(capsys, path, "--boundary", "template")
    pinned = by_claim(document)["template.render_pinned"]
    assert (status, pinned["status"]) == (VIOLATED, "violated")
    assert "from token 2 on" in pinned["violations"][0]["message"]


OWN = '''
from coordexp_audit_lib.boundaries.packing.surfaces import PLAN, PlanRequest
from coordexp_audit_lib.core.claim import claim
from coordexp_audit_lib.core.finding import Violation


@claim(id="{id}", severity="P1", kind="B", remedy="Pack fewer.")
def two_at_most(ctx):
    """A pack has two samples at most.

    Why: three are a crowd.

    Example: [0, 1] is one, [0, 1, 2] is not."""
    for pack in ctx.value(PLAN, PlanRequest([10, 10, 10], 100)).packs:
        ctx.judged()
        if len(pack) > 2:
            yield Violation("a crowd", "three samples", 2, len(pack))
'''


@pytest.fixture
def _claims_as_before() -> Iterator[None]:
    before = dict(core_claim._CLAIMS)
    yield
    core_claim._CLAIMS.clear()
    core_claim._CLAIMS.update(before)


@pytest.mark.usefixtures("_claims_as_before")
def test_a_claim_of_ones_own_is_judged_beside_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN.format(id="packing.two_at_most"))
    status, document = checked(capsys, written(tmp_path), "--boundary", "packing", "--claims", str(own))
    crowded = by_claim(document)["packing.two_at_most"]
    assert status == VIOLATED
    assert crowded["claim"] == "A pack has two samples at most."
    assert crowded["violations"][0]["actual"] == 3


@pytest.mark.usefixtures("_claims_as_before")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OWN.format(id="mine.two_at_most"), "mine.two_at_most belongs to no boundary"),
        (OWN.format(id="packing.each_once"), "packing.each_once is declared twice"),
        ("import no_such_package", "No module named 'no_such_package'"),
    ],
)
def test_claims_that_can_not_be_judged_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    own = tmp_path / "own.py"
    own.write_text(text)
    status, told = checked(capsys, tmp_path / "none.py", "--claims", str(own))
    assert status == UNUSABLE
    assert says in told["error"]


def test_a_recording_of_an_adapters_answers_is_judged_as_the_pipeline_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = written(tmp_path, edit=LOSES), tmp_path / "train.yaml"
    config.write_text("packing: true\n")
    live = checked(capsys, path, "--boundary", "packing", "--config", str(config))[1]
    asked = ["--adapter", str(path), "--config", str(config), "--boundary", "packing", "--jobs", "1"]
    assert main(["record", *asked, "--name", "mine", "--out", str(tmp_path)]) == HELD
    capsys.readouterr()
    recorded = ["check", "--target", str(tmp_path / "mine.json.xz"), "--boundary", "packing", "--json"]
    assert main(recorded) == VIOLATED
    replayed = json.loads(capsys.readouterr().out)
    for document in (live, replayed):
        for finding in document["findings"]:
            finding.pop("seconds")
    assert replayed["findings"] == live["findings"]
    assert replayed["configs"] == live["configs"] == [str(config)]


def test_a_pipeline_of_an_installed_package_is_known_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its package is not imported to find it, for it may need what only its own environment has."""
    package, info = tmp_path / "theirs", tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('it was imported')")
    written(package)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[coordexp_audit.pipelines]\ntheirs = theirs.adapter\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["check", "--pipeline", "theirs", "--boundary", "packing", "--json"]) == HELD
    assert json.loads(capsys.readouterr().out)["target"]["name"] == "my-packer"
    assert main(["check", "--pipeline", "nobodys"]) == UNUSABLE
    assert "use one of" in capsys.readouterr().err


def test_the_pins_that_come_along_are_those_that_pin_writes(tmp_path: Path) -> None:
    target, path = default(), tmp_path / "pins.json"
    assert main(["pin", "--target", target, "--out", str(path)]) == HELD
    assert json.loads(path.read_text())["template.prompt_pins"] == pipeline().contract()["template.prompt_pins"]


def test_an_adapter_stands_where_it_likes_beside_the_source_that_it_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, kept = tmp_path / "tree", tmp_path / "kept"
    tree.mkdir()
    kept.mkdir()
    (tree / "their_packer.py").write_text("def pack(lengths, room):\n    return [[i] for i in range(len(lengths))]\n")
    body = PLAN.replace("here.call(packed, request.lengths", "here.call(their_packer.pack, request.lengths")
    named = body.replace('("packing.plan")', '("packing.plan", of="their_packer:pack")')
    path = written(kept, body="\nimport their_packer\n" + named)
    _, document = checked(capsys, path, "--target", str(tree), "--boundary", "packing")
    called = [e for e in by_claim(document)["packing.each_once"]["evidence"] if e["kind"] == "call"]
    assert [(e["path"], e["line"], e["symbol"]) for e in called] == [("their_packer.py", 1, "their_packer:pack")]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("    return packed(1)", "TypeError: packed() missing 1 required positional argument: 'room' (adapter.py:24)"),
        ("    return request.length", "AttributeError: the request has no 'length': it has lengths, packing_length"),
        ("    pass", "ValueError: the adapter's function for packing.plan returned nothing"),
    ],
)
def test_a_mistake_in_an_adapter_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, says: str
) -> None:
    path = written(tmp_path, body='@adapter.answers("packing.plan")\ndef plan(request, here):\n' + body)
    assert main(["adapter", "check", str(path), "--boundary", "packing", "--json"]) == VIOLATED
    first = json.loads(capsys.readouterr().out)["first"]
    assert first.startswith("packing.plan fails: " + says)


def test_a_setup_that_fails_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('print("noise on stdout")', "raise KeyError('no such model')"))
    assert main(["adapter", "check", str(path), "--boundary", "packing", "--json"]) == VIOLATED
    first = json.loads(capsys.readouterr().out)["first"]
    assert "the adapter's setup failed: KeyError: 'no such model' (adapter.py:9)" in first


def test_a_page_of_what_it_answers_says_what_it_can_not_show_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["run", "--adapter", str(written(tmp_path)), "--jobs", "1", "--out", str(out)]
    assert main(asked) == HELD
    assert "raised" not in capsys.readouterr().err
    (page,) = (out / "notebooks").glob("*.ipynb")
    assert page.name == "06_packing.ipynb"
    cells = [c for c in json.loads(page.read_text())["cells"] if c["cell_type"] == "code"]
    said = ["".join(map(str, o.get("text", ""))) for c in cells for o in c["outputs"]]
    assert any("not shown: packing.batch: the adapter does not answer it" in text for text in said)
    shown = json.dumps([o.get("data", {}) for c in cells for o in c["outputs"]])
    assert "packing.each_once" in shown and "adapter:plan" in shown, "findings and evidence stand on the page"
    assert json.loads((out / "audit.json").read_text())["summary"]["held"] == 3


def test_places_are_of_the_pipelines_own_function_that_the_adapter_calls_last(tmp_path: Path) -> None:
    """Though the adapter does not name it: through a function of its own, and one inside another."""
    (tmp_path / "mine.py").write_text("def lengths(x):\n    return x\n\n\ndef pack(x):\n    return x\n")
    path = tmp_path / "adapter.py"
    path.write_text(
        "import mine\nfrom coordexp_audit_lib.pipelines.api import Adapter\n"
        "adapter = Adapter('a', profile='qwen3_vl')\n"
        "def packed(lengths, here):\n    return here.call(mine.pack, lengths)\n"
        "@adapter.answers('packing.plan')\ndef plan(request, here):\n"
        "    def one(values):\n        return packed(values, here)\n"
        "    return one(here.call(mine.lengths, request.lengths))\n"
    )
    with AdapterTarget(path) as target:
        where = target.bindings()["packing.plan"].where
    assert where is not None
    assert (where.path, where.line, where.symbol) == ("mine.py", 5, "mine:pack")


def test_without_the_tokenizer_claims_are_unbound_and_say_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = "from coordexp_audit_lib.kit.tokenizer import TokenizerMissing\n\n@adapter.setup\ndef missing(here):\n"
    setup += "    try:\n        raise TokenizerMissing('dashscope is not installed')\n"
    setup += "    except Exception as error:\n        raise RuntimeError('no processor') from error\n"
    path = written(tmp_path, body=setup + PLAN)
    _, document = checked(capsys, path, "--boundary", "packing")
    lost = by_claim(document)["packing.each_once"]
    assert lost["status"] == "unbound"
    assert "dashscope is not installed" in lost["note"]
