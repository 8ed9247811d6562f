#!/usr/bin/env python3
"""Writes the seed corpora of the fuzzers in src/io: small honest files, and a few near misses.

usage: make_fuzz_seeds.py [FOLDER]   (default: src/io/fuzz_corpus beside this script's folder)
Needs nothing but Python's standard library. The output is the same on every run.
"""
import json
import math
import pathlib
import struct
import sys
import zlib

import make_quantised_fixture as quantised


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def pad(data, unit):
    return data + bytes(-len(data) % unit)


# ---- GGUF

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}


def gguf_value(kind, value):
    return string(value) if kind == 8 else struct.pack("<" + SCALARS[kind], value)


def gguf(pairs, tensors, version=3, alignment=32):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, kind, value in pairs:
        if isinstance(kind, tuple):
            head += string(key) + struct.pack("<IIQ", 9, kind[0], len(value))
            head += b"".join(gguf_value(kind[0], item) for item in value)
        else:
            head += string(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    body = b""
    for name, dims, dtype, data in tensors:
        head += string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        head += struct.pack("<IQ", dtype, len(body))
        body += pad(data, alignment)
    return pad(head, alignment) + body


def gguf_seeds():
    scalars = [(f"s{kind}", kind, "text" if kind == 8 else 1) for kind in (*SCALARS, 8)]
    arrays = [(f"a{kind}", (kind,), ["x", "", "yy"] if kind == 8 else [0, 1, 1]) for kind in (*SCALARS, 8)]
    f32 = ("token_embd.weight", [4, 3], 0, struct.pack("<12f", *range(12)))
    f16 = ("output_norm.weight", [4], 1, bytes(8))
    q8 = ("blk.0.ffn_up.weight", [32, 2], 8, bytes(68))
    q4k = ("blk.0.ffn_down.weight", [256], 12, bytes(144))
    architecture = [("general.architecture", 8, "llama")]
    return {
        "types": gguf(scalars + arrays, []),
        "tensors": gguf(architecture, [f32, f16, q8, q4k]),
        "version2": gguf(architecture, [f32], version=2),
        "alignment": gguf([("general.alignment", 4, 64)], [f32, f16], alignment=64),
        "dims": gguf([], [("scalar", [], 0, bytes(4)), ("four", [1, 2, 1, 3], 30, bytes(12)), ("none", [0, 5], 0, b"")]),
        "nested": gguf([("n", (9,), [])], []),
        "truncated": gguf(architecture, [f32])[:-40],
    }


# ---- safetensors

def safetensors(header, data):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text)) + text + data


def safetensors_seeds():
    sizes = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for dtype, size in sizes.items():
        header[dtype] = {"dtype": dtype, "shape": [1, 2], "data_offsets": [len(data), len(data) + 2 * size]}
        data += bytes(2 * size)
    scalar = {"s": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}, "e": {"dtype": "F32", "shape": [0, 7], "data_offsets": [0, 0]}}
    overlap = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}
    return {
        "types": safetensors(header, data),
        "shapes": safetensors(scalar, bytes(4)),
        "empty": safetensors({}, b""),
        "overlap": safetensors(overlap, bytes(8)),
        "escapes": safetensors(b'{"a\\u00e9\\n":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}   ', bytes(1)),
    }


# ---- quantised checkpoints: the config's size, config.json, a safetensors file

def quantised_seeds():
    seeds = {}
    for name, (write, quantisation) in quantised.MODELS.items():
        stored, _ = write("m", 32, 32, quantised.Source(1))
        config = json.dumps({"quantization_config": quantisation}).encode()
        seeds[name] = struct.pack("<H", len(config)) + config + quantised.safetensors(stored)
    config = json.dumps({"quantization_config": {"quant_method": "mxfp4"}}).encode()
    experts = {"e_blocks": quantised.tensor("U8", [2, 3, 1, 16], list(range(96))),
               "e_scales": quantised.tensor("U8", [2, 3, 1], [120, 127, 0, 128, 130, 1])}
    seeds["mxfp4"] = struct.pack("<H", len(config)) + config + quantised.safetensors(experts)
    return seeds


# ---- importance matrices

