"""The clients that people use, against hunch serve: those of package.json by Node, and curl. Where there is no Node, or its
packages are neither there nor to be had from npm's registry, the test says so and is skipped."""
import json
import os
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cli"))
from fixtures import CliTest  # noqa: E402
from parrot import SAYS, write_parrot  # noqa: E402
from serving import Server  # noqa: E402

KEY = "a key of these tests"


def install(folder):
    """Puts the packages into this folder, or says why it cannot."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "no node and npm here"
    major = int(subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0])
    if major < 18:
        return f"node {major} is older than 18, which the clients need"
    os.makedirs(folder, exist_ok=True)
    lock = os.path.join(folder, "node_modules", ".package-lock.json")
    wanted = os.path.join(HERE, "package-lock.json")
    if not os.path.exists(lock) or os.path.getmtime(lock) < os.path.getmtime(wanted):
        for name in "package.json", "package-lock.json":
            shutil.copy(os.path.join(HERE, name), folder)
        got = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "1"], cwd=folder,
                             capture_output=True, text=True, timeout=300, check=False)
        if got.returncode != 0:
            return f"npm ci failed: {(got.stderr.strip() or 'no message').splitlines()[0]}"
    for name in os.listdir(HERE):
        if name.endswith(".mjs"):
            shutil.copy(os.path.join(HERE, name), folder)
    return ""


class Clients(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parrot = write_parrot(os.path.join(cls.dir, "parrot"))

    def server(self):
        return Server(self, "--alias", "parrot", "--api-key", KEY, model=self.parrot)

    def test_node(self):
        folder = os.environ["HUNCH_CLIENTS_DIR"]
        if why := install(folder):
            self.skipTest(why)
        with self.server() as server:
            tests = sorted(name for name in os.listdir(folder) if name.endswith(".test.mjs"))
            ran = subprocess.run(["node", "--test", "--test-reporter", "tap", *tests], cwd=folder, capture_output=True, text=True, timeout=300,
                                 check=False, env={**os.environ, "HUNCH_URL": server.url, "HUNCH_KEY": KEY, "NODE_NO_WARNINGS": "1"})
            self.assertEqual(ran.returncode, 0, ran.stdout[-12000:] + ran.stderr[-3000:])
            self.assertEqual(server.end(), 0)
            self.assertNotIn("AddressSanitizer", "".join(server.lines))

    def test_curl(self):
        if not shutil.which("curl"):
            self.skipTest("no curl here")

        def curl(path, body, *more, key=KEY):
            command = ["curl", "-sN", server.url + path, "-H", f"Authorization: Bearer {key}", "-d", json.dumps(body), *more]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

        hello = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}
        with self.server() as server:
            self.assertEqual(json.loads(curl("/v1/chat/completions", hello))["choices"][0]["message"]["content"], SAYS)
            events = curl("/v1/chat/completions", {**hello, "stream": True}).split("\n\n")
            self.assertEqual(events[-2:], ["data: [DONE]", ""])
            parts = [json.loads(e.removeprefix("data: "))["choices"][0]["delta"].get("content", "") for e in events[:-2]]
            self.assertEqual("".join(parts), SAYS)
            error = json.loads(curl("/v1/messages", hello, key="wrong"))
            self.assertEqual(error["error"]["type"], "authentication_error")
            self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    unittest.main()
