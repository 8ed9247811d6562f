"""Reference forward passes of the models with names of their own, by Hugging Face's config and tensor names: each takes
(config, weights, ids) and returns the logits of all positions."""
import math

import numpy as np

from .ops import ACTIVATIONS, Rope, alibi_mpt, alibi_press, attention, gelu_erf, gelu_tanh, heads


def _prefixed(w, prefix, probe):
    return w.sub(prefix) if w.has(prefix + probe) else w


def _head(w, body, embedding, x, tied=True, name="lm_head"):
    return x @ body[embedding].T if tied or not w.has(name + ".weight") else w.linear(name, x)


def _split(x, *sizes):
    return np.split(x, np.cumsum(sizes)[:-1], axis=-1)


def opt(c, w, ids):
    d, n = w.sub("model.decoder."), c["num_attention_heads"]
    act, pre, size = ACTIVATIONS[c["activation_function"]], c["do_layer_norm_before"], c["hidden_size"]
    x = d["embed_tokens.weight"][ids]
    if d.has("project_in.weight"):
        x = d.linear("project_in", x)
    x = x + d["embed_positions.weight"][np.arange(len(ids)) + 2]
    for i in range(c["num_hidden_layers"]):
        layer = d.sub(f"layers.{i}.")

        def branch(norm, f):
            if pre:
                return x + f(layer.layer_norm(norm, x, 1e-5))
            return layer.layer_norm(norm, x + f(x), 1e-5)

        def attend(h):
            q, k, v = (heads(layer.linear(f"self_attn.{p}_proj", h), n) for p in "qkv")
            return layer.linear("self_attn.out_proj", attention(q, k, v, (size // n)**-0.5))

        x = branch("self_attn_layer_norm", attend)
        x = branch("final_layer_norm", lambda h: layer.linear("fc2", act(layer.linear("fc1", h))))
    if pre and not c.get("_remove_final_layer_norm", False):
        x = d.layer_norm("final_layer_norm", x, 1e-5)
    if d.has("project_out.weight"):
        x = d.linear("project_out", x)
    return _head(w, d, "embed_tokens.weight", x)


def xglm(c, w, ids):
    m, n, size = w.sub("model."), c["attention_heads"], c["d_model"]
    act, half = ACTIVATIONS[c["activation_function"]], c["d_model"] // 2
    angle = (np.arange(len(ids)) + 2)[:, None] * np.exp(np.arange(half) * -(math.log(10000) / (half - 1)))
    x = m["embed_tokens.weight"][ids] * (math.sqrt(size) if c["scale_embedding"] else 1)
    x = x + np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    for i in range(c["num_layers"]):
        layer = m.sub(f"layers.{i}.")
        h = layer.layer_norm("self_attn_layer_norm", x, 1e-5)
        q, k, v = (heads(layer.linear(f"self_attn.{p}_proj", h), n) for p in "qkv")
        x = x + layer.linear("self_attn.out_proj", attention(q, k, v, (size // n)**-0.5))
        h = layer.layer_norm("final_layer_norm", x, 1e-5)
        x = x + layer.linear("fc2", act(layer.linear("fc1", h)))
    return _head(w, m, "embed_tokens.weight", m.layer_norm("layer_norm", x, 1e-5))


def gpt2(c, w, ids):
    t, n, eps = _prefixed(w, "transformer.", "wte.weight"), c["n_head"], c["layer_norm_epsilon"]
    act, size = ACTIVATIONS[c["activation_function"]], c["n_embd"]
    x = t["wte.weight"][ids] + t["wpe.weight"][:len(ids)]
    for i in range(c["n_layer"]):
        layer = t.sub(f"h.{i}.")
        scale = (size // n)**-0.5 if c.get("scale_attn_weights", True) else 1.0
        if c.get("scale_attn_by_inverse_layer_idx", False):
            scale /= i + 1
        q, k, v = (heads(p, n) for p in _split(layer.conv1d("attn.c_attn", layer.layer_norm("ln_1", x, eps)), *[size] * 3))
        x = x + layer.conv1d("attn.c_proj", attention(q, k, v, scale))
        x = x + layer.conv1d("mlp.c_proj", act(layer.conv1d("mlp.c_fc", layer.layer_norm("ln_2", x, eps))))
    return _head(w, t, "wte.weight", t.layer_norm("ln_f", x, eps))


def gpt_bigcode(c, w, ids):
    t, n, eps = w.sub("transformer."), c["n_head"], c["layer_norm_epsilon"]
    act, size = ACTIVATIONS[c["activation_function"]], c["n_embd"]
    d = size // n
    x = t["wte.weight"][ids] + t["wpe.weight"][:len(ids)]
    for i in range(c["n_layer"]):
        layer = t.sub(f"h.{i}.")
        qkv = layer.linear("attn.c_attn", layer.layer_norm("ln_1", x, eps))
        if c["multi_query"]:
            q, k, v = (heads(p, m) for p, m in zip(_split(qkv, size, d, d), (n, 1, 1)))
        else:
            q, k, v = np.split(heads(qkv, n), 3, axis=-1)
        x = x + layer.linear("attn.c_proj", attention(q, k, v, d**-0.5 if c["scale_attn_weights"] else 1.0))
        x = x + layer.linear("mlp.c_proj", act(layer.linear("mlp.c_fc", layer.layer_norm("ln_2", x, eps))))
    return _head(w, t, "wte.weight", t.layer_norm("ln_f", x, eps))


def gpt_neo(c, w, ids):
    t, n, eps = w.sub("transformer."), c["num_heads"], c["layer_norm_epsilon"]
    act = ACTIVATIONS[c["activation_function"]]
    kinds = [kind for pattern, times in c["attention_types"] for _ in range(times) for kind in pattern]
    x = t["wte.weight"][ids] + t["wpe.weight"][:len(ids)]
    for i, kind in enumerate(kinds):
        layer = t.sub(f"h.{i}.")
        h = layer.layer_norm("ln_1", x, eps)
        q, k, v = (heads(layer.linear(f"attn.attention.{p}_proj", h), n) for p in "qkv")
        window = c["window_size"] if kind == "local" else None
        x = x + layer.linear("attn.attention.out_proj", attention(q, k, v, 1.0, window))
        x = x + layer.linear("mlp.c_proj", act(layer.linear("mlp.c_fc", layer.layer_norm("ln_2", x, eps))))
    return _head(w, t, "wte.weight", t.layer_norm("ln_f", x, eps))


def gptj(c, w, ids):
    t, n, eps = w.sub("transformer."), c["n_head"], c["layer_norm_epsilon"]
    act, d = ACTIVATIONS[c["activation_function"]], c["n_embd"] // c["n_head"]
    rope = Rope(c["rotary_dim"], 10000.0, len(ids), interleaved=True)
    x = t["wte.weight"][ids]
    for i in range(c["n_layer"]):
        layer = t.sub(f"h.{i}.")
        h = layer.layer_norm("ln_1", x, eps)
        q, k, v = (heads(layer.linear(f"attn.{p}_proj", h), n) for p in "qkv")
        attn = layer.linear("attn.out_proj", attention(rope(q), rope(k), v, d**-0.5))
        x = x + attn + layer.linear("mlp.fc_out", act(layer.linear("mlp.fc_in", h)))
    return _head(w, t, "wte.weight", t.layer_norm("ln_f", x, eps), tied=False)


def gpt_neox(c, w, ids):
    g, n, eps = w.sub("gpt_neox."), c["num_attention_heads"], c["layer_norm_eps"]
    act, d = ACTIVATIONS[c["hidden_act"]], c["hidden_size"] // c["num_attention_heads"]
    rope = Rope(int(d * c["rotary_pct"]), c["rotary_emb_base"], len(ids), scaling=c.get("rope_scaling"),
                n_ctx=c["max_position_embeddings"])
    x = g["embed_in.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        layer = g.sub(f"layers.{i}.")
        qkv = layer.linear("attention.query_key_value", layer.layer_norm("input_layernorm", x, eps))
        q, k, v = np.split(heads(qkv, n), 3, axis=-1)
        attn = layer.linear("attention.dense", attention(rope(q), rope(k), v, d**-0.5))
        h = layer.layer_norm("post_attention_layernorm", x if c["use_parallel_residual"] else x + attn, eps)
        x = x + attn + layer.linear("mlp.dense_4h_to_h", act(layer.linear("mlp.dense_h_to_4h", h)))
    return _head(w, g, "embed_in.weight", g.layer_norm("final_layer_norm", x, eps),
                 c.get("tie_word_embeddings", False), "embed_out")


def bloom(c, w, ids):
    t = _prefixed(w, "transformer.", "word_embeddings.weight")
    n, size, eps = c["n_head"], c["hidden_size"], c["layer_norm_epsilon"]
    bias = alibi_press(n, len(ids))
    x = t.layer_norm("word_embeddings_layernorm", t["word_embeddings.weight"][ids], eps)
    for i in range(c["n_layer"]):
        layer = t.sub(f"h.{i}.")
        qkv = layer.linear("self_attention.query_key_value", layer.layer_norm("input_layernorm", x, eps))
        q, k, v = np.split(heads(qkv, n), 3, axis=-1)
        x = x + layer.linear("self_attention.dense", attention(q, k, v, (size // n)**-0.5, bias=bias))
        h = layer.layer_norm("post_attention_layernorm", x, eps)
        x = x + layer.linear("mlp.dense_4h_to_h", gelu_tanh(layer.linear("mlp.dense_h_to_4h", h)))
    return _head(w, t, "word_embeddings.weight", t.layer_norm("ln_f", x, eps))


def mpt(c, w, ids):
    t, n, size, eps = w.sub("transformer."), c["n_heads"], c["d_model"], c["layer_norm_epsilon"]
    a = c["attn_config"]
    bias = alibi_mpt(n, len(ids), a.get("alibi_bias_max", 8)) if a.get("alibi", True) else 0.0
    scale, clip = a.get("softmax_scale") or (size // n)**-0.5, a.get("clip_qkv")
    x = t["wte.weight"][ids]
    for i in range(c["n_layers"]):
        layer = t.sub(f"blocks.{i}.")
        qkv = layer.linear("attn.Wqkv", layer.layer_norm("norm_1", x, eps))
        if clip:
            qkv = np.clip(qkv, -clip, clip)
        q, k, v = (heads(p, n) for p in np.split(qkv, 3, axis=-1))
        x = x + layer.linear("attn.out_proj", attention(q, k, v, scale, bias=bias))
        h = layer.layer_norm("norm_2", x, eps)
        x = x + layer.linear("ffn.down_proj", gelu_erf(layer.linear("ffn.up_proj", h)))
    return _head(w, t, "wte.weight", t.layer_norm("norm_f", x, eps))


def falcon(c, w, ids):
    t, n, eps = w.sub("transformer."), c["num_attention_heads"], c["layer_norm_epsilon"]
    d, new, act = c["hidden_size"] // n, c["new_decoder_architecture"], ACTIVATIONS[c.get("activation", "gelu")]
    n_kv = c["num_kv_heads"] if new else 1 if c["multi_query"] else n
    rope = (lambda x: x) if c["alibi"] else Rope(d, c["rope_theta"], len(ids))
    bias = alibi_press(n, len(ids)) * d**-0.5 if c["alibi"] else 0.0  # Falcon scales scores and ALiBi together
    x = t["word_embeddings.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        layer = t.sub(f"h.{i}.")
        two_norms = new and c.get("num_ln_in_parallel_attn") in (None, 2)
        h = layer.layer_norm("ln_attn" if two_norms else "input_layernorm", x, eps)
        groups = layer.linear("self_attention.query_key_value", h).reshape(len(ids), n_kv, n // n_kv + 2, d)
        q = groups[:, :, :-2].reshape(len(ids), n, d).transpose(1, 0, 2)
        k, v = (groups[:, :, at].transpose(1, 0, 2) for at in (-2, -1))
        attn = layer.linear("self_attention.dense", attention(rope(q), rope(k), v, d**-0.5, bias=bias))
        if two_norms:
            h = layer.layer_norm("ln_mlp", x, eps)
        elif not (new or c["parallel_attn"]):
            h = layer.layer_norm("post_attention_layernorm", x + attn, eps)
        x = x + attn + layer.linear("mlp.dense_4h_to_h", act(layer.linear("mlp.dense_h_to_4h", h)))
    return _head(w, t, "word_embeddings.weight", t.layer_norm("ln_f", x, eps))
