"""The accounting of disclosures: asked, decided, sent or not, on which basis, as of then too."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from ledger.commands import (
    AuthorizeDisclosure,
    RefuseDisclosure,
    RequestDisclosure,
    TransmitDisclosure,
    VoidDisclosure,
    WithdrawConsent,
)
from ledger.errors import ConsentMissing
from ledger.events import Statute
from ledger.state.disclosure import Stage
from ledger.vocabulary import (
    Channel,
    DisclosureId,
    LegalBasis,
    Purpose,
    RecipientId,
    Reference,
    Role,
    Sha256Hex,
    SubjectId,
    Word,
    new_id,
)
from tests.projections.test_consents import consent
from tests.projections.world import World

TOKEN = "token"
TOKEN_SHA256 = Sha256Hex(hashlib.sha256(TOKEN.encode()).hexdigest())
FIELDS = (Word("email"),)


def request(subject: SubjectId, recipient: RecipientId) -> RequestDisclosure:
    return RequestDisclosure(
        disclosure_id=DisclosureId(new_id()),
        subject_id=subject,
        recipient_id=recipient,
        purpose=Purpose.E_INVOICE,
        basis=LegalBasis.CONSENT,
        fields=FIELDS,
    )


def authorize(asked: RequestDisclosure) -> AuthorizeDisclosure:
    return AuthorizeDisclosure(
        disclosure_id=asked.disclosure_id, subject_id=asked.subject_id, token_sha256=TOKEN_SHA256
    )


def transmit(asked: RequestDisclosure) -> TransmitDisclosure:
    return TransmitDisclosure(
        disclosure_id=asked.disclosure_id,
        subject_id=asked.subject_id,
        recipient_id=asked.recipient_id,
        fields=FIELDS,
        token=TOKEN,
    )


def test_a_disclosure_is_accounted_for_step_by_step(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    given, asked = consent(subject, recipient), request(subject, recipient)
    first = world.given(given, asked)
    after_asking = world.now
    authorized = world.given(authorize(asked))
    world.given(transmit(asked))
    (found,) = world.then.disclosures(subject)
    assert (found.disclosure_id, found.recipient_id, found.basis) == (
        asked.disclosure_id,
        recipient,
        LegalBasis.CONSENT,
    )
    assert (found.purpose, found.fields, found.stage) == (Purpose.E_INVOICE, FIELDS, Stage.TRANSMITTED)
    assert [step.stage for step in found.steps] == [Stage.REQUESTED, Stage.AUTHORIZED, Stage.TRANSMITTED]
    decided, sent = found.at(Stage.AUTHORIZED), found.at(Stage.TRANSMITTED)
    assert decided is not None
    assert sent is not None
    assert (decided.index, decided.consent_id, decided.by.role) == (authorized.index, given.consent_id, Role.OFFICER)
    assert decided.expires_at is not None
    assert decided.expires_at > decided.recorded_at
    assert (sent.recorded_at, sent.fields) == (world.now, FIELDS)
    assert found.at(Stage.REFUSED) is None
    # As of before, it had come less far.
    assert world.then.disclosures(subject, as_of=after_asking)[0].stage is Stage.REQUESTED
    assert world.then.disclosures(subject, as_of=first.index) == ()
    assert msgspec.to_builtins(found)["steps"][2]["stage"] == "transmitted"


def test_a_refusal_for_want_of_consent_is_accounted_for(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    asked = request(subject, recipient)
    world.given(asked)
    refusal = world.refused(authorize(asked))
    (found,) = world.then.disclosures(subject)
    assert (found.stage, found.steps[-1].reason) == (Stage.REFUSED, ConsentMissing.code)
    assert found.steps[-1].index == refusal.index


def test_a_withdrawal_in_between_voids_and_is_accounted_for(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    given, asked = consent(subject, recipient), request(subject, recipient)
    withdrawn = WithdrawConsent(consent_id=given.consent_id, subject_id=subject, channel=Channel.PHONE)
    world.given(given, asked, authorize(asked), withdrawn)
    world.refused(transmit(asked))
    (found,) = world.then.disclosures(subject)
    assert (found.stage, found.steps[-1].reason) == (Stage.VOIDED, ConsentMissing.code)


@pytest.mark.parametrize("authorized", [True, False])
def test_a_disclosure_that_somebody_stops_says_why(world: World, authorized: bool) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    asked = request(subject, recipient)
    world.given(consent(subject, recipient), asked)
    mistaken = Word("mistaken")
    if authorized:
        stopped = VoidDisclosure(disclosure_id=asked.disclosure_id, subject_id=subject, reason=mistaken)
        world.given(authorize(asked), stopped)
    else:
        world.given(RefuseDisclosure(disclosure_id=asked.disclosure_id, subject_id=subject, reason=mistaken))
    (found,) = world.then.disclosures(subject)
    assert (found.stage, found.steps[-1].reason) == (Stage.VOIDED if authorized else Stage.REFUSED, "mistaken")


def test_a_disclosure_by_law_names_the_statute(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    statute = Statute(act=Reference("KMS-31"), authority=Word("tax-board"), reference=Reference("12-3/456"))
    asked = msgspec.structs.replace(request(subject, recipient), basis=LegalBasis.LEGAL_OBLIGATION, statute=statute)
    world.given(asked, authorize(asked))
    (found,) = world.then.disclosures(subject)
    assert (found.basis, found.statute, found.steps[1].consent_id) == (LegalBasis.LEGAL_OBLIGATION, statute, None)


def test_each_subject_has_an_account_of_their_own(world: World) -> None:
    first, second, recipient = world.subject(), world.subject(), RecipientId(new_id())
    asked = [request(first, recipient), request(second, recipient), request(first, recipient)]
    world.given(*asked)
    assert [found.disclosure_id for found in world.then.disclosures(first)] == [
        asked[0].disclosure_id,
        asked[2].disclosure_id,
    ]
    assert world.then.disclosures(SubjectId(new_id())) == ()
