"""--prefill: prompts that read a part of what stands before; kvzip and expected; --memory."""
import os
import unittest

from test_recall import DEMO, NeedleTest

MODEL = os.path.join(DEMO, "hunch-demo.gguf")
TEXT = os.path.join(DEMO, "eval.txt")


class Prefill(NeedleTest):
    def test_patterns_have_a_price_that_eval_prints(self):
        modes = "f32,a-shape:100,sinks=4,vertical-slash:256,queries=8,blocks:256"
        command = ["eval", self.needle(), "--task", "needle", "--lengths", "700", "--depths", "0.1,1", "--samples", "3"]
        report = self.hunch(*command, "--compare", modes, "--json").json
        names = ["f32", "a-shape:100,sinks=4", "vertical-slash:256,queries=8", "blocks:256"]
        self.assertEqual(list(report["modes"]), names)
        for name in names[:3]:  # what follows the prompt reads everything
            self.assertEqual(report["modes"][name]["grid"][0]["exact"], 1, name)
        modes = self.hunch("eval", MODEL, "--text", TEXT, "--ctx", "512", "--max-tokens", "512", "--json", "--compare",
                           "dense,a-shape:80,sinks=4").json["modes"]
        self.assertGreater(modes["a-shape:80,sinks=4"]["kl"], 0.001)

    def test_sparsify_finds_patterns_and_prefill_sidecar_uses_them(self):
        out = self.path("patterns.hunch")
        fit = self.hunch("sparsify", MODEL, "--text", TEXT, "--tokens", "2048", "--prefill", "128", "--prefill-recall", "50%",
                         "--prefill-neurons", "95%", "-o", out, "--json").json
        patterns = [head["pattern"] for layer in fit["layers"] for head in layer]
        self.assertGreater(len(patterns), 8)
        self.assertTrue(any(pattern != "dense" for pattern in patterns), patterns)
        self.assertEqual(len(fit["neurons"]), len(fit["layers"]))
        self.assertTrue(all(0 < share <= 1 for share in fit["neurons"]), fit["neurons"])
        found = self.hunch("inspect", out, "--json").json
        self.assertEqual(found["prompts"], [[head["pattern"] for head in layer] for layer in fit["layers"]])
        self.assertIn("heads have patterns", self.hunch("inspect", out).text)
        modes = self.hunch("eval", MODEL, "--text", TEXT, "--ctx", "512", "--max-tokens", "512", "--sidecar", out, "--json",
                           "--compare", "dense,prefill").json["modes"]
        self.assertGreater(modes["prefill"]["kl"], 0)
        self.refused(2, "sparsify", MODEL, "--text", TEXT, "--prefill", "128", "-o", out, says="--force")

    def test_what_cannot_be_is_said(self):
        run = ["run", MODEL, "-p", "Once", "-n", "2"]
        self.refused(2, *run, "--prefill", "stars:9", says="expected dense, a-shape:1024")
        self.refused(2, *run, "--prefill", "a-shape:3", says="expected at least 65")
        self.refused(1, *run, "--prefill", "sidecar", "--sidecar", self.path("none.hunch"))
        self.refused(2, "sparsify", MODEL, "--text", TEXT, "--prefill", "128", "--prefill-neurons", "0", "-o", self.path("x.hunch"),
                     says="above 0")
        self.refused(2, "sparsify", MODEL, "--text", TEXT, "--prefill", "600", "-o", self.path("x.hunch"), says="smaller")
        self.refused(2, "sparsify", MODEL, "--text", TEXT, "--prefill", "128", "--density", "0.1", "-o", self.path("x.hunch"),
                     says="leave out")

    def test_policies_of_prompts_keep_what_answers(self):
        report = self.hunch("eval", self.needle(), "--task", "needle", "--lengths", "300", "--depths", "0.5", "--samples", "3",
                            "--compare", "f32,kvzip:200,chunk=64,expected:128", "--json").json
        self.assertEqual(report["modes"]["f32"]["exact"], 1)
        for name in ("kvzip:200,chunk=64", "expected:128"):
            self.assertLess(report["modes"][name]["kv_bytes_per_token"], report["modes"]["f32"]["kv_bytes_per_token"])


class Memory(NeedleTest):
    def test_a_text_in_a_file_is_looked_into(self):
        out = self.path("book.hmem")
        made = self.hunch("memory", MODEL, "--text", TEXT, "--tokens", "700", "--layers", "2,4", "-o", out, "--json").json
        self.assertEqual((made["n_tokens"], made["layers"]), (700, [2, 4]))
        perplexity = ["eval", MODEL, "--text", TEXT, "--max-tokens", "300", "--json"]
        self.assertNotEqual(self.hunch(*perplexity).json["perplexity"],
                            self.hunch(*perplexity, "--memory", out, "--memory-top", "4").json["perplexity"])
        same = self.hunch(*perplexity, "--memory", out, "--memory-gate", "0").json["perplexity"]
        self.assertAlmostEqual(same / self.hunch(*perplexity).json["perplexity"], 1, 4)
        self.refused(1, "run", self.needle(), "--memory", out, "-p", "x", "-n", "2", says="the memory is of")
        self.refused(2, "run", MODEL, "--memory-top", "3", "-p", "x", says="go with --memory")
        self.refused(2, "memory", MODEL, "--text", TEXT, "-o", out, says="--force")
        self.refused(2, "memory", MODEL, "--text", TEXT, "--layers", "99", "-o", self.path("y.hmem"), says="cannot remember")

    def test_needles_are_found_in_memories(self):
        report = self.hunch("eval", self.needle(), "--task", "needle", "--lengths", "400", "--depths", "0,0.5,1", "--samples", "3",
                            "--asked", "from-memory", "--json").json
        self.assertEqual(report["exact"], 1)


if __name__ == "__main__":
    unittest.main()
