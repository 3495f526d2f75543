"""What a desc that spells a control token does to the answer it stands in."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.claims.labels_cover_assistant import labels_cover_assistant
from coordexp_audit_lib.boundaries.template.reference import answer_at
from coordexp_audit_lib.core.fault import Fault, Honest
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.kit.profile import IGNORE_INDEX, IM_END
from coordexp_audit_lib.targets.reference import ReferenceTarget


def test_an_answer_that_ends_where_a_desc_spells_the_end_is_told_though_its_rest_is_masked() -> None:
    """As of one who masks all behind the first end of a turn: the turn is whole, and the rest is taught to none."""

    def cut(request: s.EncodeRequest, honest: Honest) -> s.EncodeResponse:
        if "<|im_end|>" not in request.records[0].objects[0][0]:
            return honest(request)
        plain = replace(request, records=[s.Record([("a sign", request.records[0].objects[0][1])])])
        made = honest(plain)
        return replace(made, unpacked=[ended_early(e) for e in made.unpacked])

    def ended_early(e: s.Encoded) -> s.Encoded:
        at = answer_at(e.labels) + 4
        ids = [*e.input_ids[:at], IM_END, *e.input_ids[at:]]
        return replace(e, input_ids=ids, labels=[*e.labels[:at], IM_END, *[IGNORE_INDEX] * (len(ids) - at - 1)])

    finding = judge(ReferenceTarget(Fault("cut", s.ENCODE, (), "", cut)), labels_cover_assistant, "")
    assert (finding.status, finding.severity) == ("violated", "P2")
    assert "the turn ends there" in finding.violations[0].message
