"""Signed notes: the published example to the byte, and the strictness of the reader."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Invalid, VerificationError
from ledger.tlog import note
from ledger.tlog.note import Signer, Verifier, open_note

# The example of golang.org/x/mod/sumdb/note (BSD-3-Clause): the keys are published with it, and secure nothing.
PETER_KEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER = Verifier.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
ENOCH = Verifier.parse("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop")
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)

ALICE = Signer("alice.example/log", bytes(range(32)))
BOB = Signer("bob.example/log", bytes(range(1, 33)))


def assemble(text: str, *lines: str) -> bytes:
    return f"{text}\n{''.join(lines)}".encode()


def test_signing_gives_the_published_note() -> None:
    assert note.sign(TEXT, Signer.parse(PETER_KEY)) == assemble(TEXT, PETER_LINE)


def test_the_published_note_opens() -> None:
    signed = assemble(TEXT, PETER_LINE, ENOCH_LINE)
    assert open_note(signed, [PETER, ENOCH]) == note.Note(TEXT, ("PeterNeumann", "EnochRoot"), ())
    assert open_note(signed, [PETER]) == note.Note(TEXT, ("PeterNeumann",), (ENOCH_LINE[:-1],))
    with pytest.raises(VerificationError, match="no known key signed"):
        open_note(signed, [])


def test_several_signers_sign_in_their_order() -> None:
    opened = open_note(note.sign("hi\n", BOB, ALICE), iter((ALICE.verifier, BOB.verifier)))
    assert opened == note.Note("hi\n", ("bob.example/log", "alice.example/log"), ())


@given(st.text(), st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_every_text_that_may_be_signed_is_read_back(text: str, seed: bytes) -> None:
    signer = Signer("log", seed)
    text += "\n"
    if note.is_text(text):
        assert open_note(note.sign(text, signer), [signer.verifier]).text == text
    else:
        with pytest.raises(Invalid):
            note.sign(text, signer)


@pytest.mark.parametrize("text", ["\n", "a\n", "\n\n", "a\n\nb\n\n", "— looks like a signature line\n", "õ €\x7f\n"])
def test_blank_lines_and_odd_texts_survive(text: str) -> None:
    assert open_note(note.sign(text, ALICE), [ALICE.verifier]).text == text


@pytest.mark.parametrize("text", ["", "a", "a\nb", "a\tb\n", "a\r\n", "\x00\n", "\ud800\n"])
def test_a_text_that_could_not_be_read_back_is_not_signed(text: str) -> None:
    with pytest.raises(Invalid):
        note.sign(text, ALICE)


def test_signing_takes_at_least_one_signer_and_each_once() -> None:
    with pytest.raises(Invalid):
        note.sign("hi\n")
    with pytest.raises(Invalid):
        note.sign("hi\n", ALICE, ALICE)


def test_one_flipped_bit_anywhere_refuses_the_note() -> None:
    signed = note.sign("three\nlines\nof text\n", ALICE)
    for at in range(len(signed)):
        for bit in range(8):
            forged = bytearray(signed)
            forged[at] ^= 1 << bit
            with pytest.raises(VerificationError):
                open_note(bytes(forged), [ALICE.verifier])


def test_a_byte_too_many_or_too_few_anywhere_refuses_the_note() -> None:
    signed = note.sign("two\nlines\n", ALICE)
    for at in range(len(signed)):
        with pytest.raises(VerificationError):
            open_note(signed[:at], [ALICE.verifier])
        with pytest.raises(VerificationError):
            open_note(signed[:at] + signed[at + 1 :], [ALICE.verifier])
        with pytest.raises(VerificationError):
            open_note(signed[:at] + b"\n" + signed[at:], [ALICE.verifier])


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_other_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(VerificationError):
        open_note(data, [ALICE.verifier])


SIGNATURE = PETER_LINE.removeprefix("— PeterNeumann ").removesuffix("\n")


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"\n",
        b"\n\n",
        TEXT.encode(),
        assemble(TEXT),
        assemble(TEXT[:-1], PETER_LINE),
        assemble(TEXT, PETER_LINE[:-1]),
        assemble(TEXT, PETER_LINE, "\n"),
        assemble(TEXT, PETER_LINE, "Unexpected line.\n"),
        assemble(TEXT, PETER_LINE, "— \n"),
        assemble(TEXT, PETER_LINE, "— name\n"),
        assemble(TEXT, PETER_LINE, "— name \n"),
        assemble(TEXT, PETER_LINE, "—  AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE, "— name AAAAAA==\n"),  # a key id without a signature
        assemble(TEXT, PETER_LINE, "— name AAAAAAA\n"),
        assemble(TEXT, PETER_LINE, "— name AAAAAAB=\n"),  # another spelling of AAAAAAA=
        assemble(TEXT, PETER_LINE, "— name AAAA AAA=\n"),
        assemble(TEXT, PETER_LINE, "— name AAAAAAA= \n"),
        assemble(TEXT, PETER_LINE, "— name AA-_AAA=\n"),
        assemble(TEXT, PETER_LINE, "— name ÄAAAAAA=\n"),
        assemble(TEXT, PETER_LINE, "— na+me AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE, "— na\u00a0me AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE, "— na\u2003me AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE, "name AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE.removeprefix("— ")),
        assemble(TEXT, PETER_LINE, "- name AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE, "—\u00a0name AAAAAAA=\n"),
        assemble(TEXT, PETER_LINE.replace("\n", "\r\n")),
        assemble("\x01" + TEXT, PETER_LINE),
        assemble("\t" + TEXT, PETER_LINE),
        b"\xff" + assemble(TEXT, PETER_LINE),
        b"\xed\xa0\x80" + assemble(TEXT, PETER_LINE),  # a surrogate
        b"\xef\xbb\xbf" + assemble(TEXT, PETER_LINE),  # a byte order mark is text, and was not signed
        assemble(TEXT, f"— Peter Neumann {SIGNATURE}\n"),
        assemble(TEXT, PETER_LINE, f"— PeterNeumann {base64.b64encode(PETER.key_id + bytes(64)).decode()}\n"),
        assemble(TEXT, PETER_LINE, f"— PeterNeumann {base64.b64encode(PETER.key_id + b'short').decode()}\n"),
        assemble(TEXT + "more\n", PETER_LINE),
        assemble(TEXT, *[PETER_LINE] * (note.MAX_SIGNATURES + 1)),
    ],
)
def test_a_malformed_note_is_refused(signed: bytes) -> None:
    with pytest.raises(VerificationError):
        open_note(signed, [PETER])


@pytest.mark.parametrize("text", [b"a\tb\n", b"a\r\n", b"\x00\n", b"\x1f\n", b"\xff\n", b"\xed\xa0\x80\n"])
def test_a_text_that_no_note_may_hold_is_refused_though_signed(text: bytes) -> None:
    signature = base64.b64encode(ALICE.verifier.key_id + ALICE.sign(text))
    with pytest.raises(VerificationError, match=r"^note: "):
        open_note(text + f"\n— {ALICE.name} ".encode() + signature + b"\n", [ALICE.verifier])


def test_a_note_as_long_as_the_limit_is_read_and_not_one_byte_more() -> None:
    overhead = len(note.sign("\n", ALICE))
    text = "x" * (note.MAX_NOTE_BYTES - overhead) + "\n"
    assert open_note(note.sign(text, ALICE), [ALICE.verifier]).text == text
    with pytest.raises(VerificationError, match="longer than"):
        open_note(note.sign("x" + text, ALICE), [ALICE.verifier])


def test_signatures_of_unknown_keys_are_ignored_even_under_a_known_name_or_id() -> None:
    other_id = f"— PeterNeumann {base64.b64encode(b'abcd' + bytes(64)).decode()}\n"
    other_name = f"— Peter {SIGNATURE}\n"
    opened = open_note(assemble(TEXT, other_id, PETER_LINE, other_name, other_name), [PETER, ENOCH])
    assert opened.verified == ("PeterNeumann",)
    assert opened.unverified == (other_id[:-1], other_name[:-1])


def test_a_known_signature_that_fails_refuses_the_note_that_another_key_signed() -> None:
    failing = f"— EnochRoot {base64.b64encode(ENOCH.key_id + bytes(64)).decode()}\n"
    with pytest.raises(VerificationError, match="does not match key EnochRoot"):
        open_note(assemble(TEXT, PETER_LINE, failing), [PETER, ENOCH])
    assert open_note(assemble(TEXT, PETER_LINE, failing), [PETER]).verified == ("PeterNeumann",)


def test_as_many_signatures_as_the_limit_are_read() -> None:
    opened = open_note(assemble(TEXT, *[PETER_LINE] * note.MAX_SIGNATURES), [PETER])
    assert opened.verified == ("PeterNeumann",)


def test_two_known_keys_with_one_name_and_id_are_refused_and_the_same_key_twice_is_not() -> None:
    twin = Verifier(PETER.name, ENOCH.public_key)
    object.__setattr__(twin, "key_id", PETER.key_id)
    with pytest.raises(VerificationError, match="two known keys"):
        open_note(assemble(TEXT, PETER_LINE), [PETER, twin])
    assert open_note(assemble(TEXT, PETER_LINE), [PETER, PETER]).verified == ("PeterNeumann",)


# Keys


def test_keys_are_written_as_go_writes_them() -> None:
    signer = Signer.parse(PETER_KEY)
    assert signer.encode() == PETER_KEY
    assert signer.verifier == PETER
    assert str(PETER) == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert PETER.key_id.hex() == "c74f20a3"


def test_a_private_key_does_not_show() -> None:
    signer = Signer.parse(PETER_KEY)
    assert PETER_KEY.rpartition("+")[2] not in f"{signer!r} {signer}"


@pytest.mark.parametrize("encoded", [str(PETER), PETER_KEY])
def test_a_part_of_a_key_or_a_key_with_one_character_changed_is_refused(encoded: str) -> None:
    parse, error = (Signer.parse, Invalid) if encoded == PETER_KEY else (Verifier.parse, VerificationError)
    parse(encoded)
    for start in range(len(encoded)):
        for stop in (start, start + 9, len(encoded) - 1, len(encoded)):
            if (start, stop) != (0, len(encoded)):
                with pytest.raises(error):
                    parse(encoded[start:stop])
    for at, char in enumerate(encoded):
        for other in (chr(ord(char) + 1), char.swapcase(), "+", " ", "\u00e4", ""):
            if other != char:
                with pytest.raises(error):
                    parse(encoded[:at] + other + encoded[at + 1 :])


@pytest.mark.parametrize(
    "encoded",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # a longer key, its own id
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # an unknown type, its own id
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
        "",
        "+",
        "++",
        "a+b+c",
        "\ud800+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_a_malformed_verifier_key_is_refused(encoded: str) -> None:
    with pytest.raises(VerificationError, match=r"^verifier key: "):
        Verifier.parse(encoded)


@pytest.mark.parametrize("name", ["", " ", "a b", "a+b", "a\tb", "a\nb", "a\x00b", "a\u00a0b", "a\u2028b", "\ud800"])
def test_a_name_that_a_signature_line_cannot_hold_is_invalid(name: str) -> None:
    assert not note.is_name(name)
    with pytest.raises(Invalid):
        Signer(name, bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_invalid(length: int) -> None:
    with pytest.raises(Invalid):
        Signer("log", bytes(length))
    with pytest.raises(Invalid):
        Verifier("log", bytes(length))


def test_a_signature_of_another_length_does_not_hold() -> None:
    signature = ALICE.sign(b"message")
    ALICE.verifier.verify(b"message", signature)
    for wrong in (b"", signature[:-1], signature + b"\x00"):
        with pytest.raises(VerificationError):
            ALICE.verifier.verify(b"message", wrong)
