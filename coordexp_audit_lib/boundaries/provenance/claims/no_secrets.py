"""the environment that is captured is an allowlist, and token-like values are not written

A manifest is published with the paper. It is where a hub token or a password in a server's address leaves the machine.

Example: `HF_TOKEN` in `runtime_env.json`, or `https://user:password@host` as a git remote in `run_metadata.json`."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact import texts
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import document, leaks, writes
from coordexp_audit_lib.boundaries.provenance.predicates import documents as d
from coordexp_audit_lib.boundaries.provenance.surfaces import LEFT, WRITE
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.short_run import short_run


@claim(
    severity="P1",
    kind="B",
    remedy="redact what looks like a token, and the user part of URLs, before anything is written",
)
def no_secrets(ctx: Context) -> Iterator[Problem]:
    if ctx.target.declaration() is not None and not ctx.answers(WRITE):
        yield from _left(ctx)
        return
    for spot, request in cases.leaking().items():
        answer = cases.ask(ctx, request)
        if answer.refusal is not None:
            ctx.fact(f"{spot}: the run is refused, nothing is written", answer.refusal.type)
            continue
        written, where = answer.value, cases.place(ctx, answer.value)
        ctx.judged(max(1, len(request.search)))
        for label, file in written.leaks:
            what = "a variable on no list is captured" if label in cases.UNLISTED else "a secret is written"
            yield Problem(what, f"{spot}: {label}", "not in any file", f"in {file}", {"planted in": spot})
        environment = written.documents.get(d.ENVIRONMENT)
        env = environment.get("env") if isinstance(environment, dict) else None
        yield from cases.about(d.environment_is_chosen(env), spot, None, where)


def _left(ctx: Context) -> Iterator[Problem]:
    """A run that is stopped and resumed writes all that a run writes."""
    left = ctx.value(LEFT, short_run(resume_after=2))
    ctx.judged(len(left.files))
    for label, file in left.leaks:
        yield Problem("a secret is written", label, "not in any file", f"in {file}", {"variable": label})


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    environment = run.documents.get(d.ENVIRONMENT)
    if not run.is_own:
        pass  # another framework's run captures none
    elif environment is None:
        ledger.left_out("the captured environment", f"{d.ENVIRONMENT} can't be read")
    else:
        ledger.judged()
        yield from d.environment_is_chosen(environment.get("env"))
    for file, seen in texts.secrets(run.root, ledger):
        subject = f"{file}:{seen.line}" + (f": {seen.key}" if seen.key else "")
        place = Where(file, seen.line)
        yield Problem(f"a secret is written: {seen.kind}", subject, "redacted", "written", where=place)


no_secrets.on(RunFolder, of_run)

fault(no_secrets, "environment_dumped", WRITE, "the whole environment is captured")(
    writes(lambda r, w: leaks(document(w, d.ENVIRONMENT, env=dict(r.env)), d.ENVIRONMENT, set(r.search) & set(r.env)))
)
fault(no_secrets, "urls_verbatim", WRITE, "URLs are written with the passwords in them")(
    writes(lambda request, w: leaks(w, d.RESOLVED, {label for label in request.search if "URL" in label}))
)
fault(no_secrets, "secret_name_listed", WRITE, "the allowlist itself holds the name of a secret")(
    writes(lambda request, w: document(w, d.ENVIRONMENT, env={"WANDB_API_KEY": "<set>"}))
)
