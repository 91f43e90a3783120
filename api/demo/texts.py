"""The demo's own texts: terms, the consent texts shown, phrases of e-mails; in Estonian and English.

A consent or an acceptance binds to the exact text in the language shown (GDPR Art. 7(1)), so each text is what was on
the screen and `sha256` is of its UTF-8 bytes. The company is invented. No legal advice: a demo's words only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date

import msgspec

from api.demo.people import E_INVOICE, PARTNER_OFFERS, Language, Recipient

COMPANY = "Näidisarvestus OÜ"
ORDER_DESK = "tellimused@example.com"


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A published text. Effective from the start of `effective_on`; an amendment at least one month after
    `published_on`."""

    kind: str
    version: str
    language: Language
    published_on: date
    effective_on: date
    body: str

    @property
    def sha256(self) -> str:
        """Lower-case hexadecimal SHA-256 of the body's UTF-8 bytes."""
        return hashlib.sha256(self.body.encode()).hexdigest()


def consent_text(recipient: Recipient, language: Language) -> Text:
    """Return the consent text shown for this recipient, who is named in it (EDPB Guidelines 05/2020 §65)."""
    return Text(
        kind=f"consent-{recipient.purpose}",
        version="2026-01",
        language=language,
        published_on=date(2025, 11, 20),
        effective_on=date(2026, 1, 1),
        body=_CONSENT[recipient.purpose, language].format(company=COMPANY, recipient=recipient.name),
    )


def terms_in_force(on: date, language: Language) -> Text:
    """Return the newest terms effective on that day; before any, the first ones."""
    published = [text for text in TERMS if text.language == language]
    in_force = [text for text in published if text.effective_on <= on]
    return in_force[-1] if in_force else published[0]


_CONSENT: Mapping[tuple[str, Language], str] = {
    (PARTNER_OFFERS, "et"): (
        "Luban ettevõttel {company} edastada minu nime ja e-posti aadressi ettevõttele {recipient}, et saaksin "
        "selle partneri pakkumisi. Nõusolek on vabatahtlik ja kehtib ainult sellele partnerile. Võin nõusoleku igal "
        "ajal tagasi võtta tarkvaras, e-kirjaga või telefoni teel; enne tagasivõtmist tehtud edastamine jääb "
        "õiguspäraseks.\n"
    ),
    (PARTNER_OFFERS, "en"): (
        "I permit {company} to pass my name and e-mail address to {recipient}, so that I receive this partner's "
        "offers. Consent is voluntary and holds for this partner only. I may withdraw it at any time in the "
        "software, by e-mail or by phone; what was passed on before the withdrawal stays lawful.\n"
    ),
    (E_INVOICE, "et"): (
        "Luban ettevõttel {company} edastada minu nime, e-posti aadressi ja arvelduskonto numbri ettevõttele "
        "{recipient}, et minu arved jõuaksid saajani e-arvetena. Nõusolek on vabatahtlik. Võin nõusoleku igal ajal "
        "tagasi võtta tarkvaras, e-kirjaga või telefoni teel; seejärel saadetakse arved tavalise e-kirjaga.\n"
    ),
    (E_INVOICE, "en"): (
        "I permit {company} to pass my name, e-mail address and account number to {recipient}, so that my invoices "
        "reach the buyer as e-invoices. Consent is voluntary. I may withdraw it at any time in the software, by "
        "e-mail or by phone; invoices are then sent by ordinary e-mail.\n"
    ),
}

_TERMS_2026_01: Mapping[Language, str] = {
    "et": (
        "Näidisarvestus OÜ tingimused, versioon 2026-01.\n"
        "1. Kliendi tellimused, mis on antud tarkvaras või e-kirjaga, salvestatakse muutmata kujul.\n"
        "2. Salvestist kasutatakse tellimuse ja tehingu tõendamiseks ning taasesitamiseks.\n"
        "3. Isikuandmeid ei avaldata kolmandatele isikutele, välja arvatud seaduse nõudel või isiku loal.\n"
    ),
    "en": (
        "Terms of Näidisarvestus OÜ, version 2026-01.\n"
        "1. Client orders given in the software or by e-mail are recorded unchanged.\n"
        "2. The record is used to prove and to reproduce the order and the transaction.\n"
        "3. Personal data is not disclosed to third parties, unless the law requires or the person permits it.\n"
    ),
}
_TERMS_2026_07: Mapping[Language, str] = {
    "et": (
        _TERMS_2026_01["et"].replace("2026-01", "2026-07")
        + "4. Salvestist kasutatakse ka kliendi vaidluse lahendamiseks.\n"
    ),
    "en": (
        _TERMS_2026_01["en"].replace("2026-01", "2026-07")
        + "4. The record is also used to resolve a dispute with the client.\n"
    ),
}


def _terms(version: str, published_on: date, effective_on: date, bodies: Mapping[Language, str]) -> list[Text]:
    return [
        Text(
            kind="terms",
            version=version,
            language=language,
            published_on=published_on,
            effective_on=effective_on,
            body=body,
        )
        for language, body in bodies.items()
    ]


TERMS: tuple[Text, ...] = (
    *_terms("2026-01", date(2025, 11, 20), date(2026, 1, 1), _TERMS_2026_01),
    *_terms("2026-07", date(2026, 5, 20), date(2026, 7, 1), _TERMS_2026_07),
)


class MailPhrases(msgspec.Struct, frozen=True, kw_only=True):
    """An order in words; `{…}` are filled by whoever writes the message."""

    pay_subject: str
    pay_body: str
    invoice_subject: str
    invoice_body: str
    attached: str
    amended: str


MAIL: Mapping[Language, MailPhrases] = {
    "et": MailPhrases(
        pay_subject="Maksekorraldus: arve {number}",
        pay_body=(
            "Tere!\n\nPalun makske arve {number} summas {amount} EUR saajale {payee}, kontole {iban}, "
            "hiljemalt {due}.\n{extra}\nTervitades\n{name}\n{company}\n{phone}\n"
        ),
        invoice_subject="Palun väljastage arve {number}",
        invoice_body=(
            "Tere!\n\nPalun väljastage ostjale {payee} arve {number} summas {amount} EUR (koos käibemaksuga), "
            "maksetähtaeg {due}.\n{extra}\nTervitades\n{name}\n{company}\n{phone}\n"
        ),
        attached="Fail on lisatud.\n",
        amended="See kiri asendab minu eelmise tellimuse.\n",
    ),
    "en": MailPhrases(
        pay_subject="Payment order: invoice {number}",
        pay_body=(
            "Hello,\n\nPlease pay invoice {number}, {amount} EUR, to {payee}, account {iban}, "
            "no later than {due}.\n{extra}\nKind regards\n{name}\n{company}\n{phone}\n"
        ),
        invoice_subject="Please issue invoice {number}",
        invoice_body=(
            "Hello,\n\nPlease issue invoice {number} to {payee}, {amount} EUR including VAT, "
            "due on {due}.\n{extra}\nKind regards\n{name}\n{company}\n{phone}\n"
        ),
        attached="The file is attached.\n",
        amended="This message replaces my previous order.\n",
    ),
}
