"""train from end to end: adapters and models that learned a text, runs that go on where they stopped."""
import hashlib
import json
import os
import resource
import signal
import subprocess
import unittest
import zlib

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

    def test_factors_of_ia3(self):
        out, merged = self.path("ia3"), self.path("ia3-merged.gguf")
        self.train("--method", "ia3", "-o", out, "--steps", "40", "--learning-rate", "0.05")
        with open(os.path.join(out, "adapter_config.json"), encoding="utf-8") as f:
            self.assertEqual(json.load(f)["peft_type"], "IA3")
        with_it = self.perplexity(self.opt, "--lora", out)
        self.assertLess(with_it, 0.97 * self.perplexity(self.opt))
        self.hunch("merge", self.opt, "--lora", out, "-o", merged)
        self.assertAlmostEqual(self.perplexity(merged) / with_it, 1, delta=2e-3)
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--method", "ia3", "-o", self.path("x.gguf"), says="ia3")

    def test_virtual_tokens(self):
        before = self.perplexity(self.opt, "--ctx", "64")
        for method in "prompt", "prefix":
            out = self.path(method)
            self.train("--method", method, "--virtual-tokens", "3", "-o", out, "--steps", "40", "--learning-rate", "0.05")
            with open(os.path.join(out, "adapter_config.json"), encoding="utf-8") as f:
                config = json.load(f)
            self.assertEqual((config["peft_type"], config["num_virtual_tokens"]), (method.upper() + "_TUNING", 3))
            self.assertLess(self.perplexity(self.opt, "--lora", out, "--ctx", "64"), before, method)
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--virtual-tokens", "3", "-o", self.path("x.gguf"), says="prefix")

    def test_an_adapter_begins_with_what_rounding_lost(self):
        q4 = self.path("q4.gguf")
        self.hunch("quantize", self.opt, "--type", "q4_0", "-o", q4)
        train = ["train", q4, "--text", self.text, "--eval", self.other, *QUICK, "--steps", "1", "--json"]
        plain = self.hunch(*train, "-o", self.path("plain.gguf")).json["held_out_before"]
        loftq = self.hunch(*train, "-o", self.path("loftq.gguf"), "--loftq", self.opt).json["held_out_before"]
        exact = self.hunch("train", self.opt, *train[2:], "-o", self.path("exact.gguf")).json["held_out_before"]
        self.assertLess(abs(loftq - exact), abs(plain - exact))

    def test_a_teacher_answers_prompts(self):
        prompts, other, out = self.path("prompts.txt"), self.path("other.txt"), self.path("taught.gguf")
        words = random_words(60).split()
        asked = [" ".join(words[i:i + 3]) for i in range(0, 60, 3)]
        with open(prompts, "w", encoding="utf-8") as f:
            f.write("\n".join(asked) + "\n")
        with open(other, "w", encoding="utf-8") as f:
            f.write("\n".join(reversed(asked)) + "\n")
        train = ["train", self.opt, "--teacher", self.opt, "--answer-tokens", "8", *QUICK, "--steps", "2", "-o", out]
        self.hunch(*train, "--prompts", prompts)
        with open(out + ".answers.jsonl", encoding="utf-8") as f:
            whole = f.read()
        self.assertEqual([json.loads(line)["prompt"] for line in whole.splitlines()], asked)
        self.assertTrue(all(len(json.loads(line)["answer"]) < 200 for line in whole.splitlines()))
        os.remove(out)
        with open(out + ".answers.jsonl", "w", encoding="utf-8") as f:
            f.write(whole[:-5])  # within the last line
        self.hunch(*train, "--prompts", prompts)
        with open(out + ".answers.jsonl", encoding="utf-8") as f:
            self.assertEqual(f.read(), whole)
        os.remove(out)
        self.refused(2, *train, "--prompts", other, says="--restart")
        self.refused(2, "train", self.opt, "--prompts", prompts, *QUICK, "-o", out, says="--teacher")

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

    def test_optimisers_in_bytes_and_orthogonal(self):
        before = self.perplexity(self.opt)
        for optimizer in "adamw8", "muon":
            out = self.path(f"{optimizer}.gguf")
            self.train("--method", "full", "--optimizer", optimizer, "-o", out, "--steps", "20", "--learning-rate", "0.003")
            self.assertLess(self.perplexity(out), 0.6 * before)

    def test_examples_and_questions(self):
        questions = [{"question": f"Number {i}. Odd or even?", "choices": {"text": ["odd", "even"], "label": ["A", "B"]},
                      "answerKey": "BA"[i % 2]} for i in range(60)]
        asked = self.write("asked.jsonl", "".join(json.dumps(q) + "\n" for q in questions))
        pairs = self.write("pairs.jsonl", "".join(json.dumps({"prompt": f"Number {i}.", "answer": " odd" if i % 2 else " even"}) + "\n" for i in range(40)))
        for name, more in ("task", ["--task", "arc_easy", "--file", asked]), ("pairs", ["--examples", pairs]):
            out = self.path(f"{name}.gguf")
            report = self.hunch("train", self.opt, *more, "--batch", "8", "--steps", "30", "--learning-rate", "0.01", "--threads", "2", "-o", out, "--json").json
            self.assertLess(report["held_out_after"], 0.5 * report["held_out_before"], name)
        right = self.hunch("eval", self.opt, "--task", "arc_easy", "--file", asked, "--lora", self.path("task.gguf"), "--json", "--threads", "2").json
        self.assertGreaterEqual(right["acc"], 0.5)
        bad = self.write("bad.jsonl", '{"prompt": "a", "answer": "b"}\n{"prompt": "a"}\n')
        self.refused(1, "train", self.opt, "--examples", bad, "-o", self.path("x.gguf"), says=("bad.jsonl", "line 2", "answer"))
        self.refused(2, "train", self.opt, "--examples", pairs, "--text", self.text, "-o", self.path("x.gguf"), says="one of --text")
        self.refused(2, "train", self.opt, "--task", "arc_easy", "-o", self.path("x.gguf"), says="--file")
        self.refused(2, "train", self.opt, "--task", "gsm8k", "--file", asked, "-o", self.path("x.gguf"), says="--examples")

    def test_from_scratch_and_grown(self):
        small, large = self.path("small-new.gguf"), self.path("grown.gguf")
        sizes = ["--layers", "1", "--width", "32", "--ff", "48", "--heads", "2"]
        report = self.train("--new", *sizes, "-o", small, "--steps", "30", "--optimizer", "muon", "--learning-rate", "0.01", "--json").json
        self.assertLess(report["held_out_after"], 0.8 * report["held_out_before"])
        self.assertEqual(report["method"], "full")
        report = self.hunch("train", small, "--text", self.text, "--eval", self.other, *QUICK, "--grow", "--layers", "2", "--width", "64",
                            "-o", large, "--steps", "2", "--learning-rate", "0.0001", "--json").json
        self.assertAlmostEqual(report["held_out_before"], self.train_loss(small), places=2)
        self.assertGreater(os.path.getsize(large), 1.3 * os.path.getsize(small))
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--layers", "2", "-o", self.path("x.gguf"), says="--new or --grow")
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--new", "--heads", "7", "--width", "32", "-o", self.path("x.gguf"), says="7 heads")
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--grow", "--width", "33", "-o", self.path("x.gguf"), says="multiple")

    def train_loss(self, model):
        """The loss on self.other as training measures it."""
        return self.hunch("train", model, "--text", self.text, "--eval", self.other, *QUICK, "--steps", "1", "-o", self.path("measure.gguf"),
                          "--json", "--force").json["held_out_before"]

    def test_pruned_and_zeros_that_stay(self):
        pruned, recovered, one = self.path("pruned.gguf"), self.path("recovered.gguf"), self.path("one.gguf")
        self.train("--method", "full", "--only-layers", "0", "-o", one, "--steps", "4")
        self.assertLess(self.perplexity(one), self.perplexity(self.opt))
        self.train("--method", "full", "--prune", "50%", "-o", pruned, "--steps", "12")
        self.assertLess(self.packed(pruned), 0.8 * self.packed(one))
        self.hunch("train", pruned, "--text", self.text, *QUICK, "--method", "full", "--keep-zeros", "-o", recovered, "--steps", "4", "--eval", self.other)
        self.assertAlmostEqual(self.packed(recovered), self.packed(pruned), delta=0.05 * self.packed(pruned))
        self.assertNotEqual(digest(recovered), digest(pruned))
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--prune", "0.5", "-o", self.path("x.gguf"), says="--method full")
        self.refused(2, "train", self.opt, "--text", self.text, *QUICK, "--only-layers", "7", "-o", self.path("x.gguf"), says="layer 7")

    def packed(self, model):
        """How small the file gets: zeros take next to nothing."""
        with open(model, "rb") as f:
            return len(zlib.compress(f.read()))

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
        self.refused(2, *train, "-o", self.path("x.gguf"), "--method", "dora", says="dora")
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
