"""--ram: a model whose weights are read on demand answers as one that is mapped, and says what it read."""
import os
import unittest

from fixtures import CliTest

SMALL = ["--n-layer", "4", "--n-embd", "256", "--n-ff", "1024", "--n-head", "8", "--n-vocab", "1000", "--n-ctx", "128"]


class LargerThanMemory(CliTest):
    def model(self, name, *arguments):
        out = self.path(name)
        self.hunch("synth", *arguments, *SMALL, "--type", "f16", "-o", out)
        return out

    def answer(self, model, *arguments):
        return self.hunch("run", model, "-p", "bako", "-n", "12", "--ignore-end", "--temperature", "0", *arguments)

    def test_the_answer_is_the_same_in_every_mode(self):
        model = self.model("opt.gguf", "--shape", "opt-125m", "--density", "0.1", "--contexts", "16", "--sidecar")
        self.hunch("convert", model, "--layout", "bundles", "-o", model + ".bundles")
        for mode in "dense", "exact", "sparse":
            mapped, on_demand = self.answer(model, "--mode", mode), self.answer(model, "--mode", mode, "--ram", "6M")
            self.assertEqual(mapped.out, on_demand.out, mode)
            self.assertIn("read when they are needed", on_demand.err)
            self.assertIn("neurons in bundles", on_demand.err)
            self.assertIn("disk:", on_demand.err)
            self.assertNotIn("disk:", mapped.err)

    def test_experts_come_when_a_token_goes_to_them(self):
        model = self.model("mixture.gguf", "--shape", "mixtral-8x7b", "--n-kv-head", "4")
        mapped, on_demand = self.answer(model), self.answer(model, "--ram", "30M")
        self.assertEqual(mapped.out, on_demand.out)
        rows = self.hunch("bench", model, "--ram", "30M", "--prompt", "", "--generate", "8", "--repeats", "1", "--json").json["rows"]
        self.assertGreater(rows[0]["disk"]["bytes_per_token"], 0)
        self.assertGreater(rows[0]["disk"]["matrix_hit_rate"], 0.3)

    def test_what_cannot_be_is_refused(self):
        model = self.model("llama.gguf", "--shape", "llama-1.1b", "--n-kv-head", "4")
        for code, arguments, says in [
            (1, ["--ram", "1M"], "(--ram)"),
            (2, ["--ram", "much"], "--ram"),
            (2, ["--ram", "6M", "--reblock-down"], "(--ram)"),
        ]:
            self.assertIn(says, self.hunch("run", model, "-p", "a", *arguments, code=code).err)
        self.assertIn("--layout neuron", self.hunch("convert", model, "--layout", "bundles", "-o", self.path("b"), code=1).err)
        relu = self.model("rows.gguf", "--shape", "opt-125m", "--layout", "rows")
        self.assertIn("--layout neuron", self.hunch("run", relu, "-p", "a", "--ram", "6M", code=1).err)
        with open(model, "r+b") as f:
            f.truncate(os.path.getsize(model) - 4096)
        self.assertIn(model, self.hunch("run", model, "-p", "a", "--ram", "6M", code=1).err)


if __name__ == "__main__":
    unittest.main()
