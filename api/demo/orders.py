"""The exact bytes of orders: ISO 20022 payment orders, UBL invoices, e-mails.

Pure functions: same arguments, same bytes; moments and message ids are arguments. Amounts are Decimal, in euro, with
two decimals. What an order says is drawn in drafts.py; who takes part comes from people.py.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import msgspec

from api.demo.people import Address, Client, Person

XML = "application/xml"
MAIL_MESSAGE = "message/rfc822"

CENT = Decimal("0.01")
VAT_PERCENT = Decimal(24)  # Estonian standard rate from 2025-07-01: Käibemaksuseadus §15(1)

PAIN = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
UBL = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
CAC = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
CBC = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"
PEPPOL_CUSTOMIZATION = "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
PEPPOL_PROFILE = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"
ESTONIAN_REGISTRY = "0191"  # Electronic Address Scheme: Estonian business register code


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One credit transfer. `end_to_end_id` is at most 35 characters, `remittance` at most 140."""

    end_to_end_id: str
    amount: Decimal
    creditor: Person | Client
    remittance: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice line: `quantity` of `unit` (UN/ECE Recommendation 20) at `price` each, without VAT."""

    name: str
    quantity: Decimal
    unit: str
    price: Decimal

    @property
    def net(self) -> Decimal:
        """The line's amount without VAT, rounded half up to the cent."""
        return cents(self.quantity * self.price)


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file that travels with an e-mail; `data` arrives byte for byte."""

    filename: str
    data: bytes


def cents(amount: Decimal) -> Decimal:
    """Round half up to the cent."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def invoice_total(lines: Sequence[Line]) -> tuple[Decimal, Decimal, Decimal]:
    """Return net, VAT and gross; VAT is rounded once, on the sum. EN 16931 BR-CO-10, BR-CO-15, BR-CO-17."""
    net = sum((line.net for line in lines), Decimal("0.00"))
    vat = cents(net * VAT_PERCENT / 100)
    return net, vat, net + vat


# --- payment order --------------------------------------------------------------------------------------------


