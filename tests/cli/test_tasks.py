"""eval --task from end to end: published files, solved questions, standard errors, modes and sidecars in one table."""
import json
import math
import os
import random
import re
import shutil
import unittest

from fixtures import SOURCE, CliTest, random_words, write_tokenizer

TASKS = os.path.join(SOURCE, "tests", "data", "tasks")


class Tasks(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        rng = random.Random(1)
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(500, rng))
        # Words that this model finds more and less probable, so that some questions are answered right.
        cls.choices = os.path.join(cls.dir, "copa.jsonl")
        with open(cls.choices, "w", encoding="utf-8") as f:
            for i in range(24):
                choices = [random_words(rng.randint(1, 3), rng) for _ in range(3)]
                f.write(json.dumps({"query": random_words(6, rng), "choices": choices, "gold": i % 3}) + "\n")

    def eval(self, task, file, *more, **how):
        return self.hunch("eval", self.opt, "--task", task, "--file", file if os.path.isabs(file) else os.path.join(TASKS, file), *more, **how)

    def sidecar(self, name, density):
        out = self.path(name)
        if not os.path.exists(out):
            self.hunch("sparsify", self.opt, "--text", self.text, "--predictor", "svd", "--rank", "16", "--threads", "1", "--density", density, "-o", out)
        return out

    def test_every_task_is_read_as_published_and_scored(self):
        files = {"hellaswag": "hellaswag/hellaswag_val.jsonl", "piqa": "piqa/valid.jsonl", "arc_challenge": "arc/ARC-Challenge-Test.jsonl",
                 "winogrande": "winogrande/dev.jsonl", "boolq": "boolq/dev.jsonl", "copa": "copa/val.jsonl", "openbookqa": "openbookqa/test.jsonl",
                 "rte": "rte/val.jsonl", "lambada": "lambada/lambada_plain.txt"}
        for task, file in files.items():
            answer = self.eval(task, file, "--json").json
            self.assertEqual(answer["task"], task)
            self.assertEqual(answer["n"], 3 if task in ("hellaswag", "arc_challenge", "lambada") else 2)
            for key in "acc", "acc_norm":
                p, n = answer[key], answer["n"]
                self.assertAlmostEqual(answer[key + "_stderr"], math.sqrt(p * (1 - p) / (n - 1)))
            self.assertEqual("perplexity" in answer, task == "lambada")
            self.assertEqual(answer["few_shot"], {"n": 0})

    def test_solved_questions_stand_before(self):
        answer = self.eval("piqa", "piqa/valid.jsonl", "--few-shot", "1", "--json").json
        self.assertEqual(answer["few_shot"], {"n": 1, "file": os.path.join(TASKS, "piqa", "train.jsonl")})
        self.assertEqual(answer["n"], 2)
        named = self.eval("piqa", "piqa/valid.jsonl", "--few-shot", "1", "--few-shot-file", os.path.join(TASKS, "piqa", "train.jsonl"), "--json").json
        self.assertEqual(named["acc_norm"], answer["acc_norm"])
        own = self.eval("copa", self.choices, "--few-shot", "2", "--max-items", "9", "--json").json
        self.assertEqual((own["n"], own["few_shot"]["file"]), (9, self.choices))
        self.assertIn("2 solved questions of", self.eval("copa", self.choices, "--few-shot", "2", "--max-items", "3").err)

    def test_mmlu_by_subject_and_together(self):
        answer = self.eval("mmlu", "mmlu", "--json").json
        self.assertEqual({name: s["n"] for name, s in answer["subjects"].items()}, {"abstract_nonsense": 3, "kitchen_lore": 2})
        self.assertAlmostEqual(answer["acc"], sum(s["acc"] * s["n"] for s in answer["subjects"].values()) / 5)
        sizes = [(s["n"], s["acc_stderr"]) for s in answer["subjects"].values()]
        pooled = sum((n - 1) * e * e * n for n, e in sizes) / (5 - 2)
        self.assertAlmostEqual(answer["acc_stderr"], math.sqrt(pooled / 5))
        plain = self.eval("mmlu", "mmlu")
        self.assertRegex(plain.text, r"kitchen_lore +2 ")
        self.assertIn("mmlu: accuracy", plain.text)
        self.assertEqual(self.eval("mmlu", "mmlu/test/kitchen_lore_test.csv", "--json").json["n"], 2)

    def test_answers_with_numbers_are_written_and_matched(self):
        model = self.path("writer")  # of noise, so it writes all bytes, digits among them
        shutil.copytree(os.path.join(SOURCE, "tests", "data", "golden", "llama_mha"), model)
        write_tokenizer(model)
        with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        with open(os.path.join(model, "config.json"), "w", encoding="utf-8") as f:
            json.dump({**config, "max_position_embeddings": 512}, f)
        ask = "eval", model, "--task", "gsm8k", "--file", os.path.join(TASKS, "gsm8k", "test.jsonl")
        answer = self.hunch(*ask, "--max-items", "1", "--json").json
        for key in "exact_match_strict", "exact_match_flexible":
            self.assertIn(answer[key], (0, 1))
            self.assertEqual(answer[key + "_stderr"], 0)
        self.assertNotIn("acc", answer)
        # Questions whose published answers are what the model writes last: all are answered right, also after another.
        questions = ["Ann has 3 apples and buys 4. How many has she?", "Ann has 3 apples and eats 1. How many are left?", "How many legs has a cow?"]
        items = []
        for question in questions:
            written = self.hunch("run", model, "-p", f"Question: {question}\nAnswer:", "--no-bos", "-n", "256", "--temperature", "0", "--stop", "Question:",
                                 "--kv", "f32", "--json").json["text"]
            numbers = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", written)
            self.assertTrue(numbers, "the model writes no numbers")
            items.append({"question": question, "answer": "#### " + (numbers[-1][0] or numbers[-1][1])})
        own = self.write("own.jsonl", "\n".join(map(json.dumps, items)))
        self.assertEqual(self.hunch(*ask[:-1], own, "--json").json["exact_match_flexible"], 1)
        items[1]["answer"] = "#### 123456789"
        wrong = self.hunch(*ask[:-1], self.write("wrong.jsonl", "\n".join(map(json.dumps, items))), "--json").json
        self.assertAlmostEqual(wrong["exact_match_flexible"], 2 / 3)
        self.assertEqual(wrong["exact_match_strict"], 0)
        table = self.hunch(*ask, "--max-items", "1", "--few-shot", "2", "--compare", "dense,exact")
        self.assertIn("last number, %", table.text)
        self.refused(2, *ask, "--ctx", "256", says="a context (--ctx) of 512 has room")

    def test_modes_and_sidecars_in_one_table(self):
        one, two = self.sidecar("one.hunch", "0.5"), self.sidecar("two.hunch", "0.2")
        modes = f"dense,exact,{one},{two}@0.1,oracle:0.2"
        answer = self.eval("copa", self.choices, "--compare", modes, "--json").json
        self.assertEqual(list(answer["modes"]), modes.split(","))
        self.assertEqual(answer["reference"], "dense")
        dense, exact, sparse, sparser, oracle = answer["modes"].values()
        alone = self.eval("copa", self.choices, "--mode", "dense", "--json").json
        self.assertEqual((dense["acc"], dense["acc_norm"]), (alone["acc"], alone["acc_norm"]))
        self.assertTrue(0 < alone["acc_norm"] < 1, "or nothing is shown")
        self.assertNotIn("acc_difference", dense)
        self.assertEqual((exact["acc_difference"], exact["acc_difference_stderr"]), (0, 0))
        self.assertEqual(dense["density_mlp"], 1)
        self.assertLess(sparser["density_mlp"], sparse["density_mlp"])
        self.assertAlmostEqual(sparser["acc_norm_difference"], sparser["acc_norm"] - dense["acc_norm"])
        self.assertIsNone(oracle["tokens_per_s"])
        self.assertGreater(sparse["tokens_per_s"], 0)
        # A sidecar beside another says what it says alone.
        by_name = self.eval("copa", self.choices, "--mode", "sparse", "--sidecar", two, "--density", "0.1", "--json").json
        self.assertEqual(sparser["density_mlp"], by_name["density_mlp"])
        self.assertEqual(sparser["acc"], by_name["acc"])
        table = self.eval("copa", self.choices, "--compare", modes).text  # of two parts where it is wider than 80 columns
        for word in "acc", "acc_norm", "difference", "neurons", "tokens/s", "dense", "exact", "one.hunch", "two.hunch", "oracle:0.2":
            self.assertIn(word, table)
        mmlu = self.eval("mmlu", "mmlu", "--compare", f"dense,{one}")
        self.assertIn("one.hunch, %", mmlu.text.splitlines()[0])

    def test_the_same_sidecars_on_a_text(self):
        one, two = self.sidecar("one.hunch", "0.5"), self.sidecar("two.hunch", "0.2")
        on_text = "eval", self.opt, "--text", self.text, "--max-tokens", "120", "--json"
        modes = self.hunch(*on_text, "--compare", f"dense,{one},{two},{two}@0.1").json["modes"]
        self.assertEqual(list(modes), ["dense", one, two, two + "@0.1"])
        alone = self.hunch(*on_text, "--sidecar", two, "--compare", "dense,sparse,sparse:0.1").json["modes"]
        for name, same in (two, "sparse"), (two + "@0.1", "sparse:0.1"):
            self.assertAlmostEqual(modes[name]["perplexity"], alone[same]["perplexity"], places=6)
            self.assertEqual(modes[name]["density_mlp"], alone[same]["density_mlp"])
        self.assertNotEqual(modes[one]["density_mlp"], modes[two]["density_mlp"])
        rows = self.hunch("bench", self.opt, "--compare", f"dense,{one}", "--prompt", "", "--generate", "4", "--repeats", "1", "--json").json["rows"]
        self.assertEqual([row["name"] for row in rows], ["tg4 dense", "tg4 " + one])

    def test_what_cannot_be(self):
        one = self.sidecar("one.hunch", "0.5")
        ask = "eval", self.opt, "--task", "copa", "--file", self.choices
        self.refused(1, *ask, "--compare", "dense,nowhere.hunch", says="nowhere.hunch")
        self.refused(1, *ask, "--compare", f"dense,{self.write('junk.hunch', 'junk')}", says="junk.hunch")
        self.refused(2, *ask, "--compare", f"dense,{one}@2", says="2% or 0.02")
        self.refused(2, *ask, "--compare", f"dense,{one}@", says="--compare SIDECAR.hunch@DENSITY")
        self.refused(2, *ask, "--compare", "dense,lossless", says="lossless")
        self.refused(2, *ask, "--mode", "dense", "--compare", "dense", says="--compare names its modes itself")
        self.refused(2, *ask, "--against", self.opt, says="--against")
        self.refused(2, *ask, "--few-shot", "24", says="none is left")
        self.refused(2, *ask, "--few-shot", "99", says=["has 24 questions", "(--few-shot)"])
        self.refused(2, *ask, "--few-shot-file", self.choices, says="--few-shot N")
        self.refused(1, *ask, "--few-shot", "1", "--few-shot-file", self.path("none.jsonl"), says="none.jsonl")
        self.refused(2, "eval", self.opt, "--text", self.text, "--few-shot", "1", says="--few-shot")
        self.refused(2, "eval", self.opt, "--text", self.text, "--against", self.opt, "--compare", f"dense,{one}", says="one.hunch")
        other = self.path("other")
        shutil.copytree(os.path.join(SOURCE, "tests", "data", "golden", "opt_350m_style"), other)
        write_tokenizer(other)
        self.refused(1, "eval", other, "--task", "copa", "--file", self.choices, "--compare", f"dense,{one}", says=["one.hunch", "was made for"])


if __name__ == "__main__":
    unittest.main()
