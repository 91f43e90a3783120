"""The policy: what one company may do with personal data, as data. Read from TOML, validated, adopted as an event.

Purposes, processing activities, field classes, retention, caps and deadlines stand here and not in code, so that an
officer can change them and an auditor can read them. A policy is in force from the entry that adopts it; its exact text
stands in that entry, so every past decision is explained under the policy of its day. Sources: GDPR; W3C DPV 2.3.

What does not live here: the rules that apply a policy (commands/, state/).
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ledger.canonical import check_text
from ledger.errors import Invalid
from ledger.vocabulary import (
    Channel,
    LegalBasis,
    OfferBasis,
    OfferKind,
    PersonType,
    Purpose,
    RecipientCategory,
    Reference,
    RetentionClass,
    SubjectRole,
    Word,
    check_reference,
    check_word,
)

# What fits into an entry beside everything else (formats.md: at most 65,535 bytes of canonical JSON).
MAX_POLICY_BYTES: Final = 48 * 1024

# The category of fields by which a person is reached: whoever changes one is told at both (clause 9).
CONTACT: Final = Word("contact")

DEFAULT_POLICY: Final = "ee-accounting.toml"

Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
Months = Annotated[int, msgspec.Meta(ge=1, le=1_200)]
Hours = Annotated[int, msgspec.Meta(ge=1, le=8_760)]


class FieldChange(StrEnum):
    """How a field may be corrected (clauses 8–9)."""

    SELF_SERVICE = "self-service"
    EVIDENCE = "evidence"  # a document must be seen
    REGISTER = "register"  # only what a public register says


class RetentionStart(StrEnum):
    """From when a retention period runs."""

    RECORDED = "recorded"
    FINANCIAL_YEAR_END = "financial-year-end"  # Raamatupidamise seadus § 12
    RELATIONSHIP_END = "relationship-end"
    WITHDRAWAL = "withdrawal"


class OrderUse(StrEnum):
    """What a recorded order may be used for (clause 11); others are words that the terms of the day name."""

    PROOF = "proof"
    REPRODUCTION = "reproduction"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class PurposeRule(_Part, frozen=True):
    dpv: str
    description: str


class CategoryRule(_Part, frozen=True):
    """A category of personal data; `special` is one of GDPR Art. 9."""

    dpv: str
    description: str
    special: bool = False


class FieldRule(_Part, frozen=True):
    category: Word
    change: FieldChange


class Activity(_Part, frozen=True):
    """A processing activity: which categories it may hold, why, on which bases, for whom, and how long. Art. 30."""

    description: str
    purpose: Purpose
    bases: tuple[LegalBasis, ...]
    roles: tuple[SubjectRole, ...]
    categories: tuple[Word, ...]
    retention_class: RetentionClass
    recipients: tuple[RecipientCategory, ...] = ()
    data_subjects: tuple[str, ...] = ()


class RecordHead(_Part, frozen=True):
    """What GDPR Art. 30 asks of the company as a whole: contacts, transfers to third countries, security measures."""

    contact: str = ""
    officer: str = ""
    transfers: tuple[str, ...] = ()
    security: tuple[str, ...] = ()


class RetentionRule(_Part, frozen=True):
    months: Months
    starts: RetentionStart
    source: str
    mandatory: bool = False  # the law forbids to erase earlier


class Calendar(_Part, frozen=True):
    """What decides when a day ends and which days are worked: public holidays as MM-DD and in days after Easter."""

    time_zone: str
    financial_year_end: str  # MM-DD
    holidays: tuple[str, ...]
    easter_holidays: tuple[int, ...]


class OfferBases(_Part, frozen=True):
    """On what an offer through one channel may rest, the first that holds; nothing named: no such offers."""

    own: tuple[OfferBasis, ...] = ()
    partner: tuple[OfferBasis, ...] = ()

    def of(self, kind: OfferKind) -> tuple[OfferBasis, ...]:
        return self.own if kind is OfferKind.OWN else self.partner


class Marketing(_Part, frozen=True):
    """Clause 7: partner offers "more infrequently": at most so many in the window, and fewer than own ones."""

    partner_offers: Annotated[int, msgspec.Meta(ge=0, le=1_000)]
    window_months: Months
    natural: Mapping[Channel, OfferBases] = msgspec.field(default_factory=dict)
    legal: Mapping[Channel, OfferBases] = msgspec.field(default_factory=dict)

    def bases(self, person: PersonType, channel: Channel, kind: OfferKind) -> tuple[OfferBasis, ...]:
        """Return on what an offer of this kind may rest; nothing when the channel is not used for it."""
        table = self.natural if person is PersonType.NATURAL else self.legal
        return table.get(channel, OfferBases()).of(kind)


class Deadlines(_Part, frozen=True):
    """Every clock. Each names its article in the default policy."""

    request_months: Months
    request_extension_months: Months
    breach_notice_hours: Hours
    collection_notice_days: Days
    amendment_notice_months: Months
    acknowledgement_grace_days: Days
    hold_review_days: Days


class RecipientRule(_Part, frozen=True):
    dpv: str
    description: str
    processor: bool  # bound by a contract of GDPR Art. 28; else a third party
    standing: bool = False  # is disclosed to once, with dates, and not transmission by transmission


class StatuteRule(_Part, frozen=True):
    """Which authorities may ask under an act, and for which fields at most (clause 6)."""

    description: str
    authorities: tuple[Word, ...]
    fields: tuple[Word, ...]


class Policy(_Part, frozen=True):
    """A whole policy, as it stands in one TOML file."""

    version: Reference
    controller: str
    purposes: Mapping[Purpose, PurposeRule]
    categories: Mapping[Word, CategoryRule]
    fields: Mapping[Word, FieldRule]
    activities: Mapping[Word, Activity]
    retention: Mapping[RetentionClass, RetentionRule]
    recipients: Mapping[RecipientCategory, RecipientRule]
    marketing: Marketing
    deadlines: Deadlines
    calendar: Calendar
    order_uses: tuple[Word, ...]
    verified_senders: tuple[Word, ...]  # what `authentication` of an order by e-mail says of a sender who was verified
    record: RecordHead = RecordHead()
    statutes: Mapping[Reference, StatuteRule] = msgspec.field(default_factory=dict)

    def may_use(self, field: Word, *, purpose: Purpose, role: SubjectRole) -> bool:
        """Whether any activity of this purpose may hold such a field of somebody in this role."""
        rule = self.fields.get(field)
        return rule is not None and any(
            activity.purpose is purpose and role in activity.roles and rule.category in activity.categories
            for activity in self.activities.values()
        )

    def activity_for(
        self, field: Word, *, purpose: Purpose, basis: LegalBasis, role: SubjectRole, retention_class: RetentionClass
    ) -> Word | None:
        """Return the activity that allows a field for this purpose, basis, role and retention class, None when none."""
        rule = self.fields.get(field)
        if rule is None:
            return None
        for name, activity in self.activities.items():
            if (
                activity.purpose is purpose
                and basis in activity.bases
                and role in activity.roles
                and rule.category in activity.categories
                and activity.retention_class is retention_class
            ):
                return name
        return None


def parse_policy(text: str) -> Policy:
    """Return the policy in a TOML text. Raises Invalid naming the line, the place and what would be right."""
    check_text(text, "policy")
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise Invalid("policy", f"has more than {MAX_POLICY_BYTES} bytes")
    return _parse(text)


def policy_digest(text: str) -> str:
    """Return the SHA-256 of a policy's text, 64 hexadecimal digits."""
    return sha256(text.encode()).hexdigest()


