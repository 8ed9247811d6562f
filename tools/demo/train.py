"""The training loop: Muon + AdamW, warm-up / stable / decay-on-demand, atomic checkpoints, resume.

The decay. While the file DECAY in the work folder does not exist, the rates stay at their peak. Once it does
(`steps 300` or `until 01:38`, UTC), the state is saved as stable.pt, the rates fall linearly to zero, the result
is saved as decayed.pt and training ends. A later session resumes from stable.pt (`--resume`) for more.
"""
import datetime
import os
import random
import shutil
import time

import numpy as np
import torch

from . import bpe
from .data import Batches, windows
from .model import OPT, Config
from .optim import make_optimisers


def device_and_dtype():
    """CUDA if there is one, else the CPU; bfloat16 on both."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu"), torch.bfloat16


def save(path, **state):
    """torch.save, atomically."""
    tmp = path.with_suffix(".tmp")
    torch.save(state, tmp)
    os.replace(tmp, path)


def load_model(path, device="cpu"):
    """(model, checkpoint) of a file written by this module."""
    ck = torch.load(path, map_location=device)
    model = OPT(Config(**ck["config"])).to(device)
    model.load_state_dict(ck["model"])
    return model, ck


@torch.no_grad()
def validation_loss(model, stream, device, dtype, count=48):
    """Mean loss over evenly spread windows of a stream."""
    n = model.config.n_ctx
    at = np.linspace(0, len(stream) - n - 1, count).astype(np.int64)
    total = 0.0
    for i in range(0, count, 16):
        x, y = (torch.from_numpy(a).to(device) for a in windows(stream, at[i : i + 16], n))
        with torch.autocast(device.type, dtype):
            total += model.loss(x, y, dtype).item() * len(x)
    return total / count


class Decay:
    """Where the decay phase stands: 1 before it, then falling linearly to 0."""

    def __init__(self, path):
        self.path, self.kind = path, None

    def poll(self, step):
        """Returns True at the moment the decay begins."""
        if self.kind or not self.path.exists():
            return False
        words = self.path.read_text().split()
        if len(words) != 2:
            return False
        self.kind, value = words
        if self.kind == "steps":
            self.begin, self.end = step, step + int(value)
        else:
            now = datetime.datetime.utcnow()
            hour, minute = map(int, value.split(":"))
            end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            if end < now:
                end += datetime.timedelta(days=1)
            self.begin = time.time()
            self.end = self.begin + (end - now).total_seconds()
        return True

    def factor(self, step):
        """Multiplier of the learning rates at this step."""
        if not self.kind:
            return 1.0
        at = step if self.kind == "steps" else time.time()
        return max(0.0, 1.0 - (at - self.begin) / (self.end - self.begin))


def train(a):
    """Runs `train_demo.py train`; `a` holds its options."""
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    device, dtype = device_and_dtype()
    tokenizer = bpe.Tokenizer.load(a.tokens)
    stream = np.memmap(a.tokens / "train.bin", dtype=np.uint16, mode="r")
    val = np.memmap(a.tokens / "val.bin", dtype=np.uint16, mode="r")

    config = Config(len(tokenizer.tokens), a.n_embd, a.n_layer, a.n_head, 4 * a.n_embd, a.n_ctx)
    model = OPT(config).to(device)
    optimisers = make_optimisers(model, a.muon_lr, a.adam_lr, a.weight_decay)
    batches = Batches(np.asarray(stream), tokenizer.ids["Ċ"], a.n_ctx, a.batch, a.seed)
    step = seen = 0
    if a.resume:
        found = [p for p in (a.resume_from,) if p] or [a.work / "last.pt", a.work / "stable.pt"]
        found = sorted((p for p in found if p.exists()), key=lambda p: -p.stat().st_mtime)
        if not found:
            raise SystemExit("--resume: no checkpoint")
        ck = torch.load(found[0], map_location=device)
        model.load_state_dict(ck["model"])
        for opt, state in zip(optimisers, ck["optimisers"]):
            opt.load_state_dict(state)
        batches.restore(ck["batches"])
        step, seen = ck["step"], ck["tokens"]
        torch.set_rng_state(ck["rng"].cpu())
        random.setstate(ck["py_rng"])
        print("resumed", found[0], "at step", step, flush=True)

    a.work.mkdir(parents=True, exist_ok=True)
    if a.decay:
        (a.work / "DECAY").write_text(a.decay)
    decay = Decay(a.work / "DECAY")
    log = open(a.work / "train.log", "a", buffering=1)

    def say(text):
        line = time.strftime("%H:%M:%S ", time.gmtime()) + text
        print(line, flush=True)
        log.write(line + "\n")

    def checkpoint(name):
        save(a.work / name, config=vars(config), model=model.state_dict(), step=step, tokens=seen,
             optimisers=[o.state_dict() for o in optimisers], batches=batches.state,
             rng=torch.get_rng_state(), py_rng=random.getstate())
        if a.copy_to:
            a.copy_to.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(a.work / name, a.copy_to / (name + ".tmp"))
            os.replace(a.copy_to / (name + ".tmp"), a.copy_to / name)

    say(f"{sum(p.numel() for p in model.parameters())} parameters, {len(stream)} training tokens, {config}")
    saved = time.time()
    mean, since, since_tokens = None, time.time(), seen
    while True:
        if decay.poll(step):
            checkpoint("stable.pt")
            say(f"step {step}: decay begins ({decay.path.read_text().strip()})")
        factor = decay.factor(step)
        if factor <= 0 or (a.max_steps and step >= a.max_steps):
            break
        factor *= min(1.0, (step + 1) / a.warmup)
        for opt in optimisers:
            for group in opt.param_groups:
                group["lr"] = group["peak"] * factor
                if "momentum" in group:
                    group["momentum"] = 0.85 + 0.1 * min(1.0, step / 300)

        x, y = (torch.from_numpy(t).to(device) for t in batches.next())
        with torch.autocast(device.type, dtype):
            loss = model.loss(x, y, dtype)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(norm):
            for opt in optimisers:
                opt.step()
        else:
            say(f"step {step}: gradient norm {norm}, skipped")
        model.zero_grad(set_to_none=True)
        step += 1
        seen += x.numel()
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % a.log_every == 0:
            rate = (seen - since_tokens) / (time.time() - since)
            since, since_tokens = time.time(), seen
            say(f"step {step} tokens {seen} loss {mean:.4f} norm {norm:.2f} lr x{factor:.3f} tok/s {rate:.0f}")
        if step % a.val_every == 0:
            say(f"step {step} tokens {seen} VAL {validation_loss(model, val, device, dtype):.4f}")
        if time.time() - saved > a.save_minutes * 60:
            checkpoint("last.pt" if not decay.kind else "decaying.pt")
            saved = time.time()

    final = validation_loss(model, val, device, dtype, 256)
    say(f"step {step} tokens {seen} VAL256 {final:.4f} end")
    checkpoint("decayed.pt" if decay.kind else "last.pt")
