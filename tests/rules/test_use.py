"""The gate: a field needs an activity, a use a purpose, a change of purpose an assessment. Clauses 1 and 2."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import Actor
from ledger.commands import (
    AdoptPolicy,
    AssessPurposeChange,
    CollectData,
    DecideErasure,
    DestroyKeys,
    RegisterSubject,
    UseData,
)
from ledger.errors import (
    FieldNotAllowed,
    FieldNotDefined,
    FieldUnknown,
    Invalid,
    PolicyMissing,
    PurposeNotAssessed,
    RoleMissing,
)
from ledger.events import ClassDecision, DataUsed, PersonalDataCollected, PurposeChangeAssessed, UseDenied
from ledger.explain import explain
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    ActorId,
    Compatibility,
    ErasureOutcome,
    LegalBasis,
    Purpose,
    RetentionClass,
    Role,
    SourceKind,
    SubjectRole,
)
from tests.bench import SUPPORT, Bench, an_id

MARI = an_id("mari")
SERVICE = Actor(id=ActorId(an_id("service")), role=Role.SERVICE)
TEXT = default_policy_text()
ADOPT = AdoptPolicy(text=TEXT)
REGISTER = RegisterSubject(subject_id=MARI)


def collect(values: dict[str, Any] | None = None, **given: Any) -> CollectData:
    usual: dict[str, Any] = {"purpose": Purpose.CONTRACT, "basis": LegalBasis.CONTRACT, "source": SourceKind.SUBJECT}
    return CollectData(subject_id=MARI, values=values or {"email": "mari@example.com"}, **usual | given)


def use(**given: Any) -> UseData:
    usual: dict[str, Any] = {"purpose": Purpose.CONTRACT, "fields": ("email",), "case_reference": "T-17"}
    return UseData(**{"subject_id": MARI} | usual | given)


def assess(**given: Any) -> AssessPurposeChange:
    usual: dict[str, Any] = {
        "from_purpose": Purpose.CONTRACT,
        "purpose": Purpose.SERVICE,
        "fields": ("email",),
        "outcome": Compatibility.COMPATIBLE,
        "reference": "DPIA-3",
    }
    return AssessPurposeChange(**usual | given)


MAKERS = [use, assess]
FIELD_KINDS = {"case_reference": "reference", "employee_id": "id", "from_purpose": "enum", "reference": "reference"}
OTHER_FIELDS: set[str] = set()
CODES = ["field-not-allowed", "field-not-defined", "purpose-not-assessed"]


def denied(command: str, reason: str, fields: tuple[str, ...], **given: Any) -> UseDenied:
    usual: dict[str, Any] = {"purpose": Purpose.CONTRACT, "case_reference": "T-17"} if command == "use-data" else {}
    return UseDenied(
        command=command,  # type: ignore[arg-type]
        subject_id=MARI,
        fields=fields,  # type: ignore[arg-type]
        reason=reason,  # type: ignore[arg-type]
        **usual | given,
    )


@pytest.mark.rule("field-needs-an-activity")
@pytest.mark.parametrize(
    ("wrong", "field", "kept"),
    [
        ({"values": {"email": "x", "shoe-size": 41}}, "shoe-size", ("email",)),
        ({"basis": LegalBasis.LEGITIMATE_INTEREST}, "email", ("email",)),
        ({"purpose": Purpose.PARTNER_OFFERS}, "email", ("email",)),
        ({"retention_class": RetentionClass.MARKETING}, "email", ("email",)),
        ({"values": {"iban": "EE"}, "purpose": Purpose.SERVICE}, "iban", ("iban",)),
    ],
)
def test_a_field_that_no_activity_allows_is_refused_by_name_and_that_is_kept(
    bench: Bench, wrong: dict[str, Any], field: str, kept: tuple[str, ...]
) -> None:
    command = collect(**wrong)
    bench.given(ADOPT, REGISTER).when(command).refused(
        FieldNotAllowed,
        denied("collect-data", "field-not-allowed", kept, purpose=command.purpose, basis=command.basis),
        field=field,
    )


@pytest.mark.rule("field-needs-an-activity")
def test_a_field_is_refused_in_a_role_that_its_activity_is_not_for(bench: Bench) -> None:
    bench.given(ADOPT, RegisterSubject(subject_id=MARI, role=SubjectRole.PROCESSOR, client_id=an_id("client")))
    asked: dict[str, Any] = {
        "purpose": Purpose.OWN_OFFERS,
        "basis": LegalBasis.LEGITIMATE_INTEREST,
        "retention_class": RetentionClass.MARKETING,
    }
    done = bench.when(collect(**asked))
    del asked["retention_class"]
    done.refused(FieldNotAllowed, denied("collect-data", "field-not-allowed", ("email",), **asked), role="processor")


@pytest.mark.rule("field-needs-an-activity")
def test_a_field_that_an_activity_allows_is_collected(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER).when(collect()).then(
        PersonalDataCollected(
            subject_id=MARI,
            purpose=Purpose.CONTRACT,
            basis=LegalBasis.CONTRACT,
            source=SourceKind.SUBJECT,
            retention_class=RetentionClass.CONTRACT,
            values={"email": "mari@example.com"},
        )
    )


@pytest.mark.rule("use-needs-an-activity")
def test_a_use_states_its_purpose_and_case_and_is_recorded(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, collect()).when(use(), by=SERVICE).then(
        DataUsed(subject_id=MARI, purpose=Purpose.CONTRACT, fields=("email",), case_reference="T-17")  # type: ignore[arg-type]
    )


@pytest.mark.rule("use-needs-an-activity")
def test_a_use_that_no_activity_allows_is_denied_by_field_and_kept(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, collect())
    bench.when(use(fields=("email", "shoe-size")), by=SERVICE).refused(
        FieldNotAllowed, denied("use-data", "field-not-allowed", ("email",)), field="shoe-size"
    )
    bench.when(use(fields=("iban",), purpose=Purpose.OWN_OFFERS), by=SERVICE).refused(
        FieldNotAllowed, denied("use-data", "field-not-allowed", ("iban",), purpose=Purpose.OWN_OFFERS), field="iban"
    )
    bench.when(use(fields=("phone",)), by=SERVICE).refused(
        FieldUnknown, denied("use-data", "field-unknown", ("phone",)), field="phone"
    )
    bench.when(use(fields=()), by=SERVICE).refused(Invalid, field="fields")


@pytest.mark.rule("use-needs-an-activity")
def test_without_a_policy_nothing_is_used(bench: Bench) -> None:
    bench.given(REGISTER, collect()).when(use(), by=SERVICE).refused(PolicyMissing)


@pytest.mark.rule("use-needs-an-activity")
def test_what_is_erased_is_not_used_and_its_purposes_are_forgotten(bench: Bench) -> None:
    erased = ClassDecision(
        retention_class=RetentionClass.CONTRACT,
        outcome=ErasureOutcome.ERASED,
        ground="asked",  # type: ignore[arg-type]
    )
    bench.given(
        ADOPT,
        REGISTER,
        collect(),
        DecideErasure(subject_id=MARI, decisions=(erased,)),
        DestroyKeys(subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,)),
    )
    bench.when(use(), by=SERVICE).refused(FieldUnknown, denied("use-data", "field-unknown", ("email",)))
    bench.given(collect(purpose=Purpose.SERVICE))
    bench.when(use(), by=SERVICE).refused(
        PurposeNotAssessed, denied("use-data", "purpose-not-assessed", ("email",)), field="email"
    )


@pytest.mark.rule("purpose-change-needs-assessment")
def test_another_purpose_needs_an_assessment_that_found_it_compatible(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, collect())
    asked = use(purpose=Purpose.SERVICE)
    no = denied("use-data", "purpose-not-assessed", ("email",), purpose=Purpose.SERVICE)
    bench.when(asked, by=SERVICE).refused(PurposeNotAssessed, no, field="email")
    bench.given(assess(fields=("phone",)))
    bench.when(asked, by=SERVICE).refused(PurposeNotAssessed, no)
    bench.given(assess())
    bench.when(asked, by=SERVICE).then(
        DataUsed(subject_id=MARI, purpose=Purpose.SERVICE, fields=("email",), case_reference="T-17")  # type: ignore[arg-type]
    )
    bench.given(assess(outcome=Compatibility.INCOMPATIBLE))
    bench.when(asked, by=SERVICE).refused(PurposeNotAssessed, no)


@pytest.mark.rule("purpose-change-needs-assessment")
def test_no_assessment_helps_where_data_rests_on_consent(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, collect(purpose=Purpose.E_INVOICE, basis=LegalBasis.CONSENT))
    bench.given(assess(from_purpose=Purpose.E_INVOICE))
    bench.when(use(purpose=Purpose.SERVICE), by=SERVICE).refused(
        PurposeNotAssessed, denied("use-data", "purpose-not-assessed", ("email",), purpose=Purpose.SERVICE)
    )


@pytest.mark.rule("officer-assesses-purpose-changes")
def test_the_officer_assesses_two_purposes_and_named_fields(bench: Bench) -> None:
    bench.when(assess()).refused(PolicyMissing)
    bench.given(ADOPT).when(assess()).then(
        PurposeChangeAssessed(
            from_purpose=Purpose.CONTRACT,
            purpose=Purpose.SERVICE,
            fields=("email",),  # type: ignore[arg-type]
            outcome=Compatibility.COMPATIBLE,
            reference="DPIA-3",  # type: ignore[arg-type]
        )
    )
    bench.when(assess(), by=SUPPORT).refused(RoleMissing, needed="officer")
    bench.when(assess(from_purpose=Purpose.SERVICE)).refused(Invalid, field="from_purpose")
    bench.when(assess(fields=())).refused(Invalid, field="fields")
    bench.when(assess(fields=("shoe-size",))).refused(FieldNotDefined, field="shoe-size")


def test_a_denial_is_explained_by_the_command_that_was_denied(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, collect())
    size = bench.ledger.size()
    bench.when(use(fields=("shoe-size",)), by=SERVICE)
    bench.when(collect({"shoe-size": 41}))
    # Years later, under another policy that would allow it.
    other = TEXT.replace('"ee-accounting-1"', '"ee-accounting-2"').replace(
        "[fields.language]",
        '[fields.shoe-size]\ncategory = "preferences"\nchange = "self-service"\n\n[fields.language]',
    )
    before = [explain(bench.ledger, size), explain(bench.ledger, size + 1)]
    assert [(one.command, one.refusal, one.rules[0].id) for one in before] == [
        ("use-data", "field-not-allowed", "use-needs-an-activity"),
        ("collect-data", "field-not-allowed", "field-needs-an-activity"),
    ]
    bench.clock.forward(days=3_000)
    bench.given(AdoptPolicy(text=other), collect({"shoe-size": 41}))
    assert [explain(bench.ledger, size), explain(bench.ledger, size + 1)] == before
    assert before[0].policy is not None
    assert before[0].policy.version == "ee-accounting-1"
    (registered,) = [fact for fact in before[0].facts if fact.topic == "subject-registered"]
    assert explain(bench.ledger, registered.index).policy == before[0].policy
