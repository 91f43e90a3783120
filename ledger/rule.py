"""Rules: what the ledger promises to enforce, by name, so that an auditor can walk from the principle to the line.

A rule is declared beside the command that enforces it, and named by the tests that prove it (`@pytest.mark.rule`).
`docs/rules.md` is made from both. What does not live here: the enforcing itself (commands/, state/).
"""

from __future__ import annotations

from typing import Final

import msgspec

from ledger.errors import Refused
from ledger.vocabulary import Word, check_word

# The clauses of the principles, as mission rules number them; "erasure" stands for erasure, retention and holds.
CLAUSES: Final = ("0", "1-2", "3", "4", "5", "6", "7", "8-9", "10", "11", "12", "13", "erasure")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence that is enforced. `refusals` are the reasons it refuses with; `source` is the article or law."""

    id: Word
    clause: str
    promise: str
    source: str
    refusals: tuple[str, ...] = ()


BY_ID: dict[str, Rule] = {}


def rule(id: str, *, clause: str, promise: str, source: str, refusals: tuple[type[Refused], ...] = ()) -> Rule:
    """Declare a rule. Its id is permanent, as explanations and documents name it."""
    assert clause in CLAUSES, clause
    assert id not in BY_ID, id
    declared = Rule(
        id=Word(check_word(id, "id")),
        clause=clause,
        promise=promise,
        source=source,
        refusals=tuple(kind.code for kind in refusals),
    )
    BY_ID[id] = declared
    return declared
