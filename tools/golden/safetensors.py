"""Safetensors files, as far as these fixtures need them: float32, float16 and bfloat16."""
import json
import pathlib
import struct

import numpy as np


def _decode(kind, raw):
    if kind == "F32":
        return np.frombuffer(raw, "<f4")
    if kind == "F16":
        return np.frombuffer(raw, "<f2")
    if kind == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    raise ValueError(f"safetensors: dtype {kind} is not float")


def _read_file(path):
    raw = path.read_bytes()
    size, = struct.unpack("<Q", raw[:8])
    data = raw[8 + size:]
    return {name: _decode(t["dtype"], data[slice(*t["data_offsets"])]).reshape(t["shape"])
            for name, t in json.loads(raw[8:8 + size]).items() if name != "__metadata__"}


def read(folder):
    """All tensors of a Hugging Face folder, single or sharded, by name."""
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        tensors.update(_read_file(path))
    return tensors


def write(path, tensors):
    """Writes arrays as float32, in their order."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + 4 * array.size]}
        at += 4 * array.size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    body = b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in tensors.values())
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(head)) + head + body)
