"""Runs the SQL that `plan --sql` prints in the real engine, for the tests of src/engine/tests/elsewhere.rs.

Reads a JSON object a line from standard input: `sql`; `payments`, a Parquet file that becomes the table `payments`;
and `out`, where the result goes as Parquet that nobody else can read. Without `sql`, the table is only made, for others
who ask the server that the first line, `ready`, names. Writes `ok`, or what went wrong in one line.

    python tests/sql/engines.py duckdb|spark|postgresql
"""

import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile


def duckdb():
    import duckdb

    connection = duckdb.connect()
    # Whatever the machine's zone is, and even one that changes its clocks.
    connection.execute("SET TimeZone = 'America/New_York'")

    def run(sql, payments, out):
        connection.execute(f"CREATE OR REPLACE VIEW payments AS SELECT * FROM read_parquet('{payments}')")
        connection.execute(f"COPY ({sql}) TO '{out}' (FORMAT parquet)")
        os.chmod(out, 0o600)

    return run


def through_spark(session):
    def run(sql, payments, out):
        table = session.read.parquet(payments)
        collation = os.environ.get("SPARK_COLLATION")
        if collation:
            texts = {name for name, kind in table.dtypes if kind == "string"}
            collate = lambda name: f" COLLATE {collation}" if name in texts else ""
            table = table.selectExpr(*(f"`{name}`{collate(name)} AS `{name}`" for name in table.columns))
        table.createOrReplaceTempView("payments")
        session.sql(sql).write.mode("overwrite").parquet(out)
        os.chmod(out, 0o700)

    return run


def spark():
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False)
    builder = builder.config("spark.ui.showConsoleProgress", False)
    builder = builder.config("spark.sql.shuffle.partitions", 3).config("spark.driver.memory", "2g")
    builder = builder.config("spark.sql.ansi.enabled", os.environ.get("SPARK_ANSI", "true"))
    builder = builder.config("spark.sql.session.timeZone", os.environ.get("SPARK_ZONE", "UTC"))
    builder = builder.config("spark.sql.parser.escapedStringLiterals", os.environ.get("SPARK_LITERALS", "false"))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return through_spark(session)


class PostgreSql:
    """A server of its own: by its socket for anybody, by a free port of this machine for those with a password."""

    def __init__(self):
        binaries = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.home = tempfile.mkdtemp(prefix="discretail-pg-")
        secret = pathlib.Path(self.home, "secret")
        secret.write_text("secret")
        # It will not run as root.
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(self.home, "postgres")
            shutil.chown(secret, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": "/"}
        self.control = lambda program, *words: subprocess.run(
            [*user, binaries / program, "-D", f"{self.home}/data", *words], **quiet)
        self.control("initdb", "-E", "UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256",
                     "-U", "tester", f"--pwfile={secret}")
        options = (f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.home} "
                   "-c fsync=off")
        self.control("pg_ctl", "-w", "-o", options, "start")

    def address(self, password="secret"):
        return f"postgresql://tester:{password}@127.0.0.1:{self.port}/postgres"

    def connect(self):
        import psycopg

        return psycopg.connect(host=self.home, port=self.port, user="tester", dbname="postgres", autocommit=True)

    def stop(self):
        self.control("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(self.home, ignore_errors=True)


# The columns of texts have them in turn.
COLLATIONS = os.environ.get("POSTGRESQL_COLLATIONS", "").split()


def fill(connection, table):
    """Makes an Arrow table PostgreSQL's table `payments`."""
    import pyarrow as pa

    types = {"string": "text", "large_string": "text", "string_view": "text", "int64": "bigint", "int32": "integer",
             "bool": "boolean", "date32[day]": "date", "timestamp[us]": "timestamp",
             "timestamp[us, tz=UTC]": "timestamptz"}

    def name_of(kind):
        return f"numeric({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else types[str(kind)]

    collations = itertools.cycle(range(len(COLLATIONS)))

    def definition(field):
        name = name_of(field.type)
        collated = f" COLLATE alike{next(collations)}" if name == "text" and COLLATIONS else ""
        return f'"{field.name}" {name}{collated}'

    columns = ", ".join(map(definition, table.schema))
    connection.execute("DROP TABLE IF EXISTS payments")
    connection.execute(f"CREATE TABLE payments ({columns})")
    with connection.cursor().copy("COPY payments FROM STDIN") as copy:
        for row in zip(*(column.to_pylist() for column in table.columns)):
            copy.write_row(row)


def postgresql():
    import pyarrow as pa
    import pyarrow.parquet as pq

    server = PostgreSql()
    connection = server.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    for at, locale in enumerate(COLLATIONS):
        connection.execute(f"CREATE COLLATION alike{at} (provider = icu, locale = '{locale}', deterministic = false)")

    def run(sql, payments, out):
        connection.execute("SET client_encoding = 'UTF8'")
        fill(connection, pq.read_table(payments))
        if sql is None:
            return
        connection.execute(f"SET client_encoding = '{os.environ.get('POSTGRESQL_ENCODING', 'UTF8')}'")
        cursor = connection.execute(sql)
        names = [column.name for column in cursor.description]
        rows = cursor.fetchall()
        kinds = [pa.string() if name in ("plan", "level") or name.startswith("key_") else pa.int64() for name in names]
        arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
        pq.write_table(pa.table(arrays, names=names), out)
        os.chmod(out, 0o600)

    def close():
        connection.close()
        server.stop()

    run.close = close
    run.address = server.address()
    return run


def main():
    run = {"duckdb": duckdb, "spark": spark, "postgresql": postgresql}[sys.argv[1]]()
    try:
        print("ready", getattr(run, "address", ""), flush=True)
        for line in sys.stdin:
            task = json.loads(line)
            try:
                run(task.get("sql"), task["payments"], task.get("out"))
                answer = "ok"
            except Exception as error:  # The test shows it.
                answer = f"{type(error).__name__}: {error}"
            print(" ".join(answer.split()), flush=True)
    finally:
        getattr(run, "close", lambda: None)()


if __name__ == "__main__":
    main()
