"""The bytes of orders: well-formed, totals that add up when read back, CRLF in e-mails, the same for the same seed."""

from __future__ import annotations

import email
import email.policy
import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime
from decimal import Decimal
from email.message import EmailMessage

import pytest

from api.demo import orders
from api.demo.orders import Attachment, Line, Transfer, email_order, invoice, payment_order
from api.demo.people import Cast

NS = {"p": orders.PAIN, "u": orders.UBL, "cac": orders.CAC, "cbc": orders.CBC}
AT = datetime(2026, 3, 4, 9, 30, 15, tzinfo=UTC)
CAST = Cast(11)


def a_payment(count: int = 3, message_id: str = "PT000001") -> bytes:
    transfers = [
        Transfer(
            end_to_end_id=f"{message_id}-E{place}",
            amount=Decimal("10.10") * (place + 1),
            creditor=CAST.person(place) if place % 2 else CAST.client(9 + place),
            remittance="Arve 17 & <lisa>",
        )
        for place in range(count)
    ]
    return payment_order(
        message_id=message_id, created_at=AT, execute_on=date(2026, 3, 5), debtor=CAST.client(0), transfers=transfers
    )


def an_invoice(*lines: Line) -> bytes:
    return invoice(
        number="2026-1",
        issued_on=date(2026, 3, 4),
        due_on=date(2026, 3, 18),
        seller=CAST.client(0),
        buyer=CAST.client(1),
        buyer_reference="leping 4",
        payment_reference="12344",
        lines=lines,
    )


def an_email(attachment: Attachment | None = None, message_id: str = "PT1.a@example.com") -> bytes:
    return email_order(
        message_id=message_id,
        sent_at=AT,
        sender=CAST.person(0),
        to="tellimused@example.com",
        subject="Maksekorraldus: arve 17 õigeaegselt",
        body="Tere!\n\nPalun makske arve 17 summas 30,30 EUR. Õ, ä, ö, ü.\n.\nFrom siin\n",
        attachment=attachment,
    )


def text(root: ET.Element, path: str) -> str:
    found = root.findtext(path, namespaces=NS)
    assert found is not None, path
    return found


@pytest.mark.parametrize("count", [1, 2, 7])
def test_payment_order_controls_agree_with_its_transfers(count: int) -> None:
    root = ET.fromstring(a_payment(count))
    amounts = [Decimal(one.text or "") for one in root.iterfind(".//p:InstdAmt", NS)]
    assert len(amounts) == count
    for block in (".//p:GrpHdr", ".//p:PmtInf"):
        assert text(root, f"{block}/p:NbOfTxs") == str(count)
        assert Decimal(text(root, f"{block}/p:CtrlSum")) == sum(amounts)
    ids = [one.text for one in root.iterfind(".//p:EndToEndId", NS)]
    assert len(set(ids)) == count
    assert all(one and len(one) <= 35 for one in ids)


def test_payment_order_names_the_debtor_and_escapes_text() -> None:
    root = ET.fromstring(a_payment())
    assert text(root, ".//p:Dbtr/p:Nm") == CAST.client(0).name
    assert text(root, ".//p:DbtrAcct/p:Id/p:IBAN") == CAST.client(0).iban
    assert text(root, ".//p:CreDtTm") == "2026-03-04T09:30:15Z"
    assert text(root, ".//p:RmtInf/p:Ustrd") == "Arve 17 & <lisa>"


def test_a_payment_order_without_transfers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        a_payment(0)


def test_invoice_totals_add_up_when_read_back() -> None:
    root = ET.fromstring(
        an_invoice(
            Line(name="Projekteerimine", quantity=Decimal("1.25"), unit="HUR", price=Decimal("33.33")),
            Line(name="Toolid", quantity=Decimal(3), unit="H87", price=Decimal("19.99")),
        )
    )
    net = Decimal(0)
    for line in root.iterfind("cac:InvoiceLine", NS):
        product = Decimal(text(line, "cbc:InvoicedQuantity")) * Decimal(text(line, "cac:Price/cbc:PriceAmount"))
        amount = Decimal(text(line, "cbc:LineExtensionAmount"))
        assert abs(product - amount) <= Decimal("0.005")
        net += amount
    total = "cac:LegalMonetaryTotal/cbc:"
    vat = Decimal(text(root, "cac:TaxTotal/cbc:TaxAmount"))
    assert net == Decimal("101.63")
    assert Decimal(text(root, f"{total}LineExtensionAmount")) == net
    assert Decimal(text(root, f"{total}TaxExclusiveAmount")) == net
    assert Decimal(text(root, "cac:TaxTotal/cac:TaxSubtotal/cbc:TaxableAmount")) == net
    assert Decimal(text(root, "cac:TaxTotal/cac:TaxSubtotal/cbc:TaxAmount")) == vat
    assert vat == Decimal("24.39")
    assert Decimal(text(root, f"{total}PayableAmount")) == net + vat == Decimal("126.02")
    assert {one.text for one in root.iter(f"{{{orders.CBC}}}Percent")} == {"24"}
    assert {one.attrib["currencyID"] for one in root.iter() if "currencyID" in one.attrib} == {"EUR"}


@pytest.mark.parametrize(
    ("quantity", "price", "net"),
    [("1.5", "0.01", "0.02"), ("0.25", "0.10", "0.03"), ("0.24", "0.10", "0.02"), ("3", "0.10", "0.30")],
)
def test_a_line_is_rounded_half_up(quantity: str, price: str, net: str) -> None:
    assert Line(name="x", quantity=Decimal(quantity), unit="H87", price=Decimal(price)).net == Decimal(net)


def test_email_has_crlf_only_and_reads_back() -> None:
    message = an_email()
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert max(map(len, message.split(b"\r\n"))) <= 78
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    assert parsed["Message-ID"] == "<PT1.a@example.com>"
    assert parsed["Date"].datetime == AT
    assert parsed["From"].addresses[0].display_name == CAST.person(0).name
    assert parsed["Subject"] == "Maksekorraldus: arve 17 õigeaegselt"
    assert "Õ, ä, ö, ü." in parsed.get_content()


def test_attached_xml_arrives_byte_for_byte() -> None:
    xml = a_payment()
    message = an_email(Attachment(filename="payment.xml", data=xml))
    assert b"\n" not in message.replace(b"\r\n", b"")
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    [part] = parsed.iter_attachments()
    assert part.get_content_type() == "application/xml"
    assert part.get_payload(decode=True) == xml


def test_same_arguments_give_the_same_bytes_and_another_id_another_boundary() -> None:
    attachment = Attachment(filename="payment.xml", data=a_payment())
    assert an_email(attachment) == an_email(attachment)
    first = email.message_from_bytes(an_email(attachment)).get_boundary()
    second = email.message_from_bytes(an_email(attachment, "PT2.a@example.com")).get_boundary()
    assert first != second
    assert a_payment() == a_payment() != a_payment(message_id="PT000002")
