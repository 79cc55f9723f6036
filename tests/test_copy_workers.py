"""COPY with parallel workers loads what a COPY into a heap loads, where it may run at all."""

import random
import threading

import pytest

from harness import settings, twins
from harness.copying import ALONE, SMALL, copy, fails, started, write
from harness.session import ok, perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="only columnar tables are loaded by workers")

ROWS = settings.size(12_000, 300_000)
NARROW = "".join(f"{i}\t{i % 97}\ttext {i}\n" for i in range(1, ROWS + 1))
_SOURCE = f"""
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "happy"');
    CREATE TABLE source USING heap AS SELECT i::int2 % 1000::int2 AS a, i AS b, i::int8 * 1000003 AS c, (i * 1.5)::float4 AS d, i / 7.0::float8 AS e,
        (i * 12345.678)::numeric(12, 3) AS f, CASE i % 5 WHEN 0 THEN 'NaN' ELSE i / 3.0 END::numeric AS g, i % 3 = 0 AS h,
        CASE i % 11 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'tab\\tnew\\nline\\\\' WHEN 3 THEN '"quoted", ''so''' WHEN 4 THEN 'žluťoučký ' || chr(128512)
            WHEN 5 THEN '\\.' WHEN 6 THEN '\\N' WHEN 7 THEN E'\\r\\n' WHEN 8 THEN repeat('long ', i % 400) WHEN 9 THEN 'NULL' ELSE md5(i::text) END AS j,
        left(md5(i::text), i % 12)::varchar(12) AS k, i::text::char(8) AS l, date '2000-01-01' + i % 9000 AS m,
        timestamptz '2020-02-29 12:00+2' + i * interval '1.000001 s' AS n, i * interval '1 min' AS o, decode(md5(i::text), 'hex') AS p,
        ARRAY[i, NULL, -i] AS q, CASE WHEN i % 2 = 0 THEN ARRAY['a,b', NULL, 'c"d', E'e\\nf'] END AS r, jsonb_build_object('k', i, 'l', ARRAY['x', 'ÿ']) AS s,
        md5(i::text)::uuid AS t, ('10.0.0.' || i % 250)::inet AS u, (ARRAY['sad', 'ok', 'very "happy"']::mood[])[1 + i % 3] AS v,
        int4range(i, i + 5) AS w, point(i, -i) AS x, NULL::text AS y, B'101' AS z
    FROM generate_series(1, {ROWS}) i"""


@pytest.fixture(name="metrics", scope="module", autouse=True)
def metrics_database(shared_server):
    """The database whose metrics are asked for."""
    shared_server.create_database("copies")
    yield
    shared_server.query("DROP DATABASE copies WITH (FORCE)")


@pytest.fixture(name="session")
def small_session(server, database):
    """A session whose COPYs soon come to use workers."""
    connection = server.connect(database, options=SMALL)
    yield connection
    connection.close()


def narrow(session, name="t", extra="", options=""):
    """Makes the table for NARROW."""
    ok(session, f"CREATE {options} TABLE {name} (id int, n int, s text{extra}) USING columnar")


def sound(session, name="t"):
    """Nothing is wrong with the table's stripes."""
    assert ok(session, f"SELECT * FROM orochi.columnar_check('{name}')") == []
    with session.cursor() as cursor:
        assert twins.duplicate_keys(cursor, name) == []


