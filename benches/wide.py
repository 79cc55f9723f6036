"""A wide table of page views: 100 columns, skewed as such data is. Users have attributes, sites have pages, most columns are mostly 0 or empty."""

import random
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from zlib import crc32

from place import DATA

FIRST = datetime(2024, 3, 1)
DAYS = 31
BLOCK = 10_000
SITES = 3000
PAGES = 60
#: Booleans, and how often they are true.
FLAGS = {"is_refresh": 0.12, "is_bounce": 0.3, "is_link": 0.1, "is_download": 0.01, "is_new_user": 0.2, "is_artificial": 0.001,
         "has_cookies": 0.97, "has_script": 0.99, "is_tablet": 0.06, "is_robot": 0.02, "is_event": 0.15, "is_parameter": 0.05,
         "has_video": 0.03, "is_secure": 0.9, "is_old_counter": 0.0002, "has_gallery": 0.08, "is_print": 0.004, "is_cached": 0.4,
         "has_goal": 0.03, "is_private": 0.07, "is_interactive": 0.5, "is_mirrored": 0.0, "is_sampled": 1.0, "has_advert_blocker": 0.25}
#: Counts and times that are mostly 0: how often they are not, and their usual size then.
NUMBERS = {"scroll_depth": (0.7, 60), "clicks": (0.4, 3), "goals_reached": (0.03, 1), "price": (0.01, 4000), "order_items": (0.01, 2),
           "redirects": (0.08, 1), "redirect_time": (0.08, 150), "dns_time": (0.35, 30), "connect_time": (0.4, 60),
           "response_start_time": (0.9, 200), "response_end_time": (0.9, 350), "fetch_time": (0.5, 300), "render_time": (0.8, 900),
           "dom_time": (0.85, 1200), "visible_time": (0.6, 20000), "errors": (0.02, 1), "bytes_sent": (0.05, 3000),
           "retries": (0.005, 1), "paused_time": (0.1, 5000), "downloads": (0.01, 1), "share_network": (0.004, 3),
           "video_seconds": (0.03, 60), "form_fields": (0.06, 6), "comments": (0.002, 1), "version_of_counter": (1.0, 40)}
#: Texts that are mostly empty, how often they are not, and how many there are.
TEXTS = {"utm_source": (0.06, 30), "utm_medium": (0.06, 8), "utm_campaign": (0.06, 900), "utm_content": (0.02, 3000),
         "utm_term": (0.01, 8000), "open_source": (0.003, 20), "currency": (0.01, 5), "social_network": (0.02, 12),
         "social_action": (0.004, 5), "parameters": (0.03, 5000), "from_tag": (0.02, 400), "page_charset": (1.0, 3)}
_TYPES = """watch_id bigint, event_time timestamp, event_date date, counter_id integer, user_id bigint, session_id bigint, region_id integer,
    client_ip bigint, os smallint, browser smallint, browser_version smallint, browser_minor text, user_agent text, screen_width smallint,
    screen_height smallint, screen_depth smallint, window_width smallint, window_height smallint, language text, zone_minutes smallint,
    is_mobile smallint, mobile_vendor smallint, mobile_model text, age smallint, sex smallint, income smallint, interests integer, url text,
    url_hash bigint, title text, referer text, referer_hash bigint, search_engine smallint, search_phrase text, adv_engine smallint,
    traffic_source smallint, sequence smallint, local_time timestamp, cookie bigint"""
COLUMNS = ([column.strip() for column in _TYPES.split(",")] + [f"{name} smallint" for name in FLAGS] + [f"{name} integer" for name in NUMBERS]
           + [f"{name} text" for name in TEXTS])
#: `{}` takes name and access method.
TABLE = "CREATE TABLE {} (" + ", ".join(f"{column} NOT NULL" for column in COLUMNS) + ") USING {}"
COPY = "COPY {} FROM '{}' (FORMAT csv, HEADER false, NULL '\\N')"
WORDS = ("sale news weather shop map phone car garden travel hotel ticket music video game recipe doctor school jobs flat rent train plane "
         "winter summer cheap best online free buy used new photo city bank credit insurance mobile football film book review price test forum help").split()
