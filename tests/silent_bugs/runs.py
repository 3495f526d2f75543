"""Bugs that only a run shows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from tests.guards.mistaken import LeftEvaluating, LeftTraining, Overwriting, Seeded, Stream
from tests.silent_bugs.pairs import Pair, Told
from tests.silent_bugs.trained import SAMPLES, VOCABULARY, Ran, Tiny, hub, of, rows, run

# the loss


class Closed(Tiny):
    """A model that takes no number of items, so that its loss is each micro-step's mean."""

    def forward(self, input_ids: Any = None, labels: Any = None, position_ids: Any = None) -> Any:
        return super().forward(input_ids=input_ids, labels=labels, position_ids=position_ids)


class Underweighted(hub.Trainer):  # type: ignore[misc]
    """The last, partial window's loss is divided as if it were whole."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        part: float = self.current_gradient_accumulation_steps / self.args.gradient_accumulation_steps
        return super().compute_loss(*args, **kwargs) * part


class DividedTwice(hub.Trainer):  # type: ignore[misc]
    """The loss is divided by the number of items and by that of micro-steps."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs) / self.args.gradient_accumulation_steps


class Spoilt(hub.Trainer):  # type: ignore[misc]
    """The second loss is no number, and the log shows the mean of the others."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs) * (float("nan") if self.state.global_step == 1 else 1.0)


def means(broken: bool, folder: Path) -> Ran:
    return run(folder, network=Closed() if broken else Tiny(), gradient_accumulation_steps=2)


# parameters


class Partial(hub.Trainer):  # type: ignore[misc]
    """The head's parameters are collected after the list was handed to the optimizer."""

    def create_optimizer(self, *args: Any) -> Any:
        chosen = [p for name, p in self.model.named_parameters() if "lm_head" not in name]
        self.optimizer = torch.optim.SGD(chosen, lr=0.1)
        return self.optimizer


class Twice(hub.Trainer):  # type: ignore[misc]
    """The head stands twice in one group, of which torch only warns."""

    def create_optimizer(self, *args: Any) -> Any:
        made = super().create_optimizer(*args)
        made.param_groups[0]["params"].append(self.model.lm_head.weight)
        return made


class DecayedRight(hub.Trainer):  # type: ignore[misc]
    """Weight decay that leaves alone what is frozen: the twin of `Overwriting`."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        with torch.no_grad():
            for p in self.model.parameters():
                p.mul_(0.99 if p.requires_grad else 1.0)
        return loss


def frozen(trainer: Any) -> None:
    trainer.model.model.embed_tokens.weight.requires_grad_(False)


def untying(broken: bool, folder: Path) -> Ran:
    class Untied(hub.Trainer):  # type: ignore[misc]
        """The head becomes a tensor of its own."""

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            if broken and self.state.global_step == 1:
                head = self.model.lm_head
                head.weight = torch.nn.Parameter(head.weight.detach() * 1.01)
            return super().training_step(*args, **kwargs)

    return run(folder, Untied, Tiny(tie_word_embeddings=True))


class Reentrant(Tiny):
    """A tower before the layers, checkpointed by torch's reentrant way, into which no gradient is asked for."""

    reentrant = True

    def __init__(self) -> None:
        super().__init__()
        self.tower = torch.nn.Linear(8, 8)

    def forward(self, input_ids: Any = None, **how: Any) -> Any:
        pixels = torch.ones(*input_ids.shape, 8)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
            seen = checkpoint(self.tower, pixels, use_reentrant=self.reentrant)
        embedded = self.model.embed_tokens(input_ids) + seen
        self.seen += [input_ids.flatten().tolist()]
        return hub.LlamaForCausalLM.forward(self, inputs_embeds=embedded, **how)


class NotReentrant(Reentrant):
    reentrant = False


def tower(broken: bool, folder: Path) -> Ran:
    return run(folder, network=Reentrant() if broken else NotReentrant(), max_steps=4)


# modes


def dropping(wrong: Any, **how: Any) -> Callable[[bool, Path], Ran]:
    return lambda broken, folder: run(folder, wrong if broken else hub.Trainer, Tiny(attention_dropout=0.5), **how)


# samples


class Ordered(torch.utils.data.Sampler):  # type: ignore[type-arg]
    """Of each epoch another order; the epochs are counted from `first` on."""

    def __init__(self, first: int) -> None:
        self.epoch = first - 1

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(np.random.default_rng(self.epoch).permutation(SAMPLES).tolist())

    def __len__(self) -> int:
        return SAMPLES


