"""Reference forward passes of Llama and the models that share its names: (config, weights, ids) -> logits."""
import math

import numpy as np

from .ops import ACTIVATIONS, Rope, attention, heads, layer_norm, sigmoid, soft_cap, softmax


def _silu(x):
    return x * sigmoid(x)


def _gated(w, act, x, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = names
    return w.linear(down, act(w.linear(gate, x)) * w.linear(up, x))


def _moe(w, x, n_used, renormalise, gate, expert):
    """Each token's `n_used` most probable experts, weighted by their probabilities."""
    probabilities = softmax(w.linear(gate, x))
    out = np.zeros_like(x)
    for t, p in enumerate(probabilities):
        chosen = np.argsort(-p)[:n_used]
        total = p[chosen].sum() if renormalise else 1.0
        for e in chosen:
            out[t] += p[e] / total * expert(e, x[t])
    return out


class Block:
    """What the family shares, with its knobs; a model overrides what it does otherwise."""
    norm = staticmethod(lambda c, w, name, x: w.rms_norm(name, x, c["rms_norm_eps"]))
    interleaved = False
    final_norm = "norm"
    output = "self_attn.o_proj"

    def __init__(self, c, t):
        self.c, self.n, self.n_kv = c, c["num_attention_heads"], c.get("num_key_value_heads") or c["num_attention_heads"]
        self.d = c.get("head_dim") or c["hidden_size"] // self.n
        self.act = ACTIVATIONS[c.get("hidden_activation") or c.get("hidden_act")]
        self.rope = Rope(int(self.d * c.get("partial_rotary_factor", 1.0)), c["rope_theta"], t, self.interleaved,
                         c.get("rope_scaling"), c.get("max_position_embeddings"), c.get("original_max_position_embeddings"))
        self.scale, self.cap = self.d**-0.5, None

    def window(self, i):
        return self.c.get("sliding_window") if self.c.get("use_sliding_window", True) else None

    def qkv(self, w, h):
        return (heads(w.linear(f"self_attn.{p}_proj", h), n) for p, n in zip("qkv", (self.n, self.n_kv, self.n_kv)))

    def qk_norm(self, w, name, x):
        return x

    def attend(self, w, i, h):
        q, k, v = self.qkv(w, h)
        q, k = (self.rope(self.qk_norm(w, name, x)) for name, x in (("q", q), ("k", k)))
        return w.linear(self.output, attention(q, k, v, self.scale, self.window(i), self.cap))

    def mlp(self, w, i, h):
        return _gated(w.sub("mlp."), self.act, h)

    def layer(self, w, i, x):
        x = x + self.attend(w, i, self.norm(self.c, w, "input_layernorm", x))
        return x + self.mlp(w, i, self.norm(self.c, w, "post_attention_layernorm", x))

    def embed(self, x):
        return x

    def logits(self, x):
        return x


class Parallel(Block):
    """One norm feeds attention and MLP."""

    def layer(self, w, i, x):
        h = self.norm(self.c, w, "input_layernorm", x)
        return x + self.attend(w, i, h) + self.mlp(w, i, h)


class Mixtral(Block):

    def mlp(self, w, i, h):
        m = w.sub("block_sparse_moe.")
        return _moe(m, h, self.c["num_experts_per_tok"], True, "gate",
                    lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x, ("w1", "w3", "w2")))


class Qwen2(Block):

    def window(self, i):
        windowed = self.c.get("use_sliding_window", False) and i >= self.c.get("max_window_layers", 0)
        return self.c["sliding_window"] if windowed else None


class Qwen3(Qwen2):

    def qk_norm(self, w, name, x):
        return w.rms_norm(f"self_attn.{name}_norm", x, self.c["rms_norm_eps"])


class Qwen2Moe(Qwen2):

    def mlp(self, w, i, h):
        c, m = self.c, w.sub("mlp.")
        if i in c.get("mlp_only_layers", []) or (i + 1) % c.get("decoder_sparse_step", 1):
            return _gated(m, self.act, h)
        routed = _moe(m, h, c["num_experts_per_tok"], c["norm_topk_prob"], "gate",
                      lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x))
        return routed + sigmoid(m.linear("shared_expert_gate", h)) * _gated(m.sub("shared_expert."), self.act, h)


class Phi(Parallel):
    norm = staticmethod(lambda c, w, name, x: w.layer_norm(name, x, c["layer_norm_eps"]))
    final_norm, output = "final_layernorm", "self_attn.dense"

    def mlp(self, w, i, h):
        return w.linear("mlp.fc2", self.act(w.linear("mlp.fc1", h)))


