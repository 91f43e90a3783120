"""The policy: valid or refused with its line, adopted whole, and what past decisions are explained under."""

from __future__ import annotations

import pytest

from ledger.commands import AdoptPolicy, RegisterSubject
from ledger.errors import Invalid, PolicyVersionUsed, RoleMissing
from ledger.events import PolicyAdopted
from ledger.explain import explain, explain_command
from ledger.policy import MAX_POLICY_BYTES, default_policy_text, parse_policy, policy_digest
from ledger.vocabulary import LegalBasis, Purpose, RetentionClass, SubjectRole
from tests.bench import OFFICER, SUPPORT, Bench, an_id

TEXT = default_policy_text()
DEFAULT = parse_policy(TEXT)
NEXT = TEXT.replace('version = "ee-accounting-1"', 'version = "ee-accounting-2"')


MAKERS = [lambda **given: AdoptPolicy(**{"text": TEXT} | given)]
FIELD_KINDS: dict[str, str] = {"text": "text"}
OTHER_FIELDS: set[str] = set()
CODES = ["policy-missing", "policy-version-used", "role-missing"]


def adopted(text: str) -> PolicyAdopted:
    return PolicyAdopted(version=parse_policy(text).version, sha256=policy_digest(text), text=text)


def test_the_default_policy_knows_every_purpose_and_class() -> None:
    assert set(DEFAULT.purposes) == set(Purpose)
    assert set(DEFAULT.retention) == set(RetentionClass)
    assert DEFAULT.retention[RetentionClass.ACCOUNTING].months == 7 * 12
    used = {activity.purpose for activity in DEFAULT.activities.values()}
    assert used == set(Purpose)


def test_a_field_is_allowed_by_an_activity_or_by_none() -> None:
    asked = {"purpose": Purpose.PARTNER_OFFERS, "role": SubjectRole.CONTROLLER, "retention_class": "marketing"}
    asked["retention_class"] = RetentionClass.MARKETING
    assert DEFAULT.activity_for("email", basis=LegalBasis.CONSENT, **asked) == "partner-offers"
    assert DEFAULT.activity_for("email", basis=LegalBasis.LEGITIMATE_INTEREST, **asked) is None
    assert DEFAULT.activity_for("iban", basis=LegalBasis.CONSENT, **asked) is None
    assert DEFAULT.activity_for("shoe-size", basis=LegalBasis.CONSENT, **asked) is None


@pytest.mark.parametrize(
    ("old", "new", "place", "line_of"),
    [
        ('purpose = "partner-offers"', 'purpose = "gifts"', "purpose", 'purpose = "gifts"'),
        ("partner_offers = 2", "partner_offers = -1", "policy.marketing.partner_offers", "partner_offers = -1"),
        ("window_months = 12", "window_month = 12", "policy.marketing.window_month", "window_month = 12"),
        ('[fields.iban]\ncategory = "financial"', '[fields.iban]\ncategory = "money"', "fields.iban", '"money"'),
        ("[retention.order]", "[retention.orders]", "policy.retention.orders", "[retention.orders]"),
        ('order_uses = ["proof", ', "order_uses = [", "policy.order_uses", "order_uses = ["),
        ("[fields.given-name]", '[fields."Given Name"]', "policy.fields.Given Name", '"Given Name"'),
        ('version = "ee-accounting-1"', 'version = "ee accounting"', "policy.version", "version ="),
    ],
)
def test_a_bad_policy_is_refused_with_its_line_and_reason(old: str, new: str, place: str, line_of: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(Invalid) as refused:
        parse_policy(text)
    line = 1 + next(i for i, line in enumerate(text.splitlines()) if line_of in line)
    assert place in str(refused.value)
    assert f"line {line})" in str(refused.value)


def test_a_policy_that_is_no_toml_or_too_long_is_refused() -> None:
    with pytest.raises(Invalid, match="line 3"):
        parse_policy("version = 'x'\n\n[broken\n")
    with pytest.raises(Invalid, match="bytes"):
        parse_policy(TEXT + "#" * MAX_POLICY_BYTES)


@pytest.mark.rule("policy-is-whole")
def test_a_policy_is_adopted_to_the_byte_by_those_who_answer_for_it(bench: Bench) -> None:
    bench.when(AdoptPolicy(text=TEXT)).then(adopted(TEXT))
    bench.when(AdoptPolicy(text=NEXT), by=SUPPORT).refused(RoleMissing)
    bench.when(AdoptPolicy(text=TEXT)).refused(Invalid)
    bench.when(AdoptPolicy(text="version = 1")).refused(Invalid)


@pytest.mark.rule("policy-version-is-new")
def test_a_version_names_one_text_for_ever(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=TEXT), AdoptPolicy(text=NEXT))
    bench.when(AdoptPolicy(text=TEXT + "# changed\n")).refused(PolicyVersionUsed, version="ee-accounting-1")
    bench.when(AdoptPolicy(text=TEXT)).then(adopted(TEXT))


def test_a_decision_is_explained_by_what_stood_before_it_and_the_same_later(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=TEXT), RegisterSubject(subject_id=an_id("mari")), AdoptPolicy(text=NEXT))
    first = explain(bench.ledger, 2)
    assert (first.command, first.allowed, [fact.index for fact in first.facts]) == ("adopt-policy", True, [0])
    assert first.policy is not None
    assert first.policy.version == "ee-accounting-1"
    bench.given(RegisterSubject(subject_id=an_id("jaan")), AdoptPolicy(text=TEXT))
    assert explain(bench.ledger, 2) == first
    now = explain_command(bench.ledger, AdoptPolicy(text=TEXT), OFFICER)
    assert (now.allowed, now.refusal, [fact.index for fact in now.facts]) == (False, "invalid", [0, 2, 4])
