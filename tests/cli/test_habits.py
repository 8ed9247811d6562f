"""What people bring along from other programs, and what they expect without reading."""
import os
import struct
import unittest
import zipfile

from fixtures import SOURCE, CliTest, golden

TEXT = "the end of the thing is in the other one, he said. " * 8


class FromLlamaCpp(CliTest):
    def test_a_whole_command_of_theirs(self):
        ours = self.hunch("run", self.opt, "-p", "the end", "-n", "6", "--temperature", "0", "--ctx", "64")
        theirs = self.hunch("run", "-m", self.opt, "-c", "64", "--temp", "0", "-n", "6", "-ngl", "99", "-fa", "on", "-p", "the end")
        self.assertEqual(ours.text, theirs.text)
        self.assertIn("-ngl is left out", theirs.err)
        quiet = self.hunch("run", "-m", self.opt, "--temp", "0", "-n", "6", "-ngl", "99", "-p", "the end", "--quiet")
        self.assertEqual(quiet.err, "")

    def test_what_hunch_does_not_do_names_a_way(self):
        self.refused(2, "run", self.opt, "-cnv", says="hunch chat")
        self.refused(2, "run", self.opt, "--mirostat", "2", says="--top-p")
        self.refused(2, "run", self.opt, "--rope-freq-base", "10000", says="--ctx")

    def test_minus_one_is_no_limit(self):
        answer = self.hunch("run", self.opt, "-p", "the end", "-n", "-1", "--ctx", "24", "--seed", "-1", "--ignore-end", "--json").json
        self.assertEqual(answer["stop_reason"], "context_full")
        self.assertEqual(answer["n_prompt"] + answer["n_generated"], 25)


class Help(CliTest):
    def test_fits_a_terminal_of_80_columns(self):
        overview = self.hunch("help").text
        verbs = [line.split()[0] for line in overview.splitlines() if line.startswith("  ") and not line.startswith("  hunch")]
        self.assertGreater(len(verbs), 12)
        for text in [overview] + [self.hunch("help", verb).text for verb in verbs]:
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_a_run_ends_with_one_short_line(self):
        err = self.hunch("run", self.opt, "-p", "the end", "-n", "5").err.splitlines()
        self.assertEqual(len(err), 2, err)
        self.assertTrue(all(len(line) <= 80 for line in err), err)
        self.assertRegex(err[1], r"^5 tokens, .* tokens/s \(prompt: .*; seed \d+$")
        self.assertFalse(os.path.exists(os.path.join(self.home, "machine.json")))
        more = self.hunch("run", self.opt, "-p", "the end", "-n", "5", "--verbose").err.splitlines()
        self.assertEqual(len(more), 3, more)
        self.assertIn("by layer", more[2])


class Shares(CliTest):
    def test_are_written_one_way(self):
        text = self.write("text.txt", TEXT)
        table = self.hunch("eval", self.opt, "--text", text, "--compare", "dense,oracle:20%", "--max-tokens", "60", "--json").json
        again = self.hunch("eval", self.opt, "--text", text, "--compare", "dense,oracle:0.2", "--max-tokens", "60", "--json").json
        self.assertEqual(table["modes"]["oracle:20%"]["kl"], again["modes"]["oracle:0.2"]["kl"])
        self.refused(2, "run", self.opt, "-p", "a", "--oracle-density", "5", says="5% or 0.05")

    def test_a_budget_that_nobody_means_is_refused(self):
        text = self.write("text.txt", TEXT)
        self.refused(2, "sparsify", self.opt, "--text", text, "--max-ppl-increase", "1", says="1% or 0.01")
        self.refused(2, "sparsify", self.opt, "--text", text, "--max-ppl-increase", "30%", says="--force")


