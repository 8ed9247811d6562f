#!/usr/bin/env python3
"""Writes tests/data/quantised: a tiny random Llama in the forms of the tools that quantise checkpoints.

usage: make_quantised_fixture.py [FOLDER]
Needs nothing but Python's standard library; the output is the same on every run. Each folder has config.json,
model.safetensors and expected.json: of every quantised matrix the SHA-256 of its weights as f32, [out, in], computed
here, in doubles rounded to f32 where the tool's own arithmetic rounds.
"""
import functools
import hashlib
import json
import pathlib
import random
import struct
import sys

HIDDEN, FF, VOCAB = 32, 64, 40
LINEARS = {"self_attn.q_proj": (32, 32), "self_attn.k_proj": (32, 32), "self_attn.v_proj": (32, 32),
           "self_attn.o_proj": (32, 32), "mlp.gate_proj": (64, 32), "mlp.up_proj": (64, 32), "mlp.down_proj": (32, 64)}


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def f16(x):
    return struct.unpack("<e", struct.pack("<e", x))[0]


def bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16 & 0xFFFFFFFF))[0]


PACK = {"F32": "f", "F16": "e", "I32": "i", "I64": "q", "I8": "b", "U8": "B", "F8_E4M3": "B"}


def tensor(dtype, shape, values):
    if dtype == "BF16":
        data = b"".join(struct.pack("<f", v)[2:] for v in values)
    else:
        if dtype == "I32":
            values = [v - (1 << 32) if v >= 1 << 31 else v for v in values]
        data = struct.pack(f"<{len(values)}{PACK[dtype]}", *values)
    return dtype, shape, data


def flat(rows):
    return [v for row in rows for v in row]


def stream(values, bits):
    """Numbers of `bits` bits as words of 32, lowest bits first."""
    total = sum(v << i * bits for i, v in enumerate(values))
    n = len(values) * bits // 32
    return [total >> 32 * i & 0xFFFFFFFF for i in range(n)]


