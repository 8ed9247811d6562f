"""LoRA adapters from end to end: --lora in the verbs that compute, and merge."""
import json
import math
import os
import random
import struct
import unittest

from fixtures import CliTest


def write_safetensors(path, tensors):
    """{name: (shape, values)} as f32."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Adapters(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(cls.opt, "config.json"), encoding="utf-8") as f:
            cls.config = json.load(f)
        cls.tone = cls.write_adapter("tone", 1)
        cls.style = cls.write_adapter("style", 2)

    @classmethod
    def write_adapter(cls, name, seed, rank=2, **more):
        """A PEFT folder that changes every fc2 and q_proj."""
        folder = os.path.join(cls.dir, name)
        os.makedirs(folder)
        draw = random.Random(seed)
        d, ff = cls.config["hidden_size"], cls.config["ffn_dim"]
        tensors = {}
        for layer in range(cls.config["num_hidden_layers"]):
            for module, n_in, n_out in ("fc2", ff, d), ("self_attn.q_proj", d, d):
                at = f"base_model.model.model.decoder.layers.{layer}.{module}"
                for half, shape in (".lora_A.weight", [rank, n_in]), (".lora_B.weight", [n_out, rank]):
                    tensors[at + half] = (shape, [draw.gauss(0, 0.2) for _ in range(shape[0] * shape[1])])
        write_safetensors(os.path.join(folder, "adapter_model.safetensors"), tensors)
        with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as f:
            json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": 4, "target_modules": ["fc2", "q_proj"], **more}, f)
        return folder

    def logits(self, model, *more):
        rows = self.hunch("logits", model, "--ids", "5,9,2,40", "--json", *more).json["logits"]
        return [value for row in rows for value in row]

    @staticmethod
    def difference(a, b):
        return max(abs(x - y) for x, y in zip(a, b))

    def test_merged_is_what_lora_computes(self):
        base = self.logits(self.opt)
        for n, loras in enumerate(([self.tone], [self.tone + ":0.5", self.style])):
            options = [word for lora in loras for word in ("--lora", lora)]
            want = self.logits(self.opt, *options)
            self.assertGreater(self.difference(want, base), 0.1)
            out = self.path(f"merged{n}.gguf")
            report = self.hunch("merge", self.opt, *options, "-o", out, "--json").json
            self.assertEqual(report["n_changed"], 2 * self.config["num_hidden_layers"])
            self.assertEqual(report["notes"], [])
            self.assertLess(self.difference(self.logits(out), want), 1e-4)

    def test_scale_zero_is_the_model_as_it_is(self):
        self.assertLess(self.difference(self.logits(self.opt, "--lora", self.tone + ":0"), self.logits(self.opt)), 1e-5)

    def test_every_verb_that_computes(self):
        plain = self.hunch("run", self.opt, "--ids", "5,9,2", "-n", "16", "--temperature", "0", "--ignore-end", "--json").json
        options = "--ids", "5,9,2", "-n", "16", "--temperature", "0", "--ignore-end", "--json", "--lora", self.tone
        adapted = self.hunch("run", self.opt, *options).json
        self.assertNotEqual(adapted["ids"], plain["ids"])
        self.assertEqual(adapted["model"]["adapter"], "tone")
        self.assertNotIn("adapter", plain["model"])
        self.assertEqual(self.hunch("run", self.opt, *options, "--ngram").json["ids"], adapted["ids"])
        for mode in "dense", "exact":
            self.assertEqual(self.hunch("run", self.opt, *options, "--mode", mode).json["ids"], adapted["ids"])
        self.assertIn("adapter tone", self.hunch("run", self.opt, "-p", "a", "-n", "2", "--lora", self.tone).err)
        self.assertEqual(self.hunch("chat", self.opt, "-n", "2", "--lora", self.tone, stdin=b"hello\n").code, 0)

        text = self.write("text.txt", "the hen and the other one in the sun " * 8)
        perplexity = [self.hunch("eval", self.opt, "--text", text, "--json", *more).json["perplexity"]
                      for more in ([], ["--lora", self.tone], ["--lora", self.tone, "--lora", self.style])]
        self.assertEqual(len({round(math.log(p), 3) for p in perplexity}), 3)
        for batch in [], ["--batch", "3"]:
            rows = self.hunch("bench", self.opt, "--prompt", "8", "--generate", "4", "--repeats", "1", "--lora", self.tone,
                              "--mode", "dense", *batch, "--json").json["rows"]
            base = self.hunch("bench", self.opt, "--prompt", "8", "--generate", "4", "--repeats", "1",
                              "--mode", "dense", *batch, "--json").json["rows"]
            self.assertGreater(rows[-1]["bytes_per_token"], base[-1]["bytes_per_token"])

    def test_quantised_models(self):
        small, out = self.path("q8.gguf"), self.path("q8-tone.gguf")
        self.hunch("convert", self.opt, "-o", small, "--type", "q8_0")
        want = self.logits(small, "--lora", self.tone)
        self.assertLess(self.difference(want, self.logits(self.opt, "--lora", self.tone)), 0.5)
        merged = self.hunch("merge", small, "--lora", self.tone, "-o", out)
        self.assertIn("rounded to q8_0 again", merged.err)
        self.assertLess(self.difference(self.logits(out), want), 0.5)

    def test_merge_keeps_what_exists(self):
        out = self.write("there.gguf", "something")
        merge = "merge", self.opt, "--lora", self.tone
        self.refused(2, *merge, "-o", out, says="--force")
        self.hunch(*merge, "-o", out, "--force")
        again = "merge", out, "--lora", self.tone, "-o", out, "--force"
        self.refused(2, *again, says="part of what is read")
        self.refused(2, *merge, "-o", os.path.join(self.opt, "model.safetensors"), "--force", says="part of what is read")
        self.refused(2, *merge, "-o", os.path.join(self.tone, "adapter_config.json"), "--force", says="part of what is read")
        self.refused(2, *merge, "-o", self.dir, says="folder")
        self.refused(2, *merge, says="-o FILE")
        self.refused(2, "merge", self.opt, "-o", self.path("x.gguf"), says="--lora PATH")

    def test_what_is_wrong_is_named(self):
        run = "run", self.opt, "-p", "a", "-n", "1", "--lora"
        self.refused(1, *run, self.path("nowhere"), says="nowhere")
        self.refused(2, *run, self.tone + ":much", says="--lora PATH:SCALE")
        self.refused(2, *run, self.tone + ":inf", says="finite")
        ia3 = self.write_adapter("ia3", 3, peft_type="IA3")
        self.refused(1, *run, ia3, says=("lora_A", "IA3"))
        wrong = os.path.join(self.dir, "wrong")
        os.makedirs(wrong)
        at = "base_model.model.model.decoder.layers.0.fc9"
        write_safetensors(os.path.join(wrong, "adapter_model.safetensors"),
                          {at + ".lora_A.weight": ([1, 2], [1, 2]), at + ".lora_B.weight": ([2, 1], [1, 2])})
        with open(os.path.join(wrong, "adapter_config.json"), "w", encoding="utf-8") as f:
            json.dump({"peft_type": "LORA", "r": 1, "lora_alpha": 1}, f)
        self.refused(1, *run, wrong, says=("layers.0.fc9", "opt"))


if __name__ == "__main__":
    unittest.main()
