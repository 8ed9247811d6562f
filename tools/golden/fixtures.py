"""The fixtures: tiny configs whose every number shows in the logits, random weights for them, and their goldens."""
import copy
import json
import shutil
import zlib

import numpy as np

from . import bitnet, late_gemma, late_gemma_fixtures, recurrent_fixtures, safetensors, shapes, transfo_xl_fixtures

PROMPTS, N_VOCAB, N_CTX, N_GREEDY = (1, 11, 37), 61, 56, 16
MIN_MARGIN = 2e-3  # of a greedy token over the second: far beyond float32's error
MIN_SHIFT = 1e-3   # of a logit when a value of the config is another or a tensor zero: ten times the tests' tolerance

# Where inputs are rounded to int8, float32 may round one otherwise: of a greedy token, and at every position.
MIN_MARGIN_ROUNDED = 5e-2

WITHOUT_ROPE = ("opt", "xglm")

ROTARY = {"hidden_size": 32, "intermediate_size": 44, "num_attention_heads": 4, "num_key_value_heads": 2,
          "num_hidden_layers": 2, "max_position_embeddings": N_CTX, "rope_theta": 700.0, "tie_word_embeddings": False}
RMS = {**ROTARY, "rms_norm_eps": 0.03, "hidden_act": "silu"}
LAYER = {**ROTARY, "layer_norm_eps": 0.03, "hidden_act": "silu"}
GPT = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_inner": 56, "n_positions": N_CTX, "layer_norm_epsilon": 0.03}
FALCON = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "ffn_hidden_size": 68,
          "layer_norm_epsilon": 0.03, "max_position_embeddings": N_CTX, "activation": "gelu"}
EPS, THETA = {"rms_norm_eps": 1e-5}, {"rope_theta": 10000.0}
LN_EPS, GPT_EPS = {"layer_norm_eps": 1e-5}, {"layer_norm_epsilon": 1e-5}
GELU = {"hidden_act": "gelu"}
ERF, TANH = {"activation_function": "gelu"}, {"activation_function": "gelu_new"}

