"""BitNet b1.58: products of ternary matrices with inputs rounded to int8. With "float_activations" in the config, which is
no key of theirs, inputs are not rounded."""
import numpy as np

from .llama_family import Block

# What a fixture holds beside its logits: {name: the change to its config}.
VARIANTS = {"logits_float_activations": {"float_activations": True}}


def packed(ternary):
    """Four weights a byte, those of the first quarter of rows in the low bits."""
    quarters = np.split(ternary.astype(np.uint8) + np.uint8(1), 4)  # -1 is 255, and 0 with one added
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def _unpacked(bytes_):
    bytes_ = bytes_.astype(np.int64)
    return np.concatenate([(bytes_ >> 2 * k & 3) - 1 for k in range(4)]).astype(np.float64)


def _rounded(x):
    scale = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
    return np.clip(np.rint(x * scale), -128, 127) / scale


def _product(c, w, name, x):
    scale = w[name + ".weight_scale"]
    if c["quantization_config"]["linear_class"] == "bitlinear":
        scale = 1 / scale
    return (x if c.get("float_activations") else _rounded(x)) @ _unpacked(w[name + ".weight"]).T * scale


class BitNet(Block):

    def layer(self, w, i, x):
        products = _Products(self.c, w)
        x = x + self.attend(products, i, self.norm(self.c, w, "input_layernorm", x))
        h = self.norm(self.c, w, "post_attention_layernorm", x)
        inner = self.act(products.linear("mlp.gate_proj", h)) * products.linear("mlp.up_proj", h)
        return x + products.linear("mlp.down_proj", w.rms_norm("mlp.ffn_sub_norm", inner, self.c["rms_norm_eps"]))


class _Products:
    """A layer's weights, whose products are the above; o_proj reads what is normalised."""

    def __init__(self, c, w):
        self.c, self.w = c, w

    def linear(self, name, x):
        if name == "self_attn.o_proj":
            x = self.w.rms_norm("self_attn.attn_sub_norm", x, self.c["rms_norm_eps"])
        return _product(self.c, self.w, name, x)


def forward(c, w, ids):
    block, m = BitNet(c, len(ids)), w.sub("model.")
    x = m["embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        x = block.layer(m.sub(f"layers.{i}."), i, x)
    return block.norm(c, m, "norm", x) @ m["embed_tokens.weight"].T


FORWARD = {"bitnet": forward}
