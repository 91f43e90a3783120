"""An office at the door: a small ledger with somebody of every role and something of each kind, asked in process.

    office.ask("subject", "GET", f"/v1/subjects/{office.mari}")

`mari` is a subject of the company, `peeter` one whose data a client entered; both have an order of that client. `other`
is a subject of another client, with an order of theirs. Values are canaries: each stands nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from api.http.app import create_app
from api.http.identity import local_issuer
from api.http.rates import Rate, RateLimits
from api.http.service import RATES, Service
from api.settings import Settings, directory_settings
from ledger import Actor, Receipt
from ledger.command import Command, Recorded
from ledger.commands import (
    AcknowledgeConfidentiality,
    AdoptPolicy,
    AuthorizeDisclosure,
    CollectData,
    GiveConsent,
    LinkIdentifier,
    OnboardEmployee,
    PlaceHold,
    PlanCampaign,
    PublishDocument,
    ReceiveRequest,
    RecordOrder,
    RegisterRecipient,
    RegisterSubject,
    RequestDisclosure,
    TransmitDisclosure,
)
from ledger.policy import default_policy_text
from ledger.state.employee import STAFF
from ledger.vocabulary import (
    ActorId,
    CampaignId,
    CaseId,
    Channel,
    ClientId,
    ConsentId,
    Country,
    DisclosureId,
    DocumentKind,
    HoldId,
    IdentifierKind,
    Language,
    LegalBasis,
    MediaType,
    OfferKind,
    OrderChannel,
    OrderId,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    RequestId,
    RequestKind,
    Role,
    Sha256Hex,
    SourceKind,
    SubjectId,
    SubjectRole,
    Word,
    new_id,
)
from tests.http.in_process import InProcess

PROCEDURE: Final = "Hoia saladust."
CONSENT_TEXT: Final = "Luban e-arve saata."
STATED: Final = {"Purpose": "contract", "Case-Reference": "C-1"}
# What would be found anywhere it does not belong. No word of it is a word of the program.
CANARIES: Final[Mapping[str, str]] = {
    "given-name": "Kanaarilind-Qx7",
    "family-name": "Tihasevits-Qx7",
    "email": "qx7-canary@example.com",
    "phone": "+372 5555 0707",
    "personal-code": "49403136515",
}
CANARY: Final = "zqx-canary-zqx"
ORDER_CANARY: Final = b"<order>Qx7-order-canary</order>"
_FREE: Final = Rate(per_second=1_000_000, burst=1_000_000)


class Office:
    """What is open, who is there, and what they hold."""

    def __init__(self, settings: Settings, client: InProcess, service: Service) -> None:
        self.settings = settings
        self.client = client
        self.service = service
        self.ledger = service.ledger
        self.mari, self.peeter, self.other = (SubjectId(new_id()) for _ in range(3))
        self.company, self.other_company = ClientId(new_id()), ClientId(new_id())
        self.mari_order, self.peeter_order, self.other_order = (OrderId(new_id()) for _ in range(3))
        self.consent = ConsentId(new_id())
        self.recipient = RecipientId(new_id())
        self.disclosure = DisclosureId(new_id())
        self.campaign = CampaignId(new_id())
        self.request, self.hold = RequestId(new_id()), HoldId(new_id())
        self.actors = {role: ActorId(new_id()) for role in Role} | {Role.SUBJECT: ActorId(self.mari)}
        self.text_sha256 = Sha256Hex(sha256(PROCEDURE.encode()).hexdigest())
        self.consent_sha256 = Sha256Hex(sha256(CONSENT_TEXT.encode()).hexdigest())
        self._issuer = local_issuer(settings)
        self.tokens = {role: self.token(role) for role in Role}
        self._begin()

    @property
    def canaries(self) -> tuple[str, ...]:
        """Every personal value, in clear and as it would stand in an address or in base64."""
        return (*CANARIES.values(), ORDER_CANARY.decode())

    # --- who ---------------------------------------------------------------------------------------------------

    def token(self, role: Role, actor_id: str | None = None, client_id: str | None = None) -> str:
        """Return a token for somebody in this role: whoever has it here, unless another is named."""
        client = ClientId(client_id or self.company) if role is Role.CLIENT_USER else None
        return self._issuer.token(
            role=role,
            actor_id=ActorId(actor_id or self.actors[role]),
            client_id=client,
            now=datetime.now(UTC),
            lifetime=timedelta(hours=8),
        )

    def actor(self, role: Role) -> Actor:
        return Actor(id=self.actors[role], role=role)

    # --- asking ------------------------------------------------------------------------------------------------

    def ask(
        self, who: Role | str | None, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a request as somebody in a role, or with this token; staff state a purpose and a case."""
        sent = dict(headers or {})
        if isinstance(who, Role):
            sent["Authorization"] = f"Bearer {self.tokens[who]}"
            if who in STAFF:
                sent = STATED | sent
        elif who is not None:
            sent["Authorization"] = f"Bearer {who}"
        return self.client.request(method, path, headers=sent, **more)

    def post(self, who: Role | str | None, name: str, members: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Send a command."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.ask(who, "POST", f"/v1/commands/{name}", headers=sent, json=dict(members))

    def record(self, command: Command, role: Role = Role.OFFICER, actor_id: ActorId | None = None) -> Receipt:
        """Record a command past the door."""
        return self.ledger.record(command, Actor(id=actor_id or self.actors[role], role=role))

    def access_since(self, before: int) -> list[Recorded]:
        """Return what the access log recorded from a size on."""
        return list(self.service.access.ledger.read(after=before))

    @property
    def access_size(self) -> int:
        return self.service.access.ledger.size()

    # --- what there is -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        now = datetime.now(UTC)
        self.record(AdoptPolicy(text=default_policy_text()))
        for kind, text in ((DocumentKind.PROCEDURE, PROCEDURE), (DocumentKind.CONSENT, CONSENT_TEXT)):
            self.record(
                PublishDocument(
                    kind=kind, version=Reference("2026-1"), language=Language("et"), text=text, published_at=now,
                    effective_at=now,
                )
            )  # fmt: skip
        for role in sorted(STAFF):
            self.employ(role, self.actors[role])
        self._people()
        for order, subject, client in (
            (self.mari_order, self.mari, self.company),
            (self.peeter_order, self.peeter, self.company),
            (self.other_order, self.other, self.other_company),
        ):
            self.record(an_order(order, subject, client))
        self._what_mari_did()
        self.service.projections.catch_up()

    def employ(self, role: Role, employee_id: ActorId, *, acknowledged: bool = True) -> None:
        self.record(OnboardEmployee(employee_id=employee_id, role=role))
        if acknowledged:
            self.record(
                AcknowledgeConfidentiality(
                    employee_id=employee_id, version=Reference("2026-1"), language=Language("et"),
                    text_sha256=self.text_sha256,
                ),
                role, employee_id,
            )  # fmt: skip

    def _people(self) -> None:
        self.record(RegisterSubject(subject_id=self.mari))
        for subject, client in ((self.peeter, self.company), (self.other, self.other_company)):
            self.record(RegisterSubject(subject_id=subject, role=SubjectRole.PROCESSOR, client_id=client))
        for subject in (self.mari, self.peeter, self.other):
            self.record(collected(subject, CANARIES))
            email = f"{subject[:8]}-{CANARIES['email']}"
            self.record(LinkIdentifier(subject_id=subject, kind=IdentifierKind.EMAIL, value=email))

    def _what_mari_did(self) -> None:
        now, fields = datetime.now(UTC), (Word("email"),)
        self.record(
            RegisterRecipient(
                recipient_id=self.recipient, category=RecipientCategory.OTHER, country=Country("EE"), valid_from=now,
                valid_to=now + timedelta(days=365), name="Operaator",
            )
        )  # fmt: skip
        self.record(
            GiveConsent(
                consent_id=self.consent, subject_id=self.mari, purpose=Purpose.E_INVOICE, fields=fields,
                text_sha256=self.consent_sha256, language=Language("et"),
                channel=Channel.SOFTWARE, recipient_id=self.recipient,
            )
        )  # fmt: skip
        token = new_id()
        self.record(
            RequestDisclosure(
                disclosure_id=self.disclosure, subject_id=self.mari, recipient_id=self.recipient,
                purpose=Purpose.E_INVOICE, basis=LegalBasis.CONSENT, fields=fields,
            )
        )  # fmt: skip
        self.record(
            AuthorizeDisclosure(
                disclosure_id=self.disclosure, subject_id=self.mari, recipient_id=self.recipient,
                token_sha256=Sha256Hex(sha256(token.encode()).hexdigest()),
            )
        )  # fmt: skip
        self.record(
            TransmitDisclosure(
                disclosure_id=self.disclosure, subject_id=self.mari, recipient_id=self.recipient, fields=fields,
                token=token,
            )
        )  # fmt: skip
        self.record(
            PlanCampaign(
                campaign_id=self.campaign, kind=OfferKind.OWN, channel=Channel.EMAIL, opt_out=Channel.LINK
            )
        )  # fmt: skip
        self.record(
            ReceiveRequest(
                request_id=self.request, subject_id=self.mari, kind=RequestKind.ACCESS, channel=Channel.SOFTWARE,
                received_at=now,
            )
        )  # fmt: skip
        self.record(
            PlaceHold(
                hold_id=self.hold, subject_id=self.mari, case_id=CaseId(new_id()), ground=Word("claim"),
                owner=self.actors[Role.LAWYER], review_at=now + timedelta(days=90),
            )
        )  # fmt: skip


def collected(subject: SubjectId, values: Mapping[str, Any]) -> CollectData:
    return CollectData(
        subject_id=subject, purpose=Purpose.CONTRACT, basis=LegalBasis.CONTRACT, source=SourceKind.SUBJECT,
        values=dict(values),
    )  # fmt: skip


def an_order(order: OrderId, subject: SubjectId, client: ClientId, content: bytes = ORDER_CANARY) -> RecordOrder:
    return RecordOrder(
        order_id=order, client_id=client, subject_id=subject, channel=OrderChannel.SOFTWARE,
        media_type=MediaType("application/xml"), content=content, terms_version=Reference("2026-1"),
        received_at=datetime.now(UTC),
    )  # fmt: skip


@contextmanager
def an_office(directory: Path) -> Iterator[Office]:
    """Open an office in a directory of its own. Nobody is told to wait: that is tried elsewhere."""
    settings = msgspec.structs.replace(directory_settings(directory), index_every_s=None)
    settings.initialise("example.com/office")
    app = create_app(settings)
    with InProcess(app) as client:
        service: Service = app.state.service
        service.rates = RateLimits(dict.fromkeys(RATES, _FREE))
        yield Office(settings, client, service)
