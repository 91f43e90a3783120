"""Collecting what goes into an evidence package: all entries with a tag, proven complete, and the fields to disclose.

Reads the ledger alone, never a projection: what a court gets does not pass through anything disposable. What does not
live here: the package's form (`verify`) and writing it (`package`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from ledger import Ledger
from ledger.canonical import Json
from ledger.entry import parse
from ledger.errors import OrderUnknown
from ledger.ledger import Opened
from ledger.signing_keys import LogKeys
from ledger.storage.cosignatures import CosignatureStore
from ledger.storage.engine import QueryItem
from ledger.tlog.checkpoint import claimed_size
from ledger.tlog.proof import LogProof
from ledger.tlog.view import TreeView
from ledger.vocabulary import OrderId, Tag, order_tag
from projections.evidence.package import (
    PackageContents,
    PackagedCheckpoint,
    PackagedCut,
    PackagedEntry,
    PackagedIndex,
)
from projections.evidence.verify import MAX_ENTRIES, MAX_WITNESSED

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
    keys = ledger.log_keys()
    history = proof.verify([key.verifier for key in keys.keys], ledger.origin)
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
        former=[] if proof.cut is None else _former(keys, claimed_size(proof.cut.checkpoint)),
        witnessed=_witnessed(ledger, [entry.index for entry in entries], history.checkpoint.size, tree),
    )


def _former(keys: LogKeys, size: int) -> list[str]:
    """Return the keys that a stranger needs beside the newest one for the checkpoint of `size` entries."""
    signers = keys.at(size)
    return [] if keys.newest in signers else [str(verifier) for verifier in signers]


def _witnessed(ledger: Ledger, indexes: Sequence[int], end: int, tree: TreeView) -> list[PackagedCheckpoint]:
    """Return the cosigned checkpoints, up to that of `end` entries, that bracket these events in time.

    For each event the last one without it and the first one with it; of very many events, for the first and the last.
    """
    if ledger.cosigning is None:
        return []
    sizes = _bracketing(ledger.cosigning.store, indexes, end)
    if len(sizes) > MAX_WITNESSED:
        sizes = _bracketing(ledger.cosigning.store, (indexes[0], indexes[-1]), end)
    found: list[PackagedCheckpoint] = []
    for size in sorted(sizes):
        checkpoint = ledger.checkpoint(size)
        assert checkpoint is not None
        # What only a former key signed is nothing to whoever has today's key.
        if checkpoint[0] == size and ledger.verifier in ledger.log_keys().at(size):
            note = ledger.with_cosignatures(size, checkpoint[1])
            found.append(PackagedCheckpoint(size=size, note=note, consistency=tree.consistency_proof(size, end)))
    return found


def _bracketing(store: CosignatureStore, indexes: Iterable[int], end: int) -> set[int]:
    sizes: set[int] = set()
    for index in indexes:
        sizes.update(store.sizes(above=0, up_to=index, newest=True))
        sizes.update(store.sizes(above=index, up_to=end))
    return sizes


def _disclosed(opened: Opened, names: Collection[str]) -> dict[str, tuple[bytes, bytes | Json]]:
    return {name: (field.salt, field.plain()) for name, field in opened.fields.items() if name in names}
