"""Boundary 11: upstream."""

from pathlib import Path
from types import SimpleNamespace

from parts import of_tree


def trainer_helpers(tree: Path) -> tuple[bool, str]:
    """The optimizer of a model whose merger lies inside the visual tower: which rate does the merger get?"""
    import torch

    create = of_tree("src.optim.coord_offset_optimizer:create_multimodal_coord_offset_optimizer")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = torch.nn.ModuleDict({"blocks": torch.nn.Linear(2, 2), "merger": torch.nn.Linear(2, 2)})
            self.language_model = torch.nn.Linear(2, 2)
            parts = {"vision_tower": ["visual"], "aligner": ["visual.merger"], "language_model": ["language_model"]}
            self.model_meta = SimpleNamespace(model_arch=SimpleNamespace(**parts))

    from transformers import TrainingArguments

    model = Model()
    arguments = TrainingArguments(output_dir=str(tree / "optimizer"), use_cpu=True, report_to=[], learning_rate=1e-5)
    arguments.vit_lr, arguments.aligner_lr = 1e-4, 4e-4
    arguments.coord_offset_config = SimpleNamespace(enabled=True, embed_lr=None, head_lr=None, weight_decay=None)
    optimizer, _ = create(arguments, model, None)
    names = {id(p): n for n, p in model.named_parameters()}
    rates = {names[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    merger = rates["visual.merger.weight"]
    return merger == 1e-4, f"aligner_lr 4e-4, vit_lr 1e-4: visual.merger.weight has {merger}"
