"""Reference forward passes of models whose layers keep a state: LFM2, Nemotron-H, Qwen3-Next and Qwen3.5; token by
token, as the recurrences are defined."""
import numpy as np

from .llama_family import Block, _gated, _silu
from .mixtures import _mix, _top, deepseek_choices
from .ops import ACTIVATIONS, attention, heads, sigmoid, softmax


def _causal_conv(x, weight, bias=None):
    """Each channel's last taps: x [T, C], weight [C, 1, k]."""
    k = weight.shape[-1]
    padded = np.concatenate([np.zeros((k - 1, x.shape[1])), x])
    y = sum(padded[j:j + len(x)] * weight[:, 0, j] for j in range(k))
    return y if bias is None else y + bias


def _softplus(x):
    return np.logaddexp(0, x)


class Lfm2(Block):

    def __init__(self, c, t):
        super().__init__({**c, "hidden_act": "silu", "rms_norm_eps": c.get("norm_eps", 1e-5)}, t)

    def qk_norm(self, w, name, x):
        return w.rms_norm(f"self_attn.{name}_layernorm", x, self.c["rms_norm_eps"])

    output = "self_attn.out_proj"

    def mix(self, w, i, h):
        if not w.has("conv.in_proj.weight"):
            return self.attend(w, i, h)
        b, c, x = np.split(w.linear("conv.in_proj", h), 3, axis=-1)
        return w.linear("conv.out_proj", c * _causal_conv(b * x, w["conv.conv.weight"]))

    def mlp(self, w, i, h):
        m, c, names = w.sub("feed_forward."), self.c, ("w1", "w3", "w2")
        if not m.has("gate.weight"):
            return _gated(m, self.act, h, names)
        words = {"num_experts_per_tok": c["num_experts_per_tok"], "norm_topk_prob": c["norm_topk_prob"],
                 "routed_scaling_factor": c.get("routed_scaling_factor", 1.0)}
        choices = deepseek_choices(words, m.linear("gate", h), m.get("expert_bias"))
        return _mix(h, choices, lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x, names))

    def layer(self, w, i, x):
        x = x + self.mix(w, i, self.norm(self.c, w, "operator_norm", x))
        return x + self.mlp(w, i, self.norm(self.c, w, "ffn_norm", x))


