"""Reading launchers and finding where keys are read: each table is snippet -> what must be found."""

import ast
import textwrap

import pytest

from coordexp_audit_lib.boundaries.pipeline_map.surfaces.entrypoints import (
    EntrypointFiles,
    EntrypointsRequest,
    entrypoints,
)
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.key_reads import KeyReadsRequest, StageQuestion, key_reads
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.owners import OwnerNames, OwnersRequest, owners
from coordexp_audit_lib.source.names import replaced_methods
from coordexp_audit_lib.source.origins import Program
from coordexp_audit_lib.source.shell import commands, refused, started
from coordexp_audit_lib.source.tree import Tree

LAUNCHERS = [
    ("python -m src.sft --config x", [("module", "src.sft")]),
    ("torchrun --nproc_per_node=2 \\\n  -m src.sft", [("module", "src.sft")]),
    ('RUN=(torchrun -m src.sft)\n"${RUN[@]}"', [("module", "src.sft")]),
    ("RUN=(torchrun -m src.sft)", []),  # built, never run
    (
        'RUN=()\nRUN=(\n  python  # interpreter\n  -m src.sft\n)\nRUN+=(--debug)\nA=1 "${RUN[@]}"',
        [("module", "src.sft")],
    ),
    ("# python -m src.sft", []),
    ("echo python -m src.sft", []),
    ("echo '# not a comment' && swift rollout --model m", [("command", "swift rollout")]),
    ('S=(swift rollout \\\n --model "${M}")\nsetsid env A=b "${S[@]}" &', [("command", "swift rollout")]),
    ("conda run -n ms swift rollout --model m", [("command", "swift rollout")]),
    ('C="a=b bash ${R}/scripts/train.sh"\nC="${E} ${C}"\neval "${C}"', [("script", "${R}/scripts/train.sh")]),
    ("exec python -m src.launch", [("module", "src.launch")]),
    ("if [[ x == y ]]; then\n  bash other.sh\nfi", [("script", "other.sh")]),
    ("cat <<'PY'\npython -m src.sft\nPY\npython -m src.other", [("module", "src.other")]),
    ('X="$(python -c "print(1)")"\npython -m src.sft', [("module", "src.sft")]),
    ('read -r a <<< "${X}"\npython -m src.sft', [("module", "src.sft")]),
    ('"${PY}" -m src.sft', [("module", "src.sft")]),
    ("python - <<'E'\nimport swift\nE", []),
    ("A=xy\n" + 'A="${A}${A}"\n' * 60 + "python -m src.sft", [("module", "src.sft")]),  # no memory without end
    ("", []),
    ('echo "unclosed', []),
]


@pytest.mark.parametrize(("text", "expected"), LAUNCHERS)
def test_what_a_launcher_starts(text, expected):
    assert [s for s in map(started, commands(text)) if s] == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('set -u\nexport W="${wait:-${:-900}}"\npython -m src.sft', 2),
        ("echo ${ }\n", 1),
        ('A="${X:-${Y:-1}}"; B=${#A} C=${A[@]} D=${!A} E=${1} F=$? G=${-} H=${$}\npython -m src.sft', 0),
        ("# ${:-900}\nawk '{ print ${:-1} }'\ncat <<'PY'\n${:-2}\nPY", 0),
    ],
)
def test_a_shell_stops_at_an_expansion_of_no_variable(text, line):
    assert refused(text) == line


