"""Collecting what goes into an evidence package: all entries with a tag, proven complete, and the fields to disclose.

Reads the ledger alone, never a projection: what a court gets does not pass through anything disposable. What does not
live here: the package's form (`verify`) and writing it (`package`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from ledger import Ledger
from ledger.canonical import Json
from ledger.entry import parse
from ledger.errors import OrderUnknown
from ledger.ledger import Opened
from ledger.storage.engine import QueryItem
from ledger.tlog.proof import LogProof
from ledger.vocabulary import OrderId, Tag, order_tag
from projections.evidence.package import PackageContents, PackagedCut, PackagedEntry, PackagedIndex
from projections.evidence.verify import MAX_ENTRIES

# What a party to a dispute needs of an order: the bytes, what they were called, and what was said about them.
DISCLOSED_FIELDS: Final = frozenset(("content", "file_name", "statement"))


def collect_order(
    ledger: Ledger,
    order_id: OrderId,
    *,
    disclose: Collection[str] = DISCLOSED_FIELDS,
    as_of: datetime | None = None,
) -> PackageContents:
    """Return all entries of an order, as `collect_tag` does, with the fields of those names.

    Raises OrderUnknown, and as `collect_tag`.
    """
    tag = order_tag(order_id)
    # Asked first: a mistyped id must not make the log longer.
    if not any(ledger.engine.select((QueryItem((), (tag,)),), end=ledger.size(), limit=1)):
        raise OrderUnknown(order=order_id)
    return collect_tag(ledger, tag, kind="order", disclose=disclose, as_of=as_of)


def collect_tag(
    ledger: Ledger,
    tag: Tag,
    *,
    kind: str = "tag",
    disclose: Collection[str] = (),
    as_of: datetime | None = None,
) -> PackageContents:
    """Return every entry with a tag (perhaps none), each proven in the log, and all of them proven complete.

    The tag index is committed first if it does not cover everything yet. `disclose` names the personal fields whose
    values go in; all others are withheld, as are values that were erased: their commitments stay in the entries. With
    `as_of` the history is cut at that moment, and of what came later no value goes in.

    Raises Invalid (see `Ledger.prove_tag`), Tampered when a value is not the one recorded. Whoever calls this shows
    personal data.
    """
    proof = ledger.prove_tag(tag, as_of=as_of, limit=MAX_ENTRIES)
    history = proof.verify(ledger.verifier, ledger.origin)
    # Loaded after the checkpoint, so it has every entry under it.
    tree = ledger.tree()
    entries = []
    for number, entry in enumerate(proof.entries):
        index = parse(entry).index
        known = history.as_of is None or number < history.count_then
        entries.append(
            PackagedEntry(
                index=index,
                entry=entry,
                proof=ledger.prove(index, size=history.checkpoint.size, tree=tree),
                disclosed=_disclosed(ledger.open_fields(entry), disclose) if known else {},
            )
        )
    return PackageContents(
        tag=tag,
        kind=kind,
        ledger=ledger.origin,
        checkpoint=LogProof.parse(proof.inclusion).checkpoint,
        entries=entries,
        index=PackagedIndex(
            index=history.size, entry=proof.index_entry, inclusion=proof.inclusion, proof=proof.index_proof
        ),
        cut=None
        if proof.cut is None
        else PackagedCut(as_of=proof.cut.as_of, checkpoint=proof.cut.checkpoint, consistency=proof.cut.consistency),
    )


def _disclosed(opened: Opened, names: Collection[str]) -> dict[str, tuple[bytes, bytes | Json]]:
    return {name: (field.salt, field.plain()) for name, field in opened.fields.items() if name in names}