def default_policy_text() -> str:
    """Return the policy that comes with the program: an Estonian accounting-software company's."""
    return resources.files("ledger").joinpath("policies", DEFAULT_POLICY).read_text(encoding="utf-8")


# A ledger has few policies, and every decision asks for one of them.
@lru_cache(maxsize=64)
def _parse(text: str) -> Policy:
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The library says the line and never repeats a value.
        raise Invalid("policy", f"is not TOML: {error}") from None
    try:
        policy = msgspec.convert(read, Policy)
    except msgspec.ValidationError as error:
        path, why = _misfit(read, Policy, ()) or ((), str(error))
        raise _wrong(text, path, why[:1].lower() + why[1:]) from None
    _check(policy, text)
    return policy


def _check(policy: Policy, text: str) -> None:
    """Raise Invalid unless everything that the policy names is defined in it, and every class has its rule."""
    _checked(check_reference, policy.version, text, "version")
    for table, names in (
        ("categories", policy.categories),
        ("fields", policy.fields),
        ("activities", policy.activities),
    ):
        for name in names:
            _checked(check_word, name, text, table, name)
    for use in policy.order_uses:
        _checked(check_word, use, text, "order_uses")
    for verified in policy.verified_senders:
        _checked(check_word, verified, text, "verified_senders")
    _check_calendar(policy.calendar, text)
    # Clause 11: proof and reproduction are what recording an order is for.
    for needed in OrderUse:
        if Word(needed) not in policy.order_uses:
            raise _wrong(text, ("order_uses",), f"names {needed}")
    for name, field in policy.fields.items():
        if field.category not in policy.categories:
            raise _wrong(text, ("fields", name, "category"), "is not one of the categories of this policy")
    for name, activity in policy.activities.items():
        where = ("activities", name)
        if activity.purpose not in policy.purposes:
            raise _wrong(text, (*where, "purpose"), "is not one of the purposes of this policy")
        for part in ("bases", "roles", "categories"):
            if not getattr(activity, part):
                raise _wrong(text, (*where, part), "names at least one")
        for category in activity.categories:
            if category not in policy.categories:
                raise _wrong(text, (*where, "categories"), "names a category that this policy does not have")
        for recipient in activity.recipients:
            if recipient not in policy.recipients:
                raise _wrong(text, (*where, "recipients"), "names a recipient category that this policy does not have")
    for kind, recipient_rule in policy.recipients.items():
        if recipient_rule.standing and not recipient_rule.processor:
            raise _wrong(text, ("recipients", kind, "standing"), "is for processors only")
    for act, statute in policy.statutes.items():
        _checked(check_reference, act, text, "statutes", act)
        for authority in statute.authorities:
            _checked(check_word, authority, text, "statutes", act, "authorities")
        for field_name in statute.fields:
            if field_name not in policy.fields:
                raise _wrong(text, ("statutes", act, "fields"), "names a field that this policy does not have")
    for retention_class in RetentionClass:
        if retention_class not in policy.retention:
            raise _wrong(text, ("retention",), f"has no rule for {retention_class}")


