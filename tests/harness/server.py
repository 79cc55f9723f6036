"""One PostgreSQL server: created, started, killed, recovered, backed up and replicated."""

import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from . import process, settings
from .session import connect

_BASE_CONFIG = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # only processes are killed here, never the operating system
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_prepared_transactions": "10",
    "wal_level": "replica",
    "dynamic_shared_memory_type": "mmap",  # removed with the data directory, whatever dies
    "log_line_prefix": "%m [%p] %q%a: ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "lc_messages": "C",
    "log_min_error_statement": "panic",  # tests report the statements that fail themselves
}
_DISASTER = re.compile(r"^.*(PANIC:|TRAP:|terminated by signal (?:4|6|7|8|11)\b).*$", re.M)
_BROKEN_PAGE = re.compile(r"^.*invalid page in block.*$", re.M)
_ALL = set()


class Installation:
    """The programs and the version that a pg_config program describes."""

    def __init__(self, pg_config):
        self.pg_config = pg_config
        self.bindir = Path(self._ask("--bindir"))
        self.sharedir = Path(self._ask("--sharedir"))
        self.libdir = Path(self._ask("--pkglibdir"))
        self.major = int(re.search(r"\d+", self._ask("--version")).group())

    def _ask(self, option):
        return subprocess.run([self.pg_config, option], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def has_extension(self, name):
        """Whether CREATE EXTENSION can find `name`."""
        return (self.sharedir / "extension" / f"{name}.control").exists()

    def has_library(self, name):
        """Whether the server can preload `name`."""
        return (self.libdir / f"{name}.so").exists()


class Server:
    """A server in a directory of its own. `destroy` has to be called; fixtures do it."""

    def __init__(self, installation, config=None, preload=None, name="server", address_space=None):
        self.installation = installation
        self.name = name
        self.address_space = address_space
        self.root = Path(tempfile.mkdtemp(prefix=f"orochi-{name}-", dir=settings.RUN_DIR))
        process.give_away(self.root)
        self.data = self.root / "data"
        self.log_path = self.root / "postgres.log"
        self.port = process.free_port()
        self.config = dict(_BASE_CONFIG)
        if preload is None:
            preload = "orochi" if settings.COLUMNAR else ""
        self.config["shared_preload_libraries"] = preload
        self.config.update(config or {})
        self.postmaster = None
        # Set by tests that break pages themselves.
        self.damaged = False
        self._log_checked = 0
        _ALL.add(self)

    # Life

    def init(self):
        """Creates the cluster, with data checksums."""
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-E", "UTF8",
                 "--locale=C.UTF-8", "--data-checksums", "--no-sync")
        self.configure(self.config)
        return self

    def configure(self, config):
        """Appends settings to postgresql.conf; they hold from the next start or reload."""
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            for key, value in config.items():
                quoted = str(value).replace("'", "''")
                file.write(f"{key} = '{quoted}'\n")

    def start(self, timeout=120):
        """Starts the postmaster and waits until it accepts connections."""
        for attempt in range(5):
            self._spawn()
            try:
                self.wait_ready(timeout)
                return self
            except (TimeoutError, ServerDied):
                port_taken = "could not bind" in self.log_tail(2000)
                self.crash()
                if not port_taken or attempt == 4:
                    raise
                self.port = process.free_port()
        return self

    def _spawn(self):
        with open(self.log_path, "ab") as log:
            self.postmaster = process.spawn(
                [self.installation.bindir / "postgres", "-D", self.data, "-p", self.port],
                self.root, log, self.address_space)

    def wait_ready(self, timeout=120):
        """Waits until connections are accepted: after a crash of a backend the server starts itself again."""
        process.wait_until(self._ready, timeout, f"{self.name} accepts connections")

    def _ready(self):
        if self.postmaster.poll() is not None:
            raise ServerDied(f"{self.name} exited with {self.postmaster.returncode}:\n{self.log_tail()}")
        try:
            connect(self.dsn("postgres")).close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, mode="fast", timeout=120):
        """Shuts down: `smart`, `fast` or `immediate`."""
        if not self.running():
            return
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        process.send(self.postmaster.pid, number)
        try:
            self.postmaster.wait(timeout)
        except subprocess.TimeoutExpired:
            left = [process.title(pid) for pid in process.children(self.postmaster.pid)]
            self.crash()
            raise TimeoutError(f"{mode} shutdown of {self.name} hangs; processes left: {left}") from None

    def crash(self):
        """Kills the postmaster and every child with signal 9."""
        if self.running():
            process.kill_family(self.postmaster)

    def restart(self, mode="fast"):
        """Shuts down and starts again."""
        self.stop(mode)
        return self.start()

    def reload(self):
        """Makes the server read its configuration files again."""
        process.send(self.postmaster.pid, signal.SIGHUP)

    def running(self):
        """Whether the postmaster is alive."""
        return self.postmaster is not None and self.postmaster.poll() is None

    def destroy(self):
        """Ends every process and removes every trace."""
        try:
            self.crash()
            self._remove_shared_memory()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)
            _ALL.discard(self)

    def _remove_shared_memory(self):
        # A killed postmaster leaves its System V segment for its successor, which will not come.
        pid_file = self.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        if len(lines) >= 7 and len(lines[6].split()) == 2:
            subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False, stderr=subprocess.DEVNULL)

    # Processes and log

    def processes(self):
        """Pid and title of every child of the postmaster."""
        return {pid: process.title(pid) for pid in process.children(self.postmaster.pid)}

    def log_text(self):
        """The whole server log."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, characters=6000):
        """The end of the server log."""
        return self.log_text()[-characters:]

    def disasters(self):
        """Crashes, failed assertions and broken pages logged since the last call."""
        text = self.log_text()
        patterns = (_DISASTER,) if self.damaged else (_DISASTER, _BROKEN_PAGE)
        found = [match.group(0) for pattern in patterns for match in pattern.finditer(text, self._log_checked)]
        self._log_checked = len(text)
        return found

    # SQL and programs

    def dsn(self, database="postgres", user="postgres"):
        """Connection string over loopback."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user} connect_timeout=10"

    def connect(self, database="postgres", user="postgres", autocommit=True, name="test", options=None):
        """A psycopg2 connection whose results are the server's own text; `options` survive RESET ALL."""
        settings_of_session = " ".join(f"-c {key}={value}" for key, value in (options or {}).items())
        return connect(f"{self.dsn(database, user)} application_name={name} options='{settings_of_session}'", autocommit)

    def query(self, sql, parameters=None, database="postgres"):
        """Rows of one statement on a connection of its own; an empty list when it returns none."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def scalar(self, sql, parameters=None, database="postgres"):
        """The first column of the first row."""
        return self.query(sql, parameters, database)[0][0]

    def run(self, program, *arguments, **options):
        """Runs one of PostgreSQL's programs as the user of the server."""
        return process.run([self.installation.bindir / program, *arguments], self.root, **options)

    def psql(self, sql, database="postgres", check=True):
        """Runs a script through psql, stopping at the first error."""
        return self.run("psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database),
                        stdin=sql, check=check)

    def create_database(self, name, extension=settings.COLUMNAR):
        """Creates a database, with the extension unless heap is tested against heap."""
        self.query(f'CREATE DATABASE "{name}" TEMPLATE template0')
        if extension:
            self.query("CREATE EXTENSION orochi", database=name)

    # Copies

    def backup(self, name, config=None, replica=False):
        """A server that is not started yet, made by pg_basebackup from this one."""
        copy = Server(self.installation, name=name)
        try:
            options = ["-R"] if replica else []
            self.run("pg_basebackup", "-D", copy.data, "-d", self.dsn(), "-X", "stream", "-c", "fast",
                     "--no-sync", *options)
            copy.configure(config or {})
        except BaseException:
            copy.destroy()
            raise
        return copy

    def replica(self, name="replica", config=None):
        """A started streaming replica."""
        copy = self.backup(name, {"hot_standby_feedback": "on", **(config or {})}, replica=True)
        try:
            return copy.start()
        except BaseException:
            copy.destroy()
            raise

    def wait_for_replay(self, replica, timeout=120):
        """Waits until the replica has replayed everything this server has flushed."""
        target = self.scalar("SELECT pg_current_wal_flush_lsn()")
        process.wait_until(
            lambda: replica.scalar("SELECT coalesce(pg_last_wal_replay_lsn() >= %s, false)", (target,)) == "t",
            timeout, f"{replica.name} replays up to {target}")


class ServerDied(RuntimeError):
    """The postmaster ended while it was expected to start."""


def destroy_all():
    """Last resort at interpreter exit: nothing may be left running."""
    for server in list(_ALL):
        server.destroy()


def all_servers():
    """Every server that is not destroyed."""
    return sorted(_ALL, key=lambda server: server.name)