# name: (config, mutants). A mutant is a wrong reading of the config, and must move the logits.
FIXTURES = {
    "tiny_opt": ({"model_type": "opt", "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 56, "num_attention_heads": 4,
                  "num_hidden_layers": 2, "max_position_embeddings": N_CTX, "do_layer_norm_before": True,
                  "activation_function": "relu"}, [{"activation_function": "gelu"}]),
    "tiny_llama": ({"model_type": "llama", **RMS, "attention_bias": True, "mlp_bias": True,
                    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                     "original_max_position_embeddings": 32}},
                   [EPS, THETA, GELU, {"rope_scaling": None}]),
    "tiny_mixtral": ({"model_type": "mixtral", **RMS, "intermediate_size": 10, "num_local_experts": 5, "num_experts_per_tok": 2,
                      "sliding_window": 9}, [EPS, THETA, GELU, {"num_experts_per_tok": 1}, {"sliding_window": 10}]),
    "tiny_gpt2": ({"model_type": "gpt2", **GPT, "activation_function": "gelu_new", "scale_attn_by_inverse_layer_idx": True},
                  [GPT_EPS, ERF, {"scale_attn_by_inverse_layer_idx": False}]),
    "tiny_gptneo": ({"model_type": "gpt_neo", "hidden_size": 32, "num_heads": 4, "num_layers": 2, "intermediate_size": 56,
                     "max_position_embeddings": N_CTX, "window_size": 9, "attention_types": [[["global", "local"], 1]],
                     "layer_norm_epsilon": 0.03, "activation_function": "gelu_new"},
                    [GPT_EPS, ERF, {"window_size": 10}, {"attention_types": [[["local", "global"], 1]]}]),
    "tiny_starcoder": ({"model_type": "gpt_bigcode", **GPT, "activation_function": "gelu_pytorch_tanh", "multi_query": True,
                        "scale_attn_weights": True}, [GPT_EPS, ERF, {"scale_attn_weights": False}]),
    "tiny_gptneox": ({"model_type": "gpt_neox", "hidden_size": 32, "intermediate_size": 56, "num_attention_heads": 4,
                      "num_hidden_layers": 2, "max_position_embeddings": N_CTX, "layer_norm_eps": 0.03, "hidden_act": "gelu",
                      "rotary_pct": 0.5, "rotary_emb_base": 700, "use_parallel_residual": True, "tie_word_embeddings": False},
                     [LN_EPS, {"hidden_act": "gelu_new"}, {"rotary_pct": 0.25}, {"rotary_emb_base": 10000},
                      {"use_parallel_residual": False}]),
    "tiny_gptj": ({"model_type": "gptj", **GPT, "activation_function": "gelu_new", "rotary_dim": 4, "tie_word_embeddings": False},
                  [GPT_EPS, ERF, {"rotary_dim": 8}]),
    "tiny_bloom": ({"model_type": "bloom", "hidden_size": 24, "n_head": 6, "n_layer": 2, "layer_norm_epsilon": 0.03,
                    "apply_residual_connection_post_layernorm": False}, [GPT_EPS]),
    "tiny_mpt": ({"model_type": "mpt", "d_model": 24, "n_heads": 6, "n_layers": 2, "expansion_ratio": 4, "max_seq_len": N_CTX,
                  "layer_norm_epsilon": 0.03, "no_bias": True,
                  "attn_config": {"model_type": "", "alibi": True, "alibi_bias_max": 6, "clip_qkv": 1.5, "softmax_scale": 0.7}},
                 [GPT_EPS] + [{"attn_config": {"alibi": True, "alibi_bias_max": 6, "clip_qkv": 1.5, "softmax_scale": 0.7, **m}}
                              for m in ({"alibi_bias_max": 8}, {"clip_qkv": None}, {"softmax_scale": None})]),
    "tiny_falcon": ({"model_type": "falcon", **FALCON, "num_kv_heads": 2, "new_decoder_architecture": True, "multi_query": True,
                     "parallel_attn": True, "alibi": False, "bias": False, "rope_theta": 700.0},
                    [GPT_EPS, THETA, {"activation": "gelu_new"}]),
    "tiny_falcon_rw": ({"model_type": "falcon", **FALCON, "hidden_size": 24, "num_attention_heads": 6,
                        "new_decoder_architecture": False, "multi_query": False, "parallel_attn": False, "alibi": True,
                        "bias": True}, [GPT_EPS, {"activation": "gelu_new"}]),
    "tiny_qwen2": ({"model_type": "qwen2", **RMS, "tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 9,
                    "max_window_layers": 1}, [EPS, THETA, GELU, {"sliding_window": 10}, {"max_window_layers": 0},
                                              {"use_sliding_window": False}]),
    "tiny_qwen3": ({"model_type": "qwen3", **RMS, "head_dim": 10, "attention_bias": False}, [EPS, THETA, GELU]),
    "tiny_qwen2moe": ({"model_type": "qwen2_moe", **RMS, "num_hidden_layers": 3, "hidden_size": 24, "intermediate_size": 24,
                       "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "decoder_sparse_step": 1,
                       "shared_expert_intermediate_size": 18, "norm_topk_prob": True, "mlp_only_layers": [1],
                       "use_sliding_window": False},
                      [EPS, THETA, GELU, {"norm_topk_prob": False}, {"num_experts_per_tok": 3}]),
    "tiny_phi2": ({"model_type": "phi", **LAYER, "num_key_value_heads": 4, "hidden_act": "gelu_new", "partial_rotary_factor": 0.5,
                   "qk_layernorm": False}, [LN_EPS, THETA, GELU, {"partial_rotary_factor": 1.0}]),
    "tiny_phi3": ({"model_type": "phi3", **RMS, "original_max_position_embeddings": 28, "sliding_window": 9,
                   "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.2, 1.5, 1.7], "long_factor": [1.0, 1.9, 2.9, 4.0]}},
                  [EPS, THETA, GELU, {"sliding_window": 10}, {"rope_scaling": None}]),
    "tiny_gemma": ({"model_type": "gemma", **RMS, "num_key_value_heads": 1, "head_dim": 12, "tie_word_embeddings": True,
                    "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"},
                   [EPS, THETA, {"hidden_activation": "gelu"}]),
    "tiny_gemma2": ({"model_type": "gemma2", **RMS, "head_dim": 12, "tie_word_embeddings": True, "sliding_window": 9,
                     "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 20,
                     "attn_logit_softcapping": 3.0, "final_logit_softcapping": 6.0},
                    [EPS, THETA, {"hidden_activation": "gelu"}, {"sliding_window": 10}, {"query_pre_attn_scalar": 12},
                     {"attn_logit_softcapping": None}, {"final_logit_softcapping": None}]),
    "tiny_stablelm": ({"model_type": "stablelm", **LAYER, "partial_rotary_factor": 0.5, "use_parallel_residual": False,
                       "use_qkv_bias": True, "qk_layernorm": True}, [LN_EPS, THETA, GELU, {"partial_rotary_factor": 0.25}]),
    "tiny_nemotron": ({"model_type": "nemotron", **ROTARY, "intermediate_size": 56, "head_dim": 8, "norm_eps": 0.03,
                       "hidden_act": "relu2", "partial_rotary_factor": 0.5},
                      [{"norm_eps": 1e-5}, THETA, {"hidden_act": "relu"}, {"partial_rotary_factor": 1.0}]),
    "tiny_starcoder2": ({"model_type": "starcoder2", **ROTARY, "intermediate_size": 56, "norm_epsilon": 0.03, "use_bias": True,
                         "hidden_act": "gelu_pytorch_tanh", "sliding_window": 9, "tie_word_embeddings": True},
                        [{"norm_epsilon": 1e-5}, THETA, GELU, {"sliding_window": 10}]),
    "tiny_command_r": ({"model_type": "cohere", **LAYER, "tie_word_embeddings": True, "use_qk_norm": True, "logit_scale": 0.6,
                        "attention_bias": False}, [LN_EPS, THETA, GELU, {"logit_scale": 0.0625}]),
    "tiny_olmo": ({"model_type": "olmo", **ROTARY, "hidden_act": "silu", "clip_qkv": 1.3},
                  [THETA, GELU, {"clip_qkv": None}]),
    "tiny_olmo3": ({"model_type": "olmo3", **RMS, "num_key_value_heads": 2, "sliding_window": 9,
                    "layer_types": ["sliding_attention", "full_attention"],
                    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24, "beta_fast": 2.0,
                                     "beta_slow": 0.2, "truncate": False}},
                   [EPS, THETA, GELU, {"sliding_window": 10}, {"layer_types": ["full_attention", "sliding_attention"]},
                    {"rope_scaling": None},
                    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24,
                                      "beta_fast": 2.0, "beta_slow": 0.2}}]),
    "tiny_smollm3": ({"model_type": "smollm3", **RMS, "tie_word_embeddings": True, "no_rope_layers": [0, 1]},
                     [EPS, THETA, GELU, {"no_rope_layers": [1, 1]}, {"no_rope_layers": [1, 0]}]),
    "tiny_granite": ({"model_type": "granite", **RMS, "tie_word_embeddings": True, "attention_multiplier": 0.5,
                      "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 1.7},
                     [EPS, THETA, GELU, {"attention_multiplier": 0.35}, {"embedding_multiplier": 1.0},
                      {"residual_multiplier": 1.0}, {"logits_scaling": 1.0}]),
    "tiny_gemma3": ({"model_type": "gemma3_text", **RMS, "head_dim": 12, "tie_word_embeddings": True, "sliding_window": 9,
                     "sliding_window_pattern": 2, "rope_local_base_freq": 90.0, "query_pre_attn_scalar": 20,
                     "hidden_activation": "gelu_pytorch_tanh", "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
                    [EPS, THETA, {"hidden_activation": "gelu"}, {"sliding_window": 10}, {"query_pre_attn_scalar": 12},
                     {"rope_local_base_freq": 700.0}, {"sliding_window_pattern": 1}, {"rope_scaling": None}]),
    "tiny_cohere2": ({"model_type": "cohere2", **LAYER, "tie_word_embeddings": True, "logit_scale": 0.6, "sliding_window": 9,
                      "sliding_window_pattern": 2},
                     [LN_EPS, THETA, GELU, {"logit_scale": 0.0625}, {"sliding_window": 10}, {"sliding_window_pattern": 3}]),
    "tiny_glm4": ({"model_type": "glm4", **RMS, "attention_bias": True, "partial_rotary_factor": 0.5},
                  [EPS, THETA, GELU, {"partial_rotary_factor": 1.0}]),
    "tiny_mistral3": ({"model_type": "ministral3", **RMS,
                       "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 25,
                                        "beta_fast": 0.6, "beta_slow": 0.05, "mscale": 1.0, "mscale_all_dim": 0.6,
                                        "llama_4_scaling_beta": 0.3}},
                      [EPS, THETA, GELU] +
                      [{"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 25,
                                         "beta_fast": 0.6, "beta_slow": 0.05, "mscale": 1.0, "mscale_all_dim": 0.6,
                                         "llama_4_scaling_beta": 0.3, **m}}
                       for m in ({"llama_4_scaling_beta": 0.0}, {"mscale_all_dim": 0.0}, {"beta_fast": 32.0})]),
    "tiny_fatrelu": ({"model_type": "sparsellama", **RMS, "intermediate_size": 72, "hidden_act": "fatrelu",
                      "hidden_act_param": 0.3}, [EPS, THETA, {"hidden_act_param": 0.0}]),
    "tiny_drelu": ({"model_type": "bamboo", **RMS, "intermediate_size": 72, "hidden_act": "relu"},
                   [EPS, THETA, {"model_type": "sparsellama"}]),
    "tiny_granitemoe": ({"model_type": "granitemoeshared", **RMS, "intermediate_size": 10, "tie_word_embeddings": True,
                         "attention_multiplier": 0.5, "embedding_multiplier": 3.0, "residual_multiplier": 0.6,
                         "logits_scaling": 1.7, "num_local_experts": 4, "num_experts_per_tok": 2,
                         "shared_intermediate_size": 14}, [EPS, THETA, GELU, {"num_experts_per_tok": 1}]),
    "tiny_deepseek3": ({"model_type": "deepseek_v3", **RMS, "num_hidden_layers": 2, "num_attention_heads": 3,
                        "num_key_value_heads": 3, "rms_norm_eps": 0.03, "q_lora_rank": 20, "kv_lora_rank": 14,
                        "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5, "first_k_dense_replace": 1,
                        "n_routed_experts": 6, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 3, "topk_group": 2,
                        "moe_intermediate_size": 8, "scoring_func": "sigmoid", "norm_topk_prob": True,
                        "routed_scaling_factor": 1.6, "max_position_embeddings": N_CTX,
                        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 14,
                                         "beta_fast": 0.6, "beta_slow": 0.05, "mscale": 1.0, "mscale_all_dim": 1.0}},
                       [EPS, THETA, GELU, {"topk_group": 3}, {"norm_topk_prob": False}, {"routed_scaling_factor": 1.0},
                        {"scoring_func": "softmax"}, {"rope_scaling": None}]),
    "tiny_phimoe": ({"model_type": "phimoe", **RMS, "intermediate_size": 10, "attention_bias": True, "num_local_experts": 4,
                     "num_experts_per_tok": 2, "router_jitter_noise": 0.2, "original_max_position_embeddings": 28,
                     "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.2, 1.5, 1.7],
                                      "long_factor": [1.0, 1.9, 2.9, 4.0], "short_mscale": 1.1, "long_mscale": 1.3,
                                      "original_max_position_embeddings": 28}},
                    [EPS, THETA, GELU, {"router_jitter_noise": 0.01}, {"num_experts_per_tok": 1}]),
    "tiny_smallthinker": ({"model_type": "smallthinker", **{k: v for k, v in RMS.items() if k not in ("intermediate_size", "hidden_act")},
                           "moe_ffn_hidden_size": 12, "moe_num_primary_experts": 4, "moe_num_active_primary_experts": 2,
                           "moe_primary_router_apply_softmax": False, "rope_layout": [0, 1], "sliding_window_layout": [0, 1],
                           "sliding_window_size": 9},
                          [EPS, THETA, {"rope_layout": [1, 1]}, {"sliding_window_size": 10}, {"sliding_window_layout": [1, 1]},
                           {"moe_primary_router_apply_softmax": True}, {"moe_num_active_primary_experts": 1}]),
    "tiny_gptoss": ({"model_type": "gpt_oss", **RMS, "intermediate_size": 10, "attention_bias": True, "num_local_experts": 4,
                     "num_experts_per_tok": 2, "swiglu_limit": 1.5, "sliding_window": 9,
                     "layer_types": ["sliding_attention", "full_attention"],
                     "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24, "beta_fast": 2.0,
                                      "beta_slow": 0.2, "truncate": False}},
                    [EPS, THETA, {"swiglu_limit": 7.0}, {"sliding_window": 10}, {"num_experts_per_tok": 1}]),
    "tiny_xglm": ({"model_type": "xglm", "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 56,
                   "max_position_embeddings": N_CTX, "activation_function": "gelu", "scale_embedding": True},
                  [{"scale_embedding": False}, TANH]),
    **recurrent_fixtures.FIXTURES,
    **late_gemma_fixtures.FIXTURES,
    **transfo_xl_fixtures.FIXTURES,
}
OTHERS = (recurrent_fixtures, late_gemma_fixtures, transfo_xl_fixtures)
SHAPES = {kind: of for module in OTHERS for kind, of in module.SHAPES.items()}


