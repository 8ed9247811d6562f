"""Muon for the hidden matrices, AdamW for everything else."""
import torch


def orthogonalise(g, steps=5):
    """Newton-Schulz iteration: the nearest (semi-)orthogonal matrices to a stack g[n, rows, cols], roughly."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2).contiguous()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        s = x @ x.transpose(1, 2)
        x = a * x + (b * s + c * (s @ s)) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (K. Jordan and others, 2024). One parameter group per matrix shape."""

    def __init__(self, params, lr=0.02, momentum=0.95, weight_decay=0.0):
        by_shape = {}
        for p in params:
            by_shape.setdefault(tuple(p.shape), []).append(p)
        groups = [{"params": ps} for ps in by_shape.values()]
        super().__init__(groups, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        """One update of all matrices."""
        for group in self.param_groups:
            mu, ps = group["momentum"], [p for p in group["params"] if p.grad is not None]
            if not ps:
                continue
            looks = []
            for p in ps:
                buf = self.state[p].setdefault("buf", torch.zeros_like(p))
                buf.mul_(mu).add_(p.grad, alpha=1 - mu)
                looks.append(p.grad * (1 - mu) + buf * mu)
            rows, cols = ps[0].shape
            scale = group["lr"] * max(1.0, rows / cols) ** 0.5
            for p, u in zip(ps, orthogonalise(torch.stack(looks))):
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(u, alpha=-scale)


def make_optimisers(model, muon_lr, adam_lr, weight_decay):
    """(Muon, AdamW); each group keeps its peak rate in 'peak' for the schedule."""
    hidden, rest = [], []
    for name, p in model.named_parameters():
        (hidden if p.dim() == 2 and "embed" not in name else rest).append(p)
    muon = Muon(hidden, lr=muon_lr, weight_decay=weight_decay)
    adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    for opt in (muon, adam):
        for group in opt.param_groups:
            group["peak"] = group["lr"]
    return [muon, adam]
