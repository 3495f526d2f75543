"""The callback in a stranger's `transformers.Trainer`, without a config: sound runs stay silent, and a batch that does
not hold its samples stops the run before the next optimizer step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from coordexp_audit_lib.boundaries.provenance.artifact.run import audit_run
from coordexp_audit_lib.callback import AuditCallback
from coordexp_audit_lib.core.errors import InvariantViolation, UsageError
from coordexp_audit_lib.guards import rehearsal
from coordexp_audit_lib.guards.batches import check_packed_batch
from coordexp_audit_lib.guards.collator import GuardedCollator, Inbox
from coordexp_audit_lib.guards.features import read_features
from coordexp_audit_lib.kit import model as small
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.kit.model import one_thread
from coordexp_audit_lib.kit.profile import of_values

pytestmark = pytest.mark.model
hub: Any = transformers
Batch = dict[str, Any]
Collator = Callable[[list[Any]], Batch]
VOCABULARY, SAMPLES, SEPARATOR = 200, 64, -100


def data() -> list[dict[str, list[int]]]:
    """Samples of 5 to 19 tokens; the second half of each is supervised."""
    random = np.random.default_rng(1)
    made = []
    for _ in range(SAMPLES):
        ids = random.integers(3, VOCABULARY - 1, random.integers(5, 20)).tolist()
        made.append({"input_ids": ids, "labels": [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]})
    return made


def flat(**how: bool) -> Any:
    return hub.DataCollatorWithFlattening(**how)


def padded(features: list[Any]) -> Batch:
    """One row a sample, padded to the longest."""
    longest = max(len(f["input_ids"]) for f in features)
    rows = [[*f["input_ids"], *[0] * (longest - len(f["input_ids"]))] for f in features]
    labels = [[*f["labels"], *[-100] * (longest - len(f["labels"]))] for f in features]
    mask = [[1] * len(f["input_ids"]) + [0] * (longest - len(f["input_ids"])) for f in features]
    named = {"input_ids": rows, "labels": labels, "attention_mask": mask}
    return {name: torch.tensor(value) for name, value in named.items()}


def train(
    folder: Path,
    collator: Collator,
    config: Path | None = None,
    *,
    steps: int = 12,
    kind: Any = hub.LlamaForCausalLM,
    trainer: Any = hub.Trainer,
    **arguments: Any,
) -> Any:
    """A stranger's small training, guarded as the book shows it."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    spread = {"vocab_size": VOCABULARY, "num_key_value_heads": 2, "initializer_range": 0.5}
    model = kind(hub.LlamaConfig(**size, **spread))
    given = {"max_steps": steps, "per_device_train_batch_size": 4, "logging_steps": 1, "save_strategy": "no"}
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False}
    settings = hub.TrainingArguments(str(folder / "out"), **{**given, **quiet, **arguments})
    audit = AuditCallback(config) if config else AuditCallback()
    guarded = audit.wrap(collator)
    made = trainer(model, settings, train_dataset=data(), data_collator=guarded, callbacks=[audit])
    made.remove_callback(hub.PrinterCallback)
    with one_thread():
        made.train()
    return made


def diary(folder: Path) -> Any:
    return json.loads((folder / "out" / "audit" / "audit.json").read_text())


SOUND: dict[str, Collator] = {
    "padding-free": flat(),
    "with the kernel's bounds": flat(return_flash_attn_kwargs=True),
    "with sample numbers": flat(return_seq_idx=True),
    "with both": flat(return_flash_attn_kwargs=True, return_seq_idx=True),
    "bounds and no positions": flat(return_flash_attn_kwargs=True, return_position_ids=False),
    "longest first": lambda features: flat()(sorted(features, key=lambda f: -len(f["input_ids"]))),
}


@pytest.mark.parametrize("collator", SOUND.values(), ids=SOUND)
def test_a_sound_run_without_padding_trains_and_is_judged(tmp_path: Path, collator: Collator) -> None:
    trainer = train(tmp_path, collator)
    written = diary(tmp_path)
    assert (trainer.state.global_step, written["status"]) == (12, "completed")
    for claim in ("packing.each_once", "packing.no_cross_boundary_label", "packing.fields_aligned"):
        assert written["judged"][claim] == written["collated here"] >= 12


