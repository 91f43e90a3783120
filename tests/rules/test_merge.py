"""Merging records of one person: only ever narrower, and taken back without a trace. Clause 0."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.commands import (
    AuthorizeDisclosure,
    CollectData,
    DecideErasure,
    DestroyKeys,
    GiveConsent,
    MergeSubjects,
    RegisterSubject,
    RequestDisclosure,
    UnmergeSubjects,
    WithdrawConsent,
)
from ledger.errors import ConsentMissing, SubjectErased, SubjectsNotApart, SubjectsNotMerged, SubjectUnknown
from ledger.events import ClassDecision, DisclosureAuthorized, DisclosureRefused, SubjectsMerged, SubjectsUnmerged
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    LegalBasis,
    Purpose,
    RetentionClass,
    SourceKind,
    subject_tag,
)
from tests.bench import Bench, an_id

MARI, WRITER, THIRD = an_id("mari"), an_id("who wrote an e-mail"), an_id("a third record")
RECIPIENT, DISCLOSURE = an_id("recipient"), an_id("disclosure")


def merge(**given: Any) -> MergeSubjects:
    return MergeSubjects(**{"subject_id": MARI, "merged_id": WRITER, "ground": "same-personal-code"} | given)


def unmerge(**given: Any) -> UnmergeSubjects:
    return UnmergeSubjects(**{"subject_id": MARI, "merged_id": WRITER, "ground": "namesake"} | given)


def consent(subject: str, name: str = "") -> GiveConsent:
    return GiveConsent(
        consent_id=an_id(f"consent {subject} {name}"),
        subject_id=subject,  # type: ignore[arg-type]
        purpose=Purpose.E_INVOICE,
        fields=("email",),  # type: ignore[arg-type]
        text_sha256="0" * 64,  # type: ignore[arg-type]
        language="et",  # type: ignore[arg-type]
        channel=Channel.LINK,
        recipient_id=RECIPIENT,
    )


def withdraw(subject: str, name: str = "") -> WithdrawConsent:
    return WithdrawConsent(
        consent_id=an_id(f"consent {subject} {name}"),
        subject_id=subject,  # type: ignore[arg-type]
        channel=Channel.PHONE,
    )


MAKERS = [merge, unmerge]
FIELD_KINDS = {"merged_id": "id"}
OTHER_FIELDS: set[str] = set()
CODES = ["person-refused", "subject-erased", "subjects-not-apart", "subjects-not-merged"]


@pytest.fixture
def people(bench: Bench) -> Bench:
    return bench.given(*(RegisterSubject(subject_id=one) for one in (MARI, WRITER, THIRD)))


def permitted(bench: Bench, subject: str = MARI) -> bool:
    """Ask whether the recipient may be given the person's address, by asking for it."""
    disclosure = an_id(f"disclosure {bench.ledger.size()}")
    bench.given(
        RequestDisclosure(
            disclosure_id=disclosure,
            subject_id=subject,  # type: ignore[arg-type]
            recipient_id=RECIPIENT,
            purpose=Purpose.E_INVOICE,
            basis=LegalBasis.CONSENT,
            fields=("email",),  # type: ignore[arg-type]
        )
    )
    done = bench.when(
        AuthorizeDisclosure(disclosure_id=disclosure, subject_id=subject, token_sha256="0" * 64)  # type: ignore[arg-type]
    )
    (event,) = done.events
    assert isinstance(event, DisclosureAuthorized | DisclosureRefused)
    assert (done.refusal is None) == isinstance(event, DisclosureAuthorized)
    assert done.refusal is None or type(done.refusal) is ConsentMissing
    return done.refusal is None


@pytest.mark.rule("merge-is-of-two-records")
def test_a_merge_stands_on_both_records_and_moves_nothing(people: Bench) -> None:
    people.when(merge()).then(
        SubjectsMerged(
            subject_id=MARI,
            merged_id=WRITER,
            members=tuple(sorted((MARI, WRITER))),
            ground="same-personal-code",  # type: ignore[arg-type]
            live={},
            withdrawn=(),
        )
    )
    (recorded,) = people.ledger.read(after=people.ledger.size() - 1)
    assert set(recorded.tags) == {subject_tag(MARI), subject_tag(WRITER)}


@pytest.mark.rule("merge-is-of-two-records")
def test_a_record_is_not_merged_with_itself_or_twice(people: Bench) -> None:
    people.when(merge(merged_id=MARI)).refused(SubjectsNotApart, subject=MARI)
    people.given(merge())
    people.when(merge()).refused(SubjectsNotApart, subject=WRITER)
    people.when(merge(subject_id=THIRD)).refused(SubjectsNotApart, subject=WRITER)
    people.when(merge(subject_id=WRITER, merged_id=THIRD)).refused(SubjectsNotApart, subject=THIRD)
    people.when(merge(subject_id=THIRD, merged_id=MARI)).refused(SubjectsNotApart, subject=MARI)


