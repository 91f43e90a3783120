"""The cast of the demo: invented people, client companies and recipients, the same for the same seed.

Numbers are well-formed with their check digits, yet chosen so that they reach nobody where a reserved range exists:
e-mail domains are those of RFC 2606 §3, and the bank identifier 00 stands where an Estonian one never begins with 0
(SWIFT IBAN registry, EE). Phone numbers, personal and registry codes have no reserved range: they are invented, any
likeness is chance, never dial or look up. Given and family names come from faker's et_EE lists, so they also depend
on faker's version.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from faker import Faker

Language = Literal["et", "en"]
Sex = Literal["female", "male"]

EMAIL_DOMAINS = ("example.com", "example.org", "example.net")  # RFC 2606 §3: never anybody's
BANK = "00"  # an Estonian bank identifier never begins with 0, so no account answers to it
OLDEST_BORN = date(1945, 1, 1)
YOUNGEST_BORN = date(2006, 12, 31)
SERIALS_PER_DAY = 999
RUSSIAN_SHARE = 0.3  # faker's et_EE provider: about 70 % Estonian names, 30 % Russian


class DemoExtraMissing(ImportError):
    """The optional dependency of the demo is not installed."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A postal address; `country` is ISO 3166-1 alpha-2."""

    street: str
    house: str
    postcode: str
    town: str
    country: str = "EE"

    @property
    def line(self) -> str:
        """The address on one line, as on an envelope."""
        return f"{self.street} {self.house}, {self.postcode} {self.town}"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A natural person. `personal_code` agrees with `born` and `sex`; `email` is unique in the cast."""

    index: int
    given_name: str
    family_name: str
    sex: Sex
    born: date
    personal_code: str
    email: str
    phone: str
    iban: str
    address: Address
    language: Language

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.given_name} {self.family_name}"


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A company that orders; `name` ends in its legal form, OÜ or AS."""

    index: int
    name: str
    registry_code: str
    vat_number: str
    email: str
    iban: str
    address: Address


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom data goes to by permission: `purpose` is what a person may permit it for."""

    handle: str
    name: str
    category: str
    country: str
    purpose: str
    fields: tuple[str, ...]


PARTNER_OFFERS = "partner-offers"
E_INVOICE = "e-invoice-forwarding"

RECIPIENTS: tuple[Recipient, ...] = (
    Recipient(
        handle="insurer",
        name="Näidiskindlustus AS",
        category="other",
        country="EE",
        purpose=PARTNER_OFFERS,
        fields=("given_name", "family_name", "email"),
    ),
    Recipient(
        handle="leasing",
        name="Näidisliising OÜ",
        category="other",
        country="EE",
        purpose=PARTNER_OFFERS,
        fields=("given_name", "family_name", "email"),
    ),
    Recipient(
        handle="e-invoice-ee",
        name="Näidisarve Operaator OÜ",
        category="e-invoice",
        country="EE",
        purpose=E_INVOICE,
        fields=("given_name", "family_name", "email", "iban"),
    ),
    Recipient(
        handle="e-invoice-fi",
        name="Mallilasku Oy",
        category="e-invoice",
        country="FI",
        purpose=E_INVOICE,
        fields=("given_name", "family_name", "email", "iban"),
    ),
)


class Cast:
    """People and clients by index, made on demand; the order of asking changes nothing."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._people: dict[int, Person] = {}
        self._clients: dict[int, Client] = {}

    def person(self, index: int) -> Person:
        """Return person `index` (from 0). Raises DemoExtraMissing without faker."""
        if index not in self._people:
            self._people[index] = self._make_person(index)
        return self._people[index]

    def client(self, index: int) -> Client:
        """Return client company `index` (from 0)."""
        if index not in self._clients:
            self._clients[index] = self._make_client(index)
        return self._clients[index]

    @cached_property
    def _faker(self) -> Faker:
        try:
            from faker import Faker
        except ImportError as missing:
            raise DemoExtraMissing("the demo needs faker: pip install 'prooftrail[demo]'", name="faker") from missing
        return Faker("et_EE")

    def _make_person(self, index: int) -> Person:
        rng = Random(f"{self.seed}/person/{index}")
        sex: Sex = rng.choice(("female", "male"))
        given, family = self.name(rng, sex)
        born, serial = _birth(self.seed, index)
        return Person(
            index=index,
            given_name=given,
            family_name=family,
            sex=sex,
            born=born,
            personal_code=personal_code(born, sex, serial),
            email=email(given, family, str(index), rng),
            phone=phone(rng),
            iban=iban(rng),
            address=address(rng),
            language="et" if rng.random() < 0.75 else "en",
        )

    def name(self, rng: Random, sex: Sex) -> tuple[str, str]:
        """Draw a given and a family name. Raises DemoExtraMissing without faker."""
        fake = self._faker
        fake.seed_instance(rng.getrandbits(64))
        if rng.random() >= RUSSIAN_SHARE:
            given = fake.first_name_female_est() if sex == "female" else fake.first_name_male_est()
            return given, fake.last_name_est()
        family = fake.last_name_rus()  # faker lists the masculine form only
        if sex == "male":
            return fake.first_name_male_rus(), family
        feminine = family + "a" if family.endswith(("ov", "ev", "in")) else family
        return fake.first_name_female_rus(), feminine

    def _make_client(self, index: int) -> Client:
        rng = Random(f"{self.seed}/client/{index}")
        first, second, trade = _spread(self.seed, index, (_COMPANY_FIRST, _COMPANY_SECOND, _COMPANY_TRADE))
        name = f"{first}{second} {trade}"
        return Client(
            index=index,
            name=f"{name} {'AS' if rng.random() < 0.1 else 'OÜ'}",
            registry_code=registry_code(index, self.seed),
            vat_number=vat_number(rng),
            email=f"{_ascii(first + second)}{index}@{rng.choice(EMAIL_DOMAINS)}",
            iban=iban(rng),
            address=address(rng),
        )


