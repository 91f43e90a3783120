"""docs/identity.md names every reason, every setting and every bound as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api import oidc, settings
from api.http.errors import MESSAGES, Reason
from api.http.identity.keys import ALGORITHMS
from api.http.identity.remote_keys import BOUNDS, FRESH_S, REFRESH_EVERY_S, STALE_S
from api.http.identity.token import LEEWAY_S, MAX_LIFETIME_S, MAX_TOKEN
from ledger.vocabulary import Role

TEXT = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")
SETTINGS = set(re.findall(r"PROOFTRAIL_(?:OIDC|LOCAL|PRIVATE)_[A-Z_]+", f"{settings.__doc__}{oidc.__doc__}"))


@pytest.mark.parametrize("word", [*Reason, *Role, *ALGORITHMS, *sorted(SETTINGS)])
def test_every_word_stands_in_the_document(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_every_bound_is_the_one_of_the_code() -> None:
    assert MESSAGES.keys() == set(Reason)
    assert len(SETTINGS) == 8
    for words in (
        f"{MAX_TOKEN:,} characters",
        f"{MAX_LIFETIME_S // 3600} hours",
        f"{LEEWAY_S} seconds",
        f"{FRESH_S / 60:.0f}\nminutes",
        f"once in {REFRESH_EVERY_S:.0f} seconds",
        f"time ({BOUNDS.deadline_s:.0f} s) and size ({BOUNDS.max_bytes // 1024} KiB)",
    ):
        assert words in TEXT
    assert STALE_S == 3600