def _is_bf16(config):
    words = late_gemma.text_config(config)
    return words.get("torch_dtype", words.get("dtype")) == "bfloat16"


def random_weights(config, rng):
    """Weights at which attention chooses, norms differ from one, and no bias is zero."""
    plus_one, tensors = config["model_type"].startswith(("gemma", "nemotron", "qwen3_next", "qwen3_5")), {}
    plus_one = plus_one and config["model_type"] != "nemotron_h"
    names = SHAPES.get(config["model_type"], shapes.of)(config)
    as_bf16 = _is_bf16(config)
    for name, shape in names.items():
        noise = rng.standard_normal(shape)
        own = [v for v in (module.value(config, name, noise) for module in OTHERS) if v is not None]
        if own:
            value = own[0]
        elif name.endswith("bias"):
            value = 0.3 * noise
        elif "norm" in name or "ln_" in name or len(shape) == 1:
            value = 0.3 * noise + (0 if plus_one else 1)
        elif any(part in name for part in ("embed", "wte", "wpe")):
            # Tied, larger ones would predict the token itself; these models scale theirs by sqrt(n_embd).
            value = {"gemma": 0.13, "gemma2": 0.13, "gemma3_text": 0.13, "xglm": 0.2, "granite": 0.3}.get(config["model_type"], 0.5) * noise
        else:
            n_in = shape[0] if config["model_type"] == "gpt2" else shape[1]
            sharp = any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key", "c_attn"))
            back = any(part in name for part in ("o_proj", "down_proj", "w2", "out_proj", "dense", "c_proj", "fc2", "fc_out"))
            value = noise * (1.6 if sharp else 2.2 if back else 1.2) / np.sqrt(n_in)
        if value.dtype != np.uint8:
            value = value.astype(np.float32)
            value = safetensors.to_bf16(value) if as_bf16 else value
        tensors[name] = value
    return tensors


