"""Data of TPC-H: the generator tpchgen-cli, a package of PyPI under the Apache licence, and the tables' definitions."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

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
