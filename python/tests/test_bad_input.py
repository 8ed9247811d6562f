"""What cannot be meant is an exception that says what was expected and what was found; nothing crashes."""
import os
import subprocess
import sys
import unittest

import hunch
import numpy as np
from fixtures import DEMO, PROMPT, ModelTest


class BadInput(ModelTest):
    def refused(self, error, words, call, *args, **options):
        with self.assertRaisesRegex(error, words):
            call(*args, **options)

    def test_files(self):
        self.refused(FileNotFoundError, "/nonexistent.gguf", hunch.Model, "/nonexistent.gguf")
        self.refused(hunch.NotFoundError, "/nonexistent", hunch.quantize, "/nonexistent", self.path("x"))
        with open(self.path("broken.gguf"), "wb") as f:
            f.write(b"GGUF\3\0\0\0" + b"\xff" * 40)
        self.refused(hunch.FormatError, "broken.gguf", hunch.Model, self.path("broken.gguf"))
        with open(DEMO, "rb") as f, open(self.path("cut.gguf"), "wb") as g:
            g.write(f.read(1 << 20))
        self.refused(ValueError, "cut.gguf", hunch.Model, self.path("cut.gguf"))
        self.refused(TypeError, "path: expected a path.*found 7", hunch.Model, 7)
        self.refused(ValueError, "zero bytes", hunch.Model, "a\0b")
        self.refused(FileNotFoundError, "nowhere", hunch.Model, DEMO, plan=hunch.Plan("sparse", sidecar="/nowhere.hunch"))
        for error in (hunch.NotFoundError, hunch.UsageError):
            self.assertTrue(issubclass(error, hunch.Error))
        try:
            hunch.Model("/nonexistent.gguf")
        except hunch.Error as e:
            self.assertEqual(e.kind, "not_found")

    def test_options(self):
        self.refused(TypeError, r"generate\(\) has no option 'temprature'; it has .*temperature", self.model.generate, PROMPT, temprature=1)
        self.refused(TypeError, "n_tokens: expected a whole number, found 'ten'", self.model.generate, PROMPT, n_tokens="ten")
        self.refused(TypeError, "n_tokens: expected a whole number, found 1.5", self.model.generate, PROMPT, n_tokens=1.5)
        self.refused(TypeError, "n_tokens: expected a whole number, found True", self.model.generate, PROMPT, n_tokens=True)
        self.refused(ValueError, "n_tokens: .*found -1", self.model.generate, PROMPT, n_tokens=-1)
        self.refused(ValueError, "seed: ", self.model.generate, PROMPT, seed=2**70)
        self.refused(TypeError, "temperature: expected a number", self.model.generate, PROMPT, temperature="hot")
        self.refused(ValueError, "temperature", self.model.generate, PROMPT, temperature=float("nan"))
        self.refused(ValueError, "top_p", self.model.generate, PROMPT, top_p=2)
        self.refused(TypeError, "ignore_end: expected True or False", self.model.generate, PROMPT, ignore_end=1)
        self.refused(TypeError, "stop: expected texts", self.model.generate, PROMPT, stop=3)
        self.refused(ValueError, "stop", self.model.generate, PROMPT, stop="")
        self.refused(TypeError, "logit_bias: expected a dict", self.model.generate, PROMPT, logit_bias=[1])
        self.refused(ValueError, "outside the vocabulary|not there|logit_bias", self.model.generate, PROMPT, logit_bias={10**6: 1.0})
        self.refused(TypeError, "plan: expected", self.model.generate, PROMPT, plan=3)
        self.refused(ValueError, "thick", self.model.generate, PROMPT, plan="thick")
        self.refused(ValueError, "magic", self.model.generate, PROMPT, kv_policy="magic:3")
        self.refused(TypeError, "adapters: expected a list", self.model.generate, PROMPT, adapters="tone")
        self.refused(FileNotFoundError, "/nonexistent", self.model.generate, PROMPT, adapters=["/nonexistent"])
        self.refused(TypeError, "draft_model: expected a Model", self.model.generate, PROMPT, draft_model="small")
        self.refused(ValueError, "draft for itself", self.model.generate, PROMPT, draft_model=self.model)
        self.refused(TypeError, "on_text: expected a callable", self.model.generate, PROMPT, "loud")
        self.refused(TypeError, "pooling: expected a text", self.model.embed, PROMPT, pooling=1)
        self.refused(ValueError, "pooling: expected \"mean\"", self.model.embed, PROMPT, pooling="most")
        self.refused(ValueError, "f12", hunch.Model, DEMO, kv="f12")
        self.refused(ValueError, "(?s)precision.*bf16", hunch.Model, DEMO, precision="f12")
        self.refused(ValueError, "(?i)thread", hunch.Model, DEMO, n_threads=100000)
        self.refused(TypeError, "modes: expected", self.model.compare, "text", [3])
        self.refused(TypeError, "modes: expected a list", self.model.compare, "text", "dense")
        self.refused(ValueError, "no modes", self.model.compare, "A text.", [])
        self.refused(ValueError, "q9", hunch.quantize, DEMO, self.path("q9"), type="q9")
        self.refused(ValueError, "needs at least 1200", self.model.calibrate, "too short")

    def test_token_ids(self):
        n_vocab = self.model.info.n_vocab
        for call in (self.model.generate, self.model.logits, self.model.activations, self.model.hidden_states, self.model.detokenize):
            self.refused(ValueError, r"\[1\]: expected a token id|\[1\]: expected a whole number from 0", call, [3, -1])
            self.refused(ValueError, r"\[1\]: expected a token id", call, np.array([3, -1]))
            self.refused(ValueError, "vocabulary", call, [3, n_vocab])
            self.refused(ValueError, "vocabulary", call, np.array([n_vocab]))
            self.refused(ValueError, "", call, [2**40])
            self.refused(ValueError, "", call, np.array([2**63], np.uint64))
            self.refused(TypeError, "one-dimensional array of integers, found an array of float32 of shape \\(2,\\)", call, np.zeros(2, np.float32))
            self.refused(TypeError, "of shape \\(2, 3\\)", call, np.zeros((2, 3), np.int64))
            self.refused(TypeError, "one-dimensional", call, np.array(3))
            self.refused(TypeError, "one-dimensional", call, np.array(["a"]))
            self.refused(TypeError, "one-dimensional", call, np.array([True]))
            self.refused(TypeError, r"\[0\]: expected a whole number", call, [1.5])
            self.refused(TypeError, r"\[0\]: expected a whole number", call, ["one"])
            self.refused(TypeError, r"\[0\]: expected a whole number", call, [True])
            self.refused(TypeError, "expected token ids", call, None)
            self.refused(TypeError, "expected token ids", call, 3)
        scorer = hunch.Scorer(self.model)
        self.refused(ValueError, "vocabulary", scorer.score, [3], [n_vocab])
        self.refused(TypeError, "continuation: expected a text", scorer.score, "a", [3])
        self.refused(TypeError, "text: expected a text", self.model.tokenize, [3])
        self.refused(TypeError, "text: expected a text", self.model.perplexity, b"bytes")

    def test_empty_prompts(self):
        self.refused(ValueError, "", self.model.generate, [])
        self.refused(ValueError, "", self.model.logits, [])
        self.refused(ValueError, "", self.model.logits, np.array([]))
        self.refused(ValueError, "", self.model.activations, [])
        self.refused(ValueError, "", self.model.hidden_states, [])
        self.refused(ValueError, "", self.model.perplexity, "")
        self.refused(ValueError, "", hunch.Scorer(self.model).score, "a", "")
        self.refused(ValueError, "", hunch.Scorer(self.model).score, [], [3])
        self.assertEqual(self.model.detokenize([]), "")

    def test_limits(self):
        long = [5] * 300
        for call in (self.model.generate, self.model.logits):
            self.refused(hunch.LimitError, "256", call, long)
        self.refused(ValueError, "", hunch.Session, self.model, n_ctx=10**9)
        self.refused(ValueError, "", hunch.Batch, self.model, n_sequences=0)
        self.refused((MemoryError, ValueError), "", hunch.Batch, self.model, n_sequences=10**6, n_ctx=256)

    def test_text_that_is_not_utf8(self):
        self.refused(UnicodeEncodeError, "surrogates", self.model.generate, "\ud800")
        self.assertIn("\0", self.model.detokenize(self.model.tokenize("a\0b")) + "\0")

    def test_a_closed_model(self):
        model = hunch.Model(DEMO, n_threads=1, n_ctx=64)
        session, batch, stream, scorer = hunch.Session(model), hunch.Batch(model), model.stream(PROMPT, n_tokens=9), hunch.Scorer(model)
        chat = hunch.Chat(model, template_file="plain")
        next(stream)
        with model:
            pass
        model.close()
        self.assertTrue(model.closed)
        self.assertIn("closed", repr(model))
        self.assertGreater(model.info.n_vocab, 0)
        for call in (lambda: model.generate(PROMPT), lambda: model.tokenize("a"), lambda: model.logits([3]), lambda: session.generate("a"),
                     lambda: session.ids, batch.step, lambda: batch.add(PROMPT), lambda: next(stream), lambda: scorer.score("a", "b"),
                     lambda: chat.say("a"), lambda: hunch.Session(model), lambda: model.calibrate("a"), lambda: model.__enter__().info and model.embed("a"),
                     lambda: self.model.generate(PROMPT, draft_model=model), lambda: self.model.compare("A text.", [model]),
                     lambda: hunch.Model(DEMO, threads_of=model)):
            self.refused(ValueError, "closed", call)

    def test_exceptions_of_callbacks_come_out(self):
        class Own(Exception):
            pass

        def fails(*_):
            raise Own("from within")
        self.refused(Own, "from within", self.model.generate, PROMPT, fails)
        self.refused(Own, "from within", self.model.compare, "A text of some tokens.", ["dense"], fails)
        self.refused(Own, "from within", hunch.quantize, DEMO, self.path("never.gguf"), fails)
        self.assertFalse(os.path.exists(self.path("never.gguf")))
        self.refused(Own, "from within", self.model.calibrate, "many words of a text " * 2000, fails, method="cats", sidecar=self.path("never.hunch"))
        session = hunch.Session(self.model)
        self.refused(Own, "from within", session.generate, PROMPT, fails)
        batch = hunch.Batch(self.model, n_sequences=2)
        batch.add(PROMPT, fails, n_tokens=3)
        good = batch.add("The cat", n_tokens=3, temperature=0)
        self.refused(Own, "from within", batch.run)
        batch.run()
        self.assertEqual(len(batch.result(good).ids), 3)
        self.assertEqual(len(self.model.generate(PROMPT, n_tokens=3).ids), 3)

    def test_a_callback_cannot_use_the_model_that_calls_it(self):
        self.refused(RuntimeError, "callback", self.model.generate, PROMPT, lambda piece: self.model.tokenize(piece))
        self.refused(RuntimeError, "callback", self.model.generate, PROMPT, lambda piece: self.model.close())
        other = hunch.Model(DEMO, n_threads=1, n_ctx=64)
        self.assertEqual(len(self.model.generate(PROMPT, lambda piece: print(end=str(other.tokenize(piece))[:0]), n_tokens=3).ids), 3)

    def test_a_program_may_end_with_everything_open(self):
        code = ("import hunch\nm = hunch.Model(%r, n_threads=2)\ns = m.stream('Once', n_tokens=50)\nnext(s)\n"
                "b = hunch.Batch(m)\nb.add('Once', lambda p: b, n_tokens=5)\nb.step()\na = m.logits('Once')\n" % DEMO)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
