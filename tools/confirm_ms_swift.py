"""What the book says is violated in ms-swift, shown without the audit; run by the Python that ms-swift is installed in.

    PYTHONPATH=. python tools/confirm_ms_swift.py

Two processes ask the sampler over gloo; the template and the datasets are ms-swift's own, the tokenizer is Qwen's, the
model a small random one.
"""

import collections
import copy
import importlib
import importlib.machinery
import io
import logging
import multiprocessing
import re
import sys
import tempfile
import types
import warnings

from coordexp_audit_lib.kit import model, picture, template, tokenizer, varlen

PACKS, EPOCHS = 5, 50
PICTURE_PAD, VISION_START = tokenizer.IMAGE_PAD, tokenizer.VISION_START


def found(*places):
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise SystemExit(f"ms-swift has none of {places}")


def dealt(rank, path, told):
    """The packs that one of two ranks gets in each of the first epochs."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method="file://" + path, rank=rank, world_size=2)
    kind = found("swift.dataloader.shard:BatchSamplerShard", "swift.llm.data_loader:BatchSamplerShard")
    sampler, seen = kind(PACKS, batch_size=1, shuffle=True, drop_last=False, data_seed=42), []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        seen.append([i for batch in sampler for i in batch])
    told.put((rank, seen))


def sampler():
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        told = context.Queue()
        ranks = [context.Process(target=dealt, args=(rank, folder + "/meet", told)) for rank in range(2)]
        for process in ranks:
            process.start()
        answers = dict(told.get() for _ in ranks)
        for process in ranks:
            process.join()
    times = collections.Counter(i for seen in answers.values() for epoch in seen for i in epoch)
    print(f"1. {PACKS} packs on two ranks, drop_last=False, shuffled, {EPOCHS} epochs: pack -> times trained on")
    print("  ", {i: times[i] for i in range(PACKS)})


def chat(number, text, images=()):
    turns = [{"role": "user", "content": "<image>" * len(images) + f"q{number}"}]
    return {"messages": [*turns, {"role": "assistant", "content": text}], "images": list(images)}


class Rows(list):
    """A dataset that tells its samples' lengths as they were when it was tokenized."""

    def __getitem__(self, key):
        return self.lengths if isinstance(key, str) else copy.deepcopy(super().__getitem__(key))


def unreadable(made, words):
    lazy = found("swift.dataset.utils:LazyLLMDataset", "swift.llm.dataset.utils:LazyLLMDataset")
    packing = found("swift.dataset.packing:PackingDataset", "swift.llm.dataset.utils:PackingDataset")
    texts = ["short", "word " * 60, "mid " * 20, "x y z", "long " * 50]
    rows = Rows(chat(i, text, [picture.image(2, 64, 64)] if i == 2 else []) for i, text in enumerate(texts))
    rows.lengths = [int(made.encode(copy.deepcopy(row), return_length=True)["length"]) for row in list(rows)]
    list.__getitem__(rows, 2)["images"] = ["gone.png"]  # readable when lengths were counted, and not any more
    packed = packing(made, lazy(rows, made.encode, random_state=1), packing_length=max(rows.lengths))
    trained, longest = collections.Counter(), 0
    for i in range(len(packed)):
        pack = packed[i]
        longest = max(longest, sum(int(one["length"]) for one in pack))
        trained.update(re.search(r"(q\d)<\|im_end\|>", words.decode(one["input_ids"])).group(1) for one in pack)
    print("2. one of five pictures can't be read when the pack is made: sample -> times in the packs")
    print("  ", dict(sorted(trained.items())), "longest pack", longest, "packing_length", max(rows.lengths))


def cut_left(parts, small):
    one = chat(1, "A cup, a red jar and a bowl.", [picture.image(1, 128, 96)])
    whole = int(template.build(parts, small).encode(copy.deepcopy(one), return_length=True)["length"])
    print(
        "3. truncation_strategy left: limit, <|vision_start|> kept, rows of the first picture token and its neighbours"
    )
    for most in (whole, whole - 6):
        made = template.build(parts, small, max_length=most, truncation_strategy="left")
        made.packing = made.padding_free = True
        encoded = made.encode(copy.deepcopy(one), return_length=True)
        ids, rows = list(encoded["input_ids"]), made.data_collator([dict(encoded)])["position_ids"]
        pads = [i for i, token in enumerate(ids) if token == PICTURE_PAD]
        print("  ", most, VISION_START in ids, rows.reshape(rows.shape[0], -1)[:, pads[:6]].tolist())


def qwen2_5():
    """A small random Qwen2.5-VL; ms-swift's loader gives it the shortcut `visual` where transformers 5 has none."""
    import torch
    import transformers

    size = {"hidden_size": 32, "intermediate_size": 64}
    text = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 152_704}
    rope = {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2]}, "initializer_range": 0.2}
    vision = {"depth": 1, "num_heads": 2, "out_hidden_size": 32, "fullatt_block_indexes": [0]}
    ends = {"vision_start_token_id": VISION_START, "vision_end_token_id": tokenizer.VISION_END}
    ids = {"image_token_id": PICTURE_PAD, "video_token_id": tokenizer.VIDEO_PAD, **ends}
    parts = {"text_config": {**size, **text, **rope}, "vision_config": {**size, **vision}}
    torch.manual_seed(0)
    made = (
        transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig(**parts, **ids)).float().train()
    )
    if not hasattr(made, "visual"):
        type(made).visual = property(lambda self: self.model.visual)
    made.config.use_cache = made.config.text_config.use_cache = False
    return made


