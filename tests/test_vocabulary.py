"""Ids: random UUIDs of version 4, and never the same in two processes."""

from __future__ import annotations

import os
import uuid

from ledger.vocabulary import check_id, new_id


def test_ids_are_uuids_of_version_4_and_all_different() -> None:
    made = [new_id() for _ in range(5_000)]
    assert len(set(made)) == len(made)
    for text in made:
        assert check_id(text, "id") == text
        assert str(uuid.UUID(text)) == text
    # All that may vary does: 30 digits of 16 values, and one of 4.
    assert [len(set(digits)) for digits in zip(*made, strict=True)].count(16) == 30
    assert {text[19] for text in made} == set("89ab")


def test_a_forked_child_draws_ids_of_its_own() -> None:
    new_id()
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, new_id().encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 36).decode() != new_id()
    os.close(read)
    os.close(write)
