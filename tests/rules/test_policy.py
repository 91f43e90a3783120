"""The policy: valid or refused with its line, adopted whole, and what past decisions are explained under."""

from __future__ import annotations

import pytest

from ledger.commands import AdoptPolicy, RegisterSubject
from ledger.errors import Invalid, PolicyVersionUsed, RoleMissing
from ledger.events import PolicyAdopted, ProcessingActivityRegistered
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


def registered(text: str, *names: str) -> list[ProcessingActivityRegistered]:
    """Return what the adoption of a policy registers: these activities, or all."""
    policy = parse_policy(text)
    return [
        ProcessingActivityRegistered(
            activity=name,
            policy_version=policy.version,
            purpose=activity.purpose,
            bases=activity.bases,
            roles=activity.roles,
            categories=activity.categories,
            retention_class=activity.retention_class,
            recipients=activity.recipients,
        )
        for name, activity in policy.activities.items()
        if not names or name in names
    ]


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
    bench.when(AdoptPolicy(text=TEXT)).then(adopted(TEXT), *registered(TEXT))
    bench.when(AdoptPolicy(text=NEXT), by=SUPPORT).refused(RoleMissing)
    bench.when(AdoptPolicy(text=TEXT)).refused(Invalid)
    bench.when(AdoptPolicy(text="version = 1")).refused(Invalid)


@pytest.mark.rule("activities-are-registered")
def test_an_activity_is_registered_where_it_is_new_or_changed(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=TEXT)).when(AdoptPolicy(text=NEXT)).then(adopted(NEXT))
    changed = NEXT.replace("-2", "-3", 1).replace('"e-mail", "postal"]', '"e-mail"]', 1)
    assert changed.count("ee-accounting-3") == 1
    bench.when(AdoptPolicy(text=changed)).then(adopted(changed), *registered(changed, "e-invoicing"))


@pytest.mark.rule("policy-version-is-new")
def test_a_version_names_one_text_for_ever(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=TEXT), AdoptPolicy(text=NEXT))
    bench.when(AdoptPolicy(text=TEXT + "# changed\n")).refused(PolicyVersionUsed, version="ee-accounting-1")
    bench.when(AdoptPolicy(text=TEXT)).then(adopted(TEXT))


def test_a_decision_is_explained_by_what_stood_before_it_and_the_same_later(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=TEXT), RegisterSubject(subject_id=an_id("mari")))
    second = bench.ledger.size()
    bench.given(AdoptPolicy(text=NEXT))
    first = explain(bench.ledger, second)
    assert (first.command, first.allowed, [fact.index for fact in first.facts]) == ("adopt-policy", True, [0])
    assert first.policy is not None
    assert first.policy.version == "ee-accounting-1"
    activity = explain(bench.ledger, 1)
    assert (activity.command, activity.facts, activity.policy) == ("adopt-policy", (), None)
    bench.given(RegisterSubject(subject_id=an_id("jaan")))
    third = bench.ledger.size()
    bench.given(AdoptPolicy(text=TEXT))
    assert explain(bench.ledger, second) == first
    now = explain_command(bench.ledger, AdoptPolicy(text=TEXT), OFFICER)
    assert (now.allowed, now.refusal, [fact.index for fact in now.facts]) == (False, "invalid", [0, second, third])
    assert now.policy is not None
    assert now.policy.index == third


def test_a_decision_that_read_no_policy_is_explained_with_that_of_its_day(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=an_id("mari")), AdoptPolicy(text=TEXT))
    before, index = explain(bench.ledger, 0), bench.ledger.size()
    assert before.policy is None
    bench.given(RegisterSubject(subject_id=an_id("jaan")))
    found = explain(bench.ledger, index)
    assert found.policy is not None
    assert (found.policy.version, found.policy.index, found.facts) == ("ee-accounting-1", 1, ())
    bench.given(AdoptPolicy(text=NEXT))
    assert (explain(bench.ledger, 0), explain(bench.ledger, index)) == (before, found)


def test_what_nobody_decided_is_not_explained(bench: Bench) -> None:
    with pytest.raises(Invalid):
        explain(bench.ledger, 0)
