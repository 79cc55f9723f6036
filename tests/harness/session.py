"""Connections whose results can be compared byte for byte, and what a statement did."""

from dataclasses import dataclass, field

import psycopg2
import psycopg2.extensions as ext

# psycopg2 would turn numbers, dates and arrays into Python values; text is what two tables are compared by.
_RAW = ext.new_type(tuple(ext.string_types), "RAW", lambda value, _cursor: value)


def connect(dsn, autocommit=True):
    """A connection in autocommit mode by default; every value arrives as PostgreSQL's text."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = autocommit
    ext.register_type(_RAW, connection)
    return connection


@dataclass
class Outcome:
    """What a statement did, in a form in which two runs can be compared."""

    status: str = ""
    rows: list = None
    error: tuple = None
    notices: list = field(default_factory=list)
    #: Of an error; names tables, so it is shown and not compared.
    detail: str = field(default=None, compare=False)

    def __str__(self):
        parts = [f"error {self.error} {self.detail or ''}" if self.error else self.status]
        parts += [f"  {row}" for row in (self.rows or [])[:20]]
        parts += [f"  {notice}" for notice in self.notices]
        return "\n".join(parts)


def perform(connection, sql, parameters=None, messages=True):
    """Executes a statement and returns its Outcome; only a lost connection is an exception."""
    connection.notices.clear()
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql, parameters)
            rows = cursor.fetchall() if cursor.description else None
            outcome = Outcome(cursor.statusmessage or "", rows)
        except psycopg2.Error as error:
            if error.pgcode is None:
                raise
            outcome = Outcome(error=describe(error, messages), detail=error.diag.message_detail)
    outcome.notices = [line for notice in connection.notices for line in _without_context(notice)]
    return outcome


def ok(connection, sql, parameters=None):
    """Executes a statement that must succeed and returns its rows."""
    outcome = perform(connection, sql, parameters)
    assert outcome.error is None, f"{sql}: {outcome}"
    return outcome.rows


def describe(error, message=True):
    """SQLSTATE, constraint and, when wanted, the message of an error."""
    return error.pgcode, error.diag.constraint_name, error.diag.message_primary if message else None


def _without_context(notice):
    lines = notice.strip().splitlines()
    return [line for line in lines[:1]]
