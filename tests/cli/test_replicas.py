"""The recipes of docs/scale.md: two servers behind nginx or HAProxy, and sessions that stay where they are remembered."""
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
import unittest
import urllib.error
import urllib.request

from fixtures import SOURCE, CliTest, random_words
from serving import Server


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def recipe(language, ports):
    """The page's configuration with these ports in place of 8080, 8081 and 8082."""
    with open(os.path.join(SOURCE, "docs", "scale.md"), encoding="utf-8") as f:
        text = re.search(rf"```{language}\n(.*?)```", f.read(), re.DOTALL)[1]
    for at, port in zip((8080, 8081, 8082), ports):
        text = text.replace(f":{at}", f":{port}")
    return text


class Replicas(CliTest):
    def ask(self, port, session, prompt):
        body = json.dumps({"prompt": prompt, "max_tokens": 2, "temperature": 0}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body,
                                         {"Content-Type": "application/json", "X-Session-Id": session})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["usage"]["prompt_tokens_details"]["cached_tokens"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"status {error.code}: {error.read().decode()}") from error

    def n_asked(self, server):
        """Requests for completions that reached it."""
        return sum(line.get("path") == "/v1/completions" for line in server.log())

    def through(self, command, front):
        """Sessions through a proxy that `command` starts, to two servers."""
        sessions = [f"{i} session" for i in range(16)]
        prompts = {s: s + " " + random_words(12, random.Random(s)) for s in sessions}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as proxy:
            try:
                self.wait_for(front)
                for s in sessions:
                    self.ask(front, s, prompts[s])
                time.sleep(0.2)  # the log is written after the answer
                first = [self.n_asked(server) for server in self.servers]
                self.assertEqual(sum(first), len(sessions))
                self.assertTrue(all(first), f"one server got everything: {first}")
                for s in reversed(sessions):  # the same conversation goes on: it is remembered where it was
                    self.assertGreater(self.ask(front, s, prompts[s] + " and then"), 20, s)
                time.sleep(0.2)
                self.assertEqual([self.n_asked(server) for server in self.servers], [2 * n for n in first])
                self.servers[0].process.kill()
                self.servers[0].process.wait(10)
                time.sleep(2.5)  # HAProxy looks every second
                for s in sessions:
                    self.ask(front, s, prompts[s])
            finally:
                proxy.terminate()
                proxy.stdout.read()

    def wait_for(self, port):
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        self.fail("the proxy does not answer")

    def serve_behind(self, language, command_of):
        many = ["--parallel", "16"]  # what is remembered fits
        with Server(self, *many) as one, Server(self, *many) as two:
            self.servers = [one, two]
            front = free_port()
            path = self.write(f"proxy.{language}", recipe(language, (front, one.port, two.port)))
            self.through(command_of(path), front)

    @unittest.skipUnless(shutil.which("nginx"), "no nginx")
    def test_nginx(self):
        # In the foreground, with nothing outside of this folder.
        self.serve_behind("nginx", lambda path: [
            "nginx", "-c", path, "-p", self.dir, "-g",
            f"daemon off; master_process off; pid {self.path('nginx.pid')}; error_log stderr;"])

    @unittest.skipUnless(shutil.which("haproxy"), "no haproxy")
    def test_haproxy(self):
        self.serve_behind("haproxy", lambda path: ["haproxy", "-db", "-f", path])


if __name__ == "__main__":
    unittest.main()
