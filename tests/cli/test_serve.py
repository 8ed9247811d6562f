"""hunch serve from end to end: what its API answers."""
import base64
import concurrent.futures
import json
import os
import re
import socket
import struct
import unittest

from fixtures import random_words
from serving import GREEDY, Server, ServeTest


class Serve(ServeTest):
    def test_api(self):
        with Server(self, "--alias", "tiny") as server:
            self.assertEqual(server.json("/health"), {"status": "ok"})
            self.assertEqual(server.json("/v1/models")["data"][0]["id"], "tiny")
            self.assertEqual(server.json("/props")["total_slots"], 4)
            self.check_completions(server)
            self.check_best_of(server)
            self.check_beams(server)
            self.check_chat(server)
            self.check_texts(server)
            self.check_errors(server)
            everything = json.dumps(server.json("/props")) + json.dumps(server.json("/v1/models")) + server.request("/metrics")[2]
            self.assertNotIn(self.dir, everything)
            self.assertGreater(server.metric("llamacpp:tokens_predicted_total"), 0)
            self.check_metrics(server)
            self.assertEqual(server.end(), 0)
            line = server.wait_for_log(lambda line: line["path"] == "/v1/completions" and line["status"] == 200)
            self.assertGreater(line["prompt_tokens"], 0)
            self.assertNotIn("AddressSanitizer", "".join(server.lines))
            self.assertNotIn("runtime error", "".join(server.lines))

    def check_beams(self, server):
        body = {"prompt": "the end of", "max_tokens": 8, "temperature": 0, "logprobs": 0, "ignore_eos": True}
        drawn = server.json("/v1/completions", body)
        greedy = drawn["choices"][0]

        def log_prob(choice):
            return sum(choice["logprobs"]["token_logprobs"])

        alone = server.json("/v1/completions", {**body, "use_beam_search": True, "best_of": 1})["choices"][0]
        self.assertEqual(alone["text"], greedy["text"])
        best = server.json("/v1/completions", {**body, "use_beam_search": True, "best_of": 6, "n": 3})
        log_probs = [log_prob(c) for c in best["choices"]]
        self.assertEqual(log_probs, sorted(log_probs, reverse=True))
        self.assertGreaterEqual(log_probs[0], log_prob(greedy) - 1e-4)
        self.assertEqual(len({c["text"] for c in best["choices"]}), 3)
        self.assertEqual(best["usage"]["completion_tokens"], 24)
        self.assertEqual(best["usage"]["prompt_tokens"], drawn["usage"]["prompt_tokens"])
        stop = best["choices"][0]["text"][4:6]
        stopped = server.json("/v1/completions", {**body, "use_beam_search": True, "best_of": 6, "n": 6, "stop": [stop]})
        self.assertTrue(all(stop not in c["text"] for c in stopped["choices"]))
        self.assertIn("stop", [c["finish_reason"] for c in stopped["choices"]])
        events = server.stream("/v1/completions", {**body, "use_beam_search": True, "best_of": 6})
        self.assertEqual("".join(c["text"] for e in events for c in e["choices"]), best["choices"][0]["text"])
        for more, param in (({"temperature": 0.7}, "use_beam_search"), ({"top_k": 5}, "use_beam_search"), ({"lossless": True}, "lossless"),
                            ({"logprobs": 2}, "logprobs"), ({"regex": "a+"}, "regex"), ({"max_tokens": 0}, "max_tokens"), ({"echo": True}, "echo")):
            server.refused("/v1/completions", {**body, "use_beam_search": True, **more}, param)
        server.refused("/v1/completions", {**body, "length_penalty": 2}, "length_penalty")

    def check_metrics(self, server):
        steps = server.metric("hunch:step_answers_count")
        self.assertEqual(steps, server.metric("llamacpp:n_decode_total"))
        self.assertGreaterEqual(server.metric("hunch:step_answers_sum"), steps)
        for part in ("mlp", "head"):
            count, sum_ = server.metric(f"hunch:{part}_density_count"), server.metric(f"hunch:{part}_density_sum")
            self.assertGreater(count, 0)
            self.assertGreater(sum_, 0)
            self.assertLessEqual(sum_, count)
        before = [server.metric(f"hunch:draft_tokens_{name}") for name in ("total", "accepted_total")]
        said = " ".join(["the end of a thing and"] * 6)
        server.json("/v1/completions", {"prompt": said, "max_tokens": 60, "lossless": True, **GREEDY})
        drafted, kept = (server.metric(f"hunch:draft_tokens_{name}") - n for name, n in zip(("total", "accepted_total"), before))
        self.assertGreater(drafted, 0)
        self.assertLessEqual(kept, drafted)
        self.assertGreater(server.metric("hunch:draft_acceptance_count"), 0)

    def check_completions(self, server):
        alone = self.run_alone("the end of", 12)
        body = {"prompt": "the end of", "max_tokens": 12, **GREEDY}
        answer = server.json("/v1/completions", body)
        self.assertEqual(answer["choices"][0]["text"], alone["text"])
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        self.assertEqual(answer["usage"]["prompt_tokens"], alone["n_prompt"])
        self.assertEqual(answer["usage"]["completion_tokens"], 12)
        self.assertEqual(answer["object"], "text_completion")
        # The same from ids, with drafts, dense; several at once; as a stream.
        ids = server.json("/tokenize", {"content": "the end of", "add_special": True})["tokens"]
        for more in ({"prompt": ids}, {"lossless": True}, {"mode": "dense"}, {"cache_prompt": False}):
            self.assertEqual(server.json("/v1/completions", {**body, **more})["choices"][0]["text"], alone["text"], more)
        several = server.json("/v1/completions", {**body, "prompt": ["the end of", "a thing"], "n": 2})
        self.assertEqual([c["index"] for c in several["choices"]], [0, 1, 2, 3])
        self.assertEqual([several["choices"][i]["text"] for i in (0, 1)], [alone["text"]] * 2)
        events = server.stream("/v1/completions", {**body, "stream_options": {"include_usage": True}})
        self.assertEqual("".join(c["text"] for e in events for c in e["choices"]), alone["text"])
        self.assertEqual(events[-1]["choices"], [])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 12)
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], "length")
        # Seeds, stop strings, log-probabilities with the prompt's.
        sampled = {**body, "temperature": 1.0, "seed": 5}
        self.assertEqual(server.json("/v1/completions", sampled)["choices"], server.json("/v1/completions", sampled)["choices"])
        stop = alone["text"][3:5]
        stopped = server.json("/v1/completions", {**body, "stop": [stop]})["choices"][0]
        self.assertEqual(stopped["text"], alone["text"][: alone["text"].index(stop)])
        self.assertEqual(stopped["finish_reason"], "stop")
        echo = server.json("/v1/completions", {**body, "echo": True, "logprobs": 2, "max_tokens": 1})["choices"][0]
        self.assertEqual(echo["text"], "the end of" + self.run_alone("the end of", 1)["text"])
        log_probs = echo["logprobs"]
        self.assertEqual(len(log_probs["tokens"]), len(ids) + 1)
        self.assertIsNone(log_probs["token_logprobs"][0])
        self.assertTrue(all(p <= 0 for p in log_probs["token_logprobs"][1:]))
        self.assertEqual(len(log_probs["top_logprobs"][1]), 2)
        self.assertEqual(log_probs["token_logprobs"][-1], max(log_probs["top_logprobs"][-1].values()))
        scored = server.json("/v1/completions", {**body, "echo": True, "logprobs": 0, "max_tokens": 0})["choices"][0]
        for a, b in zip(scored["logprobs"]["token_logprobs"][1:], log_probs["token_logprobs"][1:-1]):
            self.assertAlmostEqual(a, b, places=4)
        banned = log_probs["top_logprobs"][-1]
        first = max(banned, key=banned.get)
        first_id = self.run_alone("the end of", 1)["ids"][0]
        other = server.json("/v1/completions", {**body, "max_tokens": 1, "logprobs": 1, "logit_bias": {str(first_id): -100}})
        self.assertNotEqual(other["choices"][0]["logprobs"]["tokens"][0], first)

    def check_best_of(self, server):
        body = {"prompt": "the end of", "max_tokens": 6, "ignore_eos": True, "temperature": 1.5, "seed": 7, "logprobs": 0}
        all_of_them = server.json("/v1/completions", {**body, "n": 6})["choices"]

        def mean(choice):
            log_probs = choice["logprobs"]["token_logprobs"]
            return sum(log_probs) / len(log_probs)

        best = server.json("/v1/completions", {**body, "n": 2, "best_of": 6})
        expected = sorted(all_of_them, key=mean, reverse=True)[:2]
        self.assertEqual([c["text"] for c in best["choices"]], [c["text"] for c in expected])
        self.assertEqual([c["index"] for c in best["choices"]], [0, 1])
        self.assertEqual(best["usage"]["completion_tokens"], 36)
        quiet = {name: value for name, value in body.items() if name != "logprobs"}
        self.assertEqual(server.json("/v1/completions", {**quiet, "best_of": 6})["choices"][0]["text"], expected[0]["text"])
        server.refused("/v1/completions", {**body, "best_of": 2, "stream": True}, "best_of")
        server.refused("/v1/completions", {**body, "n": 3, "best_of": 2}, "best_of")
        server.refused("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "best_of": 2}, "best_of")

    def check_chat(self, server):
        messages = [{"role": "system", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "the end"}]}]
        prompt = server.json("/apply-template", {"messages": messages})["prompt"]
        self.assertTrue(prompt.endswith("<assistant>"), prompt)
        body = {"messages": messages, "max_tokens": 9, **GREEDY}
        answer = server.json("/v1/chat/completions", body)
        self.assertEqual(answer["choices"][0]["message"]["role"], "assistant")
        self.assertEqual(answer["usage"]["completion_tokens"], 9)
        self.assertEqual(answer["choices"][0]["message"]["content"],
                         self.run_alone(prompt, 9, "--no-bos")["text"].lstrip(" \n"))
        events = server.stream("/v1/chat/completions", {**body, "n": 2, "logprobs": True, "top_logprobs": 2})
        for index in (0, 1):
            mine = [e["choices"][0] for e in events if e["choices"][0]["index"] == index]
            self.assertEqual(mine[0]["delta"], {"role": "assistant", "content": ""})
            self.assertEqual("".join(c["delta"].get("content", "") for c in mine), answer["choices"][0]["message"]["content"])
            self.assertEqual(sum(len(c["logprobs"]["content"]) for c in mine[1:]), 9)
            self.assertEqual(mine[-1]["finish_reason"], "length")
        # The next turn begins with what is known.
        content = answer["choices"][0]["message"]["content"]
        turn = [*messages, {"role": "assistant", "content": content}, {"role": "user", "content": "on"}]
        again = server.json("/v1/chat/completions", {**body, "messages": turn})
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 5)

    def check_texts(self, server):
        ids = server.json("/tokenize", {"content": "the end"})["tokens"]
        self.assertEqual(server.json("/detokenize", {"tokens": ids}), {"content": "the end", "prompt": "the end"})
        pieces = server.json("/tokenize", {"content": "the end", "with_pieces": True})["tokens"]
        self.assertEqual("".join(p["piece"] for p in pieces), "the end")
        vectors = server.json("/v1/embeddings", {"input": ["the end", "a thing"]})
        expected = self.hunch("embed", self.opt, "the end", "--json", "--threads", "1").json["embeddings"][0]["embedding"]
        for a, b in zip(vectors["data"][0]["embedding"], expected):
            self.assertAlmostEqual(a, b, places=5)
        coded = server.json("/v1/embeddings", {"input": "the end", "encoding_format": "base64"})["data"][0]["embedding"]
        values = struct.unpack(f"<{len(expected)}f", base64.b64decode(coded))
        self.assertAlmostEqual(values[0], expected[0], places=5)
        self.assertIn("no head", server.json("/v1/rerank", {"query": "a", "documents": ["b"]}, 400)["error"]["message"])

    def check_errors(self, server):
        server.refused("/v1/completions", {"prompt": "a", "temperature": "hot"}, "temperature")
        server.refused("/v1/completions", {"prompt": [99999]}, "prompt")
        server.refused("/v1/completions", {"prompt": "a", "logit_bias": {"99999": 1}}, "logit_bias")
        server.refused("/v1/completions", {"prompt": "a", "mode": "sparse"}, "mode")
        server.refused("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "tools": [{}]}, "tools")
        error = server.refused("/v1/completions", {"prompt": random_words(2000)}, "prompt")
        self.assertEqual(error["code"], "context_length_exceeded")
        for body in (b"", b"{", b"[]", b"\xff\xfe\x00", b'{"prompt": "\xc3"}', b"[" * 1000000, b'{"prompt": 1e999}'):
            server.refused("/v1/completions", body, None)
        self.assertEqual(server.json("/nothing", status=404)["error"]["code"], "not_found")
        self.assertEqual(server.json("/v1/completions", status=405)["error"]["code"], "method_not_allowed")
        self.assertEqual(server.json("/health", {}, 405)["error"]["code"], "method_not_allowed")

    def test_what_tokens_used_of_a_planted_model(self):
        """A fifth of the neurons is planted to be active: each token says so, whatever shares its steps."""
        planted = os.path.join(self.dir, "planted.gguf")
        self.hunch("synth", "--shape", "opt-125m", "-o", planted, "--n-layer", "3", "--n-embd", "128", "--n-ff", "1024", "--n-head",
                   "4", "--n-vocab", "512", "--n-ctx", "256", "--density", "0.2", "--contexts", "16", "--sidecar")
        alone = self.hunch("run", planted, "-p", "word", "-n", "24", "--temperature", "0", "--ignore-end", "--quiet", "--json",
                           "--mode", "exact").json
        with Server(self, "--parallel", "4", model=planted) as server:
            def used(mode):
                events = server.stream("/v1/completions", {"prompt": "word", "max_tokens": 24, "mode": mode, "trace": True, **GREEDY})
                return [t for e in events for c in e["choices"] for t in c.get("hunch", {}).get("tokens", [])]

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                dense, exact, sparse, _ = pool.map(used, ("dense", "exact", "sparse", "dense"))
            for tokens in (dense, exact, sparse):
                self.assertEqual(len(tokens), 24)
                for token in tokens:
                    self.assertEqual(set(token), {"neurons", "heads", "keys"})
                    self.assertEqual(token["heads"], [1000] * 3)
                    self.assertEqual(token["keys"], [1000] * 3)
                self.assertEqual(tokens[0]["neurons"], [1000] * 3)  # the pass over the prompt chose it
            self.assertTrue(all(token["neurons"] == [1000] * 3 for token in dense))
            for layer in range(3):
                mean = sum(token["neurons"][layer] for token in exact[1:]) / 23 / 1000
                self.assertAlmostEqual(mean, alone["density_mlp_per_layer"][layer], delta=0.002)
                self.assertAlmostEqual(mean, 0.2, delta=0.05)
                self.assertLess(sum(token["neurons"][layer] for token in sparse[1:]) / 23, 600)
            plain = server.stream("/v1/completions", {"prompt": "word", "max_tokens": 4, **GREEDY})
            self.assertNotIn("hunch", json.dumps([e["choices"] for e in plain]))
            chat = server.refused("/v1/completions", {"prompt": "a", "trace": True}, "trace")
            self.assertIn("stream", chat["message"])
            self.assertEqual(server.end(), 0)

    def test_the_page(self):
        with Server(self, "--api-key", "secret") as server:
            status, headers, text = server.request("/")
            self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            for path in re.findall(r'(?:src|href)="\./([^"]+)"', text):
                self.assertEqual(server.request(f"/{path}")[0], 200, path)
            status, again, text = server.request("/", headers={"If-None-Match": headers["ETag"]})
            self.assertEqual((status, text, again["ETag"]), (304, "", headers["ETag"]))
            self.assertEqual(server.request("/props")[0], 401)
            self.assertEqual(server.request("/", {}, {"Authorization": "Bearer secret"})[0], 405)
            self.assertEqual(server.end(), 0)

    def test_flags(self):
        self.refused(2, "serve", says="which model?")
        self.refused(2, "serve", self.opt, "--port", "70000", says="--port is 70000")
        self.refused(2, "serve", self.opt, "--parallel", "0", says="--parallel is 0")
        self.refused(2, "serve", self.opt, "--kv-memory", "0.00001", says="fewer than one context")
        self.refused(2, "serve", self.opt, "--kv-memory", "-1", says="--kv-memory is -1")
        self.refused(2, "serve", self.opt, "--cache-size", "0", says="--cache-size is 0")
        self.refused(1, "serve", self.opt, "--cache-dir", "/dev/null/x", says="/dev/null/x")
        self.refused(2, "serve", self.opt, "--host", "nowhere", says="no IP address")
        self.refused(2, "serve", self.opt, "--kv-policy", "h2o:16", "--kv-policy", "h2o:8", says="--kv-policy")
        self.refused(2, "serve", self.opt, "--api-key", "a", "--api-key-file", "b", says="not both")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.refused(1, "serve", self.opt, "--port", str(taken.getsockname()[1]), says="cannot listen")


if __name__ == "__main__":
    unittest.main()
