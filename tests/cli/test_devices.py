"""--device and `hunch devices`: a model on a Vulkan device gives the processor's answers; what is missing is named."""
import concurrent.futures
import json
import os
import random
import re
import subprocess
import unittest

from fixtures import BINARY, GOLDEN, SOURCE, CliTest
from serving import GREEDY, Server
from test_adapters import write_safetensors


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

    def test_the_last_layers_are_on_the_device(self):
        name = self.first()["name"]
        for model in self.LLAMA, self.OPT:
            here = self.generate(model)
            there = self.generate(model, "--device", name, "--gpu-layers", "1")
            self.assertEqual(there["ids"], here["ids"])
            self.assertIn("1 of 2 layers", there["model"]["device"])
            self.assertNotIn("of 2 layers", self.generate(model, "--device", name, "--gpu-layers", "99")["model"]["device"])
            self.assertNotIn("device", self.generate(model, "--device", name, "--gpu-layers", "0")["model"])
        message = self.hunch("run", self.LLAMA, "--ids", "5", "--gpu-layers", "1", code=2).err
        self.assertIn("(--gpu-layers, --gpu-neurons, --gpu-memory), and the device (--device) is cpu", message)

    def test_a_model_that_does_not_fit_says_what_does(self):
        name = self.first()["name"]
        demo = os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf")
        run = ["run", demo, "-p", "Once", "-n", "6", "--temperature", "0", "--ctx", "256", "--json", "--device", name]
        message = self.hunch(*run, "--gpu-memory", "24M", code=1).err
        n = re.search(r"have it compute (\d+) \(--gpu-layers\)", message)
        self.assertTrue(n, message)
        there = self.hunch(*run, "--gpu-memory", "24M", "--gpu-layers", n.group(1)).json
        self.assertIn(f"{n.group(1)} of ", there["model"]["device"])
        self.assertEqual(there["ids"], self.hunch(*run[:-2]).json["ids"])

    def test_neurons_are_divided(self):
        name = self.first()["name"]
        model = self.path("planted.gguf")
        self.hunch("synth", "--shape", "opt-125m", "-o", model, "--n-layer", "3", "--n-embd", "128", "--n-ff", "512", "--n-head", "4",
                   "--n-vocab", "512", "--n-ctx", "256", "--density", "0.2", "--contexts", "16", "--sidecar", "--type", "f16")
        for mode in "dense", "exact", "sparse":
            here = self.generate(model, "--mode", mode)
            for share in "0.25", "auto":
                there = self.generate(model, "--mode", mode, "--device", name, "--gpu-neurons", share)
                self.assertEqual(there["ids"], here["ids"], (mode, share))
                self.assertIn("% of the neurons", there["model"]["device"])
                if mode != "dense":
                    self.assertAlmostEqual(there["density_mlp"], here["density_mlp"], 2)
        message = self.hunch("run", self.LLAMA, "--ids", "5", "--device", name, "--gpu-neurons", "0.5", code=1).err
        self.assertIn("the neurons of layer 0 cannot be divided between a device and the processor (--gpu-neurons)", message)

    def test_drafts_of_a_sparse_model_are_verified_there(self):
        name = self.first()["name"]
        demo = os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf")
        run = ["run", demo, "-p", "Once upon a time", "-n", "40", "--temperature", "0", "--ignore-end", "--ctx", "128", "--json", "--device", name]
        lossless, dense = self.hunch(*run, "--lossless").json, self.hunch(*run, "--mode", "dense").json
        self.assertEqual(lossless["ids"], dense["ids"])
        sampled = ["--temperature", "1", "--top-k", "20", "--seed", "3"]
        self.assertEqual(self.hunch(*run, *sampled, "--lossless").json["ids"], self.hunch(*run, *sampled, "--mode", "dense").json["ids"])

    def test_the_best_logits_are_enough_to_draw_from(self):
        name = self.first()["name"]
        for sampler in (["--top-k", "1"], ["--top-k", "20"], ["--top-k", "20", "--top-p", "0.7", "--min-p", "0.01"], ["--top-k", "20", "--repeat-penalty", "1.2"]):
            words = ["run", self.LLAMA, "--ids", "5,9,2,77", "-n", "16", "--temperature", "0.9", "--seed", "11", "--ignore-end", "--json", *sampler]
            self.assertEqual(self.hunch(*words, "--device", name).json["ids"], self.hunch(*words).json["ids"], sampler)

    def test_adapters_are_added_there(self):
        name = self.first()["name"]
        with open(os.path.join(self.OPT, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        d, ff, draw = config["hidden_size"], config["ffn_dim"], random.Random(1)
        folder = self.path("tone")
        os.makedirs(folder)
        tensors = {}
        for layer in range(config["num_hidden_layers"]):
            for module, n_in, n_out in ("fc2", ff, d), ("self_attn.q_proj", d, d):
                for half, shape in (".lora_A.weight", [2, n_in]), (".lora_B.weight", [n_out, 2]):
                    tensors[f"base_model.model.model.decoder.layers.{layer}.{module}{half}"] = (shape, [draw.gauss(0, 0.2) for _ in range(shape[0] * shape[1])])
        write_safetensors(os.path.join(folder, "adapter_model.safetensors"), tensors)
        with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as f:
            json.dump({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["fc2", "q_proj"]}, f)
        adapted = self.generate(self.OPT, "--lora", folder)
        self.assertNotEqual(adapted["ids"], self.generate(self.OPT)["ids"])
        for more in ([], ["--gpu-layers", "1"]):
            self.assertEqual(self.generate(self.OPT, "--lora", folder, "--device", name, *more)["ids"], adapted["ids"], more)

    def test_a_server_computes_there(self):
        name = self.first()["name"]
        demo = os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf")
        prompts = ["Once upon a time", "The sea was", "Once upon a time there", "A"]
        want = {}
        for mode in "dense", "exact":
            for prompt in prompts:
                run = self.hunch("run", demo, "-p", prompt, "-n", "10", "--temperature", "0", "--ignore-end", "--json", "--quiet", "--mode", mode)
                want[mode, prompt] = run.json["text"]
        with Server(self, "--device", name, "--parallel", "3", "--ctx", "256", model=demo) as server:
            def ask(wanted):
                body = {"prompt": wanted[1], "max_tokens": 10, "mode": wanted[0], **GREEDY}
                return server.json("/v1/completions", body)["choices"][0]["text"]

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                for key, text in zip(want, pool.map(ask, want)):
                    self.assertEqual(text, want[key], key)
            again = [ask(("exact", prompts[0])) for _ in range(2)]  # what was read of it is still there
            self.assertEqual(again, [want["exact", prompts[0]]] * 2)
            status, _, text = server.request("/v1/completions", {"prompt": "A", "max_tokens": 2, "stream": True, "trace": True, **GREEDY})
            self.assertIn("(trace)", text, status)
            self.assertEqual(server.end(), 0)

    def test_the_benchmark_of_cards_runs(self):
        name = self.first()["name"]
        folder = self.path("bench")
        environment = {**self.environment(), "HUNCH": BINARY, "FOLDER": folder, "SHAPES": "llama-1.1b opt-6.7b", "TYPES": "f16", "PROMPT": "8",
                       "GENERATE": "2", "REPEATS": "1",
                       "SMALLER": "--n-layer 2 --n-embd 512 --n-ff 1024 --n-head 8 --n-kv-head 8 --n-vocab 1024"}
        done = subprocess.run(["bash", os.path.join(SOURCE, "bench", "device.sh"), name], env=environment, capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("left out", done.stdout)
        for title in "llama-1.1b, f16, dense", "opt-6.7b, f16, exact", "opt-6.7b, f16, sparse":
            self.assertIn(title, done.stdout)
        with open(os.path.join(folder, "results.json"), encoding="utf-8") as f:
            results = [json.loads(line) for line in f.read().splitlines() if line.startswith("{")]
        self.assertTrue(results)

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
