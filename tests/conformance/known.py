"""Official examples that do not conform, and why. A test fails on any other, and on entries that nothing needs.

Key: the end of the document's path, the operation, the example (`*` for all of the operation).
"""

_NO_DENIAL = "there is no deny assignment to read: no documented operation makes one"

KNOWN: dict[tuple[str, str, str], str] = {
    ("authorization-DenyAssignmentGetCalls.json", "DenyAssignments_Get", "*"): _NO_DENIAL,
    ("authorization-DenyAssignmentGetCalls.json", "DenyAssignments_GetById", "*"): _NO_DENIAL,
    ("authorization-DenyAssignmentCalls.json", "DenyAssignments_Get", "*"): _NO_DENIAL,
    ("authorization-DenyAssignmentCalls.json", "DenyAssignments_GetById", "*"): _NO_DENIAL,
    (
        "2020-04-01-preview/authorization-RoleAssignmentsCalls.json",
        "RoleAssignments_Create",
        "*",
    ): "conditions of role assignments are refused: they would not be evaluated",
}
