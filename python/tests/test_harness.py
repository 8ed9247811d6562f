"""The adapter of lm-evaluation-harness, asked as the harness asks (a stub of its interface), against `hunch eval`."""
import json
import math
import os
import subprocess
import sys
import unittest

from fixtures import DEMO, SOURCE, ModelTest, demo_text
from hunch import harness

TASKS = os.path.join(SOURCE, "tests", "data", "tasks")
HUNCH = os.environ.get("HUNCH_BINARY", "")


class Instance:
    """What of the harness's Instance a model sees."""

    def __init__(self, *args):
        self.args = args


def hunch_eval(*args):
    done = subprocess.run([HUNCH, "eval", DEMO, "--threads", "1", "--json", "--quiet", *args], capture_output=True, text=True, check=True, timeout=600)
    return json.loads(done.stdout)


class Adapter(ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lm = harness.HarnessModel(model=cls.model, batch_size=3)
        with open(os.path.join(TASKS, "expected.json"), encoding="utf-8") as f:
            cls.cases = json.load(f)

    def scores(self, item):
        requests = [Instance(a, b) for a, b in zip(item["contexts"], item["continuations"])]
        return [score for score, _ in self.lm.loglikelihood(requests)]

    @unittest.skipUnless(os.path.exists(HUNCH), "no program to compare with")
    def test_tasks_are_scored_as_eval_scores_them(self):
        n_tasks = 0
        for case in self.cases:
            if case["task"] not in ("hellaswag", "piqa", "arc") or case["few_shot"]:
                continue
            right, by_length = [], []
            for item in case["items"]:
                scores = self.scores(item)
                right.append(max(range(len(scores)), key=scores.__getitem__) == item["gold"])
                per_letter = [score / (len(text) - 1) for score, text in zip(scores, item["continuations"])]
                by_length.append(max(range(len(scores)), key=per_letter.__getitem__) == item["gold"])
            found = hunch_eval("--task", case["task"], "--file", os.path.join(TASKS, case["path"]), "--ctx", "256")
            self.assertEqual(found["n"], len(right))
            self.assertAlmostEqual(found["acc"], sum(right) / len(right), msg=case["path"])
            self.assertAlmostEqual(found["acc_norm"], sum(by_length) / len(right), msg=case["path"])
            n_tasks += 1
        self.assertGreater(n_tasks, 1)

    @unittest.skipUnless(os.path.exists(HUNCH), "no program to compare with")
    def test_last_words_and_their_perplexity(self):
        case = next(c for c in self.cases if c["path"] == "lambada/lambada_test.jsonl" and not c["few_shot"])
        scores = self.lm.loglikelihood([Instance(item["contexts"][0], item["continuations"][0]) for item in case["items"]])
        found = hunch_eval("--task", "lambada", "--file", os.path.join(TASKS, case["path"]), "--ctx", "256")
        self.assertAlmostEqual(math.exp(-sum(score for score, _ in scores) / len(scores)) / found["perplexity"], 1, delta=1e-4)
        self.assertAlmostEqual(sum(greedy for _, greedy in scores) / len(scores), found["acc"])

    @unittest.skipUnless(os.path.exists(HUNCH), "no program to compare with")
    def test_a_text_that_fits_has_evals_perplexity(self):
        text = demo_text(n=500)
        with open(self.path("text.txt"), "w", encoding="utf-8") as f:
            f.write(text)
        (score,) = self.lm.loglikelihood_rolling([Instance(text)])
        found = hunch_eval("--text", self.path("text.txt"), "--ctx", "256")
        n_ids = len(self.lm.tok_encode(text))
        self.assertLess(n_ids, 256)
        self.assertEqual(found["n_tokens"], n_ids)
        self.assertAlmostEqual(-score / found["nll"], 1, delta=1e-4)

    def test_windows_score_every_token_once(self):
        for n in (0, 1, 7, 8, 9, 16, 17, 23):
            ids = list(range(100, 100 + n))
            parts = list(harness.windows(ids, 1, 8))
            self.assertEqual([i for _, window in parts for i in window], ids)
            for k, (before, window) in enumerate(parts):
                self.assertLessEqual(len(before) + len(window), 9)
                self.assertEqual(before[-1], 1 if k == 0 else window[0] - 1)
        self.assertEqual(len(list(harness.windows(list(range(17)), 1, 8))[-1][0]), 8)
        # The harness's own example: 10 tokens in windows of 4.
        self.assertEqual(list(harness.windows(list(range(10)), -1, 4)), [([-1], [0, 1, 2, 3]), ([3], [4, 5, 6, 7]), ([5, 6, 7], [8, 9])])

    def test_long_texts_roll(self):
        text = demo_text(n=4000)
        (score,) = self.lm.loglikelihood_rolling([Instance(text)])
        n_ids = len(self.lm.tok_encode(text))
        self.assertGreater(n_ids, 2 * 256)
        self.assertAlmostEqual(-score / n_ids, math.log(self.model.perplexity(text, n_ctx=256).perplexity), delta=0.3)

    def test_answers_end_where_they_are_told_to(self):
        wishes = {"until": ["."], "max_gen_toks": 40, "do_sample": False, "temperature": 0.0}
        contexts = ["Once upon a time there was", "The king said", "In the forest", "A cat"]
        together = self.lm.generate_until([Instance(context, wishes) for context in contexts])
        alone = [harness.HarnessModel(model=self.model).generate_until([Instance(context, wishes)])[0] for context in contexts]
        self.assertEqual(together, alone)
        for context, text in zip(contexts, together):
            self.assertNotIn(".", text)
            ids = self.model.tokenize(context, add_special=False)
            self.assertTrue(self.model.generate(ids, n_tokens=40, temperature=0).text.startswith(text))
        (long,) = self.lm.generate_until([Instance("word " * 400, {"max_gen_toks": 8})])
        self.assertIsInstance(long, str)

    def test_what_cannot_be_meant(self):
        for call in (lambda: harness.HarnessModel(), lambda: harness.HarnessModel(DEMO, model=self.model),
                     lambda: harness.HarnessModel(model=self.model, plan="sparse"), lambda: harness.HarnessModel(DEMO, device="cuda"),
                     lambda: self.lm.generate_until([Instance("a", {"magic": 1})]),
                     lambda: self.lm.generate_until([Instance("a", {"max_gen_toks": 256})])):
            self.assertRaises(ValueError, call)
        opened = harness.HarnessModel(DEMO, max_length=128, n_threads=1, plan="sparse")
        self.assertEqual(opened.max_length, 128)

    def test_it_is_a_model_of_the_harness_where_that_is_installed(self):
        """The names that the harness (0.4) has, and what its base class does for a model."""
        code = """
import sys, types
class LM:
    def __init__(self): self.cache_hook = types.SimpleNamespace(add_partial=lambda *args: seen.append(args))
seen, registered = [], {}
def register_model(*names):
    def note(cls):
        registered.update((name, cls) for name in names)
        return cls
    return note
for name, content in (("lm_eval", {}), ("lm_eval.api", {}), ("lm_eval.api.model", {"LM": LM}), ("lm_eval.api.registry", {"register_model": register_model})):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(content)
from hunch import harness
assert registered == {"hunch": harness.HarnessModel} and issubclass(harness.HarnessModel, LM)
# As LM.create_from_arg_string() calls it.
lm = registered["hunch"](pretrained=sys.argv[1], n_threads=1, batch_size=1, max_batch_size=None, device=None)
request = types.SimpleNamespace(args=("Once upon", " a time"))
answer = lm.loglikelihood([request])
assert seen == [("loglikelihood", request.args, answer[0])], seen
"""
        done = subprocess.run([sys.executable, "-c", code, DEMO], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
