"""Objects in any order, and an objective of several modules: the project's own functions, each by itself.

Stand-ins: configs, objects with the fields that the functions read; and each module of an objective, a function that
gives the loss and the terms of the request.
"""

import importlib
import types

from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.stand_ins import replaced
from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import trainer as harness
from coordexp_audit_lib.pipelines.coordexp.harness.trainer import short


@binds("supervision.candidate_targets", build=symbols.TRIE_TARGETS, candidate=symbols.TRIE_CANDIDATE)
def candidate_targets(request, here):
    given = [
        here.candidate(object_index=i, tokens=tuple(tokens), token_types=("text",) * len(tokens))
        for i, tokens in enumerate(request["candidates"])
    ]
    made = here.call(here.build, candidates=given, teacher_tokens=request["candidates"][request["teacher"]])
    told = [{"teacher": s.teacher_token_id, "targets": [[t.token_id, t.probability] for t in s.targets]} for s in made]
    return {"steps": told}


def _encoded(request, here, **asked):
    """What the project's function makes of an answer of which a part is given, its tokens, and where it begins."""
    made = harness.world(here)
    meta = harness.sample(request["gt"])
    meta["messages"] = [*meta["messages"], {"role": "assistant", "content": "{}"}]
    told = {"prefix_indices": request["given"], **asked}
    found = here.ask(here.encode, meta=meta, template=made.template, object_field_order=request["order"], **told)
    ids, labels = (harness.whole(t.reshape(-1)) for t in (found.branch_inputs["input_ids"], found.labels))
    return found, ids, harness.answer_at(labels)


@binds("supervision.suffix", encode=symbols.ENCODE_SUFFIX)
def suffix(request, here):
    """With the real template, of a text-only conversation."""
    found, ids, start = _encoded(request, here, suffix_indices=request["asked"])
    steps = [
        {
            "position": one.label_position - start,
            "step": {
                "teacher": one.teacher_token_id,
                "targets": [[t.token_id, t.probability] for t in one.normalized_targets],
            },
        }
        for one in found.steps
    ]
    return {"ids": ids[start:], "steps": steps}


@binds("supervision.branch", encode=symbols.ENCODE_BRANCH)
def branch(request, here):
    """With the real template, of a text-only conversation."""
    found, ids, start = _encoded(request, here, candidate_index=request["candidate"])

    def positions(mask):
        return [at - start for at, marked in enumerate(mask.reshape(-1).tolist()) if marked]

    return {
        "ids": ids[start:],
        # later the entry holds the list's opening too, and the object has a mask of its own
        "candidate": positions(getattr(found, "candidate_object_label_mask", found.candidate_entry_label_mask)),
        "coordinates": positions(found.coord_label_mask),
        "close": positions(found.structural_close_sequence_mask),
        "close_start": positions(found.structural_close_start_mask),
    }


@binds("supervision.candidate_loss", loss=symbols.SUFFIX_LOSS, step=symbols.SUFFIX_STEP)
def candidate_loss(request, here):
    import torch

    weights = {"branch_support_weight": request["support"], "branch_balance_weight": request["balance"]}

    def loss_of(rows, steps):
        """Row n of the logits predicts the label n+1."""
        labels = torch.tensor([[IGNORE_INDEX, *(s["teacher"] for s in steps)]])
        logits = torch.tensor([[*rows, [0.0] * len(rows[0])]])
        made = []
        for n, one in enumerate(steps):
            targets = tuple((int(token), float(share)) for token, share in one["targets"])
            place = {"row_index": 0, "label_position": n + 1, "teacher_token_id": one["teacher"]}
            made.append(here.step(**place, token_type="text", phase="entry", targets=targets))
        return short(here.ask(here.loss, logits=logits, labels=labels, steps=made, **weights).loss, 6)

    rows, steps = request["logits"], request["steps"]
    single = [loss_of([row], [step]) for row, step in zip(rows, steps, strict=True)]
    return {"loss": loss_of(rows, steps), "single": single}


@binds("supervision.subsets", sample=symbols.SAMPLE_SUBSET)
def subsets(request, here):
    mixture = types.SimpleNamespace(
        **{mode + "_ratio": share for mode, share in request["mixture"].items()}, prefix_order="random"
    )
    limit = request["candidates"]
    candidates = types.SimpleNamespace(mode="uniform_subsample" if limit else "exact", max_candidates=limit or None)

    def one(epoch, sample):
        """Seeded as the trainer does: seed, epoch, step, sample, rank, place in the batch."""
        step = epoch * request["samples"] + sample
        parts = (request["seed"], float(epoch), step, "sample-%d" % sample, 0, 0)
        told = {"subset_sampling_cfg": mixture, "candidates_cfg": candidates, "seed_parts": parts}
        made = here.ask(here.sample, object_count=request["objects"], **told)
        drawn = (made.prefix_indices, made.remaining_indices, made.candidate_indices)
        return [made.selected_mode, *(list(part) for part in drawn)]

    return {"drawn": [[one(e, n) for n in range(request["samples"])] for e in range(request["epochs"])]}


@binds(
    "supervision.objective",
    run=symbols.RUN_OBJECTIVE,
    project=symbols.PROJECT_ATOMS,
    result=symbols.MODULE_RESULT,
    catalog=symbols.MODULE_CATALOG,
)
def objective(request, here):
    import torch

    module = importlib.import_module(symbols.TF_PIPELINE[0])
    terms: dict[str, list[list[float]]] = {}  # of the modules that run, in order; a name may come twice
    for one in request["modules"]:
        terms.setdefault(one["name"], []).append(one["terms"])

    def stand_in(name):
        def run(*, context, spec, **rest):
            given = terms[name].pop(0) if len(terms[name]) > 1 else terms[name][0]
            keys = [atom.state_key for atom in here.catalog[name].projected_atoms if atom.required_state]
            values = [torch.tensor(v) for v in given + [0.0] * (len(keys) - len(given))]
            return here.result(loss=sum(values), state=dict(zip(keys, values, strict=True)))

        return run

    specs = [{k: one[k] for k in ("name", "weight")} | {"enabled": one["on"]} for one in request["modules"]]
    context = types.SimpleNamespace(logits=torch.zeros(1), channel="B")
    named = {"run_%s_module" % name: stand_in(name) for name in here.catalog}
    with replaced(module, **named):
        made = here.ask(here.run, context=context, objective_specs=specs, diagnostics_specs=[])
    provenance = {"text_provenance": "text", "coord_provenance": "coord"}
    atoms = here.ask(here.project, pipeline_result=made, objective_specs=specs, **provenance)
    parts = {name: short(value, 6) for name, value in made.module_losses.items()}
    return {"total": short(made.total_loss, 6), "modules": parts, "atoms": {k: short(v, 6) for k, v in atoms.items()}}
