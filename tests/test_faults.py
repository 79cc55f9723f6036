"""What breaks around columnar tables: bad options, foreign formats, damaged files, a full disk, little memory."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import process, settings
from harness.session import perform

pytestmark = pytest.mark.skipif(not settings.COLUMNAR, reason="about columnar tables")
PAGE = 8192


@pytest.fixture
def fresh(make_server):
    """A server whose files a test may damage; its mover leaves them alone."""
    server = make_server(config={"orochi.mover_enabled": "off", "autovacuum": "off", "full_page_writes": "on"}, name="faults")
    server.create_database("f")
    return server


def fill(server, rows=5000):
    """A table with stripes."""
    server.query("CREATE TABLE t (a int PRIMARY KEY, b text) USING columnar", database="f")
    connection = server.connect("f", options={"orochi.row_store_rows": "0"})
    assert perform(connection, f"INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, {rows}) i").error is None
    connection.close()


def main_file(server):
    """The table's own file."""
    return server.data / server.scalar("SELECT pg_relation_filepath('t')", database="f")


def companion_file(server):
    """The file that holds rows and stripes."""
    return server.data / server.scalar("SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 't'", database="f")


def damage(server, path, change):
    """Changes a file while the server is down; checksums are switched off, so that our own checks are what answers."""
    server.damaged = True
    server.stop()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(bytes(content))
    if server.run("pg_controldata", "-D", server.data).stdout.find("checksum version:           0") < 0:
        server.run("pg_checksums", "--disable", "-D", server.data)
    server.start()


def outcomes(server, statements):
    """What each statement does, each on a connection of its own."""
    results = []
    for sql in statements:
        connection = server.connect("f")
        results.append(perform(connection, sql))
        connection.close()
    return results


def test_unknown_options(fresh):
    """Options that do not exist, and values out of bounds, are refused with the right SQLSTATE."""
    session = fresh.connect("f")
    cases = {
        "SET orochi.no_such_setting = 1": ("42602", "42704"),
        "SET orochi.compression = 'brotli'": ("22023",),
        "SET orochi.compression_level = 99": ("22023",),
        "SET orochi.stripe_row_limit = 1": ("22023",),
        "SET orochi.write_buffer_mb = 0": ("22023",),
        "CREATE TABLE o (a int) USING columnar WITH (no_such_option = 1)": ("22023",),
        "CREATE TABLE o (a int) USING no_such_method": ("42704",),
        "CALL orochi.columnar_compact('no_such_table')": ("42P01",),
        "CALL orochi.columnar_compact('pg_class')": ("42809", "0A000", "42501"),
    }
    for sql, expected in cases.items():
        outcome = perform(session, sql)
        assert outcome.error and outcome.error[0] in expected, f"{sql}: {outcome}"
    session.close()


def test_unknown_format_version(fresh):
    """A metapage of another version is refused by name, not misread."""
    fill(fresh)
    def another_version(content):
        start = int.from_bytes(content[12:14], "little")
        header = PAGE - 24
        # The version follows the magic number at the start of the page's contents.
        assert 24 <= start <= header
        content[28:30] = (999).to_bytes(2, "little")
    damage(fresh, main_file(fresh), another_version)
    for outcome in outcomes(fresh, ["SELECT count(*) FROM t", "INSERT INTO t VALUES (-1)", "SELECT b FROM t WHERE a = 5"]):
        assert outcome.error and outcome.error[0] in ("XX001", "0A000", "55000"), outcome
        assert "t" in outcome.error[2] and "version" in outcome.error[2], outcome


def test_damaged_bytes(fresh):
    """Flipped bytes give an error or the right answer, never a crash and never wrong rows."""
    fill(fresh, 20000)
    sql = ["SELECT count(*), sum(a), md5(string_agg(b, '' ORDER BY a)) FROM t", "SELECT b FROM t WHERE a = 2500", "SELECT max(b) FROM t WHERE a < 100"]
    right = [outcome.rows for outcome in outcomes(fresh, sql)]
    path = companion_file(fresh)
    fresh.query("CHECKPOINT")
    intact = path.read_bytes()
    refused = 0
    for place in _places(intact):
        def flip(content, place=place):
            content[:] = intact
            for position in range(place, place + 24):
                content[position] ^= 0xA5
        damage(fresh, path, flip)
        for outcome, rows in zip(outcomes(fresh, sql), right):
            refused += outcome.error is not None
            assert (outcome.error and outcome.error[0] == "XX001") or outcome.rows == rows, f"byte {place}: {outcome}"
    assert refused, "no damage was noticed, so none was read"