# --- numbers with their check digits --------------------------------------------------------------------------


def personal_code(born: date, sex: Sex, serial: int) -> str:
    """Return the isikukood: century and sex, YYMMDD, `serial` 0–999, check digit. EVS 585:2007."""
    century_and_sex = 1 + (born.year - 1800) // 100 * 2 + (sex == "female")
    stem = f"{century_and_sex}{born:%y%m%d}{serial:03}"
    return stem + _mod11(stem, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1), (3, 4, 5, 6, 7, 8, 9, 1, 2, 3))


def iban(rng: Random) -> str:
    """Return an Estonian IBAN: bank, branch, 11-digit account, its 7-3-1 digit; ISO 13616 mod-97 check."""
    account = f"{rng.randrange(10**9, 10**10):011}"
    bban = f"{BANK}00{account}{weighted_731(account)}"
    check = 98 - int(f"{bban}141400") % 97  # "EE00" at the end, A = 10 … Z = 35
    return f"EE{check:02}{bban}"


def weighted_731(digits: str) -> str:
    """Return the 7-3-1 check digit of `digits`: of Estonian accounts and reference numbers (viitenumber)."""
    total = sum(int(digit) * (7, 3, 1)[place % 3] for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def registry_code(index: int, seed: int) -> str:
    """Return an 8-digit business register code, unique for `index` below 90,000; check digit modulo 11."""
    start = Random(f"{seed}/registry").randrange(90_000)
    stem = f"19{10_000 + (start + index) % 90_000:05}"
    return stem + _mod11(stem, (1, 2, 3, 4, 5, 6, 7), (3, 4, 5, 6, 7, 8, 9))


def vat_number(rng: Random) -> str:
    """Return an Estonian VAT number: EE, eight digits, a check digit of weights 3-7-1."""
    stem = f"10{rng.randrange(10**6):06}"
    total = sum(int(digit) * weight for digit, weight in zip(stem, (3, 7, 1, 3, 7, 1, 3, 7), strict=True))
    return f"EE{stem}{-total % 10}"


def _mod11(stem: str, first: Sequence[int], second: Sequence[int]) -> str:
    for weights in (first, second):
        rest = sum(int(digit) * weight for digit, weight in zip(stem, weights, strict=True)) % 11
        if rest < 10:
            return str(rest)
    return "0"


# --- how to reach them ----------------------------------------------------------------------------------------


def email(given: str, family: str, number: str, rng: Random) -> str:
    """Return an address at a reserved domain; `number` keeps namesakes apart."""
    return f"{_ascii(given)}.{_ascii(family)}{number}@{rng.choice(EMAIL_DOMAINS)}"


def phone(rng: Random) -> str:
    """Return an invented number in the form of an Estonian mobile one (+372, eight digits from 5)."""
    return f"+372 5{rng.randrange(1000):03} {rng.randrange(10_000):04}"


def address(rng: Random) -> Address:
    """Return an invented address: a common street name in a real town."""
    town, postcode = rng.choice(_TOWNS)
    house = str(rng.randint(1, 96))
    if rng.random() < 0.5:
        house += f"-{rng.randint(1, 60)}"
    return Address(street=rng.choice(_STREETS), house=house, postcode=postcode, town=town)


def _ascii(name: str) -> str:
    """Fold to lower-case ASCII letters: Õie-Mari becomes oiemari."""
    folded = unicodedata.normalize("NFKD", name).lower()
    return "".join(letter for letter in folded if letter.isascii() and letter.isalnum())


def _birth(seed: int, index: int) -> tuple[date, int]:
    """Return birth date and serial, distinct for each index: a walk round all of them that meets none twice."""
    days = (YOUNGEST_BORN - OLDEST_BORN).days + 1
    slots = days * SERIALS_PER_DAY
    start = Random(f"{seed}/birth").randrange(slots)
    # A prime that divides neither the days nor the serials, near the golden section: neighbours are born far apart.
    day, serial = divmod((start + index * 13_980_623) % slots, SERIALS_PER_DAY)
    return OLDEST_BORN + timedelta(days=day), serial + 1


def _spread(seed: int, index: int, lists: Sequence[Sequence[str]]) -> list[str]:
    """Pick one word of each list, a new combination for each index until all are used up."""
    total = 1
    for words in lists:
        total *= len(words)
    start = Random(f"{seed}/company").randrange(total)
    rest = (start + index * 619) % total  # a prime that divides no list's length
    picked = []
    for words in lists:
        rest, place = divmod(rest, len(words))
        picked.append(words[place])
    return picked


_TOWNS = (
    ("Tallinn", "10115"),
    ("Tallinn", "11313"),
    ("Tartu", "51007"),
    ("Pärnu", "80010"),
    ("Narva", "20308"),
    ("Viljandi", "71020"),
    ("Rakvere", "44310"),
    ("Võru", "65608"),
    ("Kuressaare", "93819"),
    ("Haapsalu", "90502"),
    ("Jõhvi", "41531"),
    ("Paide", "72712"),
)
_STREETS = (
    "Aia tänav",
    "Jõe tänav",
    "Kase tänav",
    "Kooli tänav",
    "Lille tänav",
    "Mäe tänav",
    "Metsa tänav",
    "Pärna puiestee",
    "Pikk tänav",
    "Põllu tänav",
    "Ranna tee",
    "Sõpruse puiestee",
    "Tamme tänav",
    "Väike-Õue tänav",
)
_COMPANY_FIRST = (
    "Põhja",
    "Lõuna",
    "Ranna",
    "Metsa",
    "Hõbe",
    "Kuld",
    "Sini",
    "Vana",
    "Uus",
    "Kivi",
    "Linna",
    "Mere",
    "Päikese",
)
_COMPANY_SECOND = ("kask", "tuul", "jõgi", "rebane", "täht", "kotkas", "oja", "värav", "laine", "mänd", "ilves")
_COMPANY_TRADE = ("Ehitus", "Kaubandus", "Raamatupidamine", "Transport", "Disain", "Mööbel", "Tarkvara")
