"""What a worker imports and builds before its first question, once for all workers: nothing of the tree's own."""

import importlib

from coordexp_audit_lib.pipelines.coordexp.harness.trainer import world_at

PACKAGES: tuple[str, ...] = ("torch", "transformers", "swift.llm", "swift.trainers", "datasets", "peft")
PACKAGES += ("swift.llm.argument", "swift.llm.train")  # which swift.llm imports only once a name of theirs is used


def parts(folder, shadowed):
    """The upstream packages, and the harness's tokenizer, model and template; nothing that the tree has a name for."""
    if not shadowed & {name.partition(".")[0] for name in PACKAGES}:
        world_at(folder)
        for name in PACKAGES:
            importlib.import_module(name)
