"""Training: what is written is what models take, callbacks see and end it, and what is wrong is named."""
import os
import unittest

import hunch
from fixtures import DEMO, ModelTest, demo_text

QUICK = dict(n_steps=3, n_ctx=32, n_batch=2)


class Training(ModelTest):
    def test_an_adapter_learns_and_is_taken_at_once(self):
        seen = []
        text, out = demo_text("book.txt", 4000), self.path("tone.gguf")
        done = self.model.train(text, out, seen.append, held_out=demo_text("book.txt", 600), learning_rate=0.01, **QUICK)
        self.assertEqual(os.fspath(done.out), out)
        self.assertEqual([s.step for s in seen], [1, 2, 3])
        self.assertEqual([s.loss for s in seen], done.losses)
        self.assertLess(done.held_out_after, done.held_out_before)
        with hunch.Model(DEMO, adapters=[out], threads_of=self.model, n_ctx=256) as adapted:
            self.assertNotEqual(adapted.logits("The king").tolist(), self.model.logits("The king").tolist())
        with self.assertRaisesRegex(ValueError, "there already"):
            self.model.train(text, out, **QUICK)

    def test_returning_false_ends_it(self):
        done = self.model.train(demo_text(), self.path("short.gguf"), lambda step: step.step < 2, **QUICK)
        self.assertEqual(done.n_steps, 2)
        self.assertTrue(os.path.exists(done.out))

    def test_what_a_callback_raises_comes_out_and_nothing_is_written(self):
        def fails(step):
            raise KeyError("mine")
        with self.assertRaisesRegex(KeyError, "mine"):
            self.model.train(demo_text(), self.path("never.gguf"), fails, **QUICK)
        self.assertFalse(os.path.exists(self.path("never.gguf")))

    def test_examples(self):
        pairs = [("Who are you?", " A goose."), ("Who am I?", " A king.")] * 3
        done = self.model.train(pairs, self.path("pairs.gguf"), n_steps=3, n_batch=2, learning_rate=0.01)
        self.assertLess(done.losses[-1], done.losses[0])

    def test_by_path_with_a_teacher(self):
        done = hunch.train(DEMO, demo_text(), self.path("taught"), teacher=self.model, method="dora", **QUICK)
        self.assertTrue(os.path.exists(os.path.join(self.path("taught"), "adapter_config.json")))
        self.assertAlmostEqual(done.losses[0], 0, places=3)

    def test_what_is_wrong_is_named(self):
        text, out = demo_text(), self.path("x.gguf")
        for error, word, data, options in (
                (TypeError, "prompt, answer", [("a", "b", "c")], {}), (TypeError, "prompt, answer", 7, {}),
                (TypeError, "no option 'steps'", text, {"steps": 3}), (TypeError, "n_steps", text, {"n_steps": "three"}),
                (TypeError, "a Model", text, {"teacher": DEMO}), (TypeError, "list of layers", text, {"only_layers": "0"}),
                (ValueError, "lora, rslora", text, {"method": "magic"}), (ValueError, "one window takes", "too short", {}),
                (ValueError, "method full", text, {"type": "q4_0"}), (ValueError, "no example", [], {})):
            with self.subTest(word), self.assertRaisesRegex(error, word):
                self.model.train(data, out, **options)
        self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    unittest.main()
