#!/usr/bin/env python3
"""What loading a large bundle does to requests for another model, on an otherwise idle machine:

    make build peers
    .build/peers/bin/python loadtest/kernels/models.py MODELS --only dlrm; … --only forest
    millrace model import MODELS/forest.txt --name forest -o MODELS/forest.millrace; millrace model import MODELS/dlrm.safetensors …
    loadtest/reload_bars.py --large MODELS/dlrm.millrace --small MODELS/forest.millrace [--rates 190000,40000] [--rounds 5]

Rounds alternate: one alone, one in which a new version of the large model (a link to the same file: its bytes are in the page cache) appears
in its folder. Latencies are those of the small model, from the time that a request was due. Then the large one is loaded while nobody asks.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from grpc_bars import Server, free_port, listens, machine_stalls, wait_until


class Instance:
    """A server of both models, and the folder of the large one."""

    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.folder = os.path.join(scratch, "large")
        self.version = 0
        self.ports = {name: free_port() for name in ("grpc", "kafka", "admin")}
        os.makedirs(self.folder)
        self.offer()
        with open(os.path.join(scratch, "millrace.yaml"), "w") as file:
            file.write(
                f"""data_directory: data
roles: [broker, gateway, node]
kafka: {{embedded: {{listen: "127.0.0.1:{self.ports['kafka']}"}}}}
models:
  - {{bundle: {os.path.abspath(options.small)}, name: small}}
  - {{bundle: {self.folder}, name: large, reload: 100 ms, tables: {options.tables}}}
grpc: {{listen: "127.0.0.1:{self.ports['grpc']}"}}
http: {{enabled: false}}
control: {{enabled: false}}
admin: {{listen: "127.0.0.1:{self.ports['admin']}"}}
"""
            )
        self.server = Server([os.path.abspath(options.millrace), "run", "--config", "millrace.yaml"], os.path.join(scratch, "log"))
        wait_until(lambda: listens(self.ports["grpc"]) and self.loads()[0] >= 1, "starting the server", 120)

    def offer(self):
        """The next version of the large model; the one before the last is taken away."""
        self.version += 1
        os.link(self.options.large, os.path.join(self.folder, "next"))
        os.rename(os.path.join(self.folder, "next"), os.path.join(self.folder, f"{self.version}.millrace"))
        old = os.path.join(self.folder, f"{self.version - 2}.millrace")
        if os.path.exists(old):
            os.unlink(old)

    def loads(self):
        """How often the large model was loaded, and the seconds of all."""
        found = {"count": 0.0, "sum": 0.0}
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/metrics", timeout=5) as answer:
                for line in answer.read().decode().splitlines():
                    for kind in found:
                        if line.startswith(f"millrace_model_load_seconds_{kind}") and 'model="large"' in line:
                            found[kind] = float(line.rsplit(" ", 1)[1])
        except OSError:
            pass
        return found["count"], found["sum"]

    def load_once(self):
        """Offers a version; the seconds of its load."""
        count, seconds = self.loads()
        self.offer()
        wait_until(lambda: self.loads()[0] > count, "loading the large model", 180)
        return self.loads()[1] - seconds

    def ask(self, rate):
        """One run of the generator; its report."""
        out = os.path.join(self.scratch, "report.json")
        result = subprocess.run(
            [os.path.abspath(self.options.millrace), "loadtest", "grpc", "--target", f"127.0.0.1:{self.ports['grpc']}", "--model", "small",
             "--connections", "8", "--rate", str(rate), "--warm-up", "0.5", "--duration", str(self.options.seconds), "--json", out],
            capture_output=True, text=True, timeout=self.options.seconds * 10 + 60)
        if result.returncode != 0:
            sys.exit(f"reload_bars: {result.stdout}{result.stderr}")
        with open(out) as file:
            return json.load(file)


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", default=".build/release/millrace")
    parser.add_argument("--large", required=True)
    parser.add_argument("--small", required=True)
    parser.add_argument("--tables", default="huge_pages", choices=["huge_pages", "mapped"], help="where the large model's tables are (default: %(default)s)")
    parser.add_argument("--rates", default="190000,40000", help="requests a second (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    size = os.path.getsize(options.large) / 1e9
    scratch = tempfile.mkdtemp(prefix="millrace-reload-", dir=os.path.dirname(os.path.abspath(options.large)))
    machine_stalls()
    instance = Instance(options, scratch)
    try:
        # The first reload has no memory of a version before it to use.
        first, *unloaded = [instance.load_once() for _ in range(options.rounds + 1)]
        print(
            f"nobody asks: {size:.2f} GB ready in {spread(unloaded)} s, {size / statistics.median(unloaded):.2f} GB/s; "
            f"the first time in {first:.2f} s; bar 1 GB/s")
        for rate in map(int, options.rates.split(",")):
            alone, beside, seconds = [], [], []
            for _ in range(options.rounds):
                alone.append(instance.ask(rate))
                loading = threading.Timer(1.0, lambda: seconds.append(instance.load_once()))
                loading.start()
                beside.append(instance.ask(rate))
                loading.join()
            for name in ("p50", "p99"):
                without = [report["latency_ms"][name] for report in alone]
                during = [report["latency_ms"][name] for report in beside]
                print(
                    f"{rate:,}/s, {name}: alone {spread(without, 3)} ms, beside a load {spread(during, 3)} ms, "
                    f"ratio {statistics.median(during) / statistics.median(without):.2f}")
            print(f"{rate:,}/s: ready in {spread(seconds)} s, {size / statistics.median(seconds):.2f} GB/s")
    finally:
        instance.server.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
