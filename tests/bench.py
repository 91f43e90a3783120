"""The bench: a ledger of its own for each test, a clock that the test sets, and the three lines of a rule.

    bench.given(RegisterSubject(subject_id=MARI)).when(GiveConsent(…)).then(ConsentGiven(…))
    bench.given(…).when(…).refused(ConsentMissing, subject=MARI)

After each step `check_ledger` derives again, from the entries alone, all that the store says beside them.
"""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw
import msgspec

from ledger import Actor, Ledger, Receipt, canonical, create_ledger, open_ledger
from ledger.append import Append, Committed
from ledger.command import Command, Fact, Limits
from ledger.entry import draft, event_of, parse, parse_moment
from ledger.errors import Refused
from ledger.events import Event
from ledger.storage import connect as _connect
from ledger.storage.engine import Condition, Query
from ledger.storage.server import Server
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.note import Signer
from ledger.vocabulary import ActorId, EventId, Role, Tag

ORIGIN = "example.com/ledger"
KEK = sha256(b"the key-encryption key of the tests").digest()
SIGNER = Signer(ORIGIN, sha256(b"the signing key of the tests").digest())
START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


def an_id(name: str) -> Any:
    """Return the id that stands for `name` in all tests: a UUID 4 like any other, and always the same."""
    return str(uuid.UUID(int=random.Random(name).getrandbits(128), version=4))


OFFICER = Actor(id=ActorId(an_id("officer")), role=Role.OFFICER)
SUPPORT = Actor(id=ActorId(an_id("support")), role=Role.SUPPORT)


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    def back(self, **duration: float) -> None:
        self.now -= timedelta(**duration)


class Bench:
    """A ledger in a directory, or on a server with its guard there; opened, with what it takes to open it again."""

    def __init__(
        self,
        directory: Path,
        *,
        server: Server | None = None,
        limits: Limits | None = None,
        queue_limit: int = 4_096,
    ) -> None:
        self.directory = directory
        self.server = server
        self.clock = Clock()
        self.limits = limits
        self.queue_limit = queue_limit
        if not directory.exists():
            create_ledger(directory, origin=ORIGIN, kek=KEK, signer=SIGNER, server=server)
        self.ledger = self.another()

    def another(self, *, kek: bytes = KEK, signer: Signer = SIGNER, guard: Path | None = None) -> Ledger:
        """Open the same files once more, as another process would."""
        return open_ledger(
            self.directory,
            kek=kek,
            signer=signer,
            guard=guard,
            server=self.server,
            clock=self.clock,
            limits=self.limits,
            queue_limit=self.queue_limit,
            index_every_s=None,
        )

    def reopen(self) -> Ledger:
        self.ledger.close()
        self.ledger = self.another()
        return self.ledger

    def copy(self, directory: Path) -> Path:
        """Copy the files as they are; meant for a ledger that is closed."""
        shutil.copytree(self.directory, directory)
        return directory

    def sql(self, statement: str, bindings: Sequence[Any] = (), *, file: str = "ledger.db") -> list[tuple[Any, ...]]:
        """Run SQL on a file, or in the schema of the log, behind the ledger's back, as an administrator would."""
        if self.server is not None:
            options = f"-c search_path={self.server.schema}"
            # The driver is loaded by whoever has a server: a ledger in a file needs none.
            import psycopg

            with psycopg.connect(self.server.dsn, options=options, autocommit=True) as session:
                cursor = session.execute(statement.replace("?", "%s"), bindings)  # type: ignore[call-overload]
                return cursor.fetchall() if cursor.description else []
        _connect._load_checksums()
        with apsw.Connection(str(self.directory / file), vfs=_connect._VFS) as connection:
            connection.set_busy_timeout(10_000)
            rows = connection.execute(statement, bindings).fetchall()
        connection.close()
        return rows

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()

    # --- given, when, then -------------------------------------------------------------------------------------

    def given(self, *steps: Command | Fact, by: Actor = OFFICER) -> Bench:
        """Let this have happened before: commands that are carried out, or facts as they are."""
        for step in steps:
            if isinstance(step, Fact):
                msgspec.structs.force_setattr(step.decision, "by", by)
                self.ledger.append(self.ledger.seal([step], (), self.ledger.size()))
            else:
                self.ledger.record(step, by)
        return self

    def when(self, command: Command, *, by: Actor = OFFICER, key: str | None = None) -> Done:
        """Carry out a command and note what came of it."""
        before = self.ledger.size()
        receipt, refusal = None, None
        try:
            receipt = self.ledger.record(command, by, idempotency_key=key)
        except Refused as error:
            refusal = error
        check_ledger(self.ledger)
        return Done(self.ledger, command, by, before, receipt, refusal)


