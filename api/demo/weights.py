"""How a year of the demo goes: what may come next, how likely and how soon. One table, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from api.demo.steps import (
    AmendOrder,
    CancelOrder,
    CollectData,
    ConfirmOrder,
    CorrectData,
    DisputeOrder,
    ErasePerson,
    ExecuteOrder,
    GiveConsent,
    RecordOrder,
    RegisterPerson,
    RequestDisclosure,
    ResolveDispute,
    Step,
    Transmit,
    WithdrawConsent,
)


class Move(NamedTuple):
    """A possible next step; `weight` is relative, `within_h` is the most working hours until then."""

    step: type[Step] | None  # None: nothing follows
    weight: int
    within_h: int | float = 0


MINUTES_H = 0.1
DAY_H = 12

_OPEN_ORDER = (Move(ExecuteOrder, 84, DAY_H), Move(AmendOrder, 9, 4), Move(CancelOrder, 7, 4))

FOLLOWS: Mapping[type[Step], tuple[Move, ...]] = {
    RegisterPerson: (Move(CollectData, 90, 2 * DAY_H), Move(None, 10)),
    # Some withdraw while the data is on its way: the race that the ledger has to decide.
    RequestDisclosure: (Move(Transmit, 92, MINUTES_H), Move(WithdrawConsent, 8, MINUTES_H)),
    WithdrawConsent: (Move(Transmit, 1, MINUTES_H),),
    RecordOrder: _OPEN_ORDER,
    AmendOrder: _OPEN_ORDER,
    ExecuteOrder: (Move(ConfirmOrder, 92, 2 * DAY_H), Move(DisputeOrder, 4, 10 * DAY_H), Move(None, 4)),
    ConfirmOrder: (Move(None, 96), Move(DisputeOrder, 4, 15 * DAY_H)),
    DisputeOrder: (Move(ResolveDispute, 1, 20 * DAY_H),),
}

OF_ONE_ACCORD: tuple[Move, ...] = (
    Move(RecordOrder, 50),
    Move(RequestDisclosure, 20),
    Move(GiveConsent, 10),
    Move(CorrectData, 8),
    Move(CollectData, 6),
    Move(WithdrawConsent, 4),
    Move(ErasePerson, 1),
)
