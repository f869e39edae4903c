"""Jobs that name a database: it adds the payments up, and where it cannot, nothing is charged.

Drivers are found by ADBC_DRIVER_PATH, which `.ci/run` sets: DuckDB's library, and that of PyPI's adbc-driver-postgresql.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import duckdb
import polars as pl
import pytest
from conftest import ROOT, discretail

sys.path.insert(0, str(ROOT / "tests/sql"))
import engines  # noqa: E402

OLD = {"storage_compatibility_version": "v1.0.0"}
PAYMENTS = ROOT / "data/payments/*.parquet"


def job(name, source, server=""):
    """The job of data/jobs/duckdb.toml, with another name, table and server."""
    text = (ROOT / "data/jobs/duckdb.toml").read_text()
    text = text.replace('"duckdb-2025-q1"', f'"{name}"').replace('"../out"', '"."')
    text = text.replace("../merchants.parquet", f"{ROOT}/data/merchants.parquet").replace("../ledger", "ledger")
    head, rest = text.split("[adbc]")
    head = head.replace('engine     = "adbc"\ntable      = "payments"\n', source + "\n")
    return head + server + "\n[merchants]" + rest.split("[merchants]")[1]


def in_table(name, server, table="payments"):
    return job(name, f'engine = "adbc"\ntable = "{table}"', server)


def on_files(name):
    text = job(name, f'files = ["{PAYMENTS}"]')
    return "\n".join(line for line in text.splitlines() if not line.startswith("types"))


def opened(text):
    """The same job with bounds that the run chooses."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("bounds"))


def in_duckdb(path):
    return f'[adbc]\ndriver = "duckdb"\noptions = {{ path = "{path}" }}'


# As a user would write it: no secret in the file.
IN_POSTGRESQL = '[adbc]\ndriver = "adbc_driver_postgresql"\noptions = { uri = "env:PAYMENTS_URI" }'


def start(folder, name, text, **environment):
    (folder / f"{name}.toml").write_text(text)
    more = environment.pop("options", [])
    return subprocess.Popen([os.environ["DISCRETAIL"], *more, "run", "--json", f"{name}.toml"], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment})


def refused(folder, name, text, **environment):
    """Exit code and the code of what was found, of a job that is not released; and all that was said."""
    run = start(folder, name, text, **environment)
    out, err = run.communicate(timeout=60)
    answer = json.loads(out)
    assert not (folder / name).exists()
    return run.returncode, [finding["code"] for finding in answer["findings"]], out + err


