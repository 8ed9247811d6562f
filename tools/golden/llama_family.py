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
        if self.c.get("layer_types"):
            return self.c["sliding_window"] if self.c["layer_types"][i] == "sliding_attention" else None
        return self.c.get("sliding_window") if self.c.get("use_sliding_window", True) else None

    def rotate(self, i, x):
        return self.rope(x)

    def temper(self, q):
        return q

    def qkv(self, w, h):
        return (heads(w.linear(f"self_attn.{p}_proj", h), n) for p, n in zip("qkv", (self.n, self.n_kv, self.n_kv)))

    def qk_norm(self, w, name, x):
        return x

    def attend(self, w, i, h):
        q, k, v = self.qkv(w, h)
        q, k = (self.rotate(i, self.qk_norm(w, name, x)) for name, x in (("q", q), ("k", k)))
        q = self.temper(q)
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


class Qwen3Moe(Qwen3):

    def mlp(self, w, i, h):
        m = w.sub("mlp.")
        return _moe(m, h, self.c["num_experts_per_tok"], self.c["norm_topk_prob"], "gate",
                    lambda e, x: _gated(m.sub(f"experts.{e}."), self.act, x))


class BranchNorms(Block):
    """Norms on what attention and MLP give, and nowhere else."""

    def layer(self, w, i, x):
        x = x + self.norm(self.c, w, "post_attention_layernorm", self.attend(w, i, x))
        return x + self.norm(self.c, w, "post_feedforward_layernorm", self.mlp(w, i, x))


class Olmo2(BranchNorms):
    """OLMo 2 and 3: queries, and keys, of all heads are normalised together; layers with a window rotate unscaled."""

    def __init__(self, c, t):
        super().__init__(c, t)
        self.plain = Rope(self.d, c["rope_theta"], t)

    def qk_norm(self, w, name, x):
        n, t, d = x.shape
        together = x.transpose(1, 0, 2).reshape(t, n * d)
        return heads(w.rms_norm(f"self_attn.{name}_norm", together, self.c["rms_norm_eps"]), n)

    def rotate(self, i, x):
        return (self.plain if self.window(i) else self.rope)(x)


class Exaone4(BranchNorms):
    qk_norm = Qwen3.qk_norm

    def rotate(self, i, x):
        return self.rope(x) if self.window(i) or not self.c.get("sliding_window") else x


class SmolLm3(Block):

    def rotate(self, i, x):
        return self.rope(x) if self.c["no_rope_layers"][i] else x

    def window(self, i):
        return None


class Granite(Block):

    def __init__(self, c, t):
        super().__init__(c, t)
        self.scale = c["attention_multiplier"]

    def layer(self, w, i, x):
        by = self.c["residual_multiplier"]
        x = x + by * self.attend(w, i, self.norm(self.c, w, "input_layernorm", x))
        return x + by * self.mlp(w, i, self.norm(self.c, w, "post_attention_layernorm", x))

    def embed(self, x):
        return x * self.c["embedding_multiplier"]

    def logits(self, x):
        return x / self.c["logits_scaling"]


class Glm4(Block):
    interleaved = True

    def mlp(self, w, i, h):
        return Phi3.mlp(self, w, i, h)

    def layer(self, w, i, x):
        norm = lambda name, h: self.norm(self.c, w, name, h)
        x = x + norm("post_self_attn_layernorm", self.attend(w, i, norm("input_layernorm", x)))
        return x + norm("post_mlp_layernorm", self.mlp(w, i, norm("post_attention_layernorm", x)))


class Ernie(Block):
    interleaved = True


class Arcee(Block):

    def mlp(self, w, i, h):
        return Nemotron.mlp(self, w, i, h)


class Mistral3(Block):
    """Queries grow with their position."""

    def temper(self, q):
        scaling = self.c["rope_scaling"]
        floors = np.arange(q.shape[1]) // scaling["original_max_position_embeddings"]
        return q * (1 + scaling["llama_4_scaling_beta"] * np.log(1 + floors))[:, None]


