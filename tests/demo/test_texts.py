"""The texts: a digest that holds, the recipient named in what was shown, an amendment a month ahead."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest

from api.demo import texts
from api.demo.people import RECIPIENTS, Language, Recipient


@pytest.mark.parametrize("language", ["et", "en"])
@pytest.mark.parametrize("recipient", RECIPIENTS, ids=lambda one: one.handle)
def test_the_recipient_is_named_in_the_consent_text(recipient: Recipient, language: Language) -> None:
    text = texts.consent_text(recipient, language)
    assert recipient.name in text.body
    assert "{" not in text.body
    assert text.sha256 == hashlib.sha256(text.body.encode("utf-8")).hexdigest()


def test_every_text_is_distinct() -> None:
    shown = [texts.consent_text(one, language).sha256 for one in RECIPIENTS for language in texts.MAIL]
    published = [text.sha256 for text in texts.TERMS]
    assert len(set(shown + published)) == len(RECIPIENTS) * 2 + len(texts.TERMS)


@pytest.mark.parametrize(
    ("on", "version"), [(date(2026, 1, 1), "2026-01"), (date(2026, 6, 30), "2026-01"), (date(2026, 7, 1), "2026-07")]
)
def test_terms_change_on_their_day(on: date, version: str) -> None:
    assert texts.terms_in_force(on, "et").version == texts.terms_in_force(on, "en").version == version


def test_amended_terms_are_published_a_month_ahead() -> None:
    assert all((text.effective_on - text.published_on).days >= 31 for text in texts.TERMS)