def _check_calendar(calendar: Calendar, text: str) -> None:
    try:
        ZoneInfo(calendar.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong(text, ("calendar", "time_zone"), "is a time zone such as Europe/Tallinn") from None
    for name, days in (("financial_year_end", (calendar.financial_year_end,)), ("holidays", calendar.holidays)):
        for day in days:
            try:
                # A leap year, so that 02-29 is a day.
                date.fromisoformat(f"2024-{day}")
            except ValueError:
                raise _wrong(text, ("calendar", name), "is a day such as 12-31") from None
    for after in calendar.easter_holidays:
        if not -60 <= after <= 60:
            raise _wrong(text, ("calendar", "easter_holidays"), "is at most 60 days from Easter Sunday")


def _checked(check: Any, value: str, text: str, *path: str) -> None:
    try:
        check(value, ".".join(path))
    except Invalid as error:
        raise _wrong(text, path, str(error.evidence["why"])) from None


def _wrong(text: str, path: tuple[str, ...], why: str) -> Invalid:
    return Invalid(".".join(("policy", *path)), f"{why} (line {_line(text, path)})")


def _misfit(value: Any, kind: Any, path: tuple[str, ...]) -> tuple[tuple[str, ...], str] | None:
    """Return the deepest place in `value` that is not of `kind`, and why; None when it fits."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        why = str(error).partition(" - at `")[0]
    else:
        return None
    inside: list[tuple[str, Any]] = []
    if isinstance(value, dict) and typing.get_origin(kind) is Mapping:
        key_kind, member_kind = typing.get_args(kind)
        for key in value:
            if found := _misfit(key, key_kind, (*path, key)):
                return found
        inside = [(key, member_kind) for key in value]
    elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        inside = [(key, hints[key]) for key in value if key in hints]
        if unknown := next((key for key in value if key not in hints), None):
            return (*path, unknown), "is not a word of a policy"
    for key, member_kind in inside:
        if found := _misfit(value[key], member_kind, (*path, key)):
            return found
    return path, why


def _line(text: str, path: tuple[str, ...]) -> int:
    """Return the line (from 1) on which the deepest part of `path` that is written there stands."""
    best, depth, table = 1, 0, ()  # type: tuple[int, int, tuple[str, ...]]
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            table = tuple(part.strip().strip('"') for part in header[1].split("."))
            found = table
        elif key := re.match(r'\s*"?([A-Za-z0-9_-]+)"?\s*=', line):
            found = (*table, key[1])
        else:
            continue
        if found == path[: len(found)] and len(found) > depth:
            best, depth = number, len(found)
    return best