class Done:
    """What came of a command: `then` these events, or `refused` for this reason."""

    def __init__(
        self,
        ledger: Ledger,
        command: Command,
        by: Actor,
        before: int,
        receipt: Receipt | None,
        refusal: Refused | None,
    ) -> None:
        self.ledger = ledger
        self.command = command
        self.by = by
        self.before = before
        self.receipt = receipt
        self.refusal = refusal

    @property
    def events(self) -> list[Event]:
        """The events recorded, opened."""
        return [self.ledger.open(index) for index in range(self.before, self.ledger.size())]

    def then(self, *events: Event) -> Done:
        """Exactly these events were recorded, by whoever asked; personal fields compared as well."""
        if self.refusal is not None:
            raise AssertionError(f"refused: {self.refusal}") from self.refusal
        self._recorded(events)
        assert self.receipt is not None
        assert self.receipt.index == self.before
        assert self.receipt.verify(self.ledger.verifier, self.ledger.origin).size >= self.receipt.position
        return self

    def refused(self, kind: type[Refused], /, *kept: Event, **evidence: object) -> Done:
        """Refused for exactly this reason with this evidence; nothing was recorded but the events `kept`."""
        assert self.refusal is not None, "not refused"
        assert type(self.refusal) is kind, repr(self.refusal)
        assert evidence.items() <= self.refusal.evidence.items(), self.refusal.evidence
        self._recorded(kept)
        assert self.refusal.index == (self.before if kept else None)
        codes = {code for rule in type(self.command).RULES for code in rule.refusals}
        assert {getattr(event, "reason", None) for event in kept} <= codes, "a refusal that is kept is of a rule"
        return self

    def _recorded(self, events: Sequence[Event]) -> None:
        assert self.events == [msgspec.structs.replace(event, by=self.by) for event in events]


# --- prepared events, for what does not ask about rules --------------------------------------------------------


def an_append(
    *tags: str,
    type: str = "noted",
    query: Query | None = None,
    after: int = 0,
    count: int = 1,
    idempotency: tuple[bytes, bytes] | None = None,
    data: bytes = b"{}",
) -> Append:
    """Return an append of `count` events of no particular kind; with `query`, on that condition."""
    drafts = [
        draft(id=EventId(str(uuid.uuid4())), type=type, tags=[Tag(tag) for tag in tags], data=data, sealed={})
        for _ in range(count)
    ]
    condition = None if query is None else Condition(query, after)
    return Append(drafts, [()] * count, condition, idempotency=idempotency)


def append(ledger: Ledger, *tags: str, **options: Any) -> Committed:
    """Append events of no particular kind; return what became of them."""
    outcome = ledger.append(an_append(*tags, **options))
    assert isinstance(outcome, Committed)
    return outcome


# --- the invariant ---------------------------------------------------------------------------------------------


def check_ledger(ledger: Ledger, size: int | None = None) -> None:
    """Derive from the entries alone what the store says beside them; every difference is a failure."""
    entries = [each.entry for each in ledger.engine.entries()]
    assert len(entries) == ledger.size(), "the size is the number of entries"
    assert size is None or len(entries) == size
    heads: dict[Tag, tuple[int, int]] = {}
    rows: list[tuple[Tag, int, int, str]] = []
    before = ""
    for index, entry in enumerate(entries):
        parsed = parse(entry)
        assert (parsed.index, parsed.ledger, parsed.v) == (index, ledger.origin, 1), "indexes are contiguous"
        assert parsed.recorded_at >= before, "recorded_at never runs backwards"
        before = parsed.recorded_at
        parse_moment(before)
        assert list(parsed.tag_names) == sorted(set(parsed.tag_names)), "tags are sorted, each once"
        for link in parsed.tags:
            n, last = heads.get(link.tag, (0, None))
            assert (link.n, link.prev) == (n + 1, last), f"counter of {link.tag} at {index}"
            heads[link.tag] = (n + 1, index)
            rows.append((link.tag, index, link.n, parsed.type))
        canonical.decode(bytes(parsed.data), "data")
        if parsed.type != "noted":
            event_of(parsed)
    stored = [(row.tag, row.index, row.n, row.type) for row in ledger.engine.tags(len(entries))]
    assert stored == sorted(rows), "event_tags say what the entries say"
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    for first in range(0, len(leaves), 256):
        assert ledger.engine.leaves(first, first + 256) == leaves[first : first + 256], "leaf hashes"
    if not entries:
        assert ledger.checkpoint() is None
        return
    checkpoint = last_checkpoint(ledger)
    assert checkpoint.size == len(entries), "the last checkpoint covers everything"
    assert checkpoint.root == root_of(leaves), "the root of the entries is the signed one"


def last_checkpoint(ledger: Ledger) -> Checkpoint:
    """Return the last signed checkpoint, opened with the ledger's key."""
    found = ledger.checkpoint()
    assert found is not None
    checkpoint = open_checkpoint(found[1], ledger.verifier, ledger.origin)
    assert checkpoint.size == found[0]
    return checkpoint


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root by the definition of RFC 6962 §2.1, kept apart from the code under test."""
    level = list(leaves)
    if not level:
        return sha256(b"").digest()
    while len(level) > 1:
        # A last node without a sibling moves up as it is: the same tree as the recursive definition.
        paired = [sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(paired) * 2 :]
    return level[0]
