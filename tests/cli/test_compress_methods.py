"""compress --method prunes and rounds a model that every verb reads, and says what that cost."""
import os
import unittest

from fixtures import CliTest, random_words


class CompressMethods(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(500))

    def compress(self, *arguments, **more):
        return self.hunch("compress", self.opt, "--text", self.text, "--threads", "1", *arguments, **more)

    def types_of(self, model):
        return {t["name"]: t["dtype"] for t in self.hunch("inspect", model, "--json").json["tensors"]}

    def runs(self, model):
        answer = self.hunch("run", model, "-p", "the end", "-n", "4", "--ignore-end", "--json").json
        self.assertEqual(answer["n_generated"], 4)

    def error_of(self, answer):
        roles = answer["roles"].values()
        return sum(r["error"] for r in roles) / len(roles)

    def test_rounding_fitted_to_a_text_is_better_than_to_the_nearest(self):
        errors = {}
        for method in "rtn", "gptq", "awq":
            out = self.path(f"{method}.gguf")
            answer = self.compress("--method", method, "--bits", "3", "--group", "32", "-o", out, "--json").json
            self.assertEqual((answer["method"], answer["bits"], answer["group"], answer["type"]), (method, 3, 32, "q4_1"))
            self.assertEqual(answer["inputs"], "dense" if method == "awq" else "compressed")
            self.assertEqual(sorted(answer["roles"]), ["down", "k", "o", "q", "up", "v"])
            self.assertLess(answer["bytes"], answer["bytes_before"])
            types = self.types_of(out)
            self.assertEqual({types[f"blk.1.{m}.weight"] for m in ("attn_q", "attn_output", "ffn_up", "ffn_down")}, {"q4_1"})
            errors[method] = self.error_of(answer)
            self.runs(out)
        self.assertLess(errors["gptq"], 0.9 * errors["rtn"])
        self.assertLess(errors["awq"], errors["rtn"])

    def test_pruning_leaves_the_share_of_zeros_that_was_asked_for(self):
        errors = {}
        for method in "magnitude", "wanda", "sparsegpt":
            for flags in (("--sparsity", "50%"), ("--nm", "2:4")):
                out = self.path("pruned.gguf")
                answer = self.compress("--method", method, *flags, "-o", out, "--force", "--json").json
                for role in answer["roles"].values():
                    self.assertAlmostEqual(role["n_zeros"] / role["n_weights"], 0.5, delta=0.01)
                errors[method, flags[0]] = self.error_of(answer)
                self.runs(out)
        for flag in "--sparsity", "--nm":
            self.assertLess(errors["sparsegpt", flag], errors["wanda", flag])
            self.assertLess(errors["wanda", flag], errors["magnitude", flag])

    def test_rotated_it_is_the_same_function_and_then_rounds(self):
        out, rounded = self.path("rotated.gguf"), self.path("rounded.gguf")
        answer = self.hunch("compress", self.opt, "--method", "rotate", "--type", "f32", "-o", out, "--json").json
        self.assertEqual((answer["method"], answer["type"], answer["rotation"]), ("rotate", "f32", "Hadamard of 64"))
        both = [self.hunch("logits", m, "--ids", "2,100,200,7", "--json").json["logits"] for m in (self.opt, out)]
        self.assertLess(max(abs(a - b) for x, y in zip(*both) for a, b in zip(x, y)), 1e-3)
        answer = self.compress("--method", "rotate,gptq", "--bits", "4", "--group", "32", "-o", rounded, "--json").json
        self.assertEqual(answer["method"], "gptq")
        self.runs(rounded)
        self.assertFalse(os.path.exists(rounded + ".rotated"))
        self.refused(2, "compress", self.opt, "--method", "rotate", "--text", self.text, "-o", self.path("x.gguf"), says="--type")
        self.refused(2, "compress", self.opt, "--method", "rotate,rtn", "--text", self.text, "-o", self.path("x/"), says="GGUF")
        early = self.refused(2, "compress", self.opt, "--method", "rotate,rtn", "-o", self.path("x.gguf"), says="on which text")
        self.assertNotIn("rotated", early.err)  # before the work begins

    def test_inputs_are_rotated_as_they_are_multiplied(self):
        out, plain = self.path("rotated-inputs.gguf"), self.path("plain.gguf")
        answer = self.compress("--method", "gptq", "--type", "q8_0", "--rotate-inputs", "o,down", "-o", out, "--json").json
        self.assertLess(self.error_of(answer), 0.02)
        types = self.types_of(out)
        self.assertEqual({types[f"blk.1.{m}.rotated"] for m in ("attn_output", "ffn_down")}, {"q8_0"})
        self.assertNotIn("blk.1.ffn_down.weight", types)
        self.runs(out)
        self.hunch("convert", out, "--type", "f32", "-o", plain)
        self.assertEqual(self.types_of(plain)["blk.1.ffn_down.weight"], "f32")
        modes = self.hunch("eval", self.opt, "--text", self.text, "--max-tokens", "200", "--against", plain, "--json").json["modes"]
        self.assertLess(list(modes.values())[1]["kl"], 0.01)
        for flags, says in ((("rtn", "--rotate-inputs", "up"), "not those of up"), (("awq", "--rotate-inputs", "o"), "the method is awq"),
                            (("svd", "--rotate-inputs", "o"), "--rotate-inputs goes with"), (("rtn", "--rotate-inputs", "x"), "--rotate-inputs"),
                            (("gptq", "--export", "gptq", "--rotate-inputs", "o"), "--rotate-inputs goes with")):
            self.refused(2, "compress", self.opt, "--text", self.text, "--method", *flags, "-o", self.path("x.gguf"), says=says)

    def test_pruned_and_rounded(self):
        for chain in "wanda,gptq", "sparsegpt,gptq", "magnitude,rtn":
            out = self.path("both.gguf")
            answer = self.compress("--method", chain, "--bits", "4", "-o", out, "--group", "32", "--force", "--json").json
            self.assertEqual((answer["method"], answer["type"]), (chain, "q4_0"))
            for role in answer["roles"].values():
                self.assertGreaterEqual(role["n_zeros"], 0.49 * role["n_weights"])
            self.runs(out)

    def test_pruned_matrices_lie_in_the_file_without_their_zeros(self):
        held_out = self.write("held-out.txt", random_words(60))
        for chain, flags in (
            ("magnitude,rtn", ("--nm", "2:4", "--bits", "8", "--group", "32")),
            ("wanda", ("--sparsity", "70%", "--type", "f16")),
            ("sparsegpt,gptq", ("--sparsity", "60%", "--bits", "4", "--group", "32")),
        ):
            with self.subTest(chain=chain):
                sparse, dense, back = self.path("sparse.gguf"), self.path("dense.gguf"), self.path("back.gguf")
                small = self.compress("--method", chain, *flags, "-o", sparse, "--force", "--json").json
                large = self.compress("--method", chain, *flags, "-o", dense, "--dense-blocks", "--force", "--json").json
                self.assertNotIn("sparse", large)
                self.assertGreater(small["sparse"]["n_tensors"], 6)
                self.assertLess(small["sparse"]["bytes"], 0.9 * small["sparse"]["dense_bytes"])
                self.assertEqual(large["bytes"] - small["bytes"], small["sparse"]["dense_bytes"] - small["sparse"]["bytes"])
                types = self.types_of(sparse)
                self.assertIn("blk.0.ffn_up.sparse_mask", types)
                self.assertNotIn("blk.0.ffn_up.weight", types)
                self.assertIn("without zeros", self.hunch("inspect", sparse).text)
                self.runs(sparse)
                self.hunch("convert", sparse, "--type", small["type"], "-o", back, "--force")
                self.assertNotIn("blk.0.ffn_up.sparse_mask", self.types_of(back))
                prices = [self.hunch("eval", m, "--text", held_out, "--json").json["perplexity"] for m in (sparse, dense)]
                self.assertAlmostEqual(prices[0] / prices[1], 1, places=2)
                again = self.path("again.gguf")
                self.hunch("convert", dense, "--type", "auto", "--sparse", "-o", again, "--force")
                self.assertIn("blk.0.ffn_up.sparse_mask", self.types_of(again))
                if chain == "wanda":
                    plain = self.compress("--method", chain, "--sparsity", "70%", "-o", back, "--force", "--json").json
                    self.assertEqual(plain["type"], "f32")
                    self.assertTrue(any("zeros stay" in n for n in plain["notes"]), plain["notes"])
                self.refused(1, "compress", sparse, "--text", self.text, "--method", "rtn", "-o", again, "--force", says="without its zeros")

    def test_the_price_is_told(self):
        out = self.path("priced.gguf")
        held_out = self.write("held-out.txt", random_words(120))
        result = self.compress("--method", "gptq", "--type", "q4_0", "--act-order", "--eval", held_out, "-o", out)
        self.assertIn("perplexity", result.text)
        self.assertIn("output error", result.text)
        self.assertIn(out, result.err)
        answer = self.compress("--method", "gptq", "--type", "q4_0", "--act-order", "--eval", held_out, "-o", out, "--force", "--json").json
        alone = self.hunch("eval", out, "--text", held_out, "--json").json
        self.assertAlmostEqual(answer["perplexity"] / alone["perplexity"], 1, places=4)
        before = self.hunch("eval", self.opt, "--text", held_out, "--json").json
        self.assertAlmostEqual(answer["perplexity_before"] / before["perplexity"], 1, places=4)

    def test_what_only_and_inputs_do(self):
        out = self.path("some.gguf")
        answer = self.compress("--method", "rtn", "--type", "q8_0", "--only", "up,down", "--inputs", "dense", "-o", out, "--json").json
        self.assertEqual((sorted(answer["roles"]), answer["inputs"]), (["down", "up"], "dense"))
        types = self.types_of(out)
        self.assertEqual((types["blk.0.ffn_up.weight"], types["blk.0.attn_q.weight"] == "q8_0"), ("q8_0", False))

    def test_rows_that_are_no_whole_blocks_are_noted(self):
        out = self.path("q4_k.gguf")
        answer = self.compress("--method", "gptq", "-o", out, "--json").json
        self.assertTrue(any("no whole q4_k blocks" in n for n in answer["notes"]), answer["notes"])
        self.runs(out)

    def test_bad_input(self):
        out = self.path("refused.gguf")
        start = ("compress", self.opt, "--text", self.text, "-o", out)
        for flags, says in (
            (("--method", "gtpq"), "'gtpq' is none of rtn, gptq"),
            (("--method", ""), "none of"),
            (("--method", "gptq,wanda"), "one that prunes, one that rounds"),
            (("--method", "wanda,awq"), "awq does not know of pruned"),
            (("--method", "gptq", "--low-rank", "0.5"), "--low-rank"),
            (("--method", "gptq", "--bits", "9"), "--bits"),
            (("--method", "gptq", "--bits", "6"), "symmetric"),
            (("--method", "gptq", "--bits", "4", "--type", "q4_0"), "--type"),
            (("--method", "gptq", "--bits", "4", "--group", "48"), "multiple of 32"),
            (("--method", "gptq", "--group", "32"), "--bits"),
            (("--method", "wanda", "--bits", "4"), "rounds"),
            (("--method", "gptq", "--sparsity", "0.5"), "prunes"),
            (("--method", "wanda", "--sparsity", "1"), "--sparsity"),
            (("--method", "wanda", "--sparsity", "0.5", "--nm", "2:4"), "one only"),
            (("--method", "wanda", "--nm", "4:2"), "--nm"),
            (("--method", "wanda", "--nm", "2-4"), "--nm"),
            (("--method", "rtn", "--damping", "0.1"), "sparsegpt"),
            (("--method", "rtn", "--dense-blocks"), "prunes"),
            (("--low-rank", "0.5", "--dense-blocks"), "--dense-blocks"),
            (("--method", "svd", "--damping", "0.1"), "--damping"),
            (("--method", "structured", "--sparsity", "20%", "--export", "awq"), "--export"),
            (("--method", "loftq", "--export", "gptq"), "--export"),
            (("--method", "gptq", "--damping", "0"), "damping"),
            (("--method", "awq", "--only", "up"), "all of them"),
            (("--low-rank", "0.5", "--bits", "4"), "--method"),
        ):
            with self.subTest(flags=flags):
                self.refused(2, *start, *flags, says=says)
        self.refused(1, *start, "--method", "gptq", "--type", "iq4_nl", says="does not round into")
        self.refused(1, *start, "--method", "wanda", "--type", "q4_k", says="minimum")
        self.refused(2, "compress", self.opt, "--method", "gptq", "--text", self.write("short.txt", "too short"), "-o", out, says="at least 256")
        self.refused(2, "compress", self.opt, "--method", "gptq", "-o", out, says="--text")
        self.assertFalse(os.path.exists(out))
        self.compress("--method", "rtn", "--type", "q8_0", "-o", out, "--quiet")
        self.refused(2, *start, "--method", "rtn", says="--force")

    def test_fewer_heads_neurons_and_layers(self):
        out = self.path("structured.gguf")
        answer = self.compress("--method", "structured", "--sparsity", "30%", "--multiple", "1", "-o", out, "--force", "--json").json
        self.assertGreaterEqual(answer["sparsity"], 0.3)
        self.assertLess(answer["sparsity"], 0.45)
        for layer in answer["layers"]:
            self.assertTrue(1 <= layer["groups"] <= layer["n_groups"] == 4)
            self.assertTrue(1 <= layer["neurons"] <= layer["n_neurons"] == 256)
        config = self.hunch("inspect", out, "--json").json
        self.assertLess(config["n_params"], 129000)
        self.runs(out)
        uniform = self.path("uniform.gguf")
        answer = self.compress("--method", "structured", "--sparsity", "50%", "--scope", "layer", "-o", uniform, "--force", "--json",
                               "--eval", self.text).json
        self.assertEqual([(x["groups"], x["neurons"]) for x in answer["layers"]], [(2, 128)] * 2)
        self.assertGreater(answer["perplexity"], 0)
        self.runs(uniform)
        one = self.path("one.gguf")
        answer = self.compress("--method", "structured", "--layers", "1", "--only", "gate,up,down", "-o", one, "--force", "--json").json
        self.assertEqual(sum(x["dropped"] for x in answer["layers"]), 1)
        self.assertEqual(answer["sparsity"], 0.5)
        self.runs(one)
        table = self.compress("--method", "structured", "--sparsity", "20%", "-o", one, "--force").text.splitlines()
        self.assertEqual(table[0].split(), ["layer", "influence", "key", "heads", "neurons"])
        ask = ("compress", self.opt, "--text", self.text, "-o", self.path("x.gguf"), "--method", "structured")
        self.refused(2, *ask, says="--sparsity")
        self.refused(2, *ask, "--sparsity", "20%", "--only", "q,k", says="q,k,v,o")
        self.refused(2, *ask, "--sparsity", "20%", "--bits", "4", says="another run")
        self.refused(2, *ask, "--sparsity", "20%", "--scope", "row", says="--scope")
        self.refused(2, "compress", self.opt, "--text", self.text, "-o", self.path("x.gguf"), "--method", "wanda", "--layers", "1",
                     says="structured")

    def test_a_mean_of_bits_is_a_type_for_each_matrix(self):
        out = self.path("mixed.gguf")
        answer = self.compress("--method", "rtn", "--bits", "6.0", "-o", out, "--json").json
        self.assertTrue(5 < answer["bits"] <= 6, answer["bits"])
        types = {name: t["type"] for name, t in answer["types"].items()}
        self.assertGreater(len(set(types.values())), 1)
        found = self.types_of(out)
        self.assertEqual({name: found[name] for name in types}, types)
        self.runs(out)
        table = self.compress("--method", "gptq", "--max-ppl-increase", "5%", "-o", out, "--force").text
        self.assertIn("bits of a weight in the mean; perplexity of the text", table)
        ask = ("compress", self.opt, "--text", self.text, "-o", self.path("x.gguf"), "--method", "rtn")
        self.refused(2, *ask, "--bits", "2.5", says="the smallest types")
        self.refused(2, *ask, "--bits", "4.5", "--group", "32", says="--group")
        self.refused(2, *ask, "--bits", "4.5", "--max-ppl-increase", "1%", says="one only")
        self.refused(2, *ask[:-1], "awq", "--bits", "4.5", says="rtn and gptq")

    def test_magnitude_over_all_matrices_or_rows(self):
        zeros = {}
        for scope in "global", "matrix", "row":
            out = self.path("scope.gguf")
            answer = self.compress("--method", "magnitude", "--scope", scope, "-o", out, "--force", "--json").json
            roles = answer["roles"].values()
            self.assertAlmostEqual(sum(r["n_zeros"] for r in roles) / sum(r["n_weights"] for r in roles), 0.5, delta=0.01)
            zeros[scope] = [r["n_zeros"] / r["n_weights"] for r in roles]
            self.runs(out)
        spread = {scope: max(z) - min(z) for scope, z in zeros.items()}
        self.assertGreater(spread["global"], 0.01)
        self.assertLess(max(spread["row"], spread["matrix"]), 0.002)
        ask = ("compress", self.opt, "--text", self.text, "-o", self.path("x.gguf"))
        self.refused(2, *ask, "--method", "wanda", "--scope", "global", says="magnitude")
        self.refused(2, *ask, "--method", "magnitude", "--scope", "layer", says="structured")

    def test_low_rank_beside_rounded_weights(self):
        out = self.path("loftq.gguf")
        answer = self.hunch("compress", self.opt, "--method", "loftq", "--rank", "8", "-o", out, "--json", "--eval", self.text).json
        self.assertEqual((answer["type"], answer["rank"], answer["n_tokens"]), ("q4_0", 8, 0))
        for role in answer["roles"].values():
            self.assertLess(role["error"], role["rounded_error"])
        types = self.types_of(out)
        self.assertEqual((types["blk.0.ffn_up.weight"], types["blk.0.ffn_up.low_rank_u.weight"]), ("q4_0", "f16"))
        self.runs(out)
        fitted = self.compress("--method", "loftq", "--rank", "8", "--rounds", "1", "-o", out, "--force", "--json").json
        self.assertGreater(fitted["n_tokens"], 0)
        self.refused(2, "compress", self.opt, "--method", "loftq", "--bits", "4", "-o", self.path("x.gguf"), says="--type")
        self.refused(2, "compress", self.opt, "--method", "rtn", "--text", self.text, "--rounds", "2", "-o", self.path("x.gguf"), says="loftq")


if __name__ == "__main__":
    unittest.main()
