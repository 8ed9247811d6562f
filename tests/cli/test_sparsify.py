"""sparsify writes what sparse mode reads, and says plainly what it cannot do."""
import os
import shutil
import unittest

from fixtures import GOLDEN, CliTest, random_words, write_tokenizer


class Sparsify(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(700))

    def sparsify(self, *arguments, **more):
        return self.hunch("sparsify", self.opt, "--text", self.text, "--predictor", "svd", "--rank", "32", "--threads", "1", *arguments, **more)

    def test_the_sidecar_is_found_and_used(self):
        answer = self.sparsify("--density", "0.4", "--json").json
        self.assertEqual(answer["out"], self.opt + ".hunch")
        self.assertTrue(answer["met"])
        self.assertEqual(list(answer["modes"]), ["dense", "exact", "sparse"])
        self.assertEqual(len(answer["layers"]), 2)
        for layer in answer["layers"]:
            self.assertLessEqual(layer["density"], 1)
            self.assertLessEqual(layer["missed"], 1)
        self.assertLess(answer["modes"]["sparse"]["bytes_per_token"], answer["modes"]["dense"]["bytes_per_token"])
        run = self.hunch("run", self.opt, "-p", "the end", "-n", "6", "--mode", "sparse", "--ignore-end", "--json").json
        self.assertEqual(run["n_generated"], 6)
        modes = self.hunch("eval", self.opt, "--text", self.text, "--max-tokens", "300", "--compare", "dense,exact,sparse,sparse:0.1", "--json").json["modes"]
        self.assertLess(modes["sparse:0.1"]["density_mlp"], modes["sparse"]["density_mlp"])
        self.assertGreater(modes["sparse:0.1"]["kl"], modes["sparse"]["kl"])
        self.hunch("bench", self.opt, "--mode", "sparse", "--prompt", "8", "--generate", "4", "--repeats", "1")

    def test_tables_for_people(self):
        out = self.path("tables.hunch")
        result = self.sparsify("--density", "40%", "--look-ahead", "attention", "-o", out)
        self.assertIn("recall", result.text)
        self.assertIn("perplexity", result.text)
        self.assertIn(out, result.err)
        self.hunch("run", self.opt, "-p", "a", "-n", "2", "--mode", "sparse", "--sidecar", out)

    def test_a_budget_out_of_reach_is_said_and_exits_1(self):
        result = self.sparsify("--density", "0.00001", "-o", self.path("unmet.hunch"), code=1)
        self.assertIn("cannot be met", result.err)

    def test_the_models_quantisations_are_served_and_priced(self):
        sidecar, small, other = self.path("f32.hunch"), self.path("small.gguf"), self.path("other.gguf")
        self.sparsify("--density", "0.4", "-o", sidecar)
        self.hunch("quantize", self.opt, "-o", small, "--type", "q8_0")
        run = ("run", small, "-p", "the end", "-n", "4", "--mode", "sparse", "--sidecar", sidecar)
        first = self.hunch(*run).err
        self.assertRegex(first, r"another type; on this one its perplexity is [0-9.]+, dense [0-9.]+ \([-+][0-9.]+ %, over \d+ tokens\)")
        note = next(line for line in first.splitlines() if "another type" in line)
        self.assertIn(note, self.hunch(*run).err)  # kept: the same number again
        self.assertTrue(os.path.exists(os.path.join(self.home, "prices.json")))
        self.hunch("synth", "--shape", "opt-125m", "--n-layer", "2", "-o", other)
        self.refused(1, "run", other, "-p", "a", "--mode", "sparse", "--sidecar", sidecar, says="was made for")

    def test_through_a_link(self):
        """The sidecar lies beside the file or beside the link; the link's goes first, and sparsify writes beside the name that it is given."""
        files, links = self.path("files"), self.path("links")
        os.mkdir(files)
        os.mkdir(links)
        model, link = os.path.join(files, "m\u00f6del 1.gguf"), os.path.join(links, "link.gguf")
        self.hunch("convert", self.opt, "-o", model)
        os.symlink(model, link)
        run = ("run", link, "-p", "the end", "-n", "3", "--mode", "sparse", "--json")
        self.refused(1, *run[:-1], says=["no '" + link + ".hunch'", "hunch sparsify"])
        self.hunch("sparsify", model, "--text", self.text, "--predictor", "hot", "--density", "0.5", "--threads", "1")
        half = self.hunch(*run).json["density_mlp"]
        self.assertEqual(half, self.hunch(run[0], model, *run[2:]).json["density_mlp"])
        self.assertEqual(self.hunch("inspect", link, "--json").json["sidecar"]["path"], os.path.realpath(model) + ".hunch")
        self.hunch("sparsify", link, "--text", self.text, "--predictor", "hot", "--density", "0.25", "--threads", "1")
        self.assertLess(self.hunch(*run).json["density_mlp"], half)
        self.assertEqual(self.hunch("inspect", link, "--json").json["sidecar"]["path"], link + ".hunch")

    def test_inspect_tells_what_lies_beside_the_model(self):
        model = self.path("looked_at")
        shutil.copytree(os.path.join(GOLDEN, "opt_350m_style"), model)
        self.assertIsNone(self.hunch("inspect", model, "--json").json["sidecar"])
        self.write("looked_at.hunch", "junk")
        self.assertIn("GGUF", self.hunch("inspect", model, "--json").json["sidecar"]["problem"])
        self.assertIn("looked_at.hunch", self.hunch("inspect", model).text)
        self.sparsify("--density", "0.4", "-o", self.path("good.hunch"))
        sidecar = self.hunch("inspect", self.opt, "--sidecar", self.path("good.hunch"), "--json").json["sidecar"]
        self.assertEqual(sidecar["n_predicted_layers"], 2)
        self.assertGreater(sidecar["perplexity_sparse"], 1)

    def test_smooth_activations_have_methods_without_predictors(self):
        llama, text = self.path("llama.gguf"), self.path("llama.txt")
        self.hunch("synth", "--shape", "llama-1.1b", "--n-layer", "2", "--n-embd", "128", "--n-ff", "256", "--n-head", "4", "--n-kv-head", "2",
                   "--n-vocab", "1024", "--n-ctx", "256", "--contexts", "8", "--density", "0.2", "-o", llama, "--text", text, "--text-tokens", "1300")
        self.refused(1, "sparsify", llama, "--text", text, "--method", "predict", says="(--method) cats, griffin and teal")
        self.refused(2, "sparsify", llama, "--text", text, "--method", "magic", says="'magic'")
        answer = self.hunch("sparsify", llama, "--text", text, "--density", "0.5", "--json").json  # auto
        self.assertEqual(answer["method"], "cats")
        self.assertEqual(answer["out"], llama + ".hunch")
        self.assertEqual(self.hunch("inspect", llama, "--json").json["sidecar"]["method"], "cats")
        for method in "cats", "griffin", "teal":
            out = self.path(method + ".hunch")
            result = self.hunch("sparsify", llama, "--text", text, "--method", method, "--density", "0.5", "-o", out)
            self.assertIn("error", result.text)
            self.assertNotIn("recall", result.text)
            modes = self.hunch("eval", llama, "--text", text, "--sidecar", out, "--compare", "dense,sparse,sparse:0.3", "--json").json["modes"]
            self.assertLess(modes["sparse"]["bytes_per_token"], modes["dense"]["bytes_per_token"])
            self.assertLess(modes["sparse:0.3"]["bytes_per_token"], modes["sparse"]["bytes_per_token"])
            self.assertGreater(modes["sparse:0.3"]["kl"], 0)
            prompt = ("run", llama, "--prompt-file", text, "-n", "20", "--ignore-end", "--temperature", "0", "--sidecar", out)
            run = self.hunch(*prompt, "--mode", "sparse", "--ctx", "2048", "--json").json
            self.assertLess(run["density_mlp"], 0.7)
            plain, lossless = (self.hunch(*prompt, "--ctx", "2048", *more, "--json").json for more in ((), ("--lossless",)))
            self.assertEqual(lossless["ids"], plain["ids"])
        bench = ("bench", llama, "--mode", "sparse", "--sidecar", self.path("griffin.hunch"), "--prompt", "8", "--generate", "4", "--repeats", "1")
        self.refused(2, *bench, says="--depth 16")
        self.hunch(*bench, "--depth", "16")

    def test_bad_input(self):
        self.refused(2, "sparsify", self.opt, says="--text")
        self.refused(2, "sparsify", self.opt, "--text", self.write("short.txt", "too short"), says="needs at least")
        self.refused(2, "sparsify", self.opt, "--text", self.text, "--density", "0.1", "--max-ppl-increase", "1%", says="one budget")
        self.refused(2, "sparsify", self.opt, "--text", self.text, "--density", "2", says="--density")
        self.refused(2, "sparsify", self.opt, "--text", self.text, "--max-ppl-increase", "lots", says="--max-ppl-increase")
        self.refused(2, "run", self.opt, "-p", "a", "--density", "0.2", says=["--density", "sparse mode only"])
        self.refused(1, "run", self.opt, "-p", "a", "--mode", "sparse", "--sidecar", self.path("absent.hunch"), says="absent.hunch")

    def test_a_missing_broken_or_foreign_sidecar_is_named(self):
        other = self.path("other")
        shutil.copytree(os.path.join(GOLDEN, "opt_350m_style"), other)
        write_tokenizer(other)
        self.refused(1, "run", other, "--ids", "1,2", "--mode", "sparse", says="hunch sparsify")
        self.sparsify("--density", "0.5", "-o", other + ".hunch")
        self.hunch("run", other, "--ids", "1,2", "-n", "1")
        self.refused(1, "run", other, "--ids", "1,2", "--mode", "sparse", says=("other.hunch", "was made for"))
        self.write("other.hunch", "GGUF but not really")
        self.hunch("run", other, "--ids", "1,2", "-n", "1")
        self.refused(1, "run", other, "--ids", "1,2", "--mode", "sparse", says="other.hunch")


if __name__ == "__main__":
    unittest.main()
