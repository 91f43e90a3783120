"""Problems: every error that a caller meets, as RFC 9457 problem+json with a `type` per code, never echoing input.

    {"type":"urn:prooftrail:problem:consent-missing","title":"consent missing","status":409,"code":"consent-missing",
     "detail":"…","evidence":{"subject":"…"},"index":41}

`index` is where the refusal itself was recorded. `evidence` holds ids and numbers only. What does not live here: when
something is refused (ledger, permissions), and the bytes of a problem (problem).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from api.http.errors import KeysUnavailable, Unauthenticated
from api.http.problem import MEDIA_TYPE, members, retry_after
from ledger import errors
from ledger.errors import (
    Busy,
    Conflict,
    FieldNotDefined,
    Full,
    IdempotencyMismatch,
    InDoubt,
    Invalid,
    LedgerError,
    Refused,
    Stopped,
    StorageError,
    VerificationError,
)


class Problem(LedgerError):
    """What the door itself refuses. `code` is of the closed vocabulary PROBLEMS; `detail` never holds what was sent."""

    def __init__(
        self, code: str, detail: str | None = None, *, retry_after_s: float | None = None, **more: Any
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.more = more


class Answered(msgspec.Struct, frozen=True):
    """A problem as it is answered."""

    status: int
    members: dict[str, Any]
    headers: dict[str, str]

    def encode(self) -> bytes:
        """Return the body."""
        return msgspec.json.encode(self.members)


# What the door refuses by itself, with its status and what to do about it.
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "unauthenticated": (401, "Send a valid token: Authorization: Bearer …"),
    "forbidden": (403, "This role may not do that."),
    "purpose-needed": (400, "Staff state why they read personal data: send the header Purpose, and Case-Reference."),
    "not-found": (404, "There is nothing here that you may see."),
    "method-not-allowed": (405, "This address does not take that method."),
    "malformed": (400, "The request is not understood."),
    "length-unfit": (413, "The body is larger than this operation takes."),
    "media-type-unfit": (415, "The body is of another media type than this operation takes."),
    "precondition-needed": (428, "Send If-Match with the ETag of what you read."),
    "precondition-failed": (412, "It was changed since you read it: read it again."),
    "too-many-requests": (429, "Wait as long as Retry-After says."),
    "not-caught-up": (503, "What you wait for is recorded, and not taken in yet: ask again."),
    "busy": (503, "The queue is full: nothing was recorded; ask again."),
    "conflict": (409, "Others were faster ten times in a row: nothing was recorded; ask again."),
    "in-doubt": (503, "It may be recorded or not: ask again with the same Idempotency-Key."),
    "storage-full": (507, "There is no room left: nothing was recorded."),
    "storage-stopped": (503, "Recording stopped after a failure; an operator has to look."),
    "storage-failed": (500, "The store failed; an operator has to look."),
    "evidence-broken": (500, "What is stored is not what was recorded; an operator has to look."),
    "timed-out": (503, "It took too long. A command may be recorded or not: ask again with the same Idempotency-Key."),
    "too-slow": (408, "Send faster: what is sent too slowly is cut off."),
    "head-too-large": (431, "Send fewer and shorter headers."),
    "internal": (500, "This is our mistake; quote the request id."),
    "not-ready": (503, "The service is starting or stopping."),
}

_FORBIDDEN: Final = frozenset(
    ("role-missing", "acknowledgement-missing", "field-not-allowed", "purpose-not-assessed", "use-not-named",
     "approver-missing", "policy-missing", "own-access")
)  # fmt: skip
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

REFUSALS: Final[Mapping[str, type[Refused]]] = {
    found.code: found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, Refused) and found is not Refused
}


def status_of(code: str) -> int:
    """Return the status of a refusal by its code: 404 for the unknown, 403 for the forbidden, else 409."""
    if code in PROBLEMS:
        return PROBLEMS[code][0]
    if code in (Invalid.code, FieldNotDefined.code):
        return 400
    if code == IdempotencyMismatch.code:
        return 422
    if code == "entry-too-large":
        return 413
    if code in _FORBIDDEN:
        return 403
    # Whoever acts is told that they may not, not that they are not there.
    return 403 if code == "employee-unknown" else 404 if code.endswith("-unknown") else 409


def answered(error: BaseException) -> Answered:
    """Return the problem that an error is answered with. What is not ours is `internal`, with nothing of its text."""
    if isinstance(error, Problem):
        return _problem(error.code, detail=error.detail, retry_after_s=error.retry_after_s, more=error.more)
    if isinstance(error, Unauthenticated):
        found = _problem("unauthenticated", detail=str(error), more={"reason": error.reason})
        return msgspec.structs.replace(found, headers=found.headers | {"WWW-Authenticate": error.challenge})
    if isinstance(error, KeysUnavailable):
        return _problem("not-ready", retry_after_s=15)
    if isinstance(error, Invalid):
        return _problem(error.code, more={"field": error.evidence["field"], "why": error.evidence["why"]})
    if isinstance(error, Refused):
        evidence = {name: value for name, value in error.evidence.items() if _is_opaque(value)}
        more = {"evidence": evidence} if evidence else {}
        return _problem(error.code, more=more | ({} if error.index is None else {"index": error.index}))
    if isinstance(error, Busy):
        return _problem("busy", retry_after_s=1)
    if isinstance(error, Conflict):
        return _problem("conflict", retry_after_s=1)
    return _problem(_of_storage(error), retry_after_s=1 if isinstance(error, InDoubt) else None)


def _of_storage(error: BaseException) -> str:
    if isinstance(error, VerificationError):
        return "evidence-broken"
    if isinstance(error, InDoubt):
        return "in-doubt"
    # What stopped recording is the cause of all that is refused since.
    if isinstance(error, Full) or isinstance(error.__cause__, Full):
        return "storage-full"
    if isinstance(error, Stopped):
        return "storage-stopped"
    return "storage-failed" if isinstance(error, StorageError) else "internal"


def _problem(
    code: str, *, detail: str | None = None, retry_after_s: float | None = None, more: Mapping[str, Any] | None = None
) -> Answered:
    status = status_of(code)
    detail = detail or (PROBLEMS[code][1] if code in PROBLEMS else None)
    found = members(status, code, code.replace("-", " "), detail)
    headers = {"Content-Type": MEDIA_TYPE}
    if retry_after_s is not None:
        headers["Retry-After"] = retry_after(retry_after_s)
    return Answered(status, found | {name: one for name, one in (more or {}).items() if one is not None}, headers)


def _is_opaque(value: object) -> bool:
    """Whether a piece of evidence may be shown: an id or a number. A word may be what the caller sent."""
    return isinstance(value, int) or (isinstance(value, str) and _ID.fullmatch(value) is not None)
