"""The `rollout` command: training batches against recorded calls of a rollout server."""

from __future__ import annotations

import argparse
from pathlib import Path

from coordexp_audit_lib.core.finding import Finding


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rollout`."""
    parser.add_argument(
        "exchange",
        nargs="+",
        type=Path,
        help="recorded requests and responses with token ids, as JSON or one record a line: ms-swift, vLLM, SGLang, "
        'TRL, any server that speaks OpenAI\'s protocol; a record is {"request": …, "response": …} or a response',
    )
    parser.add_argument(
        "--batch",
        nargs="+",
        type=Path,
        required=True,
        help="npz, safetensors or JSON: prompt_ids and completion_ids (TRL, verl), or input_ids with labels or "
        "completion_mask (ms-swift), padded or packed",
    )
    parser.add_argument("--temperature", type=float, help="of the trainer's log-probabilities")


def audited(arguments: argparse.Namespace) -> tuple[str, list[Finding]]:
    """The name of what was audited, and what was found."""
    from coordexp_audit_lib.boundaries.rollout.artifact import audit_exchange

    found = audit_exchange(arguments.exchange, arguments.batch, arguments.temperature)
    return ", ".join(p.name for p in [*arguments.exchange, *arguments.batch]), found
