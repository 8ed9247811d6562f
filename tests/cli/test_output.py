"""Output never destroys input: what is there already is written over with --force only, and what is read never."""
import os
import stat
import unittest

from fixtures import CliTest

TINY = ["synth", "--shape", "opt-125m", "--n-layer", "1", "--n-embd", "320", "--n-ff", "320", "--n-head", "2", "--n-vocab", "640"]


class Output(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write("the hen on the heath and the other hen in there, then another one. " * 60)

    def content(self, path):
        with open(path, "rb") as f:
            return f.read()

    def kept_unless_forced(self, command, option, inputs=()):
        """`command` without its last option writes to what the option names."""
        there = self.write("there", "precious")
        self.refused(2, *command, option, there, says=[option.lstrip("-"), "is there already", "--force"])
        for path in inputs:
            before = self.content(path)
            self.refused(2, *command, "--force", option, path, says="part of what is read")
            self.assertEqual(self.content(path), before)
        self.refused(2, *command, option, self.dir, says="is a folder")
        self.assertEqual(self.content(there), b"precious")
        self.hunch(*command, "--force", option, there, "--quiet")
        self.assertNotEqual(self.content(there), b"precious")
        os.remove(there)

    def test_models(self):
        weights = os.path.join(self.opt, "model.safetensors")
        self.kept_unless_forced(["convert", self.opt, "--type", "f16"], "-o", [weights])
        single = self.path("single.gguf")
        self.hunch("convert", self.opt, "-o", single)
        link = self.path("link.gguf")
        os.symlink(single, link)
        self.kept_unless_forced(["quantize", single, "--type", "q8_0"], "-o", [single, link])
        self.kept_unless_forced(["compress", single, "--low-rank", "0.5", "--text", self.text], "-o", [single, self.text])

    def test_what_is_no_file_stays_what_it_is(self):
        pipe, link, target = self.path("pipe"), self.path("link-to-old"), self.write("old", "precious")
        os.mkfifo(pipe)
        os.symlink(target, link)
        convert = ["convert", self.opt, "--type", "f16", "--quiet", "-o"]
        for command in [*convert, pipe], [*convert, pipe, "--force"], ["logits", self.opt, "--ids", "5,9", "--force", "--out", pipe]:
            self.refused(2, *command, says="is no regular file")
            self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))
        self.refused(2, *convert, "-", says="./- is a file called -")
        self.refused(2, *convert, link, says="is there already")
        self.hunch(*convert, link, "--force")  # what the link leads to is written, and the link stays
        self.assertTrue(os.path.islink(link))
        self.assertTrue(self.content(target).startswith(b"GGUF"))

    def test_sidecars(self):
        sparsify = ["sparsify", self.opt, "--text", self.text, "--predictor", "svd", "--rank", "16", "--density", "0.5", "--threads", "1"]
        self.kept_unless_forced(sparsify, "-o", [self.text, os.path.join(self.opt, "config.json")])
        beside = self.write("opt.hunch", "precious")  # where no -o names another file
        self.refused(2, *sparsify, says="is there already")
        self.assertEqual(self.content(beside), b"precious")
        os.remove(beside)

    def test_random_models_and_their_text(self):
        self.kept_unless_forced(TINY, "-o")
        self.kept_unless_forced([*TINY, "--density", "0.2", "--text-tokens", "100"], "--text")
        out = self.path("random.gguf")
        beside = self.write("random.gguf.hunch", "precious")
        self.refused(2, *TINY, "--density", "0.2", "--sidecar", "-o", out, says="is there already")
        self.assertEqual(self.content(beside), b"precious")

    def test_logits(self):
        self.kept_unless_forced(["logits", self.opt, "--ids", "5,9"], "--out", [os.path.join(self.opt, "vocab.json")])

    def test_reports(self):
        inspect = ["inspect", self.opt, "--text", self.text, "--tokens", "64", "--ctx", "64", "--oracle-tokens", "0"]
        self.kept_unless_forced(inspect, "--html", [self.text])
        figures = self.path("figures")
        os.mkdir(figures)
        mine = os.path.join(figures, "hot.svg")
        with open(mine, "w", encoding="utf-8") as f:
            f.write("precious")
        self.refused(2, *inspect, "--svg", figures, says=["hot.svg", "--force"])
        self.assertEqual(self.content(mine), b"precious")
        self.hunch(*inspect, "--svg", figures, "--force")
        self.assertNotEqual(self.content(mine), b"precious")

    def test_a_chat_saves_over_what_it_saved_itself(self):
        there, new = self.write("there.json", "precious"), self.path("new.json")
        result = self.hunch("chat", self.opt, "-n", "1", stdin=f"/save {there}\n/save {new}\nhello\n/save {new}\n".encode())
        self.assertEqual(self.content(there), b"precious")
        self.assertIn("is there already", result.err)
        self.assertIn(b"hello", self.content(new))


if __name__ == "__main__":
    unittest.main()
