"""Disclosure to third parties: only by law or by permission, decided in one order with withdrawals. Clause 6.

An authorization is a token: whoever asks for it makes 32 random bytes, gives their SHA-256 here, and shows the token
itself when it transmits. It is for one use, one recipient and named fields, lives minutes, and a withdrawal in between
voids it. GDPR Art. 6(1)(a), 6(1)(c), 7(3).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command, selector
from ledger.errors import (
    ApproverMissing,
    ConsentMissing,
    DisclosureExists,
    DisclosureState,
    DisclosureUnknown,
    FieldNotDefined,
    FieldsExcessive,
    FieldsMismatch,
    FieldsNotHeld,
    Invalid,
    NothingDisclosed,
    RecipientEndedAlready,
    RecipientExpired,
    RecipientMismatch,
    RecipientUnknown,
    Refused,
    Restricted,
    ScopeMissing,
    StatuteUnknown,
    SubjectUnknown,
    TokenExpired,
    TokenWrong,
)
from ledger.events import (
    DataSentToProcessor,
    DisclosureAuthorized,
    DisclosureFailed,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    RecallOwed,
    RecipientNotified,
    Statute,
)
from ledger.policy import Policy
from ledger.rule import rule
from ledger.state.consent import consents, permissions, still_permits
from ledger.state.disclosure import Disclosure, Stage, disclosure, steps
from ledger.state.personal_data import personal_data, usable
from ledger.state.policy import check_fields, policies, policy
from ledger.state.recipient import recipient_in_force, registrations
from ledger.state.restriction import restricted, restrictions
from ledger.state.source import revocations, revoked
from ledger.state.subject import registered, registration
from ledger.vocabulary import (
    Channel,
    ConsentId,
    DisclosureId,
    LegalBasis,
    NoticeCause,
    Purpose,
    RecipientId,
    Role,
    Sha256Hex,
    SubjectId,
    Tag,
    Word,
    consent_tag,
    disclosure_tag,
    recipient_tag,
    subject_tag,
)

LAW_OR_PERMISSION = rule(
    "disclosure-needs-law-or-permission",
    clause="6",
    promise="Nothing is asked for on another basis than law, with its statute, or consent, and only named fields",
    source="GDPR Art. 6(1)(a), 6(1)(c)",
    refusals=(SubjectUnknown, DisclosureExists, FieldNotDefined, Invalid),
)
LIVE_CONSENT = rule(
    "disclosure-needs-live-consent",
    clause="6",
    promise="By permission needs a consent that is live for exactly this recipient, purpose and these fields",
    source="GDPR Art. 6(1)(a), 7",
    refusals=(ConsentMissing,),
)
BY_LAW = rule(
    "disclosure-by-law-needs-the-officer",
    clause="6",
    promise="By law needs the officer's approval; no consent is needed, and no withdrawal blocks it",
    source="GDPR Art. 6(1)(c)",
    refusals=(ApproverMissing,),
)
STEPS_IN_ORDER = rule(
    "disclosure-steps-in-order",
    clause="6",
    promise="Each step of a disclosure needs the one before it, of the same disclosure and person",
    source="GDPR Art. 5(2)",
    refusals=(DisclosureUnknown, DisclosureState),
)
TOKEN_ONCE = rule(
    "authorization-is-used-once",
    clause="6",
    promise="An authorization is a token for one use, within minutes, by whoever holds it",
    source="GDPR Art. 5(1)(f)",
    refusals=(TokenWrong, TokenExpired, DisclosureState),
)
EXACTLY_AUTHORIZED = rule(
    "transmission-is-what-was-authorized",
    clause="6",
    promise="What is transmitted are the fields that were authorized, to the recipient they were authorized for",
    source="GDPR Art. 5(1)(b), 5(1)(c)",
    refusals=(RecipientMismatch, FieldsMismatch),
)
WITHDRAWAL_VOIDS = rule(
    "withdrawal-voids-authorization",
    clause="6",
    promise="A withdrawal between authorization and transmission voids the token, also if consent is given anew",
    source="GDPR Art. 7(3)",
    refusals=(ConsentMissing,),
)
LEAST_BY_LAW = rule(
    "least-fields-by-law",
    clause="6",
    promise="By law needs a statute that the policy names, its authority, a scope, and no field beyond the statute's",
    source="Principles, clause 6; GDPR Art. 5(1)(c), 6(3)",
    refusals=(StatuteUnknown, ScopeMissing, FieldsExcessive),
)
HELD = rule(
    "only-what-is-held-is-disclosed",
    clause="6",
    promise="A field that was never collected, is quarantined, or was erased or suspended since, is not sent",
    source="GDPR Art. 5(1)(d), 17",
    refusals=(FieldsNotHeld,),
)
RECIPIENT_KNOWN = rule(
    "disclosure-to-recipients-in-force",
    clause="12",
    promise="Nothing is disclosed to a recipient that is not registered, or whose contract expired or was ended",
    source="Principles, clause 12",
    refusals=(RecipientUnknown, RecipientExpired, RecipientEndedAlready),
)
NOT_UNDER_RESTRICTION = rule(
    "restricted-data-is-not-disclosed",
    clause="8-9",
    promise="By a permission from before a restriction nothing is disclosed; law and claims it does not bind",
    source="GDPR Art. 18(2)",
    refusals=(Restricted,),
)
NOTICES = rule(
    "recipients-are-notified",
    clause="6",
    promise="A recipient is notified of fields that it was given, and of nothing else",
    source="GDPR Art. 19",
    refusals=(NothingDisclosed,),
)


@command
class RequestDisclosure(Command, frozen=True):
    """Record that somebody asks for named fields of a subject, for which purpose and on which basis."""

    NAME: ClassVar[str] = "request-disclosure"
    RECORDS = (DisclosureRequested,)
    RULES = (LAW_OR_PERMISSION,)
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    basis: LegalBasis
    fields: tuple[Word, ...]
    statute: Statute | None = None
    secret_until: datetime | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *steps(self.disclosure_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if past.last(DisclosureRequested) is not None:
            raise DisclosureExists(disclosure=self.disclosure_id)
        if not self.fields:
            raise Invalid("fields", "names at least one field")
        check_fields(past, self.fields)
        # Clause 6: "unless required by law, or permission is granted". There is no third way.
        if self.basis not in (LegalBasis.CONSENT, LegalBasis.LEGAL_OBLIGATION):
            raise Invalid("basis", "is consent or legal-obligation for a disclosure to a third party")
        if (self.basis is LegalBasis.LEGAL_OBLIGATION) != (self.statute is not None):
            raise Invalid("statute", "is needed for a disclosure required by law, and only there")
        if self.secret_until is not None:
            if self.statute is None:
                raise Invalid("secret_until", "is for a disclosure required by law only")
            if self.secret_until <= context.now:
                raise Invalid("secret_until", "is past")
        event = DisclosureRequested(
            disclosure_id=self.disclosure_id,
            subject_id=self.subject_id,
            recipient_id=self.recipient_id,
            purpose=self.purpose,
            basis=self.basis,
            fields=tuple(sorted(set(self.fields))),
            statute=self.statute,
            secret_until=self.secret_until,
        )
        return [Fact(event, _tags(self.disclosure_id, self.subject_id, self.recipient_id))]


@command
class AuthorizeDisclosure(Command, frozen=True):
    """Decide a request. The refusal for want of a live consent is recorded; one by law waits until the officer asks.

    `fields` authorizes fewer than were asked for. `recipient_id` is needed once a policy is adopted: whoever authorizes
    says to whom, and that recipient must be in force.
    """

    NAME: ClassVar[str] = "authorize-disclosure"
    RECORDS = (DisclosureAuthorized,)
    KEEPS = (DisclosureRefused,)
    RULES = (
        LIVE_CONSENT,
        BY_LAW,
        LEAST_BY_LAW,
        NOT_UNDER_RESTRICTION,
        RECIPIENT_KNOWN,
        EXACTLY_AUTHORIZED,
        STEPS_IN_ORDER,
    )
    disclosure_id: DisclosureId
    subject_id: SubjectId
    token_sha256: Sha256Hex
    fields: tuple[Word, ...] | None = None
    recipient_id: RecipientId | None = None

    def boundary(self) -> Boundary:
        return (
            *steps(self.disclosure_id),
            *consents(self.subject_id),
            *registrations(self.recipient_id),
            *personal_data(self.subject_id),
            *restrictions(self.subject_id),
            *revocations(),
            *policies(),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = disclosure(past, self.disclosure_id, self.subject_id)
        found.needs(Stage.REQUESTED)
        narrowed = None if self.fields is None else tuple(sorted(set(self.fields)))
        if narrowed is not None and (not narrowed or not set(narrowed) <= set(found.request.fields)):
            extra = ", ".join(sorted(set(narrowed) - set(found.request.fields)))
            raise FieldsMismatch(disclosure=self.disclosure_id, fields=extra or "none at all")
        rules = policy(past)
        if rules is not None:
            if self.recipient_id is None:
                raise Invalid("recipient_id", "is needed once a policy is adopted: say who it is authorized for")
            if self.recipient_id != found.request.recipient_id:
                raise RecipientMismatch(disclosure=self.disclosure_id)
        consent_id = _basis_now(found, past, context, narrowed or found.request.fields)
        if rules is not None:
            _recipient_now(found, past, context)
            _within_law(found, narrowed or found.request.fields, rules)
        event = DisclosureAuthorized(
            disclosure_id=self.disclosure_id,
            subject_id=self.subject_id,
            token_sha256=self.token_sha256,
            expires_at=context.now + timedelta(seconds=context.limits.authorization_s),
            consent_id=consent_id,
            fields=narrowed,
            recipient_id=self.recipient_id,
        )
        return [Fact(event, _tags(self.disclosure_id, self.subject_id, found.request.recipient_id, consent_id))]


@command
class RefuseDisclosure(Command, frozen=True):
    """Say no to a request, whatever the basis would allow."""

    NAME: ClassVar[str] = "refuse-disclosure"
    RECORDS = (DisclosureRefused,)
    RULES = (STEPS_IN_ORDER,)
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word

    def boundary(self) -> Boundary:
        return steps(self.disclosure_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = disclosure(past, self.disclosure_id, self.subject_id)
        found.needs(Stage.REQUESTED)
        return [_refused(found, self.reason)]


@command
class TransmitDisclosure(Command, frozen=True):
    """Record that the fields go to the recipient now. The token is used up; without it nothing may leave."""

    NAME: ClassVar[str] = "transmit-disclosure"
    RECORDS = (DisclosureTransmitted,)
    KEEPS = (DisclosureVoided,)
    RULES = (
        TOKEN_ONCE,
        EXACTLY_AUTHORIZED,
        WITHDRAWAL_VOIDS,
        NOT_UNDER_RESTRICTION,
        RECIPIENT_KNOWN,
        HELD,
        STEPS_IN_ORDER,
    )
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    fields: tuple[Word, ...]
    token: str

    def boundary(self) -> Boundary:
        return (
            *steps(self.disclosure_id),
            *consents(self.subject_id),
            *registrations(self.recipient_id),
            *personal_data(self.subject_id),
            *restrictions(self.subject_id),
            *revocations(),
            *policies(),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = disclosure(past, self.disclosure_id, self.subject_id)
        found.needs(Stage.AUTHORIZED)
        authorization = found.authorization
        assert authorization is not None
        if not hmac.compare_digest(authorization.token_sha256, hashlib.sha256(self.token.encode()).hexdigest()):
            raise TokenWrong(disclosure=self.disclosure_id)
        if self.recipient_id != found.request.recipient_id:
            raise RecipientMismatch(disclosure=self.disclosure_id)
        extra = set(self.fields) - set(found.fields)
        if extra or not self.fields:
            raise FieldsMismatch(disclosure=self.disclosure_id, fields=", ".join(sorted(extra)) or "none at all")
        if context.now >= authorization.expires_at:
            refusal = TokenExpired(disclosure=self.disclosure_id, expires_at=_moment(authorization.expires_at))
            raise KeptRefusal(refusal, _stopped(found, past, refusal))
        # A withdrawal since the authorization stands before this in the log: it voids the token.
        consent_id = _basis_now(found, past, context, self.fields)
        if policy(past) is not None:
            _recipient_now(found, past, context)
            _held_now(found, past, self.fields)
        event = DisclosureTransmitted(
            disclosure_id=self.disclosure_id,
            subject_id=self.subject_id,
            recipient_id=self.recipient_id,
            fields=tuple(sorted(set(self.fields))),
        )
        return [Fact(event, _tags(self.disclosure_id, self.subject_id, self.recipient_id, consent_id))]


@command
class VoidDisclosure(Command, frozen=True):
    """Take back an authorization that was not used."""

    NAME: ClassVar[str] = "void-disclosure"
    RECORDS = (DisclosureVoided,)
    RULES = (STEPS_IN_ORDER,)
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word

    def boundary(self) -> Boundary:
        return steps(self.disclosure_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = disclosure(past, self.disclosure_id, self.subject_id)
        found.needs(Stage.AUTHORIZED)
        return [_voided(found, self.reason)]


@command
class FailDisclosure(Command, frozen=True):
    """Record that an authorized disclosure could not be sent, or that what was sent never arrived."""

    NAME: ClassVar[str] = "fail-disclosure"
    RECORDS = (DisclosureFailed,)
    RULES = (STEPS_IN_ORDER,)
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word

    def boundary(self) -> Boundary:
        return steps(self.disclosure_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = disclosure(past, self.disclosure_id, self.subject_id)
        found.needs(Stage.AUTHORIZED, Stage.TRANSMITTED)
        event = DisclosureFailed(
            disclosure_id=self.disclosure_id,
            subject_id=self.subject_id,
            recipient_id=found.request.recipient_id,
            reason=self.reason,
        )
        consent_id = found.authorization.consent_id if found.authorization is not None else None
        return [Fact(event, _tags(self.disclosure_id, self.subject_id, found.request.recipient_id, consent_id))]


@command
class NotifyRecipient(Command, frozen=True):
    """Record that a recipient was told of fields that were corrected or erased, or are called back. GDPR Art. 19."""

    NAME: ClassVar[str] = "notify-recipient"
    RECORDS = (RecipientNotified,)
    RULES = (NOTICES,)
    subject_id: SubjectId
    recipient_id: RecipientId
    cause: NoticeCause
    fields: tuple[Word, ...]
    channel: Channel

    def boundary(self) -> Boundary:
        both = [subject_tag(self.subject_id), recipient_tag(self.recipient_id)]
        return (selector(DisclosureTransmitted, DataSentToProcessor, RecallOwed, tags=both),)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        kinds = (RecallOwed,) if self.cause is NoticeCause.RECALL else (DisclosureTransmitted, DataSentToProcessor)
        given = {name for event in past.of(*kinds) for name in event.fields}
        extra = set(self.fields) - given
        if extra or not self.fields:
            raise NothingDisclosed(
                subject=self.subject_id, recipient=self.recipient_id, fields=", ".join(sorted(extra)) or "none at all"
            )
        event = RecipientNotified(
            subject_id=self.subject_id,
            recipient_id=self.recipient_id,
            cause=self.cause,
            fields=tuple(sorted(set(self.fields))),
            channel=self.channel,
        )
        return [Fact(event, [subject_tag(self.subject_id), recipient_tag(self.recipient_id)])]


def _basis_now(found: Disclosure, past: Past, context: Context, fields: Sequence[Word]) -> ConsentId | None:
    """Return the consent that permits the disclosure of `fields` now, None when law requires it. Raises KeptRefusal."""
    request, authorization = found.request, found.authorization
    if request.basis is LegalBasis.LEGAL_OBLIGATION:
        # By law: a consent can neither veto nor permit it; the officer answers for it (clause 6).
        if found.stage is Stage.REQUESTED and context.actor.role is not Role.OFFICER:
            raise ApproverMissing(disclosure=request.disclosure_id)
        return None
    permitting = permissions(
        past,
        request.subject_id,
        recipient_id=request.recipient_id,
        purpose=request.purpose,
        fields=request.fields,
    )
    refusal: Refused
    # A withdrawal voids the authorization that rested on it, also when consent was given anew since (clause 6).
    if authorization is not None and not still_permits(past, authorization.consent_id, request.subject_id):
        permitting = []
    if not permitting:
        refusal = ConsentMissing(
            subject=request.subject_id,
            recipient=request.recipient_id,
            purpose=request.purpose,
            fields=", ".join(request.fields),
        )
        raise KeptRefusal(refusal, _stopped(found, past, refusal))
    if authorization is not None:
        permitting = [consent for consent in permitting if consent.consent_id == authorization.consent_id]
    for consent in permitting:
        bound = restricted(past, request.subject_id, fields, purpose=request.purpose, consents=[consent])
        if bound is None:
            return consent.consent_id
    refusal = Restricted(subject=request.subject_id)
    raise KeptRefusal(refusal, _stopped(found, past, refusal))


def _recipient_now(found: Disclosure, past: Past, context: Context) -> None:
    """Raise KeptRefusal unless the recipient is in force (clause 12)."""
    try:
        recipient_in_force(past, found.request.recipient_id, context.now)
    except Refused as refusal:
        raise KeptRefusal(refusal, _stopped(found, past, refusal)) from None


def _held_now(found: Disclosure, past: Past, fields: Sequence[Word]) -> None:
    """Raise KeptRefusal unless each field is held and usable: what was erased or suspended since cannot be sent."""
    missing = set(fields) - usable(past, revoked(past)).keys()
    if missing:
        refusal = FieldsNotHeld(subject=found.request.subject_id, fields=", ".join(sorted(missing)))
        raise KeptRefusal(refusal, _stopped(found, past, refusal))


def _within_law(found: Disclosure, fields: Sequence[Word], rules: Policy) -> None:
    """Raise KeptRefusal unless the statute is one of the policy, and asks for no more than it may."""
    statute, disclosure_id = found.request.statute, found.request.disclosure_id
    if statute is None:
        return
    allowed = rules.statutes.get(statute.act)
    refusal: Refused | None = None
    if allowed is None or statute.authority not in allowed.authorities:
        refusal = StatuteUnknown(act=statute.act, authority=statute.authority)
    elif statute.scope is None:
        refusal = ScopeMissing(disclosure=disclosure_id)
    elif extra := set(fields) - set(allowed.fields):
        refusal = FieldsExcessive(disclosure=disclosure_id, fields=", ".join(sorted(extra)))
    if refusal is not None:
        raise KeptRefusal(refusal, _refused(found, refusal.code, looked_at_recipient=True))


def _stopped(found: Disclosure, past: Past, refusal: Refused) -> Fact:
    kept = _refused if found.stage is Stage.REQUESTED else _voided
    return kept(found, refusal.code, looked_at_recipient=policy(past) is not None)


def _refused(found: Disclosure, reason: str, *, looked_at_recipient: bool = False) -> Fact:
    request = found.request
    event = DisclosureRefused(
        disclosure_id=request.disclosure_id,
        subject_id=request.subject_id,
        reason=Word(reason),
        recipient_id=request.recipient_id if looked_at_recipient else None,
    )
    return Fact(event, _tags(request.disclosure_id, request.subject_id, request.recipient_id))


def _voided(found: Disclosure, reason: str, *, looked_at_recipient: bool = False) -> Fact:
    request = found.request
    event = DisclosureVoided(
        disclosure_id=request.disclosure_id,
        subject_id=request.subject_id,
        reason=Word(reason),
        recipient_id=request.recipient_id if looked_at_recipient else None,
    )
    return Fact(event, _tags(request.disclosure_id, request.subject_id, request.recipient_id))


def _tags(
    disclosure_id: DisclosureId, subject_id: SubjectId, recipient_id: RecipientId, consent_id: ConsentId | None = None
) -> list[Tag]:
    tags = [disclosure_tag(disclosure_id), subject_tag(subject_id), recipient_tag(recipient_id)]
    return tags if consent_id is None else [*tags, consent_tag(consent_id)]


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
