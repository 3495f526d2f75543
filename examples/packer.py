"""A plain packer for Qwen3-VL in torch and transformers: what a training script of one's own looks like."""

import torch
import transformers

IGNORE = -100
IMAGE_PAD, MERGE = 151_655, 2


def encode(processor, messages):
    """One chat as tokens [n], labels [n] (what the assistant says, its `<|im_end|>` included), pixels and grids."""
    made = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    ids = made["input_ids"][0]
    labels = torch.full_like(ids, IGNORE)
    header = torch.tensor(processor.tokenizer.encode("<|im_start|>assistant\n"))
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    if int((ids == end).sum()) != len(messages):
        raise ValueError("a text spells <|im_end|>: its turn would end there")
    for start in range(len(ids) - len(header)):
        if torch.equal(ids[start : start + len(header)], header):
            first = start + len(header)
            last = first + int((ids[first:] == end).nonzero()[0])
            labels[first : last + 1] = ids[first : last + 1]
    vision = {k: made[k] for k in ("pixel_values", "image_grid_thw") if k in made}
    return {"input_ids": ids, "labels": labels, **vision}


def plan(lengths, room):
    """First fit: each sample goes into the first pack that has room for it."""
    packs, left = [], []
    for index, length in enumerate(lengths):
        if length > room:
            raise ValueError(f"sample {index} has {length} tokens, more than the {room} of a pack")
        at = next((k for k, free in enumerate(left) if length <= free), None)
        if at is None:
            packs.append([])
            left.append(room)
            at = len(packs) - 1
        packs[at].append(index)
        left[at] -= length
    return packs


def positions(ids, grids):
    """Rows of positions [4, n]: text, then time, height and width, which an image spreads on its merged grid."""
    rows, at, following, grids = [], 0, 0, list(grids)
    while at < len(ids):
        if ids[at] != IMAGE_PAD:
            rows.append([following] * 3)
            at, following = at + 1, following + 1
            continue
        _, height, width = (int(n) for n in grids.pop(0))
        height, width = height // MERGE, width // MERGE
        rows += [[following, following + y, following + x] for y in range(height) for x in range(width)]
        at, following = at + height * width, following + max(height, width)
    return torch.cat([torch.arange(len(ids))[None], torch.tensor(rows).T])


def collate(samples):
    """One row [1, L] of all samples, with their bounds for a variable-length kernel; no mask."""
    lengths = [len(s["input_ids"]) for s in samples]
    bounds = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    rows = [positions(s["input_ids"].tolist(), s.get("image_grid_thw", ())) for s in samples]
    batch = {
        "input_ids": torch.cat([s["input_ids"] for s in samples])[None],
        "labels": torch.cat([s["labels"] for s in samples])[None],
        "position_ids": torch.cat(rows, dim=1)[:, None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
    }
    pictured = [s for s in samples if "pixel_values" in s]
    if pictured:
        batch |= {k: torch.cat([s[k] for s in pictured]) for k in ("pixel_values", "image_grid_thw")}
    return batch


def loss(model, batch):
    """The mean cross-entropy of the supervised tokens."""
    return model(**batch, use_cache=False).loss


def trainer(model, samples, **arguments):
    """A trainer over encoded samples, one a micro-step."""
    given = transformers.TrainingArguments(**arguments, remove_unused_columns=False)
    return transformers.Trainer(model, given, collate, train_dataset=samples, eval_dataset=samples[:2])