def _places(content):
    """Places inside the pieces of blobs, each of which fills a page; tuple headers only PostgreSQL's checksums guard."""
    starts = [start for start in range(0, len(content), PAGE) if int.from_bytes(content[start + 12:start + 14], "little") == 28]
    assert starts, "no page is filled by a single piece"
    starts = settings.size(sorted({starts[0], starts[len(starts) // 2], starts[-1]}), starts)
    return [start + offset for start in starts for offset in settings.size([400, 8000], [200, 400, 2000, 4000, 6000, 8000])]


@pytest.mark.parametrize("keep", [0, 1, 5])
def test_truncated_file(fresh, keep):
    """A companion cut short is an error, and other tables go on working."""
    fill(fresh, 20000)
    path = companion_file(fresh)
    damage(fresh, path, lambda content: content.__delitem__(slice(keep * PAGE, None)))
    for outcome in outcomes(fresh, ["SELECT count(*), sum(length(b)) FROM t", "SELECT b FROM t WHERE a = 19999"]):
        # A table of which nothing is left looks empty to a heap as well; part of it must not pass for the whole.
        lost_all = keep == 0 and outcome.error is None and outcome.rows in ([("0", None)], [])
        assert lost_all or (outcome.error and outcome.error[0] in ("XX001", "XX002", "58P01")), outcome
    fresh.query("CREATE TABLE other (a int) USING columnar", database="f")
    fresh.query("INSERT INTO other VALUES (1)", database="f")
    assert fresh.scalar("SELECT count(*) FROM other", database="f") == "1"


def test_empty_main_file(fresh):
    """A table without its metapage is an error that names it."""
    fill(fresh)
    path = main_file(fresh)
    damage(fresh, path, lambda content: content.clear())
    for outcome in outcomes(fresh, ["SELECT count(*) FROM t", "INSERT INTO t VALUES (-1)"]):
        assert outcome.error and outcome.error[0] in ("XX001", "58P01"), outcome


def test_checksums_guard_pages(fresh):
    """With data checksums on, as everywhere here, PostgreSQL itself refuses a damaged page."""
    fill(fresh)
    path = companion_file(fresh)
    fresh.damaged = True
    fresh.stop()
    content = bytearray(path.read_bytes())
    for page in range(0, len(content), PAGE):
        content[page + 5000] ^= 0xFF
    path.write_bytes(bytes(content))
    assert fresh.run("pg_checksums", "--check", "-D", fresh.data, check=False).returncode != 0
    fresh.start()
    outcome = outcomes(fresh, ["SELECT count(b), max(b) FROM t"])[0]
    assert outcome.error and outcome.error[0] == "XX001", outcome


@pytest.fixture
def small_disk(fresh):
    """A tablespace on a file system of its own of 24 MB; skipped where mounting is not allowed."""
    path = Path(fresh.root) / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("cannot mount a small file system")
    process.give_away(path)
    try:
        yield path
    finally:
        fresh.crash()
        subprocess.run(["umount", "-l", str(path)], check=False)


def test_full_disk(fresh, small_disk):
    """A load that fills the disk fails with 53100, leaves the table as it was, and works again with space."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6 * 2**20))
    session = fresh.connect("f")
    assert perform(session, f"CREATE TABLESPACE small LOCATION '{small_disk}'").error is None
    assert perform(session, "CREATE TABLE t (a int PRIMARY KEY, b text) USING columnar TABLESPACE small").error is None
    assert perform(session, "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 5000) i").error is None
    big = "INSERT INTO t SELECT i, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) FROM generate_series(10000, 1000000) i"
    outcome = perform(session, big)
    assert outcome.error and outcome.error[0] == "53100", outcome
    assert perform(session, "SELECT count(*), sum(a) FROM t").rows == [("5000", "12502500")]
    outcome = perform(session, "CALL orochi.columnar_compact('t')")
    assert outcome.error is None or outcome.error[0] == "53100", outcome
    ballast.unlink()
    assert perform(session, "VACUUM t").error is None
    assert perform(session, "INSERT INTO t SELECT i, 'small' FROM generate_series(10000, 12000) i").error is None
    assert perform(session, "SELECT count(*), sum(a) FROM t").rows == [("7001", "34513500")]
    session.close()


def test_memory_limit(make_server):
    """Sessions with little memory load and read wide rows; the server outlives an allocation that is refused."""
    server = make_server(config={"work_mem": "64kB", "maintenance_work_mem": "1MB", "orochi.write_buffer_mb": "1", "orochi.cache_size_mb": "1"}, name="memory")
    server.create_database("f")
    session = server.connect("f")
    assert perform(session, "CREATE TABLE t (a int, b text) USING columnar").error is None
    load = "INSERT INTO t SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 20000) i"
    assert perform(session, load).error is None
    assert perform(session, "SELECT count(*), sum(length(b)) FROM t").rows == [("20000", "192000000")]
    status = Path(f"/proc/{session.info.backend_pid}/status").read_text(encoding="ascii")
    peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    assert peak < 400_000, f"a session with 1 MB buffers used {peak} kB"
    session.close()


def test_address_space_limit(make_server):
    """A backend that may not grow reports 53200 instead of taking the server down."""
    server = make_server(name="small", address_space=700 * 2**20)
    server.create_database("f")
    fill(server)
    session = server.connect("f")
    started = server.scalar("SELECT pg_postmaster_start_time()")
    assert perform(session, "SET orochi.write_buffer_mb = 4096; SET orochi.stripe_row_limit = 1000000; SET orochi.row_store_rows = 0").error is None
    outcome = perform(session, "INSERT INTO t SELECT -i, repeat(md5(i::text), 100) FROM generate_series(1, 300000) i")
    assert outcome.error is None or outcome.error[0] == "53200", outcome
    assert server.scalar("SELECT pg_postmaster_start_time()") == started
    assert server.scalar("SELECT count(*) FROM t WHERE a > 0", database="f") == "5000"
    session.close()


def test_bad_settings_in_the_file(make_server):
    """A value out of bounds in postgresql.conf is named in the log, and the default holds."""
    server = make_server(name="bounds")
    server.stop()
    server.configure({"orochi.stripe_row_limit": "-5"})
    server.start()
    assert "orochi.stripe_row_limit" in server.log_text()
    assert server.scalar("SHOW orochi.stripe_row_limit") == "150000"
