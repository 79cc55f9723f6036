"""Runs PostgreSQL's programs as an unprivileged user and finds, waits for and kills their processes."""

import ctypes
import os
import pwd
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import settings

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def credentials():
    """Popen arguments that drop root; none when the tests already run as a plain user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(settings.RUN_USER)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}


def give_away(path):
    """Makes the user of the servers own `path`."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(settings.RUN_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def environment():
    """The environment without settings that would change what libpq and the programs do."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_")) and k != "LANG"}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def run(arguments, cwd, check=True, stdin=None, timeout=600):
    """Runs a program to its end and returns the CompletedProcess with text output."""
    done = subprocess.run(
        [str(a) for a in arguments], cwd=cwd, input=stdin, text=True, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), **credentials(),
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")
    return done


def spawn(arguments, cwd, log, address_space=None):
    """Starts a server that writes to `log` and is shut down by the kernel should the tests be killed.

    `address_space` limits the bytes of each of its processes.
    """
    def die_with_parent():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
        if address_space is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    return subprocess.Popen(
        [str(a) for a in arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env=environment(), start_new_session=True, preexec_fn=die_with_parent, **credentials(),
    )


def _stat(pid):
    """State and parent of a process, or None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])


def alive(pid):
    """Whether a process exists and is not a zombie."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def children(pid):
    """Process ids of the direct children of `pid`: PostgreSQL's processes all belong to the postmaster."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat is not None and stat[1] == pid:
                found.append(int(entry))
    return found


def title(pid):
    """The process title that PostgreSQL sets, or an empty string."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def send(pid, number):
    """Sends a signal; a process that is gone is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_family(popen):
    """Kills a postmaster and all its children with signal 9 as one blow."""
    send(popen.pid, signal.SIGSTOP)
    family = children(popen.pid)
    for pid in family:
        send(pid, signal.SIGKILL)
    send(popen.pid, signal.SIGKILL)
    popen.wait()
    wait_until(lambda: not any(alive(pid) for pid in family), 30, "killed processes disappear")


def wait_until(condition, seconds, what, interval=0.02):
    """Polls until `condition()` is true and returns its value; raises TimeoutError naming `what`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain: {what}")
        time.sleep(interval)


def free_port():
    """A TCP port on loopback that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
