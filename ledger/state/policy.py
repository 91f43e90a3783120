"""Which policy is in force at a place in the log."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from ledger.command import Boundary, Past, selector
from ledger.errors import FieldNotDefined, PolicyMissing
from ledger.events import PolicyAdopted
from ledger.policy import Policy, parse_policy
from ledger.vocabulary import POLICY_TAG, Word


@cache
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


def check_fields(past: Past, names: Collection[Word], *besides: Word) -> None:
    """Raise FieldNotDefined for a field that neither the policy nor `besides` names; without a policy all are known.

    A consent, a restriction or a request for a misspelt field would be of nothing, and its name would be kept for ever.
    """
    rules = policy(past)
    if rules is not None and (unknown := sorted(set(names) - rules.fields.keys() - {*besides})):
        raise FieldNotDefined(field=unknown[0])