def charged(folder):
    """States of the ledger's jobs, and whether anything is taken."""
    if not (folder / "ledger.sqlite").exists():
        return []
    ledger = json.loads(discretail("ledger", "show", "ledger.sqlite", "--json", folder=folder))
    return [job["state"] for job in ledger["jobs"]]


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server with the sample."""
    server = engines.PostgreSql()
    with server.connect() as connection:
        engines.fill(connection, pl.read_parquet(PAYMENTS).to_arrow())
    yield server
    server.stop()


def released_as_of_files(folder, name, text, dialect, bounds="stated", **environment):
    run = start(folder, name, text, **environment)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    release = pathlib.Path(json.loads(out)["folder"])
    (folder / "files.toml").write_text(on_files("files"))
    files = pathlib.Path(discretail("run", "files.toml", folder=folder))
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["totals_from"] == {"sql": dialect, "table": "payments"}
    discretail("verify", release, "--ledger", folder / "ledger.sqlite")
    for table in ["market.region", "market.category", "market.region-week"]:
        one, other = (pl.read_parquet(f"{of}/{table}.parquet") for of in (release, files))
        assert one.schema == other.schema
        for value in ["customers", "payments", "sales"]:
            if bounds == "open":
                # Bounds that each run found for itself take as much as its own noise has them take, so it is
                # estimates that agree, where both are shown: within twice the intervals of both, and these are no
                # wider than what they are of.
                shown = one[value].is_not_null() & other[value].is_not_null()
                both = [float(of.filter(shown)[value].sum()) for of in (one, other)]
                wide = sum(float((of[f"{value}_high"] - of[f"{value}_low"]).filter(shown).sum()) for of in (one, other))
                assert abs(both[0] - both[1]) <= wide <= 4 * min(both), (table, value)
                continue
            # Six standard deviations of the noise of both sums: a false alarm in 10^9 runs.
            both = [float(of[f"{value}_unbiased"].sum()) for of in (one, other)]
            sd = float(one[f"{value}_sd"][0]) * (2 * len(one)) ** 0.5
            assert abs(both[0] - both[1]) < 6 * sd < both[1], (table, value)
    # A second time nothing is asked: not even of a server that is gone.
    again = start(folder, name, text, **{name: "postgresql://127.0.0.1:1/none" for name in environment})
    out, err = again.communicate(timeout=60)
    assert json.loads(out)["status"] == "released-before", err
    assert charged(folder) == ["published", "published"]


def test_the_readmes_duckdb_job_is_released_as_of_files(tmp_path):
    con = duckdb.connect(tmp_path / "payments.duckdb", config=OLD)
    con.execute(f"CREATE TABLE payments AS FROM read_parquet('{PAYMENTS}')")
    con.close()
    released_as_of_files(tmp_path, "duck", in_table("duck", in_duckdb("payments.duckdb")), "duckdb")


@pytest.mark.parametrize("bounds", ["stated", "open"])
def test_a_postgresql_job_is_released_as_of_files(tmp_path, server, bounds):
    text = in_table("post", IN_POSTGRESQL)
    text = opened(text) if bounds == "open" else text
    released_as_of_files(tmp_path, "post", text, "postgresql", bounds, PAYMENTS_URI=server.address())
    surveys = json.loads((tmp_path / "post" / "manifest.json").read_text()).get("surveys")
    assert bool(surveys) == (bounds == "open")


def test_a_postgresql_that_cannot_be_asked_costs_nothing(tmp_path, server):
    with server.connect() as connection:
        connection.execute("CREATE OR REPLACE VIEW empty AS SELECT * FROM payments WHERE FALSE")
        connection.execute("CREATE OR REPLACE VIEW floats AS SELECT user_token, merchant_id, paid_at, "
                           "CAST(amount AS FLOAT) AS amount, currency, channel FROM payments")
        connection.execute("CREATE OR REPLACE VIEW narrow AS SELECT user_token, amount FROM payments")
        connection.execute("CREATE OR REPLACE VIEW broken AS SELECT user_token, merchant_id, paid_at, "
                           "CAST(user_token AS BIGINT) AS amount, currency, channel FROM payments")
    right = server.address()
    text = in_table("one", IN_POSTGRESQL)
    assert refused(tmp_path, "one", text)[:2] == (2, ["secret-missing"])
    for table in ["nosuch", "narrow"]:
        text = in_table("one", IN_POSTGRESQL, table)
        assert refused(tmp_path, "one", text, PAYMENTS_URI=right)[:2] == (2, ["table-unreadable"])
    text = in_table("one", IN_POSTGRESQL)
    code, found, said = refused(tmp_path, "one", text, PAYMENTS_URI=server.address("wrong-password"))
    assert (code, found) == (3, ["login-refused"]) and "wrong-password" not in said
    down = "postgresql://tester@127.0.0.1:1/postgres"
    assert refused(tmp_path, "one", text, PAYMENTS_URI=down)[:2] == (3, ["server-unreachable"])
    text = in_table("one", IN_POSTGRESQL.replace("adbc_driver", "no_driver"))
    assert refused(tmp_path, "one", text, PAYMENTS_URI=right)[:2] == (3, ["driver-unusable"])
    # None of these has so much as made a ledger: columns, and their types, are looked at before.
    assert refused(tmp_path, "one", in_table("one", IN_POSTGRESQL, "floats"), PAYMENTS_URI=right)[:2] == (2, ["totals-types"])
    assert charged(tmp_path) == []
    for name, code, found in [("empty", 2, "rows-missing"), ("broken", 3, "query-failed")]:
        text = in_table(name, IN_POSTGRESQL, name)
        exit_code, codes, said = refused(tmp_path, name, text, PAYMENTS_URI=right)
        assert (exit_code, codes) == (code, [found]), said
        assert "invalid input syntax" not in said
    assert charged(tmp_path) == ["voided"] * 2
    # What the server says quotes a record here: shown only if asked for.
    text = in_table("told", IN_POSTGRESQL, "broken")
    said = refused(tmp_path, "told", text, PAYMENTS_URI=right, options=["-v"])[2]
    assert "invalid input syntax" in said


@pytest.mark.parametrize("way", ["ctrl-c", "server-killed", "program-killed"])
def test_a_query_that_is_stopped_costs_nothing(tmp_path, way):
    server = engines.PostgreSql()
    try:
        with server.connect() as connection:
            connection.execute("CREATE VIEW payments AS SELECT CAST('u' || i AS TEXT) AS user_token, CAST('M' AS TEXT) "
                               "AS merchant_id, TIMESTAMPTZ '2025-02-01' AS paid_at, i AS amount, CAST('CNY' AS TEXT) AS "
                               "currency, CAST('in_store' AS TEXT) AS channel FROM generate_series(CAST(1 AS BIGINT), "
                               "CAST(1000000000000 AS BIGINT)) t(i)")
            run = start(tmp_path, "endless", in_table("endless", IN_POSTGRESQL), PAYMENTS_URI=server.address())
            # It shows the first 1,024 bytes of a query.
            busy = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%The heavy stage%' "
            busy += "AND pid <> pg_backend_pid()"
            count = lambda: connection.execute(busy).fetchone()[0]
            end = time.time() + 60
            while count() == 0:
                assert run.poll() is None and time.time() < end, run.returncode
                time.sleep(0.05)
            assert charged(tmp_path) == ["reserved"]
            if way == "ctrl-c":
                run.send_signal(signal.SIGINT)
                out, err = run.communicate(timeout=10)
                assert run.returncode == 130, err
                assert count() == 0, "it is stopped on the server too"
            elif way == "program-killed":
                run.kill()
                run.communicate(timeout=10)
        if way == "server-killed":
            server.control("pg_ctl", "-m", "immediate", "stop")
            out, err = run.communicate(timeout=20)
            assert run.returncode == 3 and "server-lost" in err, err
        if way == "program-killed":
            assert charged(tmp_path) == ["reserved"]
            discretail("ledger", "void", "ledger.sqlite", "endless", folder=tmp_path)
        assert charged(tmp_path) == ["voided"]
        assert not (tmp_path / "endless").exists()
    finally:
        try:
            server.stop()
        except subprocess.CalledProcessError:
            pass


# In each of five regions 500 users pay at the shop of their home, whose name needs care; one user has a shop alone.
SOUGHT = """
[[report]]
name      = "flows"
levels    = [["home_region", "shop"], ["shop", "month"], []]
keys      = "discovered"
cells_max = 8
insights  = ["customers", "payments"]
bounds    = { payments = 4 }
"""


def sought(folder):
    """Payments and merchants; of each shop that is to be found its region, customers and payments."""
    shops = ["it's", "Mé\\7", "m0", "M0", "x; --"]
    pl.DataFrame({"merchant_id": [f"R{at}" for at in range(5)], "region": [f"r{at}" for at in range(5)]}
                 ).write_parquet(folder / "merchants.parquet")
    users = [at for at in range(2_500) for _ in range(4)]
    pl.DataFrame({
        "user_token": [f"u{at}" for at in users], "merchant_id": [f"R{at % 5}" for at in users],
        "paid_at": pl.Series([1_735_704_000 + 700 * row for row in range(len(users))]),
        "amount": [1_000] * len(users),
        "shop": ["alone" if at == 7 else shops[at % 5] for at in users],
    }).write_parquet(folder / "payments.parquet")
    return {shop: (f"r{at}", 499 if at == 7 % 5 else 500) for at, shop in enumerate(shops)}


def sought_job(name, server):
    return f"""
