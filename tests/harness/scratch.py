"""What a measurement needs for itself: a server and a directory that vanish with it."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from . import process, settings
from .server import Installation, Server


def installation():
    """The installation that PG_CONFIG names; Debian's 15 by default."""
    return Installation(os.environ.get("PG_CONFIG", "/usr/lib/postgresql/15/bin/pg_config"))


@contextlib.contextmanager
def directory(name):
    """A directory that the server's user owns and everybody can read."""
    root = Path(tempfile.mkdtemp(prefix=f"orochi-{name}-", dir=settings.RUN_DIR))
    process.give_away(root)
    root.chmod(0o755)
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def server_and_directory(name, config):
    """A started server with the extension, and a directory."""
    with directory(name) as root:
        server = Server(installation(), config=config, name=name).init()
        try:
            server.start()
            server.query("CREATE EXTENSION orochi")
            yield server, root
        finally:
            server.destroy()
