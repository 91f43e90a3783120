"""Which policy is in force at a place in the log."""

from __future__ import annotations

from ledger.command import Boundary, Past, selector
from ledger.errors import PolicyMissing
from ledger.events import PolicyAdopted
from ledger.policy import Policy, parse_policy
from ledger.vocabulary import POLICY_TAG


def policies() -> Boundary:
    """The boundary of `policy`."""
    return (selector(PolicyAdopted, tags=[POLICY_TAG]),)


def policy(past: Past) -> Policy | None:
    """Return the policy in force, None in a ledger that never adopted one: rules that read a policy rest then."""
    adopted = past.last(PolicyAdopted)
    return None if adopted is None else parse_policy(adopted.text)


def policy_needed(past: Past) -> Policy:
    """Return the policy in force. Raises PolicyMissing."""
    found = policy(past)
    if found is None:
        raise PolicyMissing
    return found
