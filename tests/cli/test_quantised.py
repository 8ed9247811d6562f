"""Quantised checkpoints, mixes of types by name, importance matrices."""
import os
import unittest

from fixtures import SOURCE, CliTest

QUANTISED = os.path.join(SOURCE, "tests", "data", "quantised")
DEMO = os.path.join(SOURCE, "models", "demo")


class Checkpoints(CliTest):
    def logits(self, model, *options):
        rows = self.hunch("logits", model, "--ids", "1,5,9,30,2", "--json", *options).json["logits"]
        return [x for row in rows for x in row]

    def test_folder_and_gguf(self):
        for name, blocks in {"gptq_sym": "q4_0", "gptq_b2": "q4_0", "ct_int8": "q8_0", "fp8_block": "f32", "bnb_nf4": "f32"}.items():
            folder = os.path.join(QUANTISED, name)
            exact = self.logits(folder)  # so small a model is decoded to floats
            out = self.path(f"{name}.gguf")
            self.hunch("convert", folder, "-o", out, "--type", "f32")
            for same in self.logits(folder, "--quantised", "floats"), self.logits(out):
                self.assertLess(max(abs(a - b) for a, b in zip(exact, same)), 1e-4, name)
            if blocks == "f32":
                continue
            said = self.hunch("logits", folder, "--ids", "1", "--quantised", "blocks", "--out", self.path(f"{name}.npy"), "--force").err
            self.assertIn(f"7 matrices as {blocks}", said)
            kept = self.hunch("convert", folder, "-o", self.path("kept.gguf"), "--quantised", "blocks", "--force", "--json").json
            self.assertEqual(kept["types"][blocks]["n_tensors"], 7, name)
            rounded = self.logits(self.path("kept.gguf"))
            self.assertLess(max(abs(a - b) for a, b in zip(exact, rounded)), 0.05 * max(map(abs, exact)), name)

    def test_inputs_in_another_order(self):
        """GPTQ in activation order stays blocks, in files too, and becomes floats again in the model's order."""
        folder, kept, floats = os.path.join(QUANTISED, "gptq_b3_act"), self.path("ordered.gguf"), self.path("floats.gguf")
        exact = self.logits(folder)
        said = " ".join(self.hunch("inspect", folder, "--quantised", "blocks").text.split())  # its lines are broken
        self.assertIn("7 matrices as q4_0 (1 with inputs in another order)", said)
        self.hunch("convert", folder, "-o", kept, "--quantised", "blocks")
        tensors = {t["name"]: t for t in self.hunch("inspect", kept, "--json").json["tensors"]}
        self.assertEqual(tensors["blk.0.ffn_down.ordered"]["dtype"], "q4_0")
        self.assertEqual(tensors["blk.0.ffn_down.input_order"]["shape"], [1, 64])
        rounded = self.logits(kept)
        self.assertLess(max(abs(a - b) for a, b in zip(exact, rounded)), 0.05 * max(map(abs, exact)))
        self.hunch("convert", kept, "-o", floats, "--type", "f32")
        self.assertLess(max(abs(a - b) for a, b in zip(exact, self.logits(floats))), 1e-4)
        self.refused(1, "convert", kept, "-o", self.path("no.gguf"), "--type", "q8_0", says="already q4_0")

    def test_floats_of_other_tools_keep_their_bytes(self):
        for name, blocks in {"bnb_nf4_table": "nf4", "bnb_fp4_table": "fp4", "fp8_static": "fp8", "bnb_int8": "i8_64"}.items():
            folder, kept = os.path.join(QUANTISED, name), self.path("kept.gguf")
            self.hunch("convert", folder, "-o", kept, "--quantised", "blocks", "--force")
            tensors = {t["name"]: t for t in self.hunch("inspect", kept, "--json").json["tensors"]}
            self.assertEqual(tensors["blk.0.ffn_down.weight"]["dtype"], blocks)
            exact = self.logits(folder)  # rows of 32, which the blocks do not divide, are written as f16
            self.assertLess(max(abs(a - b) for a, b in zip(exact, self.logits(kept))), 0.001 * max(map(abs, exact)))

    def test_inspect_says_what_became_what(self):
        folder = os.path.join(QUANTISED, "gptq_sym")
        self.assertIn("GPTQ, 4 bit, groups of 32", self.hunch("inspect", folder).text)
        answer = self.hunch("inspect", folder, "--quantised", "blocks", "--json").json
        self.assertIn("7 matrices as q4_0", answer["quantised"])
        self.assertEqual(answer["unused_tensors"], [])
        self.assertEqual(answer["unread_config"], [])


