"""What one call says agrees with what another does, and with what the C++ library's tests say."""
import json
import os
import pathlib
import unittest

import hunch
import numpy as np
from fixtures import DEMO, PROMPT, ModelTest, demo_text

GREEDY = {"temperature": 0}


class Answers(ModelTest):
    def test_a_greedy_answer_is_the_most_probable_token_after_the_other(self):
        answer = self.model.generate(PROMPT, n_tokens=6, **GREEDY)
        ids = self.model.tokenize(PROMPT)
        for expected in answer.ids:
            self.assertEqual(int(self.model.logits(ids)[-1].argmax()), expected)
            ids.append(expected)
        self.assertEqual(answer.text, self.model.detokenize(answer.ids))
        self.assertEqual(answer.stop_reason, "length")
        self.assertEqual(answer.n_prompt, len(self.model.tokenize(PROMPT)))

    def test_ids_and_text_are_the_same_prompt(self):
        ids = self.model.tokenize(PROMPT)
        for prompt in (ids, tuple(ids), np.array(ids), np.array(ids, np.int32), np.array(ids, np.uint16)):
            self.assertEqual(self.model.generate(prompt, n_tokens=4, **GREEDY).ids, self.model.generate(PROMPT, n_tokens=4, **GREEDY).ids)

    def test_log_probabilities_are_those_of_the_logits(self):
        answer = self.model.generate(PROMPT, n_tokens=3, n_top_log_probs=2, **GREEDY)
        row = self.model.logits(PROMPT)[-1].astype(np.float64)
        expected = row - np.log(np.exp(row - row.max()).sum()) - row.max()
        self.assertAlmostEqual(float(answer.log_probs[0]), expected[answer.ids[0]], places=4)
        self.assertEqual([len(top) for top in answer.top_log_probs], [2, 2, 2])
        self.assertEqual(answer.top_log_probs[0][0][0], answer.ids[0])
        self.assertEqual(len(self.model.generate(PROMPT, n_tokens=3, log_probs=False).log_probs), 0)

    def test_options_arrive(self):
        sampled = [self.model.generate(PROMPT, n_tokens=12, seed=seed).ids for seed in (1, 1, 2)]
        self.assertEqual(sampled[0], sampled[1])
        self.assertNotEqual(sampled[0], sampled[2])
        word = self.model.generate(PROMPT, n_tokens=8, **GREEDY).text[3:6]
        self.assertNotIn(word, self.model.generate(PROMPT, n_tokens=8, stop=word, **GREEDY).text)
        favourite = self.model.tokenize("x", add_special=False)[-1]
        self.assertEqual(self.model.generate(PROMPT, n_tokens=2, logit_bias={favourite: 1000.0}, **GREEDY).ids, [favourite] * 2)

    def test_plans_belong_to_calls(self):
        dense = self.model.generate(PROMPT, n_tokens=30, plan="dense", **GREEDY)
        exact = self.model.generate(PROMPT, n_tokens=30, **GREEDY)
        lossless = self.model.generate(PROMPT, n_tokens=30, lossless=True, **GREEDY)
        self.assertEqual(dense.ids, exact.ids)
        self.assertEqual(dense.ids, lossless.ids)
        self.assertGreater(lossless.n_accepted, 0)
        sparse = self.model.generate(PROMPT, n_tokens=20, plan=hunch.Plan("sparse", density=0.4), **GREEDY)
        self.assertAlmostEqual(sparse.density, 0.4, delta=0.1)
        with hunch.Model(DEMO, n_threads=1, plan="sparse", n_ctx=128, kv=self.kv) as model:
            self.assertEqual(model.generate(PROMPT, n_tokens=6, **GREEDY).ids, self.model.generate(PROMPT, n_tokens=6, plan="sparse", **GREEDY).ids)

    def test_callbacks_see_the_text_and_may_stop_it(self):
        pieces = []
        answer = self.model.generate(PROMPT, pieces.append, n_tokens=12, **GREEDY)
        self.assertEqual("".join(pieces), answer.text)
        short = self.model.generate(PROMPT, lambda piece: False, n_tokens=12, **GREEDY)
        self.assertLess(len(short.ids), 12)

    def test_a_stream_is_the_answer_in_pieces(self):
        answer = self.model.generate(PROMPT, n_tokens=12, **GREEDY)
        stream = self.model.stream(PROMPT, n_tokens=12, **GREEDY)
        first = next(stream)
        self.assertIsNone(stream.result)
        between = self.model.generate("The cat", n_tokens=3, **GREEDY)  # others may compute in between
        self.assertEqual(first + "".join(stream), answer.text)
        self.assertEqual(stream.result.ids, answer.ids)
        self.assertEqual(list(stream), [])
        self.assertEqual(between.ids, self.model.generate("The cat", n_tokens=3, **GREEDY).ids)
        abandoned = self.model.stream(PROMPT, n_tokens=100)
        next(abandoned)
        del abandoned
        self.assertEqual(list(self.model.stream(PROMPT, n_tokens=0)), [])

    def test_a_batch_answers_several(self):
        batch = hunch.Batch(self.model, n_sequences=2)
        heard = []
        first = batch.add(PROMPT, heard.append, n_tokens=8, **GREEDY)
        second = batch.add("The cat", n_tokens=4, plan="dense", **GREEDY)
        self.assertTrue(batch.step())
        self.assertFalse(batch.is_done(first))
        batch.run()
        self.assertFalse(batch.step())
        self.assertEqual(batch.result(first).ids, self.model.generate(PROMPT, n_tokens=8, **GREEDY).ids)
        self.assertEqual("".join(heard), batch.result(first).text)
        self.assertEqual(batch.result(second).ids, self.model.generate("The cat", n_tokens=4, **GREEDY).ids)
        batch.remove(first)
        with self.assertRaisesRegex(hunch.UsageError, "no answer 0"):
            batch.result(first)

    def test_a_session_goes_on(self):
        whole = self.model.generate(PROMPT, n_tokens=12, **GREEDY)
        session = hunch.Session(self.model, n_ctx=64)
        self.assertEqual(session.n_ctx, 64)
        session.read(PROMPT)
        text = session.generate("", n_tokens=5, **GREEDY).text + session.generate([], n_tokens=7, **GREEDY).text
        self.assertEqual(text, whole.text)
        self.assertEqual(session.ids, self.model.tokenize(PROMPT) + whole.ids)
        session.truncate(3)
        self.assertEqual(len(session.ids), 3)

    def test_a_chat_remembers(self):
        chat = hunch.Chat(self.model, template_file="plain", system="Be kind.")
        answer = chat.say("Hello.", n_tokens=5, **GREEDY)
        self.assertEqual(str(answer), answer.generation.text)
        self.assertEqual([m["role"] for m in chat.messages], ["system", "user", "assistant"])
        self.assertGreater(chat.say("And now?", n_tokens=3, **GREEDY).n_cached, 0)
        chat.reset()
        self.assertEqual(len(chat.messages), 1)
        if not self.model.info.has_chat_template:
            with self.assertRaises(FileNotFoundError):
                self.model.apply_chat_template([{"role": "user", "content": "Hello."}])

    def test_a_draft_model_changes_nothing(self):
        draft = hunch.Model(DEMO, threads_of=self.model, n_ctx=256)
        answer = self.model.generate(PROMPT, n_tokens=10, draft_model=draft, **GREEDY)
        self.assertEqual(answer.ids, self.model.generate(PROMPT, n_tokens=10, **GREEDY).ids)
        self.assertGreater(answer.n_accepted, 0)


