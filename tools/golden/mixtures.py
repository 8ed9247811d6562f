"""Reference forward passes of mixtures of experts with routers of their own, and of latent attention."""
import math

import numpy as np

from .llama_family import Block, Granite, _gated
from .ops import Rope, heads, sigmoid, softmax


def _mix(x, choices, expert):
    """sum of weight * expert(e, x[t]) over each token's choices [(e, weight)]."""
    out = np.zeros_like(x)
    for t, chosen in enumerate(choices):
        for e, weight in chosen:
            out[t] += weight * expert(e, x[t])
    return out


def _top(scores, k):
    return np.argsort(-scores, kind="stable")[:k]


def deepseek_choices(c, logits, bias):
    """DeepSeek's routers: scores by softmax or sigmoid, a bias to choose by, the best groups, weights of the scores."""
    v3 = c.get("scoring_func", "sigmoid") == "sigmoid"
    n_group, used, k = c.get("n_group", 1), c.get("topk_group", 1), c["num_experts_per_tok"]
    for row in logits:
        scores = sigmoid(row) if v3 else softmax(row)
        to_choose = (scores + (0 if bias is None else bias)).reshape(n_group, -1).copy()
        ranks = np.sort(to_choose, axis=-1)[:, -2:].sum(-1) if v3 else to_choose.max(-1)
        lost = np.setdiff1d(np.arange(n_group), _top(ranks, used))
        to_choose[lost] = -np.inf
        chosen = _top(to_choose.ravel(), k)
        weights = scores[chosen]
        if c["norm_topk_prob"]:
            weights = weights / weights.sum()
        yield list(zip(chosen, weights * c["routed_scaling_factor"]))


class DeepSeek(Block):
    """Latent attention, made whole: keys and values of all heads."""

    def __init__(self, c, t):
        super().__init__({**c, "head_dim": c["qk_rope_head_dim"]}, t)
        self.rope = Rope(c["qk_rope_head_dim"], c["rope_theta"], t, True, c.get("rope_scaling"), c["max_position_embeddings"])
        self.scale = (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])**-0.5
        scaling = c.get("rope_scaling") or {}
        if scaling.get("mscale_all_dim"):
            self.scale *= (0.1 * scaling["mscale_all_dim"] * math.log(scaling["factor"]) + 1)**2

    def attend(self, w, i, h):
        c, plain, rank = self.c, self.c["qk_nope_head_dim"], self.c["kv_lora_rank"]
        a = w.sub("self_attn.")
        if c.get("q_lora_rank"):
            q = a.linear("q_b_proj", a.rms_norm("q_a_layernorm", a.linear("q_a_proj", h), 1e-6))
        else:
            q = a.linear("q_proj", h)
        q, latent = heads(q, self.n), a.linear("kv_a_proj_with_mqa", h)
        kv = heads(a.linear("kv_b_proj", a.rms_norm("kv_a_layernorm", latent[:, :rank], 1e-6)), self.n)
        k_rot = np.repeat(self.rope(latent[None, :, rank:]), self.n, axis=0)
        q = np.concatenate([q[..., :plain], self.rope(q[..., plain:])], -1)
        k, v = np.concatenate([kv[..., :plain], k_rot], -1), kv[..., plain:]
        scores = q @ k.transpose(0, 2, 1) * self.scale
        t = len(h)
        mixed = softmax(np.where(np.tri(t, dtype=bool), scores, -np.inf)) @ v
        return a.linear("o_proj", mixed.transpose(1, 0, 2).reshape(t, -1))

    def mlp(self, w, i, h):
        m, c = w.sub("mlp."), self.c
        if i < c["first_k_dense_replace"]:
            return _gated(m, self.act, h)
        choices = deepseek_choices(c, m.linear("gate", h), m.get("gate.e_score_correction_bias"))
        return (_mix(h, choices, lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x)) +
                _gated(m.sub("shared_experts."), self.act, h))


class Glm4Moe(Block):
    mlp = DeepSeek.mlp

    def qk_norm(self, w, name, x):
        return w.rms_norm(f"self_attn.{name}_norm", x, self.c["rms_norm_eps"]) if self.c["use_qk_norm"] else x


class ErnieMoe(Block):
    interleaved = True

    def mlp(self, w, i, h):
        m, c = w.sub("mlp."), self.c
        if i < c["moe_layer_start_index"]:
            return _gated(m, self.act, h)
        words = {"num_experts_per_tok": c["moe_k"], "scoring_func": "softmax", "norm_topk_prob": True,
                 "routed_scaling_factor": 1.0}
        choices = deepseek_choices(words, m.linear("gate", h), m["moe_statics.e_score_correction_bias"].ravel())
        return (_mix(h, choices, lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x)) +
                _gated(m.sub("shared_experts."), self.act, h))


def softmax_of_chosen(logits, k):
    for row in logits:
        chosen = _top(row, k)
        yield list(zip(chosen, softmax(row[chosen])))


