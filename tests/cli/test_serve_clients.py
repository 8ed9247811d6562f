"""Many clients of hunch serve, some of which behave badly; what they find when the server is full, or ends."""
import concurrent.futures
import json
import os
import signal
import socket
import struct
import time
import unittest

from fixtures import random_words
from serving import DEMO, GREEDY, Server, ServeTest, post


class ServeClients(ServeTest):
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


if __name__ == "__main__":
    unittest.main()
