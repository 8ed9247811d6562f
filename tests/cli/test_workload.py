"""inspect --workload counts what a model computes and reads, and draws it."""
import os
import re
import unittest

from fixtures import CliTest

MACHINE = ["--bandwidth", "10", "--peak", "200"]  # the edge at 20 FLOP per byte


class Workload(CliTest):
    def workload(self, *arguments, **more):
        return self.hunch("inspect", self.opt, "--workload", "--threads", "1", *MACHINE, *arguments, **more)

    def test_bytes_of_a_step_are_those_that_eval_counts(self):
        answer = self.workload("--ctx", "1", "--json").json
        text = os.path.join(self.dir, "words.txt")
        with open(text, "w", encoding="utf-8") as f:
            f.write("the end of a thing is in another " * 20)
        modes = self.hunch("eval", self.opt, "--text", text, "--compare", "dense", "--max-tokens", "64", "--json").json["modes"]
        of_weights = answer["decode"]["bytes"] - sum(l["decode"]["keys and values"]["bytes"] for l in answer["layers"])
        self.assertLess(of_weights, modes["dense"]["bytes_per_token"])  # which counts the keys of a window too
        longer = self.workload("--ctx", "256", "--json").json["decode"]["bytes"]
        self.assertGreater(longer, modes["dense"]["bytes_per_token"])

    def test_tables_fit_a_terminal_and_say_where_it_turns(self):
        text = self.workload("--ctx", "100", "--prompt", "40").text
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 80, text)
        for words in ("bound by computing from 20 FLOP/B on", "layers 0-1: attention; mlp;", "decoding a token, with 100 tokens",
                      "a prompt of 40 tokens", "turns at", "4 bits, q4_k", "8 bits, q8_0", "on 24G"):
            self.assertIn(words, text)

    def test_json_has_the_same_numbers(self):
        answer = self.workload("--batch", "4", "--ctx", "32", "--device-memory", "1M,64K", "--json").json
        self.assertEqual((answer["n_sequences"], answer["n_ctx"], answer["machine"]["flops_per_byte"]), (4, 32, 20))
        parts = answer["layers"][0]["decode"]
        matrices = parts["mixer's matrices"]
        self.assertAlmostEqual(matrices["us"], max(matrices["bytes"] / 10e3, matrices["flops"] / 200e3), places=6)
        self.assertEqual(matrices["bound"], "memory")
        all_us = sum(p["us"] for l in answer["layers"] for p in l["decode"].values()) + answer["decode"]["ends"]["us"]
        self.assertAlmostEqual(answer["decode"]["us"], all_us, places=6)
        weights = {w["type"]: w for w in answer["memory"]["weights"]}
        self.assertGreater(weights["f32"]["bytes"], 1.8 * weights["f16"]["bytes"])
        self.assertGreaterEqual(weights["f32"]["devices"]["64K"] or 99, weights["q4_k"]["devices"]["64K"] or 99)
        self.assertEqual({c["type"] for c in answer["memory"]["cache"]} >= {"f32", "f16"}, True)

    def test_a_page_and_figures(self):
        page, folder = self.path("workload.html"), self.path("figures")
        self.workload("--html", page, "--svg", folder)
        with open(page, encoding="utf-8") as f:
            html = f.read()
        self.assertNotIn("<script", html)
        self.assertEqual(re.findall(r'<figure id="(\w+)"', html), ["roofline", "batch", "lengths", "layers", "memory"])
        self.assertNotIn("nan", html.lower().replace("nano", ""))
        self.assertEqual(sorted(os.listdir(folder)), ["batch.svg", "layers.svg", "lengths.svg", "memory.svg", "roofline.svg"])
        self.refused(2, "inspect", self.opt, "--workload", *MACHINE, "--html", page, says="--force")

    def test_what_cannot_be_counted_is_refused(self):
        for arguments, says in ((["--device-memory", "8X"], "--device-memory"), (["--device-memory", "8G,"], "--device-memory"),
                                (["--peak", "0"], "--peak"), (["--bandwidth", "fast"], "--bandwidth"), (["--batch", "0"], "--batch"),
                                (["--text", "x.txt"], "--workload"), (["--tensors"], "--workload")):
            self.refused(2, "inspect", self.opt, "--workload", *arguments, says=says)

    def test_distributions_and_their_page(self):
        text = self.path("words.txt")
        with open(text, "w", encoding="utf-8") as f:
            f.write("the end of a thing is in another " * 20)
        small, page, folder = self.path("small.gguf"), self.path("weights.html"), self.path("drawn")
        self.hunch("quantize", self.opt, "--type", "q4_0", "-o", small)
        command = ["inspect", small, "--text", text, "--weights", "--against", self.opt, "--tokens", "64"]
        answer = self.hunch(*command, "--html", page, "--svg", folder, "--json").json
        up = answer["layers"][1]["errors"]["up"]
        self.assertTrue(0.02 < up["weights"] < 0.2 and 0.01 < up["outputs"] < 0.3, up)
        self.assertEqual(len(answer["bins"]), len(answer["layers"][0]["weights"]["q"]["counts"]))
        self.assertEqual(answer["n_tokens"], 64)
        with open(page, encoding="utf-8") as f:
            html = f.read()
        self.assertEqual(re.findall(r'<figure id="([\w-]+)"', html),
                         ["weights", "attention", "mlp", "neurons", "peaks", "weight-error", "output-error"])
        self.assertEqual(len(os.listdir(folder)), 7)
        self.assertIn("output error", self.hunch(*command).text)
        self.refused(2, "inspect", small, "--weights", says="--text")
        self.refused(2, "inspect", small, "--text", text, "--against", self.opt, says="--weights")


if __name__ == "__main__":
    unittest.main()
