"""Tasks without a download, caches by type, and perplexity by position."""
import os
import unittest

from fixtures import CliTest

DEMO = os.path.join(os.path.dirname(__file__), "..", "..", "models", "demo")


class NeedleTest(CliTest):
    def needle(self, n_ctx=1024):
        out = self.path(f"needle-{n_ctx}.gguf")
        if not os.path.exists(out):
            self.hunch("synth", "--needle", "--n-vocab", "1024", "--n-ctx", str(n_ctx), "-o", out)
        return out


class Recall(NeedleTest):

    def test_a_policy_that_drops_fails_where_it_dropped(self):
        modes = "f32,kivi-2,q4_0-rot,streaming:64,sinks=2,h2o:64+q8_0"
        command = ["eval", self.needle(), "--task", "needle", "--lengths", "400", "--depths", "0.5,1", "--samples", "3"]
        report = self.hunch(*command, "--compare", modes, "--json").json
        self.assertEqual(report["prompts"], "tokens")
        self.assertEqual(list(report["modes"]), ["f32", "kivi-2", "q4_0-rot", "streaming:64,sinks=2", "h2o:64+q8_0"])
        grid = {name: {cell["depth"]: cell["exact"] for cell in mode["grid"]} for name, mode in report["modes"].items()}
        for name in ("f32", "kivi-2", "q4_0-rot"):
            self.assertEqual(grid[name], {0.5: 1, 1: 1}, name)
        self.assertEqual(grid["streaming:64,sinks=2"], {0.5: 0, 1: 1})
        self.assertEqual(report["modes"]["streaming:64,sinks=2"]["exact_difference"], -0.5)
        bytes_read = {name: mode["kv_bytes_per_token"] for name, mode in report["modes"].items()}
        self.assertLess(bytes_read["kivi-2"], bytes_read["q4_0-rot"])
        self.assertLess(bytes_read["q4_0-rot"], bytes_read["f32"] / 4)
        table = self.hunch(*command, "--compare", modes).text
        self.assertIn("depth 0.5", table)

    def test_lengths_and_depths_make_a_grid(self):
        report = self.hunch("eval", self.needle(), "--task", "multikey", "--keys", "3", "--lengths", "100,300", "--depths",
                            "0,1", "--samples", "2", "--json").json
        self.assertEqual([(cell["length"], cell["depth"], cell["n"]) for cell in report["grid"]],
                         [(100, 0, 2), (100, 1, 2), (300, 0, 2), (300, 1, 2)])
        self.assertEqual(report["exact"], 1)

    def test_english_is_for_models_that_have_its_words(self):
        demo = os.path.join(DEMO, "hunch-demo.gguf")
        for task in ("passkey", "variables", "aggregation"):
            report = self.hunch("eval", demo, "--task", task, "--lengths", "400", "--depths", "0.5", "--samples", "1", "--json").json
            self.assertEqual(report["prompts"], "words")
            self.assertGreater(report["nll"], 0)

    def test_nonsense_is_refused(self):
        needle = self.needle()
        for arguments, says in [
            (["--file", "x.jsonl"], "--lengths"),
            (["--lengths", "10"], "no room"),
            (["--depths", "0.5,2"], "2"),
            (["--compare", "f32,q4_k"], "unknown mode 'q4_k'"),
            (["--compare", "f32,h2o:64+q9"], "'q9' is no type"),
            (["--compare", "f32,h2o"], "unknown mode 'h2o'"),
            (["--kv", "kivi-3"], "kivi-2"),
        ]:
            self.refused(2, "eval", needle, "--task", "passkey", *arguments, says=says)
        self.refused(1, "eval", needle, "--task", "passkey", "--compare", "f32,h2o:64+kivi-2", says="groups of 32")
        self.refused(2, "synth", "--needle", "--n-layer", "3", "-o", self.path("no.gguf"), says="--n-layer")

    def test_drafts_keep_the_answer_of_a_cache_in_groups(self):
        demo = os.path.join(DEMO, "hunch-demo.gguf")
        run = ["run", demo, "-p", "Once upon a time there was a", "-n", "90", "--temperature", "0", "--ignore-end", "--kv", "kivi-2"]
        plain, drafted = self.hunch(*run).text, self.hunch(*run, "--ngram").text
        self.assertEqual(plain, drafted)


class ByPosition(NeedleTest):
    def test_writes_a_table_and_a_page(self):
        text = self.write("long.txt", "the hen on the heath and the other hen in there, then another one. " * 60)
        page = self.path("positions.html")
        command = ["eval", self.needle(64), "--text", text, "--by-position", "--ctx", "256", "--buckets", "8"]
        modes = "trained,linear:2,ntk:4,dynamic,yarn:4,streaming:32"
        report = self.hunch(*command, "--compare", modes, "--html", page, "--json").json
        self.assertEqual(list(report["curves"]), modes.split(","))
        self.assertEqual([point["begin"] for point in report["curves"]["trained"]], list(range(0, 256, 32)))
        self.assertNotEqual(report["curves"]["trained"][-1]["perplexity"], report["curves"]["yarn:4"][-1]["perplexity"])
        with open(page) as f:
            html = f.read()
        for word in ("<svg", "yarn:4", "viewport"):
            self.assertIn(word, html)
        self.assertIn("tokens before", self.hunch(*command).text)

    def test_what_cannot_be_is_said(self):
        text = self.write("some.txt", "the hen on the heath and the other hen " * 20)
        self.refused(2, "eval", self.needle(64), "--text", text, "--by-position", "--stride", "8", says="--stride")
        self.refused(2, "eval", self.needle(64), "--text", text, "--html", "x.html", says="--by-position")
        self.refused(2, "eval", self.needle(64), "--text", text, "--rope", "linear", says="linear:4")
        self.refused(1, "eval", self.opt, "--text", text, "--rope", "linear:2", says="no RoPE")
        self.refused(2, "run", self.needle(64), "-p", "the", "--rope", "stretch:2", says="expected none")


if __name__ == "__main__":
    unittest.main()
