"""The record of processing activities, from the policy in force. Clauses 1 and 2; GDPR Art. 30(1) and 30(2)."""

from __future__ import annotations

import msgspec

from ledger.errors import PolicyMissing
from ledger.events import PolicyAdopted
from ledger.policy import Policy, parse_policy
from ledger.vocabulary import ClientId, Reference, SubjectRole, Word
from projections.projection import AsOf
from projections.registers import ALL, Register, Registers


class ActivityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One activity in one role, with the fields of GDPR Art. 30(1)(a)-(g) as controller, 30(2)(a)-(d) as processor."""

    article: str
    activity: Word
    description: str
    controller: str
    on_behalf_of: tuple[ClientId, ...]  # the controllers of Art. 30(2)(a), by the ids of clients
    contact: str
    officer: str
    role: SubjectRole
    purpose: Word
    purpose_dpv: str
    legal_bases: tuple[str, ...]
    data_subjects: tuple[str, ...]
    categories: tuple[str, ...]
    special_categories: tuple[str, ...]
    recipients: tuple[str, ...]
    transfers: tuple[str, ...]
    retention: str
    security: tuple[str, ...]
    policy_version: Reference
    policy_index: int


def activities(
    registers: Registers, clients: tuple[ClientId, ...], *, as_of: AsOf = None
) -> tuple[ActivityRecord, ...]:
    """Return the record as it was then, one row for each activity and role. Raises PolicyMissing before any policy."""
    found = registers.past((Register.POLICIES, ALL), as_of=as_of).all
    if not found:
        raise PolicyMissing
    adopted = found[-1].event
    assert isinstance(adopted, PolicyAdopted)
    policy = parse_policy(adopted.text)
    return tuple(
        _record(policy, name, role, clients, found[-1].index)
        for role in SubjectRole
        for name, activity in policy.activities.items()
        if role in activity.roles
    )


def _record(policy: Policy, name: Word, role: SubjectRole, clients: tuple[ClientId, ...], index: int) -> ActivityRecord:
    activity = policy.activities[name]
    retention = policy.retention[activity.retention_class]
    about = policy.record
    return ActivityRecord(
        article="30(1)" if role is SubjectRole.CONTROLLER else "30(2)",
        activity=name,
        description=activity.description,
        controller=policy.controller,
        on_behalf_of=clients if role is SubjectRole.PROCESSOR else (),
        contact=about.contact,
        officer=about.officer,
        role=role,
        purpose=Word(activity.purpose),
        purpose_dpv=policy.purposes[activity.purpose].dpv,
        legal_bases=tuple(basis.dpv for basis in activity.bases),
        data_subjects=activity.data_subjects,
        categories=tuple(f"{one} ({policy.categories[one].dpv})" for one in activity.categories),
        special_categories=tuple(one for one in activity.categories if policy.categories[one].special),
        recipients=tuple(f"{one} ({policy.recipients[one].dpv})" for one in activity.recipients),
        transfers=about.transfers,
        retention=f"{retention.months} months from {retention.starts}: {retention.source}",
        security=about.security,
        policy_version=policy.version,
        policy_index=index,
    )
