"""Safetensors files, as far as these fixtures need them: float32, float16, bfloat16 and bytes."""
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
    if kind == "U8":
        return np.frombuffer(raw, "u1")
    raise ValueError(f"safetensors: dtype {kind} is unknown")


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


def to_bf16(array):
    """The nearest values that bfloat16 has, as float32."""
    bits = np.ascontiguousarray(array, "<f4").view("<u4")
    return (bits + 0x7fff + (bits >> 16 & 1) & 0xffff0000).astype("<u4").view("<f4")


def _encode(array, as_bf16):
    if array.dtype == np.uint8:
        return "U8", array.tobytes()
    floats = np.ascontiguousarray(array, "<f4")
    return ("BF16", (floats.view("<u4") >> 16).astype("<u2").tobytes()) if as_bf16 else ("F32", floats.tobytes())


def write(path, tensors, as_bf16=False):
    """Writes arrays in their order: bytes as they are, others as float32 or bfloat16, which must hold them."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        kind, raw = _encode(array, as_bf16)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(head)) + head + body)
