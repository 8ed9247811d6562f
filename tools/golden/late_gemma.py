"""Reference forward passes of Gemma 3n and Gemma 4, of which layers are more than attention and an MLP."""
import math
import statistics

import numpy as np

from .mixtures import _mix, _top
from .ops import ACTIVATIONS, Rope, attention, heads, soft_cap, softmax


def text_config(c):
    """The config of the language model, where it is a part of a larger one."""
    return {**c, **c.get("text_config", {})}


def is_unread(c, name):
    """Keys and values of layers that read another's: checkpoints may have them."""
    c = text_config(c)
    first = c.get("num_hidden_layers", 0) - c.get("num_kv_shared_layers", 0)
    of_layer = name.partition("layers.")[2].partition(".")
    return (of_layer[0].isdigit() and int(of_layer[0]) >= first and
            of_layer[2] in ("self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.k_norm.weight"))


def rms(x, eps):
    """A norm without weights."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


class Gemma:
    """What both share: keys and values by kind of layer, values normalised, scores as they are, per-layer embeddings."""

    def __init__(self, c, w, ids):
        self.c, self.w, self.eps = c, w, c["rms_norm_eps"]
        self.act = ACTIVATIONS[c["hidden_activation"]]
        self.kinds, self.own = c["layer_types"], c["num_hidden_layers"] - c.get("num_kv_shared_layers", 0)
        self.kept = {}
        self.x = w["embed_tokens.weight"][ids] * math.sqrt(c["hidden_size"])
        self.beside = self.per_layer(ids) if c.get("hidden_size_per_layer_input") else None

    def per_layer(self, ids):
        width, w = self.c["hidden_size_per_layer_input"], self.w
        of_token = w["embed_tokens_per_layer.weight"][ids].reshape(len(ids), -1, width) * math.sqrt(width)
        of_stream = w.linear("per_layer_model_projection", self.x) / math.sqrt(self.c["hidden_size"])
        of_stream = w.rms_norm("per_layer_projection_norm", of_stream.reshape(of_token.shape), self.eps)
        return (of_token + of_stream) / math.sqrt(2)

    def from_beside(self, w, i, x):
        gate = self.act(w.linear("per_layer_input_gate", x)) * self.beside[:, i]
        return w.rms_norm("post_per_layer_input_norm", w.linear("per_layer_projection", gate), self.eps)

    def attend(self, w, i, h, rope, n_kv):
        c, kind, a = self.c, self.kinds[i], w.sub("self_attn.")
        q = rope(a.rms_norm("q_norm", heads(a.linear("q_proj", h), c["num_attention_heads"]), self.eps))
        if i < self.own:
            k = heads(a.linear("k_proj", h), n_kv)
            v = heads(a.linear("v_proj", h), n_kv) if a.has("v_proj.weight") else k
            self.kept[kind] = rope(a.rms_norm("k_norm", k, self.eps)), rms(v, self.eps)
        window = c["sliding_window"] if kind == "sliding_attention" else None
        return a.linear("o_proj", attention(q, *self.kept[kind], 1.0, window))

    def mlp(self, w, h, gate=lambda x: x):
        m = w.sub("mlp.")
        return m.linear("down_proj", self.act(gate(m.linear("gate_proj", h))) * m.linear("up_proj", h))

    def logits(self, x):
        x = self.w.rms_norm("norm", x, self.eps) @ self.w["embed_tokens.weight"].T
        return soft_cap(x, self.c.get("final_logit_softcapping"))


def _magnitude(x):
    return np.sqrt((x * x).mean(-1, keepdims=True))


def _as_large_as(x, magnitude):
    return x * magnitude / np.sqrt(np.maximum((x * x).mean(-1, keepdims=True), 1e-5))


def _only_outstanding(share):
    """Of a gate what lies above so large a share of values, if they were normally distributed."""
    if share == 0:
        return lambda x: x
    by = statistics.NormalDist().inv_cdf(share)
    return lambda x: np.maximum(x - (x.mean(-1, keepdims=True) + by * x.std(-1, keepdims=True)), 0)


class Gemma3n(Gemma):

    def shares(self, w, x):
        w = w.sub("altup.")
        return np.tanh(w.linear("modality_router", w.rms_norm("router_norm", x, self.eps) / self.c["hidden_size"]))

    def layer(self, i, streams, rope):
        """streams [n, T, H]."""
        c, w, active = self.c, self.w.sub(f"layers.{i}."), self.c["altup_active_idx"]
        norm = lambda name, x: w.rms_norm(name, x, self.eps)
        n, t, _ = streams.shape
        mixing = w.linear("altup.prediction_coefs", self.shares(w, streams[active])).reshape(t, n, n)
        streams = streams + np.einsum("tij,jth->ith", mixing, streams)

        x = streams[active]
        h = norm("input_layernorm", x)
        laurel = h + norm("laurel.post_laurel_norm", w.linear("laurel.linear_right", w.linear("laurel.linear_left", h)))
        x = x + norm("post_attention_layernorm", self.attend(w, i, h, rope, c["num_key_value_heads"]))
        x = (x + laurel) / math.sqrt(2)
        gate = _only_outstanding(c["activation_sparsity_pattern"][i])
        x = x + norm("post_feedforward_layernorm", self.mlp(w, norm("pre_feedforward_layernorm", x), gate))

        limit = c["altup_coef_clip"]
        coefs = self.shares(w, x) @ np.clip(w["altup.correction_coefs.weight"], -limit, limit).T + 1
        streams = streams + coefs.T[:, :, None] * (x - streams[active])
        first = streams[active]
        if c["altup_correct_scale"]:
            first = first * w["altup.correct_output_scale"]
        added = self.from_beside(w, i, first)
        return np.concatenate([streams[:1], streams[1:] + added])

    def forward(self):
        c, w, t = self.c, self.w, len(self.x)
        ropes = {kind: Rope(c["head_dim"], base, t) for kind, base in (
            ("full_attention", c["rope_theta"]), ("sliding_attention", c["rope_local_base_freq"]))}
        others, size = range(c["altup_num_inputs"] - 1), _magnitude(self.x)
        streams = np.stack([self.x] + [_as_large_as(w.linear(f"altup_projections.{k}", self.x), size) for k in others])
        for i, kind in enumerate(self.kinds):
            streams = self.layer(i, streams, ropes[kind])
        size = _magnitude(streams[0])
        merged = [_as_large_as(w.linear(f"altup_unembed_projections.{k}", streams[k + 1]), size) for k in others]
        return self.logits(np.mean([streams[0], *merged], axis=0))


def _proportional(d, parameters, t):
    """A rope of a part of the pairs, at the frequencies of the whole head."""
    rope = Rope(d, parameters["rope_theta"], t)
    if parameters["rope_type"] == "proportional":
        turned = int(parameters["partial_rotary_factor"] * d // 2)
        freq = parameters["rope_theta"]**-(np.arange(0, d, 2) / d) / parameters.get("factor", 1.0)
        freq[turned:] = 0
        angle = np.arange(t)[:, None] * freq
        rope.cos, rope.sin = np.cos(angle), np.sin(angle)
    return rope


class Gemma4(Gemma):

    def experts(self, w, x):
        c, k = self.c, self.c["top_k_experts"]
        routed = rms(x, self.eps) * w["router.scale"] / math.sqrt(c["hidden_size"])
        scales, ups, downs = w["router.per_expert_scale"], w["experts.gate_up_proj"], w["experts.down_proj"]
        choices = []
        for p in softmax(w.linear("router.proj", routed)):
            chosen = _top(p, k)
            choices.append(list(zip(chosen, p[chosen] / p[chosen].sum() * scales[chosen])))

        def expert(e, row):
            gate, up = np.split(ups[e] @ row, 2)
            return downs[e] @ (self.act(gate) * up)

        return _mix(w.rms_norm("pre_feedforward_layernorm_2", x, self.eps), choices, expert)

    def layer(self, i, x, rope):
        c, w = self.c, self.w.sub(f"layers.{i}.")
        norm = lambda name, h: w.rms_norm(name, h, self.eps)
        n_kv = c["num_key_value_heads"]
        if c.get("attention_k_eq_v") and self.kinds[i] == "full_attention":
            n_kv = c["num_global_key_value_heads"]
        x = x + norm("post_attention_layernorm", self.attend(w, i, norm("input_layernorm", x), rope, n_kv))
        out = self.mlp(w, norm("pre_feedforward_layernorm", x))
        if c.get("enable_moe_block"):
            out = norm("post_feedforward_layernorm_1", out) + norm("post_feedforward_layernorm_2", self.experts(w, x))
        x = x + norm("post_feedforward_layernorm", out)
        if self.beside is not None:
            x = x + self.from_beside(w, i, x)
        return x * w["layer_scalar"]

    def forward(self):
        c, x = self.c, self.x
        widths = {"full_attention": c["global_head_dim"], "sliding_attention": c["head_dim"]}
        ropes = {kind: _proportional(d, c["rope_parameters"][kind], len(x)) for kind, d in widths.items()}
        for i, kind in enumerate(self.kinds):
            x = self.layer(i, x, ropes[kind])
        return self.logits(x)


def _forward(model):

    def forward(c, w, ids):
        m = w.sub("model.language_model." if w.has("model.language_model.norm.weight") else "model.")
        return model(text_config(c), m, ids).forward()

    return forward


FORWARD = {"gemma3n_text": _forward(Gemma3n), "gemma4": _forward(Gemma4), "gemma4_text": _forward(Gemma4)}
