"""A private PostgreSQL server for one run of a suite: made, watched and removed by the run itself."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import threading

# What pg_regress --temp-instance writes, plus what makes a run short; fsync is about power, not about crashes.
BASE_SETTINGS = """
log_autovacuum_min_duration = 0
log_checkpoints = on
log_line_prefix = '%m %b[%p] %q%a '
log_lock_waits = on
log_temp_files = 128kB
max_prepared_transactions = 4
fsync = off
listen_addresses = ''
restart_after_crash = on
"""

# A backend that works on one statement for longer than this is looping: upstream's slowest takes seconds.
STATEMENT_LIMIT_SECONDS = 240

STUCK_QUERY = (
    "SELECT pid, application_name, left(query, 120) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid() "
    "AND wait_event_type IS DISTINCT FROM 'Lock' "
    f"AND clock_timestamp() - query_start > interval '{STATEMENT_LIMIT_SECONDS} seconds'"
)


class Server:
    """Runs below `directory`; as the user postgres when the caller is root, for PostgreSQL refuses root."""

    def __init__(self, prefix, directory, settings=""):
        self.bin = pathlib.Path(prefix) / "bin"
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.settings = settings
        self.user = "postgres" if os.getuid() == 0 else None
        self.stuck = []
        self._stop_watching = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        if self.directory.exists():
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)
        # A socket's path has to stay below 108 bytes, which the run's directory need not.
        self.socket = pathlib.Path(tempfile.mkdtemp(prefix="upstream-"))
        if self.user:
            owner = pwd.getpwnam(self.user)
            for path in (self.directory, self.socket):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self.run([self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync",
                  "--locale=C", "--encoding=UTF8"], quiet=True)
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(BASE_SETTINGS + f"unix_socket_directories = '{self.socket}'\n" + self.settings)
        self.run([self.bin / "pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start"], quiet=True)
        self._watcher.start()
        return self

    def __exit__(self, *_):
        self._stop_watching.set()
        self._watcher.join()
        stopped = self._try([self.bin / "pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", "fast", "stop"])
        if stopped != 0:
            self._try([self.bin / "pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop"])
        shutil.rmtree(self.socket, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def command(self, arguments):
        """The command line that runs `arguments` as the server's user."""
        prefix = ["runuser", "-u", self.user, "--"] if self.user else []
        return prefix + [str(a) for a in arguments]

    def environment(self):
        """The caller's environment without what would change the suites' results."""
        unwanted = ("LANG", "LANGUAGE", "RUST_BACKTRACE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_")) and k not in unwanted}
        return kept | {"LC_ALL": "C", "PGHOST": str(self.socket), "PGUSER": "postgres"}

    def run(self, arguments, quiet=False):
        """Runs a command, raising with its output if it fails."""
        done = subprocess.run(self.command(arguments), env=self.environment(), cwd=self.directory, text=True,
                              stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None)
        if done.returncode != 0:
            raise RuntimeError(f"{pathlib.Path(arguments[0]).name} failed:\n{done.stdout or ''}{self.log_tail()}")
        return done.stdout

    def sql(self, database, statement):
        """Runs one statement and returns its rows, unaligned."""
        return self.run([self.bin / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement], quiet=True)

    def log_tail(self, lines=20):
        if not self.log.exists():
            return ""
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-lines:])

    def crashes(self):
        """The lines of the server's log that tell of a failed assertion, a panic or a killed backend."""
        signs = ("TRAP:", "PANIC:", "was terminated by signal", "panicked at")
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return [line.rstrip("\n") for line in log if any(sign in line for sign in signs)]

    def _try(self, arguments):
        return subprocess.run(self.command(arguments), env=self.environment(), cwd=self.directory,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def _watch(self):
        """Cancels, then terminates, then kills a backend that does not come back."""
        seen = {}
        while not self._stop_watching.wait(20):
            try:
                rows = self.sql("postgres", STUCK_QUERY).splitlines()
            except RuntimeError:
                continue  # the server is starting again after a crash, which crashes() reports
            for row in rows:
                pid = int(row.split("|")[0])
                seen[pid] = seen.get(pid, 0) + 1
                if seen[pid] == 1:
                    self.stuck.append(row)
                self._end(pid, seen[pid])

    def _end(self, pid, attempt):
        if attempt <= 2:
            function = "pg_cancel_backend" if attempt == 1 else "pg_terminate_backend"
            self.sql("postgres", f"SELECT {function}({pid})")
        else:
            self._try([self.bin / "pg_ctl", "kill", "KILL", pid])
