"""--device and `hunch devices`: a model on a Vulkan device gives the processor's answers; what is missing is named."""
import os
import unittest

from fixtures import GOLDEN, CliTest


class Devices(CliTest):
    LLAMA, OPT = os.path.join(GOLDEN, "llama_mha"), os.path.join(GOLDEN, "opt_sparse")
    NO_DRIVER = {"VK_ICD_FILENAMES": "/nonexistent.json", "VK_DRIVER_FILES": "/nonexistent.json"}

    def first(self):
        """The first device that can be used; skips the test where there is none."""
        answer = self.hunch("devices", "--json").json
        for device in answer["devices"]:
            if device["problem"] is None:
                return device
        self.skipTest(f"no Vulkan device: {answer}")

    def generate(self, model, *words):
        return self.hunch("run", model, "--ids", "5,9,2,77", "-n", "12", "--temperature", "0", "--ignore-end", "--json", *words).json

    def test_the_list_says_what_a_device_is(self):
        device = self.first()
        self.assertRegex(device["name"], r"^vulkan:\d+$")
        self.assertGreater(device["memory_bytes"], 0)
        self.assertGreater(device["free_bytes"], 0)
        self.assertIn(device["title"][:20], self.hunch("devices").text)

    def test_a_device_gives_the_same_text(self):
        name = self.first()["name"]
        for model in self.LLAMA, self.OPT:
            for mode in "dense", "exact":
                here = self.generate(model, "--mode", mode)
                there = self.generate(model, "--mode", mode, "--device", name)
                self.assertEqual(here["ids"], there["ids"], (model, mode))
                self.assertTrue(there["model"]["device"].startswith(name + " ("))
                self.assertNotIn("device", here["model"])
        self.assertLess(there["density_mlp"], 0.9)  # opt_sparse, exact
        self.assertAlmostEqual(there["density_mlp"], here["density_mlp"], 2)

    def test_logits_and_perplexity_are_alike(self):
        name = self.first()["name"]
        ids = ",".join(str(i * 7 % 300) for i in range(150))  # several recorded steps
        here, there = (self.hunch("logits", self.LLAMA, "--ids", ids, "--json", "--device", d).json["logits"] for d in ("cpu", name))
        self.assertLess(max(abs(a - b) for x, y in zip(here, there) for a, b in zip(x, y)), 1e-3)

    def test_drafts_are_verified_there(self):
        name = self.first()["name"]
        plain = self.generate(self.LLAMA, "--device", name)
        self.assertEqual(self.generate(self.LLAMA, "--device", name, "--ngram")["ids"], plain["ids"])

    def test_bench_measures_the_device(self):
        name = self.first()["name"]
        bench = self.hunch("bench", self.LLAMA, "--prompt", "16", "--generate", "4", "--repeats", "1", "--json", "--device", name).json
        self.assertEqual([row["name"] for row in bench["rows"]], ["pp16", "tg4"])
        self.assertGreater(bench["machine"]["read_gb_per_s"], 0)
        self.assertTrue(bench["model"]["device"].startswith(name))

    def test_what_a_device_does_not_compute_is_refused(self):
        name = self.first()["name"]
        message = self.hunch("run", os.path.join(GOLDEN, "bloom_h6"), "--ids", "5", "--device", name, code=1).err
        self.assertIn("this bloom model is not computed on devices yet: it has ALiBi (layer 0)", message)
        message = self.hunch("run", self.LLAMA, "--ids", "5", "--kv-policy", "h2o:8", "--device", name, code=1).err
        self.assertIn("cached tokens (in layer 0, by 'h2o')", message)
        # Nothing of that on the processor, to which "auto" goes where no card is.
        self.assertEqual(len(self.generate(os.path.join(GOLDEN, "bloom_h6"), "--device", "auto")["ids"]), 12)

    def test_names_that_are_no_device(self):
        message = self.hunch("run", self.LLAMA, "--ids", "5", "--device", "cuda", code=2).err
        self.assertIn("unknown device (--device) 'cuda', expected cpu, auto or vulkan:N", message)
        self.first()
        message = self.hunch("run", self.LLAMA, "--ids", "5", "--device", "vulkan:99", code=1).err
        self.assertIn("there is no device vulkan:99, only vulkan:0", message)
        self.assertIn("`hunch devices` lists them", message)

    def test_a_machine_without_a_driver_says_so(self):
        answer = self.hunch("devices", "--json", env=self.NO_DRIVER).json
        self.assertEqual(answer["devices"], [])
        self.assertRegex(answer["problem"], "no Vulkan driver|no driver|without Vulkan|libvulkan")
        message = self.hunch("run", self.LLAMA, "--ids", "5", "--device", "vulkan:0", env=self.NO_DRIVER, code=1).err
        self.assertRegex(message, "mesa-vulkan-drivers|libvulkan")
        here = self.generate(self.LLAMA)
        self.assertEqual(self.hunch("run", self.LLAMA, "--ids", "5,9,2,77", "-n", "12", "--temperature", "0", "--ignore-end", "--json", "--device", "auto",
                                    env=self.NO_DRIVER).json["ids"], here["ids"])


if __name__ == "__main__":
    unittest.main()
