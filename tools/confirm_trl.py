"""What the book says is violated in TRL, shown without the audit; run by the Python that TRL is installed in.

    PYTHONPATH=. python tools/confirm_trl.py

`SFTTrainer` is TRL's own, the tokenizer Qwen's; the models, a Qwen3-VL and a Qwen3, are small and random. One optimizer
step of two micro-steps, of 3 and of 60 words.
"""

import tempfile
import warnings

from coordexp_audit_lib.kit import parts

CHATS = [[("user", "q1"), ("assistant", "yes it is")], [("user", "q2"), ("assistant", "cup " * 60)]]


def messages(chat):
    return [{"role": role, "content": text} for role, text in chat]


def small_text_model(rows):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 16,
    }
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=rows, num_key_value_heads=1, initializer_range=0.2, **size)).float()


def trainer_of(model, words, chats, folder, **more):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    still = {"learning_rate": 0.0, "max_steps": 1, "logging_steps": 1, "gradient_checkpointing": False, "bf16": False}
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no"}
    given = {"per_device_train_batch_size": 1, "assistant_only_loss": True, **still, **quiet, **more}
    data = Dataset.from_list([{"messages": messages(chat)} for chat in chats])
    args = SFTConfig(output_dir=folder, **given)
    return SFTTrainer(model=model, args=args, train_dataset=data, processing_class=words)


def losses(model, rows):
    """(summed cross-entropy, supervised tokens) of each row, by the model itself."""
    import torch

    found = []
    for row in rows:
        logits = model(input_ids=row["input_ids"], use_cache=False).logits[0, :-1].float()
        labels = row["labels"][0, 1:]
        total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        found.append((float(total.detach()), int((labels != -100).sum())))
    return found


def accumulation(name, model, words, folder):
    plain = trainer_of(model, words, CHATS, folder, gradient_accumulation_steps=2)
    rows = [plain.data_collator([row]) for row in plain.train_dataset]
    parts_of = losses(model, rows)
    plain.train()
    logged = float(next(row["loss"] for row in plain.state.log_history if "loss" in row))
    by_token = sum(total for total, _ in parts_of) / sum(n for _, n in parts_of)
    alike = sum(total / n for total, n in parts_of) / len(parts_of)
    print("  ", f"{name}: logged {logged:.4f}; tokens weigh alike {by_token:.4f}; micro-steps weigh alike {alike:.4f}")
    said = getattr(type(model), "accepts_loss_kwargs", "not said")
    print("  ", f"  accepts_loss_kwargs of its class: {said}; supervised tokens: {[n for _, n in parts_of]}")


def cut(model, words, folder):
    long = [("user", "q"), ("assistant", "cup " * 2000)]
    made = trainer_of(model, words, [CHATS[0], long], folder)
    sizes = [len(row["input_ids"]) for row in made.train_dataset]
    whole = len(words.apply_chat_template(messages(long), tokenize=True, return_dict=True)["input_ids"])
    last = [row["input_ids"][-1] for row in made.train_dataset]
    print("  ", f"{whole} tokens become {max(sizes)}; the last token of the cut one is", repr(words.decode([last[-1]])))
    packed = trainer_of(model, words, [CHATS[0], long], folder, packing=True, max_length=512)
    print("  ", "packed at 512:", [list(row["seq_lengths"]) for row in packed.train_dataset])


def main():
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        words, pictured = parts.tokenizer(folder), parts.model()
        print("1. one step of two micro-steps")
        accumulation("Qwen3-VL", pictured, words, folder)
        accumulation("Qwen3", small_text_model(152_704), words, folder)
        print("2. an answer of 2000 words under SFTConfig's defaults")
        cut(small_text_model(152_704), words, folder)


if __name__ == "__main__":
    main()
