"""Loads by COPY: input from memory or a file, and whether parallel workers took part."""

import io
import threading

import psycopg2

from . import process

#: Few rows stay with the session, and stripes are short, so that small inputs are enough for workers.
SMALL = {"orochi.row_store_rows": 100, "orochi.stripe_row_limit": 1000}
#: Rows after which the session looks for workers, with the settings above.
ALONE = 2100
_FIELDS = ("sqlstate", "message_primary", "message_detail", "message_hint", "context", "schema_name", "table_name", "column_name",
           "datatype_name", "constraint_name")


def started(server):
    """How many workers COPY has started since the server's start."""
    return int(float(server.scalar("SELECT coalesce(sum(value), 0) FROM orochi.metrics() WHERE name = 'copy_workers_started_total'", database="copies")))


def source(data):
    """A file object for STDIN of text or bytes."""
    return io.BytesIO(data.encode() if isinstance(data, str) else data)


def copy(connection, sql, data=None):
    """Performs a COPY from the given input, or as it stands, and returns its completion tag."""
    with connection.cursor() as cursor:
        if data is None:
            cursor.execute(sql)
        else:
            cursor.copy_expert(sql, data if hasattr(data, "read") else source(data))
        # psycopg2 keeps the number of a completion tag, if not the tag.
        return f"COPY {cursor.rowcount}"


def fails(connection, sql, data=None):
    """Performs a COPY that must fail, and returns all fields of its error. That a parallel worker met it is no difference."""
    try:
        tag = copy(connection, sql, data)
    except psycopg2.Error as error:
        found = {field: getattr(error.diag, field) for field in _FIELDS}
        lines = (found["context"] or "").splitlines()
        found["context"] = "\n".join(line for line in lines if line != "parallel worker")
        return found
    raise AssertionError(f"{sql} does not fail: {tag}")


def write(server, name, data):
    """Puts an input where the server can read it, and returns its path."""
    path = server.root / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    process.give_away(path)
    return str(path)


class Slow(io.RawIOBase):
    """An input that stops after its first part until it is told to go on."""

    def __init__(self, first, second):
        super().__init__()
        self._parts = [source(first), source(second)]
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def readable(self):
        return True

    def read(self, size=-1):
        found = self._parts[0].read(size)
        if not found and len(self._parts) > 1:
            self.reached.set()
            self.go_on.wait(60)
            self._parts.pop(0)
            found = self._parts[0].read(size)
        return found
