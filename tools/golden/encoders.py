"""Models that see a text as a whole, and the head of those that score pairs, by Hugging Face's names, in float64.

Sources: Devlin et al. 2019 (BERT), Liu et al. 2019 (RoBERTa), Conneau et al. 2020 (XLM-R), and the transformers library's
modelling code for what the papers leave open: where positions begin, which GELU, what the pooler reads. Nomic-BERT: Nussbaum
et al. 2024 and the modelling code that is published with its checkpoints. ModernBERT: Warner et al. 2024, section 2.1 and
appendix A.
"""
import numpy as np

from .ops import ACTIVATIONS, Rope, heads, softmax


def first_position(config):
    """RoBERTa's positions begin behind the padding token's id."""
    return 0 if config["model_type"] == "bert" else config["pad_token_id"] + 1


def embed(config, w, ids, second_begins=None):
    t = len(ids)
    x = w["embeddings.word_embeddings.weight"][ids]
    kinds = w["embeddings.token_type_embeddings.weight"]
    second = np.arange(t) >= (t if second_begins is None else second_begins)
    x = x + kinds[second.astype(int)]
    x = x + w["embeddings.position_embeddings.weight"][first_position(config) + np.arange(t)]
    return w.layer_norm("embeddings.LayerNorm", x, config["layer_norm_eps"])


def attention(config, w, x, causal=False):
    q, k, v = (heads(w.linear(name, x), config["num_attention_heads"]) for name in ("self.query", "self.key", "self.value"))
    out = mix(q, k, v, causal)
    return w.layer_norm("output.LayerNorm", w.linear("output.dense", out) + x, config["layer_norm_eps"])


def mix(q, k, v, causal, reach=None):
    """Attention of [n, T, d] each, [T, n * d]; with `reach` to tokens no farther away than that."""
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    if reach is not None:
        at = np.arange(q.shape[1])
        scores = np.where(np.abs(at[:, None] - at) <= reach, scores, -np.inf)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    return (softmax(scores) @ v).transpose(1, 0, 2).reshape(q.shape[1], -1)


def nomic_forward(config, w, ids):
    """Rotary positions in halves of whole heads, one matrix for q, k and v, fc11(x) * act(fc12(x)), norms behind the additions."""
    eps, n, width = config["layer_norm_epsilon"], config["n_head"], config["n_embd"]
    act = ACTIVATIONS["silu" if config["activation_function"] == "swiglu" else "gelu"]
    rope = Rope(width // n, config["rotary_emb_base"], len(ids), config.get("rotary_emb_interleaved", False))
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
    rows = [w.layer_norm("emb_ln", x, eps)]
    for i in range(config["n_layer"]):
        layer, x = w.sub(f"encoder.layers.{i}."), rows[-1]
        q, k, v = (heads(part, n) for part in np.split(layer.linear("attn.Wqkv", x), 3, axis=-1))
        out = layer.linear("attn.out_proj", mix(rope(q), rope(k), v, config.get("causal", False)))
        x = layer.layer_norm("norm1", out + x, eps)
        inner = layer.linear("mlp.fc11", x) * act(layer.linear("mlp.fc12", x))
        rows.append(layer.layer_norm("norm2", layer.linear("mlp.fc2", inner) + x, eps))
    return np.array(rows)


def modern_forward(config, w, ids):
    """Norms before the blocks, but for the first attention; one layer of a few sees all, the others local_attention / 2 to
    either side, with a rotary base of their own; GeGLU. The last of the rows is the final norm's."""
    eps, n = config["norm_eps"], config["num_attention_heads"]
    act = ACTIVATIONS[config["hidden_activation"]]
    norm = lambda at, name, x: at.layer_norm(name, x, eps)
    x = norm(w, "embeddings.norm", w["embeddings.tok_embeddings.weight"][ids])
    rows = [x]
    for i in range(config["num_hidden_layers"]):
        layer, is_global = w.sub(f"layers.{i}."), i % config["global_attn_every_n_layers"] == 0
        rope = Rope(config["hidden_size"] // n, config["global_rope_theta" if is_global else "local_rope_theta"], len(ids))
        q, k, v = (heads(part, n) for part in
                   np.split(layer.linear("attn.Wqkv", norm(layer, "attn_norm", x) if i > 0 else x), 3, axis=-1))
        reach = None if is_global else config["local_attention"] // 2
        x = x + layer.linear("attn.Wo", mix(rope(q), rope(k), v, config.get("causal", False), reach))
        inner, gate = np.split(layer.linear("mlp.Wi", norm(layer, "mlp_norm", x)), 2, axis=-1)
        x = x + layer.linear("mlp.Wo", act(inner) * gate)
        rows.append(x)
    rows.append(norm(w, "final_norm", x))
    return np.array(rows)


def forward(config, w, ids, second_begins=None):
    """The stream before the first layer and after each, [n_layer + 1, T, H]; of ModernBERT one more, see there."""
    if config["model_type"] == "modernbert":
        return modern_forward(config, w, ids)
    if config["model_type"] == "nomic_bert":
        return nomic_forward(config, w, ids)
    rows = [embed(config, w, ids, second_begins)]
    for i in range(config["num_hidden_layers"]):
        layer = w.sub(f"encoder.layer.{i}.")
        x = attention(config, layer.sub("attention."), rows[-1], config.get("causal", False))
        inner = ACTIVATIONS[config["hidden_act"]](layer.linear("intermediate.dense", x))
        rows.append(layer.layer_norm("output.LayerNorm", layer.linear("output.dense", inner) + x, config["layer_norm_eps"]))
    return np.array(rows)


def score(w, states, config):
    """The one label of BertForSequenceClassification or XLMRobertaForSequenceClassification, of the first token's state; or of
    ModernBertForSequenceClassification, of that or of the mean."""
    if config["model_type"] == "modernbert":
        state = states.mean(0) if config["classifier_pooling"] == "mean" else states[0]
        inner = ACTIVATIONS["gelu"](w.linear("head.dense", state[None]))
        return w.linear("classifier", w.layer_norm("head.norm", inner, config["norm_eps"]))[0][0]
    state = states[0]
    if w.has("classifier.dense.weight"):
        return w.linear("classifier.out_proj", np.tanh(w.linear("classifier.dense", state)))[0]
    inner = w.sub("bert.").linear("pooler.dense", state)
    return w.linear("classifier", np.tanh(inner))[0]
