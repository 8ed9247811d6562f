"""Transformer-XL (Dai et al. 2019, arXiv:1901.02860) as its section 3 has it: a text is read segment by segment, and
what every layer read of the segments before is its memory. Adaptive embeddings and softmax: Grave et al. 2017
(arXiv:1609.04309), Baevski and Auli 2019 (arXiv:1809.10853, section 3: clusters of smaller vectors)."""
import numpy as np

from .ops import softmax


def _sinusoid(distances, n):
    """R: sines, then cosines, of how far a key is behind."""
    angles = np.outer(distances, 1 / 10000**(np.arange(0, n, 2) / n))
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)


def _log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class TransformerXl:
    def __init__(self, c, w):
        self.c, self.w = c, w
        self.ends = [0, *c.get("cutoffs", []), c["vocab_size"]]
        self.n_clusters = len(self.ends) - 2

    def _projection(self, i, output):
        """Of cluster i's vectors [d_model, d]; None where there is none."""
        c, by_cluster = self.c, self.c.get("div_val", 1) > 1
        tied = c.get("tie_projs", [False] * len(self.ends))[i]
        if output and not tied:
            return self.w.get(f"crit.out_projs.{i}")
        return self.w.get(f"transformer.word_emb.emb_projs.{i if by_cluster else 0}")

    def embed(self, ids):
        x = np.zeros((len(ids), self.c["d_model"]))
        for i, (begin, end) in enumerate(zip(self.ends, self.ends[1:])):
            mine = (ids >= begin) & (ids < end)
            if not mine.any():
                continue
            by_cluster = self.c.get("div_val", 1) > 1
            table = self.w[f"transformer.word_emb.emb_layers.{i if by_cluster else 0}.weight"]
            words, projection = table[ids[mine] - (begin if by_cluster else 0)], self._projection(i, False)
            x[mine] = words if projection is None else words @ projection.T
        return x * self.c["d_model"]**0.5

    def log_probabilities(self, x):
        def product(i, weight, bias):
            projection = self._projection(i, True)
            return (x if projection is None else x @ projection) @ weight.T + bias

        def table(i):
            by_cluster, tied = self.c.get("div_val", 1) > 1, self.c.get("tie_word_embeddings", True)
            own = i if by_cluster else 0
            weight = self.w[f"transformer.word_emb.emb_layers.{own}.weight" if tied else f"crit.out_layers.{own}.weight"]
            bias = self.w[f"crit.out_layers.{own}.bias"]
            return (weight, bias) if by_cluster else tuple(a[self.ends[i]:self.ends[i + 1]] for a in (weight, bias))

        weight, bias = table(0)
        if self.n_clusters:
            weight = np.concatenate([weight, self.w["crit.cluster_weight"]])
            bias = np.concatenate([bias, self.w["crit.cluster_bias"]])
        head = _log_softmax(product(0, weight, bias))
        parts = [head[:, :self.ends[1]]]
        for i in range(1, len(self.ends) - 1):
            parts.append(head[:, [self.ends[1] + i - 1]] + _log_softmax(product(i, *table(i))))
        return np.concatenate(parts, -1)

    def attend(self, a, shared, h, memory):
        """Of a segment's tokens to themselves and the memory; what is behind a token is found by its distance."""
        c = self.c
        n, d, past = c["n_head"], c["d_head"], len(memory)
        seen = np.concatenate([memory, h])
        q, k, v = np.split(a.linear("qkv_net", seen), 3, -1)
        q, k, v = (x.reshape(len(x), n, d).transpose(1, 0, 2) for x in (q[past:], k, v))
        of = a if a.has("r_w_bias") else shared
        distance = np.arange(past, len(seen))[:, None] - np.arange(len(seen))[None, :]
        clamped = np.clip(distance, 0, c["clamp_len"] if c.get("clamp_len", 0) > 0 else None)
        r = (_sinusoid(np.arange(len(seen)), c["d_model"]) @ a["r_net.weight"].T).reshape(len(seen), n, d)
        content = (q + of["r_w_bias"][:, None]) @ k.transpose(0, 2, 1)
        position = np.einsum("hid,ijhd->hij", q + of["r_r_bias"][:, None], r[clamped])
        visible = distance >= 0
        if c.get("same_length", False):
            visible &= distance < c["mem_len"]
        scores = np.where(visible, (content + position) / d**0.5, -np.inf)
        return a.linear("o_net", (softmax(scores) @ v).transpose(1, 0, 2).reshape(len(h), n * d))

    def segment(self, x, memories):
        """One segment through all layers; the memories become those of the next."""
        c, eps, pre = self.c, self.c.get("layer_norm_epsilon", 1e-5), self.c.get("pre_lnorm", False)
        for i in range(c["n_layer"]):
            w = self.w.sub(f"transformer.layers.{i}.")
            a, f, before = w.sub("dec_attn."), w.sub("pos_ff."), memories[i]
            memories[i] = np.concatenate([before, x])[max(0, len(before) + len(x) - c["mem_len"]):]

            def norm(part, y):
                return part.layer_norm("layer_norm", y, eps)

            def core(y):
                return f.linear("CoreNet.3", np.maximum(f.linear("CoreNet.0", y), 0))

            shared = self.w.sub("transformer.")
            if pre:
                x = x + self.attend(a, shared, norm(a, x), norm(a, before) if len(before) else before)
                x = x + core(norm(f, x))
            else:
                x = norm(a, x + self.attend(a, shared, x, before))
                x = norm(f, x + core(x))
        return x


def forward(c, w, ids):
    """Log-probabilities of what follows each token. A config without tgt_len is read a token at a time."""
    model, n, out = TransformerXl(c, w), c.get("tgt_len", 0) or 1, []
    memories = [np.zeros((0, c["d_model"])) for _ in range(c["n_layer"])]
    for begin in range(0, len(ids), n):
        out.append(model.segment(model.embed(ids[begin:begin + n]), memories))
    return model.log_probabilities(np.concatenate(out))


FORWARD = {"transfo-xl": forward}
