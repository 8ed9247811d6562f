"""Fixtures of Gemma 3n, Gemma 4 and BitNet: configs with wrong readings of them, and the tensors that each holds."""
import numpy as np

from . import bitnet
from .late_gemma import text_config
from .shapes import _gated, _linear

S, F = "sliding_attention", "full_attention"
EPS = {"rms_norm_eps": 1e-5}
GEMMA = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 56,
         "rms_norm_eps": 0.03, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 9, "attention_bias": False}
ERF, WINDOW, UNCAPPED = {"hidden_activation": "gelu"}, {"sliding_window": 10}, {"final_logit_softcapping": None}

GEMMA3N = {"model_type": "gemma3n_text", **GEMMA, "torch_dtype": "bfloat16", "num_hidden_layers": 5, "layer_types": [S, S, F, S, F],
           "intermediate_size": [40, 40, 40, 44, 40], "activation_sparsity_pattern": [0.9, 0.8, 0.0, 0.95, 0.0],
           "altup_num_inputs": 4, "altup_active_idx": 1, "altup_coef_clip": 0.3, "altup_correct_scale": True, "laurel_rank": 6,
           "hidden_size_per_layer_input": 6, "vocab_size_per_layer_input": 61, "num_kv_shared_layers": 2, "rope_theta": 5000.0,
           "rope_local_base_freq": 700.0, "rope_scaling": None, "final_logit_softcapping": 2.0}

TURNED = {"rope_type": "proportional", "rope_theta": 5000.0, "partial_rotary_factor": 0.25}
LOCAL = {"rope_type": "default", "rope_theta": 700.0}
GEMMA4 = {"model_type": "gemma4_text", **GEMMA, "global_head_dim": 16, "rope_parameters": {F: TURNED, S: LOCAL},
          "tie_word_embeddings": True, "vocab_size_per_layer_input": 61}
DENSE = {**GEMMA4, "dtype": "bfloat16", "num_hidden_layers": 6, "layer_types": [S, S, F, S, S, F], "num_kv_shared_layers": 3,
         "intermediate_size": 24, "use_double_wide_mlp": True, "hidden_size_per_layer_input": 5, "attention_k_eq_v": False,
         "enable_moe_block": False, "final_logit_softcapping": 2.0}
MOE = {**GEMMA4, "num_hidden_layers": 2, "layer_types": [S, F], "num_kv_shared_layers": 0, "intermediate_size": 28,
       "use_double_wide_mlp": False, "hidden_size_per_layer_input": 0, "attention_k_eq_v": True, "num_global_key_value_heads": 1,
       "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 10,
       "final_logit_softcapping": 3.0}


def _ropes(full, local):
    return {"rope_parameters": {F: {**TURNED, **full}, S: {**LOCAL, **local}}}


WRONG = [EPS, ERF, WINDOW, UNCAPPED, _ropes({"rope_theta": 10000.0}, {}), _ropes({}, {"rope_theta": 10000.0}),
         _ropes({"partial_rotary_factor": 1.0}, {}), _ropes({"factor": 2.0}, {})]
TERNARY = {"quant_method": "bitnet", "quantization_mode": "offline", "linear_class": "autobitlinear",
           "modules_to_not_convert": None}

FIXTURES = {
    "tiny_gemma3n": (GEMMA3N, [EPS, ERF, WINDOW, UNCAPPED, {"rope_theta": 10000.0}, {"rope_local_base_freq": 5000.0},
                               {"altup_active_idx": 0}, {"altup_coef_clip": 120.0}, {"altup_correct_scale": False},
                               {"num_kv_shared_layers": 0}, {"layer_types": [S, S, F, S, S]}] +
                     [{"activation_sparsity_pattern": p} for p in ([0] * 5, [0.95, 0.8, 0, 0.95, 0], [0.9, 0.8, 0, 0.9, 0])]),
    "tiny_gemma4": ({"model_type": "gemma4", "tie_word_embeddings": True, "text_config": DENSE},
                    [{"text_config": {**DENSE, "vocab_size": 61, **m}} for m in WRONG]),
    "tiny_gemma4_moe": (MOE, [*WRONG, {"top_k_experts": 1}]),
    # Widths of whole blocks of 64, in which the engine keeps ternary matrices.
    "tiny_bitnet": ({"model_type": "bitnet", "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 8,
                     "num_key_value_heads": 4, "num_hidden_layers": 2, "max_position_embeddings": 56, "rms_norm_eps": 0.03,
                     "rope_theta": 700.0, "hidden_act": "relu2", "tie_word_embeddings": True, "quantization_config": TERNARY},
                    [EPS, {"rope_theta": 10000.0}, {"hidden_act": "relu"}, {"hidden_act": "silu"}, {"float_activations": True},
                     {"quantization_config": {**TERNARY, "linear_class": "bitlinear"}}]),
}


def _norms(p, names, n):
    return {f"{p}{name}.weight": (n,) for name in names}


