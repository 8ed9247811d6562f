"""OPT in plain PyTorch, with Hugging Face's parameter names below `model.decoder.`.

Pre-LayerNorm, ReLU MLP, biases everywhere, learned positions with offset 2, tied embeddings, final norm:
what transformers' OPTForCausalLM computes with do_layer_norm_before = true.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    """Shape of the model."""
    vocab: int = 8192
    n_embd: int = 384
    n_layer: int = 6
    n_head: int = 12
    n_ffn: int = 1536
    n_ctx: int = 512


class TiedLoss(torch.autograd.Function):
    """Mean cross-entropy of h @ E^T against targets, chunk by chunk.

    Computes the gradients in the forward pass, so the full logits never exist at once.
    """

    CHUNK = 1024

    @staticmethod
    def forward(ctx, h, weight, target):
        w = weight.to(h.dtype)
        dh = torch.empty_like(h)
        dw = torch.zeros_like(weight)
        total = torch.zeros((), dtype=torch.float32, device=h.device)
        n = h.shape[0]
        for i in range(0, n, TiedLoss.CHUNK):
            hc, tc = h[i : i + TiedLoss.CHUNK], target[i : i + TiedLoss.CHUNK]
            logits = (hc @ w.t()).float()
            logp = torch.log_softmax(logits, -1)
            total -= logp.gather(1, tc[:, None]).sum()
            g = logp.exp_()
            g[torch.arange(len(tc), device=g.device), tc] -= 1
            g = g.mul_(1 / n).to(h.dtype)
            dh[i : i + TiedLoss.CHUNK] = g @ w
            dw += (g.t() @ hc).float()
        ctx.save_for_backward(dh, dw)
        return total / n

    @staticmethod
    def backward(ctx, grad):
        dh, dw = ctx.saved_tensors
        return dh * grad, dw * grad, None


class Attention(nn.Module):
    """Causal multi-head attention, computed in blocks of queries so that masked blocks cost nothing."""

    BLOCK = 128

    def __init__(self, c):
        super().__init__()
        self.n_head = c.n_head
        self.q_proj = nn.Linear(c.n_embd, c.n_embd)
        self.k_proj = nn.Linear(c.n_embd, c.n_embd)
        self.v_proj = nn.Linear(c.n_embd, c.n_embd)
        self.out_proj = nn.Linear(c.n_embd, c.n_embd)

    def forward(self, x):
        b, t, d = x.shape
        dh = d // self.n_head

        def heads(y):
            return y.view(b, t, self.n_head, dh).transpose(1, 2).reshape(b * self.n_head, t, dh)

        q = heads(self.q_proj(x) * dh**-0.5)
        k, v = heads(self.k_proj(x)), heads(self.v_proj(x))
        out = []
        for i in range(0, t, self.BLOCK):
            j = min(t, i + self.BLOCK)
            mask = torch.full((j - i, j), float("-inf"), dtype=q.dtype, device=x.device).triu(i + 1)
            with torch.autocast(x.device.type, enabled=False):  # softmax in the matmuls' own type
                s = torch.baddbmm(mask, q[:, i:j], k[:, :j].transpose(1, 2))
                out.append(torch.softmax(s, -1) @ v[:, :j])
        y = torch.cat(out, 1).view(b, self.n_head, t, dh).transpose(1, 2).reshape(b, t, d)
        return self.out_proj(y)


class Block(nn.Module):
    """One decoder layer. `mlp_hook`, if set, sees and may replace the MLP's activations."""

    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c)
        self.self_attn_layer_norm = nn.LayerNorm(c.n_embd)
        self.fc1 = nn.Linear(c.n_embd, c.n_ffn)
        self.fc2 = nn.Linear(c.n_ffn, c.n_embd)
        self.final_layer_norm = nn.LayerNorm(c.n_embd)
        self.mlp_hook = None

    def forward(self, x):
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        a = torch.relu(self.fc1(self.final_layer_norm(x)))
        if self.mlp_hook is not None:
            a = self.mlp_hook(a)
        return x + self.fc2(a)


class OPT(nn.Module):
    """The decoder; `forward` returns the final hidden states, `loss` and `logits` use the tied head."""

    OFFSET = 2

    def __init__(self, c):
        super().__init__()
        self.config = c
        self.embed_tokens = nn.Embedding(c.vocab, c.n_embd)
        self.embed_positions = nn.Embedding(c.n_ctx + self.OFFSET, c.n_embd)
        self.layers = nn.ModuleList([Block(c) for _ in range(c.n_layer)])
        self.final_layer_norm = nn.LayerNorm(c.n_embd)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "embed" in name else p.shape[1] ** -0.5)
                if "out_proj" in name or "fc2" in name:
                    p.data.mul_((2 * c.n_layer) ** -0.5)

    def forward(self, ids):
        pos = torch.arange(ids.shape[1], device=ids.device) + self.OFFSET
        x = self.embed_tokens(ids) + self.embed_positions(pos)
        for layer in self.layers:
            x = layer(x)
        return self.final_layer_norm(x)

    def logits(self, ids):
        """Scores for all positions."""
        return F.linear(self(ids), self.embed_tokens.weight)

    def loss(self, x, y, dtype=torch.float32):
        """Mean negative log-likelihood, in nats per token."""
        h = self(x).flatten(0, 1).to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            return TiedLoss.apply(h, self.embed_tokens.weight, y.flatten())
