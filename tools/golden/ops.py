"""The parts that the reference models are built of, in float64."""
import math

import numpy as np


class Weights:
    """Tensors by name below a prefix; remembers which were read."""

    def __init__(self, tensors, prefix="", used=None):
        self.tensors, self.prefix = tensors, prefix
        self.used = set() if used is None else used

    def sub(self, prefix):
        return Weights(self.tensors, self.prefix + prefix, self.used)

    def has(self, name):
        return self.prefix + name in self.tensors

    def __getitem__(self, name):
        self.used.add(self.prefix + name)
        return self.tensors[self.prefix + name].astype(np.float64)

    def get(self, name):
        return self[name] if self.has(name) else None

    def linear(self, name, x):
        y = x @ self[name + ".weight"].T
        return y + self[name + ".bias"] if self.has(name + ".bias") else y

    def conv1d(self, name, x):
        """GPT-2's product, stored as [in, out]."""
        return x @ self[name + ".weight"] + self[name + ".bias"]

    def layer_norm(self, name, x, eps, plus_one=False):
        weight, bias = self.get(name + ".weight"), self.get(name + ".bias")
        return layer_norm(x, eps, weight + 1 if plus_one else weight, bias)

    def rms_norm(self, name, x, eps, plus_one=False):
        weight = self[name + ".weight"] + (1 if plus_one else 0)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def layer_norm(x, eps, weight=None, bias=None):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


_erf = np.vectorize(math.erf, otypes=[float])


def gelu_erf(x):
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0)**2,
    "silu": lambda x: x * sigmoid(x),
    "gelu": gelu_erf,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
}


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def soft_cap(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def heads(x, n):
    """[T, n * d] -> [n, T, d]."""
    return x.reshape(len(x), n, -1).transpose(1, 0, 2)


def attention(q, k, v, scale, window=None, cap=None, bias=0.0):
    """Causal attention of q [H, T, d] on k, v [KV, T, d]; bias [H, 1, T] is added to the scaled scores. A window counts
    the query itself. Returns [T, H * d]."""
    n, t, d = q.shape
    k, v = (np.repeat(a, n // len(a), axis=0) for a in (k, v))
    distance = np.arange(t)[:, None] - np.arange(t)[None, :]
    seen = (distance >= 0) & (distance < (window or t))
    scores = soft_cap(q @ k.transpose(0, 2, 1) * scale, cap) + bias
    return (softmax(np.where(seen, scores, -np.inf)) @ v).transpose(1, 0, 2).reshape(t, n * d)


def alibi_press(n, t):
    """BLOOM's and Falcon's form: the slopes of the power of two below, then every other one of the double. Biases by
    the key's position alone: softmax does not see the difference."""
    below = 2**int(math.floor(math.log2(n)))
    slopes = [2**(-8 * i / below) for i in range(1, below + 1)]
    slopes += [2**(-4 * i / below) for i in range(1, 2 * (n - below), 2)]
    return np.array(slopes)[:, None, None] * np.arange(t)


def alibi_mpt(n, t, max_bias):
    """MPT's form: the slopes of the power of two above, those at odd places first."""
    above = 2**int(math.ceil(math.log2(n)))
    slopes = 2.0**-(np.arange(1, above + 1) * max_bias / above)
    if above != n:
        slopes = np.concatenate([slopes[1::2], slopes[::2]])[:n]
    return slopes[:, None, None] * np.arange(1 - t, 1)


class Rope:
    """Rotary positions 0..t-1 on the first `dim` values of each head."""

    def __init__(self, dim, base, t, interleaved=False, scaling=None, n_ctx=None, n_ctx_original=None):
        self.dim, self.interleaved = dim, interleaved
        freq, factor = _scaled(dim, base, t, scaling or {}, n_ctx, n_ctx_original)
        angle = np.arange(t)[:, None] * freq
        self.cos, self.sin = np.cos(angle) * factor, np.sin(angle) * factor

    def __call__(self, x):
        d = self.dim
        out = x.copy()
        first, second = (slice(0, d, 2), slice(1, d, 2)) if self.interleaved else (slice(0, d // 2), slice(d // 2, d))
        a, b = x[..., first], x[..., second]
        out[..., first] = a * self.cos - b * self.sin
        out[..., second] = b * self.cos + a * self.sin
        return out


def _scaled(dim, base, t, scaling, n_ctx, n_ctx_original):
    """Frequencies and the factor of cos and sin after the config's rope_scaling."""
    kind, factor = scaling.get("rope_type", scaling.get("type")), scaling.get("factor", 1.0)
    if kind == "dynamic" and t > n_ctx:
        base *= (factor * t / n_ctx - (factor - 1))**(dim / (dim - 2))
    freq = base**-(np.arange(0, dim, 2) / dim)
    if kind in (None, "default", "dynamic"):
        return freq, 1.0
    if kind == "linear":
        return freq / factor, 1.0
    if kind == "llama3":
        turns = scaling["original_max_position_embeddings"] * freq / (2 * math.pi)
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        keep = np.clip((turns - low) / (high - low), 0, 1)
        return freq * (keep + (1 - keep) / factor), 1.0
    if kind == "yarn":
        n_old = scaling.get("original_max_position_embeddings", n_ctx)
        low, high = (dim * math.log(n_old / (turns * 2 * math.pi)) / (2 * math.log(base))
                     for turns in (scaling.get("beta_fast", 32), scaling.get("beta_slow", 1)))
        if scaling.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        keep = 1 - np.clip((np.arange(dim // 2) - low) / ((high - low) or 0.001), 0, 1)
        own = lambda multiplier: 0.1 * multiplier * math.log(factor) + 1
        grown = own(1)
        if scaling.get("mscale") and scaling.get("mscale_all_dim"):
            grown = own(scaling["mscale"]) / own(scaling["mscale_all_dim"])
        return freq * (keep + (1 - keep) / factor), scaling.get("attention_factor", grown)
    if kind == "longrope":
        factors = np.array(scaling["long_factor" if t > n_ctx_original else "short_factor"])
        grown = n_ctx / n_ctx_original
        return freq / factors, math.sqrt(1 + math.log(grown) / math.log(n_ctx_original)) if grown > 1 else 1.0
    raise ValueError(f"rope_scaling {scaling}")
