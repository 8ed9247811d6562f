"""compress writes a smaller model that every verb reads, and eval prints its price."""
import os
import unittest

from fixtures import CliTest, random_words


class Compress(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(500))

    def compress(self, *arguments, **more):
        return self.hunch("compress", self.opt, "--text", self.text, "--threads", "1", *arguments, **more)

    def test_the_smaller_model_runs_and_eval_prints_its_price(self):
        out = self.path("half.gguf")
        answer = self.compress("--low-rank", "0.5", "-o", out, "--json").json
        self.assertEqual((answer["out"], answer["method"], answer["ratio"]), (out, "svd-llm", 0.5))
        self.assertEqual(sorted(answer["roles"]), ["down", "k", "o", "q", "up", "v"])
        for role in answer["roles"].values():
            self.assertEqual(role["n_matrices"], 2)
            self.assertLessEqual(role["bytes"], role["bytes_before"] / 2)
            self.assertLess(role["error"], 1)
        self.assertLess(answer["bytes"], answer["bytes_before"])
        self.assertEqual(self.hunch("run", out, "-p", "the end", "-n", "6", "--ignore-end", "--json").json["n_generated"], 6)
        names = [t["name"] for t in self.hunch("inspect", out, "--json").json["tensors"]]
        self.assertIn("blk.1.ffn_up.low_rank_u.weight", names)
        self.assertIn("blk.1.ffn_up.low_rank_v.weight", names)
        self.assertNotIn("blk.1.ffn_up.weight", names)

        price = ("eval", self.opt, "--text", self.text, "--max-tokens", "300", "--against", out)
        modes = self.hunch(*price, "--json").json["modes"]
        self.assertEqual(list(modes), ["exact", "half.gguf exact"])
        own, small = modes.values()
        self.assertEqual(own["kl"], 0)
        self.assertGreater(small["kl"], 0)
        self.assertLess(small["bytes_per_token"], own["bytes_per_token"])
        alone = self.hunch("eval", out, "--text", self.text, "--max-tokens", "300", "--json").json
        self.assertAlmostEqual(alone["perplexity"] / small["perplexity"], 1, places=3)
        self.assertEqual(list(self.hunch(*price, "--compare", "dense,exact", "--json").json["modes"]),
                         ["dense", "exact", "half.gguf dense", "half.gguf exact"])
        self.assertIn("half.gguf exact", self.hunch(*price).text)

    def test_a_table_for_people_and_what_only_and_type_do(self):
        out = self.path("some.gguf")
        result = self.compress("--low-rank", "0.6", "--only", "up,down", "--type", "f32", "--plain", "-o", out)
        self.assertIn("output error", result.text)
        self.assertIn(out, result.err)
        tensors = {t["name"]: t["dtype"] for t in self.hunch("inspect", out, "--json").json["tensors"]}
        self.assertEqual(tensors["blk.0.ffn_down.low_rank_u.weight"], "f32")
        self.assertIn("blk.0.attn_q.weight", tensors)
        quantised = self.path("some-q8_0.gguf")
        self.hunch("quantize", out, "-o", quantised, "--type", "q8_0")
        self.assertIn("blk.0.ffn_down.low_rank_u.weight", [t["name"] for t in self.hunch("inspect", quantised, "--json").json["tensors"]])
        self.hunch("run", quantised, "-p", "the end", "-n", "3", "--ignore-end")

    def test_what_learns_from_weights_learns_from_pairs(self):
        out = self.path("pairs.gguf")
        self.compress("--low-rank", "0.8", "-o", out, "--quiet")
        more = self.write("more.txt", " ".join(["the end of a thing is in another one he said and went on"] * 60))
        self.hunch("sparsify", out, "--text", more, "--predictor", "svd", "--rank", "16", "--density", "0.5", "--threads", "1")
        modes = self.hunch("eval", out, "--text", more, "--max-tokens", "200", "--compare", "dense,exact,sparse,oracle:0.5", "--json").json["modes"]
        self.assertLess(modes["sparse"]["bytes_per_token"], modes["dense"]["bytes_per_token"])
        self.assertLess(modes["exact"]["bytes_per_token"], modes["dense"]["bytes_per_token"])
        self.hunch("inspect", out, "--text", more, "--tokens", "200", "--json")

    def test_bad_input(self):
        out = self.path("refused.gguf")
        text = ("--text", self.text)
        self.refused(2, "compress", self.opt, *text, "-o", out, says="--low-rank")
        for ratio in "0", "1", "1.5", "-1", "half":
            self.refused(2, "compress", self.opt, *text, "--low-rank", ratio, "-o", out, says="--low-rank")
        self.refused(2, "compress", self.opt, "--low-rank", "0.5", "-o", out, says="--text")
        self.refused(2, "compress", self.opt, *text, "--low-rank", "0.5", says="-o")
        self.refused(2, "compress", self.opt, *text, "--low-rank", "0.5", "--only", "up,router", "-o", out, says="'router'")
        self.refused(2, "compress", self.opt, "--low-rank", "0.5", "--text", self.write("short.txt", "too short"), "-o", out, says="at least 256")
        self.assertFalse(os.path.exists(out))
        self.compress("--low-rank", "0.5", "-o", out, "--quiet")
        self.refused(2, "compress", self.opt, *text, "--low-rank", "0.5", "-o", out, says="--force")
        self.refused(2, "compress", out, *text, "--low-rank", "0.5", "-o", out, "--force", says="part of what is read")
        self.compress("--low-rank", "0.4", "-o", out, "--force", "--quiet")
        self.refused(1, "compress", out, *text, "--low-rank", "0.5", "-o", self.path("twice.gguf"), says="already")
        self.refused(2, "eval", self.opt, *text, "--against", out, "--compare", "lossless", says="--against")


if __name__ == "__main__":
    unittest.main()
