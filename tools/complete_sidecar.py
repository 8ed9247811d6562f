#!/usr/bin/env python3
"""complete_sidecar.py MODEL.gguf MODEL.hunch --text FILE --tokens N [--hunch BINARY]

Gives a sidecar of an older hunch, in place, what `hunch sparsify` keeps today so that it also serves the model's
quantisations: the fingerprint of the model's norms and biases (hunch.base.vectors), and the first 512 tokens of the text
that its price was measured on (hunch.quality.ids). --text and --tokens are those that it was made with. What it learned
stays byte by byte."""
import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys

N_IDS = 512  # kPriceTokens of src/compress/calibration.cc
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Gguf:
    """The parts of a file: keys with their bytes, tensors (name, shape, type, offset), the data."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        magic, version, n_tensors, n_keys = struct.unpack_from("<4sIQQ", self.bytes)
        if magic != b"GGUF" or version != 3:
            sys.exit(f"{path}: expected GGUF version 3")
        self.at = 24
        self.keys, self.tensors = {}, []
        for _ in range(n_keys):
            begin = self.at
            name = self.text()
            (kind,) = self.take("<I")
            value = self.at
            self.skip(kind)
            self.keys[name] = (kind, self.bytes[value:self.at], self.bytes[begin:self.at])
        self.keys_end = self.at
        for _ in range(n_tensors):
            name = self.text()
            (n_dims,) = self.take("<I")
            self.tensors.append((name, *[list(self.take(f"<{n_dims}Q"))], *self.take("<IQ")))
        self.tensors_end = self.at
        alignment = struct.unpack("<I", self.keys["general.alignment"][1])[0] if "general.alignment" in self.keys else 32
        self.alignment, self.data = alignment, (self.at + alignment - 1) // alignment * alignment

    def take(self, form):
        out = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return out

    def text(self):
        (n,) = self.take("<Q")
        self.at += n
        return self.bytes[self.at - n:self.at].decode()

    def skip(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, n = self.take("<IQ")
            for _ in range(n):
                self.skip(inner)
        else:
            self.at += SIZES[kind]


def vector_fingerprint(model):
    """As src/model/fingerprint.cc."""
    import numpy as np

    sha, types = hashlib.sha256(), {0: "<f4", 1: "<f2"}
    for name, shape, kind, offset in sorted(model.tensors):
        if len(shape) != 1 or not name.startswith("blk."):
            continue
        if kind not in types:
            sys.exit(f"{name}: expected f32 or f16")
        values = np.frombuffer(model.bytes, types[kind], shape[0], model.data + offset).astype("<f4")
        sha.update(f"{name} {shape[0]}\n".encode() + values.tobytes())
    return sha.hexdigest()


def key(name, kind, value):
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sidecar")
    parser.add_argument("--text", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--hunch", default="build/release/hunch")
    args = parser.parse_args()
    model, sidecar = Gguf(args.model), Gguf(args.sidecar)
    n_checked = struct.unpack("<Q", sidecar.keys["hunch.quality.n_tokens"][1])[0]
    out = subprocess.run([args.hunch, "tokenize", args.model, "--file", args.text, "--json"], check=True, capture_output=True)
    ids = json.loads(out.stdout)["ids"][:args.tokens][-n_checked:]
    if n_checked != min(min(args.tokens, 400000) // 6, 16384) or len(ids) < n_checked:
        sys.exit(f"the sidecar was measured on {n_checked} tokens; --tokens {args.tokens} says otherwise")
    more = {"hunch.base.vectors": (8, vector_fingerprint(model)), "hunch.quality.ids": (9, ids[:N_IDS])}
    written = b""
    for name, (kind, value) in more.items():
        if name in sidecar.keys:
            sys.exit(f"{args.sidecar} has {name} already")
        written += key(name, kind, struct.pack("<Q", len(value)) + value.encode() if kind == 8 else
                       struct.pack(f"<IQ{len(value)}I", 4, len(value), *value))
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(sidecar.tensors), len(sidecar.keys) + len(more))
    head += sidecar.bytes[24:sidecar.keys_end] + written + sidecar.bytes[sidecar.keys_end:sidecar.tensors_end]
    head += bytes(-len(head) % sidecar.alignment)
    with open(args.sidecar + ".part", "wb") as f:
        f.write(head + sidecar.bytes[sidecar.data:])
    os.replace(args.sidecar + ".part", args.sidecar)
    print(f"{args.sidecar}: {', '.join(more)}")


if __name__ == "__main__":
    main()
