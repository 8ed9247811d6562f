"""eval --compare with models among the modes: each beside the others in quality, size and speed."""
import json
import math
import os
import shutil
import unittest

from fixtures import SOURCE, CliTest, random_words


class EvalModels(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(120))
        case = cls()
        cls.models = {t: case.path(f"{t}.gguf") for t in ("f32", "q8_0", "q4_0")}
        for dtype, path in cls.models.items():
            case.hunch("convert", cls.opt, "--type", dtype, "-o", path)

    def eval(self, *modes, more=()):
        return self.hunch("eval", self.opt, "--text", self.text, "--ctx", "32", "--threads", "1", "--compare", ",".join(modes), *more)

    def test_models_modes_and_sidecars_beside_each_other(self):
        sidecar = self.path("opt.hunch")
        self.hunch("sparsify", self.opt, "--text", self.write("long.txt", random_words(500)), "--method", "cats", "--density", "0.5", "-o", sidecar, "--threads", "1")
        names = ["dense", self.models["f32"], "exact", self.models["q8_0"], self.models["q4_0"], sidecar]
        answer = self.eval(*names, more=("--json",)).json
        self.assertEqual((answer["reference"], list(answer["modes"])), ("dense", names))
        rows = [answer["modes"][name] for name in names]
        dense, same, exact, q8, q4, cats = rows
        self.assertEqual((same["perplexity"], same["kl"], same["top1"]), (dense["perplexity"], 0, 1))
        self.assertEqual((dense["perplexity_change"], same["perplexity_change_stderr"]), (0, 0))
        self.assertLess(q8["kl"], q4["kl"] / 10)
        self.assertGreater(q8["kl"], 0)
        self.assertLess(exact["kl"], 1e-6)
        self.assertEqual(exact["bits_per_weight"], dense["bits_per_weight"])
        for row, bits in ((same, 32), (q8, 8.5), (q4, 4.5)):
            # Positions, norms and biases stay f32: some 8 % of this small model.
            self.assertTrue(bits <= row["bits_per_weight"] < bits + 0.1 * (32 - bits) + 1e-9, (bits, row["bits_per_weight"]))
            self.assertEqual(row["file_bytes"], os.path.getsize(row["file"]))
            self.assertLess(row["tensor_bytes"], row["file_bytes"])
            self.assertEqual(row["n_weights"], dense["n_weights"])
        self.assertLess(q4["bytes_per_token"], q8["bytes_per_token"])
        self.assertLess(cats["bytes_per_token"], dense["bytes_per_token"])
        for row in rows:
            self.assertGreater(row["perplexity_stderr"], 0)
            self.assertLess(row["perplexity_change_stderr"], row["perplexity_stderr"] / row["perplexity"])
            self.assertGreater(row["speed_up"], 0)
        # What one pair says of two models, all of them together say too.
        alone = self.eval("dense", self.models["q4_0"], more=("--json",)).json["modes"][self.models["q4_0"]]
        pair = self.hunch("eval", self.opt, "--text", self.text, "--ctx", "32", "--threads", "1", "--mode", "dense", "--against",
                          self.models["q4_0"], "--json").json["modes"]["q4_0.gguf dense"]
        for key in "perplexity", "perplexity_stderr", "perplexity_change", "perplexity_change_stderr", "kl", "top1", "bytes_per_token":
            self.assertEqual((alone[key], pair[key]), (q4[key], q4[key]), key)
        self.assertAlmostEqual(q4["perplexity_change"], q4["perplexity"] / dense["perplexity"] - 1, delta=1e-9)

    def test_bf16_costs_less_than_a_thousandth_of_a_perplexity(self):
        text = os.path.join(SOURCE, "models", "demo", "eval.txt")
        f16 = self.path("demo-f16.gguf")
        self.hunch("convert", os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf"), "--type", "f16", "-o", f16)

        def perplexity(*more):
            answer = self.hunch("eval", f16, "--text", text, "--ctx", "256", "--max-tokens", "2048", "--mode", "dense", "--json", *more).json
            return answer["perplexity"]

        exact, rounded = perplexity(), perplexity("--precision", "bf16")
        self.assertAlmostEqual(rounded / exact, 1, delta=1e-3)
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            if "avx512_bf16" in f.read():
                self.assertNotEqual(rounded, exact, "nothing was rounded")
        self.refused(2, "eval", f16, "--text", text, "--precision", "f8", says="bf16")

    def test_the_error_of_a_perplexity_is_that_of_its_tokens(self):
        """Twice the same text: as many tokens again, of which each costs about what it did."""
        once = self.eval("dense", self.models["q4_0"], more=("--json", "--protocol", "gptq")).json
        with open(self.text, encoding="utf-8") as f:
            twice = self.write("twice.txt", f.read() + " " + random_words(120))
        both = self.hunch("eval", self.opt, "--text", twice, "--ctx", "32", "--threads", "1", "--protocol", "gptq", "--compare",
                          f"dense,{self.models['q4_0']}", "--json").json
        for key, unit in (("perplexity_stderr", lambda row: row["perplexity"]), ("perplexity_change_stderr", lambda row: 1)):
            a, b = (r["modes"][self.models["q4_0"]] for r in (once, both))
            shrunk = (b[key] / unit(b)) / (a[key] / unit(a))
            self.assertAlmostEqual(shrunk, math.sqrt(once["n_tokens"] / both["n_tokens"]), delta=0.1)

    def test_the_table_has_eighty_columns(self):
        far = self.path("a-name-that-is-longer-than-what-eighty-columns-leave-for-names.gguf")
        shutil.copy(self.models["q4_0"], far)
        result = self.eval("dense", self.models["q8_0"], far)
        lines = result.text.splitlines()
        self.assertLessEqual(max(len(line) for line in lines), 80, result.text)
        self.assertEqual(lines[0].split(), ["model", "perpl.", "+-", "more", "+-", "KL", "agree", "bits", "MB", "MB/tok", "tok/s"])
        self.assertEqual(lines[1].split()[3:5], ["-", "-"])
        self.assertTrue(lines[2].startswith("q8_0 "), lines[2])
        self.assertEqual("".join(line.split()[0] for line in lines[3:]), os.path.basename(far)[:-len(".gguf")])
        self.assertIn("one standard error", result.err)

    def test_tasks(self):
        folder = os.path.join(self.dir, "copa.jsonl")
        rows = [{"premise": f"The thing {w} ended.", "question": q, "choice1": f"He {w} it.", "choice2": "She saw it.", "label": i % 2}
                for i, (w, q) in enumerate((w, q) for w in "said went saw made".split() for q in ("cause", "effect"))]
        self.write("copa.jsonl", "\n".join(json.dumps(r) for r in rows))
        ask = ("eval", self.opt, "--task", "copa", "--file", folder, "--threads", "1", "--compare",
               f"dense,{self.models['q4_0']},exact,{self.models['f32']}")
        answer = self.hunch(*ask, "--json").json
        self.assertEqual(list(answer["modes"]), ["dense", self.models["q4_0"], "exact", self.models["f32"]])
        dense, q4, _, same = answer["modes"].values()
        self.assertEqual((same["acc"], same["acc_difference"], same["acc_difference_stderr"]), (dense["acc"], 0, 0))
        self.assertLess(q4["bits_per_weight"], same["bits_per_weight"])
        self.assertEqual(q4["file_bytes"], os.path.getsize(self.models["q4_0"]))
        lines = self.hunch(*ask).text.splitlines()
        self.assertLessEqual(max(len(line) for line in lines), 80)
        self.assertTrue(lines[2].startswith("q4_0 "), lines)

    def test_what_cannot_be_compared_is_refused_before_anything_is_computed(self):
        ask = ("eval", self.opt, "--text", self.text, "--compare")
        self.refused(1, *ask, "dense,nowhere.gguf", says="nowhere.gguf")
        self.refused(1, *ask, f"dense,{self.write('junk.gguf', 'junk')}", says="junk.gguf")
        self.refused(2, *ask, f"{self.models['q4_0']},dense", says="the reference")
        self.refused(2, *ask, f"dense,lossless,{self.models['q4_0']}", says="lossless")
        self.refused(2, *ask, f"dense,{self.models['q4_0']}", "--against", self.models["q8_0"], says="--against")
        self.refused(2, "bench", self.opt, "--compare", f"dense,{self.models['q4_0']}", says="another model")
        other = self.path("other.gguf")
        with open(self.models["q4_0"], "rb") as f:
            content = f.read()
        # The vocabulary of this one says <pab> where the model's says <pad>.
        self.write("other.gguf", content.replace(b"<pad>", b"<pab>"))
        for task in ((), ("--task", "copa", "--file", self.write("one.jsonl", json.dumps(
                {"premise": "It ended.", "question": "cause", "choice1": "He went.", "choice2": "She went.", "label": 0})))):
            command = ("eval", self.opt, *(task or ("--text", self.text)), "--compare", f"dense,{other}")
            self.refused(2, *command, says=("other.gguf", "another vocabulary", "token 1 is '<pab>', expected '<pad>'"))
        small = self.path("small.gguf")
        self.hunch("synth", "--shape", "opt-125m", "--n-layer", "1", "--n-embd", "64", "--n-ff", "64", "--n-head", "2", "--n-vocab", "500",
                   "--n-ctx", "64", "-o", small)
        self.refused(2, *ask, f"dense,{small}", says="another vocabulary")


if __name__ == "__main__":
    unittest.main()
