"""Two processes that compute one model together, started by mpirun: the answers of one, and one end for all."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

from fixtures import BINARY, GOLDEN, SOURCE, CliTest, Result, random_words, write_tokenizer

MPIRUN = shutil.which("mpirun")
# A container of CI: root, no other machine, fewer cores than processes, and one core for both is as good.
MPI = [MPIRUN, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,vader,tcp", "--mca", "plm_rsh_agent", ""]
IDS = ",".join(str(i) for i in [5, 9, 33, 2, 17, 40, 8, 21, 6, 30, 100, 7])


def built_with_mpi():
    """MPI is a module beside the program (src/mpi/module.cc)."""
    return os.path.exists(os.path.join(os.path.dirname(BINARY), "hunch-mpi.so"))


class ScaleModel(CliTest):
    """bench/scale_model.py against sums by hand."""

    def model(self, *arguments):
        script = os.path.join(SOURCE, "bench", "scale_model.py")
        return json.loads(subprocess.run([sys.executable, script, "--json", *arguments], stdout=subprocess.PIPE, check=True).stdout)[0]

    def test_a_network_of_latency_and_bandwidth(self):
        got = self.model("--token-us", "10000", "--shape", "10,1000,8000", "--network", "slow=10,8", "--nodes", "1,2,4")
        one, two, four = got["rows"]
        self.assertEqual(one["tensor_tokens_per_s"], 100)
        # 8 Gbit/s are 1000 bytes a microsecond. A sum of 4000 bytes: 14 between two, of four 28 by doubling, 66 in a ring.
        self.assertAlmostEqual(1e6 / two["tensor_tokens_per_s"], 5000 + 20 * 14 + 10.512 + 10 + 16)
        self.assertAlmostEqual(1e6 / four["tensor_tokens_per_s"], 2500 + 20 * 28 + 2 * 10.512 + 10 + 24)
        self.assertAlmostEqual(1e6 / two["layers_tokens_per_s"], 10000 + 14 + 42 + 10.512)
        self.assertEqual(got["pays_up_to"], 4)

    def test_measured_sums(self):
        ranks = self.write("ranks.json", json.dumps({"n_ranks": 2, "rows": [{"bytes": 4, "sum_us": 2}, {"bytes": 4004, "sum_us": 6}, {"bytes": 8004, "sum_us": 8}]}))
        two = self.model("--token-us", "1000", "--shape", "5,501,1", "--ranks", ranks, "--nodes", "2")["rows"][0]
        self.assertAlmostEqual(1e6 / two["tensor_tokens_per_s"], 500 + 10 * 4 + (2 + 508 / 1000) + 2, places=2)


@unittest.skipUnless(MPIRUN and built_with_mpi(), "no mpirun, or a hunch that was built without MPI")
class Ranks(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.llama = os.path.join(cls.dir, "llama")  # no end to its positions
        shutil.copytree(os.path.join(GOLDEN, "llama_mha"), cls.llama)
        write_tokenizer(cls.llama, cls.CHAT)

    def rank_environment(self, **more):
        # What MPI keeps until the end of a process is no leak of hunch's.
        return {**self.environment(), "ASAN_OPTIONS": "detect_leaks=0", "OMPI_MCA_mpi_yield_when_idle": "1", **more}

    def start(self, *arguments, n=2, **more):
        return subprocess.Popen([*MPI, "-n", str(n), BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.rank_environment(**more))

    def on_ranks(self, *arguments, n=2, code=0, **more):
        process = self.start(*arguments, n=n, **more)
        process.stdout_bytes, process.stderr_bytes = process.communicate(timeout=120)
        result = Result(subprocess.CompletedProcess([], process.returncode, process.stdout_bytes, process.stderr_bytes))
        self.assertEqual(result.code, code, result.err)
        return result

    @staticmethod
    def ranks_of(process):
        """The ids of the processes that mpirun started."""
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
            return [int(child) for child in f.read().split()]

    def test_logits_are_those_of_one_process(self):
        one = self.hunch("logits", self.opt, "--ids", IDS, "--json", "--quiet").json
        for how, n in (("tensor", 2), ("pipeline", 2), ("tensor", 4)):
            two = self.on_ranks("logits", self.opt, "--ids", IDS, "--json", "--quiet", "--threads", "1", "--ranks", how, n=n).json
            self.assertEqual(one["ids"], two["ids"])
            for mine, theirs in zip(one["logits"], two["logits"], strict=True):
                self.assertLess(max(abs(a - b) for a, b in zip(mine, theirs, strict=True)), 1e-3, how)

    def test_run_gives_the_same_answer_once(self):
        options = ["--prompt", random_words(30), "--tokens", "12", "--temperature", "0", "--json", "--threads", "1", "--kv", "f32"]
        want = self.hunch("run", self.opt, *options).json
        for mode in ("dense", "exact"):
            got = self.on_ranks("run", self.opt, *options, "--mode", mode).json
            self.assertEqual(want["ids"], got["ids"])
        self.assertEqual(want["ids"], self.on_ranks("run", self.opt, *options, "--ranks", "pipeline:auto").json["ids"])

    def test_eval_and_bench(self):
        text = self.write("text.txt", random_words(120))
        options = ["eval", self.opt, "--text", text, "--json", "--quiet", "--threads", "1"]
        want, got = self.hunch(*options).json, self.on_ranks(*options).json
        self.assertEqual(want["n_tokens"], got["n_tokens"])
        self.assertAlmostEqual(want["perplexity"], got["perplexity"], delta=1e-3 * want["perplexity"])
        rows = self.on_ranks("bench", self.opt, "--prompt", "32", "--generate", "8", "--repeats", "1", "--json", "--threads", "1").json["rows"]
        self.assertTrue(all(row["tokens_per_s"] > 0 for row in rows))

    def test_sums_that_are_rounded_on_their_way(self):
        ids = ",".join(str(3 + i % 50) for i in range(100))  # 100 tokens of 64 numbers: long enough to be rounded
        options = ["logits", self.llama, "--ids", ids, "--json", "--quiet", "--threads", "1", "--ranks"]
        plain, rounded = (self.on_ranks(*options, how).json["logits"] for how in ("tensor", "tensor:int8"))
        worst = max(abs(a - b) for mine, theirs in zip(plain, rounded, strict=True) for a, b in zip(mine, theirs, strict=True))
        self.assertGreater(worst, 1e-5)
        self.assertLess(worst, 0.3)

    def test_what_is_wrong_is_said_once(self):
        for arguments, code, words in (
            (["run", "/no/such/model", "--prompt", "a"], 1, "/no/such/model"),
            (["run", self.opt, "--no-such-option"], 2, "--no-such-option"),
            (["run", self.opt, "--prompt", "a", "--mode", "sparse"], 1, "needs a sidecar"),
            (["run", self.opt, "--prompt", "a", "--kv-policy", "tova:16"], 1, "tova"),
            (["run", self.opt, "--prompt", "a", "--lora", "/no/such/adapter"], 1, "/no/such/adapter"),
            (["run", self.opt, "--prompt", "a", "--numa", "far"], 2, "'far'"),
            (["run", self.opt, "--prompt", "a", "--ranks", "by night"], 2, "by night"),
            (["run", self.opt, "--prompt", "a", "--ranks", "tensor:int4"], 2, "tensor:int4"),
            (["run", self.opt, "--prompt", "a", "--ranks", "pipeline:7,1"], 2, "divided as 7,1"),  # mpirun itself names processes [[12347,1],0]
        ):
            result = self.on_ranks(*arguments, code=code)
            self.assertEqual(result.err.count(words), 1, result.err)
        for option in (["--ranks", "tensor"], ["--numa", "ranks"]):
            self.assertIn("mpirun", self.hunch("run", self.opt, "--prompt", "a", *option, code=2).err)

    def test_sparse_mode_and_key_policies(self):
        model, text = self.path("planted.gguf"), self.path("planted.txt")
        self.hunch("synth", "--shape", "opt-125m", "--n-layer", "2", "--n-embd", "256", "--n-ff", "512", "--n-head", "8", "--n-vocab", "500", "--density", "0.2",
                   "--contexts", "16", "--type", "f16", "--sidecar", "-o", model, "--text", text, "--text-tokens", "300", "--quiet")
        options = ["run", model, "--prompt", "bako", "--tokens", "12", "--temperature", "0", "--json", "--threads", "1", "--kv", "f32", "--ignore-end"]
        for more in (["--mode", "sparse"], ["--kv-policy", "h2o:16"], ["--mode", "sparse", "--kv-policy", "streaming:16"]):
            want = self.hunch(*options, *more).json["ids"]
            for how in ("tensor", "pipeline"):
                self.assertEqual(want, self.on_ranks(*options, *more, "--ranks", how).json["ids"], [more, how])
        compare = ["eval", model, "--text", text, "--compare", "dense,sparse", "--json", "--threads", "1", "--quiet"]
        one = self.hunch(*compare).json["modes"]
        for how in ("tensor", "tensor:even"):
            modes = self.on_ranks(*compare, "--ranks", how).json["modes"]
            for mode in ("dense", "sparse"):
                by_rank = modes[mode]["bytes_per_token_by_rank"]
                self.assertEqual(len(by_rank), 2)
                self.assertAlmostEqual(sum(by_rank), modes[mode]["bytes_per_token"])
            self.assertLess(modes["sparse"]["bytes_per_token"], modes["dense"]["bytes_per_token"])
            if how == "tensor":
                self.assertAlmostEqual(one["sparse"]["perplexity"], modes["sparse"]["perplexity"], delta=1e-3 * one["sparse"]["perplexity"])

    def test_a_rank_that_dies_ends_the_job(self):
        for which in (0, 1):
            process = self.start("run", self.llama, "--prompt", "the", "--tokens", "1000000", "--ctx", "100000", "--threads", "1", "--ignore-end")
            self.wait_until_it_computes(process)
            os.kill(self.ranks_of(process)[which], signal.SIGKILL)
            self.expect_end(process, "exited on signal 9")

    def test_a_rank_that_does_not_answer_ends_the_job(self):
        process = self.start("serve", self.opt, "--port", "0", "--json", "--threads", "1", HUNCH_RANK_TIMEOUT="2")
        url = json.loads(process.stdout.readline())["url"]
        stopped = self.ranks_of(process)[1]
        os.kill(stopped, signal.SIGSTOP)
        try:
            body = json.dumps({"prompt": random_words(20), "max_tokens": 4}).encode()
            request = urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"})
            with self.assertRaises(OSError) as raised:
                urllib.request.urlopen(request, timeout=60)
            self.assertNotIsInstance(raised.exception, urllib.error.HTTPError)
            self.expect_end(process, "rank 0 of 2: the others did not answer for 2 s")
        finally:
            try:
                os.kill(stopped, signal.SIGCONT)
            except ProcessLookupError:
                pass
            process.kill()

    def test_ctrl_c_stops_all(self):
        process = self.start("run", self.llama, "--prompt", "the", "--tokens", "1000000", "--ctx", "100000", "--threads", "1", "--ignore-end")
        self.wait_until_it_computes(process)
        process.send_signal(signal.SIGINT)
        self.expect_end(process, "")

    def test_across_a_cable(self):
        """Each rank in a network namespace of its own, where that is allowed."""
        script = os.path.join(SOURCE, "bench", "netns.sh")
        if os.getuid() != 0:
            self.skipTest("network namespaces are for root")
        want = self.hunch("logits", self.opt, "--ids", IDS, "--json", "--quiet").json["logits"]
        for cable in (["-r", "1gbit"], ["-d", "1ms", "-l", "1%"]):
            process = subprocess.run([script, *cable, "--", BINARY, "logits", self.opt, "--ids", IDS, "--json", "--quiet", "--threads", "1"],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.rank_environment(), timeout=120, check=False)
            if process.returncode == 77:
                self.skipTest(process.stderr.decode().strip())
            self.assertEqual(process.returncode, 0, process.stderr.decode())
            got = json.loads(process.stdout)["logits"]
            self.assertLess(max(abs(a - b) for mine, theirs in zip(got, want, strict=True) for a, b in zip(mine, theirs, strict=True)), 1e-3)

    def test_serve(self):
        process = self.start("serve", self.opt, "--port", "0", "--json", "--threads", "1", "--kv", "f32")
        try:
            url = json.loads(process.stdout.readline())["url"]
            prompt = random_words(30)
            body = json.dumps({"prompt": prompt, "max_tokens": 8, "temperature": 0}).encode()
            for _ in range(2):
                request = urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=60) as response:
                    got = json.load(response)["choices"][0]["text"]
                want = self.hunch("run", self.opt, "--prompt", prompt, "--tokens", "8", "--temperature", "0", "--json", "--kv", "f32").json
                self.assertEqual(got, want["text"])
        finally:
            process.send_signal(signal.SIGTERM)
            self.expect_end(process, "")

    @staticmethod
    def wait_until_it_computes(process):
        process.stdout.read(1)

    def expect_end(self, process, words):
        pids = self.ranks_of(process)
        begin = time.monotonic()
        _, err = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - begin, 30)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn(words, err.decode())
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):  # mpirun does not wait for those that it kills
            self.assertLess(time.monotonic() - begin, 30, "a rank is left")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
