"""How many keys of the data a job shows: by its customers alone, by all its noised values together,
and by rounds that discover them. One job for each way and level, bounds left open, budget 1 and 1e-9.

    cargo build --release && python3 benches/keys.py [--payments 10000000] [--seeds 3]

Needs polars (PyPI). Payments are those of benches/engine.py.
"""

import argparse
import pathlib
import shutil
import statistics
import subprocess

import polars as pl

from engine import BINARY, job_file

ALL = ("customers", "payments", "sales")
LEVELS = [["merchant", "week"], ["merchant"], ["home_region", "merchant"]]
# name, insights, lines of the report
WAYS = [
    ("customers", ALL[:1], 'keys = "private"'),
    ("all values", ALL, 'keys = "private"'),
    *((f"discovered, {share}", ALL[:1], f'keys = "discovered"\ndiscovery = "{share}"')
      for share in ("50%", "75%", "90%")),
    ("discovered, all, 75%", ALL, 'keys = "discovered"\ndiscovery = "75%"'),
]


def run(folder, data, level, insights, lines):
    """Keys shown, and the noise of their customers."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = job_file(folder, data, "none", ())
    keys = ", ".join(f'"{key}"' for key in level)
    names = ", ".join(f'"{name}"' for name in insights)
    path.write_text(
        path.read_text()
        + f'[[report]]\nname = "keys"\nlevels = [[{keys}]]\n{lines}\ncells_max = 64\ninsights = [{names}]\n'
    )
    subprocess.run([BINARY, "run", path], check=True, capture_output=True)
    table = pl.read_parquet(folder / "releases" / "none" / f"keys.{'-'.join(level)}.parquet")
    return table.height, table["customers_sd"].mean() or float("nan")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--payments", type=int, default=10_000_000)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/discretail-bench"))
    arguments = arguments.parse_args()
    data = arguments.folder / str(arguments.payments)
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([BINARY, "sample", data, "--payments", str(arguments.payments)], check=True)
    print("| level | way | keys | against customers | noise of customers |\n|---|---|---|---|---|")
    for level in LEVELS:
        base = None
        for name, insights, lines in WAYS:
            runs = [
                run(arguments.folder / "keys", data, level, insights, lines) for _ in range(arguments.seeds)
            ]
            keys, noise = (statistics.mean(column) for column in zip(*runs))
            base = base or keys
            print(f"| {' x '.join(level)} | {name} | {keys:,.0f} | {keys / base:.2f} | {noise:.1f} |", flush=True)


if __name__ == "__main__":
    main()