def _judge(config, mutants, tensors, prompts, logits, greedy):
    """Sequences and logits of this checkpoint; a reason in their place if it shows too little."""
    sequences, arrays = [], []
    for ids in prompts:
        out = logits(config, tensors, ids)
        continuation, margin = greedy(config, tensors, ids, N_GREEDY)
        if margin < MIN_MARGIN:
            return f"a greedy token leads by {margin:.1e} only"
        sequences.append({"ids": ids, "argmax": out.argmax(-1).tolist(), "greedy": continuation,
                          "greedy_min_top1_margin": float(margin)})
        if config["model_type"] == "bitnet":
            second, first = np.sort(out, axis=-1)[:, -2:].T
            if (lead := min(margin, (first - second).min())) < MIN_MARGIN_ROUNDED:
                return f"a token leads by {lead:.1e} only"
        arrays.append(out)
    if len({t for s in sequences for t in s["greedy"]}) < 8:
        return "the greedy texts repeat few tokens"
    for mutant in mutants:
        shift = np.abs(logits({**config, **mutant}, tensors, prompts[-1]) - arrays[-1]).max()
        if shift < MIN_SHIFT:
            return f"{mutant} moves the logits by {shift:.1e} only"
    for name, array in tensors.items():
        if config["model_type"] in WITHOUT_ROPE and name.endswith("k_proj.bias"):
            continue  # adds the same to every score of a query: softmax does not see it
        if late_gemma.is_unread(config, name):
            continue
        shift = np.abs(logits(config, {**tensors, name: 0 * array}, prompts[-1]) - arrays[-1]).max()
        if shift < MIN_SHIFT:
            return f"{name} at zero moves the logits by {shift:.1e} only"
    return sequences, arrays