_LANGUAGES = ("en", "de", "fr", "es", "pt", "pl", "nl", "it")
_SCREENS = ((1920, 1080), (1366, 768), (390, 844), (1536, 864), (412, 915), (1440, 900), (2560, 1440), (360, 800), (1280, 1024), (768, 1024))
_ENGINES = ("google", "bing", "duckduckgo", "ecosia")


def mixed(number):
    """63 bits that depend on a number and look random."""
    number = (number + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    number = (number ^ number >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return (number ^ number >> 31) >> 1


def site(rank):
    """Number of the site with a rank."""
    return mixed(rank) % 100_000 + 1


def user(rank):
    """Number of the user with a rank."""
    return mixed(rank + 1_000_000_007)


def zipf(count, power=1.0):
    """Cumulative weights of ranks."""
    return list(accumulate(1 / (rank + 1) ** power for rank in range(count)))


def _user(rank):
    """What a user's rows have in common: a list of texts, and whether the device is a mobile one."""
    bits = mixed(rank * 31 + 7)
    mobile = bits % 100 < 42
    width, height = _SCREENS[(2, 4, 7)[bits >> 8 & 1] if mobile else bits >> 8 & 7]
    browser = (1, 1, 1, 2, 3, 4, 5, 77)[bits >> 12 & 7]
    version = 90 + (bits >> 16) % 34
    system = (2 if bits >> 20 & 1 else 3) if mobile else (44, 44, 44, 45, 46)[(bits >> 20) % 5]
    agent = (f"Mozilla/5.0 ({'Linux; Android 1' + str(system) if mobile else f'Windows NT 10.{system % 3}; Win64'}) AppleWebKit/537.{browser}"
             f" (KHTML like Gecko) Browser{browser}/{version}.{(bits >> 26) % 5}")
    region = (213, 2, 225, 54, 47)[bits >> 32 & 3] if bits >> 34 & 3 else (bits >> 36) % 5000
    model = f"Model {(bits >> 30) % 160}" if mobile and bits >> 40 & 3 else ""
    known = bits >> 44 & 1
    return [
        str(user(rank)), str(region), str(mixed(rank * 17) % (1 << 32)), str(system), str(browser), str(version),
        f"{(bits >> 26) % 5}.{(bits >> 29) % 3}", agent, str(width), str(height), "24" if bits >> 48 & 7 else "32",
        str(width - (bits >> 20) % 3 * 8), str(height - 100 - (bits >> 22) % 4 * 10),
        _LANGUAGES[(bits >> 49 & 7) & (bits >> 52 & 7)], ("60", "120", "0", "180")[bits >> 55 & 3], str(int(mobile)),
        str((bits >> 30) % 12 + 1) if mobile else "0", model, str((bits >> 50) % 60) if known else "0", str(1 + (bits >> 45 & 1)) if known else "0",
        str((bits >> 46) % 5) if known else "0", str((bits >> 40) % 16384) if known and bits >> 57 & 1 else "0"]


def _page(rank, page):
    """Address and title of a page of a site."""
    bits = mixed(rank * 1009 + page)
    words = [WORDS[(bits >> shift) % len(WORDS)] for shift in (0, 8, 16, 24, 32)]
    host = f"https://{'www.' if rank % 2 else ''}{words[0] if rank % 7 == 0 else 'site'}{site(rank)}.example"
    address = f"{host}/" if page == 0 else f"{host}/{words[1]}/{words[2]}-{bits >> 40 & 1023}.html"
    return address, f"{words[3].capitalize()} {words[2]} {words[4]} - {words[1].capitalize()} {site(rank)}"


def _sparse(rng, filled, values, weights):
    """Columns of which only a part is filled."""
    if filled >= 1:
        return rng.choices(values, cum_weights=weights, k=BLOCK)
    column = [values[0]] * BLOCK
    for place in rng.sample(range(BLOCK), round(BLOCK * filled)):
        column[place] = rng.choices(values, cum_weights=weights)[0]
    return column


def _block(rng, first, rows, known):
    """Lines of a block of rows, in the order of time."""
    sites, pages, phrases, users, total = (known[name] for name in ("sites", "pages", "phrases", "users", "total"))
    columns = []
    for name, often in FLAGS.items():
        columns.append(["1"] * BLOCK if often >= 1 else _sparse(rng, often, ["0", "1"], [0, 1]))
    for name, (often, usual) in NUMBERS.items():
        if name == "version_of_counter":
            columns.append(rng.choices(["40", "41", "39"], cum_weights=[8, 9, 10], k=BLOCK))
            continue
        columns.append(["0"] * BLOCK)
        for place in rng.sample(range(BLOCK), round(BLOCK * often)):
            columns[-1][place] = str(1 + int(rng.expovariate(1 / usual)))
    for name, (often, count) in TEXTS.items():
        columns.append(_sparse(rng, often, known[name], known[f"{name} weights"]))
    chosen = rng.choices(range(SITES), cum_weights=sites, k=BLOCK)
    lines = []
    for number, rank, *rest in zip(range(first, min(first + BLOCK, rows)), chosen, *columns):
        seconds = (number + rng.random()) / rows * DAYS * 86400
        time = FIRST + timedelta(seconds=int(seconds))
        visitor = int(total * rng.random() ** 2.5)
        attributes = users.get(visitor) or users.setdefault(visitor, _user(visitor))
        page = int(PAGES * rng.random() ** 3)
        address, title = pages.get((rank, page)) or pages.setdefault((rank, page), _page(rank, page))
        if rng.random() < 0.3:
            address += f"?id={int(rng.expovariate(1 / 3000))}"
        engine, phrase, referer, advert, source = "0", "", "", "0", "0"
        draw = rng.random()
        if draw < 0.13:
            phrase = rng.choices(phrases[0], cum_weights=phrases[1])[0]
            engine = str(1 + int(4 * rng.random() ** 3))
            referer, source = f"https://www.{_ENGINES[int(engine) - 1]}.example/search?q={phrase.replace(' ', '+')}", "2"
        elif draw < 0.17:
            advert, source = str(2 + int(20 * rng.random() ** 2)), "3"
            referer = f"https://adverts{advert}.example/click/{int(1e6 * rng.random())}"
        elif draw < 0.75:
            referer, source = _page(rank, int(PAGES * rng.random() ** 3))[0], "1"
        sequence = str(1 + int(rng.expovariate(0.3)))
        lines.append(",".join((
            str(mixed(number * 3 + 1)), str(time), str(time)[:10], str(site(rank)), attributes[0], str(mixed(visitor * 40 + time.day)),
            *attributes[1:], address, str(mixed(crc32(address.encode()))), title, referer, str(mixed(crc32(referer.encode()))), engine, phrase,
            advert, source, sequence,
            str(time + timedelta(seconds=int(rng.gauss(0, 30)))), str(mixed(visitor * 3)), *rest)))
    return lines


def file(rows):
    """Path of a CSV file without a header with so many rows, written if need be; an empty field is an empty text."""
    DATA.mkdir(parents=True, exist_ok=True)
    path = DATA / f"wide-{rows}.csv"
    if path.exists():
        return path
    rng = random.Random(1)
    queries = sorted({" ".join(rng.choices(WORDS, k=rng.randrange(1, 5))) for _ in range(60_000)}, key=lambda text: crc32(text.encode()))
    known = {"sites": zipf(SITES), "pages": {}, "users": {}, "total": max(rows // 6, 10), "phrases": (queries, zipf(len(queries), 0.9))}
    for name, (often, count) in TEXTS.items():
        texts = ["UTF-8", "windows-1252", "iso-8859-1"] if often >= 1 else [f"{WORDS[k % len(WORDS)]}-{k}" for k in range(count)]
        known[name] = texts if often >= 1 else ["", *texts]
        known[f"{name} weights"] = zipf(len(texts)) if often >= 1 else [0.0, *zipf(count)]
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="ascii") as output:
        for first in range(0, rows, BLOCK):
            output.write("\n".join(_block(rng, first, rows, known)) + "\n")
    partial.chmod(0o644)
    partial.rename(path)
    return path


def load(server, schema, method, rows):
    """The table views in a schema that is there, analyzed; a columnar one compacted."""
    server.query(TABLE.format(f"{schema}.views", method))
    server.query(COPY.format(f"{schema}.views", file(rows)))
    if method == "columnar":
        server.query(f"CALL orochi.columnar_compact('{schema}.views')")
    server.query(f"VACUUM ANALYZE {schema}.views")


def for_duckdb(rows):
    """Statements that make and fill the table in DuckDB."""
    return [TABLE.format("views", "").replace(" USING ", ""), COPY.format("views", file(rows))]
