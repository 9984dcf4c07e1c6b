"""Kernels and model families beside their peers, in one run, one thread each. `make bench` calls it.

    run.py --millrace .build/release/millrace --folder .build/bench [--only mlp,trees] [--rounds 7] [--seconds 0.3] [--small]

Ours and each peer is a process of its own that holds its model; rounds go in turn, ours first and last, and the median of the rounds
counts. Scores of the same model must agree, or the run fails: nobody gets fast by computing less. Writes

    FOLDER/../bench.json       {"name", "ours", "peer", "peer_name", "unit", "ratio"}: the fastest peer of each; ratio above 1: ours is faster
    FOLDER/../bench-all.json   every peer, the spread of the rounds, the hash of our scores, the machine's limits
    FOLDER/../bench.svg        the ratios, to look at
"""
import argparse
import hashlib
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class Worker:
    """A process that answers each line of JSON with one."""

    def __init__(self, name, command):
        self.name = name
        self.log = open(os.path.join(ARGUMENTS.folder, "worker.log"), "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **THREADS})
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            self.stop()
            raise RuntimeError(f"{name} did not start: {line.strip() or 'see ' + self.log.name}")

    def ask(self, batch, seconds):
        self.process.stdin.write(json.dumps({"batch": batch, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: see {self.log.name}")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def ours(*options):
    return lambda: Worker("millrace", [ARGUMENTS.millrace, "bench", "kernels", *options])


def python(peer):
    return lambda: Worker(peer, [sys.executable, os.path.join(HERE, "peer.py"), peer, ARGUMENTS.folder])


def onednn(precision):
    folder = ARGUMENTS.folder
    return lambda: Worker(f"oneDNN {precision}", [f"{folder}/onednn", precision, f"{folder}/mlp.weights", f"{folder}/mlp.rows"])


class Benchmark:
    """`sizes`: batches, by the names of their results. `same`: peers that score the same model, and how far apart scores may be."""

    def __init__(self, group, unit, sizes, mine, peers, same=(), tolerance=0.0, chunks=None):
        self.group, self.unit, self.sizes, self.mine, self.peers = group, unit, sizes, mine, peers
        self.same, self.tolerance, self.chunks = same, tolerance, chunks or {}


def benchmarks(folder):
    mlp = ["--data", f"{folder}/mlp.npy"]
    all_sizes = [1, 4, 16, 64, 256]
    forest = ["--data", f"{folder}/forest.npy"]
    dlrm = ["--data", f"{folder}/dlrm.numbers.npy", "--ids", f"{folder}/dlrm.ids.npy"]
    embedding = ["--rows", "10000" if ARGUMENTS.small else "4000000", "--width", "32", "--lookups", "26"]
    return [
        Benchmark(
            "mlp_fp32", "rows/s", {f"mlp_fp32_b{b}": b for b in all_sizes}, ours("model", f"{folder}/mlp.millrace", *mlp),
            {"ONNX Runtime fp32": python("ONNX Runtime fp32"), "PyTorch fp32": python("PyTorch fp32"), "oneDNN fp32": onednn("fp32")},
            same=["ONNX Runtime fp32", "PyTorch fp32", "oneDNN fp32"], tolerance=1e-4),
        Benchmark(
            "mlp_bf16", "rows/s", {f"mlp_bf16_b{b}": b for b in all_sizes}, ours("model", f"{folder}/mlp.bf16.millrace", *mlp),
            {"PyTorch bf16": python("PyTorch bf16"), "oneDNN bf16": onednn("bf16"), "ONNX Runtime fp32": python("ONNX Runtime fp32")},
            same=["ONNX Runtime fp32"], tolerance=3e-2),
        Benchmark(
            "mlp_int8", "rows/s", {f"mlp_int8_b{b}": b for b in all_sizes}, ours("model", f"{folder}/mlp.int8.millrace", *mlp),
            {"ONNX Runtime int8": python("ONNX Runtime int8"), "PyTorch int8": python("PyTorch int8"), "oneDNN int8": onednn("int8")},
            same=["ONNX Runtime int8"], tolerance=2e-1),
        Benchmark(
            "trees", "rows/s", {"trees_b1": 1, "trees_b16": 16, "trees_b256": 256}, ours("model", f"{folder}/forest.millrace", *forest),
            {"LightGBM": python("LightGBM"), "XGBoost": python("XGBoost"), "ONNX Runtime": python("ONNX Runtime"), "Treelite": python("Treelite")},
            same=["LightGBM", "ONNX Runtime", "Treelite"], tolerance=1e-5, chunks={256: [16, 64, 256]}),
        Benchmark(
            "embedding_fp32", "rows/s", {"embedding_fp32": 512}, ours("embedding", "--element", "float32", *embedding),
            {"PyTorch embedding_bag": python("PyTorch embedding_bag")}),
        Benchmark(
            "embedding_int8", "rows/s", {"embedding_int8": 512}, ours("embedding", "--element", "int8", *embedding),
            {"PyTorch embedding_bag_byte": python("PyTorch embedding_bag_byte"), "PyTorch embedding_bag": python("PyTorch embedding_bag"),
             "Millrace fp32 rows": ours("embedding", "--element", "float32", *embedding)}),
        Benchmark(
            "dlrm_fp32", "rows/s", {"dlrm_fp32_b64": 64}, ours("model", f"{folder}/dlrm.millrace", *dlrm),
            {"PyTorch DLRM": python("PyTorch DLRM")}, same=["PyTorch DLRM"], tolerance=1e-4),
        Benchmark(
            "dlrm_int8", "rows/s", {"dlrm_int8_b64": 64}, ours("model", f"{folder}/dlrm.int8.millrace", *dlrm),
            {"PyTorch DLRM": python("PyTorch DLRM"), "PyTorch DLRM int8": python("PyTorch DLRM int8")}, same=["PyTorch DLRM"], tolerance=3e-2),
        Benchmark("fm", "rows/s", {"fm_k16_40": 64}, ours("fm", "--rows", "10000" if ARGUMENTS.small else "1000000"), {}),
    ]


def prepare(folder, wanted):
    """What is not there yet of the wanted groups: models, their bundles, oneDNN's program."""
    def needs(group):
        return wanted is None or any(group.startswith(name) or name.startswith(group) for name in wanted)

    os.makedirs(folder, exist_ok=True)
    if not all(os.path.exists(f"{folder}/{name}") for name in ("mlp.onnx", "forest.txt", "dlrm.safetensors")):
        subprocess.run([sys.executable, f"{HERE}/models.py", folder] + (["--small"] if ARGUMENTS.small else []), check=True)
    if ARGUMENTS.small:
        open(f"{folder}/small", "w").close()
    import numpy
    import onnx
    from onnx import numpy_helper

    weights = {i.name: numpy_helper.to_array(i) for i in onnx.load(f"{folder}/mlp.onnx").graph.initializer}
    with open(f"{folder}/mlp.weights", "wb") as file:
        for layer in range(3):
            file.write(weights[f"w{layer}"].tobytes() + weights[f"b{layer}"].tobytes())
    numpy.load(f"{folder}/mlp.npy").tofile(f"{folder}/mlp.rows")
    if not os.path.exists(f"{folder}/onednn"):
        subprocess.run(["g++", "-O2", "-std=c++17", "-o", f"{folder}/onednn", f"{HERE}/onednn.cpp", "-ldnnl"], check=True)
    if not needs("mlp") and not needs("trees") and not needs("dlrm"):
        return
    with open(f"{folder}/dlrm.yaml", "w") as file:
        settings = json.load(open(f"{folder}/dlrm.json"))
        file.write(dlrm_specification(settings))

    def millrace(*arguments):
        subprocess.run([ARGUMENTS.millrace, "model", *arguments], check=True, stdout=subprocess.DEVNULL)

    if needs("mlp"):
        millrace("import", f"{folder}/mlp.onnx", "--name", "mlp", "-o", f"{folder}/mlp.millrace")
        millrace("quantize", f"{folder}/mlp.millrace", "--to", "bf16", "-o", f"{folder}/mlp.bf16.millrace")
        millrace("quantize", f"{folder}/mlp.millrace", "--to", "int8", "-o", f"{folder}/mlp.int8.millrace")
    if needs("trees"):
        millrace("import", f"{folder}/forest.txt", "--name", "forest", "-o", f"{folder}/forest.millrace")
    if needs("dlrm"):
        millrace(
            "import", f"{folder}/dlrm.safetensors", "--specification", f"{folder}/dlrm.yaml", "--name", "dlrm", "-o", f"{folder}/dlrm.millrace")
        millrace("quantize", f"{folder}/dlrm.millrace", "--to", "int8", "-o", f"{folder}/dlrm.int8.millrace")


def dlrm_specification(settings):
    lines = ["model: dlrm", "family: dlrm", "loss: logistic", "features:"]
    lines += [f"  n{i}: numeric" for i in range(settings["numbers"])]
    lines += [f"  c{i}: categorical" for i in range(settings["tables"])]
    return "\n".join(lines) + "\n"


def agree(benchmark, size, mine, theirs, peer):
    if peer not in benchmark.same:
        return 0.0
    worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(mine, theirs))
    if worst > benchmark.tolerance:
        raise RuntimeError(f"{size}: our scores and those of {peer} differ by {worst:.2g} (allowed {benchmark.tolerance:g}): {mine[:4]} {theirs[:4]}")
    return worst


def measure(benchmark):
    """One benchmark, all its sizes: results with every peer."""
    workers = {"millrace": benchmark.mine()}
    try:
        for name, start in benchmark.peers.items():
            workers[name] = start()
        results = []
        for size, batch in benchmark.sizes.items():
            taken = {name: {} for name in workers}
            scores = {}
            for _ in range(ARGUMENTS.rounds):
                for name, worker in workers.items():
                    for chunk in (benchmark.chunks.get(batch, [batch]) if name != "millrace" else [batch]):
                        answer = worker.ask(chunk, ARGUMENTS.seconds)
                        taken[name].setdefault(chunk, []).append(answer["ns_per_row"])
                        scores.setdefault(name, answer["scores"])
            mine = taken.pop("millrace")[batch]
            result = {
                "name": size, "unit": benchmark.unit, "ours_ns": statistics.median(mine),
                "ours_spread": max(mine) / min(mine), "peers": {},
                "hash": hashlib.sha256(struct.pack(f"<{len(scores['millrace'])}f", *scores["millrace"])).hexdigest()[:16],
            }
            for name, chunks in taken.items():
                chunk = min(chunks, key=lambda c: statistics.median(chunks[c]))
                result["peers"][name] = {
                    "ns": statistics.median(chunks[chunk]), "spread": max(chunks[chunk]) / min(chunks[chunk]), "chunk": chunk,
                    "difference": agree(benchmark, size, scores["millrace"], scores[name], name),
                }
            results.append(result)
            show(result)
        return results
    finally:
        for worker in workers.values():
            worker.stop()


def show(result):
    ours_ns = result["ours_ns"]
    print(f"{result['name']:<16}{ours_ns:>11.1f} ns  +-{(result['ours_spread'] - 1) * 100:>3.0f} %", end="")
    for name, peer in sorted(result["peers"].items(), key=lambda item: item[1]["ns"]):
        chunk = f" in {peer['chunk']}s" if not result["name"].endswith(f"b{peer['chunk']}") and "trees" in result["name"] else ""
        print(f"   {name}{chunk} {peer['ns']:.1f} ({peer['ns'] / ours_ns:.2f}x)", end="")
    print(f"   {result['hash']}", flush=True)


def summary(results):
    lines = []
    for result in results:
        rate = 1e9 / result["ours_ns"]
        if not result["peers"]:
            lines.append({"name": result["name"], "ours": rate, "peer": None, "peer_name": None, "unit": result["unit"], "ratio": None})
            continue
        for rank, (name, peer) in enumerate(sorted(
                ((n, p) for n, p in result["peers"].items() if not n.startswith("Millrace")), key=lambda item: item[1]["ns"])):
            lines.append({
                "name": result["name"] if rank == 0 else f"{result['name']}/{name}", "ours": rate, "peer": 1e9 / peer["ns"], "peer_name": name,
                "unit": result["unit"], "ratio": peer["ns"] / result["ours_ns"],
            })
    return lines


def plot(lines, path):
    """Ratios as bars, one for each benchmark beside its fastest peer: an SVG, by hand, so that looking needs nothing installed."""
    bars = [line for line in lines if "/" not in line["name"] and line["ratio"]]
    doubling, one, height = 80, 240, 60 + 26 * len(bars)
    most = max([line["ratio"] for line in bars] + [2])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{one + 260 + doubling * math.log2(most):.0f}" height="{height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="16" y="26" font-size="16">How many times as fast as the fastest peer (one thread, one run; a line is a doubling)</text>',
    ]
    for power in range(0, int(math.log2(most)) + 1):
        x = one + doubling * power
        parts.append(f'<line x1="{x}" y1="38" x2="{x}" y2="{height - 12}" stroke="{"#444" if power == 0 else "#ccc"}"/>')
    for index, line in enumerate(bars):
        y = 44 + 26 * index
        end = one + doubling * math.log2(line["ratio"])
        colour = "#2a7f62" if line["ratio"] >= 1 else "#b5523b"
        parts += [
            f'<text x="150" y="{y + 14}" text-anchor="end">{line["name"]}</text>',
            f'<rect x="{min(one, end):.1f}" y="{y}" width="{max(2, abs(end - one)):.1f}" height="18" fill="{colour}"/>',
            f'<text x="{max(one, end) + 8:.1f}" y="{y + 14}">{line["ratio"]:.2f}x {line["peer_name"]}</text>',
        ]
    parts.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n")


def main():
    folder = ARGUMENTS.folder
    open(os.path.join(folder, "worker.log"), "w").close() if os.path.isdir(folder) else None
    wanted = ARGUMENTS.only.split(",") if ARGUMENTS.only else None
    prepare(folder, wanted)
    limits = json.loads(subprocess.run([ARGUMENTS.millrace, "bench", "kernels", "limits", "--json"], check=True, capture_output=True, text=True).stdout)
    print("this machine, one thread: " + ", ".join(f"{name} {value:.4g}" for name, value in limits.items() if isinstance(value, (int, float))))
    print("nanoseconds for each row (lookups: for each lookup), medians; in brackets how many times as fast ours is; then the hash of our scores")
    results, began = [], time.monotonic()
    for benchmark in benchmarks(folder):
        if wanted is None or any(benchmark.group.startswith(name) for name in wanted):
            results += measure(benchmark)
    lines = summary(results)
    place = os.path.dirname(os.path.abspath(folder))
    with open(f"{place}/bench.json", "w") as file:
        json.dump(lines, file, indent=1)
    with open(f"{place}/bench-all.json", "w") as file:
        json.dump({"limits": limits, "rounds": ARGUMENTS.rounds, "seconds": ARGUMENTS.seconds, "results": results}, file, indent=1)
    plot(lines, f"{place}/bench.svg")
    print(f"{time.monotonic() - began:.0f} s; written: {place}/bench.json, bench-all.json, bench.svg")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--millrace", default=".build/release/millrace")
parser.add_argument("--folder", default=".build/bench")
parser.add_argument("--only", help="groups by the beginning of their names: mlp,mlp_int8,trees,embedding,dlrm,fm")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--seconds", type=float, default=0.3, help="of each round")
parser.add_argument("--small", action="store_true", help="small models: to see that it runs")
ARGUMENTS = parser.parse_args()
if __name__ == "__main__":
    main()
