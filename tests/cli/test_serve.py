"""hunch serve from end to end: its API, many clients, and clients that behave badly."""
import concurrent.futures
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

from fixtures import BINARY, SOURCE, CliTest, random_words


class Server:
    """hunch serve at a port of its own, with its log."""

    def __init__(self, test, *arguments, model=None):
        self.process = subprocess.Popen([BINARY, "serve", model or test.opt, "--port", "0", "--json", "--threads", "1", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=test.environment(), text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()
        line = self.process.stdout.readline()
        assert line, f"no server: {self.lines}"
        self.ready = json.loads(line)
        self.url, self.port = self.ready["url"], self.ready["port"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        self.reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def end(self, how=signal.SIGTERM, timeout=60):
        """The exit code after a signal."""
        self.process.send_signal(how)
        code = self.process.wait(timeout)
        self.reader.join(10)
        return code

    def log(self):
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def wait_for_log(self, holds, timeout=20):
        end = time.time() + timeout
        while time.time() < end:
            for line in self.log():
                if holds(line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no such line in the log: {self.log()}")

    def request(self, path, body=None, headers=None, timeout=120, method=None):
        """(status, headers, text)"""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def json(self, path, body=None, status=200, **more):
        found, _, text = self.request(path, body, **more)
        assert found == status, f"{path}: status {found}, expected {status}: {text}"
        return json.loads(text)

    def refused(self, path, body, param, status=400):
        error = self.json(path, body, status)["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert error["param"] == param, error
        return error

    def stream(self, path, body):
        """The events of a stream, which ends with [DONE]."""
        status, headers, text = self.request(path, {**body, "stream": True})
        assert status == 200, text
        assert headers["Content-Type"] == "text/event-stream", headers
        events = text.split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""], events[-3:]
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]

    def metric(self, name):
        for line in self.request("/metrics")[2].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return s

    def raw(self, data):
        """What comes back for these bytes until the connection is closed."""
        with self.connect() as s:
            try:
                s.sendall(data)
            except OSError:
                pass
            out = b""
            while True:
                try:
                    part = s.recv(65536)
                except ConnectionResetError:
                    break
                if not part:
                    break
                out += part
            return out


def post(path, body, *headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *headers, "", ""]).encode() + data


DEMO = os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf")  # large enough that an answer takes its time
GREEDY = {"temperature": 0, "ignore_eos": True}


class Serve(CliTest):
    def run_alone(self, prompt, n, *arguments):
        return self.hunch("run", self.opt, "-p", prompt, "-n", str(n), "--temperature", "0", "--ignore-end", "--quiet",
                          "--json", "--threads", "1", *arguments).json

    def test_api(self):
        with Server(self, "--alias", "tiny") as server:
            self.assertEqual(server.json("/health"), {"status": "ok"})
            self.assertEqual(server.json("/v1/models")["data"][0]["id"], "tiny")
            self.assertEqual(server.json("/props")["total_slots"], 4)
            self.check_completions(server)
            self.check_chat(server)
            self.check_texts(server)
            self.check_errors(server)
            everything = json.dumps(server.json("/props")) + json.dumps(server.json("/v1/models")) + server.request("/metrics")[2]
            self.assertNotIn(self.dir, everything)
            self.assertGreater(server.metric("llamacpp:tokens_predicted_total"), 0)
            self.assertEqual(server.end(), 0)
            line = server.wait_for_log(lambda line: line["path"] == "/v1/completions" and line["status"] == 200)
            self.assertGreater(line["prompt_tokens"], 0)
            self.assertNotIn("AddressSanitizer", "".join(server.lines))
            self.assertNotIn("runtime error", "".join(server.lines))

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
        import base64
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

    def test_malformed_http(self):
        with Server(self, "--max-body", "1") as server:
            self.assertIn(b" 400 ", server.raw(b"nonsense\r\n\r\n"))
            self.assertIn(b" 431 ", server.raw(b"GET /health HTTP/1.1\r\n" + b"X: " + b"a" * 100000 + b"\r\n\r\n"))
            self.assertIn(b" 431 ", server.raw(b"GET /health HTTP/1.1\r\n" + b"X: a\r\n" * 20000 + b"\r\n"))
            self.assertIn(b" 413 ", server.raw(post("/v1/completions", b"x" * (3 << 20))))
            self.assertIn(b" 413 ", server.raw(b"POST /tokenize HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"))
            chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
            self.assertIn(b" 413 ", server.raw(b"POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 3 * chunk))
            self.assertIn(b" 400 ", server.raw(b"POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))
            # Two requests at once, a chunked body, HTTP/1.0, and one that asks before it sends its body.
            body = {"content": "the"}
            both = server.raw(post("/tokenize", body) + post("/tokenize", body, "Connection: close"))
            self.assertEqual(both.count(b"HTTP/1.1 200"), 2)
            data = json.dumps(body).encode()
            chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
            head = b"POST /tokenize HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            self.assertIn(b" 200 ", server.raw(head + chunked))
            old = server.raw(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (
                len(b'{"prompt": "a", "max_tokens": 2, "stream": true}'), b'{"prompt": "a", "max_tokens": 2, "stream": true}'))
            self.assertTrue(old.endswith(b"data: [DONE]\n\n"), old)
            with server.connect() as s:
                s.sendall(b"POST /tokenize HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(data))
                self.assertEqual(s.recv(1000), b"HTTP/1.1 100 Continue\r\n\r\n")
                s.sendall(data)
                self.assertIn(b" 200 ", s.recv(1000))
            self.assertEqual(server.json("/health"), {"status": "ok"})
            self.assertEqual(server.end(), 0)

    def test_many_clients_have_the_answers_that_they_have_alone(self):
        prompts = [random_words(3 + 7 * i % 40) for i in range(16)]
        with Server(self, "--parallel", "6", "--deterministic") as server:
            def ask(i):
                events = server.stream("/v1/completions", {"prompt": prompts[i], "max_tokens": 24 + i % 5, **GREEDY})
                return "".join(c["text"] for e in events for c in e["choices"])

            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                for _ in range(2):
                    answers = list(pool.map(ask, range(16)))
            for i, answer in enumerate(answers):
                self.assertEqual(answer, self.run_alone(prompts[i], 24 + i % 5)["text"], prompts[i])
            self.assertEqual(server.end(), 0)

    def test_idle_connections_and_clients_that_vanish(self):
        with Server(self, "--parallel", "2", model=DEMO) as server:
            idle = [server.connect() for _ in range(300)]
            long = {"prompt": "the end", "max_tokens": 190, "stream": True, **GREEDY}
            for how in ("close", "reset", "without stream"):
                s = server.connect()
                s.sendall(post("/v1/completions", {**long, "stream": how != "without stream"}))
                if how != "without stream":
                    self.assertIn(b" 200 ", s.recv(1000))
                if how == "reset":
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
            end = time.time() + 30
            while server.metric("hunch:jobs_total") < 3 and time.time() < end:
                time.sleep(0.02)
            self.assertEqual(server.metric("llamacpp:requests_processing"), 0)
            self.assertEqual(server.metric("hunch:jobs_cancelled_total"), 3)
            server.wait_for_log(lambda line: line["status"] == 499)
            threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
            self.assertLess(threads, 12)
            self.assertGreaterEqual(server.metric("hunch:connections"), 300)
            self.assertEqual(len(server.json("/v1/completions", {"prompt": "a", "max_tokens": 3})["choices"]), 1)
            for s in idle:
                s.close()
            while server.metric("hunch:connections") > 1 and time.time() < end:
                time.sleep(0.02)
            self.assertEqual(server.metric("hunch:connections"), 1)
            self.assertEqual(server.end(), 0)

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

    def test_slow_readers_do_not_stall_others(self):
        with Server(self, "--parallel", "2", model=DEMO) as server:
            slow = server.connect()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            body = {"prompt": "the end", "max_tokens": 300, "logprobs": 20, "stream": True, **GREEDY}
            slow.sendall(post("/v1/completions", body, "Connection: close"))
            for _ in range(3):
                server.json("/v1/completions", {"prompt": "a", "max_tokens": 5})
            with slow.makefile("rb") as f:
                text = b""
                while part := f.read(20000):
                    text += part
                    time.sleep(0.001)
            self.assertTrue(text.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), text[-100:])
            slow.close()
            self.assertEqual(server.end(), 0)

    def test_a_full_queue_and_a_key(self):
        with Server(self, "--parallel", "1", "--queue", "1", "--api-key", "secret", model=DEMO) as server:
            key = {"Authorization": "Bearer secret"}
            self.assertEqual(server.json("/health"), {"status": "ok"})
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"Authorization": "Bearer secretsecret"}):
                status, found, text = server.request("/v1/models", headers=headers)
                self.assertEqual((status, found["WWW-Authenticate"]), (401, "Bearer"))
                self.assertEqual(json.loads(text)["error"]["code"], "invalid_api_key")
            self.assertEqual(server.request("/v1/models", headers={"x-api-key": "secret"})[0], 200)
            body = {"prompt": "the end", "max_tokens": 190, **GREEDY}
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda _: server.request("/v1/completions", body, key), range(8)))
            statuses = sorted(status for status, _, _ in found)
            self.assertEqual(statuses[0], 200)
            self.assertEqual(statuses[-1], 429)
            refused = next(f for f in found if f[0] == 429)
            self.assertEqual(refused[1]["Retry-After"], "1")
            self.assertEqual(json.loads(refused[2])["error"]["type"], "rate_limit_error")
            self.assertEqual(server.end(signal.SIGINT), 0)

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

    def test_a_signal_lets_running_answers_end(self):
        with Server(self, "--parallel", "2", model=DEMO) as server:
            body = {"prompt": "the end", "max_tokens": 150, "stream": True, **GREEDY}
            running = [server.connect() for _ in range(2)]
            for s in running:
                s.sendall(post("/v1/completions", body))
            firsts = [s.recv(100) for s in running]
            waiting = server.connect()
            waiting.sendall(post("/v1/completions", body))
            time.sleep(0.05)
            self.assertEqual(server.end(), 0)
            for s, first in zip(running, firsts):
                with s.makefile("rb") as f:
                    text = first + f.read()
                self.assertTrue(text.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), text[-200:])
                s.close()
            waiting.close()

    def test_the_grace_period_ends(self):
        with Server(self, "--grace", "0", model=DEMO) as server:
            s = server.connect()
            s.sendall(post("/v1/completions", {"prompt": "the end", "max_tokens": 190, "stream": True, **GREEDY}))
            s.recv(100)
            self.assertEqual(server.end(), 0)
            s.close()

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
