"""train from end to end: adapters and models that learned a text, runs that go on where they stopped."""
import hashlib
import os
import resource
import signal
import subprocess
import unittest

from fixtures import BINARY, CliTest, random_words

QUICK = ["--ctx", "32", "--batch", "4", "--threads", "2"]


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Train(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "letters.txt")
        cls.other = os.path.join(cls.dir, "held.txt")
        for path, n in (cls.text, 700), (cls.other, 100):
            with open(path, "w", encoding="utf-8") as f:
                f.write(random_words(n))

    def perplexity(self, model, *more):
        return self.hunch("eval", model, "--text", self.other, "--json", "--threads", "2", *more).json["perplexity"]

    def train(self, *more):
        return self.hunch("train", self.opt, "--text", self.text, "--eval", self.other, *QUICK, *more)

    def test_adapters_learn_the_text_and_are_read_at_once(self):
        before = self.perplexity(self.opt)
        for out, more in (self.path("tone.gguf"), []), (self.path("tone"), ["--method", "dora"]), (self.path("rs/"), ["--method", "rslora"]):
            report = self.train("-o", out, "--steps", "30", "--learning-rate", "0.01", "--json", *more).json
            self.assertLess(report["held_out_after"], 0.8 * report["held_out_before"])
            self.assertEqual([p["step"] for p in report["curve"]], list(range(1, 31)))
            self.assertLess(self.perplexity(self.opt, "--lora", out), 0.5 * before)
            self.assertFalse(os.path.exists(out.rstrip("/") + ".checkpoint"))

    def test_quantised_base(self):
        small, out = self.path("small.gguf"), self.path("small-tone.gguf")
        self.hunch("convert", self.opt, "-o", small, "--type", "q8_0")
        kept = digest(small)
        self.hunch("train", small, "--text", self.text, "--eval", self.other, *QUICK, "-o", out, "--steps", "30", "--learning-rate", "0.01")
        self.assertEqual(digest(small), kept)
        self.assertLess(self.perplexity(small, "--lora", out), 0.5 * self.perplexity(small))
        self.refused(1, "train", small, "--text", self.text, "--method", "full", *QUICK, "-o", self.path("x.gguf"), says="train an adapter")

    def test_all_weights(self):
        before = self.perplexity(self.opt)
        for optimizer, rate in ("adamw", "0.003"), ("lomo", "0.1"):
            out = self.path(f"{optimizer}.gguf")
            self.train("--method", "full", "--optimizer", optimizer, "-o", out, "--steps", "30", "--learning-rate", rate)
            self.assertLess(self.perplexity(out), 0.5 * before)

    def test_distilled(self):
        teacher = self.path("teacher.gguf")
        self.train("--method", "full", "-o", teacher, "--steps", "30", "--learning-rate", "0.003")
        out = self.path("student.gguf")
        for divergence in "forward", "reverse":
            self.train("--teacher", teacher, "--divergence", divergence, "-o", out, "--steps", "30", "--learning-rate", "0.01", "--force")
            self.assertLess(self.perplexity(self.opt, "--lora", out), 0.6 * self.perplexity(self.opt))

    def test_the_same_bits_by_any_number_of_threads(self):
        out = []
        for n in 1, 2, 3:
            folder = self.path(f"threads{n}")  # the file's name is in the file
            os.mkdir(folder)
            out.append(os.path.join(folder, "tone.gguf"))
            self.train("-o", out[-1], "--steps", "4", "--threads", str(n))
        self.assertEqual(len({digest(path) for path in out}), 1)

    def test_interrupted_it_goes_on_to_the_same_bits(self):
        command = ["train", self.opt, "--text", self.text, "--eval", self.other, *QUICK, "--steps", "400", "--eval-every", "10"]
        whole, out = self.path("a/whole.gguf"), self.path("b/whole.gguf")
        for path in whole, out:
            os.mkdir(os.path.dirname(path))
        self.hunch(*command, "-o", whole)
        process = subprocess.Popen([BINARY, *command, "-o", out], stderr=subprocess.PIPE, env=self.environment())
        while b"step 20 of" not in process.stderr.readline():
            self.assertIsNone(process.poll(), "it ended before it was stopped")
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("goes on from there", err)
        self.assertEqual(os.listdir(os.path.dirname(out)), ["whole.gguf.checkpoint"])
        self.refused(2, *command, "--learning-rate", "0.5", "-o", out, says=("whole.gguf.checkpoint", "learning rate"))
        kept, limit = digest(out + ".checkpoint"), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        self.refused(1, *command, "-o", out, says=("cannot write", "goes on from there"), preexec_fn=limit)
        self.assertEqual(digest(out + ".checkpoint"), kept)
        self.hunch(*command, "-o", out)
        self.assertEqual(digest(out), digest(whole))
        self.assertEqual(os.listdir(os.path.dirname(out)), ["whole.gguf"])

    def test_a_loss_that_is_no_number_ends_it(self):
        out = self.path("wild.gguf")
        self.refused(1, "train", self.opt, "--text", self.text, "--method", "full", "--optimizer", "sgd", "--learning-rate", "1e30", "--clip", "0", *QUICK,
                     "--steps", "40", "-o", out, says="step")
        self.assertFalse(os.path.exists(out))

    def test_what_is_wrong_is_named(self):
        train = ["train", self.opt, "--text", self.text, *QUICK]
        self.refused(2, "train", self.opt, "-o", self.path("x.gguf"), says="--text FILE")
        self.refused(2, *train, says="-o")
        self.refused(2, *train, "-o", self.path("nowhere/x.gguf"), says="no folder")
        self.refused(2, *train, "-o", self.path("x.gguf"), "--method", "dora", says="DoRA")
        self.refused(2, *train, "-o", self.path("x"), "--method", "full", says=".gguf")
        self.refused(2, *train, "-o", self.path("x.gguf"), "--method", "full", "--rank", "4", says="--rank")
        self.refused(2, *train, "-o", self.path("x.gguf"), "--rank", "0", says="--rank")
        self.refused(2, *train, "-o", self.path("x.gguf"), "--ctx", "5000", says="context")
        self.refused(2, *train, "-o", self.write("there.gguf", "something"), says="--force")
        self.refused(2, *train, "-o", self.text, "--force", says="part of what is read")
        short = self.write("short.txt", "the end")
        self.refused(2, "train", self.opt, "--text", short, *QUICK, "-o", self.path("x.gguf"), says="one window takes 33")
        self.refused(1, *train, "-o", self.path("x.gguf"), "--teacher", self.write("teacher.gguf", "no model"), says="teacher.gguf")


if __name__ == "__main__":
    unittest.main()
