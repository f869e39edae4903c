"""Releases for the tests, made by the binary under test from made-up payments.

`.ci/run` runs these tests with the packages of requirements.txt and sets DISCRETAIL to the binary. By hand:
DISCRETAIL=target/release/discretail python -m pytest tests/released
"""

import os
import pathlib
import shutil
import subprocess

import polars as pl
import pytest
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).parents[2]

JOB = """
version = 1
{head}
job = "{name}"
recipient = "tests"
releases = "."
[payments]
files = ["{payments}"]
timezone = "Asia/Shanghai"
first_day = 2025-01-01
last_day = 2025-03-31
currency = {currency}
columns = {{ user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount",
  currency = "currency", wallet = "wallet" }}
[merchants]
files = ["{merchants}"]
min_per_cell = {least}
{keys}
[privacy]
unit = "user"
epsilon = "4"
delta = "1e-6"
[ledger]
file = "ledger.sqlite"
population = "people"
epsilon_max = "8"
delta_max = "1e-5"
{reports}
"""

GALLERY = """
[[report]]
name = "market"
keys = "public"
levels = [[], ["region"], ["region", "category"], ["week"], ["region", "week"], ["weekday", "hour"], ["wallet"],
  ["wallet", "month"], ["day"]]
insights = ["customers", "payments", "sales", "average_ticket", "ticket_histogram"]
[[report]]
name = "merchants"
keys = "private"
cells_max = 64
levels = [["merchant"], ["merchant", "month"]]
insights = ["customers", "sales"]
"""

PEERS = """
[[report]]
name = "shops"
keys = "public"
levels = [["category", "month"], ["merchant", "month"], ["merchant"]]
insights = ["payments", "payments_concentration", "payments_rank", "payments_peer_benchmark", "payments_above"]
peers = "category"
above = { payments = 100 }
partition_by = "month"
"""

BANDED = """
[[report]]
name = "market"
keys = "public"
levels = [["region", "category"], ["region", "category", "month"]]
insights = ["customers", "payments"]
"""

FLOWS = """
[[report]]
name = "flows"
keys = "public"
levels = [["home_region", "region", "month"], ["home_category", "category"], ["home_region"], ["home_region", "month"]]
insights = ["customers", "sales", "average_ticket"]
[[report]]
name = "basket"
keys = "public"
levels = [["month"], ["category", "month"], ["category", "with_category", "month"]]
insights = ["customers", "lift"]
"""

SHARES = """
[[report]]
name = "parts"
keys = "public"
suppress_above = "never"
share_of = "home_region"
levels = [["home_region"], ["home_region", "region"], ["home_region", "region", "month"]]
insights = ["customers_share", "payments_share"]
[[report]]
name = "both"
keys = "public"
suppress_above = "never"
share_of = ["weekday", "hour"]
levels = [["weekday", "hour"]]
insights = ["payments_share"]
[[report]]
name = "groups"
keys = "public"
suppress_above = "never"
share_of = "category"
levels = [["category", "region"]]
insights = ["customers_share"]
"""

CURRENCIES = """
[[report]]
name = "money"
keys = "public"
suppress_above = "never"
levels = [["currency"], ["currency", "week"], ["currency", "region"], ["currency", "region", "month"]]
insights = ["sales", "payments", "average_ticket"]
"""

PROVISIONAL = """
[[report]]
name = "trend"
keys = "public"
levels = [["month"], ["region", "month"], ["category", "day"]]
insights = ["payments", "customers", "payments_growth", "sales_growth", "new_customers", "repeat_rate",
  "ticket_quantiles"]
look_back = 28
"""

STAYS = """
[[report]]
name = "stays"
keys = "public"
levels = [["week"], ["region", "week"]]
insights = ["customers", "retention_cohort", "retention_rate"]
look_back = 21
[[report]]
name = "recent"
keys = "public"
levels = [["month"], []]
insights = ["recency_histogram"]
[[report]]
name = "moves"
keys = "public"
suppress_above = "never"
levels = [["week"], ["region", "month"]]
insights = ["diffusion_index", "diffusion_classes"]
"""