def packed_as_alone(words):
    """Qwen2.5-VL: what the trainer gives the model, with the varlen kernel's stand-in, packed and one by one."""
    import transformers

    small = qwen2_5()
    kind = getattr(transformers, "Qwen2VLImageProcessorPil", None) or transformers.Qwen2VLImageProcessor
    parts = template.processor(words, small.config, kind(patch_size=14, merge_size=2, temporal_patch_size=2))
    made = template.build(parts, small, kind="qwen2_5_vl")
    made.register_post_encode_hook([small])
    pictures = [[picture.image(1, 112, 84)], [], [picture.image(2, 56, 112), picture.image(3, 140, 84)]]
    encoded = [made.encode(chat(i, "A cup. " * (i + 1), p), return_length=True) for i, p in enumerate(pictures)]

    def run(samples):
        given = made.data_collator([dict(one) for one in samples])
        given.pop("text_position_ids")
        return small(**given)

    with varlen.attending(small, "varlen"):
        alone = [run([one]) for one in encoded]
        made.packing = made.padding_free = True
        whole, at, apart = run(encoded), 0, 0.0
    for one in alone:
        size = one.logits.shape[1]
        apart, at = max(apart, float((whole.logits[:, at : at + size] - one.logits).abs().max())), at + size
    counts = [sum(y != -100 for y in one["labels"]) for one in encoded]
    mean = sum(n * float(one.loss) for n, one in zip(counts, alone, strict=True)) / sum(counts)
    print("4. Qwen2.5-VL: largest difference of a logit, packed loss, mean of the samples' tokens")
    print("  ", f"{apart:.2g}", f"{float(whole.loss):.5f}", f"{mean:.5f}")


def liger(folder):
    """`use_liger_kernel` where the kernel's loss isn't the one that ms-swift mends; modules stand for liger_kernel."""
    kind = found("swift.trainers.arguments:Seq2SeqTrainingArguments")
    print("5. use_liger_kernel, ms-swift's mending of the kernel's loss: raised, loss was wrapped, said in the log")
    for name, given in (("as it expects", {"LigerForCausalLMLoss": len}), ("under another name", {"FusedLoss": len})):
        modules = ["liger_kernel", *(f"liger_kernel.{n}" for n in ("transformers", "transformers.model"))]
        modules = {n: types.ModuleType(n) for n in (*modules, "liger_kernel.transformers.model.loss_utils")}
        for path, module in modules.items():
            module.__spec__ = importlib.machinery.ModuleSpec(path, None)
            if "." in path:
                parent, _, last = path.rpartition(".")
                setattr(modules[parent], last, module)
        told, losses = io.StringIO(), modules["liger_kernel.transformers.model.loss_utils"]
        vars(losses).update(given)
        handler, logger, raised = logging.StreamHandler(told), logging.getLogger("swift"), ""
        handler.setLevel(logging.WARNING)
        logger.addHandler(handler)
        sys.modules.update(modules)
        try:
            kind(output_dir=folder, use_cpu=True, report_to=[], use_liger_kernel=True, bf16=False)
        except Exception as error:
            raised = type(error).__name__
        finally:
            logger.removeHandler(handler)
            for path in modules:
                del sys.modules[path]
        print(
            "  ", f"{name}:", raised or "nothing", any(f is not len for f in map(losses.__dict__.get, given)), end=" "
        )
        print([line for line in told.getvalue().splitlines() if "liger" in line.lower()])


def whole_answers():
    """`acc_strategy: seq` of two samples, each with a prompt and an answer of two tokens, all predicted right."""
    import torch

    score = found("swift.metrics:compute_acc", "swift.plugin:compute_acc")
    labels, said = torch.tensor([[-100, -100, 5, 6, -100, -100, 7, 8]]), torch.tensor([[0, 5, 6, 0, 0, 7, 8, 0]])
    packed = score(said, labels, acc_strategy="seq", cu_seqlens=torch.tensor([0, 4, 8]))
    padded = score(said.view(2, 4), labels.view(2, 4), acc_strategy="seq")
    print("6. seq_acc of two right answers: padding-free, padded")
    print("  ", *([bool(v) for v in one["seq_acc"]] for one in (packed, padded)))


def main():
    warnings.filterwarnings("ignore")
    sampler()
    whole_answers()
    with tempfile.TemporaryDirectory() as folder:
        words, small = tokenizer.fast(tokenizer.at(folder)), model.small()
        parts = template.processor(words, small.config)
        unreadable(template.build(parts, small), words)
        cut_left(parts, small)
        packed_as_alone(words)
        liger(folder)


if __name__ == "__main__":
    main()