class Phi3(Block):

    def qkv(self, w, h):
        q, kv = self.n * self.d, self.n_kv * self.d
        parts = np.split(w.linear("self_attn.qkv_proj", h), [q, q + kv], axis=-1)
        return (heads(p, n) for p, n in zip(parts, (self.n, self.n_kv, self.n_kv)))

    def mlp(self, w, i, h):
        gate, up = np.split(w.linear("mlp.gate_up_proj", h), 2, axis=-1)
        return w.linear("mlp.down_proj", self.act(gate) * up)


class Gemma(Block):
    norm = staticmethod(lambda c, w, name, x: w.rms_norm(name, x, c["rms_norm_eps"], plus_one=True))

    def embed(self, x):
        return x * math.sqrt(self.c["hidden_size"])


class Gemma2(Gemma):

    def __init__(self, c, t):
        super().__init__(c, t)
        self.scale, self.cap = c["query_pre_attn_scalar"]**-0.5, c["attn_logit_softcapping"]

    def window(self, i):
        return None if i % 2 else self.c["sliding_window"]

    def layer(self, w, i, x):
        norm = lambda name, h: self.norm(self.c, w, name, h)
        x = x + norm("post_attention_layernorm", self.attend(w, i, norm("input_layernorm", x)))
        return x + norm("post_feedforward_layernorm", self.mlp(w, i, norm("pre_feedforward_layernorm", x)))

    def logits(self, x):
        return soft_cap(x, self.c["final_logit_softcapping"])


class StableLm(Block):
    norm = staticmethod(lambda c, w, name, x: w.layer_norm(name, x, c["layer_norm_eps"]))

    def qk_norm(self, w, name, x):
        if not self.c["qk_layernorm"]:
            return x
        weights = [w[f"self_attn.{name}_layernorm.norms.{i}.weight"] for i in range(len(x))]
        return layer_norm(x, self.c["layer_norm_eps"], np.stack(weights)[:, None])

    def layer(self, w, i, x):
        return (Parallel if self.c["use_parallel_residual"] else Block).layer(self, w, i, x)


class Nemotron(Block):
    norm = staticmethod(lambda c, w, name, x: w.layer_norm(name, x, c["norm_eps"], plus_one=True))

    def mlp(self, w, i, h):
        return w.linear("mlp.down_proj", self.act(w.linear("mlp.up_proj", h)))


class StarCoder2(Block):
    norm = staticmethod(lambda c, w, name, x: w.layer_norm(name, x, c["norm_epsilon"]))

    def mlp(self, w, i, h):
        return w.linear("mlp.c_proj", self.act(w.linear("mlp.c_fc", h)))


class Cohere(Parallel):
    norm = staticmethod(lambda c, w, name, x: w.layer_norm(name, x, c["layer_norm_eps"]))
    interleaved = True

    def qk_norm(self, w, name, x):
        if not self.c["use_qk_norm"]:
            return x
        return layer_norm(x, self.c["layer_norm_eps"], w[f"self_attn.{name}_norm.weight"][:, None])

    def logits(self, x):
        return x * self.c["logit_scale"]


class Olmo(Block):
    norm = staticmethod(lambda c, w, name, x: layer_norm(x, 1e-5))

    def qkv(self, w, h):
        clip = self.c.get("clip_qkv") or math.inf
        return (np.clip(x, -clip, clip) for x in super(Olmo, self).qkv(w, h))


BLOCKS = {"llama": Block, "mistral": Block, "mixtral": Mixtral, "qwen2": Qwen2, "qwen3": Qwen3, "qwen2_moe": Qwen2Moe,
          "phi": Phi, "phi3": Phi3, "gemma": Gemma, "gemma2": Gemma2, "stablelm": StableLm, "nemotron": Nemotron,
          "starcoder2": StarCoder2, "cohere": Cohere, "olmo": Olmo}
TIED_BY_DEFAULT = ("gemma", "gemma2", "cohere", "starcoder2")


def forward(c, w, ids):
    block, m = BLOCKS[c["model_type"]](c, len(ids)), w.sub("model.")
    x = block.embed(m["embed_tokens.weight"][ids])
    for i in range(c["num_hidden_layers"]):
        x = block.layer(m.sub(f"layers.{i}."), i, x)
    x = block.norm(c, m, block.final_norm, x)
    tied = c.get("tie_word_embeddings", c["model_type"] in TIED_BY_DEFAULT)
    return block.logits(x @ m["embed_tokens.weight"].T if tied else w.linear("lm_head", x))