@pytest.mark.parametrize("size", [1, 4])
def test_a_run_that_pads_is_no_pack_and_has_nothing_to_complain_of(tmp_path: Path, size: int) -> None:
    train(tmp_path, padded, per_device_train_batch_size=size)
    written = diary(tmp_path)
    judged = {claim for claim in written["judged"] if claim.startswith("packing.")}
    assert (written["status"], judged) == ("completed", {"packing.each_once"})


def test_checkpoints_evaluation_and_loader_processes_do_no_harm(tmp_path: Path) -> None:
    trainer = train(tmp_path, flat(), steps=4, save_strategy="steps", save_steps=2, dataloader_num_workers=1)
    assert trainer.state.global_step == 4
    assert diary(tmp_path)["judged"]["checkpoint"] == 2


def test_without_a_config_the_manifest_holds_the_arguments(tmp_path: Path) -> None:
    train(tmp_path, flat(), steps=2)
    resolved = json.loads((tmp_path / "out" / "audit" / "resolved_config.json").read_text())["resolved"]
    assert (resolved["max_steps"], resolved["per_device_train_batch_size"]) == (2, 4)
    found = {f.invariant: f.status for f in audit_run(tmp_path / "out" / "audit")}
    assert found["provenance.files_present"] == "held" and "violated" not in found.values()


TRL = "model_name_or_path: x\npacking: true\npadding_free: true\nmax_length: 16\n"


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        (TRL, {"model_name_or_path": "x", "packing": True, "padding_free": True, "max_length": 16}),
        ("{}\n", {}),
        ("", {}),
        ("- a\n- b\n", {"content": ["a", "b"]}),
        ("extends: org/base\nlr: .inf\nday: 2026-11-27\n", {"extends": "org/base", "lr": "inf", "day": "2026-11-27"}),
        ("model: {name: x}\ndata: {path: y}\ntraining: {lr: 1}\n", None),
    ],
    ids=["TRL's", "empty mapping", "empty file", "a list", "extends of another kind", "hydra's"],
)
def test_another_yaml_is_taken_for_what_it_is(tmp_path: Path, text: str, resolved: Any) -> None:
    (tmp_path / "train.yaml").write_text(text)
    train(tmp_path, flat(), tmp_path / "train.yaml", steps=2)
    kept = tmp_path / "out" / "audit"
    assert (kept / "config_source.yaml").read_text() == text
    if resolved is not None:
        assert json.loads((kept / "resolved_config.json").read_text())["resolved"] == resolved


def test_a_config_of_coordexp_adds_its_rules(tmp_path: Path) -> None:
    leaf = rehearsal.written_config(tmp_path, "unknown_key")
    with pytest.raises(InvariantViolation, match=r"unknown_key_rejected.*did you mean decode_batch_size"):
        train(tmp_path, flat(), leaf)


def test_a_config_that_is_not_there_or_no_yaml_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvariantViolation, match="no such file"):
        train(tmp_path, flat(), tmp_path / "none.yaml")
    (tmp_path / "odd.yaml").write_text("a: [1\n")
    with pytest.raises(UsageError, match=r"odd\.yaml.*cannot be read as YAML"):
        train(tmp_path, flat(), tmp_path / "odd.yaml")


def changed(how: Callable[[list[Any], Batch], Any], **options: bool) -> Collator:
    """The flattening collator, of which a mistake changes the batch."""

    def collate(features: list[Any]) -> Batch:
        batch: Batch = flat(**options)(features)
        return {**batch, **how(features, batch)}

    return collate


def ends(features: list[Any]) -> list[int]:
    return list(accumulate(len(f["input_ids"]) for f in features))


def split(features: list[Any]) -> list[Any]:
    """The second sample as two."""
    second = features[1]
    parts = [{name: second[name][a:b] for name in second} for a, b in ((0, 2), (2, None))]
    return [features[0], *parts, *features[2:]]


