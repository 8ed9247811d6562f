#!/usr/bin/env python3
"""Writes src/formats/grids_*.cc, the tables of the IQ1, IQ2 and IQ3 types, read off decoded blocks, and a few blocks of every
type with their values, for tests (tests/data/formats/blocks.bin).

usage: make_format_grids.py GGUF_TYPES   (shared/golden/gguf_types; Debian: python3-numpy)

The types' definition is what their codes decode to. GGUF_TYPES has, for each type, random blocks in which every entry
of its table occurs, with the values that they stand for: from a block's fields this takes the entry's number, its scale
and its signs, and what is left of the value is the entry. Every entry has to come out the same wherever it occurs.
"""
import json
import pathlib
import sys

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "src" / "formats"
SIGNS = np.array([i | (bin(i).count("1") & 1) << 7 for i in range(128)])


def blocks_of(folder, name):
    """(bytes, values) of every block of the type."""
    info = json.loads((folder / f"{name}.json").read_text())
    raw = (folder / f"{name}.bin").read_bytes()
    out = []
    for kind in ("", "_random", "_grid"):
        arrays = []
        for key in ("encoded" + kind, "values" + kind):
            a = info["arrays"][key]
            n = int(np.prod(a["shape"]))
            arrays.append(np.frombuffer(raw, np.dtype(a["dtype"]), n, a["byte_offset"]))
        out += zip(arrays[0].reshape(-1, info["block_bytes"]), arrays[1].reshape(-1, 256))
    return out


def half(two):
    return float(np.frombuffer(bytes(two), "<f2")[0])


def words(b, dtype):
    return np.frombuffer(bytes(b), dtype).astype(int)


# Of a block: (entry, scale, bits that are signs or None, what is added to the entry) of each group of values in order.
def iq2_xxs(b):
    for part in words(b[2:], "<u4").reshape(8, 2):
        for l in range(4):
            yield part[0] >> 8 * l & 255, half(b[:2]) * (0.5 + (part[1] >> 28)) / 4, SIGNS[part[1] >> 7 * l & 127], 0


