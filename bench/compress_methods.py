#!/usr/bin/env python3
"""The table of docs/compression.md: every method of `hunch compress` on one model, perplexity on held-out text.

    bench/compress_methods.py build/release/hunch [--model M] [--text FILE] [--eval FILE] [--tokens N] [--only WORD]

Each row is one run of `hunch compress MODEL --method ... --text TEXT --eval EVAL`; what it prints is a Markdown table, row
by row, and at the end whether the published orderings came out. Files go to a temporary folder and away again.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "models", "demo")

INT8, RANGES = ("w8a8", "smoothquant", "zeroquant", "llm-int8"), ("max", "percentile", "mse", "kl")
LOW_RANK = ("svd", "asvd", "svd-llm")
ROUNDERS, PRUNERS = ("rtn", "gptq", "awq"), ("magnitude", "wanda", "sparsegpt")
ROWS = (
    [("4 bits, groups of 128", m, ["--bits", "4"]) for m in ROUNDERS]
    + [("3 bits, groups of 128", m, ["--bits", "3"]) for m in ROUNDERS]
    + [("50 % zeros", m, ["--sparsity", "50%"]) for m in PRUNERS]
    + [("2:4", m, ["--nm", "2:4"]) for m in PRUNERS]
    + [("50 % zeros, 4 bits", m, ["--sparsity", "50%", "--bits", "4"]) for m in ("wanda,rtn", "wanda,gptq", "sparsegpt,gptq")]
    + [("3 bits, groups of 128, act-order", "gptq", ["--bits", "3", "--act-order"])]
    + [(t, m, ["--type", t]) for t in ("q4_0", "q3_k") for m in ROUNDERS]
    + [("NF4", "nf4", [])]
    + [("8 bits, activations too", m, []) for m in INT8]
    + [(f"8 bits, one scale for all, {r}", "w8a8", ["--scales", "matrix", "--activations", "static", "--range", r]) for r in RANGES]
    + [("half of the parameters", m, ["--rank", "0.5"]) for m in LOW_RANK]
)


def answer_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return json.loads(done.stdout)


def run(binary, arguments, flags, method, out):
    measures = [] if method in LOW_RANK else ["--eval", arguments.eval]
    answer = answer_of([binary, "compress", arguments.model, "--text", arguments.text, *measures, "--tokens", str(arguments.tokens),
                        "--method", method, *flags, "-o", out, "--force", "--json", "--quiet"])
    if not measures:
        for key, model in (("perplexity_before", arguments.model), ("perplexity", out)):
            answer[key] = answer_of([binary, "eval", model, "--text", arguments.eval, "--json", "--quiet"])["perplexity"]
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--model", default=os.path.join(DEMO, "hunch-demo.gguf"))
    parser.add_argument("--text", default=os.path.join(DEMO, "book.txt"))
    parser.add_argument("--eval", default=os.path.join(DEMO, "eval.txt"))
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--only", default="", help="rows whose first cell or method holds this")
    arguments = parser.parse_args()
    found = {}
    print("| weights | method | perplexity | against | output error | bits each |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, method, flags in ROWS:
            if arguments.only not in what and arguments.only not in method:
                continue
            answer = run(arguments.binary, arguments, flags, method, os.path.join(folder, "out.gguf"))
            roles = answer["roles"].values()
            # Of low rank the weights are counted by the bytes that they had in F16.
            bits = 8 * sum(r["bytes"] for r in roles) / sum(r.get("n_weights", r["bytes_before"] / 2) for r in roles)
            error = sum(r["error"] for r in roles) / len(roles)
            ppl, before = answer["perplexity"], answer["perplexity_before"]
            found[what, method] = ppl
            print(f"| {what} | {method} | {ppl:.2f} | {100 * (ppl / before - 1):+.1f} % | {100 * error:.1f} % | {bits:.2f} |", flush=True)
    print(f"\noriginal: {before:.4f}")
    for what, order in (("4 bits, groups of 128", ("gptq", "rtn")), ("4 bits, groups of 128", ("awq", "rtn")),
                        ("3 bits, groups of 128", ("gptq", "rtn")), ("3 bits, groups of 128", ("awq", "rtn")),
                        ("50 % zeros", ("sparsegpt", "wanda")), ("50 % zeros", ("wanda", "magnitude")),
                        ("2:4", ("sparsegpt", "wanda")), ("2:4", ("wanda", "magnitude")),
                        ("8 bits, activations too", ("smoothquant", "w8a8")), ("8 bits, activations too", ("llm-int8", "w8a8")),
                        ("half of the parameters", ("svd-llm", "asvd")), ("half of the parameters", ("asvd", "svd"))):
        better, worse = (found.get((what, m)) for m in order)
        if better and worse:
            print(f"{what}: {order[0]} < {order[1]}: {'yes' if better < worse else 'NO'} ({better:.3f}, {worse:.3f})")


if __name__ == "__main__":
    main()
