"""The state machines of the demo's story: a person's life, an order, a disclosure.

A machine offers only what its state allows, and weights.py says which of it comes next: so a story is causally sound
whatever the weights. Each act is a method from a moment to the step that is taken then; it notes what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from random import Random

import msgspec

from api.demo import people as invent
from api.demo import texts
from api.demo.agenda import HOUR_MS, Act, Agenda
from api.demo.drafts import Desk
from api.demo.people import RECIPIENTS, Cast, Client, Person, Recipient
from api.demo.steps import (
    AmendOrder,
    CancelOrder,
    Channel,
    CollectData,
    ConfirmOrder,
    CorrectData,
    DisclosureHandle,
    DisputeHandle,
    DisputeOrder,
    ErasePerson,
    ExecuteOrder,
    Field,
    FieldValue,
    GiveConsent,
    OrderHandle,
    RecordOrder,
    RegisterPerson,
    RequestDisclosure,
    ResolveDispute,
    Step,
    Transmit,
    WithdrawConsent,
)
from api.demo.weights import FOLLOWS

CONSENTED_SHARE = 0.7  # of the requested disclosures, where the person permits any
MOST_ERASED_SHARE = 0.1
MOST_REVISIONS = 3

_CHANNELS: tuple[Channel, ...] = ("software", "email", "phone")
_AT_REGISTRATION: tuple[Field, ...] = ("given_name", "family_name", "email")
_LATER: tuple[Field, ...] = ("phone", "postal_address", "personal_code", "iban")
_CORRECTABLE: tuple[Field, ...] = ("email", "phone", "postal_address", "iban", "family_name")


class World:
    """What all lives share: the random source, the cast, the agenda, who is live, running numbers."""

    def __init__(self, seed: int, *, people: int, clients: int) -> None:
        self.rng = Random(f"{seed}/story")
        self.cast = Cast(seed)
        self.desk = Desk(self.rng, self.cast, people=people, clients=clients)
        self.agenda = Agenda()
        self.live: list[Life] = []
        self.may_erase = int(people * MOST_ERASED_SHARE)
        self._counted: dict[str, int] = {}

    def number(self, what: str) -> int:
        """Return the next number of its kind, from 1."""
        self._counted[what] = self._counted.get(what, 0) + 1
        return self._counted[what]

    def channel(self) -> Channel:
        """Draw a way of getting in touch."""
        return self.rng.choices(_CHANNELS, (6, 3, 1))[0]


class Life:
    """One person: what is held about them, which consents live, how much is still pending."""

    def __init__(self, world: World, index: int, client: int | None) -> None:
        self.world = world
        self.rng = world.rng
        self.person = world.cast.person(index)  # as corrected so far
        self.client = client
        self.consents: dict[str, Recipient] = {}
        self._held: set[Field] = set()
        self._underway: list[Disclosure] = []
        self._pending = 0

    def possible(self) -> Mapping[type[Step], Act]:
        """Return what this person may do now of their own accord."""
        moves: dict[type[Step], Act] = {
            RequestDisclosure: self.request_disclosure,
            CorrectData: self.correct,
        }
        if self.client is not None:
            moves[RecordOrder] = partial(self.record_order, self.world.cast.client(self.client))
        if len(self.consents) < len(RECIPIENTS):
            moves[GiveConsent] = self.give_consent
        if self.consents:
            moves[WithdrawConsent] = self.withdraw_some
        if self._missing():
            moves[CollectData] = self.collect
        if self.world.may_erase and not self._pending:
            moves[ErasePerson] = self.erase
        return moves

    def follow(self, after: type[Step], moves: Mapping[type[Step], Act]) -> None:
        """Note in the agenda what follows a step, drawn from FOLLOWS among the moves that are possible."""
        options = [move for move in FOLLOWS[after] if move.step is None or move.step in moves]
        [chosen] = self.rng.choices(options, [move.weight for move in options])
        if chosen.step is not None:
            delay_ms = self.rng.randint(1000, int(chosen.within_h * HOUR_MS))
            self.expect(self.world.agenda.now_ms + delay_ms, moves[chosen.step])

    def expect(self, due_ms: int, act: Act) -> None:
        """Note an act of this life in the agenda; until it is done, something is pending."""

        def done(at: datetime) -> Step:
            self._pending -= 1
            return act(at)

        self._pending += 1
        self.world.agenda.add(due_ms, done)

    def register(self, at: datetime) -> Step:
        self.world.live.append(self)
        terms = texts.terms_in_force(at.date(), self.person.language)
        self.follow(RegisterPerson, {CollectData: self.collect})
        return RegisterPerson(
            at=at,
            person=self.person.index,
            client=self.client,
            language=self.person.language,
            fields=self._hold(_AT_REGISTRATION),
            terms_version=terms.version,
            terms_sha256=terms.sha256,
        )

    def collect(self, at: datetime) -> Step:
        missing = self._missing()
        if not missing:  # everything was collected while this was pending
            return self.correct(at)
        wanted = self.rng.sample(missing, self.rng.randint(1, len(missing)))
        return CollectData(
            at=at,
            person=self.person.index,
            source="public-register" if wanted == ["postal_address"] else "self",
            fields=self._hold(tuple(field for field in missing if field in wanted)),
        )

    def correct(self, at: datetime) -> Step:
        field = self.rng.choice([field for field in _CORRECTABLE if field in self._held])
        old = value_of(self.person, field)
        while value_of(self.person, field) == old:
            self.person = self._changed(field)
        return CorrectData(
            at=at,
            person=self.person.index,
            field=field,
            old=old,
            new=value_of(self.person, field),
            valid_from=at.date() - timedelta(days=self.rng.randint(0, 60)),
            channel=self.world.channel(),
        )

    def give_consent(self, at: datetime) -> Step:
        recipient = self.rng.choice([one for one in RECIPIENTS if one.handle not in self.consents])
        text = texts.consent_text(recipient, self.person.language)
        self.consents[recipient.handle] = recipient
        return GiveConsent(
            at=at,
            person=self.person.index,
            recipient=recipient.handle,
            purpose=recipient.purpose,
            channel=self.world.channel(),
            language=self.person.language,
            text_version=text.version,
            text_sha256=text.sha256,
        )

    def withdraw_some(self, at: datetime) -> Step:
        return self.withdraw(at, self.rng.choice(list(self.consents.values())))

    def withdraw(self, at: datetime, recipient: Recipient) -> Step:
        del self.consents[recipient.handle]
        for disclosure in self._underway:
            if disclosure.recipient == recipient:
                disclosure.permitted = False
        return WithdrawConsent(
            at=at,
            person=self.person.index,
            recipient=recipient.handle,
            purpose=recipient.purpose,
            channel=self.world.channel(),
        )

    def request_disclosure(self, at: datetime) -> Step:
        permitted = list(self.consents.values())
        others = [one for one in RECIPIENTS if one.handle not in self.consents]
        consented = bool(permitted) and (not others or self.rng.random() < CONSENTED_SHARE)
        disclosure = Disclosure(self, self.rng.choice(permitted if consented else others))
        if consented:
            self._underway.append(disclosure)
            self.follow(RequestDisclosure, {Transmit: disclosure.transmit, WithdrawConsent: disclosure.withdraw})
        return RequestDisclosure(
            at=at,
            person=self.person.index,
            disclosure=disclosure.handle,
            recipient=disclosure.recipient.handle,
            purpose=disclosure.recipient.purpose,
            fields=tuple(field for field in disclosure.recipient.fields if field in self._held),
            consented=consented,
        )

    def arrived(self, disclosure: Disclosure) -> None:
        """Forget a disclosure that is no longer on its way."""
        self._underway.remove(disclosure)

    def record_order(self, client: Client, at: datetime) -> Step:
        return Order(self, client, at).record(at)

    def erase(self, at: datetime) -> Step:
        self.world.live.remove(self)
        self.world.may_erase -= 1
        return ErasePerson(at=at, person=self.person.index)

    def _missing(self) -> list[Field]:
        return [field for field in _LATER if field not in self._held]

    def _hold(self, fields: tuple[Field, ...]) -> tuple[FieldValue, ...]:
        self._held.update(fields)
        return tuple(FieldValue(field=field, value=value_of(self.person, field)) for field in fields)

    def _changed(self, field: Field) -> Person:
        now, rng = self.person, self.rng
        match field:
            case "email":
                number = f"{now.index}-{self.world.number('email')}"
                new = invent.email(now.given_name, now.family_name, number, rng)
                return msgspec.structs.replace(now, email=new)
            case "phone":
                return msgspec.structs.replace(now, phone=invent.phone(rng))
            case "postal_address":
                return msgspec.structs.replace(now, address=invent.address(rng))
            case "iban":
                return msgspec.structs.replace(now, iban=invent.iban(rng))
            case _:
                return msgspec.structs.replace(now, family_name=self.world.cast.name(rng, now.sex)[1])


class Disclosure:
    """A disclosure on its way to one recipient."""

    def __init__(self, life: Life, recipient: Recipient) -> None:
        self.handle = DisclosureHandle(f"disclosure-{life.world.number('disclosure'):06}")
        self.recipient = recipient
        self.permitted = True
        self._life = life

    def withdraw(self, at: datetime) -> Step:
        if self.recipient.handle not in self._life.consents:  # withdrawn already, of their own accord
            return self.transmit(at)
        self._life.follow(WithdrawConsent, {Transmit: self.transmit})
        return self._life.withdraw(at, self.recipient)

    def transmit(self, at: datetime) -> Step:
        self._life.arrived(self)
        return Transmit(
            at=at,
            person=self._life.person.index,
            disclosure=self.handle,
            recipient=self.recipient.handle,
            permitted=self.permitted,
        )


class Order:
    """One order, from its arrival to its end; `record` is its first step."""

    def __init__(self, life: Life, client: Client, at: datetime) -> None:
        self._life = life
        self._world = life.world
        self._client = client
        self._number = self._world.number("order")
        self._handle = OrderHandle(f"order-{self._number:06}")
        self._draft = self._world.desk.draw(self._number, life.person, client, at)
        self._revision = 0

    def record(self, at: datetime) -> Step:
        self._follow_open(RecordOrder)
        return RecordOrder(
            at=at,
            person=self._life.person.index,
            order=self._handle,
            client=self._client.index,
            channel=self._draft.channel,
            media_type=self._draft.media_type,
            body=self._draft.body,
            idempotency_key=self._draft.key,
            claimed_at=self._draft.claimed_at,
            terms_version=texts.terms_in_force(at.date(), self._life.person.language).version,
        )

    def amend(self, at: datetime) -> Step:
        self._revision += 1
        self._draft = self._world.desk.redraw(
            self._number, self._revision, self._draft, self._life.person, self._client, at
        )
        self._follow_open(AmendOrder)
        return AmendOrder(
            at=at,
            person=self._life.person.index,
            order=self._handle,
            revision=self._revision,
            channel=self._draft.channel,
            media_type=self._draft.media_type,
            body=self._draft.body,
            idempotency_key=self._draft.key,
            claimed_at=self._draft.claimed_at,
        )

    def cancel(self, at: datetime) -> Step:
        return CancelOrder(
            at=at,
            person=self._life.person.index,
            order=self._handle,
            channel=self._world.channel(),
            reason=self._world.rng.choice(("duplicate", "mistake", "not-needed")),
        )

    def execute(self, at: datetime) -> Step:
        self._life.follow(ExecuteOrder, {ConfirmOrder: self.confirm, DisputeOrder: self.dispute})
        return ExecuteOrder(
            at=at,
            person=self._life.person.index,
            order=self._handle,
            transactions=self._draft.transactions,
        )

    def confirm(self, at: datetime) -> Step:
        self._life.follow(ConfirmOrder, {DisputeOrder: self.dispute})
        return ConfirmOrder(at=at, person=self._life.person.index, order=self._handle, channel=self._draft.channel)

    def dispute(self, at: datetime) -> Step:
        dispute = DisputeHandle(f"dispute-{self._world.number('dispute'):06}")
        self._life.follow(DisputeOrder, {ResolveDispute: partial(self.resolve, dispute)})
        return DisputeOrder(
            at=at,
            person=self._life.person.index,
            order=self._handle,
            dispute=dispute,
            ground=self._world.rng.choice(("not-ordered", "wrong-amount", "wrong-payee", "too-late")),
        )

    def resolve(self, dispute: DisputeHandle, at: datetime) -> Step:
        return ResolveDispute(
            at=at,
            person=self._life.person.index,
            order=self._handle,
            dispute=dispute,
            outcome=self._world.rng.choice(("upheld", "rejected", "settled")),
        )

    def _follow_open(self, after: type[Step]) -> None:
        moves: dict[type[Step], Act] = {ExecuteOrder: self.execute, CancelOrder: self.cancel}
        if self._revision < MOST_REVISIONS:
            moves[AmendOrder] = self.amend
        self._life.follow(after, moves)


def value_of(person: Person, field: Field) -> str:
    """Return a field's value as text."""
    return {
        "given_name": person.given_name,
        "family_name": person.family_name,
        "email": person.email,
        "phone": person.phone,
        "personal_code": person.personal_code,
        "iban": person.iban,
        "postal_address": person.address.line,
    }[field]