def _gemma_layer(c, p, i, d, n_kv, ff, has_values, has_own):
    n, heads, a = c["hidden_size"], c["num_attention_heads"], p + "self_attn."
    out = {**_norms(p, ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"), n),
           **_linear(a + "q_proj", heads * d, n, False), **_linear(a + "o_proj", n, heads * d, False), a + "q_norm.weight": (d,),
           **_gated(p + "mlp", n, ff)}
    if has_own:
        out.update({**_linear(a + "k_proj", n_kv * d, n, False), a + "k_norm.weight": (d,)})
        out.update(_linear(a + "v_proj", n_kv * d, n, False) if has_values else {})
    if width := c["hidden_size_per_layer_input"]:
        out.update({**_linear(p + "per_layer_input_gate", width, n, False), **_linear(p + "per_layer_projection", n, width, False),
                    p + "post_per_layer_input_norm.weight": (n,)})
    return out


def _gemma_ends(c, m):
    n, width, layers = c["hidden_size"], c["hidden_size_per_layer_input"], c["num_hidden_layers"]
    out = {m + "embed_tokens.weight": (c["vocab_size"], n), m + "norm.weight": (n,)}
    if width:
        out.update({m + "embed_tokens_per_layer.weight": (c["vocab_size_per_layer_input"], layers * width),
                    **_linear(m + "per_layer_model_projection", layers * width, n, False),
                    m + "per_layer_projection_norm.weight": (width,)})
    return out


def gemma3n(c):
    n, streams, out = c["hidden_size"], c["altup_num_inputs"], _gemma_ends(c, "model.")
    for k in range(streams - 1):
        out.update({**_linear(f"model.altup_projections.{k}", n, n, False),
                    **_linear(f"model.altup_unembed_projections.{k}", n, n, False)})
    for i, ff in enumerate(c["intermediate_size"]):
        p = f"model.layers.{i}."
        # Layers that read another's keys have their own as well.
        out.update({**_gemma_layer(c, p, i, c["head_dim"], c["num_key_value_heads"], ff, True, True),
                    p + "altup.correct_output_scale": (n,), **_linear(p + "altup.correction_coefs", streams, streams, False),
                    **_linear(p + "altup.prediction_coefs", streams**2, streams, False),
                    **_linear(p + "altup.modality_router", streams, n, False), p + "altup.router_norm.weight": (n,),
                    **_linear(p + "laurel.linear_left", c["laurel_rank"], n, False),
                    **_linear(p + "laurel.linear_right", n, c["laurel_rank"], False), p + "laurel.post_laurel_norm.weight": (n,)})
    return out


def gemma4(whole):
    c, m = text_config(whole), "model.language_model." if "text_config" in whole else "model."
    n, own, out = c["hidden_size"], c["num_hidden_layers"] - c["num_kv_shared_layers"], _gemma_ends(c, m)
    for i, kind in enumerate(c["layer_types"]):
        p, as_values = f"{m}layers.{i}.", c["attention_k_eq_v"] and kind == F
        out.update({**_gemma_layer(c, p, i, c["global_head_dim"] if kind == F else c["head_dim"],
                                   c["num_global_key_value_heads"] if as_values else c["num_key_value_heads"],
                                   c["intermediate_size"] * (2 if i >= own and c["use_double_wide_mlp"] else 1), not as_values, i < own),
                    p + "layer_scalar": (1,)})
        if c["enable_moe_block"]:
            e, ff = c["num_experts"], c["moe_intermediate_size"]
            out.update({**_norms(p, ("post_feedforward_layernorm_1", "pre_feedforward_layernorm_2", "post_feedforward_layernorm_2"), n),
                        **_linear(p + "router.proj", e, n, False), p + "router.scale": (n,), p + "router.per_expert_scale": (e,),
                        p + "experts.gate_up_proj": (e, 2 * ff, n), p + "experts.down_proj": (e, n, ff)})
    return out


def bitnet_shapes(c):
    n, ff, kv = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]
    out = {"model.embed_tokens.weight": (c["vocab_size"], n), "model.norm.weight": (n,)}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out.update({**_norms(p, ("input_layernorm", "post_attention_layernorm", "self_attn.attn_sub_norm"), n),
                    **_norms(p, ("mlp.ffn_sub_norm",), ff)})
        for name, rows in (("q", n), ("k", kv), ("v", kv), ("o", n)):
            out.update({f"{p}self_attn.{name}_proj.weight": (rows, n), f"{p}self_attn.{name}_proj.weight_scale": (1,)})
        for name, shape in (("gate", (ff, n)), ("up", (ff, n)), ("down", (n, ff))):
            out.update({f"{p}mlp.{name}_proj.weight": shape, f"{p}mlp.{name}_proj.weight_scale": (1,)})
    return out


SHAPES = {"gemma3n_text": gemma3n, "gemma4": gemma4, "gemma4_text": gemma4, "bitnet": bitnet_shapes}


def value(config, name, noise):
    """Packed weights; norms that are meant as they are stored; mixtures of streams that mix; None: as others."""
    if config["model_type"] not in SHAPES:
        return None
    if config["model_type"] == "bitnet" and "_proj." in name:
        if name.endswith("scale"):
            return 0.2 + 0.03 * noise
        return bitnet.packed(np.clip(np.rint(noise), -1, 1).astype(np.int8))
    if noise.ndim == 1:
        return 0.3 * noise + 1
    if noise.ndim == 3:  # experts in one tensor
        return noise * 1.6 / noise.shape[2]**0.5
    if "altup." in name:
        return noise * (4 if "router" in name else 0.4)
    if "router.proj" in name:
        return noise * 1.2 / noise.shape[1]**0.5
    if "embed_tokens." in name:  # tied: see fixtures.py
        return noise * (0.3 if config["model_type"] == "bitnet" else 0.13)
    return None
