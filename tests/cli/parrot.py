"""A model that says what it was made to say: every token of its chains is followed by the next one, whatever stood before.
Its template ends with the token that begins a chain, so that a test chooses the answer by what it asks."""
import json
import os
import random

from fixtures import write_tokenizer
from test_adapters import write_safetensors

END = "</s>"
CHAINS = [
    ["<p:say>", "Hello", " there", ",", " friend", ".", END],
    ["<p:count>", "one ", "two ", "three ", "one "],  # for ever
    ["<p:think>", "<think>", "let me", " see", "</think>", "Indeed", "."],
    ["<p:call>", "<tool_call>", '{"name": "clock", "arguments": ', '{"zone": ', '"UTC"', "}}", "</tool_call>", END],
]
SAYS = "Hello there, friend."
TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}{% set last = messages[-1] %}"
    "{% if tools and last.role == 'user' %}<p:call>{% elif last.content is string and 'count' in last.content %}<p:count>"
    "{% elif enable_thinking %}<p:think>{% else %}<p:say>{% endif %}{% endif %}")
N_EMBD, N_VOCAB, N_FF, N_CTX = 64, 384, 64, 4096


def write_parrot(folder):
    """An OPT of one layer whose attention adds nothing, and whose neurons know one token each."""
    os.makedirs(folder)
    write_tokenizer(folder, TEMPLATE)
    at = os.path.join(folder, "tokenizer_config.json")
    with open(at, encoding="utf-8") as f:
        config = json.load(f)
    with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
        ids = json.load(f)
    added = dict.fromkeys(piece for chain in CHAINS for piece in chain if piece not in ids)
    for piece in added:
        ids[piece] = len(ids)
    config["added_tokens_decoder"] = {str(ids[piece]): {"content": piece, "special": False} for piece in added}
    with open(at, "w", encoding="utf-8") as f:
        json.dump(config, f)

    draw = random.Random(1)
    words = [[draw.choice((-1.0, 1.0)) for _ in range(N_EMBD)] for _ in range(N_VOCAB)]
    for word in words:  # of mean 0, so that a norm leaves them as they are
        for i in draw.sample(range(N_EMBD), N_EMBD):
            if sum(word) * word[i] > 0:
                word[i] = -word[i]
            if sum(word) == 0:
                break
    steps = dict((ids[a], ids[b]) for chain in CHAINS for a, b in zip(chain, chain[1:]))
    assert len(steps) <= N_FF and len(ids) <= N_VOCAB
    fc1 = [0.0] * (N_FF * N_EMBD)
    fc2 = [0.0] * (N_EMBD * N_FF)
    for neuron, (token, following) in enumerate(steps.items()):
        for i in range(N_EMBD):
            fc1[neuron * N_EMBD + i] = words[token][i]
            fc2[i * N_FF + neuron] = words[following][i]

    def filled(*shape, value=0.0):
        n = 1
        for d in shape:
            n *= d
        return list(shape), [value] * n

    layer = "model.decoder.layers.0."
    tensors = {
        "model.decoder.embed_tokens.weight": ([N_VOCAB, N_EMBD], [x for word in words for x in word]),
        "model.decoder.embed_positions.weight": filled(N_CTX + 2, N_EMBD),
        layer + "fc1.weight": ([N_FF, N_EMBD], fc1),
        layer + "fc1.bias": filled(N_FF, value=-0.7 * N_EMBD),
        layer + "fc2.weight": ([N_EMBD, N_FF], fc2),
        layer + "fc2.bias": filled(N_EMBD),
    }
    for name in "qkv":
        tensors[f"{layer}self_attn.{name}_proj.weight"] = filled(N_EMBD, N_EMBD)
        tensors[f"{layer}self_attn.{name}_proj.bias"] = filled(N_EMBD)
    tensors[layer + "self_attn.out_proj.weight"] = filled(N_EMBD, N_EMBD)
    tensors[layer + "self_attn.out_proj.bias"] = filled(N_EMBD)
    for norm in layer + "self_attn_layer_norm", layer + "final_layer_norm", "model.decoder.final_layer_norm":
        tensors[norm + ".weight"] = filled(N_EMBD, value=1.0)
        tensors[norm + ".bias"] = filled(N_EMBD)
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"architectures": ["OPTForCausalLM"], "model_type": "opt", "activation_function": "relu", "bos_token_id": 0,
                   "eos_token_id": 2, "pad_token_id": 1, "do_layer_norm_before": True, "enable_bias": True, "ffn_dim": N_FF,
                   "hidden_size": N_EMBD, "word_embed_proj_dim": N_EMBD, "layer_norm_elementwise_affine": True,
                   "max_position_embeddings": N_CTX, "num_attention_heads": 4, "num_hidden_layers": 1,
                   "tie_word_embeddings": True, "vocab_size": N_VOCAB, "_remove_final_layer_norm": False}, f)
    return folder
