"""hunch serve at a port of its own, for tests: what it is asked, and what it says."""
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from fixtures import BINARY, SOURCE, CliTest


class Server:
    """hunch serve at a port of its own, with its log. `model` False: the arguments name what it serves."""

    def __init__(self, test, *arguments, model=None):
        self.process = subprocess.Popen([BINARY, "serve", *([] if model is False else [model or test.opt]), "--port", "0", "--json", "--threads", "1", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=test.environment(), text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()
        line = self.process.stdout.readline()
        assert line, f"no server: {self.lines}"
        self.ready = json.loads(line)
        self.url, self.port = self.ready["url"], self.ready["port"]
        self.context = None  # of TLS

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
            with urllib.request.urlopen(request, timeout=timeout, context=self.context) as response:
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


class ServeTest(CliTest):
    def run_alone(self, prompt, n, *arguments):
        return self.hunch("run", self.opt, "-p", prompt, "-n", str(n), "--temperature", "0", "--ignore-end", "--quiet",
                          "--json", "--threads", "1", *arguments).json
