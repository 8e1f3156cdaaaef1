"""Whatever comes, each dialect answers in JSON, gives no token without proof, and never fails."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.clock import CountingIds, FakeClock
from keyfob.hosts.caller import Secret
from keyfob.hosts.dialects.dialect import Opening
from keyfob.hosts.dialects.table import DIALECTS
from keyfob.hosts.endpoints import Speaking
from keyfob.hosts.token_endpoint import HostToken
from keyfob.wire.http import Fields, Request, parse_target

TOKEN = HostToken("h.p.s", "cid", "pid", "https://vault.azure.net", 1e9, 999_999_700, 1_000_086_400)
SPOKEN = [dialect for dialect in DIALECTS.values() if dialect.socket]

text = st.text(max_size=12)
names = st.sampled_from(
    ["api-version", "resource", "client_id", "clientid", "object_id", "msi_res_id", "bypass_cache", "x"]
)
values = st.sampled_from(
    ["2018-02-01", "2019-08-01", "2017-09-01", "2019-07-01-preview", "https://vault.azure.net", ""]
)
pairs = st.lists(st.tuples(names | text, values | text), max_size=6)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["Metadata", "Secret", "X-IDENTITY-HEADER", "x-ms-identity", "Authorization", "X-Forwarded-For"]
        ),
        st.sampled_from(["true", "Basic key", "Basic \udcff", "\udcff", ""]) | text,
    ),
    max_size=4,
)


class Keys:
    def new(self) -> str:
        return "/var/opt/azcmagent/tokens/1.key"

    def spend(self, key: str) -> bool:
        return False


@pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE"]),
    query=pairs,
    fields=pairs,
    sent=headers,
    body=st.binary(max_size=16),
    elsewhere=st.sampled_from(["", "", "/x"]),
)
def test_no_token_and_no_failure(dialect, method, query, fields, sent, body, elsewhere):
    given_out = []

    async def issue(spoken, asked):
        given_out.append(asked)
        return TOKEN

    opening = Opening(secret=Secret("s" * 40), keys=Keys())
    speaking = Speaking([dialect], opening, issue=issue, clock=FakeClock(), ids=CountingIds())
    path, raw, parsed = parse_target(f"{dialect.path}{elsewhere}?{urlencode(query, errors='surrogatepass')}")
    request = Request(method, path, parsed, Fields(sent), body or urlencode(fields).encode(), raw_path=raw)
    reply = asyncio.run(speaking(request))
    said = msgspec.json.decode(reply.body)
    if reply.status == 200:  # only those that ask for no secret
        assert dialect.name in {"imds", "vm-extension", "cloud-shell"}
        assert dict(sent).get("Metadata", "").strip().lower() == "true" or len(sent) > 1
        assert said["access_token"] == "h.p.s"
        assert len(given_out) == 1
    else:
        assert 400 <= reply.status < 500
        assert given_out == []
        assert "h.p.s" not in reply.body.decode()
        assert "s" * 40 not in reply.body.decode()


def test_a_listener_speaks_something():
    with pytest.raises(ValueError, match="answers nothing"):
        Speaking([], Opening(Secret("s")), issue=None, clock=FakeClock(), ids=CountingIds())  # type: ignore[arg-type]
