"""The guards inside a `transformers` trainer, and so inside TRL's and ms-swift's.

    audit = AuditCallback()
    trainer = Trainer(…, data_collator=audit.wrap(collator), callbacks=[audit])

It needs no config: then it judges what the collator, the tokenizer, the model and the arguments show. A config of the
default pipeline adds that pipeline's rules; of any other YAML nothing is demanded, and the manifest keeps it.

It stops a run by raising `InvariantViolation` out of `trainer.train()`: before the first step for config, tokenizer and
template; before the next optimizer step for a batch, a metric, the weights or a checkpoint. What a program may mean is
only told (`guards.watching`). Under torchrun every check is a check of all ranks: what one rank finds, all raise
(`guards.ranks`).

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
from coordexp_audit_lib.guards.batches import WHOLE
from coordexp_audit_lib.guards.calls import APART, Calls
from coordexp_audit_lib.guards.collator import GuardedCollator, Inbox
from coordexp_audit_lib.guards.configs import given_config, written
from coordexp_audit_lib.guards.diary import Diary
from coordexp_audit_lib.guards.inputs import check_config, check_template, check_tokenizer
from coordexp_audit_lib.guards.losses import Losses
from coordexp_audit_lib.guards.outputs import STOPPING, check_checkpoint, check_metrics
from coordexp_audit_lib.guards.pins import COORD_TOKENS, profile_of, prompt_ids, read_pins, tokenizer_of, vocabulary
from coordexp_audit_lib.guards.ranks import TIMEOUT_S, Ranks
from coordexp_audit_lib.guards.stopping import claim_of, judged, stop_at
from coordexp_audit_lib.guards.watching import RunWatch
from coordexp_audit_lib.kit.profile import Profile

FOLDER = "audit"
EARLIER = 32
OF_STEPS = "packing.loss_equivalent"
FINITE = ("metrics.finite",)
OBJECTIVE, NORM = "loss", "grad_norm"


class AuditCallback(TrainerCallback):
    """Audits a run from its first moment to its last.

    Args:
        config: the run's YAML file, if it has one. One of CoordExp (its `extends` are followed) must keep CoordExp's
            rules, as must its tokenizer and its log. repository: what stage-2 leaves are relative to.
        tokenizer: the trainer's own by default. template: whose prompt is pinned (see `guards.pins.prompt_ids`).
        pins: what `guards.pins_of` kept, or the JSON file of it; without it tokenizer and prompt are not compared.
        every: judge every n-th collated batch; 0 for none. packing_length: of a pack, the config's
            `global_max_length` by default.
        profile: of the model's family, or its name (`kit.profile.named`); by default read from the model's config, or
            from the tokenizer's vocabulary.
        metrics: the claims that a logged row must keep; by default all that one row can break under a config of
            CoordExp, and else that the loss is a number. manifest: further arguments of `write_manifest`.
        isolation: what `coordexp-audit isolation --out FILE` measured under this release of transformers; by default
            what is recorded of it, if anything is. timeout_s: how long a check waits for the slowest rank.
    """

    def __init__(
        self,
        config: Path | str | None = None,
        *,
        repository: Path | str = ".",
        tokenizer: Any = None,
        template: Any = None,
        pins: Path | str | Mapping[str, Any] | None = None,
        every: int = 1,
        packing_length: int | None = None,
        profile: Profile | str | None = None,
        metrics: Collection[str] | None = None,
        manifest: Mapping[str, Any] | None = None,
        isolation: Path | str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.config, self.repository = Path(config) if config is not None else None, Path(repository)
        self.tokenizer, self.template, self.pins = tokenizer, template, pins
        self.every, self.packing_length, self.metrics = every, packing_length, metrics
        self.manifest, self.profile = dict(manifest or {}), profile
        self.ranks, self.inbox = Ranks(timeout_s), Inbox()
        self.collators: list[GuardedCollator] = []
        self.diary = Diary(self.collators)
        self.losses, self.watch = Losses(), RunWatch(self.diary, self.inbox.folder, self.ranks)
        self.calls = Calls(self.inbox, isolation, self.diary.failed)
        self.ruled = self.stage2 = False

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
        folder = Path(args.output_dir) / FOLDER
        self._watch("the start", lambda: self.watch.began(args, state.global_step, kwargs, folder))
        self._decide("the start")
        self.losses.listen(kwargs.get("model"), args, kwargs.get("train_dataloader"), state.global_step)
        self.calls.listen(kwargs.get("model"))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watch.samples.epoch_began()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch(f"the epoch's end at step {state.global_step}", self.watch.epoch_ended)

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watch.samples.micro_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watch.samples.micro_step()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch("an evaluation", lambda: self.watch.modes.predicted(kwargs.get("model")))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.watch.modes.evaluated()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.losses.step()
        self._watch(f"step {state.global_step}", lambda: self.watch.after_step(state.global_step))
        self._decide(f"step {state.global_step + 1}")

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch(f"optimizer step {state.global_step + 1}", lambda: self.watch.before_step(kwargs))
        self._decide(f"optimizer step {state.global_step + 1}")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        place = f"the log of step {state.global_step}"
        self._look(place, lambda: self._logged(_numbers(logs, args), state.global_step))
        self._watch(place, lambda: self.watch.after_step(state.global_step, wait=True))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self._look(folder.name, lambda: self._saved(folder, bool(args.save_only_model)))
        self._watch(folder.name, lambda: self.watch.samples.saved(state.global_step))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.losses.end()
        self.calls.end()
        self.diary.count(APART, self.calls.decided)
        facts: dict[str, Any] = {}
        self._watch("the end", lambda: facts.update(self.watch.ended()))
        self._watch("the end", self._note)
        self._decide("the end")
        self.inbox.close()
        self.diary.ended(state.global_step, facts)

    def _note(self) -> None:
        """Keep what collators told."""
        for what in self.inbox.notes():
            self.diary.note(WHOLE, what)

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

    def _watch(self, place: str, work: Callable[[], None]) -> None:
        """As `_look`, for what is mostly told: a look that crashes is told too, and stops nothing."""

        def quietly() -> None:
            try:
                work()
            except AuditError:
                raise
            except Exception as error:
                self.diary.failed(place, error)

        self._look(place, quietly)

    def _decide(self, place: str) -> None:
        """Go on or stop, together with all ranks; only where every rank comes by in every step."""
        try:
            self.ranks.agree(self.inbox.first(), place)
        except AuditError as error:
            self.inbox.close()
            self.diary.stopped(error, place)
            raise

    def _begin(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        given = given_config(self.config, self.repository)
        self.ruled = given.ruled
        if given.ruled:
            check_config(given.resolved, world_size=args.world_size)
            self.diary.count("config")
            custom = given.resolved["custom"]
            self.stage2 = custom.get("trainer_variant") == pipeline().contract()["config.variants"][0]
            for collator in self.collators:
                collator.packing_length = collator.packing_length or given.resolved.get("global_max_length")
        pins = read_pins(self.pins)
        tokenizer = self.tokenizer or kwargs.get("processing_class")
        profile = self.profile or profile_of(kwargs.get("model"), tokenizer)
        for collator in self.collators:
            collator.profile = collator.profile or profile
        self._tokens(tokenizer, pins.get("tokenizer"), _rows(kwargs.get("model")))
        if self.template is not None and "prompt" in pins:
            check_template(prompt_ids(self.template), pins["prompt"])
            self.diary.count("template")
        if self.ranks.number == 0:
            config = given.resolved if given.path is not None else written(args.to_sanitized_dict())
            about = {"seeds": {"seed": args.seed}, "repository": self.repository, **self.manifest}
            folder = Path(args.output_dir) / FOLDER
            write_manifest(folder, config=config, config_path=given.path, parents=given.parents, **about)

    def _tokens(self, tokenizer: Any, pinned: str | None, rows: int | None) -> None:
        """Outside CoordExp's runs a vocabulary without coordinate tokens must only be the pinned one: some models leave
        out rows for tokens that they never see."""
        if tokenizer is None or not (self.ruled or hasattr(tokenizer_of(tokenizer), "get_vocab")):
            return  # there is none, or it is an image processor
        coordinates = self.ruled or COORD_TOKENS[0] in vocabulary(tokenizer_of(tokenizer))
        if coordinates or pinned is not None:
            check_tokenizer(tokenizer, pinned, rows if coordinates else None, coordinates=coordinates)
            self.diary.count("tokenizer")

    def _logged(self, logs: dict[str, Any], step: int) -> None:
        earlier, claims = self.diary.rows[-EARLIER:], self.metrics
        if claims is None and not self.ruled:
            # A trainer may have no value for a metric, and may leave out a step whose gradient is no number.
            names = (OBJECTIVE,) if self.watch.weights.watches else (OBJECTIVE, NORM)
            check_metrics({n: logs[n] for n in names if n in logs}, step=step, claims=FINITE)
            claims = ()
        claims = STOPPING if claims is None else claims
        self.diary.row(check_metrics(logs, step=step, earlier=earlier, claims=claims, stage2=self.stage2))

        made = self.losses.logged(logs["loss"], step) if "loss" in logs else None
        if made is not None:
            verdict = judged(claim_of(OF_STEPS), made)
            stop_at(verdict, "loss")
            if verdict.finding.checked:
                self.diary.count(OF_STEPS)

    def _saved(self, folder: Path, save_only_model: bool) -> None:
        if self.ranks.number == 0 and folder.is_dir() and (self.ruled or any(folder.glob("*.safetensors"))):
            check_checkpoint(folder, save_only_model=save_only_model)
            self.diary.count("checkpoint")


def _numbers(logs: Any, args: Any) -> dict[str, Any]:
    """What is logged. With fp16 a gradient that overflows is no mistake: the step is left out and the scale halved."""
    left_out = (NORM,) if getattr(args, "fp16", False) else ()
    return {name: value for name, value in dict(logs or {}).items() if name not in left_out}


def _rows(model: Any) -> int | None:
    """How many ids the model has an embedding for, where it tells."""
    given = getattr(model, "get_input_embeddings", lambda: None)()
    rows = getattr(given, "num_embeddings", None)
    return rows if isinstance(rows, int) else None