def sampled(sampler: Any) -> Any:
    class Sampled(hub.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return sampler

    return Sampled


SAVED: dict[str, Any] = {"save_strategy": "steps", "save_steps": 6, "max_steps": 8, "num_train_epochs": 2}


def resumed(broken: bool, folder: Path) -> Ran:
    """In the second epoch; a sampler that is made anew counts the epochs from 0 again."""
    run(folder, sampled(Ordered(0)), **SAVED)
    return run(folder, sampled(Ordered(0 if broken else 1)), resume=str(folder / "checkpoint-6"), **SAVED)


def dropped(broken: bool, folder: Path) -> Ran:
    """The last samples, with which no batch is filled, are left out before the order is drawn."""
    order = list(range(SAMPLES - 2 * broken))
    return run(folder, sampled(order), max_steps=-1, num_train_epochs=1)


def streamed(broken: bool, folder: Path) -> Ran:
    return run(folder, data=Stream(rows(), parts=not broken), dataloader_num_workers=2, max_steps=4)


class Cropped(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Samples that are augmented at random: the first token is drawn."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, at: int) -> dict[str, Any]:
        one = rows()[at]
        return {**one, "input_ids": [int(np.random.randint(3, VOCABULARY)), *one["input_ids"][1:]]}


def seeded(broken: bool, folder: Path) -> Ran:
    return run(folder, Seeded if broken else hub.Trainer, data=Cropped(), dataloader_num_workers=2)


def weights(ran: Ran) -> Any:
    return ran.weights


def seen(ran: Ran) -> Any:
    return ran.seen


def asked(ran: Ran) -> Told:
    return ran.told


LOSS, ONCE, MODES = "packing.loss_equivalent", "packing.epoch_once", "supervision.modes_fit"
TRAIN, APART = "supervision.parameters_train", "packing.workers_apart"
EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 1}
ran = partial(Pair, tool="callback", asked=asked, shown=weights)
PAIRS = [
    ran(
        "the mean of the micro-steps' means is taken",
        "huggingface/transformers#34191",
        claim=LOSS,
        says="is the mean of its micro-steps' means",
        made=means,
    ),
    ran(
        "the last, partial window is divided as if it were whole",
        "modelscope/ms-swift#10084",
        claim=LOSS,
        says="divided by 3, though the last step .* has fewer",
        made=of(Underweighted, gradient_accumulation_steps=3, max_steps=2),
    ),
    ran(
        "a loss is divided by its items and by the micro-steps too",
        "unslothai/unsloth-zoo#1023",
        claim=LOSS,
        says="divided by its 2 micro-steps once more",
        made=of(DividedTwice, gradient_accumulation_steps=2),
    ),
    ran(
        "a loss that is no number is left out of the log",
        "huggingface/trl#6702",
        claim="supervision.weights_finite",
        says="step 2",
        made=of(Spoilt),
    ),
    ran(
        "parameters are in no optimizer group",
        "zjunlp/HVPNeT#5",
        claim=TRAIN,
        says="in no optimizer group: lm_head.weight",
        made=of(Partial, max_steps=8),
    ),
    ran(
        "a parameter stands twice in the optimizer",
        "pytorch/pytorch#40967",
        claim="supervision.updated_once",
        says="lm_head.weight",
        made=of(Twice),
    ),
    ran(
        "weight decay changes what is frozen",
        "iamwangyabin/S-Prompts#2",
        claim="supervision.frozen_still",
        says="model.embed_tokens.weight",
        made=of(Overwriting, DecayedRight, prepared=frozen),
    ),
    ran(
        "tied embeddings come apart",
        "NVIDIA/Megatron-LM#656",
        claim="supervision.tied_stay",
        says="embeddings came apart",
        made=untying,
    ),
    ran(
        "checkpointing cuts a tower off whose input asks for no gradient",
        "huggingface/transformers#21381",
        claim=TRAIN,
        says="without a gradient: tower.weight",
        made=tower,
    ),
    ran(
        "the model trains in evaluation mode",
        "shubhamagarwal92/mmd#14",
        claim=MODES,
        says="trains in evaluation mode",
        made=dropping(LeftEvaluating),
    ),
    ran(
        "an evaluation drops at random",
        "ipolharvard/ethos-ares#20",
        claim=MODES,
        says="drop at random in an evaluation.*self_attn",
        made=dropping(LeftTraining, **EVALUATED),
    ),
    ran(
        "a resumed run takes the first epoch's order again",
        "modelscope/ms-swift#10050",
        claim=ONCE,
        says="before the run was resumed and again after it",
        made=resumed,
        shown=seen,
    ),
    ran(
        "the same samples are never drawn",
        "NVlabs/VILA#123",
        claim=ONCE,
        says="samples were left out",
        made=dropped,
        shown=seen,
    ),
    ran(
        "every loader worker reads the whole stream",
        "huggingface/datasets#3423",
        claim=APART,
        says="the stream is not split among them",
        made=streamed,
        shown=seen,
    ),
    ran(
        "loader workers draw the same numbers",
        "pytorch/pytorch#5059",
        claim=APART,
        says="workers 0 and 1 begin with the same state of numpy.random",
        made=seeded,
        shown=seen,
    ),
]
