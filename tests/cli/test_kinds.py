"""The kinds of failures that people have reported of engines like this one, with inputs that nobody has reported: each is
right, refused by name, or noted by name."""
import json
import math
import os
import shutil
import struct
import unittest

from fixtures import GOLDEN, MERGES, CliTest, random_words, read_table, write_metadata, write_tokenizer
from test_adapters import write_safetensors

IDS = "3,9,27,17,5,8,40,2,11,30"
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


def read_safetensors(path):
    """{name: (shape, values)} of f32."""
    with open(path, "rb") as f:
        raw = f.read()
    (n,) = struct.unpack_from("<Q", raw)
    out = {}
    for name, entry in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            out[name] = (entry["shape"], list(struct.unpack(f"<{(end - begin) // 4}f", raw[8 + n + begin:8 + n + end])))
    return out


class Kinds(CliTest):
    n_models = 0

    def model(self, base, change=None, raw=None, tokenizer=False, files=None):
        """A copy of a golden model; change(config) or raw(text of it) -> bytes."""
        Kinds.n_models += 1
        folder = self.path(f"model-{self.n_models}")
        os.mkdir(folder)
        for name in os.listdir(os.path.join(GOLDEN, base)):
            if os.path.isfile(os.path.join(GOLDEN, base, name)):
                shutil.copy(os.path.join(GOLDEN, base, name), folder)
        if tokenizer:
            write_tokenizer(folder, self.CHAT)
        at = os.path.join(folder, "config.json")
        with open(at, encoding="utf-8") as f:
            config = json.load(f)
        if change:
            config = change(config) or config
        with open(at, "wb") as f:
            f.write(raw(json.dumps(config)) if raw else json.dumps(config).encode())
        for name, content in (files or {}).items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump(content, f)
        return folder

    def logits(self, folder):
        result = self.hunch("logits", folder, "--ids", IDS, "--json")
        return result.json["logits"], result.err

    def having(self, **keys):
        return lambda config: config.update(keys)


class Configs(Kinds):
    """A config in other words is the same model, or what is not read is named."""

    def test_the_same_in_other_words(self):
        def beside_a_default(config):  # vLLM 42624: what transformers 4 puts beside a newer dictionary
            config["rope_parameters"] = {"rope_type": "default", "rope_theta": config["rope_theta"]}
            config["rope_theta"] = 10000.0

        def without_theta(config):  # vLLM 56066
            config["rope_parameters"] = {"rope_type": "default"}

        nothing = self.having(rope_scaling=None, sliding_window=None, layer_types=None, use_sliding_window=None, quantization_config=None)
        plain, _ = self.logits(self.model("tiny_qwen3"))
        for change in beside_a_default, without_theta, nothing, self.having(max_position_embeddings=10**9):
            got, err = self.logits(self.model("tiny_qwen3", change))
            self.assertEqual(got, plain)
            self.assertNotIn("does not read", err)
        for raw in lambda text: b"\xef\xbb\xbf" + text.encode(), lambda text: text.replace(", ", ",\r\n\t").encode():
            self.assertEqual(self.logits(self.model("tiny_qwen3", raw=raw))[0], plain)
        tied, _ = self.logits(self.model("tiny_gemma3"))
        nested = lambda config: {"model_type": "gemma3", "tie_word_embeddings": config.pop("tie_word_embeddings"), "text_config": config}
        self.assertEqual(self.logits(self.model("tiny_gemma3", nested))[0], tied)

    def test_what_is_not_read_is_named(self):
        plain, _ = self.logits(self.model("tiny_qwen3"))
        keys = {"rotary_dim": 4, "logit_scale": 0.5, "residual_multiplier": 0.2, "final_logit_softcapping": 30.0, "clip_qkv": 8.0,
                "attn_logit_softcapping": 20.0, "embedding_multiplier": 12.0, "no_rope_layers": [1, 0], "attention_multiplier": 0.01,
                "attention_chunk_size": 16, "attention_sinks": True, "num_nextn_predict_layers": 1}
        got, err = self.logits(self.model("tiny_qwen3", self.having(**keys)))
        self.assertEqual(got, plain)
        for key in keys:
            self.assertIn(key, err)

    def test_what_cannot_be_meant_is_refused_by_name(self):
        for keys, says in [({"rope_theta": "700.0"}, "rope_theta"), ({"num_hidden_layers": -2}, "num_hidden_layers"),
                           ({"num_attention_heads": True}, "num_attention_heads"), ({"layer_types": ["full_attention"]}, "layer_types has 1"),
                           ({"layer_types": ["full_attention", "chunked_attention"]}, "chunked_attention"),
                           ({"rope_scaling": {"rope_type": "spiral", "factor": 4}}, "spiral"), ({"rope_scaling": {"rope_type": "yarn"}}, "factor"),
                           ({"hidden_act": "swiglu_oai"}, "swiglu_oai"), ({"quantization_config": {"quant_method": "hqq"}}, "hqq")]:
            self.refused(1, "logits", self.model("tiny_qwen3", self.having(**keys)), "--ids", IDS, says=says)
        self.refused(1, "logits", self.model("tiny_mixtral", self.having(num_experts_per_tok=9)), "--ids", IDS, says="expected 1 to 5")
        for raw, says in (lambda t: t[:-1].encode() + b",}", "not valid JSON: line 1"), (lambda t: b"// x\n" + t.encode(), "line 1, column 1"), \
                (lambda t: t.encode("utf-16"), "not valid JSON"):
            self.refused(1, "logits", self.model("tiny_qwen3", raw=raw), "--ids", IDS, says=says)