def lfm2(c, w, ids):
    block, m = Lfm2(c, len(ids)), w.sub("model.")
    x = m["embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        x = block.layer(m.sub(f"layers.{i}."), i, x)
    return m.rms_norm("embedding_norm", x, block.c["rms_norm_eps"]) @ m["embed_tokens.weight"].T


def _mamba2(c, w, h, eps):
    n, d, groups, size = c["mamba_num_heads"], c["mamba_head_dim"], c["n_groups"], c["ssm_state_size"]
    gate, x, dt = np.split(w.linear("in_proj", h), [n * d, 2 * n * d + 2 * groups * size], axis=-1)
    x = _silu(_causal_conv(x, w["conv1d.weight"], w.get("conv1d.bias")))
    x, b, c_ = np.split(x, [n * d, n * d + groups * size], axis=-1)
    x = x.reshape(-1, n, d)
    b, c_ = (np.repeat(a.reshape(-1, groups, size), n // groups, axis=1) for a in (b, c_))
    dt, a, skip = _softplus(dt + w["dt_bias"]), -np.exp(w["A_log"]), w["D"]
    state, y = np.zeros((n, d, size)), np.zeros_like(x)
    for t in range(len(h)):
        state = np.exp(a * dt[t])[:, None, None] * state + (dt[t][:, None] * x[t])[:, :, None] * b[t][:, None, :]
        y[t] = np.einsum("hds,hs->hd", state, c_[t]) + skip[:, None] * x[t]
    y = (y.reshape(len(h), n * d) * _silu(gate)).reshape(len(h), groups, -1)
    y = y / np.sqrt((y * y).mean(-1, keepdims=True) + eps)
    return w.linear("out_proj", y.reshape(len(h), n * d) * w["norm.weight"])


def nemotron_h(c, w, ids):
    m, eps = w.sub("backbone."), c["layer_norm_epsilon"]
    act, n, n_kv = ACTIVATIONS[c["mlp_hidden_act"]], c["num_attention_heads"], c["num_key_value_heads"]

    def mlp(v, h):
        return v.linear("down_proj", act(v.linear("up_proj", h)))

    x = m["embeddings.weight"][ids]
    for i, kind in enumerate(c["hybrid_override_pattern"]):
        h, v = m.rms_norm(f"layers.{i}.norm", x, eps), m.sub(f"layers.{i}.mixer.")
        if kind == "M":
            x = x + _mamba2(c, v, h, eps)
        elif kind == "*":
            q, k, values = (heads(v.linear(f"{p}_proj", h), k) for p, k in zip("qkv", (n, n_kv, n_kv)))
            x = x + v.linear("o_proj", attention(q, k, values, c["head_dim"]**-0.5))
        elif kind == "-":
            x = x + mlp(v, h)
        else:
            choices = deepseek_choices(c, v.linear("gate", h), v["gate.e_score_correction_bias"])
            narrow = v.linear("fc1_latent_proj", h) if c.get("moe_latent_size") else h
            routed = _mix(narrow, choices, lambda e, row: mlp(v.sub(f"experts.{e}."), row))
            x = x + (v.linear("fc2_latent_proj", routed) if c.get("moe_latent_size") else routed) + mlp(v.sub("shared_experts."), h)
    return w.linear("lm_head", m.rms_norm("norm_f", x, eps))


def _of_length_1(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6)


def _delta_net(c, w, h):
    n_k, n_v = c["linear_num_key_heads"], c["linear_num_value_heads"]
    d_k, d_v = c["linear_key_head_dim"], c["linear_value_head_dim"]
    t, n = len(h), n_v // n_k
    if w.has("in_proj_qkvz.weight"):
        parts = w.linear("in_proj_qkvz", h).reshape(t, n_k, -1)
        q, k, v, z = np.split(parts, [d_k, 2 * d_k, 2 * d_k + n * d_v], axis=-1)
        qkv, z = np.concatenate([a.reshape(t, -1) for a in (q, k, v)], -1), z.reshape(t, n_v, d_v)
        b, a = np.split(w.linear("in_proj_ba", h).reshape(t, n_k, 2 * n), 2, axis=-1)
        b, a = b.reshape(t, n_v), a.reshape(t, n_v)
    else:
        qkv, z = w.linear("in_proj_qkv", h), w.linear("in_proj_z", h).reshape(t, n_v, d_v)
        b, a = w.linear("in_proj_b", h), w.linear("in_proj_a", h)
    qkv = _silu(_causal_conv(qkv, w["conv1d.weight"]))
    q, k, v = np.split(qkv, [n_k * d_k, 2 * n_k * d_k], axis=-1)
    q, k = (np.repeat(_of_length_1(x.reshape(t, n_k, d_k)), n, axis=1) for x in (q, k))
    q, v = q * d_k**-0.5, v.reshape(t, n_v, d_v)
    beta, decay = sigmoid(b), np.exp(-np.exp(w["A_log"]) * _softplus(a + w["dt_bias"]))
    state, y = np.zeros((n_v, d_k, d_v)), np.zeros_like(v)
    for i in range(t):
        state = state * decay[i][:, None, None]
        change = (v[i] - np.einsum("hkv,hk->hv", state, k[i])) * beta[i][:, None]
        state = state + k[i][:, :, None] * change[:, None, :]
        y[i] = np.einsum("hkv,hk->hv", state, q[i])
    y = w.rms_norm("norm", y, c["rms_norm_eps"]) * _silu(z)
    return w.linear("out_proj", y.reshape(t, -1))


class QwenNext(Block):
    norm = staticmethod(lambda c, w, name, x: w.rms_norm(name, x, c["rms_norm_eps"], plus_one=True))

    def window(self, i):
        return None

    def attend(self, w, i, h):
        a = w.sub("self_attn.")
        q, gate = np.split(a.linear("q_proj", h).reshape(len(h), self.n, 2 * self.d), 2, axis=-1)
        q, (k, v) = q.transpose(1, 0, 2), (heads(a.linear(f"{p}_proj", h), self.n_kv) for p in "kv")
        q, k = (self.rope(a.rms_norm(f"{name}_norm", x, self.c["rms_norm_eps"], plus_one=True))
                for name, x in (("q", q), ("k", k)))
        return a.linear("o_proj", attention(q, k, v, self.scale) * sigmoid(gate.reshape(len(h), -1)))

    def mlp(self, w, i, h):
        m, c = w.sub("mlp."), self.c
        if not m.has("gate.weight"):
            return _gated(m, self.act, h)
        choices = []
        for p in softmax(m.linear("gate", h)):
            chosen = _top(p, c["num_experts_per_tok"])
            choices.append(list(zip(chosen, p[chosen] / (p[chosen].sum() if c.get("norm_topk_prob", True) else 1))))

        def stacked(e, x):
            gate, up = np.split(m["experts.gate_up_proj"][e] @ x, 2)
            return m["experts.down_proj"][e] @ (self.act(gate) * up)

        expert = stacked if m.has("experts.gate_up_proj") else lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x)
        shared = sigmoid(m.linear("shared_expert_gate", h)) * _gated(m.sub("shared_expert."), self.act, h)
        return _mix(h, choices, expert) + shared

    def layer(self, w, i, x):
        h = self.norm(self.c, w, "input_layernorm", x)
        net = w.sub("linear_attn.")
        x = x + (_delta_net(self.c, net, h) if net.has("A_log") else self.attend(w, i, h))
        return x + self.mlp(w, i, self.norm(self.c, w, "post_attention_layernorm", x))


def qwen_next(c, w, ids):
    c = {**c, **c.get("text_config", {})}
    c = {**c, **{k: v for k, v in c.get("rope_parameters", {}).items() if k in ("rope_theta", "partial_rotary_factor")}}
    m = w.sub("model.language_model." if w.has("model.language_model.norm.weight") else "model.")
    block, x = QwenNext(c, len(ids)), m["embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        x = block.layer(m.sub(f"layers.{i}."), i, x)
    return w.linear("lm_head", block.norm(c, m, "norm", x))


FORWARD = {"lfm2": lfm2, "lfm2_moe": lfm2, "nemotron_h": nemotron_h, "qwen3_next": qwen_next, "qwen3_5": qwen_next,
           "qwen3_5_text": qwen_next, "qwen3_5_moe": qwen_next, "qwen3_5_moe_text": qwen_next}
