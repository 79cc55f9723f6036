"""Queries on the page views of wide.py, of the kinds that web analytics asks. Where there is a LIMIT, the order is a total one."""

import wide
from race import Query

_DOMAIN = r"regexp_replace(referer, '^https?://(?:www\.)?([^/]+)/.*$', '\1')"


def _top(columns, where="", more="", limit=10):
    """Groups by columns, those with most rows first."""
    return (f"SELECT {columns}{more}, count(*) FROM views{' WHERE ' + where if where else ''} GROUP BY {columns}"
            f" ORDER BY count(*) DESC, {columns} LIMIT {limit}")


def queries():
    """All of them."""
    site, visitor = wide.site(0), wide.user(0)
    month = f"counter_id = {site} AND event_date >= '2024-03-01' AND event_date <= '2024-03-31'"
    sums = ", ".join(f"sum(screen_width + {number})" for number in range(1, 31))
    flags = ", ".join(f"sum({name})" for name in wide.FLAGS)
    timed = ("dns_time", "connect_time", "response_start_time", "fetch_time", "render_time", "dom_time")
    times = ", ".join(f"max({name}), avg({name})" for name in timed)
    texts = [
        ("rows", "SELECT count(*) FROM views"),
        ("rows with an advert", "SELECT count(*) FROM views WHERE adv_engine <> 0"),
        ("sums of small integers", "SELECT sum(adv_engine), count(*), avg(screen_width) FROM views"),
        ("average of user ids", "SELECT avg(user_id) FROM views"),
        ("users", "SELECT count(DISTINCT user_id) FROM views"),
        ("search phrases", "SELECT count(DISTINCT search_phrase) FROM views"),
        ("first and last day", "SELECT min(event_date), max(event_date) FROM views"),
        ("by advert", _top("adv_engine", "adv_engine <> 0", limit=100)),
        ("users by region", "SELECT region_id, count(DISTINCT user_id) AS users FROM views"
                            " GROUP BY region_id ORDER BY users DESC, region_id LIMIT 10"),
        ("figures by region", "SELECT region_id, sum(adv_engine), count(*) AS rows, avg(screen_width), count(DISTINCT user_id) FROM views"
                              " GROUP BY region_id ORDER BY rows DESC, region_id LIMIT 10"),
        ("users by model", "SELECT mobile_model, count(DISTINCT user_id) AS users FROM views WHERE mobile_model <> ''"
                           " GROUP BY mobile_model ORDER BY users DESC, mobile_model LIMIT 10"),
        ("users by vendor and model", "SELECT mobile_vendor, mobile_model, count(DISTINCT user_id) AS users FROM views WHERE mobile_model <> ''"
                                      " GROUP BY mobile_vendor, mobile_model ORDER BY users DESC, mobile_vendor, mobile_model LIMIT 10"),
        ("by phrase", _top("search_phrase", "search_phrase <> ''")),
        ("users by phrase", "SELECT search_phrase, count(DISTINCT user_id) AS users FROM views WHERE search_phrase <> ''"
                            " GROUP BY search_phrase ORDER BY users DESC, search_phrase LIMIT 10"),
        ("by engine and phrase", _top("search_engine, search_phrase", "search_phrase <> ''")),
        ("by user", _top("user_id")),
        ("by user and phrase", _top("user_id, search_phrase")),
        ("by user and phrase, in order of users", "SELECT user_id, search_phrase, count(*) FROM views GROUP BY user_id, search_phrase"
                                                  " ORDER BY user_id, search_phrase LIMIT 10"),
        ("by user, minute and phrase", "SELECT user_id, extract(minute FROM event_time) AS m, search_phrase, count(*) AS rows FROM views"
                                       " GROUP BY user_id, m, search_phrase ORDER BY rows DESC, user_id, m, search_phrase LIMIT 10"),
        ("one user", f"SELECT user_id, event_time, url FROM views WHERE user_id = {visitor} ORDER BY event_time, watch_id LIMIT 100"),
        ("addresses like", "SELECT count(*) FROM views WHERE url LIKE '%hotel%'"),
        ("phrases of addresses like", "SELECT search_phrase, min(url), count(*) AS rows FROM views WHERE url LIKE '%hotel%' AND search_phrase <> ''"
                                      " GROUP BY search_phrase ORDER BY rows DESC, search_phrase LIMIT 10"),
        ("titles like", "SELECT search_phrase, min(url), min(title), count(*) AS rows, count(DISTINCT user_id) FROM views WHERE title LIKE '%News%'"
                        " AND url NOT LIKE '%/sale/%' AND search_phrase <> '' GROUP BY search_phrase ORDER BY rows DESC, search_phrase LIMIT 10"),
        ("whole rows, earliest", "SELECT * FROM views WHERE url LIKE '%ticket%' ORDER BY event_time, watch_id LIMIT 10"),
        ("earliest phrases", "SELECT search_phrase, event_time FROM views WHERE search_phrase <> '' ORDER BY event_time, watch_id LIMIT 10"),
        ("least phrases", "SELECT search_phrase FROM views WHERE search_phrase <> '' ORDER BY search_phrase LIMIT 10"),
        ("latest phrases", "SELECT search_phrase, event_time FROM views WHERE search_phrase <> ''"
                           " ORDER BY event_time DESC, search_phrase LIMIT 10"),
        ("length of addresses by site", "SELECT counter_id, avg(length(url)) AS mean, count(*) AS rows FROM views WHERE url <> ''"
                                        " GROUP BY counter_id HAVING count(*) > 500 ORDER BY mean DESC, counter_id LIMIT 25"),
        ("referring domains", f"SELECT {_DOMAIN} AS domain, avg(length(referer)) AS mean, count(*) AS rows, min(referer) FROM views"
                              " WHERE referer <> '' GROUP BY domain HAVING count(*) > 50 ORDER BY rows DESC, domain LIMIT 25"),
        ("30 sums", f"SELECT {sums} FROM views"),
        ("engine and address of searches", "SELECT search_engine, client_ip, count(*) AS rows, sum(is_refresh), avg(screen_width) FROM views"
                                           " WHERE search_phrase <> '' GROUP BY search_engine, client_ip"
                                           " ORDER BY rows DESC, search_engine, client_ip LIMIT 10"),
        ("views one by one", "SELECT watch_id, client_ip, count(*) AS rows, sum(is_refresh), avg(screen_width) FROM views"
                             " GROUP BY watch_id, client_ip ORDER BY rows DESC, watch_id, client_ip LIMIT 10"),
        ("by address", _top("url")),
        ("by a constant and address", "SELECT 1 AS one, url, count(*) AS rows FROM views GROUP BY one, url ORDER BY rows DESC, url LIMIT 10"),
        ("by expressions of one column", "SELECT client_ip, client_ip - 1 AS a, client_ip - 2 AS b, client_ip - 3 AS c, count(*) AS rows FROM views"
                                         " GROUP BY client_ip, client_ip - 1, client_ip - 2, client_ip - 3 ORDER BY rows DESC, client_ip LIMIT 10"),
        ("pages of a site", _top("url", f"{month} AND is_artificial = 0 AND is_refresh = 0 AND url <> ''")),
        ("titles of a site", _top("title", f"{month} AND is_artificial = 0 AND is_refresh = 0 AND title <> ''")),
        ("links of a site, a later page", _top("url", f"{month} AND is_link <> 0 AND is_download = 0") + " OFFSET 20"),
        ("sources of a site", "SELECT traffic_source, search_engine, adv_engine,"
                              " CASE WHEN search_engine = 0 AND adv_engine = 0 THEN referer ELSE '' END AS source,"
                              f" url, count(*) AS rows FROM views WHERE {month} AND is_refresh = 0"
                              " GROUP BY traffic_source, search_engine, adv_engine, source, url"
                              " ORDER BY rows DESC, traffic_source, search_engine, adv_engine, source, url LIMIT 10 OFFSET 10"),
        ("windows of a site", _top("window_width, window_height", f"{month} AND is_refresh = 0")),
        ("minutes of two days", f"SELECT date_trunc('minute', event_time) AS m, count(*) FROM views WHERE counter_id = {site}"
                                " AND event_date >= '2024-03-14' AND event_date <= '2024-03-15' AND is_refresh = 0"
                                " GROUP BY m ORDER BY m LIMIT 10 OFFSET 10"),
        ("hours", "SELECT date_trunc('hour', event_time) AS h, count(*), count(DISTINCT user_id), sum(clicks) FROM views GROUP BY h ORDER BY h"),
        ("sums of flags", f"SELECT {flags} FROM views"),
        ("times by browser", f"SELECT browser, {times} FROM views GROUP BY browser ORDER BY browser"),
        ("busy users", "SELECT user_id, count(*) AS rows, sum(clicks) AS clicks, max(event_time) FROM views WHERE is_robot = 0 GROUP BY user_id"
                       " HAVING sum(clicks) > 10 ORDER BY clicks DESC, user_id LIMIT 20"),
        ("revenue by campaign", "SELECT utm_source, utm_campaign, sum(price) AS revenue, count(*) AS rows FROM views WHERE utm_campaign <> ''"
                                " GROUP BY utm_source, utm_campaign ORDER BY revenue DESC, utm_source, utm_campaign LIMIT 10"),
    ]
    return [Query(str(number), f"{number} {title}", text, ordered=True) for number, (title, text) in enumerate(texts, 1)]
