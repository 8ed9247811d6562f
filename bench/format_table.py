#!/usr/bin/env python3
"""A Markdown row for every format that hunch computes with: products of one matrix with one token and with 512, GB/s.

  bench/format_table.py [--shape 5632x2048] [--formats q4_k iq4_xs] [--threads 1 2]

Runs build/release/bench_kernels (--bench) once for each format and number of threads: rows as files have them, strips of
sixteen rows, plain reading measured in the same process ("of reading": the better layout against it), and the
product with 512 tokens in GFLOP/s. On a shared machine compare within a row only.
"""
import argparse
import json
import os
import subprocess

FORMATS = "f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 iq4_nl mxfp4 q2_k q3_k q4_k q5_k q6_k iq4_xs nf4 fp4 fp8 i8_64 i8_16".split()


def measure(bench, name, shape, threads, seconds):
    """{benchmark name without the format: counters} of one format."""
    command = [bench, f"--benchmark_filter=^(matmul|strips)/{name}/{shape}/tokens:(1|512)/", "--benchmark_format=json", f"--benchmark_min_time={seconds}"]
    done = subprocess.run(command, env=dict(os.environ, HUNCH_THREADS=str(threads)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return {(b["name"].split("/")[0], int(b["name"].split("tokens:")[1].split("/")[0])): b for b in json.loads(done.stdout)["benchmarks"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/release/bench_kernels")
    parser.add_argument("--shape", default="5632x2048")
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.5, help="of each benchmark")
    args = parser.parse_args()
    print("| format | threads | rows, GB/s | strips, GB/s | reading, GB/s | of reading | 512 tokens, GFLOP/s |\n|---|---|---|---|---|---|---|", flush=True)
    for name in args.formats:
        for threads in args.threads:
            runs = measure(args.bench, name, args.shape, threads, args.seconds)
            rows, strips = runs[("matmul", 1)], runs.get(("strips", 1))
            best = max((r for r in (rows, strips) if r), key=lambda r: r["of_read"])
            prompt = max(r["GFLOP/s"] for (_, n), r in runs.items() if n == 512)
            print(f"| {name.upper()} | {threads} | {rows['GB/s']:.1f} | {'%.1f' % strips['GB/s'] if strips else '-'} | {best['GB/s'] / best['of_read']:.1f} | {100 * best['of_read']:.0f} % | {prompt:.0f} |", flush=True)


if __name__ == "__main__":
    main()
