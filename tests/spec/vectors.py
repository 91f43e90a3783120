"""The test vectors of docs/spec, made by the second implementation: from the definitions, sharing no code with ours.

    python -m tests.spec.vectors     writes docs/spec/vectors/*.json again

Canonical JSON is that of the `rfc8785` package, Ed25519 that of `cryptography`, trees are those of `tests.tlog.naive`
and `naive_index`. Bytes are hexadecimal, unless a vector is about another form.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import rfc8785

from tests.evidence.log import ORDER, b64, b64url, short_log
from tests.tlog import naive, naive_index

DIRECTORY = Path(__file__).parents[2] / "docs" / "spec" / "vectors"

LEDGER = "ledger.example/records"


def field_commitment() -> dict[str, Any]:
    """The commitment to a field: its canonical JSON, or raw bytes."""
    salt = bytes(range(16))
    cases: list[dict[str, Any]] = []
    for name, value in [
        ("values.email", "mari@example.com"),
        ("values.name", "Õie \u20ac \U0001f600"),
        ("values.list", [1, True, None, {"b": "2", "a": ""}]),
    ]:
        cases.append({"name": name, "json": value, "value": rfc8785.dumps(value).hex()})
    cases.append({"name": "content", "value": b"From: mari@example.com\r\n\x00\xff".hex()})
    for case in cases:
        digest = sha256(
            b"prooftrail/field/v1\x00" + salt + case["name"].encode() + b"\x00" + bytes.fromhex(case["value"])
        )
        case |= {"salt": salt.hex(), "commitment": digest.hexdigest(), "in_entry": b64url(digest.digest())}
    return {"cases": cases}


def entries() -> dict[str, Any]:
    """Entries in their exact bytes, with their leaf hashes."""
    log = short_log()
    return {
        "ledger": log.origin,
        "entries": [
            {"index": index, "bytes": entry.hex(), "text": entry.decode(), "leaf": naive.leaf(entry).hex()}
            for index, entry in enumerate(log.entries)
        ],
    }


def merkle() -> dict[str, Any]:
    """Roots, and every inclusion and consistency proof, of small trees. RFC 6962 §2.1."""
    data = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno", b"last"]
    leaves = [naive.leaf(entry) for entry in data]
    trees = []
    for size in range(len(data) + 1):
        row = leaves[:size]
        trees.append(
            {
                "size": size,
                "root": naive.root(row).hex(),
                "inclusion": [[node.hex() for node in naive.path(index, row)] for index in range(size)],
                "consistency_from": {
                    str(old): [node.hex() for node in naive.proof(old, row)] for old in range(1, size)
                },
            }
        )
    return {"leaves": [entry.hex() for entry in data], "trees": trees}


def checkpoint() -> dict[str, Any]:
    """A signed checkpoint, and the receipt of an entry under it. c2sp.org/tlog-checkpoint, tlog-proof."""
    log = short_log()
    return {
        "private_seed": log.private.private_bytes_raw().hex(),
        "public": log.public.hex(),
        "key_id": log.key_id.hex(),
        "verifier_key": log.key,
        "note": log.checkpoint().decode(),
        "index": 3,
        "entry": log.entries[3].hex(),
        "tlog_proof": log.proof(3).decode(),
    }


def tag_index() -> dict[str, Any]:
    """Keys, heads and leaves; roots of indexes of few tags; proofs that end in each of the three ways."""
    events = {f"tag:{i}": [sha256(f"{i} {n}".encode()).digest() for n in range(1 + i % 4)] for i in range(12)}
    indexes = []
    for count in (0, 1, 2, 3, 5, 12):
        tags = {tag: events[tag] for tag in list(events)[:count]}
        proofs = [proof_case(tags, tag) for tag in (*list(tags)[:4], "absent:0", "absent:1", "absent:2", "absent:3")]
        indexes.append({"tags": list(tags), "root": naive_index.root(LEDGER, tags).hex(), "proofs": proofs})
    return {
        "ledger": LEDGER,
        "tags": [
            {
                "tag": tag,
                "key": naive_index.key(LEDGER, tag).hex(),
                "leaf_hashes": [leaf.hex() for leaf in leaves],
                "heads": [naive_index.head(leaves[:n]).hex() for n in range(len(leaves) + 1)],
                "leaf": naive_index.leaf(LEDGER, tag, leaves).hex(),
            }
            for tag, leaves in events.items()
        ],
        "indexes": indexes,
    }


def proof_case(tags: dict[str, list[bytes]], tag: str) -> dict[str, Any]:
    path, end = naive_index.walk(LEDGER, tags, tag)
    leaf: dict[str, Any] | None = None
    if end is not None:
        leaf = {"head": b64url(naive_index.head(tags[end])), "n": len(tags[end])}
        if end != tag:
            leaf["key"] = b64url(naive_index.key(LEDGER, end))
    hashes = ["" if node == bytes(32) else b64url(node) for node in path]
    return {
        "tag": tag,
        "ends_in": "nothing" if end is None else "its leaf" if end == tag else "another leaf",
        "file": rfc8785.dumps({"end": leaf, "path": hashes, "tag": tag, "v": 1}).decode(),
    }


def package() -> dict[str, Any]:
    """The members of a package (but the program and the README): all events of an order, cut at a moment."""
    log = short_log()
    index = log.commit_index()
    contents = log.cut(log.complete(log.contents(), index), 3, "2026-11-22T10:00:02.500000Z")
    assert contents.index is not None
    assert contents.cut is not None
    head = {
        "as_of": contents.cut.as_of, "index": index, "kind": "order", "ledger": log.origin,
        "size": len(log.entries), "tag": f"order:{ORDER}", "v": 2,
    }  # fmt: skip
    members = {
        "package.json": rfc8785.dumps(head),
        "checkpoint": contents.checkpoint,
        "entries.jsonl": b"".join(item.entry + b"\n" for item in contents.entries),
        "index/entry.json": contents.index.entry,
        "index/entry.tlog-proof": contents.index.inclusion,
        "index/proof.json": contents.index.proof,
        "as-of/checkpoint": contents.cut.checkpoint,
        "as-of/consistency": "".join(b64(node) + "\n" for node in contents.cut.consistency).encode(),
    }
    members |= {f"proofs/{item.index}.tlog-proof": item.proof for item in contents.entries}
    openings: dict[str, Any] = {}
    for item in contents.entries:
        fields: dict[str, Any] = {}
        for name, (salt, value) in item.disclosed.items():
            fields[name] = {"salt": b64url(salt)}
            if isinstance(value, bytes):
                fields[name]["file"] = f"orders/{item.index}.{name}.bin"
                openings[f"orders/{item.index}.{name}.bin"] = value
            else:
                fields[name]["value"] = value
        if fields:
            openings[f"fields/{item.index}.json"] = rfc8785.dumps(fields)
    return {
        "verifier_key": log.key,
        "members": [{"name": name, "bytes": data.hex()} for name, data in sorted((members | openings).items())],
    }


VECTORS = {
    "field-commitment": field_commitment,
    "entry": entries,
    "merkle": merkle,
    "checkpoint": checkpoint,
    "tag-index": tag_index,
    "package": package,
}


def text_of(name: str) -> str:
    """Return the file of a vector."""
    return json.dumps(VECTORS[name](), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for each in VECTORS:
        (DIRECTORY / f"{each}.json").write_text(text_of(each))
