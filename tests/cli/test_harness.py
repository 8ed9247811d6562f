"""lm-evaluation-harness drives hunch: requests as its `local-completions` sends them (version 0.4.13, commit 4e7e0d47f:
models/openai_completions.py, api_models.py, utils.py), answers read as it reads them, against `hunch eval`."""
import json
import math
import os
import unittest

from fixtures import SOURCE, CliTest
from parrot import SAYS, write_parrot
from test_serve import Server

TASKS = os.path.join(SOURCE, "tests", "data", "tasks")


class Harness:
    """What the harness does between a task and the server; nothing else is known of the model."""

    def __init__(self, server, max_length):
        self.server, self.max_length = server, max_length - 1  # one token is always generated
        # check_remote_tokenizer_support(): both routes have to be there, or files of the model are asked for.
        self.info = server.json("/tokenizer_info")
        assert "eos_token" in self.info, self.info
        assert isinstance(self.encode("test"), list)

    def encode(self, text):
        return self.server.json("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]

    def encode_pair(self, context, continuation):
        n_spaces = len(context) - len(context.rstrip())
        if n_spaces:
            context, continuation = context[:-n_spaces], context[-n_spaces:] + continuation
        whole, alone = self.encode(context + continuation), self.encode(context)
        return alone, whole[len(alone):]

    def post(self, **fields):
        return self.server.json("/v1/completions", {"model": "hunch", **fields}, headers={"Authorization": "Bearer "})

    def log_likelihoods(self, pairs):
        """[(sum of log-probabilities, whether each token is the most probable one)], the pairs in one request."""
        prompts, n_contexts = [], []
        for context, continuation in pairs:
            prompts.append((context + continuation)[-self.max_length:])
            n_contexts.append(len(context) - max(0, len(context) + len(continuation) - self.max_length))
        answer = self.post(prompt=prompts, temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True)
        out = []
        for choice, n in zip(sorted(answer["choices"], key=lambda c: c["index"]), n_contexts, strict=True):
            assert n > 0
            found = choice["logprobs"]["token_logprobs"][n:-1]
            tops = choice["logprobs"]["top_logprobs"][n:-1]
            out.append((sum(found), all(p == max(top.values()) for p, top in zip(found, tops, strict=True))))
        return out

    def generate(self, contexts, until, max_gen_toks):
        answer = self.post(prompt=[self.encode(c)[-(self.max_length - max_gen_toks):] for c in contexts], max_tokens=max_gen_toks,
                           temperature=0, stop=[*until, self.info["eos_token"]], seed=1234)
        texts = [None] * len(contexts)
        for choice in answer["choices"]:
            texts[choice["index"]] = choice["text"]
        return texts


class LocalCompletions(CliTest):
    def test_tasks_are_scored_as_eval_scores_them(self):
        with open(os.path.join(TASKS, "expected.json"), encoding="utf-8") as f:
            cases = json.load(f)
        n_asked = 0
        with Server(self, "--kv", "f32") as server:  # as hunch eval computes
            harness = Harness(server, 128)
            for case in cases:
                if case["task"] in ("gsm8k", "mmlu", "lambada") or case["few_shot"]:
                    continue
                right, right_by_length = [], []
                for item in case["items"]:
                    pairs = [harness.encode_pair(a, b) for a, b in zip(item["contexts"], item["continuations"])]
                    scores = [score for score, _ in harness.log_likelihoods(pairs)]
                    n_asked += len(scores)
                    by_length = [score / (len(text) - 1) for score, text in zip(scores, item["continuations"])]
                    right.append(max(range(len(scores)), key=scores.__getitem__) == item["gold"])
                    right_by_length.append(max(range(len(scores)), key=by_length.__getitem__) == item["gold"])
                answer = self.hunch("eval", self.opt, "--task", case["task"], "--file", os.path.join(TASKS, case["path"]), "--threads", "1",
                                    "--ctx", "126", "--json").json
                self.assertEqual(answer["n"], len(right))
                self.assertAlmostEqual(answer["acc"], sum(right) / len(right), msg=case["path"])
                if case["task"] != "winogrande":  # its continuations are equally long
                    self.assertAlmostEqual(answer["acc_norm"], sum(right_by_length) / len(right), msg=case["path"])
            self.assertEqual(server.end(), 0)
        self.assertGreater(n_asked, 50)

    def test_last_words_and_their_perplexity(self):
        path = os.path.join(TASKS, "lambada", "lambada_test.jsonl")
        with open(os.path.join(TASKS, "expected.json"), encoding="utf-8") as f:
            case = next(c for c in json.load(f) if c["path"] == "lambada/lambada_test.jsonl" and not c["few_shot"])
        expected = self.hunch("eval", self.opt, "--task", "lambada", "--file", path, "--threads", "1", "--json").json
        with Server(self, "--kv", "f32") as server:  # as hunch eval computes
            harness = Harness(server, 128)
            scores = harness.log_likelihoods([harness.encode_pair(i["contexts"][0], i["continuations"][0]) for i in case["items"]])
        perplexity = math.exp(-sum(score for score, _ in scores) / len(scores))
        self.assertAlmostEqual(perplexity / expected["perplexity"], 1, delta=1e-4)
        self.assertAlmostEqual(sum(greedy for _, greedy in scores) / len(scores), expected["acc"])

    def test_rolling_log_likelihood_is_the_perplexity_of_eval(self):
        """As its tasks on whole texts (wikitext): windows that follow one another, each token once."""
        text = "the end of the thing is in the other one, he said. " * 3
        path = self.write("text.txt", text)
        with Server(self, "--kv", "f32") as server:  # as hunch eval computes
            harness = Harness(server, 128)
            ids = harness.encode(text)
            prefix = harness.encode(harness.info["bos_token"])
            self.assertLess(len(ids) + len(prefix), 127)
            ((score, _),) = harness.log_likelihoods([(prefix, ids)])
        expected = self.hunch("eval", self.opt, "--text", path, "--ctx", "128", "--threads", "1", "--json").json
        self.assertEqual(expected["n_tokens"], len(ids))
        self.assertAlmostEqual(-score / expected["nll"], 1, delta=1e-4)

    def test_a_model_that_would_end_there_loses_no_token(self):
        """The generated token is end-of-text, which has no text; its entry is still the last one."""
        parrot = write_parrot(os.path.join(self.dir, "parrot"))
        with Server(self, model=parrot) as server:
            harness = Harness(server, 64)
            context, continuation = harness.encode_pair("<p:say>", SAYS)
            self.assertEqual(harness.generate(["<p:say>"], [], 30), [SAYS])
            answer = harness.post(prompt=[context + continuation], temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True)
            choice = answer["choices"][0]
            self.assertEqual(choice["finish_reason"], "stop", choice)
            log_probs = choice["logprobs"]
            self.assertEqual(len(log_probs["tokens"]), len(context) + len(continuation) + 1)
            self.assertEqual(log_probs["tokens"][-1], harness.info["eos_token"])
            self.assertEqual(log_probs["token_logprobs"][-1], max(log_probs["top_logprobs"][-1].values()))
            ((score, greedy),) = harness.log_likelihoods([(context, continuation)])
            self.assertTrue(greedy)
            self.assertAlmostEqual(score, sum(log_probs["token_logprobs"][len(context):-1]))

    def test_long_contexts_lose_their_beginning(self):
        with Server(self, "--kv", "f32") as server:  # as hunch eval computes
            harness = Harness(server, 128)
            context = harness.encode("the end of the thing is " * 20)
            self.assertGreater(len(context), 128)
            continuation = harness.encode(" in the other one")
            whole, cut = harness.log_likelihoods([(context, continuation), (context[-(127 - len(continuation)):], continuation)])
            self.assertEqual(whole, cut)

    def test_answers_are_written_greedily_to_a_stop(self):
        with Server(self, "--kv", "f32") as server:  # as hunch eval computes
            harness = Harness(server, 128)
            texts = harness.generate(["the end of", "a thing"], ["\n\n", "zz"], 12)
            for prompt, text in zip(["the end of", "a thing"], texts):
                alone = self.hunch("run", self.opt, "-p", prompt, "-n", "12", "--no-bos", "--temperature", "0", "--stop", "\n\n", "--stop",
                                   "zz", "--threads", "1", "--json").json["text"]
                self.assertEqual(text, alone)


if __name__ == "__main__":
    unittest.main()
