"""The policy: adopted as a whole, in force from its place in the log on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.errors import Invalid, PolicyVersionUsed, RoleMissing
from ledger.events import PolicyAdopted, ProcessingActivityRegistered
from ledger.policy import Activity, parse_policy, policy_digest
from ledger.rule import rule
from ledger.state.policy import policies
from ledger.vocabulary import POLICY_TAG, Reference, Role, Sha256Hex, Word

WHOLE_POLICY = rule(
    "policy-is-whole",
    clause="1-2",
    promise="A policy is adopted whole and valid, by its officer or operator, or not at all",
    source="GDPR Art. 5(2), 24",
    refusals=(RoleMissing, Invalid),
)
ACTIVITIES_REGISTERED = rule(
    "activities-are-registered",
    clause="1-2",
    promise="A processing activity is registered with its purpose, bases, categories and retention before data is held",
    source="GDPR Art. 30(1)",
)
NEW_VERSION = rule(
    "policy-version-is-new",
    clause="1-2",
    promise="A version names one text for ever, so that a past decision is explained under the policy of its day",
    source="GDPR Art. 5(2)",
    refusals=(PolicyVersionUsed,),
)


@command
class AdoptPolicy(Command, frozen=True):
    """Put a policy in force from here on. `text` is its TOML, kept to the byte."""

    NAME: ClassVar[str] = "adopt-policy"
    RECORDS = (PolicyAdopted, ProcessingActivityRegistered)
    RULES = (WHOLE_POLICY, ACTIVITIES_REGISTERED, NEW_VERSION)
    text: str

    def boundary(self) -> Boundary:
        return policies()

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.role not in (Role.OFFICER, Role.OPERATOR):
            raise RoleMissing(needed="officer or operator")
        policy = parse_policy(self.text)
        digest = policy_digest(self.text)
        for adopted in past.of(PolicyAdopted):
            if adopted.version == policy.version and adopted.sha256 != digest:
                raise PolicyVersionUsed(version=policy.version)
        in_force = past.last(PolicyAdopted)
        if in_force is not None and in_force.sha256 == digest:
            raise Invalid("text", "is the policy in force already")
        before = {} if in_force is None else parse_policy(in_force.text).activities
        adopted_now = PolicyAdopted(version=policy.version, sha256=Sha256Hex(digest), text=self.text)
        activities = [
            _registered(policy.version, name, activity)
            for name, activity in policy.activities.items()
            if before.get(name) != activity
        ]
        return [Fact(adopted_now, [POLICY_TAG]), *(Fact(event, [POLICY_TAG]) for event in activities)]


def _registered(version: Reference, name: Word, activity: Activity) -> ProcessingActivityRegistered:
    return ProcessingActivityRegistered(
        activity=name,
        policy_version=version,
        purpose=activity.purpose,
        bases=activity.bases,
        roles=activity.roles,
        categories=activity.categories,
        retention_class=activity.retention_class,
        recipients=activity.recipients,
    )
