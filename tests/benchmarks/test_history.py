"""The ledgers that benchmarks measure are real ones: built quickly, and they verify."""

from __future__ import annotations

from pathlib import Path

from benchmarks import history, store
from benchmarks.bare import Bare, rows_of
from ledger.tlog.fsck import fsck

EVENTS = 1_500


def test_a_built_ledger_verifies_and_its_bare_copy_takes_the_same_rows(tmp_path: Path) -> None:
    data = tmp_path / "ledger"
    history.built(data, EVENTS)
    path = store.database(data)
    bare = Bare(path, tmp_path / "bare.db")
    with store.reopen(data) as ledger:
        report = fsck(ledger)
        assert report.ok
        assert report.entries == EVENTS
        assert report.missing == 0
        assert history.recorded_orders(ledger, 5)
        facts = history.History(ledger, history.People(EVENTS)).facts(300)
        ledger.append(ledger.seal(list(facts), (), EVENTS))
        bare.insert(rows_of(path, EVENTS, ledger.size()))
    assert bare.size() == EVENTS + 300
    bare.close()