def merged(features: list[Any]) -> list[Any]:
    """The first two samples as one."""
    first = {name: features[0][name] + features[1][name] for name in features[0]}
    return [first, *features[2:]]


def cut(features: list[Any]) -> list[Any]:
    """The second sample without its last two tokens."""
    return [features[0], {name: value[:-2] for name, value in features[1].items()}, *features[2:]]


def of_another(features: list[Any], batch: Batch) -> Batch:
    """Labels as if the first two samples had each the other's prompt length."""
    labels = batch["labels"].clone()
    start, end = 0, ends(features)[0]
    labels[0, start + 1 : end] = batch["input_ids"][0, start + 1 : end]
    return {"labels": labels}


def masked_ends(features: list[Any], batch: Batch) -> Batch:
    """As where the end of a turn is taken for padding."""
    labels = batch["labels"].clone()
    labels[0, [end - 1 for end in ends(features)]] = -100
    return {"labels": labels}


MISTAKES: dict[str, tuple[Collator, str]] = {
    "a sample is lost": (lambda f: flat()(f[:-1]), r"packing\.each_once\] sample 3 of 4 is lost"),
    "a sample is doubled": (lambda f: flat()([*f, f[1]]), r"packing\.each_once\] sample 1 of 4 stands .* 2 times"),
    "a sample is cut": (lambda f: flat()(cut(f)), r"packing\.each_once\] sample 1 of 4 is not whole"),
    "a sample is split": (lambda f: flat()(split(f)), r"packing\.positions_restart\].*restart within a segment"),
    "a sample is split for the kernel": (
        lambda f: flat(return_flash_attn_kwargs=True, return_position_ids=False)(split(f)),
        r"packing\.cu_seqlens\] cu_seq_lens_q is not the running sum",
    ),
    "two samples are merged": (lambda f: flat()(merged(f)), r"packing\.positions_restart\].*run on into the next"),
    "positions run on": (
        changed(lambda f, b: {"position_ids": torch.arange(b["input_ids"].shape[-1])[None]}),
        r"packing\.positions_restart\] text positions run on into the next segment",
    ),
    "nothing tells samples apart": (
        flat(return_position_ids=False),
        r"packing\.fields_aligned\] samples see each other",
    ),
    "labels are shifted": (
        changed(lambda f, b: {"labels": torch.roll(b["labels"], -1, -1)}),
        r"packing\.no_cross_boundary_label\]",
    ),
    "prompts are supervised": (
        changed(of_another),
        r"packing\.no_cross_boundary_label\] labels is not the concatenation of the samples' own",
    ),
    "the ends are not supervised": (
        changed(masked_ends),
        r"packing\.no_cross_boundary_label\] labels is not the concatenation of the samples' own",
    ),
    "a row is missing where samples are padded": (
        lambda f: padded(f[:-1]),
        r"packing\.each_once\] sample 3 of 4 is lost: no row holds it",
    ),
}


