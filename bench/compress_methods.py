#!/usr/bin/env python3
"""The table of docs/compression.md: every method of `hunch compress` on one model, and what each costs on held-out text.

    bench/compress_methods.py build/release/hunch [--model M] [--text FILE] [--eval FILE] [--tokens N] [--only WORD] [--keep DIR]
                              [--group N] [--matrices q,k,v,o,gate,up]

Each row is one run of `hunch compress MODEL --method ... --text TEXT`; then `hunch eval MODEL --text EVAL --compare dense,...`
puts all that was written beside each other. What it prints is a Markdown table, and whether the published orderings came out.
Files go to a temporary folder and away again, or to --keep, where those that are there are not made again. A model whose rows
--group 128 does not divide wants another one, and where none divides some of its matrices, --matrices for the others: rows that
hunch refuses are left out, with its reason on stderr.
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
UP_DOWN = "up,down"  # with "gate," before it where a model has gates
ROUNDERS, PRUNERS = ("rtn", "gptq", "awq"), ("magnitude", "wanda", "sparsegpt")
ROWS = (
    [("4 bits, groups of 128", m, ["--bits", "4"]) for m in ROUNDERS]
    + [("3 bits, groups of 128", m, ["--bits", "3"]) for m in ROUNDERS]
    + [("3 bits, groups of 128, act-order", "gptq", ["--bits", "3", "--act-order"])]
    + [(t, m, ["--type", t]) for t in ("q4_0", "q3_k") for m in ROUNDERS]
    + [(f"{bits} bits in the mean", m, ["--bits", bits]) for bits in ("4.15", "4.5", "5.0") for m in ("rtn", "gptq")]
    + [("q4_0, rank 16 beside", "loftq", ["--rank", "16"])]
    + [("NF4", "nf4", [])]
    + [("8 bits, activations too", m, []) for m in INT8]
    + [(f"8 bits, one scale for all, {r}", "w8a8", ["--scales", "matrix", "--activations", "static", "--range", r]) for r in RANGES]
    + [("50 % zeros", m, ["--sparsity", "50%"]) for m in PRUNERS]
    + [(f"50 % zeros, {scope}", "magnitude", ["--sparsity", "50%", "--scope", scope]) for scope in ("row", "global")]
    + [("2:4", m, ["--nm", "2:4"]) for m in PRUNERS]
    + [("50 % zeros, 4 bits", m, ["--sparsity", "50%", "--bits", "4"]) for m in ("wanda,rtn", "wanda,gptq", "sparsegpt,gptq")]
    + [("half of the parameters", m, ["--rank", "0.5"]) for m in LOW_RANK]
    + [("20 % of heads and neurons", "structured", ["--sparsity", "20%"]),
       ("20 %, no biases", "structured", ["--sparsity", "20%", "--no-bias"]),
       ("20 % of each layer", "structured", ["--sparsity", "20%", "--scope", "layer"]),
       ("20 % of neurons", "structured", ["--sparsity", "20%", "--only", UP_DOWN]),
       ("a layer", "structured", ["--layers", "1"])]
    + [("iq4_nl", "rtn", ["--type", "iq4_nl"])] + [("q4_1", m, ["--type", "q4_1"]) for m in ("rtn", "gptq")]
)


class Refused(SystemExit):  # of the comparison at the end: hunch has said why
    pass


def answer_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode == 2:  # a usage that hunch explains
        raise Refused(2)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return json.loads(done.stdout)


def compress(binary, arguments, flags, method, out):
    """The report of the run that wrote `out`, which lies beside it."""
    report = out[: -len("gguf")] + "json"
    if not (os.path.exists(out) and os.path.exists(report)):
        answer = answer_of([binary, "compress", arguments.model, "--text", arguments.text, "--tokens", str(arguments.tokens),
                            "--method", method, *flags, "-o", out, "--force", "--json", "--quiet"])
        with open(report, "w", encoding="utf-8") as f:
            json.dump(answer, f)
    with open(report, encoding="utf-8") as f:
        return json.load(f)


def bits_and_error(answer):
    """Of the matrices that were changed; structured pruning keeps their types, and has no error of each."""
    if "roles" not in answer:
        return None, None
    roles = answer["roles"].values()
    # Of low rank the weights are counted by the bytes that they had in F16.
    bits = 8 * sum(r["bytes"] for r in roles) / sum(r.get("n_weights", r["bytes_before"] / 2) for r in roles)
    return bits, sum(r["error"] for r in roles) / len(roles)


def table(rows, modes):
    def cell(value, form):
        return "-" if value is None else form.format(value)
    lines = ["| weights | method | perplexity | against | KL | agree | output error | bits each | file, MB |",
             "|---|---|---|---|---|---|---|---|---|"]
    for what, method, answer, path in rows:
        m, (bits, error) = modes[path], bits_and_error(answer)
        lines.append(f"| {what} | {method} | {m['perplexity']:.2f} | {100 * m['perplexity_change']:+.1f} % "
                     f"+- {100 * m['perplexity_change_stderr']:.1f} | {m['kl']:.4f} | {100 * m['top1']:.1f} % "
                     f"| {cell(error and 100 * error, '{:.1f} %')} | {cell(bits, '{:.2f}')} | {m['file_bytes'] / 1e6:.1f} |")
    return lines


def orderings(found, group):
    four, three = (f"{bits} bits, groups of {group}" for bits in (4, 3))
    for what, order in ((four, ("gptq", "rtn")), (four, ("awq", "rtn")), (three, ("gptq", "rtn")), (three, ("awq", "rtn")),
                        ("q4_0", ("gptq", "rtn")), ("q4_0", ("awq", "rtn")),
                        ("4.5 bits in the mean", ("gptq", "rtn")),
                        ("50 % zeros", ("sparsegpt", "wanda")), ("50 % zeros", ("wanda", "magnitude")),
                        ("2:4", ("sparsegpt", "wanda")), ("2:4", ("wanda", "magnitude")),
                        ("8 bits, activations too", ("smoothquant", "w8a8")), ("8 bits, activations too", ("llm-int8", "w8a8")),
                        ("half of the parameters", ("svd-llm", "asvd")), ("half of the parameters", ("asvd", "svd"))):
        better, worse = (found.get((what, m)) for m in order)
        if better and worse:
            print(f"{what}: {order[0]} < {order[1]}: {'yes' if better < worse else 'NO'} ({better:.3f}, {worse:.3f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--model", default=os.path.join(DEMO, "hunch-demo.gguf"))
    parser.add_argument("--text", default=os.path.join(DEMO, "book.txt"))
    parser.add_argument("--eval", default=os.path.join(DEMO, "eval.txt"))
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--only", default="", help="rows whose first cell or method holds this")
    parser.add_argument("--group", type=int, default=128, help="weights that share a scale, where --bits says how many bits")
    parser.add_argument("--matrices", default="", help="that are rounded in groups; all")
    parser.add_argument("--keep", default="", help="folder for the files that are written")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = arguments.keep or folder
        os.makedirs(folder, exist_ok=True)
        for n, (what, method, flags) in enumerate(ROWS):
            if arguments.only not in what and arguments.only not in method:
                continue
            if "--bits" in flags and "." not in flags[flags.index("--bits") + 1]:
                flags = [*flags, "--group", str(arguments.group)]
                flags += ["--only", arguments.matrices] if arguments.matrices and method != "awq" else []
                what = what.replace("groups of 128", f"groups of {arguments.group}")
            path = os.path.join(folder, f"{n:02}-{method.replace(',', '-')}.gguf")
            print(f"{what}: {method}", file=sys.stderr, flush=True)
            try:
                rows.append((what, method, compress(arguments.binary, arguments, flags, method, path), path))
            except Refused:
                pass
        answer = answer_of([arguments.binary, "eval", arguments.model, "--text", arguments.eval, "--json", "--quiet", "--compare",
                            ",".join(["dense", *(path for *_, path in rows)])])
    modes = answer["modes"]
    dense = modes["dense"]
    print("\n".join(table(rows, modes)))
    print(f"\noriginal: {dense['perplexity']:.4f} +- {dense['perplexity_stderr']:.2f}, {dense['file_bytes'] / 1e6:.1f} MB, "
          f"{answer['n_tokens']} tokens, {answer['protocol']}")
    orderings({(what, method): modes[path]["perplexity"] for what, method, _, path in rows}, arguments.group)


if __name__ == "__main__":
    main()
