"""Runs one SQL script in two databases, heap and access method under test, and compares every outcome.

A script is plain SQL; statements end with a semicolon at the end of a line. Lines starting with a backslash
steer it:

    \\on NAME      following statements run in session NAME (the first session is called `a`)
    \\bg           the next statement has to block; it is left waiting in its session
    \\wait NAME    takes the outcome of the statement that waits in session NAME
    \\close NAME   disconnects session NAME
"""

import re
import threading
from collections import Counter
from dataclasses import dataclass

from . import settings
from .process import wait_until
from .session import perform

#: How the rows of the columnar database are stored while a script runs.
MODES = {
    "row_store": "small statements stay in the row store",
    "stripes": "every row goes to a stripe at once",
    "compacted": "the mover runs after every statement",
}


@dataclass
class Step:
    """A statement or a backslash command, with the line it starts on."""

    line: int
    text: str

    @property
    def ordered(self):
        """Whether the order of the rows is part of the result."""
        return re.search(r"order by|^\s*(fetch|move)\b", self.text, re.I) is not None


def parse(text):
    """Splits a script into steps."""
    steps, current, start, quoted = [], [], 0, False
    for number, line in enumerate(text.splitlines(), 1):
        if not current and (not line.strip() or line.startswith("--")):
            continue
        if not current and line.startswith("\\"):
            steps.append(Step(number, line.strip()))
            continue
        if not current:
            start = number
        current.append(line)
        quoted ^= line.count("$$") % 2 == 1
        if not quoted and line.rstrip().endswith(";"):
            steps.append(Step(start, "\n".join(current)))
            current = []
    if current:
        raise ValueError(f"statement at line {start} has no end")
    return steps


class ScriptRun:
    """Executes steps in one database and records what each did."""

    def __init__(self, server, database, mode=None):
        self.server, self.database, self.mode = server, database, mode
        self.sessions, self.waiting = {}, {}
        self.current = "a"
        self.mover = None

    def run(self, steps):
        """Outcomes, one for each step."""
        try:
            return [self._step(step) for step in steps]
        finally:
            for connection in [*self.sessions.values(), self.mover]:
                if connection is not None:
                    connection.close()

    def _session(self, name):
        if name not in self.sessions:
            options = {"statement_timeout": "60s"}
            if self.mode == "stripes":
                options["orochi.row_store_rows"] = "0"
            self.sessions[name] = self.server.connect(self.database, name=name, options=options)
        return self.sessions[name]

    def _step(self, step):
        word, _, argument = step.text.partition(" ")
        if word == "\\on":
            self.current = argument
        elif word == "\\bg":
            self.waiting[self.current] = None
        elif word == "\\close":
            self.sessions.pop(argument).close()
        elif word == "\\wait":
            return self._collect(argument)
        elif word.startswith("\\"):
            raise ValueError(f"line {step.line}: unknown command {word}")
        else:
            return self._statement(step.text)
        return None

    def _statement(self, text):
        connection = self._session(self.current)
        if self.waiting.get(self.current, "") is None:
            self._send(connection, text)
            return None
        outcome = perform(connection, text)
        if outcome.error and outcome.error[0] == "57014":
            raise AssertionError(f"does not end in {self.database}: {text}")
        if self.mode == "compacted":
            self._compact()
        return outcome

    def _send(self, connection, text):
        box = []
        thread = threading.Thread(target=lambda: box.append(perform(connection, text)), daemon=True)
        thread.start()
        self.waiting[self.current] = (thread, box)
        pid = connection.info.backend_pid
        wait_until(lambda: self._blocked(pid) or box, 20, f"session blocks in: {text}")
        assert not box, f"statement should have blocked but did {box[0]}: {text}"

    def _blocked(self, pid):
        kind = self.server.query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,))
        return bool(kind) and kind[0][0] == "Lock"

    def _collect(self, name):
        thread, box = self.waiting.pop(name)
        thread.join(60)
        assert box, f"session {name} still waits"
        return box[0]

    def _compact(self):
        if self.mover is None:
            self.mover = self.server.connect(self.database, name="mover", options={"lock_timeout": "300ms", "statement_timeout": "20s"})
        for table in columnar_tables(self.mover):
            outcome = perform(self.mover, "CALL orochi.columnar_compact(%s::regclass)", (table,))
            # A script may hold a strong lock or have dropped the table in between.
            if outcome.error and outcome.error[0] not in ("55P03", "42P01", "22P02"):
                raise AssertionError(f"compaction of {table}: {outcome}")


def columnar_tables(connection):
    """Names of the permanent tables that use the access method under test."""
    outcome = perform(connection, """
        SELECT c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam
        WHERE a.amname = %s AND a.amtype = 't' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
          AND c.relnamespace <> 'pg_catalog'::regnamespace AND c.oid >= 16384""", (settings.ACCESS_METHOD,))
    return [row[0] for row in outcome.rows]


def differences(steps, expected, actual):
    """Descriptions of the steps whose outcomes differ."""
    found = []
    for step, heap, columnar in zip(steps, expected, actual):
        if not _same(step, heap, columnar):
            found.append(f"line {step.line}: {step.text}\nheap: {heap}\n{settings.ACCESS_METHOD}: {columnar}")
    return found


def _same(step, left, right):
    if left is None or right is None:
        return left is right
    if (left.status, left.error) != (right.status, right.error):
        return False
    if Counter(left.notices) != Counter(right.notices):
        return False
    if step.ordered or left.rows is None or right.rows is None:
        return left.rows == right.rows
    return Counter(map(tuple, left.rows)) == Counter(map(tuple, right.rows))


def prepare_database(server, name, access_method):
    """A database whose new tables use `access_method`."""
    server.create_database(name, extension=access_method != "heap")
    # A session would only be warned of a method that does not exist, and compare heap with heap.
    assert server.query("SELECT 1 FROM pg_am WHERE amname = %s", (access_method,), name), f"no access method {access_method}"
    server.query(f'ALTER DATABASE "{name}" SET default_table_access_method = "{access_method}"')
