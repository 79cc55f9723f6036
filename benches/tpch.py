"""Tables of TPC-H: the generator tpchgen-cli, a package of PyPI under the Apache licence, definitions, indexes, loads and updates."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from place import DATA

PACKAGE = "tpchgen-cli==4.0.0"
#: Where the generator is kept between runs.
CACHE = Path(__file__).parents[1] / ".build" / "tpchgen"

#: Columns of each table; `{}` takes the access method.
TABLES = {
    "lineitem": """CREATE TABLE lineitem (
        l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
        l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
        l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL,
        l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL,
        l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL) USING {}""",
    "orders": """CREATE TABLE orders (
        o_orderkey bigint NOT NULL, o_custkey bigint NOT NULL, o_orderstatus char(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL,
        o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL,
        o_comment varchar(79) NOT NULL) USING {}""",
    "customer": """CREATE TABLE customer (
        c_custkey bigint NOT NULL, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, c_nationkey integer NOT NULL,
        c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL,
        c_comment varchar(117) NOT NULL) USING {}""",
    "part": """CREATE TABLE part (
        p_partkey bigint NOT NULL, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL,
        p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container char(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL,
        p_comment varchar(23) NOT NULL) USING {}""",
    "partsupp": """CREATE TABLE partsupp (
        ps_partkey bigint NOT NULL, ps_suppkey bigint NOT NULL, ps_availqty integer NOT NULL, ps_supplycost numeric(15,2) NOT NULL,
        ps_comment varchar(199) NOT NULL) USING {}""",
    "supplier": """CREATE TABLE supplier (
        s_suppkey bigint NOT NULL, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, s_nationkey integer NOT NULL,
        s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101) NOT NULL) USING {}""",
    "nation": """CREATE TABLE nation (
        n_nationkey integer NOT NULL, n_name char(25) NOT NULL, n_regionkey integer NOT NULL,
        n_comment varchar(152) NOT NULL) USING {}""",
    "region": """CREATE TABLE region (
        r_regionkey integer NOT NULL, r_name char(25) NOT NULL, r_comment varchar(152) NOT NULL) USING {}""",
}
KEYS = [
    "ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)", "ALTER TABLE orders ADD PRIMARY KEY (o_orderkey)",
    "ALTER TABLE customer ADD PRIMARY KEY (c_custkey)", "ALTER TABLE part ADD PRIMARY KEY (p_partkey)",
    "ALTER TABLE partsupp ADD PRIMARY KEY (ps_partkey, ps_suppkey)", "ALTER TABLE supplier ADD PRIMARY KEY (s_suppkey)",
    "ALTER TABLE nation ADD PRIMARY KEY (n_nationkey)", "ALTER TABLE region ADD PRIMARY KEY (r_regionkey)",
]
#: Which indexes a load makes: none, primary keys, or foreign keys and dates that the queries ask for as well.
INDEXES = {"none": [], "keys": KEYS, "all": KEYS + [
    "CREATE INDEX ON lineitem (l_partkey, l_suppkey)", "CREATE INDEX ON lineitem (l_suppkey)", "CREATE INDEX ON lineitem (l_shipdate)",
    "CREATE INDEX ON orders (o_custkey)", "CREATE INDEX ON orders (o_orderdate)", "CREATE INDEX ON partsupp (ps_suppkey)",
    "CREATE INDEX ON customer (c_nationkey)", "CREATE INDEX ON supplier (s_nationkey)", "CREATE INDEX ON nation (n_regionkey)",
]}
#: Change a twentieth of the rows of each larger table in columns that the queries look at.
UPDATES = [
    "UPDATE lineitem SET l_quantity = 51 - l_quantity, l_tax = 0.08 - l_tax, l_shipdate = l_shipdate + 1"
    " WHERE hashint8extended(l_orderkey, l_linenumber) % 20 = 0",
    "UPDATE orders SET o_totalprice = o_totalprice + 1, o_orderdate = o_orderdate - 1 WHERE hashint8(o_orderkey) % 20 = 0",
    "UPDATE customer SET c_acctbal = 9000 - c_acctbal, c_mktsegment = 'BUILDING' WHERE hashint8(c_custkey) % 20 = 0",
    "UPDATE part SET p_size = 51 - p_size, p_name = 'forest green ' || p_partkey WHERE hashint8(p_partkey) % 20 = 0",
    "UPDATE partsupp SET ps_availqty = 10000 - ps_availqty, ps_supplycost = 1001 - ps_supplycost"
    " WHERE hashint8extended(ps_partkey, ps_suppkey) % 20 = 0",
]


def generator():
    """Path of the generator, downloaded if need be; None, and a message, if it cannot be had."""
    program = CACHE / "tpchgen-cli"
    if program.exists():
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*pip, "--dest", str(CACHE), PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(CACHE.glob("tpchgen_cli-*.whl"))
    if done.returncode != 0 or not wheels:
        print(f"{PACKAGE} cannot be downloaded: {(done.stderr or done.stdout).strip()[-300:]}", file=sys.stderr)
        return None
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith("/scripts/tpchgen-cli"))
        with wheel.open(member) as source, open(program, "wb") as target:
            shutil.copyfileobj(source, target)
    program.chmod(0o755)
    wheels[0].unlink()
    return program


def write(table, scale, path):
    """Writes a table at a scale factor as CSV with a header line; False if the generator cannot be had."""
    program = generator()
    if program is None:
        return False
    with open(path, "wb") as target:
        subprocess.run([program, "csv", "-s", str(scale), "-T", table, "--stdout"], stdout=target, check=True)
    path.chmod(0o644)
    return True


def file(table, scale):
    """Path of a table's CSV file with a header line, written if need be; None if the generator cannot be had."""
    DATA.mkdir(parents=True, exist_ok=True)
    path = DATA / f"{table}-{scale:g}.csv"
    partial = path.with_suffix(".partial")
    if not path.exists():
        if not write(table, scale, partial):
            return None
        partial.rename(path)
    return path


def files(scale):
    """Paths of all tables' files by table; ends the program if the generator cannot be had."""
    found = {table: file(table, scale) for table in TABLES}
    if None in found.values():
        sys.exit("the generator of TPC-H cannot be had")
    return found


def load(connection, schema, method, scale, indexes="all"):
    """Makes a schema with all tables, moved into stripes if they are columnar, with indexes, and analyzed."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")
        for table, path in files(scale).items():
            cursor.execute(TABLES[table].format(method))
            cursor.execute(f"COPY {table} FROM '{path}' (FORMAT csv, HEADER)")
            if method == "columnar":
                cursor.execute(f"CALL orochi.columnar_compact('{table}')")
        for statement in INDEXES[indexes]:
            cursor.execute(statement)
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")


def update(connection, schema):
    """Changes a twentieth of the rows of each larger table, the same ones in every schema."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = {schema}")
        for statement in UPDATES:
            cursor.execute(statement)
        for table in TABLES:
            cursor.execute(f"ANALYZE {table}")


def for_duckdb(scale):
    """Statements that make and fill the tables in DuckDB."""
    return [statement for table, path in files(scale).items()
            for statement in (TABLES[table].replace(" USING {}", ""), f"COPY {table} FROM '{path}' (FORMAT csv, HEADER)")]
