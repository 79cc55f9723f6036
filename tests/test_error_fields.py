"""ERRORs of functions that a columnar table's scans and indexes call arrive with all their fields, as from a heap."""

import psycopg2
import pytest

from harness import settings

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="compares with a heap")

_SETUP = """
    CREATE FUNCTION fails(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        IF i = 500 THEN
            RAISE EXCEPTION 'no' USING DETAIL = 'a', HINT = 'b', SCHEMA = 'c', TABLE = 'd', COLUMN = 'e', DATATYPE = 'f', CONSTRAINT = 'g';
        END IF;
        RETURN i;
    END $$;
    CREATE FUNCTION fails_in_query(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN (SELECT 1 / (i - 500));
    END $$;
    CREATE TABLE heap (i int);
    CREATE TABLE columnar (i int) USING columnar;
    INSERT INTO heap SELECT generate_series(1, 2000);
    INSERT INTO columnar SELECT generate_series(1, 2000);
    CREATE INDEX heap_i ON heap (i);
    CREATE INDEX columnar_i ON columnar (i);
"""
STATEMENTS = {
    "condition": "SELECT count(*) FROM {} WHERE fails(i) > 0",
    "query in a function": "SELECT count(*) FROM {} WHERE fails_in_query(i) > 0",
    "value of a condition": "SELECT count(*) FROM {} WHERE i = fails((SELECT 500))",
    "inside a block": "DO $$ BEGIN PERFORM * FROM {} WHERE fails(i) > 0; END $$",
    "index expression": "CREATE INDEX ON {} (fails(i))",
    "index predicate": "CREATE INDEX ON {} (i) WHERE fails(i) > 0",
    "type change": "ALTER TABLE {} ALTER i TYPE bigint USING fails(i)",
    # Leaves an invalid index behind, so it comes last.
    "concurrent build": "CREATE INDEX CONCURRENTLY ON {} (fails(i))",
}
_FIELDS = ("sqlstate", "message_primary", "message_detail", "message_hint", "context", "schema_name", "table_name", "column_name",
           "datatype_name", "constraint_name", "internal_query", "internal_position", "statement_position")


@pytest.fixture(scope="module")
def database(shared_server):
    """A server with both tables."""
    shared_server.create_database("fields")
    shared_server.psql(_SETUP, database="fields")
    return shared_server


@pytest.mark.parametrize("name", STATEMENTS)
def test_fields(database, name):
    """Every field of the ERROR is that of a heap's, but for the name of the table."""
    def fields(table):
        connection = database.connect("fields")
        with connection.cursor() as cursor:
            # What a worker raises reaches the leader wherever it happens to be, so the context is not always the same.
            cursor.execute("SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0")
            with pytest.raises(psycopg2.Error) as raised:
                cursor.execute(STATEMENTS[name].format(table))
        connection.close()
        found = [getattr(raised.value.diag, field) for field in _FIELDS]
        return [value and value.replace(table, "TABLE") for value in found]

    expected = fields("heap")
    assert expected[_FIELDS.index("context")]
    assert fields("columnar") == expected