def _write(folder, name, config, seed, tensors, sequences, arrays, logits):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "golden").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    safetensors.write(folder / "model.safetensors", tensors, _is_bf16(config))
    named = {f"s{i}.logits": a for i, a in enumerate(arrays)}
    for variant, change in bitnet.VARIANTS.items() if config["model_type"] == "bitnet" else ():
        named.update({f"s{i}.{variant}": logits({**config, **change}, tensors, s["ids"]) for i, s in enumerate(sequences)})
    index, offset = {}, 0
    for key, a in named.items():
        index[key] = {"shape": list(a.shape), "offset": offset, "count": a.size}
        offset += a.size
    golden = {"model": name, "seed": seed, "made_by": "tools/make_golden_fixture.py: numpy, float64",
              "sequences": sequences, "arrays": index}
    (folder / "golden" / "golden.json").write_text(json.dumps(golden) + "\n")
    np.concatenate([a.ravel() for a in named.values()]).astype("<f4").tofile(folder / "golden" / "golden.f32")


def write_one(folder, name, logits, greedy):
    recipe, mutants = FIXTURES[name]
    config = copy.deepcopy(recipe)
    config.get("text_config", config).update({"vocab_size": N_VOCAB, "bos_token_id": 0, "eos_token_id": 1})
    start, why = zlib.crc32(name.encode()) % 1000 * 1000, {}
    for seed in range(start, start + 1000):
        rng = np.random.default_rng(seed)
        tensors = random_weights(config, rng)
        prompts = [rng.integers(2, N_VOCAB, n).tolist() for n in PROMPTS]
        found = _judge(config, mutants, tensors, prompts, logits, greedy)
        if isinstance(found, str):
            why[found.split(" ")[0]] = found
            continue
        _write(folder, name, config, seed, tensors, *found, logits)
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        margin = min(s["greedy_min_top1_margin"] for s in found[0])
        largest = max(np.abs(a).max() for a in found[1])
        print(f"{name:18} seed {seed - start:2} {size / 1000:6.1f} kB  largest logit {largest:5.1f}  smallest lead {margin:.1e}",
              flush=True)
        return
    raise SystemExit(f"{name}: no seed shows enough: {'; '.join(why.values())}")


def write_all(out, names, logits, greedy):
    for name in names or FIXTURES:
        write_one(out / name, name, logits, greedy)
