"""The sides of a race: who runs a query, how long it takes there, and what comes out."""

import threading
import time

import psycopg2
import psycopg2.errors
import results

PARALLEL = {"max_parallel_workers_per_gather": "2"}
SERIAL = {"max_parallel_workers_per_gather": "0"}


class TimedOut(Exception):
    """A query took longer than it may."""


class Failed(Exception):
    """A query ended with an error."""


class Postgres:
    """A session of a server, with a schema and settings of its own.

    `ours`: its best times are what bars are about. `once`: it runs each query once, for its result. `alone`: it has other rows than
    the other sides, so its results are compared with nothing.
    """

    def __init__(self, name, server, schema, settings, ours=False, once=False, alone=False):
        self.name, self.ours, self.once, self.alone = name, ours, once, alone
        self.server, self.options, self.connection = server, {**settings, "search_path": schema}, None

    def _cursor(self):
        if self.connection is None or self.connection.closed:
            self.server.wait_ready()
            self.connection = self.server.connect(options=self.options, name="bench")
        return self.connection.cursor()

    def run(self, query, timeout):
        """Seconds and result."""
        try:
            with self._cursor() as cursor:
                cursor.execute(f"SET statement_timeout = '{timeout}s'")
                start = time.perf_counter()
                cursor.execute(query.sql)
                rows = cursor.fetchall()
                return time.perf_counter() - start, results.of_postgres(rows, cursor.description)
        except psycopg2.errors.QueryCanceled as error:
            raise TimedOut from error
        except psycopg2.Error as error:
            raise Failed(str(error).strip()) from error

    def explain(self, query):
        """The plan, as text."""
        with self._cursor() as cursor:
            cursor.execute(f"EXPLAIN {query.sql}")
            return "\n".join(row[0] for row in cursor.fetchall()) + "\n"

    def close(self):
        """Ends the session."""
        if self.connection is not None:
            self.connection.close()


class Duck:
    """DuckDB with a number of threads. All of a process share one connection, for they share its database."""

    ours = once = alone = False

    def __init__(self, connection, threads):
        self.name = f"DuckDB {threads}"
        self.connection, self.threads = connection, threads

    def run(self, query, timeout):
        """Seconds and result."""
        self.connection.execute(f"SET threads = {self.threads}")
        alarm = threading.Timer(timeout, self.connection.interrupt)
        alarm.start()
        try:
            start = time.perf_counter()
            rows = self.connection.execute(query.duck or query.sql).fetchall()
            return time.perf_counter() - start, results.of_duckdb(rows)
        except Exception as error:  # its classes belong to a module that may not be there
            if type(error).__name__ == "InterruptException":
                raise TimedOut from error
            raise Failed(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
        finally:
            alarm.cancel()

    def close(self):
        """Does nothing: the connection is not its own."""


def ducks(path, statements):
    """DuckDB with 1 and with 2 threads on a new database after the statements; no sides at all if it cannot be had."""
    import duck
    connection = duck.create(path, statements)
    if connection is None:
        return []
    connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    return [Duck(connection, 1), Duck(connection, 2)]