class Answers(CliTest):
    def test_a_seed_gives_one_answer_however_it_is_drafted(self):
        words = ("run", self.opt, "-p", "the end", "-n", "24", "--temperature", "1", "--seed", "7", "--ignore-end", "--json")
        plain = self.hunch(*words).json["ids"]
        for draft in ("--lossless",), ("--draft", self.opt), ("--draft", self.opt, "--draft-tokens", "3"):
            self.assertEqual(self.hunch(*words, *draft).json["ids"], plain, draft)

    def test_protocols_of_perplexity(self):
        text = self.write("text.txt", TEXT)
        evaluate = lambda *more: self.hunch("eval", self.opt, "--text", text, "--ctx", "32", "--json", *more).json
        n = len(self.hunch("tokenize", self.opt, "--file", text, "--json").json["ids"])
        self.assertEqual(evaluate()["n_tokens"], n - 1)
        self.assertEqual(evaluate("--protocol", "gptq")["n_tokens"], n - (n + 31) // 32)  # all but the first of each
        halves = evaluate("--protocol", "llama.cpp")
        self.assertEqual(halves["n_tokens"], n // 32 * 15)
        self.assertIn("llama.cpp", halves["protocol"])
        self.assertEqual(halves["perplexity"], evaluate("--stride", "32")["perplexity"])
        self.refused(2, "eval", self.opt, "--text", text, "--ctx", "32", "--protocol", "gptq", "--stride", "8", says="--stride is 8")


class InspectSidecar(CliTest):
    DEMO = os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf.hunch")

    def test_shows_what_was_learned(self):
        text = self.hunch("inspect", self.DEMO).text
        self.assertIn("made for", text)
        self.assertIn("hunch-demo", text)
        layers = self.hunch("inspect", self.DEMO, "--json").json["layers"]
        rows = text.split("\n\n")[1].strip().splitlines()
        self.assertEqual(len(rows), 1 + len(layers))
        for row, layer in zip(rows[1:], layers):
            self.assertIn(layer["kind"], row)
            if "chosen" in layer:
                self.assertIn(f"{100 * layer['chosen']['density']:.1f} %", row)
                self.assertIn(layer["chosen"], layer["curve"])
        self.assertTrue(all(len(line) <= 80 for line in rows), rows)
        self.assertIn("28 tensors", self.hunch("inspect", self.DEMO, "--tensors").text)


class TraceOut(CliTest):
    def read(self, path):
        """{name: (descr, shape, bytes)}"""
        arrays = {}
        with zipfile.ZipFile(path) as z:
            self.assertIsNone(z.testzip())
            for name in z.namelist():
                content = z.read(name)
                (length,) = struct.unpack("<H", content[8:10])
                header = eval(content[10 : 10 + length], {}, {})
                arrays[name.removesuffix(".npy")] = (header["descr"], header["shape"], content[10 + length :])
        return arrays

    def test_activations_and_choices(self):
        ids = golden("opt_sparse")["sequences"][1]["ids"]
        out = self.path("trace.npz")
        words = ("logits", self.opt, "--ids", ",".join(map(str, ids)), "--trace-out", out, "--force")
        self.hunch(*words, "--mode", "exact")
        exact = self.read(out)
        n = len(ids)
        self.assertEqual(struct.unpack(f"<{n}i", exact["ids"][2]), tuple(ids))
        descr, (rows, n_ff), activations = exact["layer.0.activations"]
        self.assertEqual((descr, rows, len(activations)), ("<f2", n, 2 * n * n_ff))
        values = struct.unpack(f"<{n * n_ff}e", activations)
        chosen = exact["layer.0.neurons"][2]
        self.assertEqual(exact["layer.0.neurons"][:2], ("|b1", (n, n_ff)))
        # Exact mode reads what ReLU left: all that is not zero, and nothing else (but what half precision rounds to zero).
        self.assertTrue(all(c for v, c in zip(values, chosen) if v != 0))
        self.assertLess(sum(chosen), n * n_ff)
        self.assertTrue(all(x > 0 for x in struct.unpack(f"<{len(exact['layer.0.head_norms'][2]) // 4}f", exact["layer.0.head_norms"][2])))
        self.hunch(*words, "--mode", "dense")
        dense = self.read(out)
        self.assertEqual(sum(dense["layer.0.neurons"][2]), n * n_ff)
        self.assertEqual(dense["layer.0.activations"][2], activations)
        self.refused(2, *words[:-1], says="--force")
        self.assertTrue(os.path.exists(out))


if __name__ == "__main__":
    unittest.main()
