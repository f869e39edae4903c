"""Makes the releases that the notebooks read, from made-up payments, and executes the notebooks.

python notebooks/run.py DISCRETAIL FOLDER [--write]

Releases go to FOLDER/releases. With --write the notebooks keep what they have shown, and the audit is a full one,
which takes minutes; else they are only tried.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import nbclient
import nbformat

HERE = pathlib.Path(__file__).parent

JOB = """
version = 1
job = "{name}"
recipient = "readers"
[payments]
files = ["payments/*.parquet"]
timezone = "Asia/Shanghai"
first_day = 2025-01-01
last_day = 2025-03-31
currency = "CNY"
columns = {{ user = "user_token", merchant = "merchant_id", time = "paid_at", amount = "amount",
  currency = "currency", wallet = "wallet" }}
[merchants]
files = ["merchants.parquet"]
min_per_cell = 1
{keys}
[privacy]
unit = "user"
epsilon = "{epsilon}"
delta = "1e-9"
[ledger]
file = "{name}.sqlite"
population = "made-up-people"
epsilon_max = "8"
delta_max = "1e-8"
[[report]]
name = "{report}"
keys = "public"
suppress_above = "never"
levels = {levels}
insights = ["customers", "payments", "sales", "average_ticket"]
"""

# Of jobs that have a level by wallet.
KEYS = """[keys]
wallet = ["alipay", "apple_pay", "card", "unionpay_quickpass", "wechat_pay"]"""

PULSE = '[[], ["week"], ["region", "week"], ["category", "month"], ["weekday", "hour"], ["wallet", "month"]]'
PEERS = '[["category", "month"], ["merchant", "month"]]'
COST = '[["region"], ["category", "week"], ["merchant"], ["merchant", "week"]]'

JOBS = [("pulse", "1", "market", PULSE), ("peers", "1", "merchants", PEERS)]
JOBS += [(f"cost-{epsilon}", epsilon, "cells", COST) for epsilon in ["0.25", "0.5", "1", "2", "4"]]


def discretail(binary, folder, *args):
    subprocess.run([binary, *args], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main(binary, folder, write):
    binary, folder = str(pathlib.Path(binary).resolve()), pathlib.Path(folder).resolve()
    # Only what an earlier run has left is removed; `sample` refuses any other folder with something in it.
    if (folder / f"{JOBS[0][0]}.toml").exists():
        shutil.rmtree(folder)
    discretail(binary, None, "sample", str(folder), "--payments", "1000000", "--users", "50000", "--merchants", "200")
    for name, epsilon, report, levels in JOBS:
        keys = KEYS if '"wallet"' in levels else ""
        text = JOB.format(name=name, epsilon=epsilon, report=report, levels=levels, keys=keys)
        (folder / f"{name}.toml").write_text(text)
        discretail(binary, folder, "run", f"{name}.toml")
    discretail(binary, folder, "audit", "pulse.toml", "--users", "50000", "--full" if write else "--quick")
    # All but what a reader gets goes away before the notebooks start, the public registry aside.
    shutil.rmtree(folder / "payments")
    os.environ["RELEASES"] = str(folder / "releases")
    os.environ["MERCHANTS"] = str(folder / "merchants.parquet")
    for path in sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(HERE)}}).execute()
        if write:
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
            nbformat.write(notebook, path)
        print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells ran")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--write" in sys.argv)
