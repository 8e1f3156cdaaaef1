"""What is done to SQL before a database sees it."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.store import postgres_dialect
from keyfob.store.records import end_of
from keyfob.store.sqlite import explained, statements


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT ? WHERE a = ? AND b IN (?,?)", "SELECT $1 WHERE a = $2 AND b IN ($3,$4)"),
        ("SELECT '?', ?, 'it''s ?', ?", "SELECT '?', $1, 'it''s ?', $2"),
        ('SELECT "a?b", "c""?", ?', 'SELECT "a?b", "c""?", $1'),
        ("SELECT ? -- why ?\n, ?", "SELECT $1 -- why ?\n, $2"),
        ("SELECT ? /* what\n? */, ?", "SELECT $1 /* what\n? */, $2"),
        ("SELECT '--', ?, '/*', ?", "SELECT '--', $1, '/*', $2"),
    ],
)
def test_placeholders(sql: str, expected: str) -> None:
    assert postgres_dialect.query(sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a TEXT NOT NULL, b BLOB", 'a TEXT COLLATE "C" NOT NULL, b BYTEA'),
        ("a text, b blob", 'a TEXT COLLATE "C", b BYTEA'),
        ('a TEXT COLLATE "C"', 'a TEXT COLLATE "C"'),
        ("a_text TEXTUAL, blobs BIGINT", "a_text TEXTUAL, blobs BIGINT"),
        ("DEFAULT 'TEXT BLOB' -- TEXT\n/* BLOB */ \"TEXT\"", "DEFAULT 'TEXT BLOB' -- TEXT\n/* BLOB */ \"TEXT\""),
        ("CAST(x AS TEXT)", "CAST(x AS TEXT)"),
    ],
)
def test_column_types(sql: str, expected: str) -> None:
    assert postgres_dialect.schema(sql) == expected


def test_statements_end_at_semicolons_that_end_them() -> None:
    script = """
    -- first; a remark
    INSERT INTO t VALUES ('a;b', "c;d"); /* ; */
    CREATE TRIGGER x AFTER INSERT ON t BEGIN
      DELETE FROM t; DELETE FROM u;
    END;
    SELECT 1"""
    found = list(statements(script))
    assert [statement.strip().splitlines()[-1].strip() for statement in found] == [
        """INSERT INTO t VALUES ('a;b', "c;d");""",
        "END;",
        "SELECT 1;",
    ]


def test_statements_of_nothing() -> None:
    with sqlite3.connect(":memory:") as connection:
        for script in ("", "\n", "-- only; a remark", "SELECT 1;\n-- the end\n"):
            for statement in statements(script):
                connection.execute(statement)
    connection.close()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=4), st.text(max_size=3))
def test_end_of_a_prefix(prefix: str, more: str) -> None:
    end = end_of(prefix)
    if end is None:
        assert set(prefix) <= {"\U0010ffff"}
        return
    assert prefix + more < end
    assert (prefix + "\U0010ffff" * 5).encode() < end.encode()
    if not end.startswith(prefix[:-1]):  # nothing lies between: what is less than the end begins with the prefix
        assert prefix[-1] == "\U0010ffff"
    else:
        assert ord(end[-1]) - ord(prefix[len(end) - 1]) in (1, 0xE000 - 0xD7FF)


def test_errors_of_the_world_and_of_ours() -> None:
    connection = sqlite3.connect(":memory:")
    for sql, expected in {
        "SELECT nonsense": "RuntimeError",
        "CREATE TABLE t (a UNIQUE); INSERT": "RuntimeError",
        "INSERT INTO u VALUES (NULL)": "Conflict",
        "ATTACH '/nowhere/at/all.db' AS x": "Unavailable",
    }.items():
        connection.execute("CREATE TABLE IF NOT EXISTS u (a NOT NULL)")
        with pytest.raises(sqlite3.Error) as raised:
            connection.execute(sql)
        assert type(explained(raised.value)).__name__ == expected, sql
    connection.close()
