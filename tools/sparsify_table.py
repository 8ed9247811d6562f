#!/usr/bin/env python3
"""Runs `hunch sparsify` at several budgets and prints the table of docs/sparsify.md.

    tools/sparsify_table.py build/release/hunch models/demo/hunch-demo.gguf --text ../shared/corpus/val.txt
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("hunch", help="the binary")
    parser.add_argument("model")
    parser.add_argument("--text", required=True, help="text to fit to; its end is kept for the check")
    parser.add_argument("--budgets", default="0.2%,0.5%,1%,2%,5%,10%", help="comma-separated increases of perplexity")
    parser.epilog = "Other options go to hunch sparsify."
    args, rest = parser.parse_known_args()
    print("| budget | perplexity dense → sparse | change | KL, nats | same top token | MLP density | recall | MB per token dense / exact / sparse |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for budget in args.budgets.split(","):
            command = [args.hunch, "sparsify", args.model, "--text", args.text, "--max-ppl-increase", budget,
                       "-o", os.path.join(folder, "sidecar.hunch"), "--force", "--json", *rest]
            run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            answer = json.loads(run.stdout)
            if "error" in answer:
                sys.exit(answer["error"]["message"])
            dense, exact, sparse = (answer["modes"][m] for m in ("dense", "exact", "sparse"))
            layers = answer["layers"]
            recall = sum(l["recall"] for l in layers) / len(layers)
            density = sum(l["density"] for l in layers) / len(layers)
            change = sparse["perplexity"] / dense["perplexity"] - 1
            megabytes = " / ".join(f"{m['bytes_per_token'] / 1e6:.2f}" for m in (dense, exact, sparse))
            print(f"| {budget}{'' if answer['met'] else ' (not met)'} | {dense['perplexity']:.2f} → {sparse['perplexity']:.2f} | "
                  f"{change:+.2%} | {sparse['kl']:.4f} | {sparse['top1']:.1%} | {density:.1%} | {recall:.1%} | {megabytes} |", flush=True)


if __name__ == "__main__":
    main()