READS = [
    ("def f(config): return config['custom']['seed']", {"custom.seed"}),
    ("def f(config): return config.custom.seed", {"custom.seed"}),
    ("def f(config): return getattr(config.custom, 'seed', 1)", {"custom.seed"}),
    ("def f(config):\n  c = dict(config.custom or {})\n  return c.pop('seed', None)", {"custom.seed"}),
    ("def g(c): return c.get('seed')\ndef f(config): return g(config.custom)", {"custom.seed"}),
    ("def g(x): return x\ndef f(config): return g(config.custom).seed", {"custom.seed"}),
    (
        "class T:\n  def _cfg(self, key): return self.custom.get(str(key))\n  def f(self): return self._cfg('seed')",
        {"custom.seed"},
    ),
    ("def f(t, config): setattr(t, 'mine', config.custom)\ndef g(t): return getattr(t, 'mine').seed", {"custom.seed"}),
    (
        "class T:\n  def __init__(self, config): self.mine = config.custom\n  def f(self): return self.mine['seed']",
        {"custom.seed"},
    ),
    ("def f(config):\n  for key in ('seed', 'other'):\n    config.custom.get(key)", {"custom.seed"}),
    ("def f(config):\n  for s in config.custom['servers']:\n    s['url']", {"custom.servers[].url"}),
    ("def f(config): return [s.get('url') for s in config.custom.servers]", {"custom.servers[].url"}),
    ("def g(m, path): return m.get(path.split('.')[-1])\ndef f(c): return g(c.custom, 'custom.seed')", {"custom.seed"}),
    ("def f(train_args): return train_args.seed", {"training.seed"}),
    ("class T:\n  def f(self): return getattr(self.args, 'seed', 0)", {"training.seed"}),
    ("def f(seed): return seed", set()),
    ("def f(other): return other.seed", set()),
    ("def f(config): return config.debug.seed", set()),
    ("def f(config): config.custom.seed = 1", set()),
    ("def f(config): return 'custom.seed'", set()),
]
PATHS = ["custom.seed", "training.seed", "custom.servers[].url"]


def scan(tmp_path, text, **files):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text(textwrap.dedent(text))
    for name, more in files.items():
        (tmp_path / "src" / f"{name}.py").write_text(textwrap.dedent(more))
    names = ["src.a", *(f"src.{n}" for n in files)]
    stages = [StageQuestion("e", "s", [OwnerNames([n])], PATHS) for n in names]
    return key_reads(Tree(tmp_path), KeyReadsRequest(stages, OwnerNames(["src.a:forward"]), ["training"]))


@pytest.mark.parametrize(("text", "expected"), READS)
def test_where_a_key_is_read(tmp_path, text, expected):
    found = scan(tmp_path, text).stages[0].reads
    assert {r.path for r in found if r.places} == expected


def test_a_read_names_its_line_and_symbol(tmp_path):
    found = scan(tmp_path, "class T:\n    def f(self, config):\n        return config.custom.get('seed')")
    place = found.stages[0].reads[0].places[0]
    assert (place.path, place.line, place.symbol) == ("src/a.py", 3, "T.f")
    assert found.stages[0].reads[0].count == 1


def test_a_read_in_another_stage_is_not_this_stages(tmp_path):
    first, second = scan(tmp_path, "X = 1", b="def f(config): return config.custom.seed").stages
    assert first.reads[0].places == [] and first.reads[0].elsewhere[0].path == "src/b.py"
    assert second.reads[0].places[0].line == 1


def test_sections_that_go_upstream_and_keys_that_are_held_back(tmp_path):
    answer = scan(
        tmp_path,
        """
        OURS = ("seed",)
        def forward(config):
            section = dict(config.training)
            for key in OURS:
                section.pop(key, None)
            return Upstream(**section)
        """,
    )
    assert [(f.section, f.place.line) for f in answer.forwards] == [("training", 4)]
    assert answer.withheld == ["training.seed"]


def test_unreadable_modules_are_no_owners(tmp_path):
    answer = scan(tmp_path, "def f(config): return config.custom.seed", broken="def (")
    assert answer.stages[0].reads[0].count == 1 and answer.stages[1].reads[0].places == []


def test_recursive_code_ends():
    text = "def f(a, b): return f(a.x, f(b.y, a))\ndef g(c): c = c.z; return g(f(c, c))"
    assert Program({"a.py": ast.parse(text)}).steps


