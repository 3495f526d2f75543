"""Coordinate tokens: the project's expansion and checks of a vocabulary, and of what a server's ids mean."""

import contextlib
import inspect
import io
import os
import sys
import tempfile
import types
from typing import Any

from coordexp_audit_lib.kit import model, tokenizer, variants
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS
from coordexp_audit_lib.pipelines.api import Unbound, binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.answers.supervision.passes import accepted
from coordexp_audit_lib.pipelines.coordexp.answers.template.conversation import PROMPTED, encoded_fixed, trainer_of
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.dataset import encoding

BINS = (701, 703, 811, 813)


def tokenizer_of(here, kind, at=0):
    """A tokenizer of `kit/variants.py` as a `transformers` fast tokenizer."""
    fast = tokenizer.fast(variants.build(kind, at, tokenizer, tokenizer.at(here.scratch)), given_away=True)
    if kind == "unknown":
        fast.unk_token = variants.UNKNOWN
    return fast


@binds("template.vocabulary", expand=symbols.EXPAND_VOCABULARY, ids=symbols.COORD_IDS)
def vocabulary(request, here):
    """The project's own script, on a base tokenizer without coordinate tokens and a model of one small layer."""
    module: Any = sys.modules[here.expand.__module__]
    base, small = tokenizer_of(here, "none"), model.build(rows=request["rows"], tied=True)
    base.save_pretrained = small.save_pretrained = lambda *a, **k: None  # 12 MB that nobody reads
    loaded = {"AutoTokenizer": base, "Qwen3VLForConditionalGeneration": small}
    stand_ins = {n: types.SimpleNamespace(from_pretrained=lambda *a, v=v, **k: v) for n, v in loaded.items()}
    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        command = ["expand_coord_vocab.py", "--src", folder, "--dst", os.path.join(folder, "made")]
        with replaced(module, **stand_ins), replaced(sys, argv=command), contextlib.redirect_stdout(io.StringIO()):
            here.call(here.expand)
    return {
        "length": len(base),
        "rows": int(small.get_input_embeddings().weight.shape[0]),
        "coord_ids": checked_ids(here, base),
        "encoded": [base.encode(t, add_special_tokens=False) for t in request["texts"]],
    }


@binds("template.coord_check", ids=symbols.COORD_IDS)
def coord_check(request, here):
    made = tokenizer_of(here, request["kind"], request["at"])
    ids = checked_ids(here, made)
    return {"first": ids[0], "last": ids[-1], "distinct": len(set(ids))}


def checked_ids(here, words):
    return [int(i) for i in here.ask(here.ids, words, validate=True)]


@binds("template.rows_check", loss=symbols.COORD_LOSS, id_map=symbols.COORD_ID_MAP)
def rows_check(request, here):
    """The coordinate loss of one step: a label on the last bin, logits as wide as the model's embedding has rows."""
    import torch

    rows, ids = request["rows"], list(range(COORD_0, COORD_0 + COORD_BINS))
    labels = torch.tensor([[IGNORE_INDEX, min(ids[-1], rows - 1), IGNORE_INDEX]])
    weights = {"ce_weight": 0.0, "soft_ce_weight": 1.0, "w1_weight": 1.0, "gate_weight": 0.0, "text_gate_weight": 0.0}
    shape = {"temperature": 1.0, "target_sigma": 2.0, "target_truncate": 8}
    coords = here.id_map(vocab_size=rows, device=torch.device("cpu"), coord_token_ids=ids)
    given: dict[str, Any] = {"logits": torch.zeros(1, 3, rows), "labels": labels, "masked_labels": labels.clone()}
    given.update(coord_token_ids=ids, coord_id_map=coords, coord_token_weights=None, tokenizer=None)
    given.update(cfg=types.SimpleNamespace(enabled=True, **weights, **shape), accelerator_num_processes=1)
    given.update(average_tokens_across_devices=False, model_accepts_loss_kwargs=False)
    wanted = here.fitting(here.loss, **given)
    try:
        inspect.signature(here.loss).bind(**wanted)
    except TypeError as error:  # an argument that this file does not know is no judgement of the target's
        raise Unbound("the coordinate loss wants other arguments: %s" % error) from error
    here.call(here.loss, **wanted)
    return {"accepted": True}


@binds("template.server_check", prepare=symbols.PREPARE_B, trainer=symbols.STAGE2_TRAINER, **PROMPTED)
def server_check(request, here):
    """One Channel-B preparation on the project's default prompts; the server's ids differ as the request says."""
    accepted("b", here)
    settings = {"ordering": "sorted", "variant": "default", "field_order": "desc_first"}
    template, sample = encoded_fixed(here, settings)
    trainer = trainer_of(here, template, settings, "hf")
    words = template.tokenizer
    prompt = harness.whole(sample["input_ids"])[: harness.answer_at(sample["labels"])]
    text = '{"objects": [{"desc": "zebra fish", "bbox_2d": [' + ", ".join("<|coord_%d|>" % k for k in BINS) + "]}]}"
    answer = [*words.encode(text, add_special_tokens=False), tokenizer.IM_END]
    other = renumbered(words, request["differs"], set(prompt))
    rollout = ([other.get(t, t) for t in answer], text, "greedy", [other.get(t, t) for t in prompt])
    trainer._rollout_many = lambda chunk, **_: [rollout for _ in chunk]
    encoding(here, trainer._prepare_batch_inputs_b, [sample], _segments_only=True)
    return {"accepted": True}


def renumbered(words, differs, prompt):
    """How the server's ids differ from the learner's."""
    if differs == "shifted":
        return {i: i - 1 for i in range(COORD_0, COORD_0 + COORD_BINS)}
    if differs == "no":
        return {}
    pair = [COORD_0 + k for k in BINS[:2]]
    if differs == "word":
        pair = [words.encode(w, add_special_tokens=False)[0] for w in (" fish", " river")]
    if prompt & set(pair):
        raise ValueError("the prompt mentions the tokens that no prompt should mention")
    return {pair[0]: pair[1], pair[1]: pair[0]}
