"""The policy that questions are answered by: the one in force now, read from the ledger itself."""

from __future__ import annotations

from ledger import Ledger
from ledger.events import PolicyAdopted
from ledger.policy import Policy, parse_policy
from ledger.storage.engine import QueryItem
from ledger.vocabulary import POLICY_TAG


def policy_now(ledger: Ledger) -> Policy | None:
    """Return the policy in force, None in a ledger that never adopted one."""
    text = None
    for recorded in ledger.read((QueryItem((PolicyAdopted.TOPIC,), (POLICY_TAG,)),)):
        if isinstance(recorded.event, PolicyAdopted):
            text = recorded.event.text
    return None if text is None else parse_policy(text)
