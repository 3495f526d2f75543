"""Boundary 02: configs. Each case is a config file written into a copy of the tree, loaded by the tree's own loader."""

import contextlib
import copy
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from parts import NotHere, of_tree, refusal, replaced

# As they are called at the reference commit, and at the newest.
STAGE1 = (
    "configs/stage1/ablation/geometry_first_coco80.yaml",
    "configs/stage1/profiles/4b/coord_soft_ce_gate_coco80_geometry_first.yaml",
)
STAGE2 = ("configs/stage2_ab/prod/ab_mixed.yaml", "configs/stage2_two_channel/prod/ab_mixed.yaml")


def _loader() -> Any:
    return of_tree("src.config.loader:ConfigLoader")


def _anchored(tree: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (tree / name).is_file():
            return tree / name
    raise NotHere(f"no {names[0]}")


def _merged(tree: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The config without parents, as a mapping to change."""
    return copy.deepcopy(_loader().load_yaml_with_extends(str(_anchored(tree, names))))


def _set(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *steps, leaf = path.split(".")
    node = config
    for step in steps:
        node[step] = node.get(step) if isinstance(node.get(step), dict) else {}
        node = node[step]
    node[leaf] = value
    return config


def _written(tree: Path, config: dict[str, Any], name: str = "configs/confirm/one.yaml") -> str:
    import yaml

    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def _changed(tree: Path, base: tuple[str, ...], **changes: Any) -> str:
    config = _merged(tree, base)
    for path, value in changes.items():
        _set(config, path.replace("__", "."), value)
    return _written(tree, config)


def _refused(path: str) -> str:
    return refusal(_loader().load_materialized_training_config, path)


@contextlib.contextmanager
def _world(size: int) -> Iterator[Any]:
    """The loader's module with argument classes that keep what they are given, on so many ranks."""
    module = of_tree("src.config.loader")

    def kept(**given: Any) -> Any:
        return SimpleNamespace(given=given, training_args=SimpleNamespace())

    values = {"TrainArguments": kept, "RLHFArguments": kept, "get_dist_setting": lambda: (0, 0, size, size)}
    before = os.environ.get("WORLD_SIZE")
    os.environ["WORLD_SIZE"] = str(size)
    try:
        with replaced(module, **values):
            yield module.ConfigLoader
    finally:
        os.environ.pop("WORLD_SIZE")
        if before is not None:
            os.environ["WORLD_SIZE"] = before


def _arguments(tree: Path, base: tuple[str, ...], size: int = 1, **changes: Any) -> dict[str, Any]:
    """What upstream's arguments are given; the error's text under `refused` where the loader refuses."""
    path = _changed(tree, base, **changes)
    with _world(size) as loader:
        try:
            made = loader.build_train_arguments(loader.load_materialized_training_config(path))
        except (ValueError, TypeError) as error:
            return {"refused": str(error)}
    return dict(made.given)


def unknown_section_key_rejected(tree: Path) -> tuple[bool, str]:
    accepted = []
    for base in (STAGE1, STAGE2):
        for section in ("custom.coord_tokens", "custom.coord_soft_ce_w1", "custom.coord_offset", "custom.augmentation"):
            if not _refused(_changed(tree, base, **{f"{section}.unlisted_knob": 1})):
                accepted.append(f"{section} ({'Stage 1' if base == STAGE1 else 'Stage 2'})")
    control = _refused(_changed(tree, STAGE2, training__unlisted_knob=1))
    return bool(accepted) and bool(control), f"accepted under {', '.join(accepted)}; under training: {control[:90]}"


def unknown_key_rejected(tree: Path) -> tuple[bool, str]:
    said = {
        path: _refused(_changed(tree, STAGE2, **{path: 1}))
        for path in ("stage2_ab.schedule.unlisted_knob", "stage2_ab.channel_b.unlisted_knob")
    }
    short = [path for path, text in said.items() if text and path not in text]
    return bool(short) and all(said.values()), f"refused without the dotted path: {'; '.join(said.values())}"


def batch_divisible(tree: Path) -> tuple[bool, str]:
    given = {
        "effective 4, rlhf says 5 steps": _arguments(
            tree, STAGE2, training__effective_batch_size=4, rlhf__gradient_accumulation_steps=5
        ),
        "effective 9 on 2 ranks, Stage 1": _arguments(tree, STAGE1, 2, training__effective_batch_size=9),
    }
    products = {}
    for name, made in given.items():
        products[name] = made.get("refused") or (
            made.get("per_device_train_batch_size"),
            made.get("gradient_accumulation_steps"),
        )
    wrong = products == {"effective 4, rlhf says 5 steps": (1, 5), "effective 9 on 2 ranks, Stage 1": (1, 5)}
    return wrong, f"(per device, accumulation): {products}"


def required_key(tree: Path) -> tuple[bool, str]:
    config = _merged(tree, STAGE1)
    config["training"].pop("effective_batch_size", None)
    said = _refused(_written(tree, config))
    return not said, f"Stage 1 without training.effective_batch_size: {said or 'accepted'}"


def deterministic(tree: Path) -> tuple[bool, str]:
    path = _changed(tree, STAGE1, custom__user_prompt="prompt.txt")
    (tree / "prompt.txt").write_text("From a file.", encoding="utf-8")
    told = []
    for folder in (tree, tree / "configs"):
        os.chdir(folder)
        told.append(str(_loader().load_materialized_training_config(path).custom.user_prompt))
    return told[0] != told[1], f"custom.user_prompt from two directories: {told}"


def length_coherent(tree: Path) -> tuple[bool, str]:
    said = _refused(_changed(tree, STAGE2, template__max_length=20_000))
    config = _merged(tree, STAGE2)
    control = _refused(_changed(tree, STAGE2, global_max_length=20_000))
    limit = config["rollout_matching"]["vllm"].get("max_model_len")
    seen = f"template.max_length 20000, max_model_len {limit}: {said or 'accepted'}"
    return not said, f"{seen}; global_max_length 20000: {control[:80]}"


def packing_backend(tree: Path) -> tuple[bool, str]:
    check = of_tree("src.sft:_validate_attention_backend_for_packing")
    path = _changed(tree, STAGE2, template__attn_impl="sdpa")
    said = refusal(check, training_config=_loader().load_materialized_training_config(path))
    given = _arguments(tree, STAGE2, template__attn_impl="sdpa").get("attn_impl")
    return (
        not said and given == "sdpa",
        f"template.attn_impl sdpa: check says {said or 'nothing'}; upstream gets {given}",
    )


def preflight_contract(tree: Path) -> tuple[bool, str]:
    """A path that begins with `./`: the launcher's data folder, and where training, started at the root, finds it."""
    resolve = of_tree("src.trainers.rollout_matching.preflight:resolve_stage2_launcher_preflight")
    config = _set(_merged(tree, STAGE2), "custom.train_jsonl", "./data/train.jsonl")
    found = str(resolve(_written(tree, config, "configs/confirm/deep/one.yaml"))["train_jsonl_resolved"])
    return found != str(
        tree / "data/train.jsonl"
    ), f"./data/train.jsonl resolves to {found.replace(str(tree), '<repo>')}"


def profile_one_hop(tree: Path) -> tuple[bool, str]:
    """A canonical leaf that extends ../base.yaml, which extends a file of its own."""
    base = tree / "configs/stage2_ab/base.yaml"
    if not base.is_file():
        raise NotHere("no configs/stage2_ab/base.yaml")
    text = base.read_text(encoding="utf-8")
    try:
        base.write_text("extends: older.yaml\n", encoding="utf-8")
        base.with_name("older.yaml").write_text(text, encoding="utf-8")
        said = _refused(str(_anchored(tree, STAGE2)))
    finally:
        base.write_text(text, encoding="utf-8")
        base.with_name("older.yaml").unlink()
    return not said, f"leaf -> base -> older: {said or 'accepted'}"


def value_range(tree: Path) -> tuple[bool, str]:
    cases = {
        "stage2_ab.n_softctx_iter": 2.5,
        "custom.coord_soft_ce_w1.ce_weight": True,
        "custom.coord_soft_ce_w1.w1_weight": float("nan"),
        "rollout_matching.gate_weight": -0.5,
    }
    taken = [
        f"{path}: {value}" for path, value in cases.items() if not _refused(_changed(tree, STAGE2, **{path: value}))
    ]
    control = _refused(_changed(tree, STAGE2, stage2_ab__schedule={"b_ratio": 1.5}))
    return bool(taken) and bool(control), f"accepted: {', '.join(taken)}; b_ratio 1.5: {control[:80]}"


def extends_sound(tree: Path) -> tuple[bool, str]:
    first = _written(tree, {"extends": "second.yaml"}, "configs/confirm/first.yaml")
    _written(tree, {"extends": "first.yaml"}, "configs/confirm/second.yaml")
    said = refusal(_loader().load_yaml_with_extends, first)
    _written(tree, {"extends": "absent.yaml"}, "configs/confirm/second.yaml")
    missing = refusal(_loader().load_yaml_with_extends, first)
    short = not {"first.yaml", "second.yaml"} <= set(said.replace("/", " ").split()) and "first.yaml" not in missing
    return bool(said and missing) and short, f"{said} / {missing}".replace(str(tree), "<repo>")


def parents_exist(tree: Path) -> tuple[bool, str]:
    """Shipped configs that extend a file which is not there."""
    import yaml

    lost = []
    for path in sorted((tree / "configs").rglob("*.yaml")):
        if "confirm" in path.parts:
            continue
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        named = raw.get("extends") or [] if isinstance(raw, dict) else []
        for parent in named if isinstance(named, list) else [named]:
            if not (path.parent / parent).resolve().is_file():
                lost.append(f"{path.relative_to(tree)} extends {parent}")
    if not lost:
        raise NotHere("every parent is there")
    return True, "; ".join(lost)


def keys_once(tree: Path) -> tuple[bool, str]:
    import yaml

    twice = []

    class Counting(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [str(key.value) for key, _ in node.value]
            twice.extend(f"{path.relative_to(tree)}: {n}" for n in {n for n in names if names.count(n) > 1})
            return super().construct_mapping(node, deep)

    for path in sorted((tree / "configs").rglob("*.yaml")):
        yaml.load(path.read_text(encoding="utf-8"), Counting)
    return bool(twice), f"given twice: {', '.join(twice)}" if twice else "no key stands twice"


def shipped_load(tree: Path) -> tuple[bool, str]:
    """Configs that no other extends, resolve, and hold a model and data: what the loader says of each."""
    loader = _loader()
    raw = {
        p: loader.load_yaml(str(p)) or {}
        for p in sorted((tree / "configs").rglob("*.yaml"))
        if "confirm" not in p.parts
    }
    named = {p: v.get("extends") or [] for p, v in raw.items() if isinstance(v, dict)}
    parents = {(p.parent / n).resolve() for p, v in named.items() for n in ([v] if isinstance(v, str) else v)}
    refused = []
    for path in (p for p in named if p.resolve() not in parents):
        with contextlib.suppress(Exception):
            merged = loader.load_yaml_with_extends(str(path))
            if merged.get("model", {}).get("model") and merged.get("custom", {}).get("train_jsonl"):
                said = _refused(str(path))
                refused += [f"{path.relative_to(tree)}: {said[:80]}"] if said else []
    return bool(refused), "; ".join(refused) or "each loads"


def preflight_carries(tree: Path) -> tuple[bool, str]:
    resolve = of_tree("src.trainers.rollout_matching.preflight:resolve_stage2_launcher_preflight")
    made = []
    for name in ("qwen3_vl", "qwen2_5_vl"):
        made.append(resolve(_changed(tree, STAGE2, template__template=name)))
    return made[0] == made[1], f"two chat templates: the launcher's settings are the same: {made[0] == made[1]}"
