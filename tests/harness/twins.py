"""Pairs of tables, `h_NAME` a heap and `c_NAME` of the access method under test, that must always hold the same rows."""

from . import settings


def create(cursor, name, columns, extra=()):
    """Creates both tables; `{}` in the statements of `extra` stands for the table's name."""
    for prefix, method in (("h", "heap"), ("c", settings.ACCESS_METHOD)):
        cursor.execute(f"CREATE TABLE {prefix}_{name} ({columns}) USING {method}")
        for statement in extra:
            cursor.execute(statement.replace("{}", f"{prefix}_{name}"))


def fingerprint_sql(table, condition="true"):
    """An expression whose value depends on every row and not on their order."""
    return (f"(SELECT count(*) || ':' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)"
            f" FROM {table} t WHERE {condition})")


def compare_sql(name, condition="true"):
    """One statement, hence one snapshot, that returns both fingerprints."""
    return f"SELECT {fingerprint_sql('h_' + name, condition)}, {fingerprint_sql('c_' + name, condition)}"


def duplicate_keys(cursor, table):
    """Keys that more than one tuple of a table's companion has; its index is a unique one, which inserting relies on and does not check."""
    cursor.execute("SELECT nullif(reltoastrelid, 0)::regclass FROM pg_class WHERE oid = %s::regclass", (table,))
    companion = cursor.fetchone()[0]
    if not settings.COLUMNAR or companion is None:
        return []
    cursor.execute(f"SELECT chunk_id, chunk_seq, count(*) FROM {companion} GROUP BY 1, 2 HAVING count(*) > 1")
    return cursor.fetchall()


def difference(cursor, name, limit=10, keys=True):
    """Rows that only one of the tables has, from a single statement, or keys that are not unique if wanted; None when there are none."""
    duplicates = duplicate_keys(cursor, f"c_{name}") if keys else []
    if duplicates:
        return f"{name}: keys of several tuples in the companion: {duplicates[:limit]}"
    cursor.execute(compare_sql(name))
    heap, columnar = cursor.fetchone()
    if heap == columnar:
        return None
    cursor.execute(f"""
        (SELECT 'only heap' AS which, t::text FROM (SELECT t::text FROM h_{name} t EXCEPT ALL SELECT t::text FROM c_{name} t) t LIMIT {limit})
        UNION ALL
        (SELECT 'only {settings.ACCESS_METHOD}', t::text FROM (SELECT t::text FROM c_{name} t EXCEPT ALL SELECT t::text FROM h_{name} t) t LIMIT {limit})""")
    return f"{name}: heap {heap}, {settings.ACCESS_METHOD} {columnar}: {cursor.fetchall()}"


def assert_equal(server, name, database="postgres", where=""):
    """Fails with the rows that differ."""
    connection = server.connect(database, autocommit=False)
    connection.set_session(isolation_level="REPEATABLE READ")
    try:
        with connection.cursor() as cursor:
            found = difference(cursor, name)
        assert found is None, f"{where} {found}"
    finally:
        connection.close()


def assert_index_agrees(server, name, key, database="postgres"):
    """Reads the columnar table by index and by scan; both ways have to find the same rows."""
    connection = server.connect(database, autocommit=False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off")
            cursor.execute(f"SELECT count(*), sum({key}) FROM c_{name} WHERE {key} IS NOT NULL")
            by_scan = cursor.fetchall()
            cursor.execute("SET enable_seqscan = off; SET enable_indexscan = on; SET enable_indexonlyscan = off")
            cursor.execute(f"SELECT count(*), sum({key}) FROM (SELECT {key} FROM c_{name} WHERE {key} IS NOT NULL ORDER BY {key}) s")
            assert cursor.fetchall() == by_scan
    finally:
        connection.close()


def compact(cursor, table):
    """Moves rows to stripes; nothing to do for a heap."""
    if settings.COLUMNAR:
        cursor.execute("CALL orochi.columnar_compact(%s::regclass)", (table,))
