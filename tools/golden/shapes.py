"""Which tensors a checkpoint of each architecture holds: {name: shape}, by the config."""


def _linear(name, n_out, n_in, bias=True):
    return {f"{name}.weight": (n_out, n_in), **({f"{name}.bias": (n_out,)} if bias else {})}


def _norm(name, n, bias=True):
    return {f"{name}.weight": (n,), **({f"{name}.bias": (n,)} if bias else {})}


def _gated(name, n, ff, bias=False):
    return {**_linear(f"{name}.gate_proj", ff, n, bias), **_linear(f"{name}.up_proj", ff, n, bias),
            **_linear(f"{name}.down_proj", n, ff, bias)}


def opt(c):
    n, word, bias, out = c["hidden_size"], c["word_embed_proj_dim"], c.get("enable_bias", True), {}
    d = "model.decoder."
    out[d + "embed_tokens.weight"] = (c["vocab_size"], word)
    out[d + "embed_positions.weight"] = (c["max_position_embeddings"] + 2, n)
    if word != n:
        out.update({d + "project_in.weight": (n, word), d + "project_out.weight": (word, n)})
    if c["do_layer_norm_before"]:
        out.update(_norm(d + "final_layer_norm", n))
    return {**out, **_fairseq_layers(d, c["num_hidden_layers"], n, c["ffn_dim"], bias)}


def _fairseq_layers(prefix, n_layer, n, ff, bias=True):
    out = {}
    for i in range(n_layer):
        p = f"{prefix}layers.{i}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out.update(_linear(f"{p}self_attn.{part}", n, n, bias))
        out.update({**_norm(p + "self_attn_layer_norm", n), **_norm(p + "final_layer_norm", n),
                    **_linear(p + "fc1", ff, n, bias), **_linear(p + "fc2", n, ff, bias)})
    return out


def xglm(c):
    n = c["d_model"]
    return {"model.embed_tokens.weight": (c["vocab_size"], n), **_norm("model.layer_norm", n),
            **_fairseq_layers("model.", c["num_layers"], n, c["ffn_dim"])}


def gpt2(c):
    n, ff, t = c["n_embd"], c["n_inner"], "transformer."
    out = {t + "wte.weight": (c["vocab_size"], n), t + "wpe.weight": (c["n_positions"], n), **_norm(t + "ln_f", n)}
    for i in range(c["n_layer"]):
        p = f"{t}h.{i}."
        out.update({**_norm(p + "ln_1", n), **_norm(p + "ln_2", n)})
        for name, n_in, n_out in (("attn.c_attn", n, 3 * n), ("attn.c_proj", n, n), ("mlp.c_fc", n, ff), ("mlp.c_proj", ff, n)):
            out.update({f"{p}{name}.weight": (n_in, n_out), f"{p}{name}.bias": (n_out,)})
    return out


def gpt_bigcode(c):
    n, ff, t = c["n_embd"], c["n_inner"], "transformer."
    qkv = n + 2 * n // c["n_head"] if c["multi_query"] else 3 * n
    out = {t + "wte.weight": (c["vocab_size"], n), t + "wpe.weight": (c["n_positions"], n), **_norm(t + "ln_f", n)}
    for i in range(c["n_layer"]):
        p = f"{t}h.{i}."
        out.update({**_norm(p + "ln_1", n), **_norm(p + "ln_2", n), **_linear(p + "attn.c_attn", qkv, n),
                    **_linear(p + "attn.c_proj", n, n), **_linear(p + "mlp.c_fc", ff, n), **_linear(p + "mlp.c_proj", n, ff)})
    return out


def gpt_neo(c):
    n, ff, t = c["hidden_size"], c["intermediate_size"], "transformer."
    out = {t + "wte.weight": (c["vocab_size"], n), t + "wpe.weight": (c["max_position_embeddings"], n), **_norm(t + "ln_f", n)}
    for i in range(c["num_layers"]):
        p = f"{t}h.{i}."
        for part in "qkv":
            out.update(_linear(f"{p}attn.attention.{part}_proj", n, n, False))
        out.update({**_norm(p + "ln_1", n), **_norm(p + "ln_2", n), **_linear(p + "attn.attention.out_proj", n, n),
                    **_linear(p + "mlp.c_fc", ff, n), **_linear(p + "mlp.c_proj", n, ff)})
    return out


def gptj(c):
    n, ff, t = c["n_embd"], c["n_inner"], "transformer."
    out = {t + "wte.weight": (c["vocab_size"], n), **_norm(t + "ln_f", n), **_linear("lm_head", c["vocab_size"], n)}
    for i in range(c["n_layer"]):
        p = f"{t}h.{i}."
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out.update(_linear(f"{p}attn.{part}", n, n, False))
        out.update({**_norm(p + "ln_1", n), **_linear(p + "mlp.fc_in", ff, n), **_linear(p + "mlp.fc_out", n, ff)})
    return out


