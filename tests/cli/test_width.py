"""No table, and no help, is wider than 80 columns, whatever the files are called; nothing of them is lost."""
import glob
import json
import os
import re
import shutil
import unittest
import unicodedata

import test_install
from fixtures import BINARY, GOLDEN, SOURCE, CliTest, random_words, write_tokenizer
from terminal import Terminal, rows_of

LONG = "a-folder-as-a-cache-of-models-may-have-it/models--some-organisation--a-model-whose-name-is-as-long-as-they-are-v2.5"
TASKS = os.path.join(SOURCE, "tests", "data", "tasks")


def columns(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line if not unicodedata.combining(c))


class Width(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = os.path.join(cls.dir, LONG)
        os.makedirs(folder)
        cls.long = os.path.join(folder, "model-as-somebody-called-it-00001.gguf")
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(700))

    def setUp(self):
        if not os.path.exists(self.long):
            self.hunch("convert", self.opt, "-o", self.long, "--type", "q8_0", "--name", "A model " + 9 * "with a long name " + "indeed")
            self.hunch("sparsify", self.long, "--text", self.text, "--predictor", "svd", "--rank", "16", "--density", "0.5", "--threads", "1")

    def fits(self, *arguments, holds=(), err=False, **how):
        """What goes to standard output; `err`: and to standard error."""
        result = self.hunch(*arguments, **how)
        text = result.text + (result.err if err else "")
        for line in text.splitlines():
            self.assertLessEqual(columns(line), 80, f"hunch {arguments}:\n{line}")
        first = "".join(re.split(" {2,}", line.strip())[0] for line in text.splitlines())  # column, whose cells go on below
        for part in holds:
            self.assertIn(re.sub(r"\s", "", part), re.sub(r"\s", "", text + first))
        return text

    def test_help(self):
        overview = self.fits("help")
        verbs = [line.split()[0] for line in overview.splitlines() if line.startswith("  ") and not line.startswith("  hunch")]
        self.assertGreater(len(verbs), 20)
        for verb in verbs:
            self.fits("help", verb)

    def test_inspect(self):
        for flags in [], ["--tensors"], ["--metadata"], ["--tensors", "--metadata"]:
            self.fits("inspect", self.long, *flags, holds=["parameters", "config", "n_embd", "bits each", self.long])
        self.fits("inspect", self.long, "--tensors", holds=["blk.1.ffn_down_t.weight"])
        self.fits("inspect", self.long + ".hunch")
        self.fits("inspect", os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf.hunch"), "--tensors")
        for folder in sorted(glob.glob(os.path.join(GOLDEN, "*", ""))):
            self.fits("inspect", folder, "--tensors", "--metadata")

    def test_inspect_what_cannot_be_run(self):
        folder = self.path("unknown-" + 60 * "x")
        shutil.copytree(self.opt, folder)
        with open(self.long, "rb") as f:
            content = f.read().replace(b"\x03\x00\x00\x00\x00\x00\x00\x00opt", b"\x03\x00\x00\x00\x00\x00\x00\x00odd")
        self.fits("inspect", self.write("odd" + 90 * "d" + ".gguf", content), holds=["not runnable"])
        config = os.path.join(folder, "config.json")
        with open(config, encoding="utf-8") as f:
            values = json.load(f)
        values.update({f"a_key_that_nobody_reads_{i}_scaling": 2.5 for i in range(6)})
        with open(config, "w", encoding="utf-8") as f:
            json.dump(values, f)
        self.fits("inspect", folder, holds=["a_key_that_nobody_reads_5_scaling"])

    def test_inspect_a_text(self):
        self.fits("inspect", self.long, "--text", self.text, "--tokens", "128", "--oracle-tokens", "32")
        for name in "qwen2_moe", "llama_mha":
            folder = self.path(name)
            shutil.copytree(os.path.join(GOLDEN, name), folder)
            write_tokenizer(folder)
            try:
                self.fits("inspect", folder, "--text", self.text, "--tokens", "64", "--ctx", "64", "--oracle-tokens", "0")
            finally:
                shutil.rmtree(folder)

    def test_eval(self):
        modes = f"dense,exact,oracle:0.2:0.5,{self.long}.hunch,{self.long}.hunch@0.25,lossless"
        self.fits("eval", self.long, "--text", self.text, "--max-tokens", "80", "--compare", modes, holds=[f"{os.path.basename(self.long)}.hunch@0.25"])
        self.fits("eval", self.long, "--text", self.text, "--max-tokens", "80")
        self.fits("eval", self.long, "--text", self.text, "--max-tokens", "80", "--compare", "dense,exact", "--against", self.long)
        self.fits("eval", self.long, "--text", self.text, "--max-tokens", "80", "--kv-policy", "h2o:32", "--kv-policy", "streaming:32")

    def test_tasks(self):
        modes = f"dense,{self.long}.hunch,{self.long}.hunch@0.25,oracle:0.5"
        for task, path in ("mmlu", "mmlu"), ("piqa", "piqa/valid.jsonl"), ("lambada", "lambada/lambada_plain.txt"), ("gsm8k", "gsm8k/test.jsonl"):
            ctx = ["--ctx", "128"] if task != "gsm8k" else []
            question = ("eval", self.long, "--task", task, "--file", os.path.join(TASKS, path), *ctx)
            if task == "gsm8k":  # whose answers do not fit this model's context
                self.refused(2, *question, says="learned 128 positions")
                continue
            self.fits(*question)
            self.fits(*question, "--compare", modes, holds=[f"{os.path.basename(self.long)}.hunch@0.25"])

    def test_bench(self):
        quick = ("bench", self.long, "--prompt", "8", "--generate", "2", "--repeats", "1")
        self.fits("bench", "--machine", "--threads", "1")
        self.fits(*quick, "--profile")
        self.fits(*quick, "--compare", f"dense,exact,{self.long}.hunch", "--text", self.text, "--depth", "3", holds=[f"{os.path.basename(self.long)}.hunch"])
        self.fits(*quick, "--compare", "dense,exact", "--text", self.text, "--batch", "1,3", holds=["rows read"])
        table = [line for line in self.hunch(*quick, "--batch", "3", "--text", self.text).err.splitlines() if re.match("break-even|add |dot ", line)]
        self.assertTrue(table)
        self.assertTrue(all(len(line) <= 80 for line in table), table)

    def test_what_is_made(self):
        out = os.path.join(os.path.dirname(self.long), "made.gguf")
        sparsify = ("sparsify", self.long, "--text", self.text, "--threads", "1", "--force")
        self.fits(*sparsify, "--predictor", "svd", "--rank", "16", "--density", "0.5", "-o", out + ".hunch")
        self.fits(*sparsify, "--method", "cats", "--density", "0.5", "-o", out + ".hunch")
        compress = ("compress", self.opt, "--text", self.text, "--tokens", "512", "--force", "-o", out)
        self.fits(*compress, "--low-rank", "0.5")
        self.fits(*compress, "--method", "wanda,gptq", "--type", "q4_0", "--eval", self.text)
        self.fits(*compress, "--method", "smoothquant")

    def test_texts(self):
        self.fits("embed", self.long, "one text", "another text", "and a third", "--similarity")
        self.fits("tokenize", self.long, "the end of the thing", "--pieces")

    def test_the_first_line_of_a_run(self):
        lines = self.hunch("run", self.long, "-p", "the end", "-n", "2").err.splitlines()
        said = " ".join(line.strip() for line in lines)
        for part in "A model " + 5 * "with a long name ", " parameters; ", " thread", "tokens/s":
            self.assertIn(part, said)
        for line in lines:
            self.assertLessEqual(columns(line), 80, line)

    def test_what_is_said_on_a_terminal_goes_on_between_words(self):
        """Every line of standard error, at 80 columns and at 40; a name that is longer than a line stays whole."""
        out = os.path.join(os.path.dirname(self.long), "made again.gguf")
        commands = [
            ["run", self.long, "-p", "the end", "-n", "2"],
            ["run", self.long, "-p", "the end", "-n", "2", "--mode", "sparse", "--verbose"],
            ["run", self.long, "-p", "the end", "-n", "99", "--ctx", "8", "--ignore-end"],
            ["eval", self.long, "--text", self.text, "--max-tokens", "40", "--compare", f"dense,oracle:0.5,{self.long}.hunch"],
            ["inspect", self.long, "--text", self.text, "--tokens", "64", "--oracle-tokens", "0", "--html", out + ".html", "--force"],
            ["quantize", self.opt, "-o", out, "--type", "q4_0", "--force"],
            ["quantize", self.opt, "-o", self.long, "--type", "q4_0"],  # which is there already
            ["imatrix", self.opt, self.text, "--ctx", "64", "-o", out, "--force"],
            ["compress", self.opt, "--text", self.text, "--tokens", "256", "--low-rank", "0.5", "-o", out, "--force"],
            ["logits", self.long, "--ids", "3,4", "--out", out + ".npy", "--force"],
            ["embed", self.long, "one", "two", "--out", out + ".npy", "--force"],
            ["list"], ["rm", self.long], ["pull", "a/b"],
            ["run", self.long, "-p", "a", "--rope-freq-base", "10000"],
        ]
        for width in 80, 40:
            for arguments in commands:
                with Terminal([BINARY, *arguments], self.environment(), streams=("stdin", "stderr"), columns=width) as terminal:
                    terminal.finish()
                    rows = rows_of(terminal.seen)
                self.assertTrue(any(rows), arguments)
                for row in rows:
                    if columns(row) > width:  # a path, alone in its row; a command between backticks
                        self.assertTrue(" " not in row.strip() or re.fullmatch(r" *`[^`]*`\S*", row), f"hunch {arguments} at {width}: {row!r}")

    def test_lists(self):
        self.fits("list", "--known", holds=["HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:Q4_K_M"])
        cache = test_install.Cache()
        cache.dir, cache.opt, cache.home = self.dir, self.opt, self.home
        cache.put("some-organisation--a-model-whose-name-is-as-long-as-they-are-Instruct-v2.5-GGUF",
                  {"a-model-whose-name-is-as-long-as-they-are-Instruct-v2.5-Q8_0.gguf": cache.content(self.long)})
        self.fits("list", holds=["a-model-whose-name-is-as-long-as-they-are-Instruct-v2.5-GGUF"])


if __name__ == "__main__":
    unittest.main()
