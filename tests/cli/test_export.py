"""compress --export writes a quantised folder that hunch reads, whole or not at all."""
import json
import os
import shutil
import unittest

from fixtures import GOLDEN, CliTest, random_words, write_tokenizer


class Export(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(500))
        cls.source = os.path.join(cls.dir, "source")
        shutil.copytree(os.path.join(GOLDEN, "opt_sparse"), cls.source)
        write_tokenizer(cls.source)

    def compress(self, *arguments, **more):
        return self.hunch("compress", self.source, "--text", self.text, "--threads", "1", *arguments, **more)

    def test_a_folder_that_runs(self):
        for method, out, layout, more in (("gptq", "g/", "gptq", ["--group", "32"]), ("awq", "a/", "awq", ["--group", "64"]),
                                          ("rtn", "r/", "compressed-tensors", ["--symmetric", "--group", "32"]),
                                          ("w8a8", "w/", "compressed-tensors", [])):
            answer = self.compress("--method", method, *more, "-o", self.path(out), "--json").json
            self.assertEqual(answer["layout"], layout)
            folder = self.path(out)
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
                self.assertEqual(json.load(f)["quantization_config"]["quant_method"], layout)
            for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
                self.assertTrue(os.path.exists(os.path.join(folder, name)), name)
            run = self.hunch("run", folder, "-p", "the end", "-n", "4", "--ignore-end", "--json").json
            self.assertEqual(run["n_generated"], 4)
            self.assertFalse([n for n in os.listdir(self.dir) if n.startswith(out[0] + ".")])

    def test_perplexity_of_the_folder(self):
        answer = self.compress("--method", "rtn", "--bits", "8", "--export", "gptq", "--group", "32", "--eval", self.text, "-o",
                               self.path("e"), "--json").json
        self.assertAlmostEqual(answer["perplexity"] / answer["perplexity_before"], 1, delta=0.02)

    def test_what_cannot_be_is_refused(self):
        out = self.path("never/")
        for arguments, says in ((["--method", "nf4", "-o", out], "nf4"), (["--method", "rtn", "--type", "q4_0", "-o", out], "--type"),
                                (["--method", "w8a8", "--bits", "8", "-o", out], "--bits"),
                                (["--method", "rtn", "--bits", "3", "--group", "32", "--export", "awq", "-o", out], "4 bits"),
                                (["--low-rank", "0.5", "-o", out], "--export"),
                                (["--method", "gptq", "--export", "gptq", "-o", self.source, "--force"], "part of what is read")):
            code = 2 if says in ("--type", "--bits", "--export", "part of what is read") else 1
            self.refused(code, "compress", self.source, "--text", self.text, *arguments, says=says)
        file = self.path("source.gguf")
        self.hunch("convert", self.source, "-o", file)
        self.refused(1, "compress", file, "--text", self.text, "--method", "gptq", "--group", "32", "-o", out, says="Hugging Face folder")
        self.assertFalse([n for n in os.listdir(self.dir) if n.startswith("never")])
        other = self.path("other")
        os.makedirs(other)
        self.write("other/notes.txt", "mine")
        self.refused(2, "compress", self.source, "--text", self.text, "--method", "rtn", "--group", "32", "--export", "gptq", "-o", other,
                     "--force", says="no folder of a model")
        self.assertTrue(os.path.exists(os.path.join(other, "notes.txt")))


if __name__ == "__main__":
    unittest.main()
