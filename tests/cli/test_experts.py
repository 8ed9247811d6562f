"""Mixtures of experts: how they are routed, what that costs, and their neurons."""
import json
import os
import shutil
import unittest

from fixtures import GOLDEN, CliTest, write_tokenizer


class Experts(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.moe = os.path.join(cls.dir, "moe")
        shutil.copytree(os.path.join(GOLDEN, "qwen2_moe"), cls.moe)
        write_tokenizer(cls.moe)
        cls.text = os.path.join(cls.dir, "some.txt")
        with open(cls.text, "w") as f:
            f.write("the hen on the heath and the other hen in there, then another one. " * 40)

    def test_eval_prints_what_each_router_costs(self):
        policies = ["top:1", "capacity:1", "prioritised:1", "choice:1", "balanced", "sinkhorn"]
        options = [word for policy in policies for word in ("--experts", policy)]
        command = ["eval", self.moe, "--text", self.text, "--ctx", "64", "--max-tokens", "256", *options]
        modes = self.hunch(*command, "--json").json["modes"]
        self.assertEqual(list(modes), ["as trained", *policies])
        for policy in policies:
            self.assertGreater(modes[policy]["kl"], 0, policy)
        self.assertLess(modes["top:1"]["density_mlp"], modes["as trained"]["density_mlp"])
        self.assertIn("prioritised:1", self.hunch(*command).text)

    def test_run_takes_one(self):
        run = ["run", self.moe, "--ids", "5,9,2", "-n", "8", "--temperature", "0", "--ignore-end", "--json"]
        as_trained = self.hunch(*run).json
        self.assertEqual(self.hunch(*run, "--experts", "capacity:100").json["ids"], as_trained["ids"])
        self.assertLess(self.hunch(*run, "--experts", "top:1").json["density_mlp"], as_trained["density_mlp"])

    def test_inspect_shows_load_and_drops(self):
        command = ["inspect", self.moe, "--text", self.text, "--ctx", "64", "--tokens", "256"]
        layer = self.hunch(*command, "--json").json["trace"]["layers"][0]
        self.assertEqual(layer["rule"], "routed")
        prices = {p["factor"]: p for p in layer["capacities"]}
        self.assertGreater(prices[0.5]["overflow"], 0.4)  # half of the choices at least find no room
        self.assertGreater(prices[0.5]["dropped"], prices[1]["dropped"])
        self.assertGreaterEqual(prices[1]["overflow"], prices[2]["overflow"])
        self.assertIn("drop 1.25", self.hunch(*command).text)

    def test_cats_inside_experts(self):
        sidecar = self.path("moe.hunch")
        for method in ("teal", "griffin"):
            self.hunch("sparsify", self.moe, "--text", self.text, "--method", method, "--density", "0.7", "-o", sidecar, "--force")
            modes = self.hunch("eval", self.moe, "--text", self.text, "--ctx", "64", "--max-tokens", "128", "--sidecar", sidecar, "--compare", "dense,sparse",
                               "--json").json["modes"]
            self.assertLess(modes["sparse"]["bytes_per_token"], modes["dense"]["bytes_per_token"], method)
            os.remove(sidecar)
        self.hunch("sparsify", self.moe, "--text", self.text, "--method", "cats", "--density", "0.5", "-o", sidecar)
        command = ["eval", self.moe, "--text", self.text, "--ctx", "64", "--max-tokens", "256", "--sidecar", sidecar]
        modes = self.hunch(*command, "--compare", "dense,exact,sparse", "--json").json["modes"]
        self.assertLess(modes["sparse"]["bytes_per_token"], modes["exact"]["bytes_per_token"])
        self.assertLess(modes["sparse"]["density_mlp"], 0.6 * modes["exact"]["density_mlp"])  # sparse twice
        run = self.hunch("run", self.moe, "--ids", "5,9,2", "-n", "4", "--mode", "sparse", "--sidecar", sidecar)
        self.assertIn("sparse mode is cats", run.err)

    def test_what_exact_mode_says_of_quantised_experts(self):
        folder, rows = self.path("relu-moe"), self.path("relu-moe.gguf")
        shutil.copytree(self.moe, folder)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            config = {**json.load(f), "hidden_act": "relu"}
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.hunch("convert", folder, "--type", "q8_0", "--layout", "rows", "-o", rows)
        self.assertIn("the down projection is", self.hunch("run", rows, "--ids", "5,9,2", "-n", "4").err)

    def test_what_cannot_be_is_said(self):
        run = ["run", self.moe, "--ids", "5,9,2", "-n", "2"]
        self.refused(2, *run, "--experts", "best:2", says="expected top:1, capacity:1.25")
        self.refused(2, *run, "--experts", "top:99", says="expected at most so many")
        self.refused(2, *run, "--experts", "balanced", "--experts", "sinkhorn", says="expected once")
        self.refused(2, "run", self.opt, "--ids", "5,9,2", "-n", "2", "--experts", "balanced", says="no mixture of experts")


if __name__ == "__main__":
    unittest.main()
