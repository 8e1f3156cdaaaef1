"""The DNS codec: known messages byte by byte, and noise."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.wire.dns import BadMessage, Code, Frames, Type, answer, frame, read_name, read_query, text_of


def question(
    name: str = "acct.vault.azure.net",
    kind: int = Type.A,
    *,
    ident: int = 0x1234,
    flags: int = 0x0100,
    klass: int = 1,
    edns: bytes = b"",
) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    head = struct.pack("!6H", ident, flags, 1, 0, 0, 1 if edns else 0)
    return head + labels + b"\0" + struct.pack("!2H", kind, klass) + edns


def opt(version: int = 0, size: int = 4096, options: bytes = b"") -> bytes:
    return b"\0" + struct.pack("!2HIH", 41, size, version << 16, len(options)) + options


NAMES = {"acct.vault.azure.net": "10.1.2.3", "six.example": "fd00::1", "empty.example": ""}


def lookup(name: str) -> str | None:
    return NAMES.get(name)


def parts(message: bytes | None) -> tuple[int, int, int, int, bytes]:
    """Flags, code, answers, additionals, what follows the header."""
    assert message is not None
    ident, flags, questions, answers, authorities, additionals = struct.unpack_from("!6H", message)
    assert (ident, questions, authorities) == (0x1234, 1, 0)
    return flags, flags & 15, answers, additionals, message[12:]


def test_an_address_byte_by_byte() -> None:
    asked = question()
    reply = answer(asked, lookup)
    assert reply == (
        b"\x12\x34\x85\x80\0\1\0\1\0\0\0\0" + asked[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([10, 1, 2, 3])
    )


def test_an_ipv6_address() -> None:
    reply = answer(question("six.example", Type.AAAA), lookup)
    _, code, answers, _, rest = parts(reply)
    assert (code, answers) == (0, 1)
    assert rest.endswith(b"\0\x1c\0\1\0\0\0\x3c\0\x10" + bytes.fromhex("fd000000000000000000000000000001"))


def test_the_case_of_the_question_comes_back_and_the_lookup_does_not_see_it() -> None:
    reply = answer(question("aCCt.VAULT.azure.net"), lookup)
    assert reply is not None
    assert b"\x04aCCt\x05VAULT" in reply
    assert parts(reply)[2] == 1


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("acct.vault.azure.net", Type.AAAA, Code.NOERROR, 0),
        ("six.example", Type.A, Code.NOERROR, 0),
        ("acct.vault.azure.net", 65, Code.NOERROR, 0),
        ("acct.vault.azure.net", Type.ANY, Code.NOERROR, 1),
        ("empty.example", Type.A, Code.NOERROR, 0),
        ("www.example.com", Type.A, Code.NXDOMAIN, 0),
        ("www.example.com", Type.AAAA, Code.NXDOMAIN, 0),
        ("", Type.A, Code.NXDOMAIN, 0),
        ("vault.azure.net.acct", Type.A, Code.NXDOMAIN, 0),
    ],
)
def test_codes(name: str, kind: int, code: Code, answers: int) -> None:
    _, got, count, _, _ = parts(answer(question(name, kind), lookup))
    assert (got, count) == (code, answers)


def test_recursion_desired_is_copied() -> None:
    assert parts(answer(question(flags=0), lookup))[0] & 0x0100 == 0
    assert parts(answer(question(flags=0x0100), lookup))[0] & 0x0100


def test_other_classes_and_operations_are_not_ours() -> None:
    assert parts(answer(question(klass=3), lookup))[1] == Code.REFUSED
    assert parts(answer(question(flags=0x2800), lookup))[1] == Code.NOTIMP


def test_edns_is_answered_with_edns_and_only_then() -> None:
    _, code, _, additionals, rest = parts(answer(question(edns=opt(options=b"\0\x0a\0\x02xx")), lookup))
    assert (code, additionals) == (0, 1)
    assert rest.endswith(b"\0\0\x29" + struct.pack("!HIH", 1232, 0, 0))
    assert parts(answer(question(), lookup))[3] == 0


def test_a_later_edns_version_is_refused() -> None:
    _, code, answers, additionals, rest = parts(answer(question(edns=opt(version=1)), lookup))
    assert (code, answers, additionals) == (0, 0, 1)
    assert rest.endswith(struct.pack("!HIH", 1232, 1 << 24, 0))  # BADVERS is 16: the upper bits are in OPT


def test_a_lookup_that_fails_or_lies_is_a_servfail() -> None:
    def broken(name: str) -> str | None:
        raise RuntimeError(name)

    assert parts(answer(question(), broken))[1] == Code.SERVFAIL
    assert parts(answer(question(), lambda name: "not an address"))[1] == Code.SERVFAIL


@pytest.mark.parametrize("message", [b"", b"x" * 11, question(flags=0x8180)])
def test_silence(message: bytes) -> None:
    assert answer(message, lookup) is None


@pytest.mark.parametrize(
    "message",
    [
        question()[:-1],
        question()[:20],
        struct.pack("!6H", 0x1234, 0, 0, 0, 0, 0),
        struct.pack("!6H", 0x1234, 0, 2, 0, 0, 0) + question()[12:] * 2,
        question(edns=opt()[:-1]),
        question(edns=opt())[:-11] + opt(options=b"four")[:-1],
        struct.pack("!6H", 0x1234, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",  # a name that is itself
        struct.pack("!6H", 0x1234, 0, 1, 0, 0, 0) + b"\x40a\0\0\1\0\1",  # a label kind that never came to be
    ],
)
def test_what_cannot_be_read_is_a_formerr_without_a_question(message: bytes) -> None:
    reply = answer(message, lookup)
    assert reply is not None
    assert len(reply) == 12
    assert reply[:2] == b"\x12\x34"
    assert reply[3] & 15 == Code.FORMERR


def test_pointers_lead_backwards_only() -> None:
    header = b"\0" * 12
    good = header + b"\x03net\0" + b"\x05azure\xc0\x0c" + b"\x05vault\xc0\x11"
    assert read_name(good, 25) == ((b"vault", b"azure", b"net"), 33)
    for bad in (b"\xc0\x0c", b"\xc0\x20", b"\xc0\x00", b"\x01a\xc0\x0c", b"\xc0"):
        with pytest.raises(BadMessage):
            read_name(header + bad, 12)


def test_long_names_are_bounded() -> None:
    longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61
    assert len(read_name(b"\0" * 12 + longest + b"\0", 12)[0]) == 4
    with pytest.raises(BadMessage):
        read_name(b"\0" * 12 + longest[:-62] + b"\x3e" + b"a" * 62 + b"\0", 12)


def test_a_dot_in_a_label_is_not_a_separator() -> None:
    assert text_of((b"evil.vault", b"azure\0", b"\xc3\xa9", b"net")) == "evil\\046vault.azure\\000.\\195\\169.net"
    spoof = struct.pack("!6H", 0x1234, 0, 1, 0, 0, 0) + b"\x14acct.vault.azure.net\0\0\1\0\1"
    assert parts(answer(spoof, lookup))[1] == Code.NXDOMAIN


# --- TCP ---


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 7))
def test_frames_survive_any_cutting(messages: list[bytes], step: int) -> None:
    stream = b"".join(frame(message) for message in messages)
    frames = Frames()
    got = [found for at in range(0, len(stream), step) for found in frames.feed(stream[at : at + step])]
    assert got == messages


# --- noise ---


@given(st.binary(max_size=600))
def test_no_bytes_raise(message: bytes) -> None:
    reply = answer(message, lambda name: "127.0.0.1")
    assert reply is None or len(reply) >= 12


@given(st.data())
def test_no_mutation_of_a_good_question_raises(data: st.DataObject) -> None:
    message = bytearray(question(edns=opt(options=b"\0\x0a\0\x02xx")))
    for _ in range(data.draw(st.integers(0, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(message)))
    reply = answer(bytes(message[:cut]), lookup)
    assert reply is None or reply[2] & 0x80


@given(st.binary(min_size=0, max_size=200), st.integers(12, 220))
def test_reading_a_name_ends(tail: bytes, at: int) -> None:
    message = b"\0" * 12 + tail
    try:
        labels, after = read_name(message, at)
    except BadMessage:
        return
    assert sum(len(label) + 1 for label in labels) < 255
    assert after <= len(message)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.sampled_from([1, 28, 255, 15]))
def test_every_answer_can_be_read_back(labels: list[bytes], kind: int) -> None:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    asked = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + name + struct.pack("!2H", kind, 1)
    reply = answer(asked, lambda name: "192.0.2.1")
    assert reply is not None
    again = read_query(bytes([reply[0], reply[1], reply[2] & 0x7F]) + reply[3:])
    assert again.question.labels == tuple(labels)
    assert again.question.type == kind
