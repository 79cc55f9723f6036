"""Queries on the rows of tsbs.py: selective ones, which an index serves, and ones that read the whole table."""

import tsbs
from race import Query

_HOURS = "SELECT date_trunc('hour', time) AS hour, {} FROM cpu"


def queries(rows):
    """All of them, for a table of so many rows."""
    last = tsbs.FIRST + (rows // tsbs.HOSTS - 1) * 10
    minutes = tsbs.timestamp(last - 300)
    hosts = ", ".join(f"'host_{number}'" for number in (3, 58, 101, 149, 207, 249, 301, 399))
    latest = "SELECT time, usage_user, usage_system, usage_idle FROM cpu WHERE cpu.host = h.host ORDER BY time DESC LIMIT 1"
    averages = ", ".join(f"avg({name})" for name in tsbs.METRICS)

    texts = {
        "selective": [
            ("one hour of one host",
             "SELECT date_trunc('minute', time) AS minute, max(usage_user), avg(usage_system) FROM cpu WHERE host = 'host_249'"
             " AND time >= '2024-01-01 00:10:00+00' AND time < '2024-01-01 01:10:00+00' GROUP BY 1 ORDER BY 1"),
            ("8 hours of 8 hosts",
             f"{_HOURS.format('host, max(usage_user), max(usage_system)')} WHERE host IN ({hosts})"
             " AND time >= '2024-01-01 00:20:00+00' AND time < '2024-01-01 08:20:00+00' GROUP BY 1, 2 ORDER BY 1, 2"),
            ("rows of 10 minutes of one host",
             "SELECT * FROM cpu WHERE host = 'host_101' AND time >= '2024-01-01 01:00:00+00' AND time < '2024-01-01 01:10:00+00' ORDER BY time"),
            ("latest row of one host", "SELECT * FROM cpu WHERE host = 'host_58' ORDER BY time DESC LIMIT 1"),
            ("latest row of each host, DISTINCT ON", "SELECT DISTINCT ON (host) * FROM cpu ORDER BY host, time DESC"),
            ("latest row of each host, LATERAL",
             f"SELECT h.host, l.* FROM (SELECT 'host_' || n AS host FROM generate_series(0, {tsbs.HOSTS - 1}) AS g(n)) AS h,"
             f" LATERAL ({latest}) AS l ORDER BY h.host"),
            ("last 5 minutes", f"SELECT host, avg(usage_user), max(usage_user) FROM cpu WHERE time > '{minutes}' GROUP BY host ORDER BY host"),
        ],
        "whole": [
            ("latest row of each host, join",
             "SELECT c.* FROM cpu AS c JOIN (SELECT host, max(time) AS time FROM cpu GROUP BY host) AS m"
             " ON c.host = m.host AND c.time = m.time ORDER BY c.host"),
            ("maximum of each hour", f"{_HOURS.format('max(usage_user), max(usage_system), max(usage_iowait)')} GROUP BY 1 ORDER BY 1"),
            ("average of each hour and host", f"{_HOURS.format('host, avg(usage_user)')} GROUP BY 1, 2 ORDER BY 1, 2"),
            ("averages of each hour and host", f"{_HOURS.format(f'host, {averages}')} GROUP BY 1, 2 ORDER BY 1, 2"),
            ("rows of a busy processor, counted", "SELECT count(*) FROM cpu WHERE usage_user > 90.0"),
            ("rows of a busy processor by host",
             "SELECT host, count(*), max(usage_system) FROM cpu WHERE usage_user > 90.0 GROUP BY host ORDER BY host"),
            ("maxima of the 5 minutes before a moment",
             f"SELECT date_trunc('minute', time) AS minute, max(usage_user) FROM cpu WHERE time < '{minutes}'"
             " GROUP BY 1 ORDER BY 1 DESC LIMIT 5"),
            ("minutes with the greatest idle time",
             "SELECT date_trunc('minute', time) AS minute, count(*), min(usage_idle), max(usage_idle) FROM cpu"
             " GROUP BY 1 ORDER BY 4 DESC, 3, 1 LIMIT 10"),
            ("everything counted and added", f"SELECT count(*), min(time), max(time), {averages} FROM cpu"),
        ],
    }
    found = [(kind, title, text) for kind, some in texts.items() for title, text in some]
    # Only one of these has no ORDER BY, and it returns one row.
    return [Query(str(number), title, text, ordered=True, kind=kind) for number, (kind, title, text) in enumerate(found, 1)]
