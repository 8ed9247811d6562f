"""Fixtures of models whose layers keep a state: configs with wrong readings of them, and the tensors that each holds."""
from .shapes import _gated, _linear

EPS = {"rms_norm_eps": 1e-5}
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 56,
         "tie_word_embeddings": False}
NET = {**SIZES, "rms_norm_eps": 0.03, "hidden_act": "silu", "head_dim": 8, "num_hidden_layers": 2, "intermediate_size": 44,
       "layer_types": ["linear_attention", "full_attention"], "full_attention_interval": 2, "linear_conv_kernel_dim": 4,
       "linear_key_head_dim": 6, "linear_value_head_dim": 5, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
MAMBA = {**SIZES, "model_type": "nemotron_h", "head_dim": 10, "layer_norm_epsilon": 0.03, "conv_kernel": 3,
         "mamba_num_heads": 6, "mamba_head_dim": 6, "n_groups": 2, "ssm_state_size": 5, "mlp_hidden_act": "relu2",
         "intermediate_size": 52}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "norm_topk_prob": True}

FIXTURES = {
    "tiny_lfm2": ({"model_type": "lfm2", **{**SIZES, "tie_word_embeddings": True}, "num_hidden_layers": 2, "block_ff_dim": 66,
                   "block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 4, "norm_eps": 0.03,
                   "rope_theta": 700.0, "conv_L_cache": 3, "conv_bias": False, "layer_types": ["conv", "full_attention"]},
                  [{"norm_eps": 1e-5}, {"rope_theta": 10000.0}]),
    "tiny_lfm2moe": ({"model_type": "lfm2_moe", **{**SIZES, "tie_word_embeddings": True}, "num_hidden_layers": 2, "norm_eps": 0.03,
                      "intermediate_size": 44, "rope_theta": 700.0, "conv_L_cache": 3, "conv_bias": False, **MOE,
                      "num_dense_layers": 1, "routed_scaling_factor": 1.5, "use_expert_bias": True,
                      "layer_types": ["full_attention", "conv"]},
                     [{"norm_eps": 1e-5}, {"rope_theta": 10000.0}, {"num_experts_per_tok": 1},
                      {"routed_scaling_factor": 1.0}]),
    "tiny_nemotronh": ({**MAMBA, "num_hidden_layers": 3, "hybrid_override_pattern": "M*-"},
                       [{"layer_norm_epsilon": 1e-5}, {"mlp_hidden_act": "relu"}]),
    "tiny_nemotronhmoe": ({**MAMBA, "num_hidden_layers": 3, "hybrid_override_pattern": "MEM", "n_routed_experts": 4,
                           "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 10,
                           "moe_shared_expert_intermediate_size": 14, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
                           "routed_scaling_factor": 1.5},
                          [{"layer_norm_epsilon": 1e-5}, {"mlp_hidden_act": "relu"}, {"routed_scaling_factor": 1.0},
                           {"num_experts_per_tok": 1}, {"norm_topk_prob": False}]),
    "tiny_nemotronhlatent": ({**MAMBA, "num_hidden_layers": 3, "hybrid_override_pattern": "EM*", "n_routed_experts": 4,
                              "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "moe_latent_size": 12,
                              "moe_shared_expert_intermediate_size": 14, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
                              "routed_scaling_factor": 1.5},
                             [{"layer_norm_epsilon": 1e-5}, {"mlp_hidden_act": "relu"}, {"routed_scaling_factor": 1.0},
                              {"num_experts_per_tok": 1}]),
    "tiny_qwen3next": ({"model_type": "qwen3_next", **NET, **MOE, "rope_theta": 700.0, "partial_rotary_factor": 0.5,
                        "shared_expert_intermediate_size": 14, "decoder_sparse_step": 1, "mlp_only_layers": []},
                       [EPS, {"rope_theta": 10000.0}, {"partial_rotary_factor": 1.0}, {"norm_topk_prob": False},
                        {"num_experts_per_tok": 1}]),
    "tiny_qwen35": ({"model_type": "qwen3_5_text", **NET, "attn_output_gate": True,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 700.0, "partial_rotary_factor": 0.5,
                                         "mrope_section": [1, 1, 0], "mrope_interleaved": True}},
                    [EPS, {"rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
                     {"rope_parameters": {"rope_theta": 700.0, "partial_rotary_factor": 1.0}}]),
    "tiny_qwen35moe": ({"model_type": "qwen3_5_moe_text", **NET, **MOE, "shared_expert_intermediate_size": 14,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 700.0, "partial_rotary_factor": 0.5,
                                            "mrope_section": [1, 1, 0], "mrope_interleaved": True}},
                       [EPS, {"num_experts_per_tok": 1}]),
}


def _attention(c, p, n_q=1, output="o_proj", norm="_norm"):
    n, heads, kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    d = c.get("head_dim") or n // heads
    out = {**_linear(p + "q_proj", n_q * heads * d, n, False), **_linear(p + output, n, heads * d, False)}
    for part in "kv":
        out.update(_linear(f"{p}{part}_proj", kv * d, n, False))
    return {**out, **({f"{p}{part}{norm}.weight": (d,) for part in "qk"} if norm else {})}