class FatRelu(Block):

    def __init__(self, c, t):
        super().__init__({**c, "hidden_act": "relu"}, t)
        if c["hidden_act"] == "fatrelu":
            self.act = lambda x: np.where(x > c["hidden_act_param"], x, 0)


class SparseRelu(Block):
    """ReLU on the gate, whatever the config says."""

    def __init__(self, c, t):
        super().__init__({**c, "hidden_act": "relu"}, t)


class Bamboo(Block):

    def mlp(self, w, i, h):
        m = w.sub("mlp.")
        return m.linear("down_proj", self.act(m.linear("gate_proj", h)) * self.act(m.linear("up_proj", h)))


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


class Gemma3(Gemma2):
    """Windows of all but every n-th layer, which rotate by a base of their own; normalised queries and keys."""

    def __init__(self, c, t):
        super().__init__({"attn_logit_softcapping": None, "final_logit_softcapping": None, **c}, t)
        self.local = Rope(self.d, c["rope_local_base_freq"], t)

    def qk_norm(self, w, name, x):
        return w.rms_norm(f"self_attn.{name}_norm", x, self.c["rms_norm_eps"], plus_one=True)

    def window(self, i):
        return self.c["sliding_window"] if (i + 1) % self.c["sliding_window_pattern"] else None

    def rotate(self, i, x):
        return (self.local if self.window(i) else self.rope)(x)


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


class Cohere2(Cohere):

    def qk_norm(self, w, name, x):
        return x

    def window(self, i):
        return self.c["sliding_window"] if (i + 1) % self.c["sliding_window_pattern"] else None

    def rotate(self, i, x):
        return self.rope(x) if self.window(i) else x


class Olmo(Block):
    norm = staticmethod(lambda c, w, name, x: layer_norm(x, 1e-5))

    def qkv(self, w, h):
        clip = self.c.get("clip_qkv") or math.inf
        return (np.clip(x, -clip, clip) for x in super(Olmo, self).qkv(w, h))


BLOCKS = {"llama": Block, "mistral": Block, "mixtral": Mixtral, "qwen2": Qwen2, "qwen3": Qwen3, "qwen2_moe": Qwen2Moe,
          "phi": Phi, "phi3": Phi3, "gemma": Gemma, "gemma2": Gemma2, "stablelm": StableLm, "nemotron": Nemotron,
          "starcoder2": StarCoder2, "cohere": Cohere, "olmo": Olmo, "qwen3_moe": Qwen3Moe, "olmo2": Olmo2, "olmo3": Olmo2,
          "exaone4": Exaone4, "smollm3": SmolLm3, "granite": Granite, "glm4": Glm4, "ernie4_5": Ernie, "arcee": Arcee,
          "ministral3": Mistral3, "sparsellama": FatRelu, "llama_sparse_relu": SparseRelu, "bamboo": Bamboo,
          "gemma3_text": Gemma3, "cohere2": Cohere2, "seed_oss": Block}
TIED_BY_DEFAULT = ("gemma", "gemma2", "gemma3_text", "cohere", "cohere2", "starcoder2")


def forward(c, w, ids):
    if c.get("hidden_act") == "fatrelu":
        c = {**c, "model_type": "sparsellama"}
    if "rope_parameters" in c:  # as transformers 5 writes them
        c = {**c, "rope_theta": c["rope_parameters"]["rope_theta"], "rope_scaling": c["rope_parameters"]}
    block, m = BLOCKS[c["model_type"]](c, len(ids)), w.sub("model.")
    x = block.embed(m["embed_tokens.weight"][ids])
    for i in range(c["num_hidden_layers"]):
        x = block.layer(m.sub(f"layers.{i}."), i, x)
    x = block.norm(c, m, block.final_norm, x)
    tied = c.get("tie_word_embeddings", c["model_type"] in TIED_BY_DEFAULT)
    return block.logits(x @ m["embed_tokens.weight"].T if tied else w.linear("lm_head", x))