OWNERS = [
    (["src.a:f"], {"a": "def f(): pass"}, ("found", "src/a.py", 1)),
    (["src.a:T.m"], {"a": "class T:\n  def m(self): pass"}, ("found", "src/a.py", 2)),
    (["src.old:f", "src.b:f"], {"b": "\n\ndef f(): pass"}, ("moved", "src/b.py", 3)),
    (["src.old:T.f"], {"b": "def f(): pass"}, ("missing", "", 0)),  # a short name alone is no proof
    (["src.old:_a_very_particular_name"], {"b": "def _a_very_particular_name(): pass"}, ("moved", "src/b.py", 1)),
    (
        ["src.old:_a_very_particular_name"],
        {"b": "def _a_very_particular_name(): pass", "c": "def _a_very_particular_name(): pass"},
        ("missing", "", 0),
    ),
    (["src.a:f"], {"a": "from src.b import f", "b": "def f(): pass"}, ("moved", "src/b.py", 1)),
    (["src.a:f"], {"a": "def f(:"}, ("missing", "", 0)),
]


@pytest.mark.parametrize(("names", "files", "expected"), OWNERS)
def test_where_an_owner_stands(tmp_path, names, files, expected):
    (tmp_path / "src").mkdir()
    for name, text in files.items():
        (tmp_path / "src" / f"{name}.py").write_text(text)
    found = owners(Tree(tmp_path), OwnersRequest([OwnerNames(names)])).owners[0]
    assert (found.status, found.path, found.line) == expected
    assert bool(found.digest) == (expected[0] != "missing")


def test_a_launcher_is_followed_through_scripts_and_python(tmp_path):
    for name, text in {
        "run.sh": 'R="$(pwd)"\npython "${R}/check.py"\nexec python -m src.launch',
        "check.py": "",
        "src/launch.py": "def go(m):\n    return ['swift', 'rollout', m], ['torchrun', '-m', 'src.sft']",
        "src/sft.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    asked = EntrypointsRequest([EntrypointFiles("e", "run.sh", "c.yaml"), EntrypointFiles("f", "none.sh", "run.sh")])
    first, second = entrypoints(Tree(tmp_path), asked).entrypoints
    assert [(s.kind, s.what, s.file, s.path, s.line) for s in first.starts] == [
        ("script", "check.py", "check.py", "run.sh", 2),
        ("module", "src.launch", "src/launch.py", "run.sh", 3),
        ("command", "swift rollout", "", "src/launch.py", 2),
        ("module", "src.sft", "src/sft.py", "src/launch.py", 2),
    ]
    assert (first.launcher_exists, first.config_exists) == (True, False)
    assert (second.launcher_exists, second.config_exists, second.starts) == (False, True, [])


REPLACED = [
    ("class A:\n  def m(self): pass\nclass B(A):\n  def m(self): pass", {"A.m": "B"}),
    ("class A:\n  def m(self): pass\nclass B(A):\n  def m(self): return super().m()", {}),
    ("class A:\n  def m(self): pass\nclass B(A):\n  def other(self): pass", {}),
    ("class A:\n  def __init__(self): pass\nclass B(A):\n  def __init__(self): pass", {}),
]


@pytest.mark.parametrize(("text", "expected"), REPLACED)
def test_which_methods_a_subclass_replaces(text, expected):
    found = replaced_methods({"a.py": ast.parse(text)})
    assert {method: child for (_, method), child in found.items()} == expected


def test_a_launcher_that_starts_itself_is_read_once(tmp_path):
    (tmp_path / "run.sh").write_text("bash run.sh\n" * 200 + "bash other.sh")
    (tmp_path / "other.sh").write_text("bash run.sh\nswift rollout")
    asked = EntrypointsRequest([EntrypointFiles("e", "run.sh", "run.sh")])
    starts = entrypoints(Tree(tmp_path), asked).entrypoints[0].starts
    assert [s.what for s in starts] == ["run.sh", "other.sh", "swift rollout"]
    assert [s.kind for s in starts] == ["script", "script", "command"]


def test_nested_calls_are_read_in_time():
    text = "def f(a): return a.x if a else a.y\ndef g(c): return " + "f(" * 40 + "c" + ")" * 40
    assert Program({"a.py": ast.parse(text)}).steps


def test_a_value_that_was_read_elsewhere_is_not_read_again(tmp_path):
    text = "class T:\n    def __init__(self, config): self.size = config.custom.seed\n    def f(self): return self.size"
    found = scan(tmp_path, text).stages[0].reads[0]
    assert [p.line for p in found.places] == [2]
