"""What a log's single rows must be. A predicate says what it judged and what it could not; it never passes a part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.metrics.predicates.log import (
    HOLDS,
    NO_NUMBER,
    NULL,
    NUMBER_TEXT,
    NUMBERS,
    UNREAD,
    Log,
    Row,
)
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Terms
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.schedule import seed_base, training_seed

TOLERANCE = 1e-6  # ms-swift writes eight decimals, TensorBoard float32
INTEGRAL = 1e-6
EXACT = float(1 << 53)
STEPS = ("step", "global_step")


def stage2_rows(log: Log) -> list[Row]:
    """The training rows of a Stage-2 log."""
    if not log.is_stage2:
        raise Undecided(f"no row has a key of a Stage-2 trainer ({' or '.join(f'{p}…' for p in log.words.stage2)})")
    if not log.train:
        raise Undecided("no training row")
    return log.train


def required_keys(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """Every row has the realised ratio; every B row also the drop counters, rollout timing and throughput.

    Judged: the keys wanted.
    """
    words = log.words
    rows = stage2_rows(log)
    if not any(row.channel == "B" for row in rows):
        ledger.left_out("the keys of Channel-B steps", "the log has no such step")
    for row in rows:
        wanted = [words.ratio]
        if row.channel == "B":
            wanted += [words.invalid, words.valid, words.dropped, words.generate, words.throughput]
        ledger.judged(len(wanted))
        for key in wanted:
            if key not in row.values:
                what = "Channel-B step" if row.channel == "B" else "Channel-A step"
                yield log.problem(f"{row.name}, a {what}, logs no {key}", key, [row], "a number")


def only_when_executed(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """A row without a rollout has no `time/rollout_*` and no zero under a name that only a rollout can measure.

    A total that by its name runs on stands in every row. Judged: the rows without a rollout.
    """
    for row in stage2_rows(log):
        if row.channel == "B":
            continue
        ledger.judged()
        for key, value in row.values.items():
            said = f"{row.name} ran no rollout and logs {key} = "
            if key.endswith(log.words.running):
                continue
            if key.startswith(log.words.rollout_time):
                yield log.problem(f"{said}{value:.6g}", key, [row], None, value)
            elif value == 0 and key.startswith(log.words.rollout_families):
                yield log.problem(f"{said}0, which reads like a measurement", key, [row], None, 0)


def counters_are_counts(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """A metric whose role is `counter` is a whole number, not negative. Judged: its values."""
    for row, key, value in _finite_values(log, "counter", ledger):
        if value < 0:
            yield log.problem(f"{row.name}: the counter {key} is negative: {value:.6g}", key, [row], "≥ 0", value)
        elif not _whole(value):
            message = f"{row.name}: the counter {key} is {value:.6g}, so it was averaged, not summed"
            yield log.problem(message, key, [row], "a whole number", value)


def reasons_add_up(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """The reason buckets sum to the dropped records. Judged: sums."""
    sums = 0
    for row in log.rows:
        if log.words.dropped in row.values:
            sums += 1
            total = sum(v for k, v in row.values.items() if k.startswith(log.words.reason))
            dropped = row.values[log.words.dropped]
            if not near(total, dropped):
                which = "more" if dropped > total else "fewer"
                message = f"{row.name}: the reason buckets sum to {total:.6g}, N_drop_invalid is {dropped:.6g}"
                message += f": {which} are dropped than have a reason"
                yield log.problem(message, log.words.dropped, [row], total, dropped)
    ledger.judged(sums)
    if not sums:
        ledger.left_out("the reason buckets", f"no row has {log.words.dropped}")


def rates_divide(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """A rate whose terms are logged is their quotient. Judged: quotients.

    Where the rate is the quotient of a term that the row holds a whole multiple of, that term is what is wrong.
    """
    quotients = 0
    for row in log.rows:
        for key, value in row.values.items():
            found = None if log.words.role(key) == "repeat" else log.words.terms(key, row.values)
            if found is None or not any(found.under):
                continue
            quotients += 1
            possible = [found.over / d for d in found.under if d]
            if not any(near(value, p) for p in possible):
                wrong, said = _culprit(value, found)
                message = (
                    f"{row.name}: {key} is {value:.6g}, its terms give {found.over:.6g}/{found.under[0]:.6g}{said}"
                )
                yield log.problem(message, wrong or key, [row], possible[0], value)
    ledger.judged(quotients)
    if not quotients:
        ledger.left_out("rates", "no row has one with its terms")


def _culprit(rate: float, terms: Terms) -> tuple[str, str]:
    """The term that is wrong where the row proves it, and how what is wrong is told; empty where it does not.

    A count that is no whole number was averaged, which is another claim's matter. One that is a whole multiple of what
    the rate was made of was summed once for each of that many micro-steps or ranks; it is named if the row has what the
    rate was made of elsewhere.
    """
    broken = [n for n in (*terms.over_names, *terms.under_names) if not _whole(terms.row[n]) and not n.endswith("_s")]
    if len(broken) == 1:
        return "", f": {broken[0]} is no whole number"
    if len(terms.over_names) != 1 or len(terms.under_names) != 1 or rate <= 0 or terms.over <= 0:
        return "", ""
    name, made_of = terms.over_names[0], rate * terms.under[0]
    times = terms.over / made_of
    alike = [k for k, v in terms.row.items() if k != name and near(v, made_of) and name.startswith(k)]
    if times > 1.5 and _whole(round(times, 4)) and alike:
        return name, f": {name} is {round(times)} times {alike[0]}, {made_of:.6g}, of which the rate was made"
    return "", ""


def identity_not_averaged(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """A value that identifies is a whole number; rollout seeds keep their distance to the step. Judged: its values.

    The seed base of a step says the training seed (`kit.schedule`), which is the same in every row: a sum over ranks,
    which is whole too, is found by that. Where there are no two seeds to compare, a whole number proves nothing; nor
    does that of a step, which the trainer's own counter writes.
    """
    seeds: list[tuple[Row, int, int]] = []
    placeless, others = 0, set()
    for row, key, value in _finite_values(log, "identity", ledger):
        if not _whole(value):
            message = f"{row.name}: {key} identifies something and is {value:.6f}: it was averaged"
            yield log.problem(message, key, [row], "a whole number", value)
        elif key != log.words.seed:
            others |= {key} if key.rpartition("/")[2] not in STEPS else set()
        elif row.step is not None and row.kind == "train":
            seeds.append((row, round(value), training_seed(round(value), row.step)))
        else:
            placeless += 1
    training = [t for _, _, t in seeds]
    counted = Counter(training)
    usual = max(sorted(counted), key=counted.__getitem__, default=0)
    for row, seed, own in seeds:
        wanted = seed_base(usual, row.step or 0)
        # A float32 event file keeps 24 bits: a larger seed is only near.
        if own != usual and abs(seed - wanted) > wanted / (1 << 23):
            message = f"{row.name}: {log.words.seed} is {seed}, the other rows' seeds say {wanted}"
            yield log.problem(message, log.words.seed, [row], wanted, seed)
    if placeless:
        ledger.left_out(log.words.seed, "a row with one does not say its training step")
    if len({row.step for row, _, _ in seeds}) < 2:
        ledger.left_out(log.words.seed, "it stands at fewer than two steps: a whole sum or mean can't be told from it")
    if others:
        first, more = min(others), len(others) - 1
        why = "a whole number, which a sum or mean can be too"
        ledger.left_out(first, f"{why}; so are {more} other identities" if more else why)


def finite(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """Every metric of every row is a number, and finite. Judged: values, and what stands where a number belongs.

    A number belongs under a key that is a number in some row of the kind; a loss is always one; a list of numbers holds
    finite ones. Text, lists and flags under other keys are no metrics. Where a training or evaluation row has null, or
    a number as text, and none has a number, nothing tells whether one belongs; the pipeline's own trainers write none.
    """
    unknown: dict[str, str] = {}
    for row in log.rows:
        usual = log.keys[row.kind]
        ledger.judged(len(row.values))
        for key, value in row.values.items():
            if not math.isfinite(value):
                yield log.problem(f"{row.name}: {key} is {value}", key, [row], "a finite number", repr(value))
        for key, what in row.odd.items():
            known = key in usual or (key in NUMBERS and row.kind == "train")
            if known or HOLDS in what or what == NO_NUMBER or (log.is_own and what in (NULL, NUMBER_TEXT)):
                ledger.judged()
                yield log.problem(f"{row.name}: {key} is no number but a {what}", key, [row], "a number", what)
            elif what in (NULL, NUMBER_TEXT, UNREAD) and row.kind != "summary":
                unknown.setdefault(key, what)
    if unknown:
        first, what = next(iter(unknown.items()))
        more = f", and {len(unknown) - 1} more such keys" if len(unknown) > 1 else ""
        ledger.left_out(first[:80], f"it is a {what}, and a number in no row{more}")


def near(a: float, b: float) -> bool:
    """Whether two numbers are the same as far as a log's decimals tell."""
    return abs(a - b) <= TOLERANCE * max(1.0, abs(a), abs(b))


def _finite_values(log: Log, role: str, ledger: Ledger) -> Iterator[tuple[Row, str, float]]:
    """The values of a role, counted; those that are not finite are another claim's matter, and left out here."""
    for row in log.rows:
        for key, value in row.values.items():
            if log.words.role(key) != role:
                continue
            if math.isfinite(value):
                ledger.judged()
                yield row, key, value
            else:
                ledger.left_out(key, "it is not finite in some row")


def _whole(value: float) -> bool:
    return abs(value) >= EXACT or abs(value - round(value)) <= INTEGRAL
