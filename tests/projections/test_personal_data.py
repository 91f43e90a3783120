"""One subject's data: now, as of then, corrected after the fact, erased; and whom an identifier belongs to."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.commands import CorrectData, LinkIdentifier
from ledger.errors import Invalid, StorageError, SubjectUnknown
from ledger.identifiers import normal_form
from ledger.vocabulary import (
    Channel,
    IdentifierKind,
    LegalBasis,
    Purpose,
    RetentionClass,
    Role,
    SourceKind,
    SubjectId,
    Word,
    new_id,
)
from projections import FieldState, ValueState
from tests.projections.world import START, World, collect, collected, dump

EMAIL, PHONE, CODE = IdentifierKind.EMAIL, IdentifierKind.PHONE, IdentifierKind.PERSONAL_CODE
ADDRESS = Word("address")


def corrected(subject: SubjectId, field: str, value: str, version: int, **more: datetime) -> CorrectData:
    return CorrectData(
        subject_id=subject, field=Word(field), value=value, expected_version=version, channel=Channel.PHONE, **more
    )


def values(fields: dict[Word, FieldState]) -> dict[str, object]:
    return {name: field.value for name, field in fields.items()}


# --- now and as of ---------------------------------------------------------------------------------------------


def test_state_shows_each_field_with_its_origin(world: World) -> None:
    subject = world.subject()
    receipt = world.given(collect(subject, given_name="Mari", email="mari@example.com"))
    state = world.then.state(subject)
    assert values(state.fields) == {"email": "mari@example.com", "given-name": "Mari"}
    field = state.fields[Word("given-name")]
    assert field.state is ValueState.PRESENT
    assert (field.version, field.expected_version) == (receipt.index, receipt.index)
    assert (field.purpose, field.basis, field.source) == (Purpose.CONTRACT, LegalBasis.CONTRACT, SourceKind.SUBJECT)
    assert field.retention_class is RetentionClass.CONTRACT
    assert field.recorded_at == field.valid_from == world.now
    assert field.channel is None
    assert field.by.role is Role.OFFICER
    assert (state.registered, state.position, state.valid_at) == (0, 2, world.now)


def test_state_of_nobody_is_refused(world: World) -> None:
    for as_of in (None, 1):
        with pytest.raises(SubjectUnknown):
            world.then.state(SubjectId(new_id()), as_of=as_of)
    world.subject()
    with pytest.raises(SubjectUnknown):
        world.then.state(SubjectId(new_id()))


def test_state_before_the_registration_is_refused(world: World) -> None:
    before = world.wait(minutes=1)
    subject = world.subject()
    with pytest.raises(SubjectUnknown):
        world.then.state(subject, as_of=before)
    assert world.then.state(subject, as_of=world.now).subject_id == subject


def test_state_as_of_a_moment_is_what_was_known_then(world: World) -> None:
    subject = world.subject()
    first = world.given(collect(subject, address="Tartu"))
    then = world.now
    world.given(corrected(subject, "address", "Narva", first.index))
    assert values(world.then.state(subject).fields) == {"address": "Narva"}
    assert values(world.then.state(subject, as_of=then).fields) == {"address": "Tartu"}
    assert values(world.then.state(subject, as_of=then - timedelta(seconds=1)).fields) == {}


def test_state_as_of_a_position_is_what_that_many_entries_say(world: World) -> None:
    subject = world.subject()
    first = world.given(collect(subject, address="Tartu"))
    second = world.given(corrected(subject, "address", "Narva", first.index))
    assert values(world.then.state(subject, as_of=first.position).fields) == {"address": "Tartu"}
    assert values(world.then.state(subject, as_of=second.position).fields) == {"address": "Narva"}
    assert values(world.then.state(subject, as_of=second.position + 1_000).fields) == {"address": "Narva"}


@pytest.mark.parametrize("as_of", [0, -1, datetime(2026, 3, 2)])
def test_state_as_of_nonsense_is_refused(world: World, as_of: int | datetime) -> None:
    subject = world.subject()
    with pytest.raises(Invalid):
        world.then.state(subject, as_of=as_of)


def test_a_correction_takes_its_purpose_from_what_it_corrects(world: World) -> None:
    subject = world.subject()
    first = world.given(collect(subject, address="Tartu"))
    world.given(corrected(subject, "address", "Narva", first.index))
    field = world.then.state(subject).fields[ADDRESS]
    assert (field.channel, field.purpose, field.source) == (Channel.PHONE, Purpose.CONTRACT, SourceKind.SUBJECT)


def test_what_was_just_recorded_holds_though_the_clock_ran_backwards(world: World) -> None:
    subject = world.subject()
    world.given(collect(subject, address="Tartu"))
    world.wait(hours=-1)
    assert values(world.then.state(subject).fields) == {"address": "Tartu"}


def test_state_is_plain_data(world: World) -> None:
    subject = world.subject()
    world.given(collect(subject, address="Tartu", children=2, tags=["a"]))
    world.erase(subject, RetentionClass.CONTRACT)
    plain = msgspec.to_builtins(world.then.state(subject))
    assert plain["fields"]["address"]["state"] == "erased"
    assert msgspec.json.decode(msgspec.json.encode(world.then.state(subject)))["subject_id"] == subject


def test_history_has_every_version(world: World) -> None:
    subject = world.subject()
    first = world.given(collect(subject, address="Tartu", phone="5551234"))
    second = world.given(corrected(subject, "address", "Narva", first.index))
    history = world.then.history(subject, field=ADDRESS)
    assert [(v.version, v.value) for v in history] == [(first.index, "Tartu"), (second.index, "Narva")]
    assert len(world.then.history(subject)) == 3
    assert len(world.then.history(subject, as_of=first.position)) == 2
    with pytest.raises(SubjectUnknown):
        world.then.history(SubjectId(new_id()))


# --- two times -------------------------------------------------------------------------------------------------


def test_a_retroactive_correction_holds_since_then_but_was_not_known_then(world: World) -> None:
    subject = world.subject()
    first = world.given(collected(subject, {"address": "Tartu"}, valid_from=START - timedelta(days=300)))
    known = world.now
    world.wait(days=10)
    moved = START - timedelta(days=30)
    world.given(corrected(subject, "address", "Narva", first.index, valid_from=moved))
    then = world.then
    assert values(then.state(subject).fields) == {"address": "Narva"}
    assert values(then.state(subject, as_of=known).fields) == {"address": "Tartu"}
    # What we know now of a day before, on, and after the move.
    assert values(then.state(subject, valid_at=moved - timedelta(seconds=1)).fields) == {"address": "Tartu"}
    assert values(then.state(subject, valid_at=moved).fields) == {"address": "Narva"}
    assert values(then.state(subject, valid_at=START - timedelta(days=301)).fields) == {}


def test_an_older_truth_recorded_later_does_not_displace_a_newer_one(world: World) -> None:
    subject = world.subject()
    first = world.given(collect(subject, address="Tartu"))
    late = world.given(corrected(subject, "address", "Võru", first.index, valid_from=START - timedelta(days=700)))
    field = world.then.state(subject).fields[ADDRESS]
    assert (field.value, field.version) == ("Tartu", first.index)
    before = world.then.state(subject, valid_at=START - timedelta(days=1)).fields[ADDRESS]
    assert (before.value, before.version) == ("Võru", late.index)
    # The next correction must still name the version that the write side is at.
    assert field.expected_version == late.index
    world.given(corrected(subject, "address", "Narva", late.index))
    assert world.then.state(subject).fields[ADDRESS].value == "Narva"


def test_of_two_values_since_the_same_moment_the_later_recorded_holds(world: World) -> None:
    subject = world.subject()
    since = START - timedelta(days=5)
    first = world.given(collected(subject, {"address": "Tartu"}, valid_from=since))
    world.given(corrected(subject, "address", "Narva", first.index, valid_from=since))
    assert values(world.then.state(subject).fields) == {"address": "Narva"}


def test_a_value_that_is_true_from_later_on_does_not_hold_yet(world: World) -> None:
    subject = world.subject()
    from_then = START + timedelta(days=30)
    world.given(collected(subject, {"address": "Narva"}, valid_from=from_then))
    assert values(world.then.state(subject).fields) == {}
    assert values(world.then.state(subject, valid_at=from_then).fields) == {"address": "Narva"}
    world.wait(days=31)
    assert values(world.then.state(subject).fields) == {"address": "Narva"}


def test_valid_from_in_another_time_zone_is_the_same_moment(world: World) -> None:
    subject = world.subject()
    since = datetime.fromisoformat("2026-01-01T01:00:00+02:00")
    world.given(collected(subject, {"address": "Narva"}, valid_from=since))
    state = world.then.state(subject, valid_at=datetime(2025, 12, 31, 23, tzinfo=UTC))
    assert state.fields[ADDRESS].valid_from == since
    assert world.then.state(subject, valid_at=since - timedelta(microseconds=1)).fields == {}


# --- erasure ---------------------------------------------------------------------------------------------------


def test_erasure_shows_erased_now_and_as_of_before(world: World) -> None:
    subject = world.subject()
    receipt = world.given(collect(subject, address="Tartu"))
    world.erase(subject, RetentionClass.CONTRACT)
    for as_of in (None, receipt.position):
        field = world.then.state(subject, as_of=as_of).fields[ADDRESS]
        assert (field.state, field.value, field.version) == (ValueState.ERASED, None, receipt.index)
    assert world.then.state(subject).fields[ADDRESS].expected_version is None


def test_erasure_of_one_class_leaves_the_others(world: World) -> None:
    subject = world.subject()
    world.given(
        collect(subject, address="Tartu"),
        collected(subject, {"hobby": "chess"}, retention_class=RetentionClass.MARKETING),
    )
    world.erase(subject, RetentionClass.MARKETING)
    assert values(world.then.state(subject).fields) == {"address": "Tartu", "hobby": None}


def test_what_is_collected_after_an_erasure_holds_whatever_was_erased(world: World) -> None:
    subject = world.subject()
    world.given(collect(subject, address="Tartu"))
    world.erase(subject, RetentionClass.CONTRACT)
    again = world.given(collected(subject, {"address": "Narva"}, valid_from=START - timedelta(days=900)))
    field = world.then.state(subject).fields[ADDRESS]
    assert (field.value, field.version, field.expected_version) == ("Narva", again.index, again.index)


def test_a_row_that_points_to_another_person_is_never_shown(world: World) -> None:
    victim, other = world.subject(), world.subject()
    world.given(collect(victim, address="Tartu"))
    world.tamper("UPDATE field_versions SET subject = ? WHERE subject = ?", other, victim)
    with pytest.raises(StorageError, match="rebuild"):
        world.asked.state(other)


# --- identifiers -----------------------------------------------------------------------------------------------


def linked(subject: SubjectId, kind: IdentifierKind, value: str) -> LinkIdentifier:
    return LinkIdentifier(subject_id=subject, kind=kind, value=value)


@pytest.mark.parametrize(
    ("kind", "recorded", "asked"),
    [
        (EMAIL, "Mari.Tamm@Example.COM", " mari.tamm@example.com "),
        (EMAIL, "jüri@example.com", "ju\u0308ri@example.com"),
        (EMAIL, "STRASSE@example.com", "straße@example.com"),
        (EMAIL, "mari\u200b@example.com", "mari@example.com"),
        (EMAIL, "\uff4dari@example.com", "mari@example.com"),
        (EMAIL, "\u202emari@example.com", "mari@example.com"),
        (PHONE, "+372 555 1234", "+3725551234"),
        (PHONE, "(372) 555-1234", "372 5551234"),
        (CODE, "3 870101 0021", "38701010021"),
    ],
)
def test_an_identifier_is_found_in_any_plain_spelling(
    world: World, kind: IdentifierKind, recorded: str, asked: str
) -> None:
    subject = world.subject()
    world.given(linked(subject, kind, recorded))
    assert world.then.lookup(kind, asked) == [subject]
    state = world.then.state(subject).identifiers[0]
    assert (state.kind, state.value, state.state) == (kind, recorded, ValueState.PRESENT)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        (EMAIL, ""),
        (EMAIL, "   "),
        (EMAIL, "mari\u200b@example.com"),
        (EMAIL, "\u202emoc.elpmaxe@iram"),
        (EMAIL, "mari\u00ad@example.com"),
        (EMAIL, "\uff4dari@example.com"),
        (EMAIL, "ma\x00ri@example.com"),
        (EMAIL, "\ud800@example.com"),
        (EMAIL, "mari\u3164@example.com"),
        (EMAIL, "ma\u2028ri@example.com"),
        (PHONE, "no number"),
        (PHONE, "\u0661\u0662\u0663"),
        (PHONE, "\uff15\uff15\uff15"),
        (CODE, "x"),
    ],
)
def test_an_ambiguous_identifier_is_refused_without_repeating_it(
    world: World, kind: IdentifierKind, asked: str
) -> None:
    world.subject()
    with pytest.raises(Invalid) as refusal:
        world.then.lookup(kind, asked)
    assert refusal.value.evidence["field"] == kind
    assert not asked.strip() or asked not in str(refusal.value)


@given(st.sampled_from(IdentifierKind), st.text(max_size=12))
def test_a_normal_form_is_its_own_and_the_same_for_every_composition(kind: IdentifierKind, value: str) -> None:
    normal = normal_form(kind, value)
    assert normal_form(kind, normal) == normal
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert normal_form(kind, unicodedata.normalize(form, value)) == normal


def test_several_people_may_share_an_identifier(world: World) -> None:
    first, second, stranger = world.subject(), world.subject(), world.subject()
    world.given(
        linked(second, EMAIL, "office@example.com"),
        linked(first, EMAIL, "Office@example.com"),
        linked(stranger, PHONE, "5551234"),
        linked(second, EMAIL, "OFFICE@example.com"),
    )
    assert world.then.lookup(EMAIL, "office@example.com") == [second, first]
    assert world.then.lookup(EMAIL, "nobody@example.com") == []


def test_an_identifier_of_one_kind_is_not_found_as_another(world: World) -> None:
    subject = world.subject()
    world.given(linked(subject, CODE, "38701010021"))
    assert world.then.lookup(PHONE, "38701010021") == []
    assert world.then.lookup(CODE, "38701010021") == [subject]


def test_collected_and_corrected_fields_are_identifiers_too(world: World) -> None:
    subject = world.subject()
    receipt = world.given(collected(subject, {"email": "a@example.com", "phone": "+37255512", "personal-code": "123"}))
    world.given(corrected(subject, "email", "b@example.com", receipt.index))
    for kind, value in ((EMAIL, "a@example.com"), (EMAIL, "b@example.com"), (PHONE, "+372 55512"), (CODE, "123")):
        assert world.then.lookup(kind, value) == [subject]


def test_a_field_that_is_no_text_is_no_identifier(world: World) -> None:
    subject = world.subject()
    world.given(collected(subject, {"phone": 5551234, "email": ["a@example.com"]}))
    assert world.then.lookup(PHONE, "5551234") == []
    assert world.then.status().quarantined == 0


@pytest.mark.parametrize("beforehand", [True, False])
def test_an_erased_identifier_is_found_no_more(world: World, beforehand: bool) -> None:
    subject, other = world.subject(), world.subject()
    world.given(
        linked(subject, EMAIL, "mari@example.com"),
        collect(subject, email="mari@example.com"),
        linked(other, EMAIL, "mari@example.com"),
    )
    if beforehand:
        # Taken in before the erasure, or only after it: the answer is the same.
        assert world.then.lookup(EMAIL, "mari@example.com") == [subject, other]
    world.erase(subject, RetentionClass.IDENTITY)
    assert world.then.lookup(EMAIL, "mari@example.com") == [subject, other]
    world.erase(subject, RetentionClass.CONTRACT)
    assert world.then.lookup(EMAIL, "mari@example.com") == [other]
    assert world.then.state(subject).identifiers[0].state is ValueState.ERASED
    assert world.then.verify().count == 0


def test_no_value_stands_in_the_file(world: World) -> None:
    subject = world.subject()
    world.given(linked(subject, EMAIL, "canary-one@example.com"), collect(subject, email="canary-two@example.com"))
    world.then.rebuild()
    assert "canary" not in repr(dump(world.asked))
    files = [path for path in world.data.iterdir() if path.name.startswith("projections")]
    assert files or world.where.server
    assert not any(b"canary" in path.read_bytes() for path in files)
