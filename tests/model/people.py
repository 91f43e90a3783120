"""People and what is held of them: registered, collected, corrected, contested, restricted. Clauses 0, 2, 8–9."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import (
    AttachStatement,
    CollectData,
    CorrectData,
    LiftRestriction,
    NotifyAddress,
    ProposeCorrection,
    RegisterSubject,
    RejectCorrection,
    RestrictProcessing,
)
from ledger.errors import (
    AccuracyContested,
    FieldNotAllowed,
    FieldUnknown,
    NoticeNotOwed,
    ProposalExists,
    ProposalUnknown,
    RestrictionExists,
    RestrictionUnknown,
    StaleVersion,
    SubjectExists,
    SubjectUnknown,
)
from ledger.vocabulary import (
    Address,
    Channel,
    IdentityCheck,
    LegalBasis,
    Purpose,
    RestrictionGround,
    RetentionClass,
    SourceKind,
    SubjectRole,
)
from projections.values import ValueState
from tests.bench import an_id
from tests.model.base import AIMED, GONE, NUMBERS, PEOPLE, PERSON, SELDOM, Model, Refusal, View

CLIENT = an_id("client")
# Few addresses, so that people share them.
EMAIL = st.sampled_from(["a@example.com", "b@example.com"])
FIELD = st.sampled_from(["given-name", "email"])
CONTRACT = RetentionClass.CONTRACT


class Held(NamedTuple):
    """A field that is held: its last version, how it is kept, and through what it came from elsewhere."""

    version: int
    kept: RetentionClass
    guarantee: str | None = None
    quarantined: bool = False


class Reason(NamedTuple):
    """Why a field was collected."""

    field: str
    kept: RetentionClass
    purpose: Purpose
    basis: LegalBasis


class Restriction(NamedTuple):
    """A restriction that is in force: of these fields, or of all when it names none, since an entry."""

    fields: tuple[str, ...]
    since: int


class Person:
    """What the model knows of one person. Capabilities read each other's part."""

    def __init__(self, role: SubjectRole) -> None:
        self.role = role
        self.versions: dict[str, int] = {}  # field: its last version, erased or not
        self.classes: dict[str, RetentionClass] = {}  # field: the class of that version
        self.held: dict[str, Held] = {}
        self.reasons: list[Reason] = []
        self.emails: list[int] = []  # every entry that set an address
        self.restrictions: dict[str, Restriction | None] = {}  # None once lifted
        self.proposals: dict[str, str] = {}  # open ones: their field
        self.sealed: dict[int, RetentionClass] = {}  # entries with sealed values
        self.kept: set[RetentionClass] = set()  # classes of which something was recorded and not erased
        self.erased = False  # something was
        self.proofs: list[tuple[int, str]] = []  # what a request may rest on

    def seal(self, index: int, kept: RetentionClass) -> None:
        self.sealed[index] = kept
        self.kept.add(kept)

    def set(self, field: str, held: Held) -> None:
        self.versions[field], self.classes[field] = held.version, held.kept
        self.held[field] = held
        self.seal(held.version, held.kept)
        if field == "email":
            self.emails.append(held.version)