def gpt_neox(c):
    n, ff, t = c["hidden_size"], c["intermediate_size"], "gpt_neox."
    out = {t + "embed_in.weight": (c["vocab_size"], n), **_norm(t + "final_layer_norm", n),
           **_linear("embed_out", c["vocab_size"], n, False)}
    for i in range(c["num_hidden_layers"]):
        p = f"{t}layers.{i}."
        out.update({**_norm(p + "input_layernorm", n), **_norm(p + "post_attention_layernorm", n),
                    **_linear(p + "attention.query_key_value", 3 * n, n), **_linear(p + "attention.dense", n, n),
                    **_linear(p + "mlp.dense_h_to_4h", ff, n), **_linear(p + "mlp.dense_4h_to_h", n, ff)})
    return out


def bloom(c):
    n, t = c["hidden_size"], "transformer."
    out = {t + "word_embeddings.weight": (c["vocab_size"], n), **_norm(t + "word_embeddings_layernorm", n), **_norm(t + "ln_f", n)}
    for i in range(c["n_layer"]):
        p = f"{t}h.{i}."
        out.update({**_norm(p + "input_layernorm", n), **_norm(p + "post_attention_layernorm", n),
                    **_linear(p + "self_attention.query_key_value", 3 * n, n), **_linear(p + "self_attention.dense", n, n),
                    **_linear(p + "mlp.dense_h_to_4h", 4 * n, n), **_linear(p + "mlp.dense_4h_to_h", n, 4 * n)})
    return out


def mpt(c):
    n, t = c["d_model"], "transformer."
    out = {t + "wte.weight": (c["vocab_size"], n), t + "norm_f.weight": (n,)}
    for i in range(c["n_layers"]):
        p = f"{t}blocks.{i}."
        out.update({p + "norm_1.weight": (n,), p + "norm_2.weight": (n,), p + "attn.Wqkv.weight": (3 * n, n),
                    p + "attn.out_proj.weight": (n, n), p + "ffn.up_proj.weight": (4 * n, n),
                    p + "ffn.down_proj.weight": (n, 4 * n)})
    return out


def falcon(c):
    n, ff, bias, t = c["hidden_size"], c["ffn_hidden_size"], c["bias"], "transformer."
    n_kv = c["num_kv_heads"] if c["new_decoder_architecture"] else 1 if c["multi_query"] else c["num_attention_heads"]
    qkv = n + 2 * n_kv * n // c["num_attention_heads"]
    out = {t + "word_embeddings.weight": (c["vocab_size"], n), **_norm(t + "ln_f", n)}
    norms = ("ln_attn", "ln_mlp") if c["new_decoder_architecture"] else ("input_layernorm",)
    if not (c["new_decoder_architecture"] or c["parallel_attn"]):
        norms += ("post_attention_layernorm",)
    for i in range(c["num_hidden_layers"]):
        p = f"{t}h.{i}."
        for norm in norms:
            out.update(_norm(p + norm, n))
        out.update({**_linear(p + "self_attention.query_key_value", qkv, n, bias),
                    **_linear(p + "self_attention.dense", n, n, bias),
                    **_linear(p + "mlp.dense_h_to_4h", ff, n, bias), **_linear(p + "mlp.dense_4h_to_h", n, ff, bias)})
    return out


def _llama_mlp(c, p, i):
    kind, n = c["model_type"], c["hidden_size"]
    ff = c.get("intermediate_size", c.get("moe_ffn_hidden_size"))
    if kind == "deepseek_v3" and i >= c["first_k_dense_replace"]:
        own, shared = c["moe_intermediate_size"], c["n_shared_experts"] * c["moe_intermediate_size"]
        out = {**_linear(p + "mlp.gate", c["n_routed_experts"], n, False), **_gated(p + "mlp.shared_experts", n, shared),
               p + "mlp.gate.e_score_correction_bias": (c["n_routed_experts"],)}
        for x in range(c["n_routed_experts"]):
            out.update(_gated(f"{p}mlp.experts.{x}", n, own))
        return out
    if kind == "granitemoeshared":
        e, shared = c["num_local_experts"], c["shared_intermediate_size"]
        return {p + "block_sparse_moe.router.layer.weight": (e, n), p + "block_sparse_moe.input_linear.weight": (e, 2 * ff, n),
                p + "block_sparse_moe.output_linear.weight": (e, n, ff), p + "shared_mlp.input_linear.weight": (2 * shared, n),
                p + "shared_mlp.output_linear.weight": (n, shared)}
    if kind == "smallthinker":
        e, out = p + "block_sparse_moe.", {}
        out.update(_linear(e + "primary_router", c["moe_num_primary_experts"], n, False))
        for x in range(c["moe_num_primary_experts"]):
            for name, rows, cols in (("gate", ff, n), ("down", n, ff), ("up", ff, n)):
                out.update(_linear(f"{e}experts.{x}.{name}", rows, cols, False))
        return out
    if kind == "gpt_oss":
        e = c["num_local_experts"]
        return {**_linear(p + "mlp.router", e, n), p + "mlp.experts.gate_up_proj": (e, n, 2 * ff),
                p + "mlp.experts.gate_up_proj_bias": (e, 2 * ff), p + "mlp.experts.down_proj": (e, ff, n),
                p + "mlp.experts.down_proj_bias": (e, n)}
    if kind in ("mixtral", "phimoe"):
        e = p + "block_sparse_moe."
        out = _linear(e + "gate", c["num_local_experts"], n, False)
        for x in range(c["num_local_experts"]):
            for name, rows, cols in (("w1", ff, n), ("w2", n, ff), ("w3", ff, n)):
                out.update(_linear(f"{e}experts.{x}.{name}", rows, cols, False))
        return out
    if kind == "qwen2_moe" and i not in c["mlp_only_layers"]:
        out = {**_linear(p + "mlp.gate", c["num_experts"], n, False), **_linear(p + "mlp.shared_expert_gate", 1, n, False),
               **_gated(p + "mlp.shared_expert", n, c["shared_expert_intermediate_size"])}
        for x in range(c["num_experts"]):
            out.update(_gated(f"{p}mlp.experts.{x}", n, c["moe_intermediate_size"]))
        return out
    if kind in ("phi3", "glm4"):
        return {**_linear(p + "mlp.gate_up_proj", 2 * ff, n, False), **_linear(p + "mlp.down_proj", n, ff, False)}
    if kind == "nemotron":
        return {**_linear(p + "mlp.up_proj", ff, n, False), **_linear(p + "mlp.down_proj", n, ff, False)}
    if kind in ("phi", "starcoder2"):
        up, down = ("fc1", "fc2") if kind == "phi" else ("c_fc", "c_proj")
        return {**_linear(f"{p}mlp.{up}", ff, n), **_linear(f"{p}mlp.{down}", n, ff)}
    return _gated(p + "mlp", n, ff, c.get("mlp_bias", False))


