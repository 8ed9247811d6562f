"""hunch serve's other APIs from end to end, on a model that says what it was made to say: Anthropic's, OpenAI's responses,
Ollama's, llama.cpp's; adapters and key policies of a request; whose requests are refused."""
import json
import os
import time
import unittest

import test_adapters
from fixtures import CliTest
from parrot import SAYS, write_parrot
from serving import GREEDY, Server, post

HELLO = [{"role": "user", "content": "hello"}]
COUNT = [{"role": "user", "content": "count"}]


class ServeApis(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parrot = write_parrot(os.path.join(cls.dir, "parrot"))

    def sse(self, server, path, body):
        """(name, data) of every event."""
        status, headers, text = server.request(path, {**body, "stream": True})
        self.assertEqual((status, headers["Content-Type"]), (200, "text/event-stream"), text)
        out = []
        for event in text.split("\n\n")[:-1]:
            name, data = event.split("\n")
            out.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
            self.assertEqual(out[-1][0], out[-1][1]["type"])
        return out

    def test_apis(self):
        with Server(self, "--alias", "parrot", "--ctx", "256", model=self.parrot) as server:
            self.check_anthropic(server)
            self.check_responses(server)
            self.check_ollama(server)
            self.check_native(server)
            self.check_models(server)
            self.check_errors(server)
            self.assertEqual(server.end(), 0)
            self.assertNotIn("AddressSanitizer", "".join(server.lines))
            self.assertNotIn("runtime error", "".join(server.lines))

    def check_anthropic(self, server):
        body = {"max_tokens": 20, "messages": HELLO, "temperature": 0}
        answer = server.json("/v1/messages?beta=true", body)
        self.assertEqual(answer["content"], [{"type": "text", "text": SAYS}])
        self.assertEqual(answer["stop_reason"], "end_turn")
        n_prompt = answer["usage"]["input_tokens"] + answer["usage"]["cache_read_input_tokens"]
        self.assertEqual(server.json("/v1/messages/count_tokens", {"messages": HELLO}), {"input_tokens": n_prompt})
        events = self.sse(server, "/v1/messages", body)
        self.assertEqual([name for name, _ in events[:3]], ["message_start", "ping", "content_block_start"])
        self.assertEqual("".join(e["delta"]["text"] for n, e in events if n == "content_block_delta"), SAYS)
        self.assertEqual(events[-2][1]["usage"]["output_tokens"], answer["usage"]["output_tokens"])
        # What was remembered is told at the start too.
        usage = events[0][1]["message"]["usage"]
        self.assertEqual((usage["input_tokens"], usage["cache_read_input_tokens"]), (1, n_prompt - 1))

    def check_responses(self, server):
        body = {"input": "hello", "temperature": 0}
        first = server.json("/v1/responses", {**body, "instructions": "be kind"})
        self.assertEqual(first["output"][0]["content"][0]["text"], SAYS)
        self.assertEqual(server.json(f"/v1/responses/{first['id']}"), first)
        unkept = server.json("/v1/responses", {**body, "store": False})
        self.assertEqual(server.json(f"/v1/responses/{unkept['id']}", status=404)["error"]["code"], "not_found")
        error = server.refused("/v1/responses", {**body, "previous_response_id": unkept["id"]}, "previous_response_id")
        self.assertEqual(error["code"], "previous_response_not_found")
        events = self.sse(server, "/v1/responses", {**body, "previous_response_id": first["id"]})
        self.assertEqual([e["sequence_number"] for _, e in events], list(range(len(events))))
        self.assertEqual(events[-1][0], "response.completed")
        self.assertGreater(events[-1][1]["response"]["usage"]["input_tokens_details"]["cached_tokens"], 0)
        self.assertEqual(server.json("/v1/responses", {**body, "input": "count", "max_output_tokens": 2})["status"], "incomplete")
        status, _, text = server.request(f"/v1/responses/{first['id']}", method="DELETE")
        self.assertEqual((status, json.loads(text)["deleted"]), (200, True))

    def check_ollama(self, server):
        body = {"messages": HELLO, "options": {"temperature": 0, "repeat_penalty": 1}}
        status, headers, text = server.request("/api/chat", body)
        self.assertEqual((status, headers["Content-Type"]), (200, "application/x-ndjson"))
        lines = [json.loads(line) for line in text.splitlines()]
        self.assertEqual("".join(line["message"]["content"] for line in lines), SAYS)
        self.assertEqual([line["done"] for line in lines], [False] * (len(lines) - 1) + [True])
        self.assertEqual(lines[-1]["done_reason"], "stop")
        self.assertEqual(server.json("/api/chat", {**body, "stream": False, "think": True})["message"]["thinking"], "let me see")
        self.assertEqual(server.json("/api/chat", {"model": "parrot", "stream": False})["done_reason"], "load")
        raw = server.json("/api/generate", {"prompt": "x<p:say>", "raw": True, "stream": False, "options": body["options"]})
        self.assertEqual(raw["response"], SAYS)
        vectors = server.json("/api/embed", {"input": ["a", "b" * 1000]})
        self.assertEqual(len(vectors["embeddings"]), 2)
        self.assertIn("1001 tokens", server.json("/api/embed", {"input": "b" * 1000, "truncate": False}, 400)["error"])
        self.assertEqual(server.json("/api/tags")["models"][0]["name"], "parrot")
        self.assertEqual(server.json("/api/ps")["models"][0]["context_length"], 256)
        self.assertIn("hunch pull", server.json("/api/pull", {"model": "x"}, 501)["error"])
        self.assertIn("num_ctx", server.json("/api/chat", {**body, "options": {"num_ctx": 1000}}, 400)["error"])

    def check_native(self, server):
        body = {"prompt": "x<p:say>", "temperature": 0}
        answer = server.json("/completion", {**body, "return_tokens": True, "n_probs": 1})
        self.assertEqual((answer["content"], answer["stop_type"], answer["model"]), (SAYS, "eos", "parrot"))
        self.assertEqual(len(answer["tokens"]), answer["tokens_predicted"])
        self.assertEqual(len(answer["completion_probabilities"]), answer["tokens_predicted"])
        status, headers, text = server.request("/completion", {**body, "stream": True})
        self.assertEqual((status, headers["Content-Type"]), (200, "text/event-stream"))
        events = [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]
        self.assertEqual("".join(e["content"] for e in events), SAYS)
        self.assertEqual([e["stop"] for e in events], [False] * (len(events) - 1) + [True])
        ids = server.json("/tokenize", {"content": "x", "add_special": True})["tokens"]
        mixed = server.json("/completion", {**body, "prompt": [*ids, "<p:say>"]})
        self.assertEqual((mixed["content"], mixed["tokens_evaluated"]), (SAYS, answer["tokens_evaluated"]))
        several = server.json("/completion", {**body, "prompt": ["x<p:say>", "<p:count>"], "n_predict": 2})
        self.assertEqual([a["stop_type"] for a in several], ["limit", "limit"])
        self.assertEqual(several[1]["content"].split(), ["one", "two"])
        server.refused("/completion", {**body, "mirostat": 1}, "mirostat")
        server.refused("/completion", {}, "prompt")

    def check_models(self, server):
        self.assertEqual(server.json("/v1/models/parrot")["id"], "parrot")
        self.assertEqual(server.json("/v1/models/p%61rrot")["id"], "parrot")
        self.assertEqual(server.json("/v1/models/other", status=404)["error"]["code"], "model_not_found")
        self.assertEqual(len(server.json("/slots")), 4)
        self.assertEqual(server.json("/lora-adapters"), [])

    def check_errors(self, server):
        """In each API's own form, whatever is wrong."""
        for body, status in ((b"{", 400), ({"messages": 3}, 400)):
            self.assertEqual(server.json("/v1/messages", body, status)["type"], "error")
            self.assertEqual(list(server.json("/api/chat", body, status)), ["error"])
            self.assertEqual(set(server.json("/v1/responses", body, status)["error"]), {"message", "type", "param", "code"})
        self.assertEqual(server.json("/v1/messages/batches", {}, 404)["error"]["type"], "not_found_error")
        self.assertIsInstance(server.json("/api/nothing", {}, 404)["error"], str)
        self.assertEqual(server.json("/v1/messages", status=405)["error"]["type"], "invalid_request_error")
        large = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        self.assertIn(b'"request_too_large"', server.raw(large % b"/v1/messages"))
        self.assertIn(b'{"error":"the request', server.raw(large % b"/api/chat"))
        for path in "/v1/messages", "/api/chat", "/v1/responses":
            body = {"messages": HELLO, "input": "a", "max_tokens": 5, "kv_policy": "lru:3", "options": {"kv_policy": "lru:3"}}
            self.assertIn("kv_policy", json.dumps(server.json(path, body, 400)), path)

    def test_penalties_reuse_what_is_known(self):
        with Server(self, "--deterministic") as server:
            body = {"prompt": "the end of a thing is in the other", "max_tokens": 20, "frequency_penalty": 1.5, **GREEDY}
            anew = server.json("/v1/completions", {**body, "cache_prompt": False})
            again = server.json("/v1/completions", body)
            remembered = server.json("/v1/completions", body)
            self.assertEqual(again["choices"], anew["choices"])
            self.assertEqual(remembered["choices"], anew["choices"])
            self.assertGreater(remembered["usage"]["prompt_tokens_details"]["cached_tokens"], 5)
            self.assertEqual(server.end(), 0)

    def test_key_policies_of_requests(self):
        with Server(self) as server:
            body = {"prompt": "the end of a thing is in the other one he said", "max_tokens": 30, **GREEDY}
            for policy in "streaming:16", "h2o:12":
                alone = self.hunch("run", self.opt, "-p", body["prompt"], "-n", "30", "--temperature", "0", "--ignore-end", "--quiet",
                                   "--json", "--threads", "1", "--kv-policy", policy).json
                for _ in range(2):  # nothing of it is remembered
                    answer = server.json("/v1/completions", {**body, "kv_policy": policy})
                    self.assertEqual(answer["choices"][0]["text"], alone["text"], policy)
                    self.assertEqual(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
            server.refused("/v1/completions", {**body, "kv_policy": "h2o:12", "lossless": True}, "kv_policy")
            server.refused("/v1/completions", {**body, "kv_policy": "lru:3"}, "kv_policy")
            self.assertEqual(server.end(), 0)

    def test_adapters_of_requests(self):
        with open(os.path.join(self.opt, "config.json"), encoding="utf-8") as f:
            type(self).config = json.load(f)
        tone, style = (test_adapters.Adapters.write_adapter.__func__(type(self), name, seed) for name, seed in (("tone", 1), ("style", 2)))
        prompt = "the end of a thing is in the other one"

        def alone(*loras):
            options = [word for lora in loras for word in ("--lora", lora)]
            return self.hunch("run", self.opt, "-p", prompt, "-n", "20", "--temperature", "0", "--ignore-end", "--quiet", "--json",
                              "--threads", "1", *options).json["text"]

        expected = {"none": alone(), "tone": alone(tone), "half": alone(tone + ":0.5"), "both": alone(tone, style + ":0.25")}
        self.assertGreater(len(set(expected.values())), 2)
        with Server(self, "--lora", tone, "--lora", style + ":0") as server:
            def ask(**more):
                answer = server.json("/v1/completions", {"prompt": prompt, "max_tokens": 20, **GREEDY, **more})
                return answer["choices"][0]["text"], answer["usage"]["prompt_tokens_details"]["cached_tokens"]

            self.assertEqual(server.json("/lora-adapters"), [{"id": 0, "path": "tone", "scale": 1.0}, {"id": 1, "path": "style", "scale": 0.0}])
            both = [{"id": 0, "scale": 1}, {"id": 1, "scale": 0.25}]
            asked = ({}, "tone"), ({"lora": "none"}, "none"), ({"lora": [{"id": 0, "scale": 0.5}]}, "half"), ({"lora": both}, "both")
            for more, name in asked:
                self.assertEqual(ask(**more), (expected[name], 0), name)  # none remembers what another one computed
            for more, name in asked:
                text, n_cached = ask(**more)
                self.assertEqual(text, expected[name])
                self.assertGreater(n_cached, 5)
            self.assertEqual(ask(lora="tone")[0], expected["tone"])
            server.refused("/v1/completions", {"prompt": "a", "lora": "other"}, "lora")
            server.refused("/v1/completions", {"prompt": "a", "lora": [{"id": 2, "scale": 1}]}, "lora.id")
            self.assertEqual(server.json("/lora-adapters", [{"id": 0, "scale": 0.5}]), {"success": True})
            self.assertEqual(ask()[0], expected["half"])
            self.assertEqual(server.json("/lora-adapters")[0]["scale"], 0.5)
            self.assertNotIn(self.dir, json.dumps(server.json("/lora-adapters")))
            self.assertEqual(server.end(), 0)

    def test_slots(self):
        for more in [], ["--slots-prompts"]:
            with Server(self, *more, model=self.parrot) as server:
                s = server.connect()
                s.sendall(post("/v1/chat/completions", {"messages": COUNT, "stream": True, "temperature": 0}))
                s.recv(300)
                end, n_decoded = time.time() + 20, 0
                while n_decoded == 0 and time.time() < end:  # told after the step
                    busy = [slot for slot in server.json("/slots") if slot["is_processing"]]
                    self.assertEqual(len(busy), 1)
                    n_decoded = busy[0]["next_token"][0]["n_decoded"]
                self.assertGreater(n_decoded, 0)
                self.assertEqual(busy[0].get("prompt", "").find("count") >= 0, bool(more))
                s.close()
                self.assertEqual(server.end(), 0)

    def test_pages_of_the_web_are_refused(self):
        with Server(self, "--allow-host", "my-box", "--api-key", "k") as server:
            key = {"Authorization": "Bearer k"}
            for headers, status in (({}, 200), ({"Host": "evil.example"}, 403), ({"Host": "my-box:80"}, 200),
                                    ({"Origin": "http://evil.example"}, 403), ({"Origin": server.url}, 200)):
                found, got, text = server.request("/v1/models", headers={**key, **headers})
                self.assertEqual(found, status, headers)
                self.assertIsNone(got["Access-Control-Allow-Origin"])
            error = json.loads(server.request("/v1/messages", {}, {**key, "Host": "evil.example"})[2])
            self.assertEqual(error["error"]["type"], "permission_error")
            self.assertEqual(server.end(), 0)
        with Server(self, "--cors", "http://app.example", "--api-key", "k") as server:
            origin = {"Origin": "http://app.example"}
            status, got, _ = server.request("/v1/chat/completions", headers=origin, method="OPTIONS")
            self.assertEqual((status, got["Access-Control-Allow-Origin"]), (200, "http://app.example"))
            self.assertIn("POST", got["Access-Control-Allow-Methods"])
            status, got, _ = server.request("/v1/models", headers=origin)
            self.assertEqual((status, got["Access-Control-Allow-Origin"]), (401, "http://app.example"))
            self.assertEqual(server.request("/v1/models", headers={"Origin": "http://evil.example"})[0], 403)
            self.assertEqual(server.request("/v1/models", headers={"Origin": "http://evil.example"}, method="OPTIONS")[0], 403)
            self.assertEqual(server.end(), 0)

    def test_bodies_of_all_connections_share_a_limit(self):
        with Server(self) as server:
            head = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (16 << 20)
            waiting = [server.connect() for _ in range(4)]
            for s in waiting:
                s.sendall(head)
            time.sleep(0.3)
            self.assertIn(b" 503 ", server.raw(head))
            chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
            self.assertIn(b" 503 ", server.raw(b"POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk))
            for s in waiting:
                s.close()
            end = time.time() + 20
            while server.metric("hunch:connections") > 1 and time.time() < end:
                time.sleep(0.02)
            self.assertEqual(server.json("/tokenize", {"content": "the" * (5 << 18)})["tokens"][:1], server.json("/tokenize", {"content": "the"})["tokens"])
            self.assertEqual(server.end(), 0)

    def test_long_texts_stop_when_their_client_leaves(self):
        with Server(self, model=self.parrot) as server:
            texts = ["the end " * 500] * 400
            for path in "/v1/embeddings", "/api/embed":
                s = server.connect()
                s.sendall(post(path, {"input": texts}))
                time.sleep(0.2)
                s.close()
                server.wait_for_log(lambda line: line["path"] == path and line["status"] == 499)
                began = time.time()
                server.json("/v1/completions", {"prompt": "a", "max_tokens": 1})
                self.assertLess(time.time() - began, 5)
            self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    unittest.main()
