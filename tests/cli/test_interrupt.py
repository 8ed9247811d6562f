"""Ctrl-C in every verb that can take long: exit code 130, a calm last line, and no file left behind."""
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest

from fixtures import BINARY, GOLDEN, CliTest, patch_tensor, write_tokenizer

MANY_IDS = ",".join(["5"] * 60000)  # a prompt of minutes


class Interrupt(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.llama = os.path.join(cls.dir, "llama")  # no end to its positions
        shutil.copytree(os.path.join(GOLDEN, "llama_mha"), cls.llama)
        write_tokenizer(cls.llama, cls.CHAT)
        cls.folder = os.path.join(cls.dir, "out")
        os.mkdir(cls.folder)
        # A model of which one tensor takes long to encode: 2^28 zeros.
        small, cls.large = os.path.join(cls.dir, "small.gguf"), os.path.join(cls.dir, "large.gguf")
        subprocess.run([BINARY, "convert", cls.opt, "-o", small, "--type", "f16", "--quiet"], check=True)
        patch_tensor(small, cls.large, "blk.0.ffn_up.weight", [256, 2**20], 2)

    def interrupted(self, *arguments, once, stdin=None, env=None, signals=(signal.SIGINT,)):
        """Starts hunch, waits until `once(process)` returns, presses Ctrl-C. Returns what it wrote: (stdout, stderr)."""
        process = subprocess.Popen([BINARY, *arguments], stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment(**(env or {})))
        once(process)
        for s in signals:
            process.send_signal(s)
        before = time.monotonic()
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, err)
        self.assertLess(time.monotonic() - before, 60, "it took long to stop")
        self.assertEqual(os.listdir(self.folder), [])
        return out.decode(), err.decode()

    @staticmethod
    def written(stream):
        return lambda process: getattr(process, stream).read(1)

    def computing(self, process):
        """After the first line, which is written before the first token is computed."""
        process.stderr.readline()
        time.sleep(0.3)

    def file_begun(self, process):
        while not os.listdir(self.folder):
            self.assertIsNone(process.poll(), "it ended before it began its file")
            time.sleep(0.01)
        time.sleep(0.1)

    @staticmethod
    def handler_installed(process):
        """Until the process has said what to do on Ctrl-C; before, it would just be killed."""
        while True:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
                caught = next(line for line in f if line.startswith("SigCgt:"))
            if int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1:
                break
            time.sleep(0.01)
        time.sleep(0.3)

    def test_run_keeps_its_text_and_its_last_line(self):
        _, err = self.interrupted("run", self.llama, "--ids", "5,6", "-n", "1000000", "--ctx", "20000", "--ignore-end", once=self.written("stdout"))
        self.assertRegex(err, r"\d+ tokens.* \(prompt: \d+, ")

    def test_run_in_its_prompt(self):
        _, err = self.interrupted("run", self.llama, "--ids", MANY_IDS, "--ctx", "70000", once=self.computing)
        self.assertEqual(err.splitlines()[-1], "hunch: interrupted")

    def test_chat_of_a_script(self):
        reader, writer = os.pipe()
        os.write(writer, b"the end\nand again\n")
        try:
            out, err = self.interrupted("chat", self.llama, "-n", "100000", "--ctx", "200000", "--logit-bias", "2=-inf", once=self.written("stdout"), stdin=reader)
        finally:
            os.close(reader)
            os.close(writer)
        self.assertIn("(stopped)", err)
        self.assertEqual(err.count("(stopped)"), 1)  # the second message is not answered

    def test_logits_of_a_long_list(self):
        out = os.path.join(self.folder, "logits.npy")
        _, err = self.interrupted("logits", self.llama, "--ids", MANY_IDS, "--out", out, once=self.file_begun)
        self.assertEqual(err.splitlines()[-1], "hunch: interrupted")

    def test_convert_and_quantize(self):
        out = os.path.join(self.folder, "out.gguf")
        for verb in "convert", "quantize":
            for layout in "rows", "neuron":
                _, err = self.interrupted(verb, self.large, "-o", out, "--type", "q8_0", "--layout", layout, once=self.file_begun)
                self.assertEqual(err.splitlines()[-1], "hunch: interrupted")

    def test_a_closed_terminal_leaves_nothing_either(self):
        out = os.path.join(self.folder, "out.gguf")
        for s in signal.SIGHUP, signal.SIGTERM:
            self.interrupted("convert", self.large, "-o", out, "--type", "q8_0", once=self.file_begun, signals=[s])

    def test_an_impatient_second_press_leaves_nothing(self):
        out = os.path.join(self.folder, "out.gguf")
        for _ in range(5):
            self.interrupted("convert", self.large, "-o", out, "--type", "q8_0", once=self.file_begun, signals=[signal.SIGINT] * 3)

    def test_eval(self):
        path = self.write("long.txt", "the end of the thing is in the other one. " * 50000)
        tasks = self.write("long.jsonl", (json.dumps({"query": "the thing", "choices": ["is in the", "zzz zzz"], "gold": 0}) + "\n") * 20000)
        for more in ["--text", path], ["--text", path, "--compare", "dense,exact"], ["--task", "copa", "--file", tasks]:
            _, err = self.interrupted("eval", self.opt, *more, once=self.computing)
            self.assertEqual(err.splitlines()[-1], "hunch: interrupted", more)

    def test_tokenize(self):
        reader, writer = os.pipe()
        try:
            _, err = self.interrupted("tokenize", self.opt, once=self.handler_installed, stdin=reader)
        finally:
            os.close(reader)
            os.close(writer)
        self.assertEqual(err.splitlines()[-1], "hunch: interrupted")

    def test_bench(self):
        with open(os.path.join(self.home, "machine.json"), "w", encoding="utf-8") as f:
            f.write("{}")
        for more in ["--prompt", "20000", "--generate", "8"], ["--prompt", "8", "--generate", "20000"]:
            _, err = self.interrupted("bench", self.llama, *more, "--repeats", "50", once=self.computing)
            self.assertEqual(err.splitlines()[-1], "hunch: interrupted")
        self.interrupted("bench", "--machine", once=self.handler_installed)

    def test_pull(self):
        with SlowHub() as hub:
            _, err = self.interrupted("pull", "some/model", once=lambda _: hub.sending.wait(60), env={"HF_ENDPOINT": hub.url})
        self.assertIn("the same command resumes", err.splitlines()[-1])
        names = [os.path.join(folder, name) for folder, _, files in os.walk(self.home) for name in files]
        self.assertFalse([name for name in names if name.endswith("model.safetensors")], names)


class SlowHub:
    """A hub with one model, whose weights it sends drop by drop."""

    SIZE = 1 << 30

    def __enter__(self):
        self.sending = threading.Event()
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, body):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.path.startswith("/api/models/some/model/revision/"):
                    return self.reply(json.dumps({"sha": "a" * 40}).encode())
                if self.path.startswith("/api/models/some/model/tree/"):
                    blob = hashlib.sha1(b"blob 2\0{}").hexdigest()  # what git calls it
                    entry = lambda path, size: {"type": "file", "oid": blob, "size": size, "path": path}
                    weights = entry("model.safetensors", hub.SIZE)
                    weights["lfs"] = {"oid": "c" * 64, "size": hub.SIZE, "pointerSize": 134}
                    return self.reply(json.dumps([entry("config.json", 2), weights]).encode())
                if self.path.endswith("/config.json"):
                    return self.reply(b"{}")
                self.send_response(200)
                self.send_header("Content-Length", str(hub.SIZE))
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(1000))
                        hub.sending.set()
                        time.sleep(0.05)
                except OSError:
                    return None

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    unittest.main()
