"""The installed releases fit each other: the version that one requires of another is the one that is installed.

An environment that was put together by hand, or by a second `pip install`, holds releases that were never tried
together. What breaks is reached late: a trainer's argument that is gone, a template that falls back to another one.

Example: ms-swift 3.10.3 requires transformers below 4.58, and 5.0 is installed."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.upstream.cases import of_environment
from coordexp_audit_lib.boundaries.upstream.predicates.environment import Environment, fit_each_other
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

installed_fit = artifact_claim(
    id="upstream.installed_fit",
    doc=__doc__,
    severity="P1",
    remedy="Install the releases in one go, so that the installer chooses those that fit.",
    on={Environment: fit_each_other},
    asks=of_environment,
)


def _sound() -> Environment:
    return Environment({"trl": ("1.16.0", ("transformers>=4.56", "datasets")), "transformers": ("5.24.0", ())}, "3.11")


spoil(installed_fit, "too_old", "transformers is older than trl requires", _sound)(
    lambda seen: replace(seen, installed={**seen.installed, "transformers": ("4.50.0", ())})
)
