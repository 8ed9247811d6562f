"""bench/compare.py: its arithmetic, and whole runs beside rivals that are scripts with known speeds."""
import json
import os
import subprocess
import sys
import unittest

from fixtures import BINARY, SOURCE, CliTest

sys.path.insert(0, os.path.join(SOURCE, "bench"))
import compare  # noqa: E402

# Speaks llama-bench: 100 tokens/s for prompts and 10 for generation, times --factor; logs its options.
FAKE = f"""#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
options = dict(zip(words[::2], words[1::2]))
with open(os.path.join(os.path.dirname(__file__), "log"), "a") as log:
    print(os.path.basename(__file__), *words, file=log)
factor = float(options.get("--factor", 1))
rows = [{{"n_prompt": int(p), "n_gen": 0, "avg_ts": 100 * factor}} for p in options["-p"].split(",")]
rows += [{{"n_prompt": 0, "n_gen": int(n), "avg_ts": 10 * factor}} for n in options["-n"].split(",")]
print(json.dumps(rows))
"""
FAILS = f"""#!{sys.executable}
import sys
sys.exit("\\n".join(f"line {{i}}" for i in range(20)))
"""


class Arithmetic(unittest.TestCase):
    def test_ratios_are_of_one_round(self):
        rows = compare.summary({(2, "tg64"): {"hunch": {0: 20, 1: 40, 2: 90}, "a": {0: 10, 1: 10, 2: 30}, "b": {1: 80}},
                                (1, "tg64"): {"hunch": {0: 7}}, (1, "tg99"): {"a": {0: 1}}})
        self.assertEqual([(r["threads"], r["name"]) for r in rows], [(1, "tg64"), (2, "tg64")])
        self.assertEqual(rows[1]["tokens_per_s"], {"hunch": 40, "a": 10, "b": 80})
        self.assertEqual(rows[1]["ratios"]["a"], {"median": 3, "min": 2, "max": 4, "rounds": 3})
        self.assertEqual(rows[1]["ratios"]["b"], {"median": 0.5, "min": 0.5, "max": 0.5, "rounds": 1})
        lines = compare.table(rows, ["a", "b"])
        self.assertEqual(lines[2].split(), ["2", "tg64", "40.00", "10.00", "3.000", "(2.00", "to", "4.00)", "80.00", "0.500", "(0.50", "to", "0.50)"])
        self.assertEqual(lines[1].split(), ["1", "tg64", "7.00", "-", "-", "-", "-"])
        self.assertEqual(len({len(line) for line in lines}), 1)

    def test_an_engine_is_a_name_a_program_and_options(self):
        self.assertEqual(compare.engine("ik=a/b,-rtr 1 -ot 'x=y,z'"), ("ik", "a/b", ["-rtr", "1", "-ot", "x=y,z"]))
        self.assertEqual(compare.engine("a=b"), ("a", "b", []))


class Runs(CliTest):
    def compare(self, *rivals, code=0, hunch=BINARY, more=()):
        command = [sys.executable, "-B", os.path.join(SOURCE, "bench", "compare.py"), self.opt, "--hunch", hunch,
                   "--prompt", "8,12", "--generate", "4", *more]
        run = subprocess.run(command + [w for r in rivals for w in ("--rival", r)], env=self.environment(),
                             capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(run.returncode, code, run.stderr)
        return run

    def script(self, name, text):
        path = self.write(name, text)
        os.chmod(path, 0o755)
        return path

    def test_hunch_and_rivals_in_turn(self):
        one, two = self.script("one", FAKE), self.script("two", FAKE)
        answer = json.loads(self.compare(f"one={one}", f"two={two},--factor 2", more=("--rounds", "3", "--threads", "2,1", "--json")).stdout)
        self.assertEqual((answer["rounds"], answer["failed"]), (3, {}))
        self.assertTrue(answer["cpu"] and answer["hunch"].startswith("hunch "), answer)
        self.assertEqual([(r["threads"], r["name"]) for r in answer["rows"]], [(t, n) for t in (1, 2) for n in ("pp8", "pp12", "tg4")])
        for row in answer["rows"]:
            speed = 10 if row["name"] == "tg4" else 100
            self.assertEqual((row["tokens_per_s"]["one"], row["tokens_per_s"]["two"]), (speed, 2 * speed))
            self.assertAlmostEqual(row["ratios"]["one"]["median"], row["tokens_per_s"]["hunch"] / speed)
            self.assertAlmostEqual(row["ratios"]["one"]["max"], 2 * row["ratios"]["two"]["max"])
        with open(self.path("log"), encoding="utf-8") as log:
            lines = [line.split() for line in log if line.startswith(("one ", "two "))]
        self.assertEqual([(line[0], line[8]) for line in lines],
                         [(name, t) for order in (("one", "two"), ("one", "two"), ("two", "one")) for t in "21" for name in order])
        self.assertEqual(lines[1][1:], f"-m {self.opt} -p 8,12 -n 4 -t 2 -r 1 -o json --factor 2".split())

    def test_a_rival_that_fails_is_named_and_the_others_go_on(self):
        rivals = f"good={self.script('good', FAKE)}", f"bad={self.script('bad', FAILS)}", f"mute={self.script('mute', '#!/bin/sh' + chr(10))}"
        run = self.compare(*rivals, code=1, more=("--rounds", "2"))
        self.assertIn("bad failed: exit code 1\nline 15\nline 16\nline 17\nline 18\nline 19\n", run.stderr)
        self.assertNotIn("line 14", run.stderr)
        self.assertIn("mute failed: no JSON of llama-bench", run.stderr)
        self.assertRegex(run.stdout, r"\n +1 +tg4 +[0-9.]+ +10\.00 +[0-9.]+ \([0-9.]+ to [0-9.]+\) +- +- +- +-\n$")

    def test_what_is_missing_is_said_before_anything_runs(self):
        self.assertIn("a: /nowhere/llama-bench is missing", self.compare("a=/nowhere/llama-bench", code=2).stderr)
        self.assertIn("hunch: /nowhere/hunch is missing", self.compare(f"a={BINARY}", hunch="/nowhere/hunch", code=2).stderr)
        self.assertIn("NAME=PROGRAM", self.compare("/nowhere/llama-bench", code=2).stderr)
        self.assertIn("name of its own", self.compare(f"a={BINARY}", f"a={BINARY}", code=2).stderr)


if __name__ == "__main__":
    unittest.main()