def lfm2(c):
    n, out = c["hidden_size"], {"model.embed_tokens.weight": (c["vocab_size"], c["hidden_size"])}
    names = (("w1", True), ("w3", True), ("w2", False))

    def mlp(p, ff):
        return {f"{p}{name}.weight": (ff, n) if first else (n, ff) for name, first in names}

    for i, kind in enumerate(c["layer_types"]):
        p = f"model.layers.{i}."
        out.update({p + "operator_norm.weight": (n,), p + "ffn_norm.weight": (n,)})
        if kind == "conv":
            out.update({p + "conv.conv.weight": (n, 1, c["conv_L_cache"]), **_linear(p + "conv.in_proj", 3 * n, n, False),
                        **_linear(p + "conv.out_proj", n, n, False)})
        else:
            out.update(_attention(c, p + "self_attn.", 1, "out_proj", "_layernorm"))
        if i < c.get("num_dense_layers", len(c["layer_types"])):
            out.update(mlp(p + "feed_forward.", c.get("intermediate_size", 44)))
            continue
        out.update({p + "feed_forward.gate.weight": (c["num_experts"], n), p + "feed_forward.expert_bias": (c["num_experts"],)})
        for e in range(c["num_experts"]):
            out.update(mlp(f"{p}feed_forward.experts.{e}.", c["moe_intermediate_size"]))
    return {**out, "model.embedding_norm.weight": (n,)}


def nemotron_h(c):
    n, m = c["hidden_size"], "backbone."
    out = {m + "embeddings.weight": (c["vocab_size"], n), m + "norm_f.weight": (n,), "lm_head.weight": (c["vocab_size"], n)}
    heads = c["mamba_num_heads"]
    width, conv = heads * c["mamba_head_dim"], heads * c["mamba_head_dim"] + 2 * c["n_groups"] * c["ssm_state_size"]

    def mlp(p, ff, n=n):
        return {**_linear(p + "up_proj", ff, n, False), **_linear(p + "down_proj", n, ff, False)}

    for i, kind in enumerate(c["hybrid_override_pattern"]):
        p = f"{m}layers.{i}.mixer."
        out[f"{m}layers.{i}.norm.weight"] = (n,)
        if kind == "M":
            out.update({**_linear(p + "in_proj", width + conv + heads, n, False), **_linear(p + "out_proj", n, width, False),
                        p + "conv1d.weight": (conv, 1, c["conv_kernel"]), p + "conv1d.bias": (conv,), p + "dt_bias": (heads,),
                        p + "A_log": (heads,), p + "D": (heads,), p + "norm.weight": (width,)})
        elif kind == "*":
            out.update(_attention(c, p, norm=None))
        elif kind == "-":
            out.update(mlp(p, c["intermediate_size"]))
        else:
            out.update({p + "gate.weight": (c["n_routed_experts"], n),
                        p + "gate.e_score_correction_bias": (c["n_routed_experts"],),
                        **mlp(p + "shared_experts.", c["moe_shared_expert_intermediate_size"])})
            latent = c.get("moe_latent_size")
            if latent:
                out.update({**_linear(p + "fc1_latent_proj", latent, n, False), **_linear(p + "fc2_latent_proj", n, latent, False)})
            for e in range(c["n_routed_experts"]):
                out.update(mlp(f"{p}experts.{e}.", c["moe_intermediate_size"], latent or n))
    return out


def qwen_next(c):
    n, keys, heads = c["hidden_size"], c["linear_num_key_heads"], c["linear_num_value_heads"]
    width = heads * c["linear_value_head_dim"]
    conv = width + 2 * keys * c["linear_key_head_dim"]
    out = {"model.embed_tokens.weight": (c["vocab_size"], n)}
    for i, kind in enumerate(c["layer_types"]):
        p = f"model.layers.{i}."
        out.update({p + "input_layernorm.weight": (n,), p + "post_attention_layernorm.weight": (n,)})
        if kind == "linear_attention":
            a = p + "linear_attn."
            if c["model_type"] == "qwen3_next":
                out.update({**_linear(a + "in_proj_qkvz", conv + width, n, False), **_linear(a + "in_proj_ba", 2 * heads, n, False)})
            else:
                for name, rows in (("qkv", conv), ("z", width), ("b", heads), ("a", heads)):
                    out.update(_linear(f"{a}in_proj_{name}", rows, n, False))
            out.update({a + "conv1d.weight": (conv, 1, c["linear_conv_kernel_dim"]), a + "dt_bias": (heads,), a + "A_log": (heads,),
                        a + "norm.weight": (c["linear_value_head_dim"],), **_linear(a + "out_proj", n, width, False)})
        else:
            out.update(_attention(c, p + "self_attn.", 2))
        e, ff = c.get("num_experts"), c.get("moe_intermediate_size")
        if not e:
            out.update(_gated(p + "mlp", n, c["intermediate_size"]))
            continue
        out.update({**_linear(p + "mlp.gate", e, n, False), **_linear(p + "mlp.shared_expert_gate", 1, n, False),
                    **_gated(p + "mlp.shared_expert", n, c["shared_expert_intermediate_size"])})
        if c["model_type"] == "qwen3_next":
            for x in range(e):
                out.update(_gated(f"{p}mlp.experts.{x}", n, ff))
        else:
            out.update({p + "mlp.experts.gate_up_proj": (e, 2 * ff, n), p + "mlp.experts.down_proj": (e, n, ff)})
    return {**out, "model.norm.weight": (n,), "lm_head.weight": (c["vocab_size"], n)}


SHAPES = {"lfm2": lfm2, "lfm2_moe": lfm2, "nemotron_h": nemotron_h, "qwen3_next": qwen_next, "qwen3_5_text": qwen_next,
          "qwen3_5_moe_text": qwen_next}


def value(config, name, noise):
    """Weights of states, of a size at which they remember; None: as others."""
    if name.endswith(("A_log", "dt_bias")):
        return 0.5 * noise - (1.5 if name.endswith("A_log") else 0)
    if name.endswith((".D", "mixer.norm.weight", "linear_attn.norm.weight")):
        return 0.3 * noise + 1
    if "conv.weight" in name or "conv1d.weight" in name:
        return 0.8 * noise
    if noise.ndim == 3:  # experts in one tensor
        return noise * 1.6 / noise.shape[2]**0.5
    return None