class Quantise(CliTest):
    def test_types_that_rows_fall_back_to(self):
        """What stands where 256 divides no row computes, is listed, and leaves the vocabulary usable."""
        source, prompt = os.path.join(DEMO, "hunch-demo.gguf"), "The old king"
        ids = self.hunch("tokenize", source, prompt).text
        exact = self.last_row(source, prompt)
        best = max(range(len(exact)), key=exact.__getitem__)
        for name in "q8_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "mxfp4":
            out = self.path(f"{name}.gguf")
            self.hunch("quantize", source, "-o", out, "--type", name, "--layout", "rows")
            self.assertIn(name, self.hunch("inspect", out, "--tensors").text)
            self.assertEqual(self.hunch("tokenize", out, prompt).text, ids, name)
            row = self.last_row(out, prompt)
            self.assertIn(best, sorted(range(len(row)), key=row.__getitem__)[-3:], name)

    def last_row(self, model, prompt):
        return self.hunch("logits", model, "--prompt", prompt, "--json").json["logits"][-1]

    def test_mixes(self):
        source = os.path.join(DEMO, "hunch-demo.gguf")
        run = self.hunch("quantize", source, "-o", self.path("mix.gguf"), "--type", "q4_k_m", "--layout", "rows", "--json")
        types = run.json["types"]
        # The head (rows of 384, no multiple of 256) is q8_0 instead of q6_k; down projections have rows of 1536.
        self.assertGreaterEqual(types["q8_0"]["n_tensors"], 1)
        self.assertEqual(types["q6_k"]["n_tensors"] + types["q4_k"]["n_tensors"], 6)
        self.assertIn("bits per weight", self.hunch("quantize", source, "-o", self.path("mix.gguf"), "--type", "q4_k_m", "--force").err)
        self.assertGreater(8.5, run.json["bits_per_weight"])
        names = {t["name"]: t["dtype"] for t in self.hunch("inspect", self.path("mix.gguf"), "--json").json["tensors"]}
        self.assertEqual(names["token_embd.weight"], "q8_0")

    def test_importance(self):
        source, book, out = os.path.join(DEMO, "hunch-demo.gguf"), os.path.join(DEMO, "book.txt"), self.path("demo.imatrix.gguf")
        answer = self.hunch("imatrix", source, book, "-o", out, "--tokens", "1024", "--ctx", "128", "--json").json
        self.assertEqual((answer["n_tokens"], answer["n_ctx"]), (1024, 128))
        self.assertEqual(answer["n_matrices"], 6 * 6)
        self.refused(2, "imatrix", source, book, "-o", out, says="--force")
        sizes = {}
        for options in ((), ("--imatrix", out)):
            small = self.path("small.gguf")
            run = self.hunch("quantize", source, "-o", small, "--type", "q4_k", "--layout", "rows", "--force", *options, "--json")
            with open(small, "rb") as f:
                sizes[options] = f.read()
            self.assertEqual(run.json["unweighted"], 1 if options else 0)
        self.assertNotEqual(*sizes.values())
        self.refused(1, "quantize", source, "-o", self.path("no.gguf"), "--imatrix", source, says="importance matrix")
        self.refused(1, "quantize", os.path.join(QUANTISED, "bnb_nf4"), "-o", self.path("no.gguf"), "--type", "q8_0", "--imatrix", out,
                     says="another model")


if __name__ == "__main__":
    unittest.main()