def _llama_attention(c, p):
    kind, n = c["model_type"], c["hidden_size"]
    if kind == "deepseek_v3":
        heads, plain, rot, value = (c[k] for k in ("num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
        q, rank = c["q_lora_rank"], c["kv_lora_rank"]
        return {p + "q_a_proj.weight": (q, n), p + "q_a_layernorm.weight": (q,), p + "q_b_proj.weight": (heads * (plain + rot), q),
                p + "kv_a_proj_with_mqa.weight": (rank + rot, n), p + "kv_a_layernorm.weight": (rank,),
                p + "kv_b_proj.weight": (heads * (plain + value), rank), p + "o_proj.weight": (n, heads * value)}
    d = c.get("head_dim") or n // c["num_attention_heads"]
    n_q, n_kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    if kind == "phi3":
        return {**_linear(p + "qkv_proj", n_q + 2 * n_kv, n, False), **_linear(p + "o_proj", n, n_q, False)}
    all_biased = kind in ("phi", "starcoder2") or c.get("attention_bias", False)
    all_biased = all_biased and kind != "glm4"
    biased = all_biased or kind in ("qwen2", "qwen2_moe", "glm4") or c.get("use_qkv_bias", False)
    out = {p + "sinks": (c["num_attention_heads"],)} if kind == "gpt_oss" else {}
    out.update(_linear(p + ("dense" if kind == "phi" else "o_proj"), n, n_q, all_biased))
    for part, rows in (("q", n_q), ("k", n_kv), ("v", n_kv)):
        out.update(_linear(f"{p}{part}_proj", rows, n, biased))
    for part, heads in (("q", c["num_attention_heads"]), ("k", c["num_key_value_heads"])):
        if kind in ("qwen3", "gemma3_text"):
            out[f"{p}{part}_norm.weight"] = (d,)
        elif kind == "olmo3":
            out[f"{p}{part}_norm.weight"] = (heads * d,)
        elif c.get("use_qk_norm"):
            out[f"{p}{part}_norm.weight"] = (heads, d)
        elif c.get("qk_layernorm"):
            out.update({f"{p}{part}_layernorm.norms.{h}.weight": (d,) for h in range(heads)})
    return out


def llama_family(c):
    kind, n, out = c["model_type"], c["hidden_size"], {}
    layer_bias = kind in ("phi", "stablelm", "nemotron", "starcoder2", "phimoe")
    norms = ["input_layernorm"]
    if not (kind in ("phi", "cohere", "cohere2") or c.get("use_parallel_residual")):
        norms.append("post_attention_layernorm")
    if kind == "olmo3":
        norms = ["post_attention_layernorm", "post_feedforward_layernorm"]
    if kind == "glm4":
        norms += ["post_self_attn_layernorm", "post_mlp_layernorm"]
    if kind in ("gemma2", "gemma3_text"):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    out["model.embed_tokens.weight"] = (c["vocab_size"], n)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        for norm in norms if kind != "olmo" else ():
            out.update(_norm(p + norm, n, layer_bias))
        out.update({**_llama_attention(c, p + "self_attn."), **_llama_mlp(c, p, i)})
    if kind != "olmo":
        out.update(_norm("model.final_layernorm" if kind == "phi" else "model.norm", n, layer_bias))
    if not c["tie_word_embeddings"]:
        out.update(_linear("lm_head", c["vocab_size"], n, kind in ("phi", "phimoe")))
    return out


def of(config):
    return globals().get(config["model_type"], llama_family)(config)