version = 1
job = "{name}"
recipient = "tests"
releases = "."
[payments]
engine = "adbc"
table = "payments"
types = {{ user_token = "text", merchant_id = "text", paid_at = "integer", amount = "integer", shop = "text" }}
timezone = "UTC"
first_day = 2025-01-01
last_day = 2025-03-31
currency = "EUR"
columns = {{ user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount", shop = "shop" }}
{server}
[merchants]
files = ["merchants.parquet"]
min_per_cell = 1
[privacy]
unit = "user"
epsilon = "8"
delta = "1e-6"
[ledger]
file = "ledger.sqlite"
population = "people"
epsilon_max = "16"
delta_max = "1e-5"
""" + SOUGHT


@pytest.mark.parametrize("database", ["duckdb", "postgresql"])
def test_keys_of_a_table_are_discovered(tmp_path, server, database):
    shops = sought(tmp_path)
    environment = {}
    if database == "duckdb":
        text = sought_job("found", in_duckdb("payments.duckdb"))
        con = duckdb.connect(tmp_path / "payments.duckdb", config=OLD)
        con.execute(f"CREATE TABLE payments AS FROM read_parquet('{tmp_path}/payments.parquet')")
        con.close()
    else:
        text = sought_job("found", IN_POSTGRESQL).replace('table = "payments"', 'table = "sought"')
        with server.connect() as connection:
            connection.execute('CREATE TABLE sought (user_token text, merchant_id text, paid_at bigint, amount bigint, shop text)')
            with connection.cursor().copy("COPY sought FROM STDIN") as copy:
                for row in pl.read_parquet(tmp_path / "payments.parquet").iter_rows():
                    copy.write_row(row)
        environment["PAYMENTS_URI"] = server.address()
    run = start(tmp_path, "found", text, **environment)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    release = pathlib.Path(json.loads(out)["folder"])
    discretail("verify", release, "--ledger", tmp_path / "ledger.sqlite")
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["totals_from"]["sql"] == database and manifest["surveys"]
    rounds = [entry["rounds"] for entry in manifest["discoveries"]]
    # A cell of so many users is missed with a chance far below 1e-9, and a lone user's found with at most 1e-6 a release.
    found = pl.read_parquet(release / "flows.home_region-shop.parquet")
    assert {row["shop"]: row["home_region"] for row in found.to_dicts()} == {shop: of for shop, (of, _) in shops.items()}
    assert sum(one["found"] for one in rounds[0]) == len(found) == len(shops)
    assert set(pl.read_parquet(release / "flows.shop-month.parquet")["shop"]) == set(shops)
    assert len(pl.read_parquet(release / "flows.all.parquet")) == 1
    for row in found.to_dicts():
        users = shops[row["shop"]][1]
        for value, exact in [("customers", users), ("payments", 4 * users)]:
            # Nobody is beyond the bounds; seven standard deviations: a false alarm in 10^10 runs.
            assert abs(row[f"{value}_unbiased"] - exact) < 7 * row[f"{value}_sd"] < exact / 2, (value, row)
    # By hand it cannot be.
    done = subprocess.run([os.environ["DISCRETAIL"], "plan", "--sql", database, "found.toml"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 2 and "keys-not-sought" in done.stderr
