import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import InvalidInput
from keyfob.resource_id import ROOT, ResourceId

VM = "/subscriptions/S/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm1"
NAME = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "kind", "name", "parent"),
    [
        ("/", "", "", "/"),
        ("/subscriptions/S", "Microsoft.Resources/subscriptions", "S", "/"),
        (
            "/subscriptions/S/resourceGroups/rg",
            "Microsoft.Resources/subscriptions/resourceGroups",
            "rg",
            "/subscriptions/S",
        ),
        (VM, "Microsoft.Compute/virtualMachines", "vm1", "/subscriptions/S/resourceGroups/rg"),
        (VM + "/extensions/e", "Microsoft.Compute/virtualMachines/extensions", "e", VM),
        (
            VM + "/providers/Microsoft.Authorization/roleAssignments/x",
            "Microsoft.Authorization/roleAssignments",
            "x",
            VM,
        ),
        (
            "/providers/Microsoft.Management/managementGroups/m",
            "Microsoft.Management/managementGroups",
            "m",
            "/",
        ),
    ],
)
def test_parts(text, kind, name, parent):
    parsed = ResourceId.parse(text)
    assert (parsed.type, parsed.name, str(parsed.parent)) == (kind, name, parent)
    assert str(parsed) == text


@pytest.mark.parametrize("text", ["//subscriptions//S/", "/SUBSCRIPTIONS/s", "/subscriptions/S/"])
def test_spelling_does_not_matter(text):
    assert ResourceId.parse(text) == ResourceId.parse("/subscriptions/S")
    assert hash(ResourceId.parse(text)) == hash(ResourceId.parse("/subscriptions/S"))


def test_keywords_get_their_canonical_spelling_and_names_keep_theirs():
    parsed = ResourceId.parse("/Subscriptions/S/resourcegroups/MyGroup/PROVIDERS/microsoft.compute/virtualmachines/VM")
    assert str(parsed) == "/subscriptions/S/resourceGroups/MyGroup/providers/microsoft.compute/virtualmachines/VM"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "subscriptions/S",
        "/subscriptions",
        "/subscriptions/S/resourceGroups",
        "/subscriptions/S/whatever/x",
        "/subscriptions/S/providers/Microsoft.Compute",
        "/subscriptions/S/providers/Microsoft.Compute/virtualMachines",
        VM + "/extensions",
        "/subscriptions/S/resourceGroups/../providers/a/b/c",
        "/subscriptions/S/resourceGroups/a\nb",
        "/subscriptions/S/resourceGroups/a?b",
        "/" + "a" * 3000,
    ],
)
def test_what_is_no_id(text):
    with pytest.raises(InvalidInput):
        ResourceId.parse(text)


@pytest.mark.parametrize(
    ("scope", "below", "contains"),
    [
        ("/", VM, True),
        ("/subscriptions/S/resourceGroups/rg", VM, True),
        ("/subscriptions/s/RESOURCEGROUPS/RG", VM.upper().replace("/PROVIDERS", "/providers"), True),
        (VM, VM, True),
        ("/subscriptions/S/resourceGroups/r", VM, False),
        ("/subscriptions/S/resourceGroups/rg", VM.replace("/rg/", "/rg2/"), False),
        (VM, "/subscriptions/S/resourceGroups/rg", False),
        ("/subscriptions/T", VM, False),
    ],
)
def test_containing_goes_by_whole_segments(scope, below, contains):
    assert ResourceId.parse(scope).contains(ResourceId.parse(below)) is contains


@given(st.lists(st.tuples(NAME, NAME), min_size=1, max_size=4), NAME, NAME)
def test_the_chain_is_every_scope_that_contains_it(pairs, group, namespace):
    kinds = "/".join(kind for kind, _ in pairs)
    resource = ResourceId.group("S", group).provider(f"{namespace}/{kinds}", *(name for _, name in pairs))
    chain = list(resource.chain())
    assert chain[0] == resource.key
    assert chain[-1] == "/"
    assert all(key == "/" or resource.key == key or resource.key.startswith(key + "/") for key in chain)
    assert ROOT.contains(resource)
    assert ResourceId.parse(str(resource)) == resource


def test_it_is_a_value():
    with pytest.raises(AttributeError):
        ROOT.key = "/x"