class Figures(ModelTest):
    def test_perplexity_is_that_of_the_logits(self):
        ids = self.model.tokenize(demo_text(n=400))
        text = self.model.detokenize(ids)
        rows = self.model.logits(ids[:-1]).astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        log_p = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        nll = -log_p[np.arange(len(ids) - 1), ids[1:]].sum()
        found = self.model.perplexity(text)
        self.assertEqual(found.n_tokens, len(self.model.tokenize(text)) - 1)
        self.assertAlmostEqual(found.nll / nll, 1, places=4)
        self.assertAlmostEqual(float(found), np.exp(found.nll / found.n_tokens), places=6)

    def test_compare_says_what_each_says_alone(self):
        told = []
        modes = ["dense", "exact", hunch.Plan("sparse", density=0.3), "lossless", hunch.Mode(name="oracle", oracle_density=0.2)]
        rows = self.model.compare(demo_text(), modes, lambda *about: told.append(about), n_ctx=128, n_decode=4, n_repeats=1)
        self.assertEqual([row.name for row in rows], ["dense", "exact", "sparse", "lossless", "oracle"])
        self.assertGreater(len(told), 2)
        for row, plan in zip(rows, ["dense", "exact", modes[2]]):
            alone = self.model.perplexity(demo_text(), n_ctx=128, plan=plan)
            self.assertAlmostEqual(row.perplexity / alone.perplexity, 1, places=3)
        self.assertEqual(rows[0].kl, 0)
        self.assertGreater(rows[2].kl, rows[1].kl)
        self.assertLess(rows[2].bytes_per_token, rows[0].bytes_per_token)
        self.assertEqual(len(rows[2].density_per_layer), self.model.info.n_layer)

    def test_a_quantised_copy_and_its_price(self):
        told = []
        made = hunch.quantize(DEMO, self.path("q4.gguf"), lambda *about: told.append(about), type="q4_0", n_threads=1)
        self.assertEqual(os.path.getsize(made.path), made.bytes)
        self.assertEqual(pathlib.Path(made.path), pathlib.Path(self.path("q4.gguf")))
        self.assertLess(made.bits_per_weight, 5)
        self.assertGreater(len(told), 0)
        with hunch.Model(pathlib.Path(made.path), n_threads=1) as small:
            self.assertEqual(small.info.dtype, "q4_0")
            rows = self.model.compare(demo_text(), ["exact", small], n_ctx=128, n_decode=2, n_repeats=1)
            self.assertGreater(rows[1].kl, 0.001)
        with self.assertRaisesRegex(ValueError, "there already"):
            hunch.quantize(DEMO, self.path("q4.gguf"))

    def test_what_is_calibrated_is_used(self):
        copy = self.path("copy.gguf")
        os.symlink(DEMO, copy)
        told = []
        with hunch.Model(copy, n_threads=1, n_ctx=256, kv=self.kv) as model:
            made = model.calibrate(demo_text("book.txt", 12000), lambda what, done, total: told.append(what), method="cats", density=0.5,
                                   max_tokens=2000, heads=False, screen=False, sidecar=self.path("made.hunch"))
            self.assertEqual(os.fspath(made.sidecar), self.path("made.hunch"))
            self.assertEqual(made.method, "cats")
            self.assertTrue(os.path.exists(made.sidecar))
            self.assertGreater(len(set(told)), 0)
            self.assertGreater(made.perplexity_sparse, 1)
            self.assertEqual(model.generate(PROMPT, n_tokens=4, plan="sparse", **GREEDY).ids,
                             self.model.generate(PROMPT, n_tokens=4, plan=hunch.Plan("sparse", sidecar=made.sidecar), **GREEDY).ids)

    def test_likelihoods(self):
        scorer = hunch.Scorer(self.model)
        likely = self.model.generate(PROMPT, n_tokens=4, **GREEDY)
        score, greedy = scorer.score(self.model.tokenize(PROMPT), likely.ids)
        self.assertTrue(greedy)
        self.assertAlmostEqual(score, float(likely.log_probs.sum()), places=3)
        self.assertLess(scorer.score(PROMPT, " zebra zebra")[0], score)
        self.assertEqual(scorer.n_ctx, 256)

    def test_vectors(self):
        one = self.model.embed("The cat sleeps.")
        both = self.model.embed(["The cat sleeps.", "A dog naps."], pooling="mean")
        self.assertEqual(one.shape, (self.model.info.n_embd,))
        self.assertEqual(both.shape, (2, self.model.info.n_embd))
        self.assertAlmostEqual(float(np.linalg.norm(one)), 1, places=5)
        states = self.model.hidden_states("The cat sleeps.")
        mean = states.mean(axis=0)
        np.testing.assert_allclose(both[0], mean / np.linalg.norm(mean), atol=1e-5)
        self.assertEqual(self.model.embed([]).shape, (0, self.model.info.n_embd))
        with self.assertRaises(NotImplementedError):
            self.model.rerank("Who sleeps?", ["The cat."])

    def test_the_model_says_what_it_is(self):
        info = self.model.info
        self.assertEqual((info.architecture, info.dtype, info.n_ctx), ("opt", "f16", 256))
        self.assertEqual(self.model.tokenize("")[:1], [info.bos] if self.model.tokenize("") else [])
        self.assertIn("opt", repr(self.model))
        self.assertEqual(hunch.Plan("sparse", 0.5), hunch.Plan("sparse", 0.5))
        self.assertEqual(repr(hunch.Plan("sparse", 0.5)), "Plan('sparse', density=0.5)")
        json.dumps(self.model.tokenize("a list of plain numbers"))


if __name__ == "__main__":
    unittest.main()
