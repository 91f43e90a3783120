"""Data from elsewhere: guaranteed, imported or quarantined, revoked; people told. Clause 10; GDPR Art. 14."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import (
    ImportBatch,
    ImportRecord,
    InformSubject,
    RecordGuarantee,
    RegisterSource,
    RevokeGuarantee,
)
from ledger.errors import (
    AddressSuppressed,
    BatchExists,
    BatchUnknown,
    FieldNotAllowed,
    GuaranteeExists,
    GuaranteeUnknown,
    ObjectionStands,
    SourceExists,
    SubjectUnknown,
)
from ledger.vocabulary import Channel, LegalBasis, Purpose, RetentionClass, SourceKind, SubjectRole
from tests.bench import an_id
from tests.model.base import AIMED, NUMBERS, PERSON, SELDOM, View
from tests.model.merges import Merging
from tests.model.people import EMAIL, Held, Reason

ISSUER, REGISTER = an_id("issuer"), an_id("public register")
DIGEST: Any = "0" * 64
MARKETING = RetentionClass.MARKETING
BATCH = st.integers(0, 2)


class Guarantee:
    def __init__(self, until: datetime) -> None:
        self.until = until
        self.revoked = False


class Batch:
    def __init__(self, guarantee: str | None, lack: str | None) -> None:
        self.guarantee = guarantee
        self.lack = lack  # what its guarantee lacked, so that it is quarantined
        self.records = 0
        self.suppressed = 0


class Importing(Merging):
    def __init__(self) -> None:
        super().__init__()
        self.guarantees: dict[str, Guarantee] = {}
        self.batches: dict[str, Batch] = {}
        self.untold: dict[str, datetime] = {}  # who is to be told of a source, since when
        self.objectors: dict[str, set[str]] = {}  # address: who objected with it

    def begin(self, everybody: bool) -> None:
        super().begin(everybody)
        self.do(RegisterSource(source_id=ISSUER, kind=SourceKind.ISSUER, name="Lists OÜ"))
        self.do(RegisterSource(source_id=ISSUER, kind=SourceKind.ISSUER, name="Lists OÜ"), SourceExists)
        self.do(
            RegisterSource(source_id=REGISTER, kind=SourceKind.PUBLIC_REGISTER, name="Register", locator="register.ee")
        )

    @rule(number=NUMBERS)
    def guarantee(self, number: int) -> None:
        guarantee_id: Any = an_id(f"guarantee {number}")
        until = self.now + timedelta(days=15)
        self.do(
            RecordGuarantee(
                guarantee_id=guarantee_id, source_id=ISSUER, document_sha256=DIGEST, categories=("contact",),
                purpose=Purpose.OWN_OFFERS, valid_from=self.now, valid_to=until,
            ),
            GuaranteeExists if guarantee_id in self.guarantees else None,
        )  # fmt: skip
        self.guarantees.setdefault(guarantee_id, Guarantee(until))

    @precondition(lambda self: self.guarantees)
    @rule(number=NUMBERS)
    def revoke(self, number: int) -> None:
        guarantee_id: Any = an_id(f"guarantee {number}")
        found = self.guarantees.get(guarantee_id)
        stands = found is not None and not found.revoked
        self.do(
            RevokeGuarantee(guarantee_id=guarantee_id, source_id=ISSUER, reason="complaint"),
            None if stands else GuaranteeUnknown,
        )
        if found:
            found.revoked = True

    @rule(number=BATCH, guarantee=st.none() | NUMBERS | NUMBERS, public=SELDOM, narrow=SELDOM)
    def import_batch(self, number: int, guarantee: int | None, public: bool, narrow: bool) -> None:
        batch_id: Any = an_id(f"batch {number}")
        guarantee_id: Any = None if guarantee is None else an_id(f"guarantee {guarantee}")
        categories: Any = ("contact",) if public or not narrow else ("contact", "identification")
        origin: dict[str, Any] = {"locator": "register.ee/1", "retrieved_at": self.now} if public else {}
        command = ImportBatch(
            batch_id=batch_id, source_id=REGISTER if public else ISSUER, purpose=Purpose.OWN_OFFERS,
            basis=LegalBasis.LEGITIMATE_INTEREST, categories=categories,
            guarantee_id=None if public else guarantee_id, **origin,
        )  # fmt: skip
        self.do(command, BatchExists if batch_id in self.batches else None)
        if batch_id in self.batches:
            return
        found, lack = self.guarantees.get(guarantee_id), None
        if public:
            guarantee_id = None
        elif found is None:
            lack = "guarantee-missing"
        elif found.revoked:
            lack = "guarantee-revoked"
        elif self.now >= found.until:
            lack = "guarantee-expired"
        elif narrow:
            lack = "guarantee-too-narrow"
        self.batches[batch_id] = Batch(guarantee_id, lack)

    @precondition(lambda self: self.batches)
    @rule(number=BATCH, subject=PERSON, email=EMAIL, aimed=AIMED)
    def import_record(self, number: int, subject: Any, email: str, aimed: bool) -> None:
        number = self.aim(aimed, number, [one for one in range(3) if an_id(f"batch {one}") in self.batches])
        batch_id: Any = an_id(f"batch {number}")
        known, batch = self.people.get(subject), self.batches.get(batch_id)
        command = ImportRecord(batch_id=batch_id, subject_id=subject, values={"email": email})
        if known is None or batch is None:
            self.do(command, BatchUnknown if known else SubjectUnknown)
        elif known.role is SubjectRole.PROCESSOR:
            self.do(command, FieldNotAllowed, kept=True)
        elif self.objects(subject):
            self.do(command, ObjectionStands, kept=True)
            batch.suppressed += 1
        elif self.objectors.get(email):
            self.do(command, AddressSuppressed, kept=True)
            batch.suppressed += 1
        else:
            index = self.do(command)
            batch.records += 1
            guarantee = self.guarantees.get(batch.guarantee or "")
            late = guarantee is not None and self.now >= guarantee.until
            quarantined = batch.lack is not None or late or self.is_revoked(batch.guarantee)
            known.set("email", Held(index, MARKETING, batch.guarantee, quarantined))
            known.reasons.append(Reason("email", MARKETING, Purpose.OWN_OFFERS, LegalBasis.LEGITIMATE_INTEREST))
            self.values[index] = email
            self.untold.setdefault(subject, self.now)

    @rule(number=BATCH, guarantee=NUMBERS, subject=PERSON, email=EMAIL)
    def take_in(self, number: int, guarantee: int, subject: Any, email: str) -> None:
        """Go the usual way: a guarantee, a batch under it, a record of it."""
        if an_id(f"guarantee {guarantee}") not in self.guarantees:
            self.guarantee(guarantee)
        if an_id(f"batch {number}") not in self.batches:
            self.import_batch(number, guarantee, False, False)
        self.import_record(number, subject, email, False)

    def objects(self, subject: str) -> bool:
        """Whether a person wants no offers at all."""
        return any(subject in who for who in self.objectors.values())

    def is_revoked(self, guarantee: str | None) -> bool:
        return guarantee in self.guarantees and self.guarantees[guarantee].revoked

    def usable(self, held: Held) -> bool:
        return super().usable(held) and not held.quarantined and not self.is_revoked(held.guarantee)

    @rule(subject=PERSON)
    def inform(self, subject: Any) -> None:
        self.do(
            InformSubject(subject_id=subject, channel=Channel.EMAIL, text_sha256=DIGEST, language="et"),
            None if subject in self.people else SubjectUnknown,
        )
        self.untold.pop(subject, None)

    def owed(self, now: datetime) -> list[str]:
        soon = sum(not one.revoked and one.until - timedelta(days=30) <= now for one in self.guarantees.values())
        return super().owed(now) + ["art-14-notice"] * len(self.untold) + ["guarantee-expiry"] * soon

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        return super().view() | {
            "guarantees": {name: one.until for name, one in self.guarantees.items() if not one.revoked},
            "batches": {
                name: (one.lack or "guarantee-revoked", one.records, one.suppressed)
                for name, one in self.batches.items()
                if one.lack or self.is_revoked(one.guarantee)
            },
            "untold": dict(self.untold),
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        return super().ask(as_of, then) | {
            "guarantees": {one.guarantee_id: one.valid_to for one in self.asked.guarantees(as_of=as_of)},
            "batches": {
                one.batch_id: (one.reason, one.records, one.suppressed)
                for one in self.asked.quarantined_batches(as_of=as_of)
            },
            "untold": {one.subject_id: one.since for one in self.asked.notices_owed(as_of=as_of)},
        }
