"""The printed query in DuckDB, as docs/sql.md says to do it: the same release as of files, but for the noise."""

import json
import os
import subprocess

import duckdb
import polars as pl
import pytest
from conftest import ROOT, discretail

JOB = """
version = 1
job = "{name}"
recipient = "tests"
releases = "."
[payments]
{source}
where = "channel = 'in_store'"
timezone = "Asia/Shanghai"
first_day = 2025-01-01
last_day = 2025-03-31
currency = "CNY"
columns = {{ user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount", currency = "currency",
  wallet = "wallet" }}
[merchants]
files = ["{root}/data/merchants.parquet"]
[privacy]
unit = "user"
epsilon = "4"
delta = "1e-6"
[ledger]
file = "ledger.sqlite"
population = "people"
epsilon_max = "12"
delta_max = "1e-5"
[[report]]
name = "market"
keys = "public"
levels = [["region"], ["region", "week"]]
insights = ["customers", "payments", "sales", "average_ticket", "visits"]
bounds = {{ customers = 6, payments = 30, sales = 3000, visits = 30 }}
[[report]]
name = "merchants"
keys = "private"
cells_max = 20
levels = [["wallet", "month"]]
insights = ["customers", "sales"]
bounds = {{ customers = 3, sales = 3000 }}
"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """The folders of the releases of files, and of the query's result."""
    folder = tmp_path_factory.mktemp("sql")
    con = duckdb.connect()
    con.execute(f"CREATE VIEW lake AS SELECT * FROM read_parquet('{ROOT}/data/payments/*.parquet')")
    names = {"VARCHAR": "text", "BIGINT": "integer", "TIMESTAMP WITH TIME ZONE": "timestamp_tz", "TIMESTAMP": "timestamp"}
    types = {name: names[kind] for name, kind, *_ in con.execute("DESCRIBE lake").fetchall()}
    types = ", ".join(f'{name} = "{kind}"' for name, kind in types.items())
    sources = {"files": f'files = ["{ROOT}/data/payments/*.parquet"]', "table": f'table = "lake"\ntypes = {{ {types} }}'}
    for name, source in sources.items():
        (folder / f"{name}.toml").write_text(JOB.format(name=name, source=source, root=ROOT))
    files = discretail("run", "files.toml", folder=folder)
    sql = discretail("plan", "--sql", "duckdb", "table.toml", folder=folder)
    os.umask(0o077)
    con.execute(f"COPY ({sql}\n) TO '{folder}/totals.parquet' (FORMAT parquet)")
    table = discretail("run", "--totals", "totals.parquet", "table.toml", folder=folder)
    return folder, files, table


def test_both_ways_give_the_same_tables_but_for_the_noise(releases):
    folder, files, table = releases
    for name in ["market.region", "market.region-week", "merchants.wallet-month"]:
        one, other = (pl.read_parquet(f"{release}/{name}.parquet") for release in (files, table))
        assert one.schema == other.schema
        if name.startswith("market"):
            keys = [column for column in one.columns if column in ("region", "week")]
            assert one.select(keys).equals(other.select(keys))
        both = one["customers_unbiased"].sum(), other["customers_unbiased"].sum()
        # Six standard deviations of the noise of both sums: a false alarm in 10^9 runs.
        sd = one["customers_sd"][0] * (2 * len(one)) ** 0.5
        assert name.startswith("merchants") or abs(both[0] - both[1]) < 6 * sd


def test_the_release_says_where_its_totals_come_from_and_verifies(releases):
    folder, files, table = releases
    manifest = json.loads((folder / "table" / "manifest.json").read_text())
    assert manifest["totals_from"] == {"sql": "duckdb", "table": "lake"}
    assert "totals_from" not in json.loads((folder / "files" / "manifest.json").read_text())
    discretail("verify", table, "--ledger", folder / "ledger.sqlite")


def test_types_that_the_table_has_not_are_refused(releases):
    folder, *_ = releases
    job = (folder / "table.toml").read_text().replace('job = "table"', 'job = "wrong"')
    (folder / "wrong.toml").write_text(job.replace('amount = "integer"', 'amount = "decimal"'))
    sql = discretail("plan", "--sql", "duckdb", "wrong.toml", folder=folder)
    con = duckdb.connect()
    con.execute(f"CREATE VIEW lake AS SELECT * FROM read_parquet('{ROOT}/data/payments/*.parquet')")
    con.execute(f"COPY ({sql}\n) TO '{folder}/wrong.parquet' (FORMAT parquet)")
    binary = os.environ["DISCRETAIL"]
    done = subprocess.run([binary, "run", "--totals", "wrong.parquet", "wrong.toml"], cwd=folder, capture_output=True,
                          text=True)
    assert done.returncode == 2 and "totals-types" in done.stderr and "`amount`" in done.stderr
