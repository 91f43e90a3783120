"""Collecting what goes into an evidence package: the entries of one order, their proofs, the fields to disclose.

Reads the ledger alone, never a projection: what a court gets does not pass through anything disposable. What does not
live here: the package's form (`verify`) and writing it (`package`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ledger import Ledger
from ledger.canonical import Json
from ledger.entry import parse
from ledger.errors import OrderUnknown
from ledger.ledger import Opened
from ledger.storage.engine import QueryItem
from ledger.vocabulary import OrderId, order_tag
from projections.evidence.package import PackageContents, PackagedEntry

# What a party to a dispute needs of an order: the bytes, what they were called, and what was said about them.
DISCLOSED_FIELDS: Final = frozenset(("content", "file_name", "statement"))


def collect_order(
    ledger: Ledger, order_id: OrderId, *, disclose: Collection[str] = DISCLOSED_FIELDS
) -> PackageContents:
    """Return every entry of an order up to the last checkpoint, each proven under it, with the fields of those names.

    All other personal fields are withheld, as are values that were erased: their commitments stay in the entries.
    Raises OrderUnknown, and Tampered when a value is not the one recorded. Whoever calls this shows personal data.
    """
    last = ledger.checkpoint()
    if last is None:
        raise OrderUnknown(order=order_id)
    size, checkpoint = last
    # Loaded after the checkpoint, so it has every entry under it.
    tree = ledger.tree()
    entries = []
    for stored in ledger.engine.select((QueryItem((), (order_tag(order_id),)),), end=size):
        opened = ledger.open_fields(stored.entry)
        entries.append(
            PackagedEntry(
                index=parse(stored.entry).index,
                entry=stored.entry,
                proof=ledger.prove(stored.index, size=size, tree=tree),
                disclosed=_disclosed(opened, disclose),
            )
        )
    if not entries:
        raise OrderUnknown(order=order_id)
    return PackageContents(order=order_id, ledger=ledger.origin, checkpoint=checkpoint, entries=entries)


def _disclosed(opened: Opened, names: Collection[str]) -> dict[str, tuple[bytes, bytes | Json]]:
    return {name: (field.salt, field.plain()) for name, field in opened.fields.items() if name in names}