class GraniteMoe(Granite):
    """Experts as stacked tensors, gates before ups."""

    def mlp(self, w, i, h):
        m, c = w.sub("block_sparse_moe."), self.c

        def fused(first, second, x):
            gate, up = np.split(x @ first.T, 2, axis=-1)
            return (self.act(gate) * up) @ second.T

        first, second = m["input_linear.weight"], m["output_linear.weight"]
        out = _mix(h, softmax_of_chosen(m.linear("router.layer", h), c["num_experts_per_tok"]),
                   lambda e, x: fused(first[e], second[e], x))
        if c.get("shared_intermediate_size"):
            out = out + fused(w["shared_mlp.input_linear.weight"], w["shared_mlp.output_linear.weight"], h)
        return out


def mixed_sparsely(logits, jitter, k):
    """Each expert's share in the softmax over the logits near the best that is left."""
    for row in logits:
        left, out = row.copy(), []
        for _ in range(k):
            best = int(np.argmax(left))
            near = left[best] - row <= 2 * jitter * np.maximum(np.abs(row), left[best])
            shares = softmax(np.where(near, left, -np.inf))
            out.append((best, shares[best]))
            left[best] = -np.inf
        yield out


class PhiMoe(Block):
    norm = staticmethod(lambda c, w, name, x: w.layer_norm(name, x, c["rms_norm_eps"]))

    def __init__(self, c, t):
        super().__init__(c, t)
        scaling, long = c["rope_scaling"], t > c["rope_scaling"]["original_max_position_embeddings"]
        freq = c["rope_theta"]**-(np.arange(0, self.d, 2) / self.d) / np.array(scaling["long_factor" if long else "short_factor"])
        angle, factor = np.arange(t)[:, None] * freq, scaling["long_mscale" if long else "short_mscale"]
        self.rope.cos, self.rope.sin = np.cos(angle) * factor, np.sin(angle) * factor

    def mlp(self, w, i, h):
        m, c = w.sub("block_sparse_moe."), self.c
        return _mix(h, mixed_sparsely(m.linear("gate", h), c["router_jitter_noise"], c["num_experts_per_tok"]),
                    lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x, ("w1", "w3", "w2")))


class SmallThinker(Block):
    """The router reads what enters the layer."""

    def __init__(self, c, t):
        super().__init__({**c, "hidden_act": "relu"}, t)

    def window(self, i):
        return self.c["sliding_window_size"] if self.c["sliding_window_layout"][i] else None

    def rotate(self, i, x):
        return self.rope(x) if self.c["rope_layout"][i] else x

    def layer(self, w, i, x):
        m, c = w.sub("block_sparse_moe."), self.c
        logits = m.linear("primary_router", x)
        x = x + self.attend(w, i, self.norm(c, w, "input_layernorm", x))

        def choices():
            for row in logits:
                chosen = _top(row, c["moe_num_active_primary_experts"])
                weights = softmax(row[chosen]) if c["moe_primary_router_apply_softmax"] else sigmoid(row[chosen])
                yield list(zip(chosen, weights / weights.sum()))

        h = self.norm(c, w, "post_attention_layernorm", x)
        return x + _mix(h, choices(), lambda e, v: _gated(m.sub(f"experts.{e}."), self.act, v, ("gate", "up", "down")))


class GptOss(Block):
    """A sink beside the keys of each head; experts of a clamped SwiGLU with biases, gates and ups alternating."""

    def attend(self, w, i, h):
        q, k, v = self.qkv(w, h)
        t, window = len(h), self.window(i)
        q, k = self.rope(q), self.rope(k)
        k, v = (np.repeat(a, self.n // self.n_kv, axis=0) for a in (k, v))
        distance = np.arange(t)[:, None] - np.arange(t)[None, :]
        scores = np.where((distance >= 0) & (distance < (window or t)), q @ k.transpose(0, 2, 1) * self.scale, -np.inf)
        sinks = np.broadcast_to(w["self_attn.sinks"][:, None, None], (self.n, t, 1))
        weights = softmax(np.concatenate([scores, sinks], -1))[..., :-1]
        return w.linear("self_attn.o_proj", (weights @ v).transpose(1, 0, 2).reshape(t, -1))

    def mlp(self, w, i, h):
        m, c = w.sub("mlp."), self.c
        parts = {name: m[f"experts.{name}"] for name in ("gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias")}
        limit = c["swiglu_limit"]

        def expert(e, x):
            both = x @ parts["gate_up_proj"][e] + parts["gate_up_proj_bias"][e]
            gate, up = np.minimum(both[0::2], limit), np.clip(both[1::2], -limit, limit)
            return (gate * sigmoid(1.702 * gate) * (up + 1)) @ parts["down_proj"][e] + parts["down_proj_bias"][e]

        return _mix(h, softmax_of_chosen(m.linear("router", h), c["num_experts_per_tok"]), expert)


BLOCKS = {"deepseek_v2": DeepSeek, "deepseek_v3": DeepSeek, "glm4_moe": Glm4Moe, "ernie4_5_moe": ErnieMoe, "granitemoe": GraniteMoe,
          "granitemoeshared": GraniteMoe, "phimoe": PhiMoe, "smallthinker": SmallThinker, "gpt_oss": GptOss}
