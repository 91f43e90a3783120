"""What a restriction forbids: data is kept and not used, but by a consent given since, and for claims. GDPR Art. 18.

What a restriction is, and when it is lifted, is tested in test_accuracy.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from ledger.commands import (
    GiveConsent,
    LiftRestriction,
    ProposeCorrection,
    RegisterSubject,
    RestrictProcessing,
    WithdrawMarketingConsent,
)
from ledger.errors import Restricted
from ledger.events import (
    DataSentToProcessor,
    DataUsed,
    DisclosureAuthorized,
    OfferSuppressed,
    OrderUsed,
    OrderUseDenied,
    UseDenied,
)
from ledger.explain import explain
from ledger.vocabulary import (
    Channel,
    Purpose,
    RecipientCategory,
    RestrictionGround,
    Word,
)
from tests.bench import START, Bench, an_id
from tests.rules import test_disclosure as disclosures
from tests.rules import test_marketing as offers
from tests.rules import test_order as orders
from tests.rules import test_recipient as processors
from tests.rules import test_use as uses

MARI, RESTRICTION = an_id("mari"), an_id("restriction")
TEXT_SHA256: Any = sha256(b"Use it all the same").hexdigest()
EMAIL: Any = ("email",)


def restrict(*fields: str, **given: Any) -> RestrictProcessing:
    usual: dict[str, Any] = {"restriction_id": RESTRICTION, "subject_id": MARI, "ground": RestrictionGround.CLAIMS}
    return RestrictProcessing(**usual | {"channel": Channel.EMAIL, "fields": fields} | given)


LIFT = LiftRestriction(
    restriction_id=RESTRICTION,
    subject_id=MARI,
    reason=Word("settled"),
    channel=Channel.EMAIL,
)


def consent_to_use(name: str, **given: Any) -> GiveConsent:
    usual: dict[str, Any] = {"consent_id": an_id(name), "subject_id": MARI, "purpose": Purpose.CONTRACT}
    said: dict[str, Any] = {"text_sha256": TEXT_SHA256, "language": "et", "channel": Channel.LINK}
    return GiveConsent(**usual | said | {"fields": EMAIL} | given)


# --- disclosures -------------------------------------------------------------------------------------------------


@pytest.fixture
def disclosing(bench: Bench) -> Bench:
    return bench.given(
        disclosures.POLICY, RegisterSubject(subject_id=MARI), disclosures.collect(), disclosures.partner()
    )


@pytest.mark.rule("restricted-data-is-not-disclosed")
def test_a_permission_from_before_a_restriction_permits_no_disclosure(disclosing: Bench) -> None:
    disclosing.given(disclosures.consent(), restrict(), disclosures.request())
    disclosing.when(disclosures.authorize()).refused(Restricted, disclosures.refused("restricted"), subject=MARI)
    found = explain(disclosing.ledger, disclosing.ledger.size() - 1)
    assert [rule.id for rule in found.rules] == ["restricted-data-is-not-disclosed"]
    assert "processing-restricted" in [fact.topic for fact in found.facts]


@pytest.mark.rule("restricted-data-is-not-disclosed")
def test_a_restriction_between_authorization_and_transmission_voids_the_token(disclosing: Bench) -> None:
    disclosing.given(disclosures.consent(), disclosures.request(), disclosures.authorize(), restrict("address"))
    disclosing.given(disclosures.consent(consent_id=an_id("since")))
    disclosing.when(disclosures.transmit()).refused(Restricted, disclosures.voided("restricted"))


@pytest.mark.rule("restricted-data-is-not-disclosed")
def test_a_consent_given_since_the_restriction_is_to_this_very_disclosure(disclosing: Bench) -> None:
    anew = an_id("since")
    disclosing.given(disclosures.consent(), restrict(), disclosures.consent(consent_id=anew), disclosures.request())
    (event,) = disclosing.when(disclosures.authorize()).events
    assert isinstance(event, DisclosureAuthorized)
    assert event.consent_id == anew, "it does not rest on the one from before"
    disclosing.when(disclosures.transmit()).then(disclosures.transmitted())


@pytest.mark.rule("restricted-data-is-not-disclosed")
def test_a_restriction_of_one_field_leaves_the_others(disclosing: Bench) -> None:
    disclosing.given(disclosures.consent(), restrict("address"), disclosures.request())
    disclosing.given(disclosures.authorize(fields=EMAIL))
    disclosing.when(disclosures.transmit(fields=EMAIL)).then(disclosures.transmitted(fields=EMAIL))


@pytest.mark.rule("restricted-data-is-not-disclosed")
def test_a_restriction_binds_neither_the_law_nor_claims_nor_once_it_is_lifted(disclosing: Bench) -> None:
    disclosing.given(restrict(), disclosures.by_law(), disclosures.authorize())
    disclosing.when(disclosures.transmit()).then(disclosures.transmitted())
    claim: dict[str, Any] = {"disclosure_id": an_id("a claim")}
    disclosing.given(disclosures.consent(purpose=Purpose.LEGAL), disclosures.request(**claim, purpose=Purpose.LEGAL))
    disclosing.given(disclosures.authorize(**claim)).when(disclosures.transmit(**claim)).then(
        disclosures.transmitted(**claim)
    )
    later: dict[str, Any] = {"disclosure_id": an_id("later"), "purpose": Purpose.SERVICE}
    disclosing.given(disclosures.consent(consent_id=an_id("service"), purpose=Purpose.SERVICE), LIFT)
    disclosing.given(disclosures.request(**later))
    assert disclosing.when(disclosures.authorize(disclosure_id=later["disclosure_id"])).refusal is None


# --- use and processors ------------------------------------------------------------------------------------------


@pytest.fixture
def using(bench: Bench) -> Bench:
    return bench.given(uses.ADOPT, uses.REGISTER, uses.collect(), uses.collect({"phone": "+372 5"}))


def denied(**given: Any) -> UseDenied:
    return uses.denied("use-data", "restricted", **{"fields": EMAIL} | given)


@pytest.mark.rule("restricted-data-is-not-used")
def test_restricted_data_is_not_used_and_the_denial_is_kept(using: Bench) -> None:
    using.given(consent_to_use("before"), restrict("email"))
    using.when(uses.use(), by=uses.SERVICE).refused(Restricted, denied(), subject=MARI)
    phone: Any = ("phone",)
    assert using.when(uses.use(fields=phone), by=uses.SERVICE).refusal is None, "it is not restricted"
    using.given(LIFT)
    assert using.when(uses.use(), by=uses.SERVICE).refusal is None


@pytest.mark.rule("restricted-data-is-not-used")
def test_contested_data_is_not_used(using: Bench) -> None:
    version = using.ledger.size() - 2
    using.given(
        ProposeCorrection(
            proposal_id=an_id("a proposal"),
            subject_id=MARI,
            field=Word("email"),
            value="mari@example.org",
            expected_version=version,
            channel=Channel.PHONE,
        )
    )
    using.when(uses.use(), by=uses.SERVICE).refused(Restricted, denied())


@pytest.mark.rule("restricted-data-is-not-used")
def test_a_consent_to_this_very_use_given_since_lifts_it(using: Bench) -> None:
    using.given(restrict(), consent_to_use("another purpose", purpose=Purpose.SERVICE))
    using.given(consent_to_use("another recipient", recipient_id=an_id("a partner")))
    using.when(uses.use(), by=uses.SERVICE).refused(Restricted, denied())
    using.given(consent_to_use("this use"))
    using.when(uses.use(), by=uses.SERVICE).then(
        DataUsed(subject_id=MARI, purpose=Purpose.CONTRACT, fields=EMAIL, case_reference="T-17")  # type: ignore[arg-type]
    )


@pytest.mark.rule("restricted-data-is-not-used")
def test_restricted_data_is_used_for_claims(using: Bench) -> None:
    using.given(restrict(), uses.assess(purpose=Purpose.LEGAL))
    assert using.when(uses.use(purpose=Purpose.LEGAL), by=uses.SERVICE).refusal is None


@pytest.mark.rule("restricted-data-is-not-sent")
def test_restricted_data_goes_to_no_processor(bench: Bench) -> None:
    bench.given(processors.POLICY, RegisterSubject(subject_id=MARI))
    bench.given(processors.register_recipient(category=RecipientCategory.POSTAL), restrict())
    asked = processors.send()
    bench.when(asked).refused(Restricted, processors.denied("restricted"), subject=MARI)
    bench.given(consent_to_use("this use", purpose=asked.purpose, fields=asked.fields))
    (event,) = bench.when(asked).events
    assert isinstance(event, DataSentToProcessor)


# --- orders ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("restricted-orders-are-for-proof")
def test_while_data_is_restricted_orders_are_for_proof_only(bench: Bench) -> None:
    bench.given(orders.ADOPT, orders.REGISTER, orders.order(), restrict("email"))
    assert bench.when(orders.use(use="reproduction")).refusal is None, "an order is no e-mail address"
    bench.given(restrict(restriction_id=an_id("everything")))
    bench.when(orders.use()).then(OrderUsed(**orders.WHOSE, use=Word("proof")))
    for use in ("reproduction", "complaint-handling"):
        no = OrderUseDenied(**orders.WHOSE, use=Word(use), reason=Word("restricted"))
        bench.when(orders.use(use=use)).refused(Restricted, no, subject=MARI)


# --- offers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def offering(bench: Bench) -> Bench:
    return bench.given(
        offers.POLICY, offers.register(), offers.collect(), offers.plan(), offers.classify(), offers.agree()
    )


def held_back(**given: Any) -> OfferSuppressed:
    return offers.held_back("restricted", **given)


@pytest.mark.rule("no-offers-under-restriction")
def test_while_data_is_restricted_no_offer_is_reserved_or_sent(offering: Bench) -> None:
    offering.given(offers.reserve(), restrict("email"))
    offering.when(offers.send()).refused(Restricted, held_back(), subject=MARI)
    offering.when(offers.reserve()).refused(Restricted, held_back())
    offering.given(LIFT)
    assert offering.when(offers.reserve()).refusal is None


@pytest.mark.rule("no-offers-under-restriction")
def test_a_restriction_of_other_fields_stops_no_offer(offering: Bench) -> None:
    offering.given(restrict("iban", "phone"))
    assert offering.when(offers.reserve()).refusal is None


@pytest.mark.rule("no-offers-under-restriction")
def test_who_agrees_to_offers_while_restricted_gets_these_and_no_others(offering: Bench) -> None:
    by_post: dict[str, Any] = {"campaign_id": an_id("by post")}
    anew: dict[str, Any] = {"consent_id": an_id("anew")}
    offering.given(offers.collect(values={"address": "Tartu"}), offers.plan(**by_post, channel=Channel.POST))
    offering.given(restrict(), offers.agree(**anew))
    offering.when(offers.reserve()).then(offers.reserved())
    offering.when(offers.reserve(**by_post)).refused(Restricted, held_back(**by_post))
    offering.given(WithdrawMarketingConsent(**anew, subject_id=MARI, channel=Channel.LINK, received_at=START)).when(
        offers.send()
    ).refused(Restricted, held_back())
