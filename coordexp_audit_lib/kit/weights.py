"""What becomes of a model's weights in a run: what is frozen stays, what is tied stays one, and all are numbers.

Of each parameter a few entries are compared, at the start, after the first steps and at the end. Parameters that this
process does not hold whole (sharded ones, those without data) are left out. What is seen is told as the fields of the
structs of `boundaries.supervision.predicates.running`. Standard library only at import time.
"""

from __future__ import annotations

from typing import Any

ENTRIES = 256  # of a parameter that are compared
MOST = 4096  # parameters
WATCHED = 4  # parameters that are asked whether they are numbers; a loss that is none spoils all that it reaches
EVERY = 16  # steps, where asking means to wait for a device
Entries = tuple[Any, bytes]


class WeightsWatch:
    """Looks at a model's parameters from `began` to `ended`."""

    def __init__(self) -> None:
        self._all: list[tuple[str, Any]] = []
        self._frozen: dict[str, Entries] = {}
        self._changed: set[str] = set()
        self._compared = 0
        self._watched: dict[str, Any] | None = None
        self._model: Any = None
        self._tied = False

    def began(self, model: Any) -> None:
        """Training begins."""
        self._model = model
        self._all = list(model.named_parameters()) if hasattr(model, "named_parameters") else []
        self._note_frozen()
        pair = _embeddings(model)
        self._tied = pair is not None and _one(*pair)

    @property
    def watches(self) -> bool:
        """Whether it would see weights that are no numbers."""
        return bool(self._watched)

    def before_step(self) -> None:
        """Before an optimizer step: what trains now is not frozen any more, and what was frozen since is."""
        self._note_frozen()
        if self._watched is None:
            found = [(n, p) for n, p in self._all if p.requires_grad and p.grad is not None and _held(p)]
            found.sort(key=lambda pair: int(pair[1].numel()))
            chosen = [(n, p) for n, p in found[:WATCHED] if p.is_floating_point()]
            self._watched = {n: p for n, p in chosen if _finite(p)}

    def finite(self, step: int, *, wait: bool = False) -> dict[str, Any] | None:
        """Whether the watched parameters are numbers after `step` steps (`Weights`); None where that is not asked.
        wait: ask although it means to wait for a device."""
        if not self._watched or step == 0:
            return None
        near = all(p.device.type == "cpu" for p in self._watched.values())
        if not (near or wait or step % EVERY == 0):
            return None
        lost = [name for name, p in self._watched.items() if not _finite(p)]
        return {"step": step, "compared": len(self._watched), "lost": lost}

    def frozen(self) -> dict[str, Any]:
        """Compare what is frozen with what it was (`Frozen`)."""
        still = {n: p for n, p in self._all if n in self._frozen}
        self._changed |= {n for n, p in still.items() if _other(self._frozen[n], entries(p))}
        self._compared = max(self._compared, len(still))
        return {"compared": self._compared, "changed": sorted(self._changed)}

    def tied(self) -> dict[str, bool] | None:
        """The embeddings at the end (`Tied`); None where the model does not tell both."""
        pair = _embeddings(self._model)
        if pair is None:
            return None
        after = _one(*pair)
        equal = after or (pair[0].shape == pair[1].shape and not _other(entries(pair[0]), entries(pair[1])))
        return {"declared": _declared(self._model), "before": self._tied, "after": after, "equal": equal}

    def ended(self) -> None:
        """Let go of the model."""
        self._all, self._watched, self._model = [], {}, None

    def _note_frozen(self) -> None:
        for name, p in self._all:
            if p.requires_grad:
                self._frozen.pop(name, None)
            elif name not in self._frozen and len(self._frozen) < MOST:
                found = entries(p)
                if found is not None:
                    self._frozen[name] = found


def entries(p: Any) -> Entries | None:
    """A few entries of a parameter, spread over it, with its dtype; None of one that is not held here."""
    import torch

    if not _held(p):
        return None
    with torch.no_grad():
        part = p.detach().reshape(-1)[:: max(1, p.numel() // ENTRIES)].contiguous().cpu()
    return p.dtype, bytes(part.view(torch.uint8).numpy())


def _other(before: Entries | None, now: Entries | None) -> bool:
    """Whether entries of one dtype differ."""
    return before is not None and now is not None and before[0] == now[0] and before[1] != now[1]


def _held(p: Any) -> bool:
    """Whether a parameter's entries are here, as a plain tensor."""
    import torch

    return type(p.data) is torch.Tensor and not p.is_meta and p.numel() > 0 and p.layout == torch.strided


def _finite(p: Any) -> bool:
    import torch

    return not _held(p) or bool(torch.isfinite(p.detach()).all())


def _embeddings(model: Any) -> tuple[Any, Any] | None:
    """The weights of input and output embeddings, where the model has both and they are held here."""
    found = []
    for name in ("get_input_embeddings", "get_output_embeddings"):
        try:
            weight = getattr(getattr(model, name)(), "weight", None)
        except (AttributeError, NotImplementedError, TypeError):
            return None
        if weight is None or not hasattr(weight, "data") or not _held(weight):
            return None
        found.append(weight)
    return found[0], found[1]


def _one(a: Any, b: Any) -> bool:
    return a is b or a.data_ptr() == b.data_ptr()


def _declared(model: Any) -> bool:
    """Whether every part of the config that has a say ties the embeddings."""
    config: Any = getattr(model, "config", None)
    text = getattr(config, "get_text_config", lambda: None)()
    said = [getattr(c, "tie_word_embeddings", None) for c in (config, text) if c is not None]
    return bool(said) and all(said)
