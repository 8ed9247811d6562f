"""What hunch serve remembers of texts: in its cache, on disk, and where there is too little room."""
import concurrent.futures
import os
import signal
import unittest

from fixtures import random_words
from serving import DEMO, GREEDY, Server, ServeTest


class ServeMemory(ServeTest):
    def test_sparse_answers_are_what_they_are_without_a_memory(self):
        with Server(self, "--mode", "sparse", "--deterministic", model=DEMO) as server:
            body = {"max_tokens": 30, **GREEDY}
            first = server.json("/v1/completions", {**body, "prompt": "Once upon a time there was"})
            n_prompt = first["usage"]["prompt_tokens"]
            on = "Once upon a time there was" + first["choices"][0]["text"] + " And then"
            remembered = server.json("/v1/completions", {**body, "prompt": on})
            anew = server.json("/v1/completions", {**body, "prompt": on, "cache_prompt": False})
            self.assertEqual(remembered["choices"], anew["choices"])
            self.assertEqual(remembered["usage"]["prompt_tokens_details"]["cached_tokens"], n_prompt)
            self.assertEqual(anew["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
            alone = self.hunch("run", DEMO, "-p", on, "-n", "30", "--temperature", "0", "--ignore-end", "--quiet", "--json",
                               "--mode", "sparse", "--threads", "1").json
            self.assertEqual(remembered["choices"][0]["text"], alone["text"])
            # Another density is another plan, of that request alone.
            other = server.json("/v1/completions", {**body, "prompt": on, "density": 0.05})
            self.assertEqual(other["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
            self.assertEqual(server.end(), 0)

    def test_texts_outlive_the_server(self):
        folder = os.path.join(self.dir, "texts")
        prompt = random_words(40)
        body = {"prompt": prompt, "max_tokens": 8, **GREEDY}

        def cached(answer):
            return answer["usage"]["prompt_tokens_details"]["cached_tokens"]

        with Server(self, "--cache-dir", folder) as server:
            first = server.json("/v1/completions", body)
            self.assertEqual(cached(first), 0)
            self.assertEqual(server.end(), 0)
        self.assertEqual(len(os.listdir(folder)), 1)
        with Server(self, "--cache-dir", folder) as server:
            again = server.json("/v1/completions", body)
            self.assertGreater(cached(again), 64)
            self.assertEqual(again["choices"][0]["text"], first["choices"][0]["text"])
            server.end(signal.SIGKILL)
        name = os.path.join(folder, os.listdir(folder)[0])
        with open(name, "r+b") as file:  # damaged
            file.seek(-5000, os.SEEK_END)
            byte = file.read(1)
            file.seek(-5000, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        with Server(self, "--cache-dir", folder) as server:
            third = server.json("/v1/completions", body)
            self.assertEqual(cached(third), 0)
            self.assertEqual(third["choices"][0]["text"], first["choices"][0]["text"])
            self.assertEqual(server.end(), 0)

    def test_a_cache_too_small_for_the_load(self):
        # 192 tokens, fewer than half of what the answers grow to.
        with Server(self, "--parallel", "6", "--kv-memory", "0.0002", "--deterministic") as server:
            prompts = [random_words(4 + i) for i in range(6)]
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda p: server.json("/v1/completions", {
                    "prompt": p, "max_tokens": 60, **GREEDY}), prompts))
            for p, answer in zip(prompts, answers):
                self.assertEqual(answer["usage"]["completion_tokens"], 60)
                self.assertEqual(answer["choices"][0]["text"], self.run_alone(p, 60)["text"])
            self.assertGreater(server.metric("hunch:preemptions_total"), 0)
            self.assertEqual(server.metric("hunch:answers_paused"), 0)


if __name__ == "__main__":
    unittest.main()