class Source:
    """Random codes and scales of one matrix, and what they mean."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def codes(self, n_out, n_in, low, high):
        return [[self.rng.randint(low, high) for _ in range(n_in)] for _ in range(n_out)]

    def scales(self, n_out, groups, rounded):
        return [[rounded(self.rng.uniform(0.004, 0.02)) for _ in range(groups)] for _ in range(n_out)]


def by_group(q, z, s, group):
    return [[f32((q[r][i] - z[r][group[i]]) * s[r][group[i]]) for i in range(len(q[r]))] for r in range(len(q))]


def awq(base, n_out, n_in, src):
    groups = n_in // 32
    q, z, s = src.codes(n_out, n_in, 0, 15), src.codes(n_out, groups, 0, 15), src.scales(n_out, groups, f16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i holds column order[i] of the eight

    def packed(m, lines):  # m [out][lines] -> [lines][out / 8]
        return flat([[sum(m[8 * w + order[i]][line] << 4 * i for i in range(8)) for w in range(n_out // 8)]
                     for line in range(lines)])

    return {base + ".qweight": tensor("I32", [n_in, n_out // 8], packed(q, n_in)),
            base + ".qzeros": tensor("I32", [groups, n_out // 8], packed(z, groups)),
            base + ".scales": tensor("F16", [groups, n_out], [s[r][g] for g in range(groups) for r in range(n_out)]),
            }, by_group(q, z, s, [i // 32 for i in range(n_in)])


def gptq(bits, minus_one, act_order, with_g_idx=True, sym=False):
    def write(base, n_out, n_in, src):
        groups, top = n_in // 32, (1 << bits) - 1
        q, s = src.codes(n_out, n_in, 0, top), src.scales(n_out, groups, f16)
        z = [[1 << (bits - 1)] * groups for _ in range(n_out)] if sym else src.codes(n_out, groups, 0, top)
        group = [i // 32 for i in range(n_in)]
        if act_order:
            src.rng.shuffle(group)
        columns = [stream(q[r], bits) for r in range(n_out)]  # [out][in * bits / 32]
        lines = n_in * bits // 32
        zeros = flat([stream([(z[r][g] - minus_one) & top for r in range(n_out)], bits) for g in range(groups)])
        out = {base + ".qweight": tensor("I32", [lines, n_out], [columns[r][w] for w in range(lines) for r in range(n_out)]),
               base + ".qzeros": tensor("I32", [groups, n_out * bits // 32], zeros),
               base + ".scales": tensor("F16", [groups, n_out], [s[r][g] for g in range(groups) for r in range(n_out)]),
               base + ".bias": tensor("F16", [n_out], [0.0] * n_out)}
        if with_g_idx:
            out[base + ".g_idx"] = tensor("I32", [n_in], group)
        return out, by_group(q, z, s, group)
    return write


def e4m3(bits):
    exponent, mantissa = bits >> 3 & 15, bits & 7
    value = mantissa * 2.0 ** -9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return -value if bits & 128 else value


def fp8(scale_name, block):
    def write(base, n_out, n_in, src):
        br, bc = block or (n_out, n_in)
        rows, cols = -(-n_out // br), -(-n_in // bc)
        codes = [[c if c & 127 != 127 else c - 1 for c in row] for row in src.codes(n_out, n_in, 0, 255)]
        s = [[f32(src.rng.uniform(1e-4, 3e-4)) for _ in range(cols)] for _ in range(rows)]
        out = {base + ".weight": tensor("F8_E4M3", [n_out, n_in], flat(codes)),
               base + scale_name: tensor("F32", [rows, cols] if block else [], flat(s))}
        if not block:
            out[base + ".input_scale"] = tensor("F32", [], [1.0])
        return out, [[f32(e4m3(codes[r][i]) * s[r // br][i // bc]) for i in range(n_in)] for r in range(n_out)]
    return write


def ct_packed(base, n_out, n_in, src):
    groups = n_in // 32
    q, z, s = src.codes(n_out, n_in, 0, 15), src.codes(n_out, groups, 0, 15), src.scales(n_out, groups, bf16)
    columns = [stream([z[r][g] for r in range(n_out)], 4) for g in range(groups)]
    return {base + ".weight_packed": tensor("I32", [n_out, n_in // 8], flat([stream(row, 4) for row in q])),
            base + ".weight_scale": tensor("BF16", [n_out, groups], flat(s)),
            base + ".weight_shape": tensor("I64", [2], [n_out, n_in]),
            base + ".weight_zero_point": tensor("I32", [n_out // 8, groups],
                                                [columns[g][w] for w in range(n_out // 8) for g in range(groups)]),
            }, by_group(q, z, s, [i // 32 for i in range(n_in)])


def ct_int8(base, n_out, n_in, src):
    q, s = src.codes(n_out, n_in, -128, 127), [[v[0] / 16] for v in src.scales(n_out, 1, bf16)]
    return {base + ".weight": tensor("I8", [n_out, n_in], flat(q)),
            base + ".weight_scale": tensor("BF16", [n_out, 1], flat(s)),
            }, by_group(q, [[0]] * n_out, s, [0] * n_in)


NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
FP4 = [f32(v) for v in (0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4)]


def bnb_four(base, n_out, n_in, src, table=None):
    n = n_out * n_in
    table = table or sorted(f32(src.rng.uniform(-1, 1)) for _ in range(16))
    codes = [src.rng.randrange(16) for _ in range(n)]
    absmax = [src.rng.randrange(256) for _ in range(-(-n // 64))]
    nested = [f32((i - 127) / 128) for i in range(256)]
    outer = [f32(0.011)] * -(-len(absmax) // 8)
    offset = f32(0.07)
    scale = [f32(f32(nested[c] * outer[i // 8]) + offset) for i, c in enumerate(absmax)]
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [n_out, n_in],
             "nested_blocksize": 8, "nested_dtype": "float32", "nested_offset": offset}
    text = json.dumps(state).encode()
    name = base + ".weight"
    flat_values = [f32(table[c] * scale[i // 64]) for i, c in enumerate(codes)]
    return {name: tensor("U8", [n // 2, 1], [codes[2 * i] << 4 | codes[2 * i + 1] for i in range(n // 2)]),
            name + ".absmax": tensor("U8", [len(absmax)], absmax),
            name + ".nested_absmax": tensor("F32", [len(outer)], outer),
            name + ".nested_quant_map": tensor("F32", [256], nested),
            name + ".quant_map": tensor("F32", [16], table),
            name + ".quant_state.bitsandbytes__nf4": tensor("U8", [len(text)], list(text)),
            }, [flat_values[r * n_in:(r + 1) * n_in] for r in range(n_out)]


def bnb_eight(base, n_out, n_in, src):
    q, s = src.codes(n_out, n_in, -127, 127), [f32(v[0] * 20) for v in src.scales(n_out, 1, f32)]
    values = [[f32(f32(q[r][i] * s[r]) * f32(0.007874015718698502)) for i in range(n_in)] for r in range(n_out)]
    return {base + ".weight": tensor("I8", [n_out, n_in], flat(q)), base + ".SCB": tensor("F32", [n_out], s),
            base + ".weight_format": tensor("U8", [], [0])}, values


def ct_config(form, bits, group, kind="int"):
    weights = {"num_bits": bits, "type": kind, "group_size": group, "symmetric": False}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": {"weights": weights}}}


MODELS = {
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "GEMM", "zero_point": True}),
    "gptq_sym": (gptq(4, 1, False, with_g_idx=False, sym=True),
                 {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True}),
    "gptq_b2": (gptq(2, 1, False), {"quant_method": "gptq", "bits": 2, "group_size": 32}),
    "gptq_b3_act": (gptq(3, 1, True), {"quant_method": "gptq", "bits": 3, "group_size": 32, "desc_act": True}),
    "gptq_v2_b8": (gptq(8, 0, False),
                   {"quant_method": "gptq", "bits": 8, "group_size": 32, "checkpoint_format": "gptq_v2"}),
    "fp8_block": (fp8(".weight_scale_inv", (24, 48)),
                  {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [24, 48]}),
    "fp8_static": (fp8(".weight_scale", None), {"quant_method": "fp8", "activation_scheme": "static"}),
    "ct_packed": (ct_packed, ct_config("pack-quantized", 4, 32)),
    "ct_int8": (ct_int8, ct_config("int-quantized", 8, None)),
    "bnb_nf4": (bnb_four, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
    "bnb_int8": (bnb_eight, {"quant_method": "bitsandbytes", "load_in_8bit": True}),
    "bnb_nf4_table": (functools.partial(bnb_four, table=NF4),
                      {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
    "bnb_fp4_table": (functools.partial(bnb_four, table=FP4 + [0.0] + [-v for v in FP4[1:]]),
                      {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}),
}
BESIDE = {"gptq_b2"}  # whose settings lie in quantize_config.json, as AutoGPTQ once wrote them


def safetensors(tensors):
    header, data = {}, b""
    for name, (dtype, shape, values) in sorted(tensors.items(), key=lambda t: (-len(t[1][2]), t[0])):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "tests/data/quantised"
    for number, (name, (write, quantisation)) in enumerate(MODELS.items()):
        src = Source(1000 + number)
        noise = lambda *shape: tensor("F16", list(shape), [f16(src.rng.gauss(0, 0.5)) for _ in range(shape[0] * (shape + (1,))[1])])
        tensors = {"model.embed_tokens.weight": noise(VOCAB, HIDDEN), "lm_head.weight": noise(VOCAB, HIDDEN),
                   "model.norm.weight": tensor("F16", [HIDDEN], [1.0] * HIDDEN)}
        hashes = {}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.0.{norm}.weight"] = tensor("F16", [HIDDEN], [1.0] * HIDDEN)
        for linear, (n_out, n_in) in LINEARS.items():
            base = "model.layers.0." + linear
            stored, weights = write(base, n_out, n_in, src)
            tensors.update(stored)
            values = flat(weights)
            hashes[base + ".weight"] = hashlib.sha256(struct.pack(f"<{len(values)}f", *values)).hexdigest()
        config = {"model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FF, "num_hidden_layers": 1,
                  "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": VOCAB, "rms_norm_eps": 1e-5,
                  "max_position_embeddings": 64, "hidden_act": "silu", "tie_word_embeddings": False}
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if name in BESIDE:
            (folder / "quantize_config.json").write_text(json.dumps(quantisation) + "\n")
        else:
            config["quantization_config"] = quantisation
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (folder / "expected.json").write_text(json.dumps({"dequantised_sha256": hashes}, indent=1) + "\n")
        (folder / "model.safetensors").write_bytes(safetensors(tensors))


if __name__ == "__main__":
    main()