class GgufMetadata(Kinds):
    """Keys of a GGUF file in other types and spellings are the same model; those that nobody reads are named."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = os.path.join(cls.dir, "plain.gguf")
        shutil.copytree(os.path.join(GOLDEN, "tiny_qwen3"), os.path.join(cls.dir, "qwen3"))

    def setUp(self):
        if not os.path.exists(self.file):
            self.hunch("convert", self.path("qwen3"), "-o", self.file, "--type", "f32")

    def changed(self, changes):
        return write_metadata(self.file, self.path("changed.gguf"), changes)

    def test_numbers_of_other_types(self):
        plain, err = self.logits(self.file)
        self.assertNotIn("does not read", err)
        with open(self.file, "rb") as f:
            keys = dict(read_table(f.read())[0])
        n_layer = struct.unpack("<II", keys["qwen3.block_count"])[1]
        for changes in ({"qwen3.block_count": struct.pack("<IQ", 10, n_layer)}, {"qwen3.block_count": struct.pack("<IB", 0, n_layer)},
                        {"qwen3.block_count": struct.pack("<Ii", 5, n_layer)}, {"qwen3.rope.scaling.type": "none"},
                        {"qwen3.rope.scaling.finetuned": False, "qwen3.vocab_size": 64, "general.file_type": 0, "general.quantization_version": 2},
                        {"somebody.else": "anything", "general.tags": ["a", "b"]}):
            got, err = self.logits(self.changed(changes))
            self.assertEqual(got, plain, changes)
            self.assertNotIn("does not read", err)

    def test_names_are_shown_as_they_are_written(self):
        first = lambda name: self.hunch("run", self.changed({"general.name": name}), "--ids", "3", "-n", "1").err.splitlines()[0]
        self.assertTrue(first("Gr\u00f6\u00dfe \u6a21\u578b").startswith("Gr\u00f6\u00dfe \u6a21\u578b: qwen3, "))
        self.assertTrue(first("a\x1b[2Jb\u202e").startswith("a\\x1b[2Jb\\xe2\\x80\\xae: qwen3, "))

    def test_what_is_not_read_is_named(self):
        plain, _ = self.logits(self.file)
        keys = {"qwen3.attention.scale_by_layer": True, "qwen3.attention.key_shift": 0.5, "qwen3.rope.scaling.spiral": 2.0,
                "tokenizer.ggml.lowercase_everything": True}
        got, err = self.logits(self.changed({**keys, "qwen3.rope.scaling.type": "linear", "qwen3.rope.scaling.factor": 1.0}))
        self.assertEqual(got, plain)
        for key in keys:
            self.assertIn(key, err)
        self.assertIn("tokenizer.ggml.lowercase_everything", self.hunch("inspect", self.changed(keys)).text.replace("\n", ""))

    def test_what_cannot_be_meant_is_refused_by_name(self):
        for changes, says in [({"qwen3.block_count": "two"}, "qwen3.block_count"), ({"qwen3.block_count": -2}, "qwen3.block_count"),
                              ({"qwen3.block_count": None}, "qwen3.block_count"), ({"qwen3.embedding_length": 0}, "n_embd is 0"),
                              ({"qwen3.attention.head_count": 7}, "head"), ({"qwen3.attention.head_count_kv": 3}, "head"),
                              ({"qwen3.rope.scaling.type": "spiral"}, "spiral"), ({"qwen3.rope.freq_base": float("nan")}, "rope base nan"),
                              ({"qwen3.rope.freq_base": 0.0}, "rope base 0"), ({"qwen3.attention.layer_norm_rms_epsilon": -1.0}, "norm_eps -1"),
                              ({"general.architecture": "qwen3next_x"}, "qwen3next_x"), ({"general.architecture": 3}, "general.architecture"),
                              ({"qwen3.attention.head_count": [4, 4, 4, 4, 4, 4, 4]}, "head_count"), ({"qwen3.context_length": 0}, "n_ctx_train is 0"),
                              ({"general.alignment": 24}, "general.alignment")]:
            self.refused(1, "logits", self.changed(changes), "--ids", IDS, says=says)


class Ends(Kinds):
    """Whoever names the token that ends a text is heard."""

    def test_of_every_file_that_may_say_it(self):
        run = ("-p", "the", "-n", "24", "--temperature", "0", "--json")
        free = self.hunch("run", self.model("opt_sparse", tokenizer=True), *run, "--ignore-end").json["ids"]
        third = free[2]
        self.assertNotIn(third, free[:2])
        for files, keys in [({"generation_config.json": {"eos_token_id": [2, third]}}, {}), ({"generation_config.json": {"eos_token_id": 2}}, {"eos_token_id": third}),
                            ({}, {"eos_token_id": [2, third]}), ({"generation_config.json": {"eos_token_id": None}}, {"eos_token_id": third})]:
            answer = self.hunch("run", self.model("opt_sparse", self.having(**keys), tokenizer=True, files=files), *run).json
            self.assertEqual((answer["stop_reason"], answer["ids"]), ("end_of_text", free[:2]), (files, keys))


class Tokenizers(Kinds):
    """Parts of a tokenizer that are unusual are taken, or refused by name."""

    def tokenizer(self, **parts):
        folder = self.model("opt_sparse", tokenizer=True)
        with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
            vocabulary = json.load(f)
        model = {"type": "BPE", "vocab": vocabulary, "merges": MERGES, **{k: parts.pop(k) for k in list(parts) if k.endswith(("_suffix", "_prefix"))}}
        content = {"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "special": True}, {"id": 2, "content": "</s>", "special": True}],
                   "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, "post_processor": None,
                   "decoder": {"type": "ByteLevel"}, "model": model, **parts}
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
            json.dump(content, f)
        return folder

    def ids(self, folder, text):
        return self.hunch("tokenize", folder, text, "--no-bos", "--json").json["ids"]

    def test_steps(self):
        plain = self.ids(self.tokenizer(), "the 12 e")
        self.assertEqual(self.ids(self.tokenizer(normalizer={"type": "Lowercase"}), "THE 12 E"), plain)
        self.assertEqual(self.ids(self.tokenizer(normalizer={"type": "Strip", "strip_left": True, "strip_right": True}), "  the 12 e  "), plain)
        replaced = self.tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": "x+"}, "content": "e"})
        self.assertEqual(self.ids(replaced, "thxx 12 x"), plain)
        for parts, says in [({"pre_tokenizer": {"type": "Klingon"}}, "'Klingon'"), ({"end_of_word_suffix": "</w>"}, "</w>"),
                            ({"continuing_subword_prefix": "##"}, "##"), ({"model": {"type": "Klingon", "vocab": {}}}, "'Klingon'")]:
            self.refused(1, "tokenize", self.tokenizer(**parts), "the", says=says)
        self.assertIn("Klingon", self.hunch("tokenize", self.tokenizer(decoder={"type": "Klingon"}), "the").err)

    def test_a_vocabulary_that_nothing_makes(self):
        merges = self.tokenizer()
        self.hunch("convert", merges, "-o", self.path("merges.gguf"))
        without = write_metadata(self.path("merges.gguf"), self.path("without.gguf"), {"tokenizer.ggml.merges": struct.pack("<IIQ", 9, 8, 0)})
        self.refused(1, "tokenize", without, "the", says="no merges make the pieces")

    def test_added_tokens_that_swallow_spaces_or_stand_alone(self):
        def ids(text, **flags):
            folder = self.model("opt_sparse", tokenizer=True)
            at = os.path.join(folder, "tokenizer_config.json")
            with open(at, encoding="utf-8") as f:
                config = json.load(f)
            config["added_tokens_decoder"] = {"268": {"content": "<m>", "special": False, **flags}}
            with open(at, "w", encoding="utf-8") as f:
                json.dump(config, f)
            return self.ids(folder, text)

        a, b = ids("a")[0], ids("b")[0]
        self.assertEqual(ids("a <m>  b", rstrip=True, lstrip=True), [a, 268, b])
        self.assertEqual(ids("a<m>", single_word=False)[-1], 268)
        self.assertNotIn(268, ids("a<m>", single_word=True))

    def test_bytes_of_a_unigram_vocabulary(self):
        """llama.cpp 28862: such a vocabulary has pieces for bytes, and an unknown character is those."""
        pieces = [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0], *([f"<0x{i:02X}>", -20.0] for i in range(256)), ["\u2581", -3.0], ["the", -2.0], ["\u2581the", -1.5]]
        folder = self.tokenizer(pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
                                decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                                         {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
                                model={"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": True})
        file = self.path("unigram.gguf")
        self.hunch("convert", folder, "-o", file)
        for model in folder, file:
            ids = self.ids(model, "the \u00e9")
            self.assertEqual(ids, [261, 259, 3 + 0xC3, 3 + 0xA9])
            self.assertEqual(self.hunch("detokenize", model, ",".join(map(str, ids))).text, "the \u00e9")


class Messages(Kinds):
    """Messages as clients of OpenAI's API send them reach any template."""

    def render(self, source, messages, *more):
        return self.hunch("template", "--template-file", self.write("t.jinja", source), "--messages", self.write("m.json", json.dumps(messages)), *more).text

    def test_parts_of_text_and_templates_of_one_text(self):
        question = {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]}
        loops = "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
        for body in "{{ m.content }}", "{{ '' + m.content }}", "{{ m.content.strip() }}", "{{ m['content'] | trim }}", loops:
            source = "{% for m in messages %}<{{ m.role }}>" + body + "{% endfor %}"
            for messages in [question], [{"role": "user", "content": "Hi you"}]:
                self.assertEqual(self.render(source, messages), "<user>Hi you", source)

    def test_calls_of_tools(self):
        items = "{% for m in messages %}{{ '<' + m.content + '>' }}{% for c in m.tool_calls %}{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }};{% endfor %}{% endfor %}{% endfor %}"
        for arguments, shown in ('{"a": 1}', "a=1;"), ("", ""), (None, ""), ("{}", ""), ({"a": 1}, "a=1;"):
            call = json.loads(json.dumps(CALL))
            call["tool_calls"][0]["function"]["arguments"] = arguments
            self.assertEqual(self.render(items, [{"role": "user", "content": "Hi"}, call]), "<Hi><>" + shown)
            del call["content"]
            self.assertEqual(self.render(items, [{"role": "user", "content": "Hi"}, call]), "<Hi><>" + shown)
        result = {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "12:00"}]}
        self.assertEqual(self.render("{{ messages[-1].content }}", [{"role": "user", "content": "Hi"}, CALL, result]), "12:00")

    def test_parts_that_are_no_text(self):
        plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
        said = [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]
        self.assertEqual(self.render(plain, said), "Hino")
        image = [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "u"}}]}]
        self.refused(1, "template", "--template-file", self.write("t.jinja", plain), "--messages", self.write("m.json", json.dumps(image)), says=["messages[0].content[1]", "'image_url'"])
        sees = "{% for m in messages %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% else %}<image>{% endif %}{% endfor %}{% endfor %}"
        self.assertEqual(self.render(sees, image), "What?<image>")
        for part, says in ({"type": "text", "text": None}, "found null"), ({"type": "text"}, "found none"), ({"type": "input_text", "text": 5}, "found number"):
            self.refused(2, "template", "--template-file", self.write("t.jinja", plain), "--messages",
                         self.write("m.json", json.dumps([{"role": "user", "content": [part]}])), says=["messages[0].content[0]", says])
        self.refused(2, "template", "--template-file", self.write("t.jinja", plain), "--messages", self.write("m.json", json.dumps(said)),
                     "--variables", "messages=[]", says="'messages'")

    def test_a_template_that_refuses_says_why(self):
        source = "{% if messages[0].role == messages[1].role %}{{ raise_exception('roles must alternate') }}{% endif %}"
        self.refused(2, "template", "--template-file", self.write("t.jinja", source), "--messages",
                     self.write("m.json", json.dumps([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])), says="roles must alternate")


