#!/usr/bin/env python3
"""FTRL in memory, ours and Vowpal Wabbit in turn, on one core and the same hashed inputs.

    make build peers && .build/peers/bin/python loadtest/peers/ftrl_vw.py

20 categorical features over 2^22 ids. VW reads its own binary cache (its fastest input), made before any clock runs. Both print their
progressive log loss: a speed counts only at a loss no worse. Medians of several rounds, and each side's own spread.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

CHILD = """
import sys, time, vowpalwabbit
start = time.perf_counter()
vw = vowpalwabbit.Workspace(sys.argv[1])
seconds = time.perf_counter() - start
print(seconds, vw.get_sum_loss() / vw.get_weighted_examples(), vw.get_weighted_examples())
"""


def run(command, core):
    return subprocess.run(["taskset", "-c", str(core)] + command, check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millrace", default=".build/release/millrace")
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        text = os.path.join(directory, "examples.txt")
        cache = os.path.join(directory, "examples.cache")
        size = ["--examples", str(options.examples)]
        subprocess.run([options.millrace, "bench", "ftrl", *size, "--write-text", text], check=True)
        learner = "--ftrl --ftrl_alpha 0.1 --ftrl_beta 1 --loss_function logistic --link logistic -b 22 --quiet --holdout_off"
        vw = [sys.executable, "-c", CHILD, f"{learner} -d {text} --cache_file {cache}"]
        run(vw, options.core)  # writes the cache
        assert os.path.getsize(cache) > options.examples, "no cache was written"

        # Starting VW (allocating weights) is not learning: what one example takes is taken off, in VW's favour.
        one = os.path.join(directory, "one.txt")
        with open(text) as source, open(one, "w") as file:
            file.write(source.readline())
        starting = [sys.executable, "-c", CHILD, f"{learner} -d {one}"]
        start = statistics.median(float(run(starting, options.core).split()[0]) for _ in range(3))

        ours, theirs = [], []
        for number in range(1, options.rounds + 1):
            out = os.path.join(directory, "ours.json")
            run([options.millrace, "bench", "ftrl", *size, "--rounds", "1", "--json", out], options.core)
            with open(out) as file:
                result = json.load(file)
            ours.append((result["examples_per_second"], result["log_loss"]))
            seconds, loss, count = map(float, run(vw, options.core).split())
            assert count == options.examples, f"VW saw {count} examples"
            theirs.append((count / (seconds - start), loss))
            print(f"round {number}: ours {ours[-1][0]:,.0f}/s at {ours[-1][1]:.5f}; VW {theirs[-1][0]:,.0f}/s at {theirs[-1][1]:.5f}")

    a, b = [x[0] for x in ours], [x[0] for x in theirs]
    ratio = statistics.median(a) / statistics.median(b)
    print(f"median: ours {statistics.median(a):,.0f}/s ({min(a):,.0f} to {max(a):,.0f}), VW {statistics.median(b):,.0f}/s ({min(b):,.0f} to {max(b):,.0f})")
    print(f"ratio {ratio:.2f}, log loss ours {ours[-1][1]:.5f}, VW {theirs[-1][1]:.5f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"ratio": ratio, "ours": statistics.median(a), "vw": statistics.median(b), "loss_ours": ours[-1][1], "loss_vw": theirs[-1][1]}, file)


if __name__ == "__main__":
    main()
