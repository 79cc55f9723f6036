"""Fixtures: servers and databases that vanish with the test, and server logs in the report of a failure."""

import atexit
import itertools
import signal
import socket
import sys
import threading

import pytest

from harness import process, settings
from harness import server as servers
from harness.server import Installation, Server

_numbers = itertools.count()


def pytest_configure(config):
    """Turns a termination into an orderly exit, so that fixtures stop their servers."""
    del config
    atexit.register(servers.destroy_all)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A thread that waits inside libpq does not run Python's signal handlers: shut its server down under it.
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_shut_down_on_signal, args=(reader, writer), daemon=True).start()


def _shut_down_on_signal(reader, _writer):
    while reader.recv(1)[0] not in (signal.SIGINT, signal.SIGTERM):
        pass
    for server in servers.all_servers():
        if server.running():
            process.send(server.postmaster.pid, signal.SIGQUIT)


def pytest_report_header(config):
    """What a failure has to be repeated with."""
    del config
    return (f"orochi: access method {settings.ACCESS_METHOD}, size {settings.SIZE}, OROCHI_SEED={settings.SEED}, "
            f"servers {' '.join(settings.pg_configs())}")


def pytest_generate_tests(metafunc):
    """Runs every test that needs a server on each installation."""
    if "installation" in metafunc.fixturenames:
        metafunc.parametrize("installation", settings.pg_configs(), indirect=True, scope="session")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of every server log to the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in servers.all_servers():
            report.sections.append((f"log of {server.name}", server.log_tail()))


@pytest.fixture(scope="session")
def installation(request):
    """The PostgreSQL installation under test."""
    found = Installation(request.param)
    if settings.COLUMNAR and not found.has_extension("orochi"):
        pytest.fail(f"orochi is not installed in {request.param}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def shared_server(installation):
    """One server for all small tests."""
    server = Server(installation, name="shared", config={"max_worker_processes": "16"})
    try:
        yield server.init().start()
    finally:
        server.destroy()


@pytest.fixture
def server(shared_server):
    """The shared server, running again should a test have killed it; a crash fails the test that caused it."""
    if not shared_server.running():
        shared_server.start()
    shared_server.wait_ready()
    shared_server.disasters()
    yield shared_server
    assert not shared_server.disasters()


@pytest.fixture
def make_server(installation):
    """Makes started servers of the test's own: make_server(config={...}, preload="...")."""
    made = []

    def make(**options):
        server = Server(installation, **options)
        made.append(server)
        return server.init().start()

    yield make
    problems = [problem for server in made for problem in server.disasters()]
    for server in reversed(made):
        server.destroy()
    assert not problems


@pytest.fixture
def copies():
    """A list; servers that a test appends (replicas, restored backups) are destroyed after it."""
    made = []
    yield made
    problems = [problem for server in made for problem in server.disasters()]
    for server in made:
        server.destroy()
    assert not problems


@pytest.fixture
def database(server):
    """Name of a fresh database with the extension on the shared server."""
    name = f"test_{next(_numbers)}"
    server.create_database(name)
    yield name
    server.wait_ready()
    server.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
