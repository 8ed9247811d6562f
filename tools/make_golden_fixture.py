#!/usr/bin/env python3
"""Tiny checkpoints of every architecture with golden outputs, for tests/data/golden (Debian: python3-numpy).

    make_golden_fixture.py --check FOLDER...    run the reference over golden models of Hugging Face's own code
    make_golden_fixture.py --out tests/data/golden [NAME...]

The outputs come from tools/golden: the models' published definitions in numpy, float64, by Hugging Face's names. It
shares no code with the engine, and is itself held to the outputs of Hugging Face's code by --check.
"""
import argparse
import json
import pathlib
import sys

import numpy as np

from golden import bitnet, gpt_family, late_gemma, llama_family, mixtures, recurrent, safetensors, transfo_xl
from golden.ops import Weights

TOLERANCE = 1e-4
# Of models whose goldens' README says another; BitNet's rounding is a step, beside which a value may go either way.
TOLERANCES = {"bitnet": 5e-2, "gemma3n_text": 2e-4, "gemma4": 2e-4}
FORWARD = {**recurrent.FORWARD, **late_gemma.FORWARD, **bitnet.FORWARD, **transfo_xl.FORWARD}
llama_family.BLOCKS.update(mixtures.BLOCKS)
# Buffers and copies that some checkpoints hold beside their weights.
HARMLESS = ("lm_head.weight", "masked_bias", "attn.bias", "attention.bias", "inv_freq", "wpe.weight")


def logits(config, tensors, ids, used=None):
    kind = config["model_type"]
    forward = FORWARD.get(kind) or (llama_family.forward if kind in llama_family.BLOCKS else getattr(gpt_family, kind))
    return forward(config, Weights(tensors, used=used), np.array(ids))


def greedy(config, tensors, ids, n):
    """The continuation, and the smallest lead of a chosen token over the second."""
    ids, n_prompt, margin = list(ids), len(ids), np.inf
    for _ in range(n):
        last = logits(config, tensors, ids)[-1]
        second, first = np.sort(last)[-2:]
        margin = min(margin, first - second)
        ids.append(int(np.argmax(last)))
    return ids[n_prompt:], margin


def check_folder(folder):
    """Largest logit difference from the folder's goldens; what else differs, in words."""
    config, tensors = json.loads((folder / "config.json").read_text()), safetensors.read(folder)
    golden = folder / "golden" if (folder / "golden").exists() else folder.parent / "llama" / "golden"
    data, notes = json.loads((golden / "golden.json").read_text()), []
    raw, worst, used = np.fromfile(golden / "golden.f32", "<f4"), 0.0, set()
    for s, sequence in enumerate(data["sequences"]):
        entry = data["arrays"][f"s{s}.logits"]
        want = raw[entry["offset"]:entry["offset"] + entry["count"]].reshape(entry["shape"])
        got = logits(config, tensors, sequence["ids"], used)
        worst = max(worst, float(np.abs(got - want).max()))
        for name, change in bitnet.VARIANTS.items():
            if (entry := data["arrays"].get(f"s{s}.{name}")):
                want = raw[entry["offset"]:entry["offset"] + entry["count"]].reshape(entry["shape"])
                off = np.abs(logits({**config, **change}, tensors, sequence["ids"]) - want).max()
                if not off <= TOLERANCE:
                    notes.append(f"s{s}.{name} are {off:.1e} off")
        expected = sequence.get("greedy_nocache", sequence.get("greedy", []))
        # Hugging Face's dynamic NTK keeps the frequencies of the longest text it has seen, here those of a run before.
        if (config.get("rope_scaling") or {}).get("rope_type") == "dynamic" and len(sequence["ids"]) > 32:
            continue
        if greedy(config, tensors, sequence["ids"], len(expected))[0] != expected:
            notes.append(f"greedy of prompt {s} differs")
    # Nor does every text choose every expert, or guess beyond the next token.
    beyond = f"layers.{config.get('num_hidden_layers')}."
    unused = [n for n in tensors if n not in used and not n.endswith(HARMLESS) and ".experts." not in n and beyond not in n
              and not n.startswith("mtp.") and not late_gemma.is_unread(config, n)]
    return worst, notes + ([f"unused: {unused[:3]}"] if unused else [])


def check(roots):
    failures = total = 0
    for folder in sorted(f for root in roots for f in ([root] if (root / "config.json").exists() else root.iterdir())):
        if not (folder / "config.json").exists():
            continue
        worst, notes = check_folder(folder)
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        bad = not worst <= TOLERANCES.get(kind, TOLERANCE) or bool(notes)
        print(f"{folder.name:24} {worst:.2e}  {'; '.join(notes)}{'  FAILED' if bad else ''}")
        failures, total = failures + bad, total + 1
    print(f"{total - failures} of {total} within tolerance")
    return failures == 0 and total > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="FOLDER", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("names", metavar="NAME", nargs="*", help="with --out: only these fixtures")
    options = parser.parse_args()
    if bool(options.check) == bool(options.out):
        parser.error("expected --check or --out")
    if options.check:
        sys.exit(0 if check(options.check) else 1)
    from golden import fixtures
    fixtures.write_all(options.out, options.names, logits, greedy)


if __name__ == "__main__":
    main()
