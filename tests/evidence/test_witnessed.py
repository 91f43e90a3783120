"""Packages with cosignatures: brackets of time by the keys of witnesses, and nothing claimed without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Ledger, open_ledger
from ledger.commands import GiveConsent, RegisterSubject
from ledger.storage.cosignatures import CosignatureStore, StoredCosignature
from ledger.tlog.cosignature import WitnessSigner
from ledger.tlog.note import text_of
from ledger.vocabulary import Channel, ConsentId, Purpose, SubjectId, new_id, subject_tag
from projections.evidence import verify
from projections.evidence.accuse import Kept, find_contradiction
from projections.evidence.collect import collect_tag
from projections.evidence.package import build_package
from tests.bench import KEK, OFFICER, SIGNER, Bench

W1 = WitnessSigner("witness.example/w1", b"1" * 32)
W2 = WitnessSigner("witness.example/w2", b"2" * 32)
SUBJECT = SubjectId("11111111-1111-4111-8111-111111111111")


def cosign(ledger: Ledger, time_s: int, *signers: WitnessSigner) -> int:
    """Let witnesses cosign the last checkpoint at a time; return its size."""
    found = ledger.checkpoint()
    assert found is not None
    assert ledger.cosigning is not None
    for signer in signers:
        line = signer.cosign(text_of(found[1]), time_s).rstrip("\n")
        ledger.cosigning.store.add(StoredCosignature(found[0], str(signer.key), time_s, line))
    return found[0]


@pytest.fixture
def ledger(bench: Bench) -> Iterator[Ledger]:
    """Two events of one person, at index 1 and 3, cosigned before, between and after."""
    bench.ledger.close()
    CosignatureStore(bench.directory / "cosignatures.db").close()
    with open_ledger(bench.directory, kek=KEK, signer=SIGNER, clock=bench.clock) as found:
        other = RegisterSubject(subject_id=SubjectId(new_id()))
        found.record(other, OFFICER)
        assert cosign(found, 1_000, W1, W2) == 1
        found.record(RegisterSubject(subject_id=SUBJECT), OFFICER)
        assert cosign(found, 2_000, W1) == 2
        found.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER)
        assert cosign(found, 3_000, W1, W2) == 3
        consent = GiveConsent(
            consent_id=ConsentId(new_id()), subject_id=SUBJECT, purpose=Purpose.OWN_OFFERS, recipient_id=None,
            fields=("email",), text_sha256="0" * 64, language="et", channel=Channel.LINK,  # type: ignore[arg-type]
        )  # fmt: skip
        found.record(consent, OFFICER)
        yield found


@pytest.fixture
def package(ledger: Ledger) -> bytes:
    return build_package(collect_tag(ledger, subject_tag(SUBJECT), kind="subject"), key=str(ledger.verifier))


KEY = verify.parse_key(str(SIGNER.verifier))


def checked(package: bytes, *witnesses: WitnessSigner) -> verify.Report:
    keys = [verify.parse_witness_key(str(signer.key)) for signer in witnesses]
    return verify.verify_package(package, KEY, None, keys)


def test_each_event_is_bracketed_by_the_clock_of_each_witness(package: bytes) -> None:
    report = checked(package, W1, W2)
    assert report.proven, report.failure
    assert [(item.index, item.witness[-2:], item.after, item.not_later_than) for item in report.brackets] == [
        (1, "w1", 1_000, 2_000),
        (3, "w1", 3_000, None),
        (1, "w2", 1_000, 3_000),
        (3, "w2", 3_000, None),
    ]
    (claim,) = [claim for claim in report.claims if claim.id == "witness"]
    assert claim.verdict == "proven"
    lines = "\n".join(verify.text_lines(report, []))
    assert "[1] after 1970-01-01 00:16:40, not later than 1970-01-01 00:33:20, by the clock of" in lines
    assert json.loads(json.dumps(verify.as_json(report, [])))["brackets"][0]["after"] == 1_000


def test_without_the_key_of_a_witness_nothing_is_claimed_of_it(package: bytes) -> None:
    report = checked(package)
    assert report.proven
    assert report.brackets == ()
    (claim,) = [claim for claim in report.claims if claim.id == "witness"]
    assert claim.verdict == "not claimed"


def test_a_witness_that_cosigned_nothing_fails_its_claim(package: bytes) -> None:
    stranger = WitnessSigner("witness.example/w3", b"3" * 32)
    for witness in (stranger, WitnessSigner(W1.key.name, b"3" * 32)):
        report = checked(package, W1, witness)
        assert report.failure is not None
        assert report.failure.id == "witness"
        assert not report.proven


def test_the_command_takes_keys_of_witnesses(
    package: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "package.zip"
    path.write_bytes(package)
    words = [str(path), "--key", str(SIGNER.verifier)]
    assert verify.main([*words, "--witness", str(W1.key), "--witness", str(W2.key)]) == 0
    assert "by the clock of witness.example/w2" in capsys.readouterr().out
    assert verify.main([*words, "--witness", str(SIGNER.verifier)]) == 2
    assert verify.main([str(path), "--key", str(W1.key)]) == 2


def members(package: bytes) -> dict[str, bytes]:
    return verify.read_package(package)


def packed(found: dict[str, bytes]) -> bytes:
    return b"".join(verify.zip_pieces(found))


def test_a_checkpoint_for_witnesses_is_one_that_the_log_extends(package: bytes) -> None:
    found = members(package)
    names = [name for name in found if name.startswith("witness/")]
    assert names == [
        "witness/1.checkpoint", "witness/2.checkpoint", "witness/3.checkpoint",
        "witness/1.consistency", "witness/2.consistency", "witness/3.consistency",
    ]  # fmt: skip
    for changed in (
        {"witness/2.checkpoint": found["witness/1.checkpoint"]},
        {"witness/2.consistency": found["witness/1.consistency"]},
        {"witness/2.consistency": b""},
        {"witness/2.checkpoint": found["witness/2.checkpoint"].replace(b"\n2\n", b"\n3\n")},
    ):
        report = checked(packed({**found, **changed}), W1)
        assert report.failure is not None
        assert report.failure.id == "checkpoint"
    lonely = {name: data for name, data in found.items() if name != "witness/2.consistency"}
    assert not checked(packed(lonely)).proven


def test_an_honest_package_accuses_nobody(package: bytes) -> None:
    kept = Kept([SIGNER.verifier])
    kept.add_package(package)
    assert len(kept.checkpoints) == 4
    assert len(kept.states) == 1
    assert find_contradiction(kept) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_a_cosigned_package_passes(package: bytes, data: st.DataObject) -> None:
    """Anywhere in the file, the witnesses' part among it: it fails a claim, and never otherwise."""
    start = package.index(b"witness/1.checkpoint") if data.draw(st.booleans()) else 0
    at = data.draw(st.integers(start, len(package) - 1))
    changed = bytearray(package)
    match data.draw(st.sampled_from(("flip", "drop", "splice"))):
        case "flip":
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
        case "drop":
            del changed[at]
        case "splice":
            changed[at:at] = changed[: data.draw(st.integers(1, 50))]
    report = checked(bytes(changed), W1, W2)
    assert not report.proven
    assert report.failure is not None