def whole(session, rows=ROWS, name="t"):
    """The table has the rows of NARROW."""
    assert ok(session, f"SELECT count(*), count(DISTINCT id), sum(id), sum(length(s)), min(id), max(id) FROM {name}") == [
        (str(rows), str(rows), str(rows * (rows + 1) // 2), str(sum(5 + len(str(i)) for i in range(1, rows + 1))), "1", str(rows))]
    sound(session, name)


@pytest.mark.parametrize("options", ["", "FORMAT text, DELIMITER '|', NULL 'nothing', HEADER", "FORMAT csv", "FORMAT csv, HEADER match, QUOTE '''', ESCAPE '!', DELIMITER ';'",
                                     "FORMAT csv, NULL 'NULL', ENCODING 'UTF8'", "ENCODING 'LATIN1'"])
def test_types(server, session, options):
    """All kinds of values and ways to write them, from a file and from the client."""
    text = _SOURCE
    if "LATIN1" in options:
        text = text.replace("'žluťoučký ' || chr(128512)", "'größe'")
    ok(session, text)
    path = str(server.root / "types")
    out = options.replace("HEADER match", "HEADER")
    ok(session, f"COPY source TO '{path}' WITH ({out})" if out else f"COPY source TO '{path}'")
    with session.cursor() as cursor:
        for prefix, method in (("h", "heap"), ("c", "columnar")):
            cursor.execute(f"CREATE TABLE {prefix}_t (LIKE source) USING {method}")
        given = f"WITH ({options})" if options else ""
        assert copy(session, f"COPY h_t FROM '{path}' {given}") == f"COPY {ROWS}"
        before = started(server)
        assert copy(session, f"COPY c_t FROM '{path}' {given}") == f"COPY {ROWS}"
        assert started(server) == before + 2
        assert twins.difference(cursor, "t") is None
        ok(session, "TRUNCATE c_t")
        with open(path, "rb") as file:
            assert copy(session, f"COPY c_t FROM STDIN {given}", file) == f"COPY {ROWS}"
        assert started(server) == before + 4
        assert twins.difference(cursor, "t") is None
    sound(session, "c_t")


def test_end_of_data_marker(server, session):
    """What follows a line that ends the data does not count."""
    narrow(session)
    before = started(server)
    assert copy(session, "COPY t FROM STDIN", NARROW + "\\.\n") == f"COPY {ROWS}"
    path = write(server, "marked", NARROW.replace("\n", "\r\n") + "\\.\r\n")
    assert copy(session, f"COPY t FROM '{path}'") == f"COPY {ROWS}"
    assert started(server) == before + 4
    assert ok(session, "SELECT count(*), count(DISTINCT t::text) FROM t") == [(str(2 * ROWS), str(ROWS))]


def test_columns(server, session):
    """Lists of columns in any order, columns without values, dropped columns, columns that were added."""
    narrow(session, extra=", gone text, free float8 DEFAULT NULL, late date")
    ok(session, "ALTER TABLE t DROP COLUMN gone; ALTER TABLE t ADD COLUMN more int DEFAULT 7; ALTER TABLE t ALTER more DROP DEFAULT")
    before = started(server)
    swapped = "".join(f"text {i}\t{i}\n" for i in range(1, ROWS + 1))
    assert copy(session, "COPY t (s, id) FROM STDIN", swapped) == f"COPY {ROWS}"
    assert started(server) == before + 2
    assert ok(session, "SELECT count(n), count(free), count(late), count(more) FROM t") == [("0", "0", "0", "0")]
    whole(session)


@pytest.mark.parametrize("rows", [0, 1, 100, 101, ALONE - 1, ALONE, ALONE + 1, ALONE + 2500])
def test_small_inputs(server, session, rows):
    """As long as the session has not filled its first stripes it is alone."""
    narrow(session)
    before = started(server)
    data = "".join(NARROW.splitlines(keepends=True)[:rows])
    assert copy(session, "COPY t FROM STDIN", data) == f"COPY {rows}"
    assert started(server) - before == (2 if rows >= ALONE else 0)
    if rows:
        whole(session, rows)


def test_setting(server, session):
    """The setting says how many workers there are, within what the server has; 0 turns them off."""
    narrow(session)
    for value, expected in ((0, 0), (1, 1), (3, 3)):
        before = started(server)
        ok(session, f"TRUNCATE t; SET orochi.copy_workers = {value}")
        assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
        assert started(server) == before + expected
        whole(session)
    ok(session, "TRUNCATE t; SET max_parallel_workers = 0")
    before = started(server)
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    assert started(server) == before
    # Each worker has its share of the memory, and there are fewer of them if that would be too little.
    ok(session, "TRUNCATE t; SET max_parallel_workers = 8; SET orochi.write_buffer_mb = 8")
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    assert started(server) == before + 1
    whole(session)


def test_no_worker_to_be_had(make_server):
    """Where the server has no room for workers the session does all the work."""
    server = make_server(name="full", config={"max_worker_processes": 3})
    server.create_database("copies")
    session = server.connect("copies", options=SMALL)
    narrow(session)
    ok(session, "SET orochi.copy_workers = 8")
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    assert started(server) <= 1
    whole(session)
    session.close()


def test_wide_rows(server, session):
    """Lines that are longer than a queue, and stripes that close by their bytes."""
    ok(session, "CREATE TABLE t (id int, s text) USING columnar; ALTER TABLE t ALTER s SET STORAGE EXTERNAL; SET orochi.write_buffer_mb = 16")
    ok(session, "CREATE TABLE h (id int, s text) USING heap")
    data = "".join(f"{i}\t{(str(i) + ' ') * (200_000 if i % 500 == 0 else 300)}\n" for i in range(1, 6001))
    before = started(server)
    for table in ("h", "t"):
        assert copy(session, f"COPY {table} FROM STDIN", data) == "COPY 6000"
    assert started(server) > before
    assert ok(session, "SELECT count(*) FROM (SELECT id, md5(s) FROM t EXCEPT ALL SELECT id, md5(s) FROM h) d") == [("0",)]
    sound(session)


def test_order(server, session):
    """Tables with an order: each worker's stripes are sorted."""
    narrow(session)
    ok(session, "SELECT orochi.columnar_set_options('t', segment_by => 'n', order_by => 's DESC', bloom_filter => 'id')")
    before = started(server)
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    assert started(server) == before + 2
    whole(session)
    assert ok(session, f"SELECT s FROM t WHERE id = {ROWS - 5}") == [(f"text {ROWS - 5}",)]
    ok(session, "CREATE UNIQUE INDEX ON t (id); SET enable_seqscan = off")
    assert ok(session, f"SELECT s FROM t WHERE id = {ROWS - 7}") == [(f"text {ROWS - 7}",)]
    ok(session, "CALL orochi.columnar_compact('t')")
    whole(session)


def test_transactions(server, session):
    """In the transaction that makes the table and its types, in savepoints, rolled back, prepared, in functions."""
    before = started(server)
    ok(session, "BEGIN; CREATE TYPE colour AS ENUM ('red', 'green'); CREATE TABLE t (id int, c colour, s text) USING columnar")
    coloured = NARROW.replace("\t", "\tred\t", 1)
    coloured = "".join(f"{i}\t{'red' if i % 2 else 'green'}\ttext {i}\n" for i in range(1, ROWS + 1))
    assert copy(session, "COPY t FROM STDIN", coloured) == f"COPY {ROWS}"
    assert started(server) == before + 2
    assert ok(session, "SELECT count(*) FROM t WHERE c = 'green'") == [(str(ROWS // 2),)]
    ok(session, "SAVEPOINT s")
    assert copy(session, "COPY t FROM STDIN", coloured) == f"COPY {ROWS}"
    assert ok(session, "SELECT count(*) FROM t") == [(str(2 * ROWS),)]
    ok(session, "ROLLBACK TO s")
    assert ok(session, "SELECT count(*) FROM t") == [(str(ROWS),)]
    assert started(server) == before + 4
    ok(session, "COMMIT")
    whole(session)
    path = write(server, "coloured", coloured)
    ok(session, f"TRUNCATE t; DO $$ BEGIN BEGIN COPY t FROM '{path}'; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; COPY t FROM '{path}'; END $$")
    assert started(server) == before + 8
    whole(session)


@pytest.mark.parametrize("libraries, workers", [("orochi, {}", 2), ("{}, orochi", 0)])
def test_other_libraries(installation, make_server, libraries, workers):
    """A library that sees utility statements sees every COPY, and workers are used where that is no obstacle."""
    if not installation.has_library("pg_stat_statements"):
        pytest.skip("the server has no pg_stat_statements")
    server = make_server(name="others", preload=libraries.format("pg_stat_statements"))
    server.create_database("copies")
    session = server.connect("copies", options=SMALL)
    ok(session, "CREATE EXTENSION pg_stat_statements")
    narrow(session)
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    assert started(server) == workers
    assert ok(session, "SELECT rows FROM pg_stat_statements WHERE query = 'COPY t FROM STDIN'") == [(str(ROWS),)]
    whole(session)
    session.close()


def test_prepared(make_server):
    """A load that is prepared is there when it is committed."""
    server = make_server(name="prepared", config={"max_prepared_transactions": 5})
    server.create_database("copies")
    session = server.connect("copies", options=SMALL)
    narrow(session)
    for end, rows in (("ROLLBACK", 0), ("COMMIT", ROWS)):
        ok(session, "BEGIN")
        assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
        ok(session, "PREPARE TRANSACTION 'load'")
        assert ok(session, "SELECT count(*) FROM t") == [("0",)]
        ok(session, f"{end} PREPARED 'load'")
        assert ok(session, "SELECT count(*) FROM t") == [(str(rows),)]
    assert started(server) == 4
    whole(session)
    session.close()


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_isolation(server, session, level):
    """At every level of isolation."""
    narrow(session)
    before = started(server)
    ok(session, f"BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM t")
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    ok(session, "COMMIT")
    assert started(server) == before + 2
    whole(session)


def test_completion(server, database):
    """The completion tag has the number of rows, of a file and of a stream."""
    path = write(server, "tagged", NARROW)
    before = started(server)
    script = "CREATE TABLE t (id int, n int, s text) USING columnar;\n" + "".join(f"SET {name} = {value};\n" for name, value in SMALL.items())
    done = server.run("psql", "-X", "-d", server.dsn(database), "-f", "-", stdin=f"{script}COPY t FROM '{path}';\nCOPY t FROM STDIN;\n{NARROW}\\.\n")
    assert done.stdout.splitlines()[-2:] == [f"COPY {ROWS}"] * 2, done.stdout
    assert started(server) == before + 4


def test_many_at_once(server, database, session):
    """Several sessions fill one table, while others are read and the mover is at work."""
    narrow(session)
    others = [server.connect(database, options=SMALL) for _ in range(3)]
    tags = []

    def load(connection):
        for _ in range(3):
            tags.append(copy(connection, "COPY t FROM STDIN", NARROW))

    threads = [threading.Thread(target=load, args=(connection,), daemon=True) for connection in others]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert int(ok(session, "SELECT count(*) FROM t")[0][0]) % ROWS == 0
        ok(session, "CALL orochi.columnar_compact('t')")
    for thread in threads:
        thread.join(120)
    assert tags == [f"COPY {ROWS}"] * 9
    assert ok(session, "SELECT count(*), count(DISTINCT id) FROM t") == [(str(9 * ROWS), str(ROWS))]
    sound(session)
    for connection in others:
        connection.close()


def test_statistics(server, session):
    """Rows are counted, as by any COPY."""
    narrow(session)
    copy(session, "COPY t FROM STDIN", NARROW)
    ok(session, "CREATE OR REPLACE FUNCTION flush() RETURNS void LANGUAGE sql AS 'SELECT pg_stat_force_next_flush()'; SELECT flush()")
    assert ok(session, "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 't'") == [(str(ROWS),)]
    assert int(server.scalar("SELECT count(*) FROM pg_stat_progress_copy")) == 0


@pytest.mark.parametrize("options", ["", "segment_by => 'n', order_by => 's DESC'"])
def test_indexes(server, session, options):
    """Indexes that constrain nothing find every row that workers have loaded, as scans without them do."""
    narrow(session, extra=", a int[]")
    ok(session, f"SELECT orochi.columnar_set_options('t', {options})" if options else "SELECT 1")
    ok(session, """CREATE INDEX ON t (id) INCLUDE (s); CREATE INDEX ON t (n, id DESC); CREATE INDEX ON t USING hash (s);
        CREATE INDEX ON t USING spgist (s); CREATE INDEX ON t USING gin (a)""")
    before = started(server)
    data = "".join(f"{line}\t{{{number % 50},{number % 7}}}\n" for number, line in enumerate(NARROW.splitlines(), 1))
    assert copy(session, "COPY t FROM STDIN", data) == f"COPY {ROWS}"
    assert started(server) == before + 2
    whole(session)
    ok(session, "SET enable_seqscan = off; SET orochi.enable_columnar_scan = off; CREATE TABLE h USING heap AS SELECT * FROM t")
    for condition in ("id > 0", f"id BETWEEN 90 AND {ROWS // 2}", "n = 13", "n < 5 AND id > 500", "s = 'text 1717'", f"s = 'text {ROWS}'", "s ^@ 'text 10'", "a @> '{11}'", "a @> '{6,48}'"):
        query = "SELECT count(*), sum(id), sum(n), min(s), max(s) FROM"
        plan = "\n".join(line for (line,) in ok(session, f"EXPLAIN {query} t WHERE {condition}"))
        assert "Index" in plan, f"{condition}: {plan}"
        assert ok(session, f"{query} t WHERE {condition}") == ok(session, f"{query} h WHERE {condition}"), condition
    for statement in ("DELETE FROM t WHERE id % 3 = 0", "VACUUM t", "CALL orochi.columnar_compact('t')"):
        ok(session, statement)
    assert ok(session, "SELECT count(*), sum(n) FROM t WHERE id > 0") == ok(session, "SELECT count(*), sum(n) FROM h WHERE id % 3 > 0")


def test_index_rows_that_are_too_large(server, session):
    """What an index cannot take is an error, of which nothing is left."""
    narrow(session)
    ok(session, "CREATE INDEX ON t (s, id)")
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    before = started(server)
    error = fails(session, "COPY t FROM STDIN", f"{NARROW}{ROWS + 1}\t1\t{long}\n")
    assert error["sqlstate"] == "54000" and "index row" in error["message_primary"], error
    assert started(server) == before + 2
    assert ok(session, "SELECT count(*) FROM t") == [("0",)]
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    whole(session)


ELSEWHERE = {
    "partial index": "CREATE INDEX ON t (id) WHERE n > 5",
    "index of an expression": "CREATE INDEX ON t (id, upper(s))",
    "summary": "CREATE INDEX ON t USING brin (id)",
    "exclusion": "ALTER TABLE t ADD EXCLUDE USING hash (s WITH =)",
    "primary key": "ALTER TABLE t ADD PRIMARY KEY (id)",
    "foreign key": "CREATE TABLE p (n int PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 100); ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES p",
    "row trigger": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "statement trigger": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER f AFTER INSERT ON t EXECUTE FUNCTION f()",
    "policy": "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "generated": "ALTER TABLE t ADD g int GENERATED ALWAYS AS (id * 2) STORED",
    "identity": "ALTER TABLE t ADD g int GENERATED ALWAYS AS IDENTITY",
    "default": "CREATE SEQUENCE q; ALTER TABLE t ADD g int DEFAULT nextval('q')",
    "domain": "CREATE DOMAIN positive AS int CHECK (VALUE > 0); ALTER TABLE t ALTER id TYPE positive",
    "domain without values": "CREATE DOMAIN positive AS int CHECK (VALUE > 0); ALTER TABLE t ADD g positive",
    "composite type": "CREATE TYPE pair AS (a int, b int); ALTER TABLE t ADD g pair",
    "unsafe check": "CREATE FUNCTION f(i int) RETURNS bool LANGUAGE sql PARALLEL UNSAFE AS 'SELECT true'; ALTER TABLE t ADD CHECK (f(id))",
    "restricted check": "CREATE FUNCTION f(i int) RETURNS bool LANGUAGE plpgsql PARALLEL RESTRICTED AS 'BEGIN RETURN true; END'; ALTER TABLE t ADD CHECK (f(id) AND n >= 0)",
    "unsafe input": """CREATE TYPE mine; CREATE FUNCTION mine_in(cstring) RETURNS mine LANGUAGE internal IMMUTABLE STRICT PARALLEL UNSAFE AS 'textin';
        CREATE FUNCTION mine_out(mine) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
        CREATE TYPE mine (INPUT = mine_in, OUTPUT = mine_out, LIKE = text); ALTER TABLE t ALTER s TYPE mine USING NULL""",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_tables_without(server, session, name):
    """What workers must not do or cannot is left to PostgreSQL, with the same result."""
    narrow(session)
    ok(session, ELSEWHERE[name])
    before = started(server)
    fields = "id, n, s, g" if name == "composite type" else "id, n, s"
    data = NARROW.replace("\n", '\t"(1,2)"\n') if name == "composite type" else NARROW
    data = data.replace('"', "")
    assert copy(session, f"COPY t ({fields}) FROM STDIN", data) == f"COPY {ROWS}"
    assert started(server) == before
    assert ok(session, "SELECT count(*), sum(id) FROM t") == [(str(ROWS), str(ROWS * (ROWS + 1) // 2))]
    sound(session)


@pytest.mark.parametrize("statement", ["COPY t FROM STDIN WHERE id > 0", "COPY t FROM STDIN (FORMAT csv, DELIMITER E'\\t', FORCE_NOT_NULL (s))",
                                       "COPY t FROM STDIN (FORMAT csv, DELIMITER E'\\t', FORCE_NULL (s))", "COPY heap FROM STDIN", "COPY temporary FROM STDIN",
                                       "COPY parent FROM STDIN", "COPY part FROM STDIN"])
def test_statements_without(server, session, statement):
    """Statements and tables of other kinds."""
    narrow(session)
    narrow(session, "temporary", options="TEMPORARY")
    ok(session, "CREATE TABLE heap (LIKE t) USING heap; CREATE TABLE parent (LIKE t) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parent DEFAULT USING columnar")
    before = started(server)
    assert copy(session, statement, NARROW) == f"COPY {ROWS}"
    assert started(server) == before
    table = statement.split()[1]
    assert ok(session, f"SELECT count(*), sum(id) FROM {table}") == [(str(ROWS), str(ROWS * (ROWS + 1) // 2))]


def test_freeze_and_program(server, session):
    """COPY FREEZE and programs."""
    path = write(server, "program", NARROW)
    before = started(server)
    ok(session, "BEGIN")
    narrow(session)
    perform(session, f"COPY t FROM '{path}' (FREEZE)")
    ok(session, "ROLLBACK")
    narrow(session)
    assert copy(session, f"COPY t FROM PROGRAM 'cat {path}'") == f"COPY {ROWS}"
    assert started(server) == before
    whole(session)


def test_unlogged(server, session):
    """Unlogged tables are loaded by workers, too."""
    narrow(session, options="UNLOGGED")
    before = started(server)
    assert copy(session, "COPY t FROM STDIN", NARROW) == f"COPY {ROWS}"
    assert started(server) == before + 2
    whole(session)
