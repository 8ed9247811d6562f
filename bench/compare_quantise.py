#!/usr/bin/env python3
"""Quantising the same file by hunch and by llama.cpp's llama-quantize, in turn; prints a Markdown row for each type.

  bench/compare_quantise.py F16.gguf --rival PATH/llama-quantize --types q4_k_m q6_k --threads 2 --rounds 3

Seconds of processor time (user and system, of all threads) and of the clock, medians of the rounds.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time


def run(command, env=None):
    """(processor seconds, wall seconds) of one command."""
    before, start = os.times(), time.monotonic()
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    after, wall = os.times(), time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n" + done.stdout.decode(errors="replace")[-2000:])
    return (after.children_user - before.children_user + after.children_system - before.children_system, wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rival", required=True, help="llama-quantize; its libraries lie beside it")
    parser.add_argument("--hunch", default="build/release/hunch")
    parser.add_argument("--types", nargs="+", default=["q4_k_m"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", help="folder for the files that are written and deleted")
    args = parser.parse_args()

    rival = pathlib.Path(args.rival).resolve()
    env = dict(os.environ, LD_LIBRARY_PATH=str(rival.parent))
    print("| type | hunch, CPU s | llama.cpp, CPU s | ratio | hunch, wall s | llama.cpp, wall s |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        out = str(pathlib.Path(folder) / "out.gguf")
        for name in args.types:
            own, other = [], []
            for _ in range(args.rounds):
                own.append(run([args.hunch, "quantize", args.model, "-o", out, "--type", name, "--threads", str(args.threads), "--quiet"]))
                os.remove(out)
                other.append(run([str(rival), args.model, out, name.upper(), str(args.threads)], env))
                os.remove(out)
            a, b = ([statistics.median(t[i] for t in times) for i in range(2)] for times in (own, other))
            ratio = statistics.median(o[0] / r[0] for o, r in zip(own, other))
            print(f"| {name} | {a[0]:.1f} | {b[0]:.1f} | {ratio:.2f} | {a[1]:.1f} | {b[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
