"""Consents and disclosures: asked for, authorized, transmitted, voided. Clause 6."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.command import Limits
from ledger.commands import (
    AuthorizeDisclosure,
    FailDisclosure,
    GiveConsent,
    RefuseDisclosure,
    RequestDisclosure,
    TransmitDisclosure,
    VoidDisclosure,
    WithdrawConsent,
)
from ledger.errors import (
    ConsentExists,
    ConsentMissing,
    ConsentNotLive,
    ConsentUnknown,
    DisclosureExists,
    DisclosureState,
    DisclosureUnknown,
    FieldsExcessive,
    FieldsMismatch,
    FieldsNotHeld,
    RecipientMismatch,
    Restricted,
    SubjectUnknown,
    TokenExpired,
    TokenWrong,
)
from ledger.events import Statute
from ledger.vocabulary import Channel, LegalBasis, Purpose, Role
from tests.bench import an_id
from tests.model.base import AIMED, NUMBERS, PEOPLE, PERSON, POLICY, SELDOM, STEPS, Refusal, View
from tests.model.recipients import FIELDS, OPERATOR, PARTNER, RECIPIENT, Change, Receiving, Sent

DISCLOSURES = st.integers(0, 3)
BETWEEN = st.sampled_from(["", "withdraw", "end", "late", "forget", "restrict", "restrict elsewhere"])
WRONG = st.sampled_from(["", "", "", "", "token", "to"])
TOKEN = "only its maker knows it"
TOKEN_SHA256: Any = sha256(TOKEN.encode()).hexdigest()
STATUTE: dict[str, Any] = {"act": "MKS-61", "authority": "tax-board", "reference": "2026/117", "scope": "one-person"}
BY_STATUTE = POLICY.statutes["MKS-61"].fields  # type: ignore[index]
AUTHORIZED = timedelta(seconds=Limits().authorization_s)


class Consent:
    def __init__(self, recipient: str, fields: tuple[str, ...], index: int) -> None:
        self.recipient = recipient
        self.fields = fields
        self.index = index
        self.live = True


class Disclosure:
    def __init__(self, recipient: str, by_law: bool, fields: tuple[str, ...], secret_until: datetime | None) -> None:
        self.recipient = recipient
        self.by_law = by_law
        self.asked = fields
        self.fields = fields
        self.secret_until = secret_until
        self.stages = ["requested"]
        self.expires_at: datetime | None = None
        self.consent: str | None = None

    @property
    def stage(self) -> str:
        return self.stages[-1]


class Disclosing(Receiving):
    def __init__(self) -> None:
        super().__init__()
        self.consents: dict[str, dict[str, Consent]] = {subject: {} for subject in PEOPLE}
        self.disclosures: dict[str, dict[str, Disclosure]] = {subject: {} for subject in PEOPLE}
        # What each person withdrew with nothing live in its place, and what the record merged with theirs did.
        self.noes: dict[str, set[str]] = {subject: set() for subject in PEOPLE}
        self.heard: dict[str, set[str]] = {subject: set() for subject in PEOPLE}

    # --- consents --------------------------------------------------------------------------------------------------

    @rule(subject=PERSON, number=NUMBERS, recipient=RECIPIENT, fields=FIELDS)
    def consent(self, subject: Any, number: int, recipient: Any, fields: Any) -> None:
        consent_id: Any = an_id(f"consent {subject} {number}")
        command = GiveConsent(
            consent_id=consent_id, subject_id=subject, purpose=Purpose.E_INVOICE, recipient_id=recipient,
            fields=fields, text_sha256=TOKEN_SHA256, language="et", channel=Channel.LINK,
        )  # fmt: skip
        if subject not in self.people:
            self.do(command, SubjectUnknown)
        elif consent_id in self.consents[subject]:
            self.do(command, ConsentExists)
        else:
            index = self.do(command)
            self.consents[subject][consent_id] = Consent(recipient, fields, index)
            self.noes[subject].discard(recipient)
            self.heard[subject].discard(recipient)
            for other in self.others(subject):
                self.heard[other].discard(recipient)

    @precondition(lambda self: any(self.consents.values()))
    @rule(subject=PERSON, number=NUMBERS, aimed=SELDOM)
    def withdraw(self, subject: Any, number: int, aimed: bool) -> None:
        live = [
            (who, one)
            for who in PEOPLE
            for one in (0, 1)
            if (given := self.consents[who].get(an_id(f"consent {who} {one}"))) and given.live
        ]
        subject, number = self.aim(aimed, (subject, number), live)
        consent_id: Any = an_id(f"consent {subject} {number}")
        found = self.consents[subject].get(consent_id)
        command = WithdrawConsent(consent_id=consent_id, subject_id=subject, channel=Channel.PHONE)
        if found is None or not found.live:
            self.do(command, ConsentNotLive if found else ConsentUnknown)
            return
        index = self.do(command)
        found.live = False
        if not any(one.live and one.recipient == found.recipient for one in self.consents[subject].values()):
            self.noes[subject].add(found.recipient)
            for other in self.others(subject):
                self.heard[other].add(found.recipient)
        for disclosure in self.disclosures[subject].values():
            under_way = disclosure.stage == "transmitted" and self.now < self.expiry(disclosure)
            if disclosure.consent == consent_id and under_way:
                index += 1
                names = [one.field for one in self.sent[subject] if one.disclosure == self.named(subject, disclosure)]
                self.changes[subject] += [Change(index, name, "recall", disclosure.recipient) for name in names]

    def permissions(self, subject: str, disclosure: Disclosure) -> list[str]:
        """Return the consents that permit a disclosure now, oldest first."""
        if disclosure.recipient in self.heard[subject]:
            return []
        return [
            consent_id
            for consent_id, consent in self.consents[subject].items()
            if consent.live and consent.recipient == disclosure.recipient and {*disclosure.asked} <= {*consent.fields}
        ]

    def permitted(self, subject: str, disclosure: Disclosure, fields: Any) -> tuple[str | None, Refusal]:
        """Return the consent on which fields may go now, or why there is none."""
        found = self.permissions(subject, disclosure)
        if disclosure.consent is not None:
            live = self.consents[subject][disclosure.consent].live
            found = [disclosure.consent] if found and live else []
        for consent_id in found:
            if not self.restricted(subject, fields, self.consents[subject][consent_id].index):
                return consent_id, None
        return None, Restricted if found else ConsentMissing

    def joined(self, one: str, two: str, index: int) -> None:
        super().joined(one, two, index)
        self.heard = {one: set(self.noes[two]), two: set(self.noes[one])}

    def parted(self) -> None:
        super().parted()
        self.heard = {subject: set() for subject in PEOPLE}

    # --- disclosures -----------------------------------------------------------------------------------------------

    def named(self, subject: str, disclosure: Disclosure) -> str:
        return next(name for name, one in self.disclosures[subject].items() if one is disclosure)

    def expiry(self, disclosure: Disclosure) -> datetime:
        assert disclosure.expires_at is not None
        return disclosure.expires_at

    @rule(
        subject=PERSON,
        number=DISCLOSURES,
        recipient=RECIPIENT,
        fields=FIELDS,
        by_law=SELDOM,
        secret=st.booleans(),
        aimed=AIMED,
    )
    def request(
        self, subject: Any, number: int, recipient: Any, fields: Any, by_law: bool, secret: bool, aimed: bool
    ) -> None:
        permitted = [
            (who, one.recipient, one.fields)
            for who, given in self.consents.items()
            for one in given.values()
            if one.live
        ]
        subject, recipient, fields = self.aim(aimed, (subject, recipient, fields), permitted)
        disclosure_id: Any = an_id(f"disclosure {subject} {number}")
        until = self.now + timedelta(days=5) if by_law and secret else None
        command = RequestDisclosure(
            disclosure_id=disclosure_id, subject_id=subject, recipient_id=recipient,
            purpose=Purpose.LEGAL if by_law else Purpose.E_INVOICE,
            basis=LegalBasis.LEGAL_OBLIGATION if by_law else LegalBasis.CONSENT, fields=fields,
            statute=Statute(**STATUTE) if by_law else None, secret_until=until,
        )  # fmt: skip
        if subject not in self.people:
            self.do(command, SubjectUnknown)
        elif disclosure_id in self.disclosures[subject]:
            self.do(command, DisclosureExists)
        else:
            self.do(command)
            self.disclosures[subject][disclosure_id] = Disclosure(recipient, by_law, fields, until)

    def at(self, stage: str) -> Iterator[tuple[Any, int]]:
        """Yield whose disclosure, and which one, is at a stage."""
        for subject in PEOPLE:
            for number in range(4):
                found = self.disclosures[subject].get(an_id(f"disclosure {subject} {number}"))
                if found and found.stage == stage:
                    yield subject, number

    def found(self, subject: str, number: int, *stages: str) -> tuple[Any, Disclosure | None, Refusal]:
        """Return the id, the disclosure if it is at one of these stages, and why not."""
        disclosure_id = an_id(f"disclosure {subject} {number}")
        found = self.disclosures[subject].get(disclosure_id)
        if found is None:
            return disclosure_id, None, DisclosureUnknown
        return (disclosure_id, found, None) if found.stage in stages else (disclosure_id, None, DisclosureState)

    @precondition(lambda self: any(self.at("requested")))
    @rule(subject=PERSON, number=DISCLOSURES, fields=st.none() | FIELDS, elsewhere=SELDOM, aimed=AIMED)
    def authorize(self, subject: Any, number: int, fields: Any, elsewhere: bool, aimed: bool) -> None:
        subject, number = self.aim(aimed, (subject, number), self.at("requested"))
        disclosure_id, found, expected = self.found(subject, number, "requested")
        recipient: Any = found.recipient if found else PARTNER
        if elsewhere:
            recipient = OPERATOR if recipient == PARTNER else PARTNER
        kept, permitted, denied = False, None, None
        if found:
            if not found.by_law:
                permitted, denied = self.permitted(subject, found, fields or found.asked)
            least = set(fields or found.asked) <= set(BY_STATUTE)
            if not set(fields or ()) <= set(found.asked):
                expected = FieldsMismatch
            elif elsewhere:
                expected = RecipientMismatch
            elif denied:
                expected, kept = denied, True
            elif self.not_in_force(recipient):
                expected, kept = self.not_in_force(recipient), True
            elif found.by_law and not least:
                expected, kept = FieldsExcessive, True
        command = AuthorizeDisclosure(
            disclosure_id=disclosure_id, subject_id=subject, token_sha256=TOKEN_SHA256, fields=fields,
            recipient_id=recipient,
        )  # fmt: skip
        self.do(command, expected, kept=kept)
        if found and kept:
            found.stages.append("refused")
        elif found and expected is None:
            found.stages.append("authorized")
            found.fields = fields or found.asked
            found.expires_at = self.now + AUTHORIZED
            found.consent = permitted

    @precondition(lambda self: any(self.at("authorized")))
    @rule(subject=PERSON, number=DISCLOSURES, fields=st.none() | FIELDS, wrong=WRONG, aimed=AIMED)
    def transmit(self, subject: Any, number: int, fields: Any, wrong: str, aimed: bool) -> None:
        subject, number = self.aim(aimed, (subject, number), self.at("authorized"))
        disclosure_id, found, expected = self.found(subject, number, "authorized")
        names: Any = fields or (found.fields if found else ("email",))
        recipient: Any = found.recipient if found else PARTNER
        if wrong == "to":
            recipient = OPERATOR if recipient == PARTNER else PARTNER
        kept = False
        if found:
            held = {name for name, one in self.people[subject].held.items() if self.usable(one)}
            denied = None if found.by_law else self.permitted(subject, found, names)[1]
            if wrong:
                expected = TokenWrong if wrong == "token" else RecipientMismatch
            elif not set(names) <= set(found.fields):
                expected = FieldsMismatch
            elif self.now >= self.expiry(found):
                expected, kept = TokenExpired, True
            elif denied:
                expected, kept = denied, True
            elif self.not_in_force(recipient):
                expected, kept = self.not_in_force(recipient), True
            elif not set(names) <= held:
                expected, kept = FieldsNotHeld, True
        command = TransmitDisclosure(
            disclosure_id=disclosure_id, subject_id=subject, recipient_id=recipient, fields=names,
            token="guessed" if wrong == "token" else TOKEN,
        )  # fmt: skip
        index = self.do(command, expected, kept=kept)
        if found and kept:
            found.stages.append("voided")
        elif found and expected is None:
            found.stages.append("transmitted")
            self.sent[subject] += [Sent(index, name, found.recipient, disclosure_id) for name in names]

    @rule(
        subject=PERSON,
        number=DISCLOSURES,
        recipient=RECIPIENT,
        fields=FIELDS,
        by_law=SELDOM,
        steps=STEPS,
        between=BETWEEN,
    )
    def disclose(
        self, subject: Any, number: int, recipient: Any, fields: Any, by_law: bool, steps: int, between: str
    ) -> None:
        """Go some steps of the usual way, with what is held, on a consent that is given for it."""
        if self.not_in_force(recipient):
            self.register_recipient(recipient, None)
        for field in fields:
            if subject in self.people and field not in self.people[subject].held:
                self.collect(subject, field, "a@example.com", Purpose.CONTRACT, "Mari")
        for step in range(steps):
            if step == steps - 1 and between == "withdraw" and self.consents[subject]:
                self.withdraw(subject, number % 2, False)
            elif step == steps - 1 and between == "end":
                self.end_recipient(recipient)
            elif step == steps - 1 and between == "late":
                self.bench.clock.forward(minutes=20)
            elif step == steps - 1 and between == "forget":
                self.forget(subject)
            elif step == steps - 1 and between.startswith("restrict"):
                self.restrict(
                    (self.others(subject) or [subject])[0] if "elsewhere" in between else subject, number % 2, ()
                )
            found = self.disclosures[subject].get(an_id(f"disclosure {subject} {number}"))
            if found is None:
                if not by_law:
                    self.consent(subject, number % 2, recipient, fields)
                self.request(subject, number, recipient, fields, by_law, False, False)
            elif found.stage == "requested":
                self.authorize(subject, number, None, False, False)
            elif found.stage == "authorized":
                self.transmit(subject, number, None, "", False)

    @precondition(lambda self: any(self.disclosures.values()))
    @rule(subject=PERSON, number=DISCLOSURES, step=st.sampled_from(["refuse", "void", "fail"]))
    def stop(self, subject: Any, number: int, step: str) -> None:
        command, after, stages = {
            "refuse": (RefuseDisclosure, "refused", ("requested",)),
            "void": (VoidDisclosure, "voided", ("authorized",)),
            "fail": (FailDisclosure, "failed", ("authorized", "transmitted")),
        }[step]
        disclosure_id, found, expected = self.found(subject, number, *stages)
        self.do(command(disclosure_id=disclosure_id, subject_id=subject, reason="no"), expected)  # type: ignore[call-arg]
        if found:
            found.stages.append(after)
            if after == "failed":
                self.failed.add(disclosure_id)

    def due(self, now: datetime) -> int:
        over = [
            one
            for found in self.disclosures.values()
            for one in found.values()
            if one.stage == "authorized" and self.expiry(one) <= now
        ]
        for one in over:
            one.stages.append("voided")
        return super().due(now) + len(over)

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        return super().view() | {
            "consents": {
                subject: {name: one.live for name, one in self.consents[subject].items()} for subject in PEOPLE
            },
            "permits": {
                subject: {
                    (recipient, name)
                    for name, one in self.consents[subject].items()
                    for recipient in [one.recipient]
                    if one.live and recipient not in self.heard[subject]
                }
                for subject in PEOPLE
            },
            "disclosures": {
                subject: {name: tuple(one.stages) for name, one in self.disclosures[subject].items()}
                for subject in PEOPLE
            },
        }

    def expected(self, view: View) -> View:
        """What is secret now is in nobody's account of any past but the officer's."""
        secret = {
            name
            for found in self.disclosures.values()
            for name, one in found.items()
            if one.secret_until is not None and self.now < one.secret_until
        }
        shown = {
            subject: {name for name in found if name not in secret} for subject, found in view["disclosures"].items()
        }
        return super().expected(view) | {"disclosures shown": shown}

    def ask(self, as_of: int | None, then: datetime) -> View:
        asked = self.asked
        return super().ask(as_of, then) | {
            "consents": {
                subject: {one.consent_id: one.live for one in asked.consents(subject, as_of=as_of)}
                for subject in PEOPLE
            },
            "permits": {
                subject: {
                    (recipient, one.consent_id)
                    for recipient in (PARTNER, OPERATOR)
                    for one in asked.live_consents(
                        subject, recipient_id=recipient, purpose=Purpose.E_INVOICE, as_of=as_of
                    )
                }
                for subject in PEOPLE
            },
            "disclosures": {
                subject: {
                    one.disclosure_id: tuple(step.stage for step in one.steps)
                    for one in asked.disclosures(subject, viewer=Role.OFFICER, as_of=as_of)
                }
                for subject in PEOPLE
            },
            "disclosures shown": {
                subject: {one.disclosure_id for one in asked.disclosures(subject, as_of=as_of)} for subject in PEOPLE
            },
        }
