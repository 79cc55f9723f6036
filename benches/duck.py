"""DuckDB, from PyPI, kept in .build: the measure of size and of speed."""

import subprocess
import sys
from pathlib import Path

PACKAGE = "duckdb==2.0.0"
CACHE = Path(__file__).parents[1] / ".build" / "duckdb"


def module():
    """The module duckdb, downloaded if need be; None, and a message, if it cannot be had."""
    if not (CACHE / "duckdb").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*pip, "--target", str(CACHE), PACKAGE], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{PACKAGE} cannot be downloaded: {(done.stderr or done.stdout).strip()[-300:]}", file=sys.stderr)
            return None
    sys.path.insert(0, str(CACHE))
    import duckdb
    return duckdb


def create(path, statements):
    """A connection to a new database after the statements; None if DuckDB cannot be had."""
    duckdb = module()
    if duckdb is None:
        return None
    for file in (path, Path(f"{path}.wal")):
        file.unlink(missing_ok=True)
    connection = duckdb.connect(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.execute("CHECKPOINT")
    return connection


def size(path, statements):
    """Bytes of a new database after the statements; None if DuckDB cannot be had."""
    connection = create(path, statements)
    if connection is None:
        return None
    connection.close()
    return path.stat().st_size