def payment_order(
    *,
    message_id: str,
    created_at: datetime,
    execute_on: date,
    debtor: Client,
    transfers: Sequence[Transfer],
) -> bytes:
    """Return a SEPA credit transfer initiation, pain.001.001.09: one debtor, one to many transfers.

    `message_id` is at most 35 characters, `created_at` is UTC-aware. The number of transactions and the control sum
    stand in the group header and in the payment block. Raises ValueError without a transfer.
    """
    if not transfers:
        raise ValueError("a payment order has at least one transfer")
    count, total = str(len(transfers)), str(sum((transfer.amount for transfer in transfers), Decimal("0.00")))

    document = ET.Element("Document", {"xmlns": PAIN})
    initiation = _put(document, "CstmrCdtTrfInitn")
    header = _put(initiation, "GrpHdr")
    _put(header, "MsgId", message_id)
    _put(header, "CreDtTm", f"{created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    _put(header, "NbOfTxs", count)
    _put(header, "CtrlSum", total)
    _company(_put(header, "InitgPty"), debtor)

    block = _put(initiation, "PmtInf")
    _put(block, "PmtInfId", f"{message_id}-1")
    _put(block, "PmtMtd", "TRF")
    _put(block, "NbOfTxs", count)
    _put(block, "CtrlSum", total)
    _put(block, "PmtTpInf/SvcLvl/Cd", "SEPA")
    _put(block, "ReqdExctnDt/Dt", execute_on.isoformat())
    _company(_put(block, "Dbtr"), debtor, debtor.address)
    account = _put(block, "DbtrAcct")
    _put(account, "Id/IBAN", debtor.iban)
    _put(account, "Ccy", "EUR")
    # An IBAN is enough inside SEPA; the schema still wants an agent. EPC132-08 Customer-to-PSP guidelines.
    _put(block, "DbtrAgt/FinInstnId/Othr/Id", "NOTPROVIDED")
    _put(block, "ChrgBr", "SLEV")
    for number, transfer in enumerate(transfers, 1):
        _transfer(_put(block, "CdtTrfTxInf"), transfer, f"{message_id}-{number}")
    return _bytes(document)


def _transfer(parent: ET.Element, transfer: Transfer, instruction_id: str) -> None:
    ids = _put(parent, "PmtId")
    _put(ids, "InstrId", instruction_id)
    _put(ids, "EndToEndId", transfer.end_to_end_id)
    _put(parent, "Amt/InstdAmt", str(transfer.amount), Ccy="EUR")
    creditor = _put(parent, "Cdtr")
    _put(creditor, "Nm", transfer.creditor.name)
    _postal(creditor, transfer.creditor.address)
    _put(parent, "CdtrAcct/Id/IBAN", transfer.creditor.iban)
    _put(parent, "RmtInf/Ustrd", transfer.remittance)


def _company(parent: ET.Element, client: Client, address: Address | None = None) -> None:
    _put(parent, "Nm", client.name)
    if address is not None:
        _postal(parent, address)
    other = _put(parent, "Id/OrgId/Othr")
    _put(other, "Id", client.registry_code)
    _put(other, "SchmeNm/Cd", "COID")


def _postal(parent: ET.Element, address: Address) -> None:
    postal = _put(parent, "PstlAdr")
    _put(postal, "StrtNm", address.street)
    _put(postal, "BldgNb", address.house)
    _put(postal, "PstCd", address.postcode)
    _put(postal, "TwnNm", address.town)
    _put(postal, "Ctry", address.country)


# --- invoice --------------------------------------------------------------------------------------------------


def invoice(
    *,
    number: str,
    issued_on: date,
    due_on: date,
    seller: Client,
    buyer: Client,
    buyer_reference: str,
    payment_reference: str,
    lines: Sequence[Line],
) -> bytes:
    """Return a commercial invoice, UBL 2.1 in the form of Peppol BIS Billing 3 (EN 16931), every line at 24 % VAT.

    `payment_reference` is the Estonian viitenumber. Raises ValueError without a line.
    """
    if not lines:
        raise ValueError("an invoice has at least one line")
    net, vat, gross = invoice_total(lines)

    root = ET.Element("Invoice", {"xmlns": UBL, "xmlns:cac": CAC, "xmlns:cbc": CBC})
    _put(root, "cbc:CustomizationID", PEPPOL_CUSTOMIZATION)
    _put(root, "cbc:ProfileID", PEPPOL_PROFILE)
    _put(root, "cbc:ID", number)
    _put(root, "cbc:IssueDate", issued_on.isoformat())
    _put(root, "cbc:DueDate", due_on.isoformat())
    _put(root, "cbc:InvoiceTypeCode", "380")  # UNTDID 1001: commercial invoice
    _put(root, "cbc:DocumentCurrencyCode", "EUR")
    _put(root, "cbc:BuyerReference", buyer_reference)
    _party(_put(root, "cac:AccountingSupplierParty/cac:Party"), seller)
    _party(_put(root, "cac:AccountingCustomerParty/cac:Party"), buyer)
    means = _put(root, "cac:PaymentMeans")
    _put(means, "cbc:PaymentMeansCode", "30")  # UNTDID 4461: credit transfer
    _put(means, "cbc:PaymentID", payment_reference)
    _put(means, "cac:PayeeFinancialAccount/cbc:ID", seller.iban)

    tax = _put(root, "cac:TaxTotal")
    _euro(tax, "cbc:TaxAmount", vat)
    subtotal = _put(tax, "cac:TaxSubtotal")
    _euro(subtotal, "cbc:TaxableAmount", net)
    _euro(subtotal, "cbc:TaxAmount", vat)
    _standard_rate(_put(subtotal, "cac:TaxCategory"))

    total = _put(root, "cac:LegalMonetaryTotal")
    _euro(total, "cbc:LineExtensionAmount", net)
    _euro(total, "cbc:TaxExclusiveAmount", net)
    _euro(total, "cbc:TaxInclusiveAmount", gross)
    _euro(total, "cbc:PayableAmount", gross)
    for position, line in enumerate(lines, 1):
        _invoice_line(_put(root, "cac:InvoiceLine"), line, position)
    return _bytes(root)


def _party(party: ET.Element, client: Client) -> None:
    _put(party, "cbc:EndpointID", client.registry_code, schemeID=ESTONIAN_REGISTRY)
    address = _put(party, "cac:PostalAddress")
    _put(address, "cbc:StreetName", f"{client.address.street} {client.address.house}")
    _put(address, "cbc:CityName", client.address.town)
    _put(address, "cbc:PostalZone", client.address.postcode)
    _put(address, "cac:Country/cbc:IdentificationCode", client.address.country)
    scheme = _put(party, "cac:PartyTaxScheme")
    _put(scheme, "cbc:CompanyID", client.vat_number)
    _put(scheme, "cac:TaxScheme/cbc:ID", "VAT")
    entity = _put(party, "cac:PartyLegalEntity")
    _put(entity, "cbc:RegistrationName", client.name)
    _put(entity, "cbc:CompanyID", client.registry_code, schemeID=ESTONIAN_REGISTRY)
    _put(party, "cac:Contact/cbc:ElectronicMail", client.email)


def _invoice_line(parent: ET.Element, line: Line, position: int) -> None:
    _put(parent, "cbc:ID", str(position))
    _put(parent, "cbc:InvoicedQuantity", str(line.quantity), unitCode=line.unit)
    _euro(parent, "cbc:LineExtensionAmount", line.net)
    item = _put(parent, "cac:Item")
    _put(item, "cbc:Name", line.name)
    _standard_rate(_put(item, "cac:ClassifiedTaxCategory"))
    _euro(_put(parent, "cac:Price"), "cbc:PriceAmount", line.price)


def _standard_rate(category: ET.Element) -> None:
    _put(category, "cbc:ID", "S")  # UNTDID 5305: standard rate
    _put(category, "cbc:Percent", str(VAT_PERCENT))
    _put(category, "cac:TaxScheme/cbc:ID", "VAT")


def _euro(parent: ET.Element, name: str, amount: Decimal) -> None:
    _put(parent, name, str(amount), currencyID="EUR")


# --- e-mail ---------------------------------------------------------------------------------------------------


def email_order(
    *,
    message_id: str,
    sent_at: datetime,
    sender: Person,
    to: str,
    subject: str,
    body: str,
    attachment: Attachment | None = None,
    in_reply_to: str | None = None,
) -> bytes:
    """Return an RFC 5322 message, lines ending in CRLF, body in UTF-8, attached XML in base64.

    `message_id` comes without angle brackets; the MIME boundary is derived from it, so it is fixed too. `sent_at` is
    UTC-aware, to the second.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Mailbox(display_name=sender.name, addr_spec=sender.email)
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(sent_at.astimezone(UTC).replace(microsecond=0))
    message["Message-ID"] = f"<{message_id}>"
    if in_reply_to is not None:
        message["In-Reply-To"] = f"<{in_reply_to}>"
    message.set_content(body, charset="utf-8", cte="quoted-printable")
    if attachment is not None:
        # The library would draw a boundary at random; one from the message id cannot occur in base64 either.
        message.make_mixed(boundary="=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32])
        message.add_attachment(attachment.data, maintype="application", subtype="xml", filename=attachment.filename)
    return message.as_bytes()


# --- XML ------------------------------------------------------------------------------------------------------


def _put(parent: ET.Element, path: str, text: str | None = None, **attributes: str) -> ET.Element:
    """Append the elements of `path`, each new, and return the innermost, with this text and these attributes."""
    for name in path.split("/"):
        parent = ET.SubElement(parent, name)
    parent.text = text
    parent.attrib.update(attributes)
    return parent


def _bytes(root: ET.Element) -> bytes:
    """Return UTF-8 with declaration, indented by two spaces, lines ending in LF."""
    ET.indent(root)
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"
