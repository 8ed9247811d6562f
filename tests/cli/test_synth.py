"""synth writes models that run, with the density that was asked for, and refuses nonsense."""
import os
import unittest

from fixtures import CliTest

TINY = ["--shape", "opt-125m", "--n-layer", "2", "--n-embd", "128", "--n-ff", "256", "--n-head", "8", "--n-vocab", "1000"]


class Synth(CliTest):
    def test_a_plain_model_runs(self):
        out = self.path("plain.gguf")
        report = self.hunch("synth", *TINY, "--type", "q8_0", "-o", out, "--json").json
        self.assertEqual(report["file_bytes"], os.path.getsize(out))
        answer = self.hunch("run", out, "-p", "bako", "-n", "5", "--ignore-end", "--json").json
        self.assertEqual(answer["n_generated"], 5)

    def test_a_planted_model_has_its_density_and_continues_in_context(self):
        out, text = self.path("planted.gguf"), self.path("planted.txt")
        planting = ["--density", "0.1", "--head-density", "0.42", "--contexts", "16"]
        self.hunch("synth", *TINY, *planting, "--type", "f16", "-o", out, "--text", text, "--text-tokens", "300")
        with open(text) as f:
            words = f.read().split()
        self.assertEqual(len(words), 300)
        answer = self.hunch("run", out, "-p", " ".join(words[:20]), "-n", "20", "--temperature", "0", "--json").json
        self.assertEqual(answer["n_prompt"], 21)
        self.assertAlmostEqual(answer["density_mlp"], 0.1, delta=0.03)

    def test_a_sidecar_of_what_was_planted_makes_sparse_mode_work(self):
        out, text = self.path("aside.gguf"), self.path("aside.txt")
        planting = ["--density", "0.1", "--head-density", "0.42", "--contexts", "16", "--sidecar"]
        report = self.hunch("synth", *TINY, *planting, "--type", "q8_0", "-o", out, "--text", text, "--text-tokens", "300", "--json").json
        self.assertEqual(report["sidecar"], out + ".hunch")
        modes = self.hunch("eval", out, "--text", text, "--compare", "dense,sparse", "--json").json["modes"]
        self.assertAlmostEqual(modes["sparse"]["density_mlp"], 0.1, delta=0.04)
        self.assertAlmostEqual(modes["sparse"]["density_heads"], 0.42, delta=0.1)
        self.assertLess(modes["sparse"]["kl"], 0.05)

    def test_nonsense_is_refused(self):
        out = self.path("never.gguf")
        for arguments, says in [
            (["--shape", "opt-9b"], "opt-125m"),
            ([], "--shape"),
            ([*TINY, "--n-head", "7"], "n_head 7"),
            ([*TINY, "--density", "2"], "density"),
            ([*TINY, "--density-profile", "llama"], "expected opt"),
            ([*TINY, "--head-density", "0.5"], "--density"),
            ([*TINY, "--activation", "tanh"], "relu"),
            ([*TINY, "--sidecar"], "--density"),
            ([*TINY, "--sidecar", "--density", "0.1", "--activation", "gelu"], "never exactly zero"),
            ([*TINY, "--layout", "neuron", "--activation", "gelu"], "never exactly zero"),
        ]:
            process = self.hunch("synth", *arguments, "-o", out, code=2)
            self.assertIn(says, process.err)
            self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    unittest.main()
