"""The `eventsourcing` library's own recorder tests, on our ledger; and that bytes come back as they were given."""

from __future__ import annotations

import itertools
import random

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError, ProgrammingError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.errors import EntryTooLarge, Invalid
from ledger.events import BY_TOPIC
from ledger.recorder import MAX_TAG_BYTES, LedgerRecorder
from ledger.vocabulary import OWN_TAGS
from tests.bench import Bench, check_ledger
from tests.conftest import MakeBench


@pytest.fixture
def recorder(any_bench: Bench) -> LedgerRecorder:
    return LedgerRecorder(any_bench.ledger)


LIBRARY_TESTS = sorted(name for name in vars(DCBRecorderTestCase) if name.startswith("_test_"))


def test_the_library_has_the_tests_that_we_know_of() -> None:
    assert LIBRARY_TESTS == ["_test_append_read", "_test_append_subscribe"]


@pytest.mark.parametrize("name", LIBRARY_TESTS)
def test_the_librarys_own_recorder_tests_pass(recorder: LedgerRecorder, name: str) -> None:
    getattr(DCBRecorderTestCase(), name)(recorder)


TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=0, max_size=40)
COUNTER = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> LedgerRecorder:
    """One ledger for all examples: what is recorded never disturbs what comes after."""
    bench = Bench(tmp_path_factory.mktemp("shared") / "data")
    recorder = LedgerRecorder(bench.ledger)
    yield recorder  # type: ignore[misc]
    bench.ledger.close()


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=2_000),
    type=TEXT.filter(lambda text: text not in BY_TOPIC),
    tags=st.lists(TEXT.filter(lambda text: text.partition(":")[0] not in OWN_TAGS), max_size=5, unique=True),
)
@example(data=b"", type="", tags=[""])
@example(data=b"{}", type='a"b\\', tags=['"', "\\", "\n"])
@example(data=b'{"base64":"AAAA"}', type="t", tags=[])
@example(data=b'{"base64":"AAAA","x":1}', type="t", tags=[])
@example(data=b'{"base64":1}', type="t", tags=[])
@example(data=b'{"base64x":1}', type="t", tags=[])
@example(data=b'{"a":1}', type="t", tags=[])
@example(data=b'{"a": 1}', type="t", tags=[])
@example(data=b'{"b":1,"a":1}', type="t", tags=[])
@example(data=b'{"a":1.5}', type="t", tags=[])
@example(data=b"[1]", type="t", tags=[])
@example(data=b"null", type="\U0001f600", tags=["\ud7ff", "\U0001f600"])
def test_any_bytes_types_and_tags_come_back_equal(
    shared: LedgerRecorder, data: bytes, type: str, tags: list[str]
) -> None:
    position = shared.append([DCBEvent(type=type, data=data, tags=tags)])
    (found,) = shared.read(after=position - 1)
    assert found.position == position
    assert (found.event.type, found.event.data) == (type, data)
    assert sorted(found.event.tags) == sorted(tags)
    items = [DCBQueryItem(types=[type], tags=tags)]
    assert [each.position for each in shared.read(DCBQuery(items=items), after=position - 1)] == [position]
    with pytest.raises(IntegrityError):
        shared.append([DCBEvent(type="t", data=b"")], DCBAppendCondition(DCBQuery(items=items), after=position - 1))


@pytest.mark.parametrize("text", ["\x00", "\ud800", "a\x00b"])
def test_text_that_other_readers_would_change_is_refused_everywhere(recorder: LedgerRecorder, text: str) -> None:
    query = DCBQuery(items=[DCBQueryItem(tags=[text])])
    types = DCBQuery(items=[DCBQueryItem(types=[text])])
    for events, condition in [
        ([DCBEvent(type=text, data=b"")], None),
        ([DCBEvent(type="t", data=b"", tags=[text])], None),
        ([DCBEvent(type="t", data=b"")], DCBAppendCondition(query)),
        ([DCBEvent(type="t", data=b"")], DCBAppendCondition(types)),
    ]:
        with pytest.raises(Invalid):
            recorder.append(events, condition)
    with pytest.raises(Invalid):
        list(recorder.read(query))
    assert recorder.append([DCBEvent(type="t", data=b"")]) == 1, "nothing stopped"


@pytest.mark.parametrize("topic", sorted(BY_TOPIC))
def test_what_only_rules_decide_cannot_be_recorded_here(bench: Bench, topic: str) -> None:
    """A forged event of ours would be believed, and one that cannot be read would stop every start."""
    recorder = LedgerRecorder(bench.ledger)
    for data in (b"", b"{}", b'{"key_id":"k","retention_class":"contract","subject_id":"s"}'):
        with pytest.raises(Invalid):
            recorder.append([DCBEvent(type="noted", data=b"{}"), DCBEvent(type=topic, data=data)])
    recorder.append([DCBEvent(type="noted", data=b"{}")])
    bench.reopen()
    check_ledger(bench.ledger, 1)


def test_the_ledger_opens_again_after_any_type(bench: Bench) -> None:
    recorder = LedgerRecorder(bench.ledger)
    recorder.append([DCBEvent(type='a"}\\', data=b"\xff", tags=['"'])])
    bench.reopen()
    (found,) = LedgerRecorder(bench.ledger).read()
    assert (found.event.type, found.event.data, found.event.tags) == ('a"}\\', b"\xff", ['"'])


def test_a_tag_or_type_is_as_long_as_every_engine_can_hold(any_bench: Bench) -> None:
    """Of bytes that no compression makes shorter; one more is refused, and the ledger goes on."""
    recorder = LedgerRecorder(any_bench.ledger)
    longest = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=MAX_TAG_BYTES))
    assert recorder.append([DCBEvent(type=longest, data=b"", tags=[longest])]) == 1
    for event in (DCBEvent(type="t", data=b"", tags=[longest + "a"]), DCBEvent(type=longest + "a", data=b"")):
        with pytest.raises(Invalid):
            recorder.append([event])
    assert recorder.append([DCBEvent(type="t", data=b"")]) == 2


def test_nothing_to_append_and_too_much_to_append_are_refused(any_bench: Bench) -> None:
    bench = any_bench
    recorder = LedgerRecorder(bench.ledger)
    with pytest.raises(ProgrammingError):
        recorder.append([])
    with pytest.raises(EntryTooLarge):
        recorder.append([DCBEvent(type="t", data=bytes(65_536))])
    recorder.append([DCBEvent(type="noted", data=b"{}", tags=["b", "a"])])
    check_ledger(bench.ledger, 1)


def test_two_recorders_on_one_store_follow_each_other(make_any_bench: MakeBench) -> None:
    bench = make_any_bench()
    other = bench.another()
    try:
        with LedgerRecorder(bench.ledger).subscribe() as subscription:
            LedgerRecorder(other).append([DCBEvent(type="t", data=b"from the other")])
            assert next(subscription).event.data == b"from the other"
    finally:
        other.close()
