"""Prints docs/token-endpoint-matrix.md: which client speaks which token endpoint's dialect.

python tools/matrix_page.py          writes the page
python tools/matrix_page.py --check  says whether it is current
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "token-endpoint-matrix.md"

HEAD = """# Clients and token endpoints

Which official client gets through which [token endpoint](token-endpoints.md), unmodified, in the sandbox of a host of
that kind. Every cell is a test (`tests/clients/test_dialect_matrix.py`): the host's own identity, two user-assigned
ones by each selector that is named, one that is not attached (refused), and a host without an identity (refused).

`own` is the identity that is meant when none is named; `c`, `o` and `r` are client id, object id and resource id. A
dash means that the client has no such path.

"""


def render() -> str:
    sys.path.insert(0, str(ROOT / "tests" / "clients"))
    from dialect_matrix import CLIENTS
    from dialects import CASES

    dialects = list(dict.fromkeys(case.dialect for case in CASES))
    notes: list[str] = []
    lines = ["| client | " + " | ".join(f"`{name}`" for name in dialects) + " |", "| --- " * (len(dialects) + 1) + "|"]
    for client in CLIENTS:
        cells = []
        for name in dialects:
            cell = client.cells[name]
            text = "–"
            if cell.selectors is not None:
                text = ", ".join(["own", *(kind[0] for kind in sorted(cell.selectors))])
            if cell.note:
                if cell.note not in notes:
                    notes.append(cell.note)
                text += f" ({notes.index(cell.note) + 1})"
            cells.append(text)
        lines.append(f"| {client.name} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"{number}. The client {note}." for number, note in enumerate(notes, 1)]
    return HEAD + "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    page = render()
    if "--check" in arguments:
        return int(not PAGE.exists() or PAGE.read_text("utf-8") != page)
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
