"""Perplexity, the sparsity of the MLP, and sample text.

Protocol. The test stream (documents joined, each begun by `</s>`) is cut into consecutive windows of n_ctx
tokens that do not overlap (the last, shorter one is left out). The model's input is `</s>` + the first n_ctx - 1
tokens of the window, and every token of the window is predicted once, with 1 to n_ctx tokens of context.
Perplexity = exp(mean negative log-likelihood per token); bits per byte divides the same sum by the UTF-8
bytes of the same tokens. Matrix products in bfloat16 unless --float32 is given (Debian's PyTorch has a slow
float32 matrix product on CPUs); norms, softmax of the loss and sums are float32 in both cases.
"""
import math
import time

import numpy as np
import torch

from . import bpe
from .data import SEPARATOR, windows
from .train import load_model


class MlpProbe:
    """Counts active neurons per layer; with keep < 1 keeps only the strongest share per token."""

    def __init__(self, model, keep):
        self.active = [0.0] * len(model.layers)
        self.seen = 0
        for i, layer in enumerate(model.layers):
            layer.mlp_hook = lambda a, i=i: self.see(i, a, keep)

    def see(self, i, a, keep):
        """The hook of layer i."""
        if i == 0:
            self.seen += a[..., 0].numel()
        self.active[i] += (a > 0).float().mean(-1).sum().item()
        if keep < 1:
            k = max(1, round(keep * a.shape[-1]))
            floor = a.topk(k, -1).values[..., -1:]
            a = torch.where(a >= floor, a, torch.zeros((), dtype=a.dtype))
        return a

    def shares(self):
        """Active share of each layer."""
        return [n / self.seen for n in self.active]


@torch.no_grad()
def perplexity(model, tokenizer, stream, limit=0, keep=1.0, dtype=torch.bfloat16):
    """(nll sum, tokens, bytes, active share per layer) over a stream; `limit` windows, evenly spread, or all."""
    n = model.config.n_ctx
    at = np.arange(0, len(stream) - n + 1, n)
    if limit:
        at = at[np.linspace(0, len(at) - 1, min(limit, len(at))).astype(int)]
    probe = MlpProbe(model, keep)
    size = np.array([0] * len(bpe.SPECIALS) + [len(t) for t in tokenizer.tokens[len(bpe.SPECIALS):]])
    nll = tokens = length = 0
    for i in range(0, len(at), 8):
        x, y = windows(stream, at[i : i + 8], n)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            nll += model.loss(torch.from_numpy(x), torch.from_numpy(y), dtype).item() * y.size
        tokens += y.size
        length += int(size[y].sum())
    for layer in model.layers:
        layer.mlp_hook = None
    return nll, tokens, length, probe.shares()


@torch.no_grad()
def generate(model, tokenizer, prompt, count, temperature, seed=1):
    """Continues a prompt; temperature 0 is greedy. Recomputes everything at each step: small and slow."""
    rng = torch.Generator().manual_seed(seed)
    ids = [bpe.BOS] + tokenizer.encode(prompt)
    n = model.config.n_ctx
    for _ in range(count):
        with torch.autocast("cpu", torch.bfloat16):
            h = model(torch.tensor([ids[-n:]]))[0, -1]
            scores = torch.nn.functional.linear(h, model.embed_tokens.weight).float()
        if temperature == 0:
            nxt = int(scores.argmax())
        else:
            nxt = int(torch.multinomial(torch.softmax(scores / temperature, -1), 1, generator=rng))
        if nxt == bpe.EOS:
            break
        ids.append(nxt)
    return tokenizer.decode(ids[1:])


PROMPTS = ["Once upon a time there was a little rabbit", "The old woman opened the door, and"]


def evaluate(a):
    """Runs `train_demo.py eval`."""
    torch.set_num_threads(a.threads)
    model, ck = load_model(a.checkpoint)
    model.eval()
    dtype = torch.float32 if a.float32 else torch.bfloat16
    tokenizer = bpe.Tokenizer.load(a.tokens)
    print(f"{a.checkpoint}: step {ck['step']}, {ck['tokens']} training tokens")
    if a.text:
        docs = a.text.read_text(encoding="utf-8").split("\n" + SEPARATOR)
        parts = [[bpe.BOS] + tokenizer.encode(d.strip()) for d in docs if d.strip()]
        stream = np.array(sum(parts, []), dtype=np.uint16)
    else:
        stream = np.fromfile(a.tokens / "test.bin", dtype=np.uint16)
    for keep in a.keep:
        begun = time.time()
        nll, tokens, length, shares = perplexity(model, tokenizer, stream, a.limit, keep, dtype)
        print(f"keep {keep:g}: perplexity {math.exp(nll / tokens):.3f}, {nll / tokens:.4f} nats/token, "
              f"{nll / length / math.log(2):.4f} bits/byte, {tokens} tokens ({time.time() - begun:.0f} s)")
        print("  active neurons per layer: " + " ".join(f"{s:.1%}" for s in shares), flush=True)
    for prompt in a.prompt or PROMPTS:
        for temperature in (0.0, 0.8):
            name = "greedy" if temperature == 0 else f"temperature {temperature}"
            print(f"--- {name}, seed {a.seed}")
            print(generate(model, tokenizer, prompt, a.sample_tokens, temperature, a.seed), flush=True)