class People(Model):
    def __init__(self) -> None:
        super().__init__()
        self.people: dict[str, Person] = {}
        self.values: dict[int, Any] = {}  # what each entry set, or GONE
        self.addresses: dict[str, list[tuple[int, Address]]] = {}  # who is to be told of a correction, at which address

    def begin(self, everybody: bool) -> None:
        super().begin(everybody)
        for subject in PEOPLE[: 2 if everybody else 1]:
            self.register(subject, False)
            self.collect(subject, "email", "a@example.com", Purpose.CONTRACT, "")

    @rule(subject=PERSON, clients=SELDOM)
    def register(self, subject: Any, clients: bool) -> None:
        role = SubjectRole.PROCESSOR if clients else SubjectRole.CONTROLLER
        command = RegisterSubject(subject_id=subject, role=role, client_id=CLIENT if clients else None)
        self.do(command, SubjectExists if subject in self.people else None)
        self.people.setdefault(subject, Person(role))

    def erase(self, known: Person, classes: Iterable[RetentionClass]) -> None:
        """Let everything that is kept in these classes be gone."""
        classes = set(classes)
        for index, name in list(known.sealed.items()):
            if name in classes:
                self.values[index] = GONE
                del known.sealed[index]
        known.held = {field: held for field, held in known.held.items() if held.kept not in classes}
        known.reasons = [reason for reason in known.reasons if reason.kept not in classes]
        known.kept -= classes
        known.erased = True

    # --- collected and corrected -----------------------------------------------------------------------------------

    @rule(
        subject=PERSON,
        field=FIELD,
        email=EMAIL,
        purpose=st.sampled_from([Purpose.CONTRACT, Purpose.SERVICE]),
        name=st.text(min_size=1, max_size=3).filter(str.isprintable),
    )
    def collect(self, subject: Any, field: Any, email: str, purpose: Purpose, name: str) -> None:
        known, value = self.people.get(subject), email if field == "email" else name
        command = CollectData(
            subject_id=subject, purpose=purpose, basis=LegalBasis.CONTRACT, source=SourceKind.SUBJECT,
            values={field: value},
        )  # fmt: skip
        if known is None:
            self.do(command, SubjectUnknown)
        elif known.role is SubjectRole.PROCESSOR and purpose is Purpose.SERVICE:
            self.do(command, FieldNotAllowed, kept=True)
        else:
            index = self.do(command)
            known.set(field, Held(index, CONTRACT))
            known.reasons.append(Reason(field, CONTRACT, purpose, LegalBasis.CONTRACT))
            self.values[index] = value

    @rule(subject=PERSON, field=FIELD, email=EMAIL, stale=SELDOM, proposal=st.none() | NUMBERS, aimed=AIMED)
    def correct(self, subject: Any, field: Any, email: str, stale: bool, proposal: int | None, aimed: bool) -> None:
        if proposal is None:
            subject, field = self.aim(aimed, (subject, field), self.everything_held())
        else:
            subject, field, proposal = self.aim(aimed, (subject, field, proposal), self.contested())
        known = self.people.get(subject)
        held = known.held.get(field) if known else None
        proposal_id: Any = None if proposal is None else an_id(f"proposal {subject} {proposal}")
        command = CorrectData(
            subject_id=subject, field=field, value=email, expected_version=(held.version if held else 0) + stale,
            channel=Channel.PHONE, verification=IdentityCheck.CALL_BACK, evidence="call-1", proposal_id=proposal_id,
        )  # fmt: skip
        if known is None:
            self.do(command, SubjectUnknown)
        elif held is None:
            self.do(command, FieldUnknown)
        elif stale:
            self.do(command, StaleVersion)
        elif proposal_id is not None and known.proposals.get(proposal_id) != field:
            self.do(command, ProposalUnknown)
        else:
            index = self.do(command)
            known.set(field, Held(index, held.kept))
            known.proofs.append((index, "corrected"))
            known.proposals.pop(proposal_id, None)
            self.values[index] = email
            if field == "email":
                self.addresses.setdefault(subject, []).extend((index, address) for address in Address)
            self.changed(subject, index, field, "correction")

    def everything_held(self) -> Iterator[tuple[Any, Any]]:
        return ((subject, field) for subject, known in self.people.items() for field in known.held)

    def contested(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield the proposals that are open: of whom, of which field, and their number."""
        for subject, known in self.people.items():
            for number in (0, 1):
                if field := known.proposals.get(an_id(f"proposal {subject} {number}")):
                    yield subject, field, number

    def changed(self, subject: str, index: int, name: str, cause: str) -> None:
        """Take note of what recipients may have to be told: of a field, or of a class that was erased."""

    @rule(subject=PERSON, field=FIELD)
    def state(self, subject: Any, field: Any) -> None:
        known = self.people.get(subject)
        held = known.held.get(field) if known else None
        command = AttachStatement(subject_id=subject, field=field, statement="It is so", channel=Channel.EMAIL)
        if known is None or held is None:
            self.do(command, FieldUnknown if known else SubjectUnknown)
        else:
            index = self.do(command)
            known.seal(index, held.kept)
            known.proofs.append((index, "corrected"))

    @precondition(lambda self: self.addresses)
    @rule(subject=PERSON, address=st.sampled_from(Address))
    def notify_address(self, subject: Any, address: Address) -> None:
        owed = [correction for correction, which in self.addresses.get(subject, ()) if which is address]
        correction = owed[0] if owed else 0
        command = NotifyAddress(subject_id=subject, correction=correction, address=address, channel=Channel.EMAIL)
        self.do(command, None if owed else NoticeNotOwed)
        if owed:
            self.addresses[subject].remove((correction, address))

    def usable(self, held: Held) -> bool:
        """Whether a field that is held may leave, or be written to."""
        return True

    def owed(self, now: datetime) -> list[str]:
        return super().owed(now) + ["notify-address"] * sum(map(len, self.addresses.values()))

    # --- contested and restricted ----------------------------------------------------------------------------------

    @rule(subject=PERSON, field=FIELD, number=NUMBERS, aimed=AIMED)
    def propose(self, subject: Any, field: Any, number: int, aimed: bool) -> None:
        subject, field = self.aim(aimed, (subject, field), self.everything_held())
        known, proposal_id = self.people.get(subject), an_id(f"proposal {subject} {number}")
        held = known.held.get(field) if known else None
        command = ProposeCorrection(
            proposal_id=proposal_id, subject_id=subject, field=field, value="proposed",
            expected_version=held.version if held else 0, channel=Channel.PHONE,
        )  # fmt: skip
        if known is None:
            self.do(command, SubjectUnknown)
        elif proposal_id in known.restrictions:
            self.do(command, ProposalExists)
        elif held is None:
            self.do(command, FieldUnknown)
        else:
            index = self.do(command)
            known.proposals[proposal_id] = field
            known.restrictions[proposal_id] = Restriction((field,), index + 1)
            known.seal(index, held.kept)
            known.proofs.append((index + 1, "restricted"))

    @precondition(lambda self: any(self.contested()))
    @rule(subject=PERSON, field=FIELD, number=NUMBERS, aimed=AIMED)
    def reject(self, subject: Any, field: Any, number: int, aimed: bool) -> None:
        subject, field, number = self.aim(aimed, (subject, field, number), self.contested())
        known, proposal_id = self.people.get(subject), an_id(f"proposal {subject} {number}")
        fits = known is not None and known.proposals.get(proposal_id) == field
        command = RejectCorrection(
            proposal_id=proposal_id, subject_id=subject, field=field, ground="right", evidence="doc-1",
            channel=Channel.EMAIL,
        )  # fmt: skip
        self.do(command, None if fits else ProposalUnknown)
        if known and fits:
            del known.proposals[proposal_id]

    @rule(subject=PERSON, number=NUMBERS, fields=st.just(()) | st.just(("email",)))
    def restrict(self, subject: Any, number: int, fields: Any) -> None:
        known, restriction_id = self.people.get(subject), an_id(f"restriction {subject} {number}")
        command = RestrictProcessing(
            restriction_id=restriction_id, subject_id=subject, ground=RestrictionGround.CLAIMS, channel=Channel.EMAIL,
            fields=fields,
        )  # fmt: skip
        if known is None:
            self.do(command, SubjectUnknown)
        elif restriction_id in known.restrictions:
            self.do(command, RestrictionExists)
        else:
            index = self.do(command)
            known.proofs.append((index, "restricted"))
            known.restrictions[restriction_id] = Restriction(tuple(fields), index)

    @precondition(lambda self: any(known.restrictions for known in self.people.values()))
    @rule(subject=PERSON, number=NUMBERS, proposal=st.booleans())
    def lift(self, subject: Any, number: int, proposal: bool) -> None:
        known = self.people.get(subject)
        restriction_id = an_id(f"{'proposal' if proposal else 'restriction'} {subject} {number}")
        expected: Refusal = None
        if known is None or known.restrictions.get(restriction_id) is None:
            expected = RestrictionUnknown
        elif restriction_id in known.proposals:
            expected = AccuracyContested
        self.do(
            LiftRestriction(restriction_id=restriction_id, subject_id=subject, reason="settled", channel=Channel.EMAIL),
            expected,
        )
        if known and expected is None:
            known.restrictions[restriction_id] = None

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        return super().view() | {
            "fields": {subject: dict(known.versions) for subject, known in self.people.items()},
            "roles": {subject: known.role for subject, known in self.people.items()},
            "restrictions": {
                subject: {name: one is not None for name, one in known.restrictions.items()}
                for subject, known in self.people.items()
            },
        }

    def expected(self, view: View) -> View:
        found = super().expected(view)
        fields = {
            subject: {name: (version, self.values[version]) for name, version in versions.items()}
            for subject, versions in view["fields"].items()
        }
        return found | {"fields": fields}

    def ask(self, as_of: int | None, then: datetime) -> View:
        fields: dict[str, Any] = {}
        roles: dict[str, Any] = {}
        restrictions: dict[str, Any] = {}
        for subject in PEOPLE:
            try:
                state = self.asked.state(subject, as_of=as_of)
            except SubjectUnknown:
                continue
            roles[subject] = state.role
            fields[subject] = {
                name: (field.version, GONE if field.state is ValueState.ERASED else field.value)
                for name, field in state.fields.items()
            }
            restrictions[subject] = {
                one.restriction_id: one.lifted_at is None for one in self.asked.restrictions(subject, as_of=as_of)
            }
        return super().ask(as_of, then) | {"fields": fields, "roles": roles, "restrictions": restrictions}
