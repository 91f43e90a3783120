"""What is permanent about events: topics, and which fields are personal. A change here breaks every ledger there is."""

from __future__ import annotations

import msgspec
import pytest

import ledger.commands  # noqa: F401  every command registers itself
from ledger.command import BY_NAME
from ledger.events import BY_TOPIC, Event, upcaster

# topic: (version, personal fields, the field of named personal values). Add lines; never change or remove one.
PERMANENT: dict[str, tuple[int, tuple[str, ...], str | None]] = {
    "subject-registered": (1, (), None),
    "identifier-linked": (1, ("value",), None),
    "consent-given": (1, (), None),
    "consent-withdrawn": (1, (), None),
    "personal-data-collected": (1, (), "values"),
    "data-corrected": (1, (), "values"),
    "disclosure-requested": (1, (), None),
    "disclosure-authorized": (1, (), None),
    "disclosure-refused": (1, (), None),
    "disclosure-transmitted": (1, (), None),
    "disclosure-voided": (1, (), None),
    "order-recorded": (2, ("content", "file_name"), None),
    "order-amended": (1, ("content", "file_name"), None),
    "order-cancelled": (1, (), None),
    "order-executed": (1, (), None),
    "order-confirmed": (1, (), None),
    "order-disputed": (1, ("statement",), None),
    "dispute-resolved": (1, ("statement",), None),
    "erasure-decided": (1, (), None),
    "key-destroyed": (1, (), None),
    "personal-data-erased": (1, (), None),
    "signing-key-rotated": (1, (), None),
    "signing-key-retired": (1, (), None),
    "index-committed": (1, (), None),
    "policy-adopted": (1, (), None),
    "request-received": (1, ("statement",), None),
    "identity-verified": (1, (), None),
    "deadline-extended": (1, (), None),
    "deadline-missed": (1, (), None),
    "request-forwarded": (1, (), None),
    "answer-delivered": (1, (), None),
    "request-fulfilled": (1, (), None),
    "request-refused": (1, (), None),
    "correction-proposed": (1, (), "values"),
    "correction-rejected": (1, (), None),
    "statement-attached": (1, ("statement",), None),
    "processing-restricted": (1, (), None),
    "restriction-lifted": (1, (), None),
    "address-notified": (1, (), None),
    "order-use-denied": (1, (), None),
    "order-used": (1, (), None),
    "order-rejected": (1, (), None),
    "order-released": (1, (), None),
    "order-quarantined": (1, (), None),
    "mandate-revoked": (1, (), None),
    "mandate-given": (1, (), None),
    "erasure-deferred": (1, (), None),
    "retention-expired": (1, (), None),
    "relationship-resumed": (1, (), None),
    "relationship-ended": (1, (), None),
    "legal-hold-released": (1, (), None),
    "legal-hold-reviewed": (1, (), None),
    "legal-hold-placed": (1, (), None),
    "processing-activity-registered": (1, (), None),
    "data-used": (1, (), None),
    "use-denied": (1, (), None),
    "purpose-change-assessed": (1, (), None),
    "subjects-merged": (1, (), None),
    "subjects-unmerged": (1, (), None),
    "document-published": (1, (), None),
    "document-text-kept": (1, (), None),
    "document-presented": (1, (), None),
    "terms-accepted": (1, (), None),
    "employee-onboarded": (1, (), None),
    "confidentiality-acknowledged": (1, (), None),
    "acknowledgement-lapsed": (1, (), None),
    "violation-reported": (1, ("employee", "details"), None),
    "violation-resolved": (1, ("details",), None),
    "employee-offboarded": (1, (), None),
    "breach-suspected": (1, ("facts",), None),
    "breach-confirmed": (1, (), None),
    "breach-assessed": (1, ("effects", "measures"), None),
    "authority-notified": (1, ("delay_reason",), None),
    "subjects-notified": (1, (), None),
    "breach-closed": (1, (), None),
    "recipient-registered": (1, ("trader_name",), None),
    "recipient-ended": (1, (), None),
    "data-sent-to-processor": (1, (), None),
    "transmission-denied": (1, (), None),
    "disclosure-failed": (1, (), None),
    "recall-owed": (1, (), None),
    "recipient-notified": (1, (), None),
    "contact-classified": (1, (), None),
    "sale-recorded": (1, (), None),
    "marketing-consent-given": (1, (), None),
    "marketing-consent-withdrawn": (1, (), None),
    "marketing-objected": (1, ("digests",), None),
    "campaign-planned": (1, (), None),
    "offer-reserved": (1, (), None),
    "offer-sent": (1, (), None),
    "offer-suppressed": (1, (), None),
    "source-registered": (1, (), None),
    "lawfulness-guaranteed": (1, (), None),
    "guarantee-revoked": (1, (), None),
    "batch-imported": (1, (), None),
    "batch-quarantined": (1, (), None),
    "record-suppressed": (1, (), None),
    "subject-informed": (1, (), None),
    "personal-data-read": (1, (), None),
    "access-refused": (1, (), None),
    "unusual-reading": (1, (), None),
    "flag-reviewed": (1, (), None),
    "actor-revealed": (1, (), None),
}

