#!/usr/bin/env python3
"""The same job on this machine and on Spark: times, memory, and what Spark shuffles.

    spark.py [--payments 5000000] [--master local-cluster[2,1,1024]] [--folder /tmp/discretail-spark]
             [--python PYTHON] [--rounds 1]

Makes the payments first. Starts Spark by tests/sql/connect.py with PYTHON, which must have pyspark, and runs the
job once with `files` and once with `engine = "spark"` on the same folder; needs
`cargo build --release --features spark`. Wall and CPU seconds and peak memory are of whole processes; those of
Spark are of the server and its executors together, from when the job starts, its peak memory the sum of each one's.

That the totals are the same shows, while `--serve` keeps the server,

    SPARK_JOBS=FOLDER/PAYMENTS/local/job.toml,FOLDER/PAYMENTS/spark/job.toml DISCRETAIL_SPARK_TOKEN=bench \\
      cargo test --release --features spark --lib large_jobs_agree -- --ignored

The job is `both` of engine.py, with customers, payments and sales at each level.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

import engine
from engine import BINARY, HOME

TOKEN = "bench"

STATISTICS = ("customers", "payments", "sales")
TYPES = ('types = { user_token = "text", merchant_id = "text", paid_at = "timestamp_tz", amount = "integer", '
         'currency = "text" }')


def write_job(data, name):
    """The job of engine.py on the payments, in a new folder with a ledger of its own; gives its path."""
    folder = data / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return engine.job_file(folder, data, "both", STATISTICS)


def write_table_job(data, name, table, more=""):
    """The same on a table."""
    path = write_job(data, name)
    lines = path.read_text().replace(f'files = ["{data}/payments/*.parquet"]', f"{table}\n{TYPES}").splitlines()
    # Bad rows stay where they are.
    text = "\n".join(line for line in lines if not line.startswith("quarantine"))
    path.write_text(f"{text}\n{more}")
    return path


def write_spark_job(data, port):
    table = f'engine = "spark"\ntable = "parquet.`{data}/payments`"'
    return write_table_job(data, "spark", table, f'[spark]\nurl = "sc://localhost:{port}"\n')


def make_payments(data, count):
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([BINARY, "sample", data, "--payments", str(count)], check=True)


def run(path):
    """Wall seconds, CPU seconds and peak MB of a run."""
    started = time.monotonic()
    environment = {**os.environ, "DISCRETAIL_SPARK_TOKEN": TOKEN}
    process = subprocess.Popen([BINARY, "run", path], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{path} ended with {status}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def group(pid):
    """CPU seconds, and the sum of peak MB, of the processes of a server."""
    cpu, memory = 0.0, 0.0
    # Not `self`, too.
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) != pid:
                continue
            cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            status = (entry / "status").read_text()
            memory += int(status.split("VmHWM:")[1].split()[0]) / 1000
        except (OSError, IndexError, ValueError):
            pass
    return cpu, memory


def stages(ui):
    """What all stages so far have read and shuffled, in bytes."""
    base = f"http://127.0.0.1:{ui}/api/v1/applications"
    with urllib.request.urlopen(base) as answer:
        (application,) = json.load(answer)
    with urllib.request.urlopen(f"{base}/{application['id']}/stages?status=complete") as answer:
        found = json.load(answer)
    for stage in sorted(found, key=lambda stage: stage["stageId"]):
        if stage["shuffleWriteBytes"] > 1_000_000:
            print(f"  stage {stage['stageId']}: {stage['executorCpuTime'] / 1e9:.1f} CPU s, shuffles "
                  f"{stage['shuffleWriteRecords']:,} rows of {stage['shuffleWriteBytes']:,} bytes")
    names = ["inputBytes", "shuffleWriteBytes", "shuffleWriteRecords", "memoryBytesSpilled", "diskBytesSpilled"]
    return {name: sum(stage[name] for stage in found) for name in names}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--payments", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--master", default="local-cluster[2,1,1024]")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/discretail-spark"))
    parser.add_argument("--python", default=os.path.expanduser("~/.cache/discretail/venv/bin/python"))
    parser.add_argument("--serve", action="store_true", help="keep the server until Enter, for large_jobs_agree")
    options = parser.parse_args()
    data = options.folder / str(options.payments)
    make_payments(data, options.payments)
    for _ in range(options.rounds):
        local = write_job(data, "local")
        wall, cpu, memory = run(local)
        print(f"local: {wall:.1f} s, {cpu:.1f} CPU s, {memory:.0f} MB", flush=True)
    server = subprocess.Popen(
        [options.python, HOME / "tests/sql/connect.py", "spark", options.master,
         f"spark.connect.authenticate.token={TOKEN}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        word, port, pid, ui = server.stdout.readline().split()
        assert word == "ready"
        before, seen = group(int(pid))[0], None
        for _ in range(options.rounds):
            spark = write_spark_job(data, port)
            wall, cpu, memory = run(spark)
            after, peak = group(int(pid))
            print(f"spark: {wall:.1f} s; here {cpu:.1f} CPU s, {memory:.0f} MB; "
                  f"there {after - before:.1f} CPU s, {peak:.0f} MB", flush=True)
            before = after
            if seen is None:
                seen = stages(ui)
                print(" ".join(f"{name}={value:,}" for name, value in seen.items()), flush=True)
        if options.serve:
            print(f"SPARK_JOBS={local},{spark}", flush=True)
            input()
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
