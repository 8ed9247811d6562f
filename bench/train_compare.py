#!/usr/bin/env python3
"""Training speed of hunch beside PyTorch on this machine: the same OPT, the same windows, AdamW, all weights.

Both with products in bfloat16 (hunch: --precision bf16; PyTorch: autocast, as tools/train_demo.py trained the demo model) and in float32.
Runs alternate, medians are printed. Needs Debian's python3-torch (apt-get install python3-torch); nothing else running.

  bench/train_compare.py build/release/hunch --text ../shared/corpus/val.txt --threads 2 --rounds 3
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))


def hunch_run(a, folder, precision):
    """(tokens/s, losses) of `hunch train --method full`."""
    out = subprocess.run([a.hunch, "train", str(a.model), "--text", str(a.text), "--method", "full", "--steps", str(a.steps), "--batch", str(a.batch),
                          "--ctx", str(a.ctx), "--eval", str(a.held_out), "--eval-every", "0", "--checkpoint-every", "0", "--threads", str(a.threads),
                          "--learning-rate", str(a.rate), "--optimizer", "adamw", "--precision", precision, "--json", "--quiet", "--force", "-o", str(folder / "x.gguf")],
                         check=True, capture_output=True, text=True)
    report = json.loads(out.stdout)
    return report["tokens_per_s"], [p["loss"] for p in report["curve"]]


def torch_run(a, ids, shape, dtype):
    """(tokens/s, losses) of the same number of steps in PyTorch, from random weights: speed does not depend on them."""
    import torch
    from demo.model import OPT, Config

    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = OPT(Config(**shape))
    adam = torch.optim.AdamW(model.parameters(), lr=a.rate, betas=(0.9, 0.95))
    losses, seconds = [], 0.0
    for step in range(a.steps + 1):  # the first is not timed
        began = time.time()
        at = torch.randint(0, len(ids) - a.ctx - 1, (a.batch,)).tolist()
        x = torch.stack([ids[i : i + a.ctx] for i in at])
        y = torch.stack([ids[i + 1 : i + 1 + a.ctx] for i in at])
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model.loss(x, y, dtype)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        if step > 0:
            seconds += time.time() - began
        losses.append(loss.item())
    return a.steps * a.batch * a.ctx / seconds, losses


def main():
    """Parses the command line, alternates, prints a table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hunch", help="the program")
    p.add_argument("--model", type=Path, default=ROOT / "models/demo/hunch-demo.gguf", help="an OPT: its weights are trained by hunch")
    p.add_argument("--shape", default="8192,384,6,12,1536,512", help="of the same: vocabulary, width, layers, heads, neurons, context")
    p.add_argument("--text", type=Path, required=True)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=8, help="windows of a step")
    p.add_argument("--ctx", type=int, default=256, help="tokens of a window")
    p.add_argument("--steps", type=int, default=8)
    p.add_argument("--rate", type=float, default=2e-4)
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    try:
        import torch
    except ImportError:
        raise SystemExit("PyTorch is missing: apt-get install python3-torch")
    shape = dict(zip(("vocab", "n_embd", "n_layer", "n_head", "n_ffn", "n_ctx"), map(int, a.shape.split(","))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        a.held_out = folder / "held.txt"
        a.held_out.write_text(a.text.read_text(encoding="utf-8")[: a.ctx * 8], encoding="utf-8")
        words = subprocess.run([a.hunch, "tokenize", str(a.model), "--json"], input=a.text.read_text(encoding="utf-8")[:400000], check=True,
                               capture_output=True, text=True).stdout
        found = json.loads(words)
        ids = torch.tensor(found["ids"] if isinstance(found, dict) else found)
        runs = {"hunch, bf16": lambda: hunch_run(a, folder, "bf16"), "hunch, f32": lambda: hunch_run(a, folder, "f32"), "PyTorch, bfloat16": lambda: torch_run(a, ids, shape, torch.bfloat16),
                "PyTorch, float32": lambda: torch_run(a, ids, shape, torch.float32)}
        speeds = {what: [] for what in runs}
        for _ in range(a.rounds):
            for what, run in runs.items():
                speeds[what].append(run()[0])
    ours = statistics.median(speeds["hunch, bf16"])
    print(f"| {a.batch} windows of {a.ctx} tokens, {a.threads} threads | tokens/s | time, hunch in bf16 = 1 |\n|---|---|---|")
    for what, got in speeds.items():
        print(f"| {what} | {statistics.median(got):.0f} ({min(got):.0f} to {max(got):.0f}) | {ours / statistics.median(got):.2f} |")


if __name__ == "__main__":
    main()
