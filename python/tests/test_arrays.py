"""Arrays own what they show: they outlive calls, models and the answers that they came with."""
import gc
import os
import unittest

import hunch
import numpy as np
from fixtures import DEMO, PROMPT, ModelTest


class Arrays(ModelTest):
    def test_logits_have_a_row_for_each_token(self):
        ids = self.model.tokenize(PROMPT)
        logits = self.model.logits(ids)
        self.assertEqual((logits.shape, logits.dtype), ((len(ids), self.model.info.n_vocab), np.float32))
        np.testing.assert_array_equal(logits, self.model.logits(PROMPT))
        np.testing.assert_allclose(logits[:3], self.model.logits(ids[:3]), atol=1e-4)

    def test_nothing_is_copied(self):
        logits = self.model.logits(PROMPT)
        self.assertFalse(logits.flags.owndata)  # the library's own vector, kept by a capsule
        self.assertEqual(type(logits.base).__name__, "PyCapsule")
        self.assertTrue(logits.flags.c_contiguous)
        self.assertIs(np.asarray(logits, np.float32), logits)
        answer = self.model.generate(PROMPT, n_tokens=4, temperature=0)
        self.assertIs(answer.log_probs.base, answer)

    def test_arrays_outlive_what_made_them(self):
        model = hunch.Model(DEMO, n_threads=1, n_ctx=64)
        logits, states = model.logits(PROMPT), model.hidden_states(PROMPT)
        layer = model.activations(PROMPT).layers[1].activations
        log_probs = model.generate(PROMPT, n_tokens=3, temperature=0).log_probs
        expected = [array.copy() for array in (logits, states, layer, log_probs)]
        model.close()
        del model
        gc.collect()
        np.random.default_rng(0).random(1 << 20)  # somebody else's memory
        for array, copy in zip((logits, states, layer, log_probs), expected):
            np.testing.assert_array_equal(array, copy)

    def test_activations_are_those_of_a_relu(self):
        seen = self.model.activations(PROMPT)
        info = self.model.info
        n = len(seen.ids)
        self.assertEqual(seen.ids, self.model.tokenize(PROMPT))
        self.assertEqual(len(seen.layers), info.n_layer)
        for layer in seen.layers:
            self.assertEqual((layer.activations.shape, layer.activations.dtype), ((n, info.n_ff), np.float16))
            self.assertEqual((layer.neurons.shape, layer.neurons.dtype), ((n, info.n_ff), np.bool_))
            self.assertEqual((layer.head_norms.shape, layer.head_norms.dtype), ((n, info.n_head), np.float32))
            self.assertEqual(layer.head_groups.shape, (n, info.n_kv_head))
            self.assertIsNone(layer.router)
            self.assertTrue((layer.activations >= 0).all())
            self.assertLess((layer.activations > 0).mean(), 0.5)

    def test_selections_are_what_the_plan_chose(self):
        exact = self.model.activations(PROMPT)  # what is not zero, but for what rounds to zero in half precision
        for layer in exact.layers:
            self.assertTrue(layer.neurons[layer.activations > 0].all())
            self.assertLess((layer.neurons & (layer.activations == 0)).mean(), 0.001)
        dense = self.model.activations(PROMPT, plan="dense")
        self.assertTrue(all(layer.neurons.all() for layer in dense.layers))
        sparse = self.model.activations(PROMPT, plan=hunch.Plan("sparse", density=0.05))
        self.assertLess(np.mean([layer.neurons.mean() for layer in sparse.layers]), 0.07)
        # The first layer reads the same in both: what was chosen has the same values.
        chosen = sparse.layers[0].neurons
        self.assertGreater(chosen.sum(), 10)
        np.testing.assert_allclose(sparse.layers[0].activations[chosen], dense.layers[0].activations[chosen], atol=0.05)

    def test_ids_may_be_strided_arrays_of_any_integers(self):
        ids = np.array(self.model.tokenize(PROMPT))
        wide = np.zeros((len(ids), 2), np.int64)
        wide[:, 1] = ids
        np.testing.assert_array_equal(self.model.logits(wide[:, 1]), self.model.logits(ids))
        self.assertEqual(self.model.detokenize(ids.astype(">i4")), self.model.detokenize(list(ids)))

    def test_memory_comes_back(self):
        def resident():
            with open("/proc/self/statm", encoding="ascii") as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if not os.path.exists("/proc/self/statm"):
            self.skipTest("no /proc here")
        ids = self.model.tokenize(PROMPT) * 20  # logits of 2 to 4 MB
        for _ in range(3):
            self.model.logits(ids)
        before, size = resident(), self.model.logits(ids).nbytes
        for _ in range(20):
            self.model.logits(ids)
        self.assertLess(resident() - before, 8 * size)


if __name__ == "__main__":
    unittest.main()
