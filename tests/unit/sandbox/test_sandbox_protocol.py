from __future__ import annotations

import pytest

from keyfob.errors import InvalidInput
from keyfob.hosts.sandbox.protocol import (
    OpenRequest,
    Ready,
    Refused,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)


def test_messages_come_back_as_they_were():
    request = OpenRequest(resource_id="/subscriptions/ü", token="secret", dialect="arc", service_account="a/b")
    assert decode_request(encode_request(request)) == request
    for reply in (Ready({"IDENTITY_HEADER": "x"}), Ready({}), Refused("No.")):
        assert decode_reply(encode_reply(reply)) == reply
        assert encode_reply(reply).count(b"\n") == 1


def test_a_token_is_not_printed():
    assert "secret" not in repr(OpenRequest(resource_id="/vm", token="secret"))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\n",
        b"[]\n",
        b"{}\n",
        b'{"open":[]}\n',
        b'{"open":{"resource_id":"/vm","token":"t"}}\n',
        b'{"open":{"resource_id":"/vm","token":"t","version":1}}\n',
        b'{"open":{"resource_id":1,"token":"t","version":2}}\n',
        b'{"open":{"resource_id":"/vm","version":2}}\n',
        b'{"open":{"resource_id":"/vm","token":"t","dialect":1,"version":2}}\n',
    ],
)
def test_anything_else_is_refused(line):
    with pytest.raises(InvalidInput):
        decode_request(line)


@pytest.mark.parametrize("line", [b"\xff\n", b"{}\n", b'{"refused":{}}\n', b'{"ready":{"environment":[]}}\n', b"1\n"])
def test_an_unknown_answer_is_no_answer(line):
    with pytest.raises(InvalidInput):
        decode_reply(line)
