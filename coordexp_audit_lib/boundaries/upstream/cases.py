"""What is asked: training settings, decoding settings, chats with images, packs and grids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.predicates.environment import Environment, Taken
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.kit import wiring

SETTINGS = s.TrainerRequest(1e-4, 0.1, 0.8, 0.95, 1e-7, 5e-5, 6e-5)
CONFIGS = (s.ConfigRequest(512, 0.0, 1.0, -1, 1.0), s.ConfigRequest(4096, 0.7, 0.9, 40, 1.05))
TEXT, PROMPT = "a red cup", "Locate every object."
ANSWER = '{"objects": []}'
IMAGES = [{"type": "image", "image": path} for path in ("images/a.png", "images/ü b.png")]
SAMPLES = (
    s.Sample([{"role": "user", "content": PROMPT}]),
    s.Sample([{"role": "user", "content": f"<image>{PROMPT}"}], ["images/a.png"]),
    s.Sample(
        [
            {"role": "system", "content": "Answer in JSON."},
            {"role": "user", "content": [*IMAGES, {"type": "text", "text": PROMPT}]},
        ]
    ),
)
CHATS = s.TemplateRequest(
    [
        [("user", f"<image>{PROMPT}"), ("assistant", ANSWER)],
        [("system", "Answer in JSON."), ("user", PROMPT), ("assistant", TEXT)],
        [("user", f"<image><image>{PROMPT}"), ("assistant", ANSWER)],
    ],
    [[(64, 96)], [], [(64, 64), (128, 32)]],
)
GRIDS = (s.RowsRequest((1, 4, 6), 3, 2, [5, 4, 6]), s.RowsRequest((1, 8, 2), 1, 4, [7, 3]))

# What a `RequestConfig` has where nothing is given.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("max_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "seed")),
    **{"num_beams": 1, "n": 1, "stop": [], "stream": False, "logprobs": False, "return_details": False},
    **{"presence_penalty": 0.0, "frequency_penalty": 0.0},
}


def rates() -> dict[str, float]:
    """The learning rate that is set for each part of the network, by a prefix of its parameters' names."""
    return {
        "visual": wiring.RATES["vit_lr"],
        "visual.merger": wiring.RATES["aligner_lr"],
        f"{wiring.OFFSETS}.embed_offset": SETTINGS.embed_lr,
        f"{wiring.OFFSETS}.head_offset": SETTINGS.head_lr,
    }


def listed(ctx: Context) -> list[str]:
    """The distributions that an adapter lists.

    Raises:
        Undecided: it lists none.
    """
    said = ctx.target.declaration()
    if said is None or not said.distributions:
        raise Undecided("the adapter lists no distributions")
    return list(said.distributions)


def of_environment(ctx: Context) -> Iterator[Environment]:
    """What is installed of what an adapter lists."""
    found = ctx.value(s.ENVIRONMENT, s.EnvironmentRequest(listed(ctx))).installed
    python = ".".join(ctx.target.info().interpreter.split(".")[:2])
    yield Environment({one.name: (one.version, tuple(one.requires)) for one in found}, python)


def of_imports(ctx: Context) -> Iterator[Taken]:
    """What the source takes of what an adapter lists."""
    found = ctx.value(s.IMPORTS, s.ImportsRequest())
    ctx.fact("files read", found.files)
    places: dict[str, Where] = {}
    for one in found.imports:
        places.setdefault(one.symbol, Where(one.path, one.line, ""))
    seen = ctx.value(s.NAMES, s.NamesRequest(sorted(places), listed(ctx))).seen
    yield Taken(places, dict(zip(sorted(places), seen, strict=True)))
