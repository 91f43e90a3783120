"""Offers: may they be sent to these people, who objected, and what campaigns came to."""

from __future__ import annotations

from typing import Annotated

import msgspec

from api.http.ask import Ask
from api.http.operation import Body, Reply, Shows, query
from api.http.parameters import AS_OF, MIN_POSITION, PAGE
from ledger.vocabulary import CampaignId, SubjectId
from projections import Campaign, MaySend, Objection


class People(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom it is asked about."""

    subject_ids: Annotated[tuple[SubjectId, ...], msgspec.Meta(min_length=1, max_length=10_000)]


class Verdicts(msgspec.Struct, frozen=True):
    """Whether an offer may go to each, and the one reason why not."""

    people: tuple[MaySend, ...]


@query(
    "may-send", "/campaigns/{campaign_id}/may-send", method="POST", shows=Shows.PERSONAL, result=Verdicts,
    body=Body(struct=People, max_bytes=1024 * 1024), parameters=(AS_OF, MIN_POSITION),
)  # fmt: skip
def may_send(ask: Ask) -> Reply:
    """May an offer of this campaign go to these people (at most 10,000), and why not?"""
    wanted: People = ask.body
    campaign_id = CampaignId(ask.path["campaign_id"])
    found = ask.projections.may_send(campaign_id, wanted.subject_ids, as_of=ask.as_of)
    return Reply(body=Verdicts(found), subjects=wanted.subject_ids)


@query("list-campaigns", "/campaigns", shows=Shows.NOTHING, result=Campaign, paged=True, parameters=PAGE)
def list_campaigns(ask: Ask) -> Reply:
    """List every campaign, and what it came to."""
    return Reply(items=ask.projections.campaigns(as_of=ask.as_of))


@query("list-suppressions", "/suppression-list", shows=Shows.PERSONAL, result=Objection, paged=True, parameters=PAGE)
def list_suppressions(ask: Ask) -> Reply:
    """List who objected to offers."""
    found = ask.projections.suppression_list(as_of=ask.as_of)
    return Reply(items=found, subject_of=lambda one: one.subject_id)