@pytest.mark.rule("merge-is-of-two-records")
@pytest.mark.parametrize("erased", [MARI, WRITER], ids=["survivor", "merged"])
def test_an_erased_record_is_not_merged(people: Bench, erased: Any) -> None:
    decision = ClassDecision(
        retention_class=RetentionClass.CONTRACT,
        outcome=ErasureOutcome.ERASED,
        ground="asked",  # type: ignore[arg-type]
    )
    held = CollectData(
        subject_id=erased,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values={"email": "mari@example.com"},
    )
    people.given(
        held,
        DecideErasure(subject_id=erased, decisions=(decision,)),
        DestroyKeys(subject_id=erased, retention_classes=(RetentionClass.CONTRACT,)),
    )
    people.when(merge()).refused(SubjectErased, subject=erased)
    people.given(held)
    assert people.when(merge()).refusal is None, "something is held again"


@pytest.mark.rule("merge-is-of-two-records")
def test_a_record_nobody_opened_is_not_merged(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=MARI)).when(merge()).refused(SubjectUnknown, subject=WRITER)


@pytest.mark.rule("merge-never-widens-permission")
def test_a_consent_on_one_record_permits_nothing_of_the_other(people: Bench) -> None:
    people.given(consent(WRITER), merge())
    assert not permitted(people, MARI)
    assert permitted(people, WRITER)


@pytest.mark.rule("merge-never-widens-permission")
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_withdrawn_on_one_record_is_withdrawn_on_all(people: Bench, when: str) -> None:
    people.given(consent(MARI), consent(WRITER))
    people.given(*([withdraw(WRITER), merge()] if when == "before" else [merge(), withdraw(WRITER)]))
    assert not permitted(people)


@pytest.mark.rule("merge-never-widens-permission")
def test_a_third_record_hears_what_the_first_two_said_and_they_hear_it(people: Bench) -> None:
    people.given(consent(MARI), consent(WRITER), consent(THIRD), withdraw(WRITER), merge())
    assert permitted(people, THIRD)
    people.given(merge(merged_id=THIRD))
    assert not permitted(people, THIRD)
    people.given(unmerge())
    assert permitted(people, THIRD), "who said no is another person"
    assert permitted(people, MARI)
    people.given(withdraw(THIRD))
    assert not permitted(people, MARI)
    assert not permitted(people, WRITER)


@pytest.mark.rule("merge-never-widens-permission")
def test_a_withdrawal_of_one_of_two_consents_is_no_withdrawal(people: Bench) -> None:
    people.given(consent(MARI), consent(WRITER), consent(WRITER, "again"), merge(), withdraw(WRITER))
    assert permitted(people)
    people.given(withdraw(WRITER, "again"))
    assert not permitted(people)


@pytest.mark.rule("merge-never-widens-permission")
@pytest.mark.parametrize("where", [MARI, WRITER], ids=["here", "there"])
def test_consent_given_anew_while_together_lifts_what_was_withdrawn(people: Bench, where: str) -> None:
    people.given(consent(MARI), consent(WRITER), withdraw(WRITER), merge())
    assert not permitted(people)
    people.given(consent(where, "anew"))
    assert permitted(people)


@pytest.mark.rule("unmerge-restores-both")
def test_an_unmerge_restores_both_histories(people: Bench) -> None:
    people.given(consent(MARI), consent(WRITER), withdraw(WRITER), merge())
    assert not permitted(people)
    people.when(unmerge()).then(
        SubjectsUnmerged(
            subject_id=MARI,
            merged_id=WRITER,
            ground="namesake",  # type: ignore[arg-type]
            members=tuple(sorted((MARI, WRITER))),
        )
    )
    assert permitted(people, MARI)
    people.given(consent(WRITER, "anew"))
    people.given(withdraw(MARI))
    assert permitted(people, WRITER)
    people.given(merge())
    assert not permitted(people, WRITER), "merged again, each hears what the other said meanwhile"


@pytest.mark.rule("unmerge-restores-both")
def test_only_a_merge_that_stands_is_taken_back(people: Bench) -> None:
    people.when(unmerge()).refused(SubjectsNotMerged, subject=MARI, merged=WRITER)
    people.given(merge())
    people.when(unmerge(subject_id=WRITER, merged_id=MARI)).refused(SubjectsNotMerged)
    people.given(unmerge())
    people.when(unmerge()).refused(SubjectsNotMerged)