class Files(Kinds):
    """What lies in place of a file is called by its name."""

    def test_pointers_and_pages(self):
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 4000000000\n"
        for content, says in (pointer, "git lfs pull"), ("<!DOCTYPE html><html><body>404</body></html>", "the download went wrong"), \
                ('{"error":"Invalid username or password."}', "the download went wrong"):
            self.refused(1, "run", self.write("model.gguf", content), "-p", "a", says=["model.gguf", says])
            folder = self.model("opt_sparse")
            with open(os.path.join(folder, "model.safetensors"), "w", encoding="utf-8") as f:
                f.write(content)
            self.refused(1, "run", folder, "--ids", "5", says=["model.safetensors", says])


class Numbers(Kinds):
    """A number that is none is noticed wherever it would be told on."""

    def damaged(self, change):
        folder = self.model("opt_sparse", tokenizer=True)
        at = os.path.join(folder, "model.safetensors")
        tensors = read_safetensors(at)
        change(tensors)
        write_safetensors(at, tensors)
        return folder

    def test_in_a_norm(self):
        def change(tensors):
            tensors["model.decoder.layers.0.final_layer_norm.weight"][1][3] = math.inf

        folder = self.damaged(change)
        text = self.write("text.txt", random_words(400))
        for command in (["run", folder, "-p", "the", "-n", "3"], ["eval", folder, "--text", text, "--max-tokens", "30"], ["logits", folder, "--ids", "3,4"],
                        ["logits", folder, "--ids", "3,4", "--out", self.path("l.npy")], ["embed", folder, "the"],
                        ["inspect", folder, "--text", text, "--tokens", "64", "--oracle-tokens", "0"], ["imatrix", folder, text, "-o", self.path("i.gguf"), "--ctx", "64"],
                        ["sparsify", folder, "--text", text, "--density", "0.5", "-o", self.path("s.hunch")]):
            result = self.hunch(*command, code=1)
            self.assertIn("finite", result.err)
            if command[0] in ("run", "eval", "logits", "embed"):
                self.assertIn("from the MLP of layer 0 on", result.err)
        self.assertFalse(os.path.exists(self.path("l.npy")))

    def test_that_no_block_holds(self):
        def change(tensors):
            tensors["model.decoder.layers.0.fc2.weight"][1][5] = 1e30

        folder = self.damaged(change)
        out = self.path("out.gguf")
        for dtype in "f16", "q8_0", "q4_0", "q4_1", "q5_1", "iq4_nl", "auto":
            self.refused(1, "convert", folder, "-o", out, "--type", dtype, says=["ffn_down", "1e+30", "bf16 or f32 (--type)"])
            self.assertFalse(os.path.exists(out))
        self.hunch("convert", folder, "-o", out, "--type", "bf16")

    def test_that_the_cache_does_not_hold(self):
        def change(tensors):
            values = tensors["model.decoder.layers.0.self_attn.k_proj.bias"][1]
            values[:] = [1e6 for _ in values]

        folder = self.damaged(change)
        run = ("run", folder, "-p", "the", "-n", "3", "--temperature", "0")
        self.refused(1, *run, "--kv", "f16", says=["not a finite number", "f32", "(--kv)"])
        self.hunch(*run, "--kv", "f32")


if __name__ == "__main__":
    unittest.main()
