"""What scripts/serve_soak.sh does."""
import argparse
import collections
import http.client
import json
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time

N_CLIENTS, N_IDLE, N_PARALLEL, N_CTX = 32, 1000, 8, 384
LEAST_GAP = 0.05  # of log-probabilities
MODES = {"dense": {"mode": "dense"}, "exact": {}, "lossless": {"lossless": True}, "sparse": {"mode": "sparse"}}
PROMPTS = ["Once upon a time", "The old king said", "In the middle of the night she heard", "He went on to see what it might be, and",
           "A dog and a cat lived in a house near the river. One day the dog said to the cat:", "It was", "Far away in the hills " * 12]


class Soak:
    def __init__(self, options):
        self.options = options
        self.found = collections.Counter()
        self.problems = []
        self.lock = threading.Lock()
        with_sidecar = os.path.exists(os.path.splitext(options.model)[0] + ".hunch") or os.path.exists(options.model + ".hunch")
        self.modes = {name: fields for name, fields in MODES.items() if name != "sparse" or with_sidecar}

    def alone(self, prompt, n, mode):
        flags = {"dense": ["--mode", "dense"], "sparse": ["--mode", "sparse"]}.get(mode, [])
        out = subprocess.run([self.options.hunch, "run", self.options.model, "-p", prompt, "-n", str(n), "--temperature", "0", "--ignore-end",
                              "--quiet", "--json", "--ctx", str(N_CTX), *flags], capture_output=True, check=True).stdout
        return json.loads(out)["text"]

    def start(self):
        self.log = open(self.options.log, "w", encoding="utf-8")
        self.process = subprocess.Popen([self.options.hunch, "serve", self.options.model, "--port", "0", "--json", "--parallel", str(N_PARALLEL),
                                         "--ctx", str(N_CTX), "--queue", "256"], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.expected = {}
        for i, prompt in enumerate(PROMPTS):
            for k, mode in enumerate(self.modes):
                n = self.n_certain(prompt, mode, 10 + 7 * (i + 3 * k) % 60)
                if n > 3:
                    self.expected[prompt, mode, n] = self.alone(prompt, n, "exact" if mode == "lossless" else mode)

    def n_certain(self, prompt, mode, n):
        """How many tokens come before two are almost equally probable: then rounding, which neighbours change, may choose."""
        connection, response = self.post({"prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True, "logprobs": 2, **self.modes[mode]})
        best = json.loads(response.read())["choices"][0]["logprobs"]["top_logprobs"]
        connection.close()
        gaps = [max(two.values()) - min(two.values()) if len(two) > 1 else 0 for two in best]
        return next((i for i, gap in enumerate(gaps) if gap < LEAST_GAP), n)

    def post(self, body, path="/v1/completions", timeout=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
        return connection, connection.getresponse()

    def metrics(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#") and "{" not in line}

    def state(self):
        """(descriptors, bytes) of the server."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as f:
            rss = next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS"))
        n = []  # the connection that asked last may be still on its way out
        for _ in range(20):
            n.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))
            time.sleep(0.05)
        return min(n), rss

    def fill_cache(self):
        """As many whole contexts as the cache holds, at once: nothing but these fits then."""
        def fill(i):
            connection, response = self.post({"prompt": f"{i} ", "max_tokens": N_CTX - 8, "temperature": 0, "ignore_eos": True})
            self.check(response.status == 200, f"a whole context got status {response.status}: {response.read()[:200]}")
            response.read()
            connection.close()
        self.in_threads(fill, N_PARALLEL)

    def in_threads(self, call, n):
        threads = [threading.Thread(target=self.guarded, args=(call, i)) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def guarded(self, call, i):
        try:
            call(i)
        except Exception as e:  # of a client's thread: told at the end
            self.check(False, f"client {i}: {type(e).__name__}: {e}")

    def check(self, holds, problem):
        if not holds:
            with self.lock:
                self.problems.append(problem)

    def count(self, what):
        with self.lock:
            self.found[what] += 1

    def client(self, i):
        rng = random.Random(i)
        while time.time() < self.end:
            (prompt, mode, n), expected = rng.choice(list(self.expected.items()))
            body = {"prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True, "stream": True, **self.modes[mode]}
            kind = rng.random()
            if kind < 0.1:
                self.vanish(body)
            elif kind < 0.15:
                self.malformed(rng)
            else:
                connection, response = self.post(body)
                text = b""
                if kind < 0.2:
                    while part := response.read(64):
                        text += part
                        time.sleep(0.001)
                    self.count("slow")
                else:
                    text = response.read()
                    self.count(mode)
                connection.close()
                self.check(response.status == 200, f"status {response.status}: {text[:200]}")
                if response.status == 200:
                    self.check(self.text_of(text) == expected, f"{mode}, '{prompt[:30]}', {n} tokens: not the answer that it has alone")

    @staticmethod
    def text_of(stream):
        events = stream.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""], events[-2:]
        return "".join(json.loads(e.removeprefix("data: "))["choices"][0]["text"] for e in events[:-2])

    def vanish(self, body):
        data = json.dumps({**body, "max_tokens": 300}).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as s:
            s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            s.recv(1000)
        self.count("vanished")

    def malformed(self, rng):
        body = rng.choice([b"{", b"\xff\xfe", b"[" * 10000, b'{"prompt": 3}', json.dumps({"prompt": "a", "temperature": "hot"}).encode()])
        connection, response = self.post(body, rng.choice(["/v1/completions", "/v1/messages", "/v1/responses", "/v1/chat/completions"]))
        self.check(response.status == 400, f"a body that is wrong got status {response.status}")
        response.read()
        connection.close()
        self.count("malformed")

    def run(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 8192), limit[1]))
        self.start()
        try:
            self.fill_cache()
            self.end = time.time() + min(2, self.options.seconds)
            self.in_threads(self.client, N_CLIENTS)  # what grows to its size once
            self.wait_until_quiet()
            n_descriptors, rss = self.state()
            self.found.clear()
            idle = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(N_IDLE)]
            self.end = time.time() + self.options.seconds
            self.in_threads(self.client, N_CLIENTS)
            for s in idle:
                s.close()
            self.wait_until_quiet()
            before = self.metrics()
            self.fill_cache()
            after = self.metrics()
            self.check(after["hunch:jobs_failed_total"] == before["hunch:jobs_failed_total"] and
                       after["hunch:preemptions_total"] == before["hunch:preemptions_total"],
                       "the cache has not the room that it had: blocks are lost")
            self.wait_until_quiet()
            n_descriptors_now, rss_now = self.state()
            self.check(n_descriptors_now <= n_descriptors, f"{n_descriptors_now} descriptors, {n_descriptors} before")
            self.check(rss_now < rss + (32 << 20), f"{rss_now >> 20} MB of memory, {rss >> 20} before")
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(60)
            self.check(code == 0, f"exit code {code}")
            print(f"serve_soak: {dict(sorted(self.found.items()))}; descriptors {n_descriptors} -> {n_descriptors_now}, "
                  f"memory {rss >> 20} -> {rss_now >> 20} MB")
        finally:
            if self.process.poll() is None:
                self.process.kill()
        for problem, n in collections.Counter(self.problems).most_common(10):
            print(f"  {n} x {problem}")
        return 1 if self.problems or not self.found else 0

    def wait_until_quiet(self):
        end = time.time() + 30
        while time.time() < end:
            m = self.metrics()
            if m["hunch:connections"] <= 1 and m["llamacpp:requests_processing"] == 0:
                return
            time.sleep(0.05)
        self.check(False, f"after half a minute {m['hunch:connections']:.0f} connections are open")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hunch", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--log", default=os.devnull)
    raise SystemExit(Soak(parser.parse_args()).run())