def imatrix_seeds():
    entry = lambda name, calls, values: (struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, len(values)) +
                                         struct.pack(f"<{len(values)}f", *values))
    entries = struct.pack("<i", 2) + entry(b"blk.0.attn_q.weight", 2, [1, 2, 3, 4]) + entry(b"output.weight", 1, [0, 5])
    meta = [("general.type", 8, "imatrix"), ("imatrix.datasets", (8,), ["book.txt"]), ("imatrix.chunk_count", 4, 2),
            ("imatrix.chunk_size", 4, 512)]
    tensors = [("blk.0.attn_q.weight.in_sum2", [4, 2], 0, struct.pack("<8f", *range(8))),
               ("blk.0.attn_q.weight.counts", [1, 2], 0, struct.pack("<2f", 3, 0))]
    return {
        "list": entries,
        "list_named": entries + struct.pack("<ii", 7, 4) + b"book",
        "list_negative": struct.pack("<i", 1) + entry(b"a", 1, [-1]),
        "gguf": gguf(meta, tensors),
        "gguf_other": gguf([("general.architecture", 8, "llama")], tensors),
        "gguf_uncounted": gguf(meta, tensors[:1]),
    }


# ---- torch checkpoints

def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)


def glob(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


ORDERED = glob("collections", "OrderedDict") + b")R"


def tensor(key, kind, total, offset, shape, strides, view=b""):
    pid = b"(" + text("storage") + glob("torch", kind) + text(key) + text("cpu") + integer(total) + view + b"tQ"
    counts = b"".join(b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (shape, strides))
    return glob("torch._utils", "_rebuild_tensor_v2") + b"(" + pid + integer(offset) + counts + b"\x89" + ORDERED + b"tR"


def parameter(value):
    return glob("torch._utils", "_rebuild_parameter") + b"(" + value + b"\x88" + ORDERED + b"tR"


def state_dict(items):
    body = b"".join(text(name) + value for name, value in items)
    return ORDERED + b"q\x00(" + body + b"u}" + text("_metadata") + b"}sb"


def pickled(value):
    return b"\x80\x02" + value + b"."


def raw_deflate(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_archive(files, deflated=False, zip64=False):
    out, directory = b"", b""
    for name, content in files:
        packed = raw_deflate(content) if deflated else content
        method = 8 if deflated else 0
        offset, label, crc = len(out), name.encode(), zlib.crc32(content)
        fill = -(len(out) + 30 + len(label) + 4) % 64
        extra = struct.pack("<HH", 0x4246, fill) + b"Z" * fill
        common = struct.pack("<HHHHI", 0, method, 0, 0, crc)
        out += struct.pack("<IH", 0x04034B50, 20) + common + struct.pack("<IIHH", len(packed), len(content), len(label), len(extra))
        out += label + extra + packed
        field = struct.pack("<HHQQQ", 1, 24, len(content), len(packed), offset) if zip64 else b""
        sizes = (0xFFFFFFFF,) * 3 if zip64 else (len(packed), len(content), offset)
        directory += struct.pack("<IHH", 0x02014B50, 20, 20) + common + struct.pack("<IIHHHHHII", *sizes[:2], len(label), len(field), 0, 0, 0, 0, sizes[2])
        directory += label + field
    n, begin = len(files), len(out)
    out += directory
    if zip64:
        at = len(out)
        out += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, n, n, len(directory), begin)
        out += struct.pack("<IIQI", 0x07064B50, 0, at, 1)
        return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n, n, len(directory), begin, 0)


def legacy(value, storages, view=b""):
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    system = pickled(b"}" + text("little_endian") + b"\x88s")
    keys = pickled(b"](" + b"".join(text(key) for key, _, _ in storages) + b"e")
    data = b"".join(struct.pack("<Q", n) + content for _, n, content in storages)
    return magic + pickled(integer(1001)) + system + pickled(value) + keys + data


def torch_seeds():
    data = struct.pack("<6f", *range(6))
    plain = state_dict([
        ("a", tensor("0", "FloatStorage", 6, 0, [2, 3], [3, 1])),
        ("b", parameter(tensor("0", "FloatStorage", 6, 0, [3, 2], [1, 3]))),
        ("step", integer(7)),
        ("h", tensor("1", "HalfStorage", 4, 1, [3], [1])),
    ])
    wrapped = b"}(" + text("epoch") + integer(3) + text("state_dict") + plain + b"u"

    def archive(value, **options):
        files = [("m/data.pkl", pickled(value)), ("m/byteorder", b"little"), ("m/data/0", data), ("m/data/1", bytes(8))]
        return zip_archive(files, **options)

    view = b"(" + text("0") + integer(2) + integer(4) + b"t"
    viewed = state_dict([("v", tensor("0", "FloatStorage", 6, 1, [2], [1], view=view))])
    storages = [("0", 6, data), ("1", 4, bytes(8))]
    return {
        "stored": archive(plain),
        "zip64": archive(plain, zip64=True),
        "deflated": archive(plain, deflated=True),
        "wrapped": archive(wrapped),
        "refused": archive(glob("os", "system") + b"(" + text("true") + b"tR"),
        "legacy": legacy(plain, storages),
        "legacy_view": legacy(viewed, storages[:1]),
    }


