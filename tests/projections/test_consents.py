"""Consents: what was given, what is withdrawn, and which were live when."""

from __future__ import annotations

import msgspec

from ledger.commands import GiveConsent, WithdrawConsent
from ledger.vocabulary import (
    Channel,
    ConsentId,
    Language,
    Purpose,
    RecipientId,
    Sha256Hex,
    SubjectId,
    Word,
    new_id,
)
from tests.projections.world import World

TEXT = Sha256Hex("ab" * 32)


def consent(subject: SubjectId, recipient: RecipientId | None, purpose: Purpose = Purpose.E_INVOICE) -> GiveConsent:
    return GiveConsent(
        consent_id=ConsentId(new_id()),
        subject_id=subject,
        purpose=purpose,
        recipient_id=recipient,
        fields=(Word("given-name"), Word("email")),
        text_sha256=TEXT,
        language=Language("et"),
        channel=Channel.SOFTWARE,
    )


def withdrawal(given: GiveConsent) -> WithdrawConsent:
    return WithdrawConsent(consent_id=given.consent_id, subject_id=given.subject_id, channel=Channel.LINK)


def test_a_consent_shows_what_was_agreed_to(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    given = consent(subject, recipient)
    receipt = world.given(given)
    (found,) = world.then.consents(subject)
    assert (found.consent_id, found.recipient_id, found.purpose) == (given.consent_id, recipient, Purpose.E_INVOICE)
    assert (found.fields, found.text_sha256, found.language) == (("email", "given-name"), TEXT, "et")
    assert (found.given, found.given_at, found.given_channel) == (receipt.index, world.now, Channel.SOFTWARE)
    assert found.live
    assert (found.withdrawn, found.withdrawn_at, found.withdrawn_channel) == (None, None, None)
    assert msgspec.to_builtins(found)["fields"] == ("email", "given-name")


def test_a_withdrawn_consent_was_live_before(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    before = world.wait(minutes=1)
    given = consent(subject, recipient)
    first = world.given(given)
    live_at = world.now
    second = world.given(withdrawal(given))
    then = world.then
    (found,) = then.consents(subject)
    assert (found.withdrawn, found.withdrawn_at, found.withdrawn_channel) == (second.index, world.now, Channel.LINK)
    assert then.consents(subject, as_of=before) == ()
    assert then.consents(subject, as_of=live_at)[0].live
    assert then.consents(subject, as_of=first.position)[0].live
    assert not then.consents(subject, as_of=second.position)[0].live


def test_live_means_this_recipient_and_this_purpose(world: World) -> None:
    subject, other, recipient = world.subject(), world.subject(), RecipientId(new_id())
    one, company, offers = (
        consent(subject, recipient),
        consent(subject, None),
        consent(subject, None, Purpose.OWN_OFFERS),
    )
    world.given(one, company, offers, consent(other, recipient))
    live_at = world.now

    def live(recipient: RecipientId | None, purpose: Purpose = Purpose.E_INVOICE, **more: object) -> list[str]:
        found = world.then.live_consents(subject, recipient_id=recipient, purpose=purpose, **more)  # type: ignore[arg-type]
        return [consent.consent_id for consent in found]

    assert live(recipient) == [one.consent_id]
    assert live(None) == [company.consent_id]
    assert live(None, Purpose.OWN_OFFERS) == [offers.consent_id]
    assert live(RecipientId(new_id())) == []
    world.given(withdrawal(one))
    assert live(recipient) == []
    assert live(recipient, as_of=live_at) == [one.consent_id]


def test_somebody_unknown_gave_no_consent(world: World) -> None:
    world.subject()
    assert world.then.consents(SubjectId(new_id())) == ()
