"""A disclosure that the law keeps secret until a date leaves no sign in anything that the person can ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import pytest

from ledger.command import Recorded
from ledger.commands import AuthorizeDisclosure, RegisterRecipient, RequestDisclosure, TransmitDisclosure
from ledger.events import PersonalDataRead, Statute
from ledger.vocabulary import (
    Country,
    DisclosureId,
    LegalBasis,
    Purpose,
    RecipientCategory,
    RecipientId,
    Role,
    Sha256Hex,
    Word,
    new_id,
)
from tests.http.cells import ask, expected_grants, in_order, target
from tests.http.office import Office, an_office

UNTIL = datetime.now(UTC) + timedelta(days=90)


class Secret(NamedTuple):
    """A secret disclosure, and the entries that it is recorded in."""

    disclosure_id: DisclosureId
    recipient_id: RecipientId
    entries: tuple[Recorded, ...]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with an_office(tmp_path_factory.mktemp("secret") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def secret(office: Office) -> Secret:
    """Mari's data goes to an authority that got nothing of hers before, in secret."""
    now, fields, token = datetime.now(UTC), (Word("email"),), new_id()
    found, authority = DisclosureId(new_id()), RecipientId(new_id())
    office.record(
        RegisterRecipient(
            recipient_id=authority, category=RecipientCategory.AUTHORITY, country=Country("EE"), valid_from=now,
            valid_to=now + timedelta(days=365), name="Uurimisasutus",
        )
    )  # fmt: skip
    before = office.ledger.size()
    about = {"disclosure_id": found, "subject_id": office.mari, "recipient_id": authority}
    office.record(
        RequestDisclosure(
            **about, purpose=Purpose.LEGAL, basis=LegalBasis.LEGAL_OBLIGATION, fields=fields,
            statute=Statute(act="KrMS-215", authority="police", reference="2026/117", scope="one-person"),
            secret_until=UNTIL,
        )
    )  # fmt: skip
    office.record(AuthorizeDisclosure(**about, token_sha256=Sha256Hex(sha256(token.encode()).hexdigest())))
    office.record(TransmitDisclosure(**about, fields=fields, token=token))
    office.service.projections.catch_up()
    return Secret(found, authority, tuple(office.ledger.read(after=before)))


def reads_of_mari(office: Office, before: int) -> list[PersonalDataRead]:
    events = (one.event for one in office.access_since(before))
    return [one for one in events if isinstance(one, PersonalDataRead) and office.mari in one.subjects]


def test_nothing_that_a_person_can_ask_for_shows_it(office: Office, secret: Secret) -> None:
    grants = expected_grants()
    signs = (secret.disclosure_id, secret.recipient_id, *(f'"index":{one.index},' for one in secret.entries))
    asked = 0
    for role in (Role.SUBJECT, Role.CLIENT_USER, Role.SUPPORT, Role.SERVICE):
        for operation in in_order():
            if operation.command is not None or operation.method != "GET" or operation.id == "list-recipients":
                continue
            if grants[operation.id][role] == "none":
                continue
            about = target(office, role, "own")._replace(subject_id=office.mari)
            answer = ask(office, operation, role, about)
            asked += answer.status_code == 200
            assert not [one for one in signs if one in answer.text], (operation.id, role)
    assert asked > 30
    officers = office.ask(Role.OFFICER, "GET", f"/v1/subjects/{office.mari}/disclosures")
    assert secret.disclosure_id in officers.text, "the search finds what is there"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/subjects/{mari}/disclosures", "/v1/subjects/{mari}/audit-events", "/v1/subjects/{mari}/recipients",
        "/v1/subjects/{mari}/obligations", "/v1/subjects/{mari}/events", "/v1/subjects/{mari}/evidence",
        "/v1/evidence?tag=disclosure:{disclosure}", "/v1/log/entries/{index}", "/v1/log/entries/{index}/receipt",
        "/v1/log/entries/{index}/explanation",
    ],
)  # fmt: skip
def test_the_person_does_not_learn_that_somebody_read_of_it(office: Office, secret: Secret, path: str) -> None:
    address = path.format(mari=office.mari, disclosure=secret.disclosure_id, index=secret.entries[0].index)
    shown = office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}/access").json()
    before = office.access_size
    assert office.ask(Role.OFFICER, "GET", address).status_code == 200
    (read,) = reads_of_mari(office, before)
    assert read.hidden_until == UNTIL
    again = office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}/access").json()
    # Their own look is new; the officer's is not there.
    assert [one for one in again["looks"] if not one["own"]] == [one for one in shown["looks"] if not one["own"]]
    officers = office.ask(Role.AUDITOR, "GET", f"/v1/subjects/{office.mari}/access").text
    assert officers.count('"officer"') > json.dumps(again).count('"officer"')


def test_other_people_learn_of_a_read_that_the_person_does_not(office: Office, secret: Secret) -> None:
    """A read of several people is kept from those only of whom something is secret."""
    before = office.access_size
    office.ask(Role.OFFICER, "GET", "/v1/evidence", params={"tag": f"disclosure:{office.disclosure}"})
    office.ask(Role.OFFICER, "GET", f"/v1/subjects/{office.peeter}/disclosures")
    hidden = {one.event.hidden_until for one in office.access_since(before) if office.mari in one.event.subjects}
    openly = {one.event.hidden_until for one in office.access_since(before) if office.peeter in one.event.subjects}
    assert hidden == {UNTIL}
    assert openly == {None}


@pytest.mark.parametrize("role", [Role.SUPPORT, Role.SERVICE])
def test_a_read_that_shows_nothing_secret_is_shown(office: Office, secret: Secret, role: Role) -> None:
    before = office.access_size
    assert office.ask(role, "GET", f"/v1/subjects/{office.mari}/disclosures").status_code == 200
    (read,) = reads_of_mari(office, before)
    assert read.hidden_until is None


def test_counters_of_entries_stay_in_the_house(office: Office, secret: Secret) -> None:
    """An entry says the how-manieth about a person it is: whoever gets two of them sees that one is missing."""
    counter = re.compile(rf'subject:{office.mari}\\*",\d')
    field = f"/v1/subjects/{office.mari}/fields/email"
    version = office.ask(Role.SUBJECT, "GET", field).headers["etag"]
    order = {"client_id": office.company, "subject_id": office.mari}
    answers = [
        office.post(
            Role.SUBJECT, "object-to-marketing",
            {"subject_id": office.mari, "channel": "api", "received_at": datetime.now(UTC).isoformat()},
        ),
        office.ask(Role.SUBJECT, "POST", "/v1/orders", params=order, content=b"<order/>"),
        office.ask(Role.CLIENT_USER, "POST", "/v1/orders", params=order, content=b"<order/>"),
        office.ask(Role.SUBJECT, "PUT", field, json={"value": "m@example.com"}, headers={"If-Match": version}),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 201, answer.text
        assert not counter.search(answer.text)
    for role in (Role.SUBJECT, Role.CLIENT_USER):
        assert office.ask(role, "GET", f"/v1/orders/{office.mari_order}/evidence").status_code == 403
    service = office.post(
        Role.SERVICE, "object-to-marketing",
        {"subject_id": office.mari, "channel": "api", "received_at": datetime.now(UTC).isoformat()},
    )  # fmt: skip
    assert counter.search(service.text), "the search finds what is there"
