"""COPY with parallel workers that fails: the same errors as without them, and nothing left behind."""

import os
import random
import socket
import threading

import psycopg2
import pytest

from harness import process, settings
from harness.copying import ALONE, SMALL, Slow, copy, fails, started, write
from harness.session import ok

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="only columnar tables are loaded by workers")

ROWS = settings.size(9_000, 100_000)
#: Lines at which something is wrong: met by the session, by a worker that has just begun, in the middle, at the end.
PLACES = [7, ALONE + 1, ROWS // 2, ROWS]
TABLE = """(id int NOT NULL, n numeric(8, 2) CHECK (n >= 0), s varchar(150), d date, b bool DEFAULT true, CONSTRAINT "id and n" CHECK (id > 0 OR n > 5)) USING columnar"""
LONG = "ž" * 200

#: What a line is replaced by, as text and as CSV.
MISTAKES = {
    "not a number": ("x1\t1\ta\t2020-01-01\tt", "x1,1,a,2020-01-01,t"),
    "long value": (f"{LONG}\t1\ta\t2020-01-01\tt", f"{LONG},1,a,2020-01-01,t"),
    "out of range": ("99999999999\t1\ta\t2020-01-01\tt", "99999999999,1,a,2020-01-01,t"),
    "too precise": ("1\t1234567.1\ta\t2020-01-01\tt", "1,1234567.1,a,2020-01-01,t"),
    "too long": (f"1\t1\t{'y' * 151}\t2020-01-01\tt", f"1,1,{'y' * 151},2020-01-01,t"),
    "no date": ("1\t1\ta\t2020-02-30\tt", "1,1,a,2020-02-30,t"),
    "last column": ("1\t1\ta\t2020-01-01\tmaybe", "1,1,a,2020-01-01,maybe"),
    "NULL": ("\\N\t1\ta\t2020-01-01\tt", ",1,a,2020-01-01,t"),
    "constraint of a column": ("1\t-1\ta\t2020-01-01\tt", "1,-1,a,2020-01-01,t"),
    "constraint of the table": (f"-5\t1\t{'w' * 140}\t2020-01-01\tt", f"-5,1,{'w' * 140},2020-01-01,t"),
    "too few": ("1\t1\ta\t2020-01-01", "1,1,a,2020-01-01"),
    "too many": ("1\t1\ta\t2020-01-01\tt\tmore", "1,1,a,2020-01-01,t,more"),
    "empty line": ("", ""),
    "wrong bytes": (b"1\t1\t\xff\xfe\t2020-01-01\tt", b"1,1,\xff\xfe,2020-01-01,t"),
    "carriage return": ("1\t1\ta\rb\t2020-01-01\tt", "1,1,a\rb,2020-01-01,t"),
    "open quote": ('1\t1\t"\t2020-01-01\tu', '1,1,"a,2020-01-01,t'),
}


@pytest.fixture(name="metrics", scope="module", autouse=True)
def metrics_database(shared_server):
    """The database whose metrics are asked for."""
    shared_server.create_database("copies")
    yield
    shared_server.query("DROP DATABASE copies WITH (FORCE)")


@pytest.fixture(name="session")
def small_session(server, database):
    """A session whose COPYs soon come to use workers, and the table."""
    connection = server.connect(database, options=SMALL)
    ok(connection, f"CREATE TABLE t {TABLE}")
    yield connection
    connection.close()


def lines(csv=False, rows=ROWS):
    """A sound input. As CSV every third line has a line break in a value."""
    if csv:
        return [f'{i},{i % 1000}.25,"text ""{i}"""{"" if i % 3 else ""},2020-01-0{i % 9 + 1},f'.replace('""' + str(i), '""' + ("\n" if i % 3 == 0 else "") + str(i))
                for i in range(1, rows + 1)]
    return [f"{i}\t{i % 1000}.25\ttext {i}\t2020-01-0{i % 9 + 1}\tf" for i in range(1, rows + 1)]


def joined(parts):
    """Lines as bytes."""
    return b"\n".join(part if isinstance(part, bytes) else part.encode() for part in parts) + b"\n"


def usable(session):
    """The table has no rows, and can be loaded."""
    assert ok(session, "SELECT count(*) FROM t") == [("0",)]
    assert copy(session, "COPY t FROM STDIN", joined(lines())) == f"COPY {ROWS}"
    assert ok(session, "SELECT count(*), sum(id) FROM t") == [(str(ROWS), str(ROWS * (ROWS + 1) // 2))]
    assert ok(session, "SELECT * FROM orochi.columnar_check('t')") == []


@pytest.mark.parametrize("csv", [False, True], ids=["text", "csv"])
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(server, session, name, csv):
    """Each mistake, at the start, in the middle and at the end, is reported as by a COPY without workers."""
    options = " (FORMAT csv)" if csv else ""
    for place in PLACES:
        wrong = lines(csv)
        wrong[place - 1] = MISTAKES[name][csv]
        path = write(server, "wrong", joined(wrong))
        for given, data in ((f"'{path}'", None), ("STDIN", joined(wrong))):
            errors = []
            for workers in (0, 2):
                ok(session, f"SET orochi.copy_workers = {workers}")
                before = started(server)
                errors.append(fails(session, f"COPY t FROM {given}{options}", data))
            assert errors[0] == errors[1], place
            assert started(server) == before + (2 if place > ALONE else 0)
    usable(session)


@pytest.mark.parametrize("csv", [False, True], ids=["text", "csv"])
def test_first_mistake(session, csv):
    """Of many mistakes that are met by different processes the first one in the input is reported."""
    chance = random.Random(settings.SEED)
    for _ in range(settings.size(15, 100)):
        wrong, kinds = lines(csv), list(MISTAKES)
        first = chance.randrange(ALONE, ROWS - 500)
        for place in (first, *chance.sample(range(first, min(first + chance.choice([5, 400, ROWS]), ROWS)), 5)):
            kind = chance.choice(kinds)
            wrong[place] = MISTAKES[kind][csv]
            if kind == "open quote":
                # A second one would close it, and what lies between would be a value.
                kinds.remove(kind)
        errors = []
        for workers in (0, 3):
            ok(session, f"SET orochi.copy_workers = {workers}")
            errors.append(fails(session, f"COPY t FROM STDIN{' (FORMAT csv)' if csv else ''}", joined(wrong)))
        assert errors[0] == errors[1]
    usable(session)


def test_input_that_is_not_there(session):
    """Files that do not exist, columns that do not exist, options that contradict each other."""
    for sql in ("COPY t FROM '/nowhere/at/all'", "COPY t FROM '/tmp'", "COPY t (id, colour) FROM STDIN", "COPY t (id, id) FROM STDIN", "COPY nowhere.t FROM STDIN",
                "COPY t FROM STDIN (DELIMITER 'ab')", "COPY t FROM STDIN (FORMAT csv, QUOTE ',')", "COPY t FROM STDIN (FORMAT parquet)",
                "COPY t FROM STDIN (HEADER, HEADER)", "COPY t FROM STDIN (ENCODING 'klingon')", "COPY t FROM STDIN (COLOUR 'red')"):
        errors = []
        for workers in (0, 2):
            ok(session, f"SET orochi.copy_workers = {workers}")
            with pytest.raises(psycopg2.Error) as raised:
                copy(session, sql, b"")
            diag = raised.value.diag
            errors.append((diag.sqlstate, diag.message_primary, diag.message_detail, diag.message_hint, diag.context, diag.statement_position))
        assert errors[0] == errors[1]
    usable(session)


def test_rights(server, database, session):
    """Who may not insert is refused; who may not see rows is not shown them in errors."""
    ok(session, "CREATE ROLE clerk LOGIN")
    try:
        ok(session, "GRANT INSERT (id, n) ON t TO clerk")
        clerk = server.connect(database, user="clerk", options=SMALL)
        path = write(server, "rights", joined(lines()))
        narrow = [f"{i}\t{i % 1000}" for i in range(1, ROWS + 1)]
        narrow[ROWS // 2] = "-3\t1"
        for sql, data in (("COPY t FROM STDIN", joined(lines())), (f"COPY t (id, n) FROM '{path}'", None), ("COPY t (id, n) FROM STDIN", joined(narrow))):
            errors = []
            for workers in (0, 2):
                ok(clerk, f"SET orochi.copy_workers = {workers}")
                errors.append(fails(clerk, sql, data))
            assert errors[0] == errors[1]
        clerk.close()
        usable(session)
    finally:
        ok(session, "DROP OWNED BY clerk; DROP ROLE clerk")


def test_read_only(session):
    """A read-only transaction."""
    ok(session, "BEGIN READ ONLY")
    assert fails(session, "COPY t FROM STDIN", joined(lines()))["sqlstate"] == "25006"
    ok(session, "ROLLBACK")
    usable(session)


def in_the_middle(server, session, action, sql="COPY t FROM STDIN"):
    """Performs an action while workers wait for the second half of the input; returns the error, if one came of it."""
    half = ROWS * 2 // 3
    data = Slow(joined(lines()[:half]), joined(lines()[half:]))
    box = []

    def load():
        try:
            box.append(copy(session, sql, data))
        except psycopg2.Error as error:
            box.append(error)

    before = started(server)
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    assert data.reached.wait(60)
    process.wait_until(lambda: started(server) == before + 2, 60, "workers start")
    action()
    data.go_on.set()
    thread.join(120)
    assert box, "COPY does not end"
    return box[0]


def workers_of(server, session):
    """The processes that help a session."""
    return [int(pid) for pid, in server.query("SELECT pid FROM pg_stat_activity WHERE leader_pid = %s AND backend_type = 'parallel worker'", (session.info.backend_pid,))]


def test_progress(server, session):
    """What is loaded so far is shown, and so are the workers."""
    seen = []

    def look():
        process.wait_until(lambda: server.query("SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed >= 2100"), 60, "progress is shown")
        seen.extend(workers_of(server, session))

    assert in_the_middle(server, session, look) == f"COPY {ROWS}"
    assert len(seen) == 2


@pytest.mark.parametrize("victim", ["session", "worker"])
@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_interrupted(server, database, session, victim, how):
    """The statement or one of its workers is cancelled or terminated."""
    def interrupt():
        pid = session.info.backend_pid if victim == "session" else workers_of(server, session)[0]
        assert server.scalar(f"SELECT {how}({pid})") == "t"

    error = in_the_middle(server, session, interrupt)
    assert isinstance(error, psycopg2.Error)
    process.wait_until(lambda: not server.query("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker'"), 60, "workers end")
    with server.connect(database, options=SMALL) as other:
        usable(other)


def test_session_disappears(server, database, session):
    """The client goes away in the middle."""
    def leave():
        with socket.socket(fileno=os.dup(session.fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    assert isinstance(in_the_middle(server, session, leave), psycopg2.Error)
    process.wait_until(lambda: not server.query("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker'"), 60, "workers end")
    with server.connect(database, options=SMALL) as other:
        usable(other)


def test_client_fails(server, session):
    """The client ends the input with an error."""
    class Failing:
        """An input that breaks off."""

        def __init__(self):
            self._data = joined(lines())
            self._at = 0

        def read(self, size):
            """The next bytes, as long as there are any."""
            if self._at * 2 > len(self._data):
                raise ValueError("no more")
            self._at += size
            return self._data[self._at - size:self._at]

    before = started(server)
    with pytest.raises((psycopg2.Error, ValueError)):
        copy(session, "COPY t FROM STDIN", Failing())
    assert started(server) == before + 2
    usable(session)


def test_functions_that_fail(server, session):
    """An error of a function that a constraint calls arrives with all its fields."""
    ok(session, """CREATE FUNCTION check_it(i int) RETURNS bool LANGUAGE plpgsql PARALLEL SAFE AS $$
        BEGIN
            IF i = 5000 THEN
                RAISE EXCEPTION 'no' USING DETAIL = 'a', HINT = 'b', SCHEMA = 'c', TABLE = 'd', COLUMN = 'e', DATATYPE = 'f', CONSTRAINT = 'g', ERRCODE = '22012';
            END IF;
            RETURN true;
        END $$; ALTER TABLE t ADD CHECK (check_it(id))""")
    errors = []
    for workers in (0, 2):
        ok(session, f"SET orochi.copy_workers = {workers}")
        errors.append(fails(session, "COPY t FROM STDIN", joined(lines())))
    assert errors[0] == errors[1]
    assert errors[0]["sqlstate"] == "22012" and "COPY t, line 5000" in errors[0]["context"]


def test_savepoint_after_error(server, session):
    """A load that fails in a savepoint leaves what was loaded before it."""
    wrong = lines()
    wrong[ROWS // 2] = "x"
    before = started(server)
    ok(session, "BEGIN")
    copy(session, "COPY t FROM STDIN", joined(lines()))
    ok(session, "SAVEPOINT s")
    fails(session, "COPY t FROM STDIN", joined(wrong))
    ok(session, "ROLLBACK TO s")
    copy(session, "COPY t FROM STDIN", joined(lines()))
    ok(session, "COMMIT")
    assert started(server) == before + 6
    assert ok(session, "SELECT count(*), count(DISTINCT id) FROM t") == [(str(2 * ROWS), str(ROWS))]
    assert ok(session, "SELECT * FROM orochi.columnar_check('t')") == []


def test_timeout(session):
    """statement_timeout ends a COPY whose workers are busy."""
    ok(session, """CREATE FUNCTION slow(i int) RETURNS bool LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN PERFORM pg_sleep(CASE WHEN i > 3000 THEN 0.05 ELSE 0 END); RETURN true; END';
        ALTER TABLE t ADD CHECK (slow(id)); SET statement_timeout = '2s'""")
    assert fails(session, "COPY t FROM STDIN", joined(lines()))["sqlstate"] == "57014"
    ok(session, "RESET statement_timeout; ALTER TABLE t DROP CONSTRAINT t_id_check")
    usable(session)


@pytest.mark.parametrize("victim", ["session", "worker"])
def test_crash(make_server, victim):
    """Signal 9 to the session or a worker: the server starts anew, and nothing of the load is there."""
    server = make_server(name="crash")
    server.create_database("copies")
    session = server.connect("copies", options=SMALL)
    ok(session, f"CREATE TABLE t {TABLE}")

    def kill():
        process.send(session.info.backend_pid if victim == "session" else workers_of(server, session)[0], 9)

    assert isinstance(in_the_middle(server, session, kill), psycopg2.Error)
    # The server may take a connection before it has noticed.
    process.wait_until(lambda: "terminated by signal 9" in server.log_text(), 20, "the crash is noticed", 0.05)
    server.wait_ready()
    with server.connect("copies", options=SMALL) as other:
        usable(other)
