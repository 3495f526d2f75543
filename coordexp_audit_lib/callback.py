"""The guards inside a `transformers` trainer, and so inside ms-swift's.

    audit = AuditCallback(args.config, template=template, pins="pins.json")
    trainer = Trainer(…, data_collator=audit.wrap(collator), callbacks=[audit])

It stops a run by raising `InvariantViolation` out of `trainer.train()`: before the first step for config, tokenizer and
template; before the next optimizer step for a batch, a metric or a checkpoint. Under torchrun every check is a check of
all ranks: what one rank finds, all raise (`guards.ranks`).

In `<output_dir>/audit/` it leaves the manifest (`provenance.write_manifest`) and, at the end, `audit.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from coordexp_audit_lib.boundaries.provenance.reference.writer import write_manifest
from coordexp_audit_lib.core.errors import AuditError, one_line
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.guards.collator import GuardedCollator, Inbox
from coordexp_audit_lib.guards.diary import Diary
from coordexp_audit_lib.guards.inputs import check_config, check_template, check_tokenizer, load_config
from coordexp_audit_lib.guards.outputs import STOPPING, check_checkpoint, check_metrics
from coordexp_audit_lib.guards.pins import profile_of, prompt_ids, read_pins
from coordexp_audit_lib.guards.ranks import TIMEOUT_S, Ranks
from coordexp_audit_lib.kit.profile import Profile

FOLDER = "audit"
EARLIER = 32


class AuditCallback(TrainerCallback):
    """Audits a run from its first moment to its last.

    Args:
        config: the run's YAML file; its `extends` are followed. repository: what stage-2 leaves are relative to.
        tokenizer: the trainer's own by default. template: whose prompt is pinned (see `guards.pins.prompt_ids`).
        pins: what `guards.pins_of` kept, or the JSON file of it; without it tokenizer and prompt are not compared.
        every: judge every n-th collated batch; 0 for none. packing_length: of a pack, the config's
            `global_max_length` by default.
        profile: of the model's family, or its name (`kit.profile.named`); by default read from the model's config, or
            from the tokenizer's vocabulary.
        metrics: the claims that a logged row must keep. manifest: further arguments of `write_manifest`.
        timeout_s: how long a check waits for the slowest rank.
    """

    def __init__(
        self,
        config: Path | str,
        *,
        repository: Path | str = ".",
        tokenizer: Any = None,
        template: Any = None,
        pins: Path | str | Mapping[str, Any] | None = None,
        every: int = 1,
        packing_length: int | None = None,
        profile: Profile | str | None = None,
        metrics: Collection[str] = STOPPING,
        manifest: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.config, self.repository = Path(config), Path(repository)
        self.tokenizer, self.template, self.pins = tokenizer, template, pins
        self.every, self.packing_length, self.metrics = every, packing_length, metrics
        self.manifest, self.profile = dict(manifest or {}), profile
        self.ranks, self.inbox = Ranks(timeout_s), Inbox()
        self.collators: list[GuardedCollator] = []
        self.diary = Diary(self.collators)
        self.stage2 = False

    def wrap(self, collator: Callable[[list[Any]], Any], *, packed: bool = False) -> GuardedCollator:
        """A collator that judges what it collates, for the trainer.

        Args:
            packed: a batch that is no pack is an error. A trainer evaluates with the same collator, and evaluation is
                not packed, so that this is for runs that do not evaluate; else such batches are let pass.
        """
        made = GuardedCollator(
            collator, every=self.every, packing_length=self.packing_length, packed=packed, inbox=self.inbox
        )
        self.collators.append(made)
        return made

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ranks.open()
        self.diary.began(Path(args.output_dir) / FOLDER, writes=self.ranks.number == 0)
        self._look("the start", lambda: self._begin(args, kwargs))
        self._decide("the start")

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._decide(f"step {state.global_step + 1}")

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._decide(f"optimizer step {state.global_step + 1}")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self._look(f"the log of step {state.global_step}", lambda: self._logged(dict(logs or {}), state.global_step))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._look(folder.name, lambda: self._saved(folder, bool(args.save_only_model)))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._decide("the end")
        self.inbox.close()
        self.diary.ended(state.global_step)

    def _look(self, place: str, work: Callable[[], None]) -> None:
        """Judge something. A run of one rank stops here; with several, all stop at the next decision, for a program may
        log or save on some ranks only."""
        try:
            work()
        except AuditError as error:
            self.inbox.put(error)
        except Exception as error:  # a guard that crashed must not leave the other ranks waiting
            self.inbox.put(AuditError(one_line(f"the guard failed: {type(error).__name__}: {error}"), where=place))
        if self.ranks.size == 1:
            self._decide(place)

    def _decide(self, place: str) -> None:
        """Go on or stop, together with all ranks; only where every rank comes by in every step."""
        try:
            self.ranks.agree(self.inbox.first(), place)
        except AuditError as error:
            self.inbox.close()
            self.diary.stopped(error, place)
            raise

    def _begin(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        chain = load_config(self.config, self.repository)
        check_config(chain.merged, world_size=args.world_size)
        self.diary.count("config")
        self.stage2 = chain.merged["custom"].get("trainer_variant") == pipeline().contract()["config.variants"][0]
        for collator in self.collators:
            collator.packing_length = collator.packing_length or chain.merged.get("global_max_length")
        pins = read_pins(self.pins)
        tokenizer = self.tokenizer or kwargs.get("processing_class")
        profile = self.profile or profile_of(kwargs.get("model"), tokenizer)
        for collator in self.collators:
            collator.profile = collator.profile or profile
        if tokenizer is not None:
            check_tokenizer(tokenizer, pins.get("tokenizer"), _rows(kwargs.get("model")))
            self.diary.count("tokenizer")
        if self.template is not None and "prompt" in pins:
            check_template(prompt_ids(self.template), pins["prompt"])
            self.diary.count("template")
        if self.ranks.number == 0:
            parents = {f.path: self.repository / f.path for f in chain.files[1:]}
            given = {"seeds": {"seed": args.seed}, "repository": self.repository, **self.manifest}
            write_manifest(
                Path(args.output_dir) / FOLDER, config=chain.merged, config_path=self.config, parents=parents, **given
            )

    def _logged(self, logs: dict[str, Any], step: int) -> None:
        earlier = self.diary.rows[-EARLIER:]
        self.diary.row(check_metrics(logs, step=step, earlier=earlier, claims=self.metrics, stage2=self.stage2))

    def _saved(self, folder: Path, save_only_model: bool) -> None:
        if self.ranks.number == 0 and folder.is_dir():
            check_checkpoint(folder, save_only_model=save_only_model)
            self.diary.count("checkpoint")


def _rows(model: Any) -> int | None:
    """How many ids the model has an embedding for, where it tells."""
    given = getattr(model, "get_input_embeddings", lambda: None)()
    rows = getattr(given, "num_embeddings", None)
    return rows if isinstance(rows, int) else None