def iq2_xs(b):
    for i, q in enumerate(words(b[2:66], "<u2")):
        scale = int(b[66 + i // 4]) >> 4 * (i % 4 // 2) & 15
        yield q & 511, half(b[:2]) * (0.5 + scale) / 4, SIGNS[q >> 9], 0


def iq2_s(b):
    for i in range(32):
        scale = int(b[74 + i // 4]) >> 4 * (i % 4 // 2) & 15
        yield int(b[2 + i]) | (int(b[66 + i // 4]) >> 2 * (i % 4) & 3) << 8, half(b[:2]) * (0.5 + scale) / 4, int(b[34 + i]), 0


def iq3_xxs(b):
    for i, part in enumerate(words(b[66:], "<u4")):
        for l in range(4):
            signs = SIGNS[part >> 7 * l & 127]
            for k in range(2):
                yield int(b[2 + 8 * i + 2 * l + k]), half(b[:2]) * (0.5 + (part >> 28)) / 2, signs >> 4 * k & 15, 0


def iq3_s(b):
    for i in range(64):
        scale = int(b[106 + i // 16]) >> 4 * (i // 8 % 2) & 15
        yield int(b[2 + i]) | (int(b[66 + i // 8]) >> i % 8 & 1) << 8, half(b[:2]) * (1 + 2 * scale), int(b[74 + i // 2]) >> 4 * (i % 2) & 15, 0


def iq1_s(b):
    for i in range(32):
        high = words(b[34:], "<u2")[i // 4]
        yield int(b[2 + i]) | (high >> 3 * (i % 4) & 7) << 8, half(b[:2]) * (2 * (high >> 12 & 7) + 1), None, -0.125 if high >> 15 else 0.125


def iq1_m(b):
    scales = words(b[48:], "<u2")
    d = half(np.array([sum((int(s) >> 12) << 4 * i for i, s in enumerate(scales))], "<u2").tobytes())
    for i in range(32):
        high = int(b[32 + i // 2]) >> 4 * (i % 2)
        scale = scales[i // 8] >> 3 * (i // 2 % 4) & 7
        yield int(b[i]) | (high & 7) << 8, d * (2 * scale + 1), None, -0.125 if high & 8 else 0.125


def table(folder, name, fields, n_entries, levels):
    """Entries as numbers, level after level from the lowest bits."""
    n_bits = 2 if len(levels) <= 4 else 3
    found = {}
    for b, values in blocks_of(folder, name):
        groups = list(fields(b))
        size = 256 // len(groups)
        for i, (entry, scale, signs, added) in enumerate(groups):
            if scale == 0:
                continue
            v = values[size * i:size * (i + 1)].astype(np.float64) / scale
            if signs is not None:
                v = v * np.array([-1 if signs >> j & 1 else 1 for j in range(size)])
            v = v - added
            codes = [int(np.argmin(np.abs(np.array(levels) - x))) for x in v]
            assert np.abs(v - np.array(levels)[codes]).max() < 1e-4, (name, entry, v)
            code = sum(c << n_bits * j for j, c in enumerate(codes))
            assert found.setdefault(int(entry), code) == code, (name, entry)
    assert sorted(found) == list(range(n_entries)), (name, len(found))
    return [found[i] for i in range(n_entries)]


def write(path, what, tables):
    lines = [f"// {what} Written by tools/make_format_grids.py.", '#include "formats/grids.h"', "", "namespace hunch::grids {", "", "// clang-format off"]
    for name, entries in tables:
        lines.append(f"const uint16_t {name}[{len(entries)}] = {{")
        for i in range(0, len(entries), 16):
            lines.append("    " + " ".join(f"{e}," for e in entries[i:i + 16]))
        lines += ["};"]
    lines += ["// clang-format on", "", "}  // namespace hunch::grids", ""]
    path.write_text("\n".join(lines))


def write_blocks(folder, path):
    """Of every type: id, bytes and values of a block (32 bits each), then a random block and what it decodes to."""
    out = b""
    for file in sorted(folder.glob("*.json")):
        info = json.loads(file.read_text())
        raw = file.with_suffix(".bin").read_bytes()
        size, n = info["block_bytes"], info["block_size"]
        encoded, values = (info["arrays"][k]["byte_offset"] for k in ("encoded_random", "values_random"))
        out += np.array([info["type_id"], size, n], "<u4").tobytes() + raw[encoded:encoded + size] + raw[values:values + 4 * n]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)


def main():
    folder = pathlib.Path(sys.argv[1])
    write_blocks(folder, OUT.parent.parent / "tests" / "data" / "formats" / "blocks.bin")
    two, three = [8, 25, 43], [4, 12, 20, 28, 36, 44, 52, 62]
    write(OUT / "grids_iq2.cc", "The tables of IQ2_XXS, IQ2_XS and IQ2_S.", [
        ("kIq2Xxs", table(folder, "IQ2_XXS", iq2_xxs, 256, two)),
        ("kIq2Xs", table(folder, "IQ2_XS", iq2_xs, 512, two)),
        ("kIq2S", table(folder, "IQ2_S", iq2_s, 1024, two))])
    write(OUT / "grids_iq3.cc", "The tables of IQ3_XXS and IQ3_S.", [
        ("kIq3Xxs", table(folder, "IQ3_XXS", iq3_xxs, 256, three)),
        ("kIq3S", table(folder, "IQ3_S", iq3_s, 512, list(range(1, 16, 2))))])
    one = table(folder, "IQ1_S", iq1_s, 2048, [-1, 0, 1])
    assert one == table(folder, "IQ1_M", iq1_m, 2048, [-1, 0, 1])
    write(OUT / "grids_iq1.cc", "The table of IQ1_S and IQ1_M.", [("kIq1", one)])


if __name__ == "__main__":
    main()