LARGE = """
[[report]]
name = "merchants"
keys = "public"
suppress_above = "never"
levels = [["merchant", "day"]]
insights = ["customers", "payments", "sales", "average_ticket"]
"""

YEARS = """
[[report]]
name = "long"
keys = "public"
suppress_above = "never"
levels = [["day"], ["week"]]
insights = ["payments", "ticket_histogram"]
"""

HOSTILE = """
[[report]]
name = "market"
keys = "public"
suppress_above = "never"
levels = [["region"], ["region", "category"], ["region", "month"]]
insights = ["customers", "sales"]
"""

WALLETS = ["alipay", "apple_pay", "card", "unionpay_quickpass", "wechat_pay"]

NAMES = ["</script><script>window.broken=1</script>", "<img src=x onerror=window.broken=1>", "NULL", "{b|bold} {c}",
         "a & b \"c\" 'd' `${e}`"]


def discretail(*args, folder=ROOT):
    """Runs the binary; its standard output."""
    binary = os.environ.get("DISCRETAIL")
    if not binary:
        pytest.exit("set DISCRETAIL to the binary, or run .ci/run, which does", returncode=2)
    done = subprocess.run([binary, *map(str, args)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def job(name, reports, payments, merchants, keys="", head="", least=1, currency='"CNY"'):
    """The text of a job file."""
    return JOB.format(name=name, payments=payments, merchants=merchants, keys=keys, reports=reports, head=head,
                      least=least, currency=currency)


def release(folder, name, *of, options=(), **more):
    """Runs such a job; the folder of its release."""
    (folder / f"{name}.toml").write_text(job(name, *of, **more))
    return pathlib.Path(discretail("run", f"{name}.toml", *options, folder=folder))


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Debian's chromium; .ci/run installs it"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """A release with all kinds of charts, of the sample in data/."""
    keys = f"[keys]\nwallet = {WALLETS}"
    return release(tmp_path_factory.mktemp("gallery"), "gallery", GALLERY, ROOT / "data/payments/*.parquet",
                   ROOT / "data/merchants.parquet", keys)


@pytest.fixture(scope="session")
def peers(tmp_path_factory):
    """A release that compares merchants, with a file for each month."""
    folder = tmp_path_factory.mktemp("peers")
    discretail("sample", folder / "data", "--payments", 150_000, "--merchants", 60)
    return release(folder, "peers", PEERS, "data/payments/*.parquet", "data/merchants.parquet")


@pytest.fixture(scope="session")
def banded(tmp_path_factory):
    """A release that hides cells for their merchants, and tells some of them in bands."""
    folder = tmp_path_factory.mktemp("banded")
    discretail("sample", folder / "data", "--payments", 300_000, "--merchants", 200)
    return release(folder, "banded", BANDED, "data/payments/*.parquet", "data/merchants.parquet",
                   "bands = { payments = [200, 1000, 5000] }", least=3)


@pytest.fixture(scope="session")
def flows(tmp_path_factory):
    """A release of where customers are at home and where they pay."""
    folder = tmp_path_factory.mktemp("flows")
    discretail("sample", folder / "data", "--payments", 150_000)
    return release(folder, "flows", FLOWS, "data/payments/*.parquet", "data/merchants.parquet")


@pytest.fixture(scope="session")
def shares(tmp_path_factory):
    """A release of shares over one key of two, and over both."""
    folder = tmp_path_factory.mktemp("shares")
    discretail("sample", folder / "data", "--payments", 150_000)
    return release(folder, "shares", SHARES, "data/payments/*.parquet", "data/merchants.parquet")


@pytest.fixture(scope="session")
def currencies(tmp_path_factory):
    """A release of payments in yen, yuan and dinars, of which the noise of all drowns the dinars."""
    folder = tmp_path_factory.mktemp("currencies")
    pl.DataFrame({"merchant_id": [f"M{at}" for at in range(12)], "region": [f"R{at % 4}" for at in range(12)]}
                 ).write_parquet(folder / "merchants.parquet")
    rows = range(60_000)
    kinds = ["CNY", "JPY", "KWD"]
    pl.DataFrame({
        "user_token": [f"u{at % 6_007}" for at in rows], "merchant_id": [f"M{at * 7 % 12}" for at in rows],
        # One every 129 seconds, from the first to the last day.
        "paid_at": [1_735_704_000 + 129 * at for at in rows],
        # Yuan and dinars have minor units, of which 100 and 1,000 are one.
        "amount": [(10_000 + at % 900, 4_000 + at % 900, 2_000 + at % 900)[at // 7 % 3] for at in rows],
        "currency": [kinds[at // 7 % 3] for at in rows], "wallet": ["card" for _ in rows],
    }).write_parquet(folder / "payments.parquet")
    return release(folder, "currencies", CURRENCIES, "payments.parquet", "merchants.parquet",
                   currency=str(kinds).replace("'", '"'), options=["--accept-useless"])


@pytest.fixture(scope="session")
def provisional(tmp_path_factory):
    """A release of which its manifest has much to say, with comparisons and new customers."""
    folder = tmp_path_factory.mktemp("provisional")
    expected = "[expect]\nusers = 2000\npayments = 9000"
    files = [ROOT / "data/payments/*.parquet", ROOT / "data/merchants.parquet", expected]
    release(folder, "first", PROVISIONAL, *files, least=3, options=["--accept-useless"])
    head = 'status = "provisional"\nrevises = "first"'
    return release(folder, "second", PROVISIONAL, *files, head=head, least=3, options=["--accept-useless"])


@pytest.fixture(scope="session")
def stays(tmp_path_factory):
    """A release of cohorts, of customers by their last visit, and of who spends more or less."""
    folder = tmp_path_factory.mktemp("stays")
    discretail("sample", folder / "data", "--payments", 150_000, "--merchants", 60)
    return release(folder, "stays", STAYS, "data/payments/*.parquet", "data/merchants.parquet")


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A release with a table of 100,000 rows."""
    folder = tmp_path_factory.mktemp("large")
    discretail("sample", folder / "data", "--payments", 200_000, "--merchants", 1_112)
    return release(folder, "large", LARGE, "data/payments/*.parquet", "data/merchants.parquet")


@pytest.fixture(scope="session")
def years(tmp_path_factory):
    """A release of more than a year."""
    folder = tmp_path_factory.mktemp("years")
    pl.DataFrame({"merchant_id": [f"M{at}" for at in range(4)]}).write_parquet(folder / "merchants.parquet")
    rows = range(20_000)
    pl.DataFrame({
        "user_token": [f"u{at % 2_003}" for at in rows], "merchant_id": [f"M{at % 4}" for at in rows],
        # One every half an hour, from the first day to the last.
        "paid_at": [1_735_704_000 + 1_770 * at for at in rows], "amount": [1_000 + at % 900 for at in rows],
        "currency": ["CNY" for _ in rows], "wallet": ["card" for _ in rows],
    }).write_parquet(folder / "payments.parquet")
    text = job("years", YEARS, "payments.parquet", "merchants.parquet").replace("2025-03-31", "2026-02-15")
    (folder / "years.toml").write_text(text)
    return pathlib.Path(discretail("run", "years.toml", "--accept-useless", folder=folder))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A release whose names look like markup."""
    folder = tmp_path_factory.mktemp("hostile")
    count = len(NAMES)
    pl.DataFrame({"merchant_id": [f"M{at}" for at in range(count)], "region": NAMES, "category": NAMES[::-1]}
                 ).write_parquet(folder / "merchants.parquet")
    rows = range(4_000)
    pl.DataFrame({
        "user_token": [f"u{at % 400}" for at in rows], "merchant_id": [f"M{at * 7 % count}" for at in rows],
        "paid_at": pl.Series([1_735_704_000 + 1_800 * at for at in rows]), "amount": [1_000 + at % 900 for at in rows],
        "currency": ["CNY" for _ in rows], "wallet": ["card" for _ in rows],
    }).write_parquet(folder / "payments.parquet")
    return release(folder, "hostile", HOSTILE, "payments.parquet", "merchants.parquet")