COMMANDS = [
    "accept-terms",
    "acknowledge-confidentiality",
    "adopt-policy",
    "amend-order",
    "assess-breach",
    "assess-purpose-change",
    "attach-statement",
    "authorize-disclosure",
    "cancel-order",
    "classify-contact",
    "close-breach",
    "collect-data",
    "confirm-breach",
    "confirm-order",
    "correct-data",
    "decide-erasure",
    "deliver-answer",
    "destroy-keys",
    "dispute-order",
    "end-recipient",
    "end-relationship",
    "execute-order",
    "expire-breach",
    "expire-retention",
    "expire-violation",
    "extend-deadline",
    "fail-disclosure",
    "flag-reading",
    "forward-request",
    "fulfil-request",
    "give-consent",
    "give-mandate",
    "give-marketing-consent",
    "import-batch",
    "import-record",
    "inform-subject",
    "lapse-acknowledgement",
    "lift-restriction",
    "link-identifier",
    "merge-subjects",
    "miss-deadline",
    "notify-address",
    "notify-authority",
    "notify-recipient",
    "notify-subjects",
    "object-to-marketing",
    "offboard-employee",
    "onboard-employee",
    "place-hold",
    "plan-campaign",
    "present-document",
    "propose-correction",
    "publish-document",
    "receive-request",
    "record-guarantee",
    "record-order",
    "record-read",
    "record-refused-access",
    "record-sale",
    "refuse-disclosure",
    "refuse-request",
    "register-recipient",
    "register-source",
    "register-subject",
    "reject-correction",
    "reject-order",
    "release-hold",
    "release-order",
    "report-violation",
    "request-disclosure",
    "reserve-offer",
    "resolve-dispute",
    "resolve-violation",
    "restrict-processing",
    "resume-relationship",
    "reveal-actor",
    "review-flag",
    "review-hold",
    "revoke-guarantee",
    "revoke-mandate",
    "send-offer",
    "send-to-processor",
    "suppress-offer",
    "suspect-breach",
    "transmit-disclosure",
    "unmerge-subjects",
    "use-data",
    "use-order",
    "verify-identity",
    "void-disclosure",
    "withdraw-consent",
    "withdraw-marketing-consent",
]


def test_topics_versions_and_personal_fields_are_the_permanent_ones() -> None:
    found = {topic: (cls.VERSION, cls.PERSONAL, cls.PERSONAL_MAP) for topic, cls in BY_TOPIC.items()}
    assert found == PERMANENT


def test_command_names_are_the_permanent_ones() -> None:
    """They stand in the digests of idempotency keys, which are for ever."""
    assert sorted(BY_NAME) == COMMANDS


@pytest.mark.parametrize("topic", PERMANENT)
def test_every_event_is_frozen_and_takes_nothing_it_does_not_know(topic: str) -> None:
    cls = BY_TOPIC[topic]
    assert cls.__struct_config__.frozen
    assert cls.__struct_config__.forbid_unknown_fields
    assert cls.__struct_config__.omit_defaults
    assert topic == cls.TOPIC


@pytest.mark.parametrize("topic", PERMANENT)
def test_every_older_version_has_its_upcaster(topic: str) -> None:
    cls = BY_TOPIC[topic]
    for version in range(1, cls.VERSION):
        assert callable(upcaster(cls, version))


def test_an_event_cannot_be_changed() -> None:
    (registered,) = [cls for topic, cls in BY_TOPIC.items() if topic == "consent-withdrawn"]
    event = registered(consent_id="c", subject_id="s", channel="phone")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        event.subject_id = "other"  # type: ignore[attr-defined]


def test_every_registered_event_is_of_our_base() -> None:
    assert all(issubclass(cls, Event) and issubclass(cls, msgspec.Struct) for cls in BY_TOPIC.values())
