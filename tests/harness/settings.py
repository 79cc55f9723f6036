"""What the environment decides: servers under test, access method, size, seed."""

import functools
import os
import random

#: Access method of the tables under test. `heap` compares a heap with a heap, to debug the tests themselves.
ACCESS_METHOD = os.environ.get("OROCHI_TEST_AM", "columnar")
COLUMNAR = ACCESS_METHOD != "heap"

#: `ci` keeps the whole suite within minutes; `full` runs the sizes that a release has to pass.
SIZE = os.environ.get("OROCHI_SIZE", "ci")
if SIZE not in ("ci", "full"):
    raise ValueError(f"OROCHI_SIZE must be ci or full, not {SIZE!r}")

#: Seed of every random choice; printed by each test that uses it, so that a failure can be repeated.
SEED = int(os.environ.get("OROCHI_SEED") or random.SystemRandom().randrange(1 << 31))

#: Operating-system user of the servers when the tests run as root, which PostgreSQL refuses.
RUN_USER = os.environ.get("OROCHI_RUN_USER", "postgres")

#: Directory for data directories; the system's temporary directory when unset.
RUN_DIR = os.environ.get("OROCHI_RUN_DIR") or None


# Once: pytest makes fixtures anew for parameters that are other objects, though they are equal.
@functools.cache
def pg_configs():
    """Paths of the pg_config programs whose servers are tested."""
    return os.environ.get("OROCHI_PG_CONFIGS", "/usr/lib/postgresql/15/bin/pg_config").split()


def size(ci, full):
    """The figure for the size that was asked for."""
    return full if SIZE == "full" else ci
