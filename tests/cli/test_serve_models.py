"""Several models in one hunch serve: chosen by name, loaded when one is asked for, unloaded when another needs the room."""
import concurrent.futures
import json
import os
import shutil
import time
import unittest

from fixtures import SOURCE, random_words
from parrot import SAYS, write_parrot
from serving import DEMO, GREEDY, Server, ServeTest, post

EMBEDDING = os.path.join(SOURCE, "tests", "data", "embedding")


class ServeModels(ServeTest):
    """A folder with a Hugging Face folder that continues texts, one that talks, two GGUF files, one for vectors, one for pairs,
    a file that is none, and what is no model."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = os.path.join(cls.dir, "models")
        os.mkdir(cls.models)
        os.symlink(cls.opt, os.path.join(cls.models, "tiny"))
        write_parrot(os.path.join(cls.models, "parrot"))
        for end in "", ".hunch":
            os.symlink(DEMO + end, os.path.join(cls.models, f"demo.gguf{end}"))
        for name, folder in ("bert", "tiny_bert"), ("ranker", "tiny_bert_rank"):
            os.symlink(os.path.join(EMBEDDING, folder), os.path.join(cls.models, name))
        with open(os.path.join(cls.models, "broken.gguf"), "wb") as f:
            f.write(b"GGUF" + b"\xff" * 200)
        for name in "mmproj-x.gguf", "notes.txt", "other-00002-of-00003.gguf":
            with open(os.path.join(cls.models, name), "wb") as f:
                f.write(b"GGUF")
        os.mkdir(os.path.join(cls.models, "empty"))

    def serve(self, *arguments):
        return Server(self, "--models-dir", self.models, *arguments, model=False)

    def status(self, server, name=None):
        found = {model["id"]: model["status"]["value"] for model in server.json("/v1/models")["data"]}
        return found[name] if name else found

    def wait_for_status(self, server, name, status, timeout=20):
        end = time.time() + timeout
        while self.status(server, name) != status:
            self.assertLess(time.time(), end, f"{name} is {self.status(server, name)}")
            time.sleep(0.02)

    def test_requests_choose_by_name(self):
        with self.serve("--alias", "gpt-4=tiny", "--models-max", "0") as server:
            names = ["bert", "broken", "demo", "parrot", "ranker", "tiny"]
            self.assertEqual(self.status(server), {name: "unloaded" for name in names})
            self.assertEqual(server.json("/health"), {"status": "ok", "models": {"known": 6, "loaded": 0}})
            alone = self.run_alone("the end of", 8)["text"]
            body = {"prompt": "the end of", "max_tokens": 8, **GREEDY}
            for name in "tiny", "gpt-4", "tiny:latest":
                answer = server.json("/v1/completions", {**body, "model": name})
                self.assertEqual((answer["choices"][0]["text"], answer["model"]), (alone, "tiny"))
            hello = [{"role": "user", "content": "hello"}]
            self.assertEqual(server.json("/v1/messages", {"model": "parrot", "messages": hello, "max_tokens": 20, "temperature": 0})["content"][0]["text"], SAYS)
            self.assertEqual(server.json("/api/chat", {"model": "parrot:latest", "messages": hello, "stream": False, "options": {"temperature": 0, "repeat_penalty": 1}})["message"]["content"], SAYS)
            first = server.json("/v1/responses", {"model": "parrot", "input": "hello"})
            self.assertEqual(server.json(f"/v1/responses/{first['id']}"), first)
            vectors = server.json("/v1/embeddings", {"model": "bert", "input": "The mill"})
            expected = self.hunch("embed", os.path.join(self.models, "bert"), "The mill", "--json").json["embeddings"][0]["embedding"]
            for a, b in zip(vectors["data"][0]["embedding"], expected, strict=True):
                self.assertAlmostEqual(a, b, places=5)
            ranked = server.json("/v1/rerank", {"model": "ranker", "query": "a mill", "documents": ["the mill", "no"]})
            self.assertEqual(len(ranked["results"]), 2)
            self.assertEqual(self.status(server), {**{name: "loaded" for name in names}, "broken": "unloaded", "demo": "unloaded"})
            self.assertEqual(sorted(m["name"] for m in server.json("/api/ps")["models"]), ["bert", "parrot", "ranker", "tiny"])
            self.assertEqual([m["name"] for m in server.json("/api/tags")["models"]], names)
            # Of each by its name; of all.
            self.assertEqual(server.json("/props")["role"], "router")
            self.assertEqual(server.json("/props?model=t%69ny")["model_alias"], "tiny")
            self.assertEqual(len(server.json("/slots?model=parrot")), 4)
            self.assertEqual(server.json("/slots?model=demo"), [])
            self.assertEqual(server.json("/props?model=demo&autoload=false", status=400)["error"]["code"], "model_not_loaded")
            self.assertEqual(server.json("/health?model=tiny")["model"], {"id": "tiny", "status": "loaded"})
            self.assertEqual(server.metric('hunch:model_loaded{model="tiny"}'), 1)
            self.assertEqual(server.metric('hunch:model_loaded{model="demo"}'), 0)
            self.assertEqual(server.metric('llamacpp:tokens_predicted_total{model="tiny"}'), 24)
            text = server.request("/metrics")[2]
            self.assertEqual(text.count("# TYPE llamacpp:tokens_predicted_total counter"), 1)
            self.assertEqual(server.json("/v1/models/gpt-4")["id"], "tiny")
            # What cannot be.
            self.assertEqual(server.refused("/v1/completions", {**body, "model": "other"}, "model", 404)["code"], "model_not_found")
            self.assertIn("bert, broken, demo", server.refused("/v1/completions", body, "model")["message"])
            self.assertIn("a number", server.refused("/v1/completions", {**body, "model": 5}, "model")["message"])
            self.assertIn("a list", server.refused("/tokenize", {"content": "a", "model": ["tiny"]}, "model")["message"])
            server.refused("/v1/completions", b"{", None)
            self.assertEqual(server.json("/api/chat", {"model": "other", "messages": hello}, 404).keys(), {"error"})
            everything = json.dumps([server.json(p) for p in ("/v1/models", "/api/tags", "/api/ps", "/props", "/props?model=tiny")])
            self.assertNotIn(self.dir, everything)
            self.assertEqual(server.end(), 0)

    def test_a_broken_model_is_an_error_of_its_requests(self):
        with self.serve() as server:
            for _ in range(2):  # tried again: somebody may have mended it
                error = server.refused("/v1/completions", {"model": "broken", "prompt": "a"}, "model", 500)
                self.assertEqual(error["code"], "model_load_failed")
                self.assertIn("broken", error["message"])
                self.assertNotIn(self.dir, error["message"])
            status = server.json("/v1/models/broken")["status"]
            self.assertEqual((status["value"], status["failed"]), ("unloaded", True))
            self.assertEqual(len(server.json("/v1/completions", {"model": "tiny", "prompt": "a", "max_tokens": 1})["choices"]), 1)
            mended = os.path.join(self.models, "late")
            shutil.copytree(self.opt, mended)
            try:  # it came after the start
                server.json("/v1/completions", {"model": "late", "prompt": "a", "max_tokens": 1})
            finally:
                shutil.rmtree(mended)
            self.assertEqual(server.end(), 0)
        with self.serve("--mode", "sparse") as server:  # which needs a sidecar
            self.assertIn("sidecar", server.refused("/v1/completions", {"model": "tiny", "prompt": "a"}, "model", 500)["message"])
            server.json("/v1/completions", {"model": "demo", "prompt": "a", "max_tokens": 1})
            self.assertEqual(server.end(), 0)

    def test_one_place_for_three_models_under_load(self):
        prompts = [random_words(3 + i) for i in range(4)]
        names = {"tiny": self.opt, "demo": DEMO, "parrot": os.path.join(self.models, "parrot")}
        want = {(name, p): self.hunch("run", path, "-p", p, "-n", "12", "--temperature", "0", "--ignore-end", "--quiet", "--json",
                                      "--threads", "1").json["text"] for name, path in names.items() for p in prompts}
        with self.serve("--models-max", "1", "--deterministic") as server:
            def ask(item):
                name, prompt = item
                body = {"model": name, "prompt": prompt, "max_tokens": 12, **GREEDY}
                if len(prompt) % 2:
                    return server.json("/v1/completions", body)["choices"][0]["text"]
                return "".join(c["text"] for e in server.stream("/v1/completions", body) for c in e["choices"])

            asked = [*want, *want, *reversed(want)]
            with concurrent.futures.ThreadPoolExecutor(12) as pool:
                for item, text in zip(asked, pool.map(ask, asked)):
                    self.assertEqual(text, want[item], item)
            self.assertEqual(sum(s == "loaded" for s in self.status(server).values()), 1)
            self.assertGreater(sum(line.startswith("unloaded") for line in server.lines), 1)
            self.assertEqual(server.end(), 0)

    def test_who_was_used_last_before_the_others_makes_room(self):
        with self.serve("--models-max", "2") as server:
            for name in "tiny", "parrot", "tiny", "demo":
                server.json("/tokenize", {"model": name, "content": "a"})
            self.assertEqual({n for n, s in self.status(server).items() if s == "loaded"}, {"tiny", "demo"})
            self.assertEqual(server.end(), 0)

    def test_idle_ones_go_and_so_does_their_memory(self):
        def bytes_of(server):
            with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        with self.serve("--idle-unload", "300ms", "--ctx", "512") as server:
            body = {"model": "demo", "prompt": random_words(100), "max_tokens": 4}
            before, sizes = 0, []
            for turn in range(6):
                server.json("/v1/completions", body)
                sizes.append(bytes_of(server))
                self.wait_for_status(server, "demo", "unloaded")
                server.json("/health")
                time.sleep(0.1)
                before = before or bytes_of(server)
            self.assertLess(bytes_of(server), before + (16 << 20), sizes)
            self.assertLess(bytes_of(server), max(sizes) - (20 << 20), sizes)
            self.assertEqual(server.end(), 0)

    def test_clients_say_how_long(self):
        with self.serve("--idle-unload", "1h") as server:
            load = {"model": "tiny", "stream": False}
            self.assertEqual(server.json("/api/generate", {**load, "keep_alive": -1})["done_reason"], "load")
            self.assertTrue(server.json("/api/ps")["models"][0]["expires_at"].startswith("2318"))
            server.json("/api/generate", {**load, "keep_alive": "90m"})
            self.assertFalse(server.json("/api/ps")["models"][0]["expires_at"].startswith("2318"))
            self.assertEqual(server.json("/api/generate", {**load, "keep_alive": 0})["done_reason"], "unload")
            self.wait_for_status(server, "tiny", "unloaded")
            self.assertEqual(server.json("/api/generate", {**load, "keep_alive": 0})["done_reason"], "unload")  # and not loaded for it
            self.assertEqual(self.status(server, "tiny"), "unloaded")
            server.json("/api/generate", {**load, "prompt": "a", "keep_alive": "0s", "options": {"num_predict": 2}})
            self.wait_for_status(server, "tiny", "unloaded")
            server.json("/api/embed", {"model": "bert", "input": "a", "keep_alive": "100ms"})
            self.wait_for_status(server, "bert", "unloaded")
            for wrong in "soon", "5 m", True, [1]:
                self.assertIn("keep_alive", server.json("/api/generate", {**load, "keep_alive": wrong}, 400)["error"])
            self.assertEqual(server.json("/models/load", {"model": "tiny"}), {"success": True})
            self.assertEqual(self.status(server, "tiny"), "loaded")
            self.assertEqual(server.json("/models/unload", {"model": "tiny"}), {"success": True})
            self.wait_for_status(server, "tiny", "unloaded")
            server.refused("/models/load", {}, "model")
            server.refused("/models/unload", {"model": "x"}, "model", 404)
            self.assertEqual(server.end(), 0)

    def test_an_answer_is_made_before_its_model_goes(self):
        with self.serve("--models-max", "1") as server:
            s = server.connect()
            s.sendall(post("/v1/completions", {"model": "demo", "prompt": "the end", "max_tokens": 400, "mode": "dense", "stream": True, **GREEDY}, "Connection: close"))
            got = s.recv(300)
            # One that has to wait for it, one behind that, and one whose client leaves.
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                other = pool.submit(server.json, "/v1/completions", {"model": "tiny", "prompt": "a", "max_tokens": 2})
                time.sleep(0.05)
                leaves = server.connect()
                leaves.sendall(post("/v1/completions", {"model": "parrot", "prompt": "a"}))
                leaves.close()
                server.wait_for_log(lambda line: line["status"] == 499)
                with s.makefile("rb") as f:
                    got += f.read()
                s.close()
                self.assertTrue(got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), got[-100:])
                self.assertEqual(got.count(b'"object":"text_completion"'), 401)
                self.assertEqual(len(other.result(30)["choices"]), 1)
            self.assertEqual(self.status(server, "parrot"), "unloaded")
            self.assertFalse(any("loaded parrot" in line for line in server.lines))
            self.assertEqual(server.end(), 0)

    def test_too_many_wait(self):
        with self.serve("--models-max", "1", "--queue", "2") as server:
            s = server.connect()
            s.sendall(post("/v1/completions", {"model": "demo", "prompt": "the end", "max_tokens": 400, "mode": "dense", "stream": True, **GREEDY}))
            s.recv(300)
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                found = list(pool.map(lambda _: server.request("/tokenize", {"model": "tiny", "content": "a"})[0], range(6)))
            self.assertEqual(sorted(set(found)), [200, 429], found)
            s.close()
            self.assertEqual(server.end(), 0)

    def test_several_that_are_named(self):
        with Server(self, os.path.join(self.models, "demo.gguf"), "--models-dir", os.path.join(self.models, "empty"), model=self.opt) as server:
            self.assertEqual(self.status(server), {"opt": "unloaded", "demo": "unloaded"})
            self.assertEqual(len(server.json("/v1/completions", {"model": "opt", "prompt": "a", "max_tokens": 1})["choices"]), 1)
            self.assertEqual(server.end(), 0)

    def test_one_model_that_goes_when_idle(self):
        with Server(self, "--idle-unload", "200ms", "--alias", "only") as server:
            self.wait_for_status(server, "only", "unloaded")
            answer = server.json("/v1/completions", {"model": "whatever", "prompt": "the end of", "max_tokens": 8, **GREEDY})
            self.assertEqual(answer["choices"][0]["text"], self.run_alone("the end of", 8)["text"])
            self.assertEqual(server.end(), 0)
        with Server(self) as server:  # and one that does not
            self.assertEqual(server.refused("/models/unload", {"model": "x"}, "model")["message"], "this server's model stays loaded")
            server.json("/api/generate", {"prompt": "a", "stream": False, "keep_alive": 0, "options": {"num_predict": 1}})
            self.assertTrue(server.json("/api/ps")["models"][0]["expires_at"].startswith("2318"))
            self.assertEqual(server.end(), 0)

    def test_a_signal_while_one_is_loaded(self):
        with self.serve("--models-max", "1") as server:
            sockets = [server.connect() for _ in range(6)]
            for i, s in enumerate(sockets):
                s.sendall(post("/v1/completions", {"model": ("demo", "tiny", "parrot")[i % 3], "prompt": "the end", "max_tokens": 50, **GREEDY}))
            self.assertEqual(server.end(), 0)
            for s in sockets:
                s.close()

    def test_flags(self):
        at = ("serve", "--models-dir", self.models)
        self.refused(2, "serve", says="which model?")
        self.refused(2, *at, "--idle-unload", "soon", says="--idle-unload is 'soon'")
        self.refused(2, *at, "--alias", "name", says="NAME=MODEL")
        self.refused(2, *at, "--alias", "a=nothing", says="'nothing'")
        self.refused(2, *at, "--lora", "x", says="--lora is of one model")
        self.refused(2, "serve", self.opt, "--alias", "a", "--alias", "b", says="--alias was given 2 times")
        self.refused(1, "serve", "--models-dir", self.path("nowhere"), says="cannot be read as a folder of models")


if __name__ == "__main__":
    unittest.main()
