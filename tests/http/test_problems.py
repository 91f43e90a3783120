"""Problems: documented, one status each, and nothing of what was sent in them."""

from __future__ import annotations

import pytest

from api.http.problems import PROBLEMS, REFUSALS, Problem, answered, status_of
from ledger.errors import Busy, FieldUnknown, Full, InDoubt, Invalid, Refused, Stopped, StorageError, Tampered
from tests.http.document import FILE, document

CANARY = "kanarbik-47101010033"


def test_the_document_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), "run: make rules"


def test_no_code_means_two_things() -> None:
    assert not PROBLEMS.keys() & REFUSALS.keys()


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_refusal_is_never_the_fault_of_the_server(code: str) -> None:
    assert 400 <= status_of(code) < 500


@pytest.mark.parametrize(
    "error",
    [
        FieldUnknown(subject="8d0be076-0000-4000-8000-000000000000", field=CANARY),
        Refused(anything=CANARY),
        StorageError(CANARY),
        Tampered("step", CANARY),
        ValueError(CANARY),
        Busy(CANARY),
        InDoubt(CANARY),
    ],
)
def test_what_was_sent_is_not_repeated(error: Exception) -> None:
    assert CANARY.encode() not in answered(error).encode()


def test_an_invalid_member_is_named_and_an_id_is_shown() -> None:
    members = answered(Invalid("email", "is a text")).members
    assert (members["field"], members["why"], members["status"]) == ("email", "is a text", 400)
    subject = "8d0be076-0000-4000-8000-000000000000"
    assert answered(FieldUnknown(subject=subject, field="x")).members["evidence"] == {"subject": subject}


def test_a_full_disk_is_told_apart_whatever_the_words() -> None:
    stopped = Stopped("an earlier failure")
    stopped.__cause__ = Full("no room")
    assert [answered(error).status for error in (Full("no room"), stopped)] == [507, 507]
    assert answered(StorageError("/full/of/words: the disk failed")).members["code"] == "storage-failed"


def test_whoever_has_to_wait_is_told_how_long() -> None:
    assert answered(Problem("too-many-requests", retry_after_s=2.2)).headers["Retry-After"] == "3"
    assert answered(Busy()).headers["Retry-After"] == "1"
