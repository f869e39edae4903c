"""Starts a server of Spark Connect, or a TLS proxy before one, for the tests of src/engine/remote/spark and
tests/it/spark.rs; ends it, and all that it has started, with standard input.

    python tests/sql/connect.py spark MASTER [KEY=VALUE ...]    prints `ready PORT PID UI-PORT`
    python tests/sql/connect.py sail                            prints `ready PORT PID 0`
    python tests/sql/connect.py tls PORT                        prints `ready PORT FOLDER`: its issuer is FOLDER/ca.pem
"""

import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port):
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def serve(command, home, port, ui):
    """Runs a server until standard input ends."""
    log = open(home / "server.log", "w")
    server = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              start_new_session=True, env={**os.environ, "SPARK_LOCAL_DIRS": str(home / "local"),
                                                           "SPARK_LOCAL_IP": "127.0.0.1"})
    try:
        end = time.monotonic() + 300
        while not listens(port):
            if server.poll() is not None or time.monotonic() > end:
                print("failed:", (home / "server.log").read_text()[-2000:].replace("\n", " | "), flush=True)
                return
            time.sleep(0.2)
        print("ready", port, server.pid, ui, flush=True)
        sys.stdin.read()
    finally:
        # Workers and executors are in its group, too.
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        server.wait()
        if log_to := os.environ.get("SPARK_LOG"):
            shutil.copy(home / "server.log", log_to)
        shutil.rmtree(home, ignore_errors=True)


def spark(master, *settings):
    import pyspark

    home = pathlib.Path(tempfile.mkdtemp(prefix="discretail-spark-"))
    port, ui = free_port(), free_port()
    stated = {
        "spark.connect.grpc.binding.port": port,
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.ui.port": ui,
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": home / "warehouse",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.shuffle.partitions": 4,
        # What a server that is in use does after two minutes: so every query of the tests is asked for again.
        "spark.connect.execute.reattachable.senderMaxStreamDuration": "5s",
        **dict(one.split("=", 1) for one in settings),
    }
    root = pathlib.Path(pyspark.__path__[0])
    # As Spark's own scripts find it, also those that start executors.
    os.environ["SPARK_HOME"] = str(root)
    command = [str(root / "bin" / "spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
               "--master", master, "--driver-memory", "1g"]
    for key, value in stated.items():
        command += ["--conf", f"{key}={value}"]
    serve([*command, "spark-internal"], home, port, ui)


def sail():
    home = pathlib.Path(tempfile.mkdtemp(prefix="discretail-sail-"))
    port = free_port()
    program = pathlib.Path(sys.executable).parent / "sail"
    serve([str(program), "spark", "server", "--ip", "127.0.0.1", "--port", str(port)], home, port, 0)


def pump(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for one in (source, target):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def tls(behind):
    home = pathlib.Path(tempfile.mkdtemp(prefix="discretail-tls-"))
    quiet = {"cwd": home, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]
    subprocess.run(["openssl", "req", "-x509", *new, "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=tests"],
                   **quiet)
    subprocess.run(["openssl", "req", *new, "own.key", "-out", "own.csr", "-subj", "/CN=localhost"], **quiet)
    (home / "own.ext").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    subprocess.run(["openssl", "x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-days", "2", "-extfile", "own.ext", "-out", "own.pem"], **quiet)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(home / "own.pem", home / "own.key")
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def connection(plain):
        try:
            outside = context.wrap_socket(plain, server_side=True)
            inside = socket.create_connection(("127.0.0.1", int(behind)))
        except OSError:
            plain.close()
            return
        threading.Thread(target=pump, args=(outside, inside), daemon=True).start()
        pump(inside, outside)

    def accept():
        while True:
            threading.Thread(target=connection, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("ready", listener.getsockname()[1], home, flush=True)
    sys.stdin.read()
    shutil.rmtree(home, ignore_errors=True)


{"spark": spark, "sail": sail, "tls": tls}[sys.argv[1]](*sys.argv[2:])