# ---- llama2.c

def llama2c_seed(vocab, tokens):
    dim, hidden, layers, heads, kv_heads, context = 4, 3, 2, 2, 1, 2
    n_vocab, kv = abs(vocab), dim // heads * kv_heads
    per_layer = 2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * dim * hidden
    floats = n_vocab * dim + layers * per_layer + dim + context * (dim // heads)
    if vocab < 0:
        floats += n_vocab * dim
    model = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab, context) + bytes(4 * floats)
    tokenizer = b""
    if tokens:
        tokenizer = struct.pack("<i", 7) + b"".join(struct.pack("<fi", -i, len(t)) + t for i, t in enumerate(tokens))
    return struct.pack("<H", len(tokenizer)) + tokenizer + model


def llama2c_seeds():
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x00>", b" a"]
    return {
        "tied": llama2c_seed(5, tokens),
        "untied": llama2c_seed(-5, tokens),
        "bare": llama2c_seed(5, []),
        "newer": struct.pack("<H", 0) + b"24ka" + bytes(60),
    }


# ---- adapters

def peft_seed(shapes, **options):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "target_modules": ["q", "emb"], **options}
    text, header, data = json.dumps(config, separators=(",", ":")).encode(), {}, b""
    for name, shape in shapes.items():
        n = math.prod(shape)
        key = "base_model.model." + name
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * n]}
        data += struct.pack(f"<{n}f", *range(n))
    return struct.pack("<H", len(text)) + text + safetensors(header, data)


def adapter_seeds():
    q = {"m.layers.0.q.lora_A.weight": [2, 3], "m.layers.0.q.lora_B.weight": [4, 2]}
    kind = [("general.type", 8, "adapter"), ("adapter.type", 8, "lora"), ("adapter.lora.alpha", 6, 4.0)]
    numbers = lambda n: struct.pack(f"<{n}f", *range(n))
    halves = [("blk.0.ffn_up.weight.lora_a", [3, 2], 0, numbers(6)), ("blk.0.ffn_up.weight.lora_b", [2, 4], 0, numbers(8)),
              ("token_embd.weight.lora_a", [2, 5], 0, numbers(10)), ("token_embd.weight.lora_b", [2, 3], 0, numbers(6))]
    patterns = {"m.layers.0.q.lora_A.weight": [1, 3], "m.layers.0.q.lora_B.weight": [4, 1],
                "m.emb.lora_embedding_A": [2, 5], "m.emb.lora_embedding_B": [3, 2], "head.weight": [2, 2]}
    return {
        "lora": peft_seed(q),
        "dora": peft_seed({**q, "m.layers.0.q.lora_magnitude_vector": [4]}, use_dora=True, use_rslora=True),
        "patterns": peft_seed(patterns, rank_pattern={"q": 1}, alpha_pattern={"layers.0.q": 8}, layers_to_transform=[0],
                              layers_pattern="layers", modules_to_save=["head"], target_modules=["q", "m.emb"]),
        "ia3": peft_seed({"m.k.ia3_l": [4, 1]}, peft_type="IA3"),
        "bias": peft_seed({**q, "m.layers.0.q.bias": [4]}, bias="all"),
        "half": peft_seed({"m.layers.0.q.lora_A.weight": [2, 3]}),
        "gguf": gguf(kind, halves),
        "gguf_model": gguf(kind[1:], halves[:1]),
    }


def main():
    beside = pathlib.Path(__file__).resolve().parent.parent / "src" / "io" / "fuzz_corpus"
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else beside
    corpora = {"gguf": gguf_seeds(), "safetensors": safetensors_seeds(), "torch_checkpoint": torch_seeds(), "llama2c": llama2c_seeds(),
               "adapter": adapter_seeds(), "quantised": quantised_seeds(), "imatrix": imatrix_seeds()}
    for name, seeds in corpora.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for seed, data in seeds.items():
            (root / name / seed).write_bytes(data)
    print(f"wrote {sum(map(len, corpora.values()))} seeds to {root}")


if __name__ == "__main__":
    main()
