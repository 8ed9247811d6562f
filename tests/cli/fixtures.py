"""Small models with tokenizers for the end-to-end tests, made from tests/data/golden."""
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import unittest

SOURCE = os.environ["HUNCH_SOURCE_DIR"]
BINARY = os.environ["HUNCH_BINARY"]
GOLDEN = os.path.join(SOURCE, "tests", "data", "golden")
MERGES = ["t h", "Ġ a", "h e", "i n", "th e", "Ġ the", "e r", "o n"]


def shared(relative):
    """A file or folder of the shared data, or None where it is not here."""
    path = os.path.join(os.environ.get("HUNCH_SHARED", os.path.join(SOURCE, "..", "shared")), relative)
    return path if os.path.exists(path) else None


def byte_alphabet():
    """GPT-2's: printable Latin-1 stands for itself, the other bytes are U+0100 and up."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            names[byte] = chr(byte)
        else:
            names[byte] = chr(256 + extra)
            extra += 1
    return names


def write_tokenizer(folder, chat_template=None, close_tag=None):
    """A byte-level vocabulary of 268 tokens: 4 special ones, the bytes, and 8 merges. `close_tag`: a text, and whether it
    is a control token, in place of the last merge."""
    merges = MERGES[:-1] if close_tag else MERGES
    pieces = ["<s>", "<pad>", "</s>", "<unk>"] + list(byte_alphabet().values()) + [m.replace(" ", "") for m in merges]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({piece: i for i, piece in enumerate(pieces)}, f)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    config = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    if close_tag:
        config["added_tokens_decoder"] = {str(len(pieces)): {"content": close_tag[0], "special": close_tag[1]}}
    if chat_template:
        config["chat_template"] = chat_template
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)


def random_words(n, rng=None):
    """A text of n words, of this generator or else always the same."""
    rng = rng or random.Random(1)
    words = "the end of a thing is in another one he said and went on to see what it might be for her".split()
    return " ".join(rng.choice(words) for _ in range(n))


def golden(name):
    with open(os.path.join(GOLDEN, name, "golden", "golden.json"), encoding="utf-8") as f:
        return json.load(f)


def patch_tensor(source, target, name, dims, element_bytes):
    """Copies a GGUF file, one tensor replaced by zeros of these dimensions (GGUF's order) at its end. The file is sparse."""
    with open(source, "rb") as f:
        content = bytearray(f.read())
    key = struct.pack("<Q", len(name)) + name.encode()
    at = content.index(key) + len(key)
    (n_dims,) = struct.unpack_from("<I", content, at)
    assert n_dims == len(dims), f"{name} has {n_dims} dimensions"
    struct.pack_into(f"<{n_dims}Q", content, at + 4, *dims)
    data = data_offset(content)
    n_bytes = element_bytes
    for d in dims:
        n_bytes *= d
    end = (len(content) - data + 31) // 32 * 32
    struct.pack_into("<Q", content, at + 4 + 8 * n_dims + 4, end)
    with open(target, "wb") as f:
        f.write(content)
        f.truncate(data + end + (n_bytes + 31) // 32 * 32)


def read_table(content):
    """[(key, bytes of its type and value)] of a GGUF file, where the table of its tensors begins, and where it ends."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    at, keys = 24, []

    def skip_text(at):
        return at + 8 + struct.unpack_from("<Q", content, at)[0]

    def skip_value(kind, at):
        if kind == 8:
            return skip_text(at)
        if kind != 9:
            return at + sizes[kind]
        inner, n = struct.unpack_from("<IQ", content, at)
        at += 12
        if inner in sizes:
            return at + n * sizes[inner]
        for _ in range(n):
            at = skip_value(inner, at)
        return at

    n_tensors, n_keys = struct.unpack_from("<QQ", content, 8)
    for _ in range(n_keys):
        name = skip_text(at)
        end = skip_value(struct.unpack_from("<I", content, name)[0], name + 4)
        keys.append((bytes(content[at + 8:name]).decode(), bytes(content[name:end])))
        at = end
    tensors = at
    for _ in range(n_tensors):
        at = skip_text(at)
        at += 4 + 8 * struct.unpack_from("<I", content, at)[0] + 12
    return keys, tensors, at


def data_offset(content):
    """Where a GGUF file's data section begins: after the metadata and the table of tensors."""
    return (read_table(content)[2] + 31) // 32 * 32


def write_metadata(source, target, changes):
    """Copies a GGUF file with other metadata: {key: a bool, int (u32, i32), float (f32), text, list of one kind, the bytes of
    a type and a value, or None, which takes the key out}."""
    with open(source, "rb") as f:
        content = f.read()
    keys, begin, end = read_table(content)

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def typed(value):
        if isinstance(value, bytes):
            return value
        if isinstance(value, list):
            items = [typed(v) for v in value]
            kind = items[0][:4] if items else struct.pack("<I", 4)
            return struct.pack("<I", 9) + kind + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)
        if isinstance(value, bool):
            return struct.pack("<IB", 7, value)
        if isinstance(value, int):
            return struct.pack("<II", 4, value) if value >= 0 else struct.pack("<Ii", 5, value)
        return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<I", 8) + text(value)

    table = {**dict(keys), **{key: None if value is None else typed(value) for key, value in changes.items()}}
    table = {key: value for key, value in table.items() if value is not None}
    head = content[:16] + struct.pack("<Q", len(table)) + b"".join(text(key) + value for key, value in table.items()) + content[begin:end]
    with open(target, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + content[(end + 31) // 32 * 32:])
    return target


class Result:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr.decode("utf-8", "replace")

    @property
    def text(self):
        return self.out.decode("utf-8")

    @property
    def json(self):
        lines = self.out.decode("utf-8").splitlines()
        assert len(lines) == 1, f"expected one line of JSON, found {lines[:3]}"
        return json.loads(lines[0])


class CliTest(unittest.TestCase):
    """Runs the binary in a folder of its own, with a home of its own."""

    CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="hunch-cli-")
        cls.opt = os.path.join(cls.dir, "opt")
        shutil.copytree(os.path.join(GOLDEN, "opt_sparse"), cls.opt)
        write_tokenizer(cls.opt, cls.CHAT)
        cls.home = os.path.join(cls.dir, "home")
        os.mkdir(cls.home)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode("utf-8"))
        return self.path(name)

    def environment(self, **extra):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HUNCH_", "HF_"))}
        return {**env, "HUNCH_HOME": self.home, "HF_ENDPOINT": "http://127.0.0.1:9", **extra}

    def hunch(self, *arguments, stdin=b"", env=None, code=0, stdout=subprocess.PIPE, preexec_fn=None):
        process = subprocess.run([BINARY, *arguments], input=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                 env=self.environment(**(env or {})), timeout=300, check=False, preexec_fn=preexec_fn)
        result = Result(process)
        self.assertEqual(result.code, code, f"hunch {arguments}: exit code {result.code}\n{result.err}")
        self.assertNotIn("AddressSanitizer", result.err)
        self.assertNotIn("runtime error", result.err)
        return result

    def refused(self, code, *arguments, says=(), **more):
        """Fails with this exit code and one clear line; again with --json, as an object."""
        result = self.hunch(*arguments, code=code, **more)
        self.assertTrue(result.err.splitlines()[-1].startswith("hunch: "), result.err)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, result.err)
        if "--json" not in arguments:
            again = self.hunch(*arguments, "--json", code=code, **more)
            self.assertEqual(set(again.json["error"]), {"kind", "message"})
        return result
