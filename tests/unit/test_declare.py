import pytest

from keyfob.declare import Action, Public, Route, RouteTable
from keyfob.wire.http import Reply


async def nothing(call):
    return Reply(204)


READ = Action("A/b/read")


def test_a_route_without_access_does_not_construct():
    with pytest.raises(TypeError, match="declares no access"):
        Route("GET", "/x", None, nothing)
    with pytest.raises(TypeError, match="declares no access"):
        Route("GET", "/x", "A/b/read", nothing)


def test_two_claims_to_one_place_collide():
    with pytest.raises(ValueError, match="declared twice"):
        RouteTable([Route("GET", "/x/{a}", READ, nothing), Route("GET", "/X/{b}", Public("why"), nothing)])


def test_literals_win_over_parameters_whatever_the_order():
    table = RouteTable([Route("POST", "/s/{name}", READ, nothing), Route("POST", "/s/restore", READ, nothing)])
    assert table.match("POST", "/s/restore")[0].path == "/s/restore"
    assert table.match("POST", "/s/other")[1] == {"name": "other"}


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/providers/A/b/n", ""),
        ("/subscriptions/S/providers/A/b/n", "/subscriptions/S"),
        ("/a/b/c/providers/a/B/n", "/a/b/c"),
    ],
)
def test_a_scope_parameter_takes_any_number_of_segments(path, scope):
    table = RouteTable([Route("GET", "/{+scope}/providers/A/b/{name}", READ, nothing)])
    _route, parameters = table.match("GET", path)
    assert parameters == {"scope": scope, "name": "n"}
    assert table.match("GET", path + "/more") is None
    assert table.methods(path) == {"GET"}
    assert table.match("PUT", path) is None


def test_a_parameter_twice_is_told_at_start():
    with pytest.raises(ValueError, match="parameter twice"):
        RouteTable([Route("GET", "/x/{a}/y/{a}", READ, nothing)])


def test_the_methods_of_a_path():
    table = RouteTable([Route("GET", "/x/{a}", READ, nothing), Route("PUT", "/x/{a}", READ, nothing)])
    assert table.methods("/x/1") == {"GET", "PUT"}
    assert table.methods("/y/1") == frozenset()
    assert table.match("DELETE", "/x/1") is None