@pytest.mark.parametrize(("collator", "says"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("calls", [0, 3])
def test_a_mistake_stops_the_run(tmp_path: Path, collator: Collator, says: str, calls: int) -> None:
    """calls: how many batches are right before."""
    right, done = (padded if "no row" in says else flat()), 0

    def collate(features: list[Any]) -> Batch:
        nonlocal done
        done += 1
        return collator(features) if done > calls else right(features)

    with pytest.raises(InvariantViolation) as caught:
        train(tmp_path, collate)
    assert re.search(says, str(caught.value)), str(caught.value)
    assert done <= calls + 2
    assert diary(tmp_path)["status"] == "stopped"


def strangers(features: list[Any]) -> Batch:
    """A batch of samples that nobody gave: each token is another."""
    other = [{name: [(n + 1 if n >= 0 else n) for n in f[name]] for name in f} for f in features]
    made: Batch = flat()(other)
    return made


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_of_none_of_its_features_is_told_and_stops_nothing(tmp_path: Path, workers: int) -> None:
    train(tmp_path, strangers, dataloader_num_workers=workers, steps=3)
    (found,) = diary(tmp_path)["run"]["packing.each_once"]["found"]
    assert found.startswith("a batch holds none of the samples that it was collated from")
    assert diary(tmp_path)["status"] == "completed"


def test_a_batch_of_its_own_features_tells_nothing(tmp_path: Path) -> None:
    train(tmp_path, flat(), steps=3)
    assert "packing.each_once" not in diary(tmp_path)["run"]


def test_a_guard_that_is_called_warns_of_a_batch_of_none_of_its_features() -> None:
    features = data()[:4]
    with pytest.warns(UserWarning, match="a batch holds none of the samples"):
        check_packed_batch(strangers(features), features=read_features(features))


def pictures() -> list[dict[str, Any]]:
    """Two samples with one picture each, both of one size."""
    random = np.random.default_rng(3)
    made = []
    for word in (11, 12):
        ids = [word, 13, tokenizer.VISION_START, *[tokenizer.IMAGE_PAD] * 4, tokenizer.VISION_END, 14, word]
        rows = torch.from_numpy(random.standard_normal((16, 1536)).astype(np.float32))
        labels = [-100] * 8 + ids[8:]
        made.append({"input_ids": ids, "labels": labels, "image_grid_thw": [[1, 4, 4]], "pixel_values": rows})
    return made


def with_pictures(features: list[Any], order: tuple[int, ...] = (0, 1), dtype: Any = torch.float32) -> Batch:
    batch: Batch = flat()([{n: f[n] for n in ("input_ids", "labels")} for f in features])
    grids = torch.tensor([grid for f in features for grid in f["image_grid_thw"]])
    rows = [torch.as_tensor(features[i]["pixel_values"], dtype=torch.float32) for i in order]
    return batch | {"image_grid_thw": grids, "pixel_values": torch.cat(rows).to(dtype)}


def scaled(features: list[Any]) -> Batch:
    made = with_pictures(features)
    return made | {"pixel_values": made["pixel_values"] * 2 + 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", ["tensors", "arrays", "lists"])
def test_pictures_that_change_places_are_seen(form: str, dtype: Any) -> None:
    features = pictures()
    for feature in features:
        rows = feature["pixel_values"]
        feature["pixel_values"] = rows if form == "tensors" else rows.numpy() if form == "arrays" else rows.tolist()
    GuardedCollator(lambda f: with_pictures(f, dtype=dtype), profile="text,image_pad=151655")(features)
    with pytest.raises(InvariantViolation, match=r"vision_in_order\] pixel row 0 is not that of image 0"):
        GuardedCollator(lambda f: with_pictures(f, (1, 0), dtype), profile="text,image_pad=151655")(features)
    # Samples in another order keep their pictures, if all fields follow it.
    GuardedCollator(lambda f: with_pictures(f[::-1], dtype=dtype), profile="text,image_pad=151655")(features)
    # A collator that scales all pixels leaves nothing to compare.
    GuardedCollator(scaled, profile="text,image_pad=151655")(features)


def words(side: str) -> Any:
    """A small tokenizer of words, which pads on that side."""
    from tokenizers import Tokenizer, models

    vocabulary = {f"w{i}": i for i in range(VOCABULARY)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    special = {"pad_token": "w0", "mask_token": "w1", "eos_token": "w2"}
    return hub.PreTrainedTokenizerFast(tokenizer_object=made, padding_side=side, **special)


def seen(feature: dict[str, list[int]], labels: list[int] | None) -> dict[str, list[int]]:
    ids = feature["input_ids"]
    return {"input_ids": ids, "attention_mask": [1] * len(ids)} | ({"labels": labels} if labels is not None else {})


ORDINARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "causal": (lambda t: hub.DataCollatorForLanguageModeling(t, mlm=False), lambda f: seen(f, None)),
    "masked words": (lambda t: hub.DataCollatorForLanguageModeling(t, mlm=True), lambda f: seen(f, None)),
    "one sequence to another": (hub.DataCollatorForSeq2Seq, lambda f: seen(f, f["labels"][:4])),
    "to multiples": (lambda t: hub.DataCollatorForSeq2Seq(t, pad_to_multiple_of=32), lambda f: seen(f, f["labels"])),
    "classes": (hub.DataCollatorWithPadding, lambda f: {**seen(f, None), "label": 1}),
    "classes of tokens": (hub.DataCollatorForTokenClassification, lambda f: seen(f, [1] * len(f["input_ids"]))),
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("made", "row"), ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_collator_has_nothing_to_complain_of(made: Any, row: Callable[[Any], Any], side: str) -> None:
    for seed, count in enumerate((1, 2, 4, 4, 4, 4, 4, 4)):
        torch.manual_seed(seed)  # some mask words at random
        GuardedCollator(made(words(side)), packed=False)([row(f) for f in data()[:count]])


def test_a_sample_none_of_whose_words_a_collator_hid_is_no_reason_to_miss_the_others() -> None:
    collator = hub.DataCollatorForLanguageModeling(words("right"), mlm=True)
    short = [seen({"input_ids": f["input_ids"][:5]}, None) for f in data()[:8]]
    untouched = 0
    for seed in range(12):
        torch.manual_seed(seed)
        batch = GuardedCollator(collator, packed=False)(short)
        untouched += int((batch["labels"] < 0).all(dim=1).any())
    assert untouched > 6, "most batches hold a sample as it was"


UNKNOWN: dict[str, Collator] = {
    "a separator after each sample": lambda f: flat()(
        [{"input_ids": [*x["input_ids"], 2], "labels": [*x["labels"], 2]} for x in f]
    ),
    "labels are made of a mask that the features have": changed(masked_ends),
    "words are masked at random": lambda f: {**padded(f), "input_ids": torch.full_like(padded(f)["input_ids"], 1)},
}


@pytest.mark.parametrize("collator", UNKNOWN.values(), ids=UNKNOWN)
def test_what_a_collator_adds_or_changes_everywhere_is_no_mistake(collator: Collator) -> None:
    features = [{**f, "completion_mask": [1] * len(f["input_ids"])} for f in data()[:4]]
    inbox = Inbox()
    GuardedCollator(collator, packed=False, inbox=inbox)(features)
    assert inbox.first() is None


def test_a_packed_data_set_tells_its_samples() -> None:
    """As TRL's packing leaves it: rows of several samples, with their lengths."""
    one, two = data()[:2]
    row = {
        "input_ids": one["input_ids"] + two["input_ids"],
        "seq_lengths": [len(one["input_ids"]), len(two["input_ids"])],
    }
    GuardedCollator(lambda rows: flat()([one, two]))([row])
    with pytest.raises(InvariantViolation, match=r"first token of a segment is supervised.*positions_restart"):
        GuardedCollator(flat())([row])


def test_a_pack_as_ms_swift_gives_it_is_looked_into() -> None:
    packs = [data()[:3]]
    GuardedCollator(lambda rows: flat()(rows[0]))(packs)
    with pytest.raises(InvariantViolation, match="sample 2 of 3 is lost"):
        GuardedCollator(lambda rows: flat()(rows[0][:2]))(packs)


def test_a_regression_and_features_that_are_no_mappings_are_let_pass() -> None:
    def scores(features: list[Any]) -> Batch:
        return {**padded(features), "labels": torch.tensor([0.5, 1.5])}

    GuardedCollator(scores, packed=False)(data()[:2])
    GuardedCollator(lambda rows: flat()(data()[:2]), packed=False)([0, 1])
    GuardedCollator(lambda rows: flat()(data()[:2]), packed=False)(["text", "more"])
    for odd in ([[1, 2], [3]], torch.ones(4).to_sparse(), ["a", "b"], torch.ones(3), None, {"a": 1}):
        GuardedCollator(lambda rows: flat()(data()[:2]), packed=False)([{"input_ids": odd, "image_grid_thw": odd}])


def vision_features() -> list[dict[str, Any]]:
    """Two samples with a picture each, as a processor leaves them; `number` is what the collator below goes by."""
    made = []
    for number, one in enumerate(rehearsal.samples()):
        rows = torch.from_numpy(one["rows"]).float() / 127.5 - 1
        own = {"input_ids": one["ids"], "labels": one["labels"], "image_grid_thw": [list(one["grid"])]}
        made.append({**own, "pixel_values": rows, "number": number})
    return made


def swapped(batch: Batch) -> Batch:
    first, second = batch["pixel_values"].chunk(2)
    return {**batch, "pixel_values": torch.cat([second, first])}


def one_picture(batch: Batch) -> Batch:
    """Both samples get the first one's picture."""
    first, _ = batch["pixel_values"].chunk(2)
    return {**batch, "pixel_values": torch.cat([first, first])}


VISION: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "nothing": (dict, ""),
    "pictures change places": (swapped, r"vision_in_order\] pixel row \d+ is not that of image 0"),
    "a picture stands twice": (one_picture, r"vision_in_order\] pixel row \d+ is not that of image 1"),
}


@pytest.mark.parametrize(("mistake", "says"), VISION.values(), ids=VISION)
def test_a_small_vision_model_is_guarded_in_the_same_three_lines(
    tmp_path: Path, mistake: Callable[[Batch], Batch], says: str
) -> None:
    def collate(features: list[Any]) -> Batch:
        return mistake(rehearsal.collate([[f["number"] for f in features]]))

    audit = AuditCallback()
    given = {"max_steps": 2, "per_device_train_batch_size": 2, "save_strategy": "no", "remove_unused_columns": False}
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "optim": "sgd"}
    settings = hub.TrainingArguments(str(tmp_path / "out"), **given, **quiet)
    dataset = vision_features() * 4
    model = small.build()
    model.config.text_config.use_cache = False  # with a cache the samples of a pack would see each other
    trainer = hub.Trainer(model, settings, train_dataset=dataset, data_collator=audit.wrap(collate), callbacks=[audit])
    trainer.remove_callback(hub.PrinterCallback)
    if not says:
        with one_thread():
            trainer.train()
        assert diary(tmp_path)["judged"]["packing.vision_in_order"] >= 2
        return
    with pytest.raises(InvariantViolation, match=says), one_thread():
        trainer.train()


class Closed(hub.LlamaForCausalLM):  # type: ignore[misc]
    """A model that takes no number of items, so that its loss is each micro-step's mean."""

    def forward(self, input_ids: Any = None, labels: Any = None, position_ids: Any = None) -> Any:
        return super().forward(input_ids=input_ids, labels=labels, position_ids=position_ids)


class Forgetful(hub.Trainer):  # type: ignore[misc]
    """A trainer whose loss forgets the number of items that it is given."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        return model(**inputs).loss


class Penalised(hub.Trainer):  # type: ignore[misc]
    """A trainer whose loss has a term of its own."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs) + 0.25


# 64 samples in micro-steps of 3: the last optimizer step of the epoch has two of four micro-steps.
ACCUMULATED: dict[str, Any] = {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 3}


@pytest.mark.parametrize(("every", "judged"), [(1, 2), (4, 2), (6, 1)])
def test_a_step_of_several_micro_steps_weighs_by_tokens(tmp_path: Path, every: int, judged: int) -> None:
    """The first logged loss is judged, and that of the window with the epoch's last step."""
    train(tmp_path, flat(), logging_steps=every, **ACCUMULATED)
    assert diary(tmp_path)["judged"]["packing.loss_equivalent"] == judged


MEANS = {
    "each micro-step weighs alike": ({"kind": Closed}, r"is the mean of its micro-steps' means"),
    "their means are summed": ({"trainer": Forgetful}, r"is the sum of its micro-steps' means"),
}


@pytest.mark.parametrize(("made", "says"), MEANS.values(), ids=MEANS)
def test_a_loss_that_does_not_weigh_by_tokens_stops_the_run(tmp_path: Path, made: dict[str, Any], says: str) -> None:
    with pytest.raises(InvariantViolation, match=r"packing\.loss_equivalent\] the loss of an optimizer step " + says):
        train(tmp_path, flat(), steps=3, **made, **ACCUMULATED)
    alone: dict[str, Any] = {"per_device_train_batch_size": 3}
    train(tmp_path, flat(), steps=3, **made, **alone)  # one micro-step is its own mean


class Underweighted(hub.Trainer):  # type: ignore[misc]
    """A trainer that divides each step's loss as if it had all its micro-steps."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        part: float = self.current_gradient_accumulation_steps / self.args.gradient_accumulation_steps
        return super().compute_loss(*args, **kwargs) * part


@pytest.mark.parametrize("every", [1, 2])
def test_a_partial_last_step_that_weighs_too_little_stops_the_run(tmp_path: Path, every: int) -> None:
    says = r"loss_equivalent\] .*tokens' mean of its micro-steps' divided by 4, though the last step .* has fewer"
    with pytest.raises(InvariantViolation, match=says):
        train(tmp_path, flat(), trainer=Underweighted, steps=8, logging_steps=every, **ACCUMULATED)
    train(tmp_path, flat(), trainer=Underweighted, steps=5, logging_steps=every, **ACCUMULATED)


def test_an_objective_with_a_term_of_its_own_is_not_judged(tmp_path: Path) -> None:
    train(tmp_path, flat(), steps=3, trainer=Penalised, **ACCUMULATED)
    assert "packing.loss_equivalent" not in diary(tmp_path)["judged"]


def test_a_vision_model_whose_positions_count_one_by_one_needs_no_mrope() -> None:
    config: dict[str, Any] = {"model_type": "other_vl", "image_token_id": 7, "vision_config": {"patch_size": 14}}
    assert (of_values(config).position_rows, of_values(config).image_pad) == (1, 7)
    sections = {"text_config": {"rope_scaling": {"mrope_section": [4, 2, 2]}}}
    assert of_values(config | sections).position_rows == 4


class Idle(hub.LlamaForCausalLM):  # type: ignore[misc]
    """A model with an adapter that nothing calls."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.adapter = torch.nn.Linear(2, 2)


class Partial(hub.Trainer):  # type: ignore[misc]
    """A trainer whose optimizer is given all but the head."""

    def create_optimizer(self) -> Any:
        chosen = [p for name, p in self.model.named_parameters() if "lm_head" not in name]
        self.optimizer = torch.optim.SGD(chosen, lr=1e-3)
        return self.optimizer


def test_parameters_that_do_not_train_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path / "sound", flat(), steps=10)
    sound = {"steps": 8, "without a gradient": [], "in no optimizer group": []}
    assert diary(tmp_path / "sound")["parameters"] == sound and "should train" not in caplog.text
    train(tmp_path / "idle", flat(), steps=3, kind=Idle)
    idle = ["adapter.bias", "adapter.weight"]
    assert diary(tmp_path / "idle")["parameters"] == {**sound, "steps": 3, "without a gradient": idle}
    assert "got no gradient in 3 steps: adapter.bias, adapter.weight" in caplog.text
    train(tmp_path / "partial", flat(), steps=10, trainer=Partial)
    assert diary(tmp_path / "partial")["parameters"] == {**sound, "in no optimizer group": ["lm_head.weight"]}
    assert "stand in no optimizer group in 8 steps: lm_head.weight" in caplog.text


class Spoilt(hub.Trainer):  # type: ignore[misc]
    """A trainer whose second loss is no number."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs) * (float("nan") if self.state.global_step == 1 else 1.0)


HIDDEN = {
    "the norm of the gradient is logged": ({"logging_steps": 1}, r"supervision\.weights_finite\].*step 2"),
    "nothing is logged": ({"logging_steps": 50}, r"supervision\.weights_finite\].*after optimizer step 2"),
    "no norm is taken": ({"logging_steps": 1, "max_grad_norm": 0.0}, r"supervision\.weights_finite\].*step 2"),
    "the filter is off": ({"logging_steps": 1, "logging_nan_inf_filter": False}, r"metrics\.finite\].*loss is nan"),
}


@pytest.mark.parametrize(("arguments", "says"), HIDDEN.values(), ids=HIDDEN)
def test_a_loss_that_is_no_number_stops_the_run_though_the_trainer_logs_a_mean_in_its_place(
    tmp_path: Path, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvariantViolation, match=says):
        train(tmp_path, flat(), trainer=Spoilt, **arguments)
