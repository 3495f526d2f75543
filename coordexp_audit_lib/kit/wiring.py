"""A small network with every kind of parameter that optimizer wiring tells apart, and what a real Trainer makes of it.

Standard library only at import time.
"""

from __future__ import annotations

import warnings
from typing import Any

TOWERS = {"vision_tower": ["visual"], "aligner": ["visual.merger"], "language_model": ["language_model", "lm_head"]}
OFFSETS = "coord_offset_adapter"
RATES = {"vit_lr": 3e-5, "aligner_lr": 2e-5}


def network() -> Any:
    """Weights and biases of linear layers, a LayerNorm, an RMS norm by name, a frozen layer, coordinate offsets."""
    import torch

    def module(**parts: Any) -> Any:
        made = torch.nn.Module()
        for name, part in parts.items():
            setattr(made, name, part)
        return made

    def linear(bias: bool = True) -> Any:
        return torch.nn.Linear(4, 4, bias=bias)

    offsets = {name: torch.nn.Parameter(torch.zeros(3, 4)) for name in ("embed_offset", "head_offset")}
    norm, frozen = module(weight=torch.nn.Parameter(torch.ones(4))), linear().requires_grad_(False)
    return module(
        visual=module(patch=linear(), norm=torch.nn.LayerNorm(4), merger=linear()),
        language_model=module(q_norm=norm, proj=linear(bias=False), frozen=frozen),
        lm_head=linear(bias=False),
        coord_offset_adapter=module(**offsets),
    )


def arguments(folder: str, settings: dict[str, Any]) -> Any:
    """`transformers.TrainingArguments` on the CPU, with ms-swift's two further rates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        from transformers import TrainingArguments

    adam = {f"adam_{name}": settings[name] for name in ("beta1", "beta2", "epsilon")}
    rates = {name: settings[name] for name in ("learning_rate", "weight_decay")}
    quiet: dict[str, Any] = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no"}
    made: Any = TrainingArguments(output_dir=folder, optim="adamw_torch", **rates, **adam, **quiet)
    for name, rate in RATES.items():
        setattr(made, name, rate)
    return made


def facts(folder: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What the installed transformers does with the network.

    Returns:
        names (trainable), decay (as the pipeline asks for it: on the class, None for self), groups of the optimizer of
        `create_optimizer`, the optimizer class's name and its keyword arguments.
    """
    model, given = network(), arguments(folder, settings)
    from transformers import Trainer

    trainer = Trainer(model=model, args=given)
    trainer.create_optimizer()
    kind, kwargs = Trainer.get_optimizer_cls_and_kwargs(given, model)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in kwargs.items()}
    return {
        "names": sorted(n for n, p in model.named_parameters() if p.requires_grad),
        "decay": sorted(Trainer.get_decay_parameter_names(None, model)),
        "groups": groups(trainer.optimizer, model),
        "optimizer": kind.__name__,
        "kwargs": {k: plain[k] for k in ("lr", "betas", "eps") if k in plain},
    }


def groups(optimizer: Any, model: Any) -> list[dict[str, Any]]:
    """An optimizer's groups by the names of their parameters; empty ones left out."""
    names = {id(p): n for n, p in model.named_parameters()}
    return [
        {"names": sorted(names[id(p)] for p in g["params"]), "weight_decay": g["weight_decay"], "lr": g["lr"]}
        for g in optimizer.param_groups
        if g["params"]
    ]
