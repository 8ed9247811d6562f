#!/usr/bin/env python3
"""hunch beside other engines on one model file: all of them in turn, so that noise meets each.

    bench/compare.py MODEL.gguf --hunch build/release/hunch --rival llama.cpp=PATH/llama-bench \\
                     --rival "ik=PATH/llama-bench,-rtr 1" --threads 1,2 --prompt 512 --generate 64 --rounds 5

A rival is any program with llama-bench's options -m -p -n -t -r -o json; what follows the first comma goes to it as further
options, and so it does for hunch. In every round each engine runs once, the order turned by one. The table has the
medians, and the median of the rounds' ratios hunch / rival with the least and the greatest. A rival that fails is left out
from then on, and named at the end (exit code 1).
"""
import argparse
import collections
import json
import shlex
import shutil
import statistics
import subprocess
import sys

import compare_builds

Engine = collections.namedtuple("Engine", "name program options")


def engine(text):
    """NAME=PROGRAM[,OPTIONS]"""
    name, equals, command = text.partition("=")
    program, _, options = command.partition(",")
    if not (name and equals and program):
        raise argparse.ArgumentTypeError(f"expected NAME=PROGRAM[,OPTIONS], found {text}")
    return Engine(name, program, shlex.split(options))


def rival_rows(rival, model, prompt, generate, threads):
    """{row: tokens/s}, rows named as hunch names them. RuntimeError says how the rival failed."""
    command = [rival.program, "-m", model, "-p", prompt, "-n", generate, "-t", threads, "-r", "1", "-o", "json", *rival.options]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if run.returncode:
        raise RuntimeError("\n".join([f"exit code {run.returncode}", *run.stderr.strip().splitlines()[-5:]]))
    try:
        tests = json.loads(run.stdout)
        return {f"tg{t['n_gen']}" if t["n_gen"] else f"pp{t['n_prompt']}": t["avg_ts"] for t in tests if not (t["n_gen"] and t["n_prompt"])}
    except (ValueError, KeyError, TypeError) as e:
        raise RuntimeError(f"no JSON of llama-bench ({e!r}): {run.stdout[:200]}") from e


def measure(hunch, rivals, args):
    """({(threads, row): {engine: {round: tokens/s}}}, {rival that failed: why})"""
    speeds, failed = collections.defaultdict(lambda: collections.defaultdict(dict)), {}
    engines = [hunch, *rivals]
    for i in range(args.rounds):
        for threads in args.threads.split(","):
            for e in engines[i % len(engines):] + engines[:i % len(engines)]:
                if e.name in failed:
                    continue
                print(f"round {i + 1} of {args.rounds}, {threads} threads: {e.name}", file=sys.stderr)
                try:
                    if e is hunch:
                        rows = compare_builds.rows(e.program, [args.model, "--prompt", args.prompt, "--generate", args.generate,
                                                               "--repeats", "1", "--threads", threads, *e.options])
                    else:
                        rows = rival_rows(e, args.model, args.prompt, args.generate, threads)
                except RuntimeError as error:
                    failed[e.name], rows = str(error), {}
                for row, speed in rows.items():
                    speeds[int(threads), row][e.name][i] = speed
    return speeds, failed


def summary(speeds):
    """A row for each of hunch's cells: every engine's median, every rival's ratio over the rounds that both have."""
    rows = []
    for (threads, name), cell in sorted(speeds.items(), key=lambda item: item[0][0]):
        if "hunch" not in cell:
            continue
        ratios = {}
        for rival in cell:
            each = [cell["hunch"][i] / speed for i, speed in cell[rival].items() if i in cell["hunch"]]
            if rival != "hunch" and each:
                ratios[rival] = {"median": statistics.median(each), "min": min(each), "max": max(each), "rounds": len(each)}
        rows.append({"threads": threads, "name": name, "ratios": ratios,
                     "tokens_per_s": {e: statistics.median(rounds.values()) for e, rounds in cell.items()}})
    return rows


def table(rows, rivals):
    """Lines of text; a cell that an engine has not measured is a dash."""
    lines = [["threads", "row", "hunch"] + [head for r in rivals for head in (r, f"hunch/{r}")]]
    for row in rows:
        line = [str(row["threads"]), row["name"], f"{row['tokens_per_s']['hunch']:.2f}"]
        for rival in rivals:
            ratio = row["ratios"].get(rival)
            line += [f"{row['tokens_per_s'][rival]:.2f}", f"{ratio['median']:.3f} ({ratio['min']:.2f} to {ratio['max']:.2f})"] if ratio else ["-", "-"]
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines]


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), "unknown processor")
    except OSError:
        return "unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file that all of them can read")
    parser.add_argument("--hunch", default="build/release/hunch", metavar="PROGRAM[,OPTIONS]", help="default: %(default)s")
    parser.add_argument("--rival", action="append", required=True, type=engine, metavar="NAME=PROGRAM[,OPTIONS]", help="may be repeated")
    parser.add_argument("--threads", default="1", help="comma-separated (default: %(default)s)")
    parser.add_argument("--prompt", default="512", help="tokens of the rows pp, comma-separated (default: %(default)s)")
    parser.add_argument("--generate", default="64", help="tokens of the rows tg, comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", default=5, type=int, help="how often each engine runs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    args = parser.parse_args()
    hunch, rivals = engine(f"hunch={args.hunch}"), [r.name for r in args.rival]
    if len({"hunch", *rivals}) != len(rivals) + 1:
        parser.error("every engine needs a name of its own")
    for e in [hunch, *args.rival]:
        if not shutil.which(e.program):
            parser.error(f"{e.name}: {e.program} is missing, or no program")
    version = subprocess.run([hunch.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    speeds, failed = measure(hunch, args.rival, args)
    rows = summary(speeds)
    if args.json:
        print(json.dumps({"cpu": processor(), "hunch": version, "model": args.model, "rounds": args.rounds, "rows": rows, "failed": failed}))
    else:
        print(f"{processor()}; {version}; {args.model}; tokens/s: medians of {args.rounds}; ratio: median (least to greatest)")
        print("\n".join(table(rows, rivals)))
    for name, why in failed.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
