"""A small log of its own for these tests: naive tree hashes, another library's signatures and canonical JSON.

It shares no code with what it tests, except that `contents` fills the writer's input.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from dataclasses import replace
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from projections.evidence import verify
from projections.evidence.package import PackageContents, PackagedCut, PackagedEntry, PackagedIndex, build_package
from tests.tlog import naive, naive_index

ORDER = "5b0c8a38-55a4-4b1c-9d3a-8b7f0e6c1d2a"
OTHER_ORDER = "0f0e0d0c-0b0a-4908-8706-050403020100"
ORIGIN = "ledger.example/records"
EMAIL = b"From: mari@example.com\r\nSubject: Tellimus\r\n\r\nPalun esitage deklaratsioon.\r\n\x00\xff"


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, MTH."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, PATH."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path_of(index, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(index - k, leaves[k:]), root_of(leaves[:k])]


def split(size: int) -> int:
    """The largest power of two below `size`."""
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Log:
    """Entries, their openings (index → field → salt, value), and a key. The same seed gives the same bytes."""

    def __init__(self, origin: str = ORIGIN, seed: int = 1) -> None:
        self.origin = origin
        self.random = random.Random(seed)
        self.private = Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
        self.public = self.private.public_key().public_bytes_raw()
        self.entries: list[bytes] = []
        self.openings: dict[int, dict[str, tuple[bytes, Any]]] = {}
        self.tags: dict[str, tuple[int, int]] = {}

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.origin.encode() + b"\n\x01" + self.public).digest()[:4]

    @property
    def key(self) -> str:
        return "+".join([self.origin, self.key_id.hex(), b64(b"\x01" + self.public)])

    @property
    def verifier_key(self) -> verify.Key:
        return verify.Key(self.origin, self.key_id, self.public)

    def record(self, kind: str, *tags: str, personal: Any = None, **members: Any) -> int:
        """Append an entry of type `kind`; `members` go into it as they are, also such as no ledger would write."""
        index = len(self.entries)
        sealed = {}
        for name, value in (personal or {}).items():
            salt = self.random.randbytes(16)
            raw = value if isinstance(value, bytes) else rfc8785.dumps(value)
            digest = hashlib.sha256(b"prooftrail/field/v1\x00" + salt + name.encode() + b"\x00" + raw).digest()
            sealed[name] = b64url(digest)
            self.openings.setdefault(index, {})[name] = (salt, value)
        links: list[list[Any]] = []
        for tag in sorted(tags):
            n, previous = self.tags.get(tag, (0, None))
            links.append([tag, n + 1, previous])
            self.tags[tag] = (n + 1, index)
        entry = {
            "v": 1,
            "ledger": self.origin,
            "index": index,
            "id": f"{index:08x}-0000-4000-8000-000000000000",
            "type": kind,
            "recorded_at": f"2026-11-22T10:{index // 60:02}:{index % 60:02}.000000Z",
            "tags": links,
            "data": {},
            "sealed": sealed,
        }
        self.append(rfc8785.dumps(entry | members))
        return index

    def append(self, entry: bytes) -> None:
        self.entries.append(entry)

    def sign(self, text: str) -> bytes:
        signature = b64(self.key_id + self.private.sign(text.encode()))
        return f"{text}\n— {self.origin} {signature}\n".encode()

    def checkpoint(self) -> bytes:
        return self.sign(f"{self.origin}\n{len(self.entries)}\n{b64(root_of(self.entries))}\n")

    def proof(self, index: int, checkpoint: bytes | None = None) -> bytes:
        lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *map(b64, path_of(index, self.entries)), "", ""]
        return "\n".join(lines).encode() + (checkpoint or self.checkpoint())

    def contents(self, *indices: int, withhold: set[str] | None = None, order: str = ORDER) -> PackageContents:
        """What the writer takes: these entries, by default all that carry the order's tag."""
        tag = f'["order:{order}",'.encode()
        chosen = indices or tuple(i for i, entry in enumerate(self.entries) if tag in entry)
        note = self.checkpoint()
        return PackageContents(
            tag=f"order:{order}",
            ledger=self.origin,
            checkpoint=note,
            entries=[
                PackagedEntry(
                    index=i,
                    entry=self.entries[i],
                    proof=self.proof(i, note),
                    disclosed={k: v for k, v in self.openings.get(i, {}).items() if k not in (withhold or set())},
                )
                for i in chosen
            ],
        )

    # --- the index of all tags, by the naive implementation ----------------------------------------------------

    def commit_index(self) -> int:
        """Append an entry that commits to the index of all entries so far; return its index."""
        tags = self.index_of(len(self.entries))
        root = naive_index.root(self.origin, tags).hex()
        data = {"root": root, "size": len(self.entries), "tags": len(tags)}
        return self.record("index-committed", data=data)

    def index_of(self, size: int) -> dict[str, list[bytes]]:
        tags: dict[str, list[bytes]] = {}
        for entry in self.entries[:size]:
            for tag, _, _ in json.loads(entry)["tags"]:
                tags.setdefault(tag, []).append(hashlib.sha256(b"\x00" + entry).digest())
        return tags

    def index_proof(self, tag: str, size: int) -> bytes:
        tags = self.index_of(size)
        path, end = naive_index.walk(self.origin, tags, tag)
        leaf: dict[str, Any] | None = None
        if end is not None:
            leaf = {"n": len(tags[end]), "head": b64url(naive_index.head(tags[end]))}
            if end != tag:
                leaf["key"] = b64url(naive_index.key(self.origin, end))
        hashes = ["" if node == bytes(32) else b64url(node) for node in path]
        return rfc8785.dumps({"v": 1, "tag": tag, "path": hashes, "end": leaf})

    def complete(self, contents: PackageContents, index: int) -> PackageContents:
        """The same contents, complete by the index entry at `index`."""
        proof = self.proof(index, contents.checkpoint)
        packaged = PackagedIndex(
            index=index, entry=self.entries[index], inclusion=proof, proof=self.index_proof(contents.tag, index)
        )
        return replace(contents, index=packaged)

    def cut(self, contents: PackageContents, size: int, as_of: str) -> PackageContents:
        """The same contents, cut where the log had `size` entries."""
        leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in self.entries]
        text = f"{self.origin}\n{size}\n{b64(root_of(self.entries[:size]))}\n"
        hashes = naive.proof(size, leaves) if size < len(leaves) else ()
        return replace(contents, cut=PackagedCut(as_of=as_of, checkpoint=self.sign(text), consistency=hashes))


