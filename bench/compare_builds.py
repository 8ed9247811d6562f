#!/usr/bin/env python3
"""Two builds of hunch side by side: `hunch bench` of each in turn, so that noise meets both.

compare_builds.py OLD NEW N -- BENCH ARGUMENTS...

Runs `OLD bench ARGUMENTS --json` and `NEW bench ARGUMENTS --json` alternately, N times each, and prints for each row
the medians and the median of the N ratios new / old with their quartiles.
"""
import collections
import json
import statistics
import subprocess
import sys


def rows(binary, arguments):
    run = subprocess.run([binary, "bench", *arguments, "--json", "--quiet"], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{binary}: {run.stderr.strip()}")
    return {row["name"]: row["tokens_per_s_median"] for row in json.loads(run.stdout)["rows"]}


def main():
    if len(sys.argv) < 6 or sys.argv[4] != "--":
        sys.exit(__doc__)
    binaries, n, arguments = sys.argv[1:3], int(sys.argv[3]), sys.argv[5:]
    speeds = [collections.defaultdict(list), collections.defaultdict(list)]
    for i in range(n):
        for build in (0, 1) if i % 2 == 0 else (1, 0):
            for name, speed in rows(binaries[build], arguments).items():
                speeds[build][name].append(speed)
    for name, old in speeds[0].items():
        new = speeds[1][name]
        ratios = sorted(b / a for a, b in zip(old, new))
        print(f"{name:24} old {statistics.median(old):9.2f}  new {statistics.median(new):9.2f} tokens/s  "
              f"ratio {statistics.median(ratios):.3f} ({ratios[len(ratios) // 4]:.2f} to {ratios[3 * len(ratios) // 4]:.2f})")


if __name__ == "__main__":
    main()