def short_log() -> Log:
    """Five entries, three of them about the order: the smallest story with a file, a value and a withheld field."""
    log = Log()
    order, subject = f"order:{ORDER}", "subject:a2b7"
    log.record("subject-registered", subject)
    log.record(
        "order-recorded",
        order,
        subject,
        data={"order_id": ORDER, "channel": "email", "media_type": "message/rfc822", "size_bytes": len(EMAIL)},
        personal={"content": EMAIL, "file_name": "Tellimus õ.eml"},
    )
    log.record("order-recorded", f"order:{OTHER_ORDER}", subject)
    transaction = {"reference": "TX-1", "result_digest": "ab" * 32}
    log.record("order-executed", order, subject, data={"order_id": ORDER, "transactions": [transaction]})
    log.record("order-disputed", order, data={"ground": "not-mine"}, personal={"statement": "Mina seda ei saatnud"})
    return log


def long_log() -> Log:
    """Every type of the story, among a hundred entries about other things; the log goes on afterwards."""
    log = Log(seed=2)
    order = f"order:{ORDER}"
    types = ["order-recorded", "order-amended", "order-executed", "order-confirmed", "order-disputed"]
    for step, type in enumerate([*types, "dispute-resolved", "order-read-by-robot"]):
        for _ in range(13 + step):
            log.record("consent-given", f"consent:{log.random.randrange(9)}")
        files = {"content": log.random.randbytes(500)} if step < 2 else {}
        log.record(type, order, data={"order_id": ORDER, "step": step, "nothing": None}, personal=files)
    log.record("consent-given", "consent:1")
    return log


def members_of(contents: PackageContents, key: str) -> dict[str, bytes]:
    return verify.read_package(build_package(contents, key=key))


def rebuilt(members: dict[str, bytes]) -> bytes:
    """The canonical zip of changed members: every checksum and length is right again."""
    return b"".join(verify.zip_pieces(members))
