"""hunch inspect --text: the report is well-formed, says what it measured, and bad input is refused."""
import html as html_text
import os
import re
import shutil
import unittest
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

from fixtures import GOLDEN, CliTest, write_tokenizer

VOID = {"meta", "br", "hr", "img", "link", "input"}
TEXT = "the thin man in the inn ate the hen & the <onion>; then another one ran on. \n" * 12


class Page(HTMLParser):
    """Balanced tags, and what would need a network or a script."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.n, self.headings, self.ids, self.bad = [], {}, [], set(), []
        self.feed(text)
        self.close()
        if self.open:
            self.bad.append(f"never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        self.n[tag] = self.n.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            if name.startswith("on") or name in ("src", "href"):
                self.bad.append(f"{tag} {name}")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def trace_points(text, begins):
    """Tooltips that begin like this."""
    return re.findall("<title>" + re.escape(begins), text)


class Report(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {"opt": cls.opt}
        for name in ("llama_mha", "qwen2_moe", "opt_350m_style", "bloom_h6"):
            folder = os.path.join(cls.dir, name)
            shutil.copytree(os.path.join(GOLDEN, name), folder)
            write_tokenizer(folder)
            cls.models[name] = folder
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(TEXT)

    def check_page(self, path):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        page = Page(text)
        self.assertEqual(page.bad, [])
        self.assertNotIn("script", page.n)
        self.assertIsNone(re.search(r"(?i)\b(nan|inf)\b", text))
        self.assertFalse("url(" in text)
        charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
        self.assertGreater(len(charts), 6)
        for chart in charts:  # each is XML by itself
            ElementTree.fromstring(chart)
        return page, text

    def test_relu_model(self):
        html, svg = self.path("opt.html"), self.path("figures")
        answer = self.hunch("inspect", self.opt, "--text", self.text, "--html", html, "--svg", svg, "--json", "--ctx", "64",
                            "--oracle-tokens", "100", "--tokens", "300").json
        page, text = self.check_page(html)
        figures = {"neurons", "oracle", "union", "hot", "cosine", "norms", "heads", "head_norms", "head_kinds", "attention"}
        self.assertEqual(page.ids, figures)
        self.assertEqual({name[:-4] for name in os.listdir(svg)}, figures)
        for name in os.listdir(svg):
            root = ElementTree.parse(os.path.join(svg, name)).getroot()
            self.assertTrue(root.tag.endswith("svg"))
            self.assertEqual([e for e in root.iter() if e.tag.endswith("title")], [])
        # Every value is there without a mouse, and the page says what made it.
        self.assertGreater(page.n["details"], 6)
        self.assertEqual(html_text.unescape(text).count("<li>neurons: "), len(trace_points(text, "neurons: ")))
        self.assertIn("hunch 0.", text)
        self.assertIn(" threads)", text)
        self.assertTrue(all(len(h) > 20 for h in page.headings), page.headings)

        self.assertIn("config", answer)  # what inspect always says
        trace = answer["trace"]
        self.assertEqual((trace["n_tokens"], trace["n_windows"], trace["n_ctx"]), (256, 4, 64))
        self.assertEqual(len(trace["layers"]), answer["config"]["n_layer"])
        layer = trace["layers"][0]
        self.assertEqual(layer["rule"], "nonzero")
        n_ff, n_head = answer["config"]["n_ff"], answer["config"]["n_head"]
        self.assertEqual((len(layer["counts"]), len(layer["heads"]), len(layer["head_norm"])), (n_ff, n_head, n_head))
        self.assertAlmostEqual(sum(layer["counts"]) / layer["n_counted"] / n_ff, layer["active"]["mean"], places=5)
        self.assertEqual(len(layer["union_far"]), len(trace["union_sizes"]))
        self.assertLessEqual(layer["needed_90"]["mean"], layer["needed_99"]["mean"])
        self.assertEqual(set(layer["mlp"]), {"stream", "branch", "ratio"})
        self.assertEqual(len(trace["cosine"]), answer["config"]["n_layer"] + 1)
        self.assertEqual(len(trace["excerpt"]["ids"]), 64)
        self.assertTrue(all(abs(sum(row) - 1) < 1e-3 for m in trace["maps"] for row in m["weights"]))
        self.assertEqual(set(trace["oracle"]), {"n_tokens", "perplexity", "neurons", "heads", "both"})
        # The figure says what the numbers say.
        mean = sum(l["active"]["mean"] for l in trace["layers"]) / len(trace["layers"])
        self.assertTrue(f"A token uses {100 * mean:.0f} %" in text, page.headings)

    def test_the_values_of_large_maps(self):
        """In lists for who has no mouse: a list for each layer, a line for each head; of attention, one for each token."""
        model, words, html = self.path("large.gguf"), self.path("large.txt"), self.path("large.html")
        self.hunch("synth", "--shape", "llama-1.1b", "-o", model, "--n-layer", "7", "--n-embd", "128", "--n-ff", "64", "--n-head", "16", "--n-kv-head", "4",
                   "--n-vocab", "512", "--n-ctx", "128", "--contexts", "4", "--density", "0.3", "--text", words, "--text-tokens", "200", "--quiet")
        answer = self.hunch("inspect", model, "--text", words, "--html", html, "--oracle-tokens", "0", "--ctx", "64", "--json").json
        _, text = self.check_page(html)
        for figure, says in ("head_norms", r"mean norm"), ("head_kinds", r"[a-z -]+: evenness"):
            lists = text.split(f'<figure id="{figure}">')[1].split("</figure>")[0].split("<details>")[2:]
            self.assertEqual([part[:len("<summary>layer 6")] for part in lists], [f"<summary>layer {i}" for i in range(7)])
            for layer, part in enumerate(lists):
                lines = re.findall("<li>(.*?)</li>", part)
                self.assertEqual(len(lines), 16)
                for head, line in enumerate(lines):
                    self.assertRegex(line, rf"^layer {layer}, head {head}: {says}")
        maps = text.split('<figure id="attention">')[1].split("</figure>")[0].split("<details>")[2:]
        self.assertEqual(len(maps), len(answer["trace"]["maps"]))
        for part, trace in zip(maps, answer["trace"]["maps"]):
            self.assertIn(f"<summary>layer {trace['layer']}, head {trace['head']}: ", part)
            lines = re.findall("<li>(.*?)</li>", part, re.DOTALL)
            self.assertEqual(len(lines), 64)
            for i, (line, row) in enumerate(zip(lines, trace["weights"])):
                shares = [float(s) for s in re.findall(r"([0-9.]+) %", line)]
                self.assertEqual(sum(1 for w in row[:i + 1] if w >= 0.02) + ("others" in line), len(shares), line)
                self.assertAlmostEqual(sum(shares), 100, delta=0.6 * len(shares), msg=line)
                self.assertAlmostEqual(shares[0], 100 * max(row), delta=0.6)

    def test_other_kinds_of_models(self):
        for name, says in [("llama_mha", "of the neurons make 99 % of the MLP's output"), ("qwen2_moe", "experts"),
                           ("opt_350m_style", "A token uses"), ("bloom_h6", "99 %")]:
            html = self.path(name + ".html")
            out = self.hunch("inspect", self.models[name], "--text", self.text, "--html", html, "--oracle-tokens", "70", "--ctx", "64")
            _, text = self.check_page(html)
            self.assertTrue(says in html_text.unescape(text), f"{name}: {says!r} is not on the page")
            self.assertEqual("No oracle for this model" in text, name == "qwen2_moe")
            self.assertRegex(out.text, r"attention .*\n.* adds ")
            self.assertEqual("load of the experts" in out.text, name == "qwen2_moe")
            self.assertIn(html, out.err)

    def test_layers_that_lost_different_numbers_of_heads(self):
        """Each row of the maps has the heads of its own layer."""
        for sparsity in "20%", "45%":
            pruned, html = self.path("pruned.gguf"), self.path("pruned.html")
            layers = self.hunch("compress", self.models["llama_mha"], "--method", "structured", "--only", "q,k,v,o",
                                "--sparsity", sparsity, "--text", self.text, "-o", pruned, "--force", "--json").json["layers"]
            if len({l["groups"] for l in layers}) > 1:
                break
        self.assertGreater(len({l["groups"] for l in layers}), 1)
        self.hunch("inspect", pruned, "--text", self.text, "--html", html, "--oracle-tokens", "0", "--ctx", "64")
        _, text = self.check_page(html)
        for what in "mean norm", "[a-z ]+: evenness":
            found = set(re.findall(rf"<title>layer (\d+), head (\d+): {what}", text))
            self.assertEqual(found, {(str(l), str(h)) for l, kept in enumerate(layers) for h in range(kept["groups"])})

    def test_a_short_text_and_text_from_a_pipe(self):
        html = self.path("short.html")
        self.hunch("inspect", self.opt, "--text", "-", "--html", html, stdin="the \N{SNOWMAN}\n".encode())
        self.check_page(html)
        answer = self.hunch("inspect", self.opt, "--text", "-", "--tokens", "100000", "--json", stdin=b"the end").json
        self.assertLess(answer["trace"]["n_tokens"], 20)

    def test_bad_input(self):
        empty = self.write("empty.txt", "")
        self.refused(2, "inspect", self.opt, "--text", empty, says="at least 2")
        self.refused(1, "inspect", self.opt, "--text", self.path("missing.txt"), says="missing.txt")
        self.refused(2, "inspect", self.opt, "--html", self.path("x.html"), says="--text")
        self.refused(2, "inspect", self.opt, "--text", self.text, "--tensors", says="--tensors")
        self.refused(2, "inspect", self.opt, "--text", self.text, "--heads", "0:99", says="0:99")
        self.refused(2, "inspect", self.opt, "--text", self.text, "--heads", "5", says="LAYER:HEAD")
        self.refused(1, "inspect", self.opt, "--text", self.text, "--oracle-tokens", "0", "--html",
                     self.path("no/such/folder/x.html"), says="x.html")
        self.refused(1, "inspect", self.opt, "--text", self.text, "--oracle-tokens", "0", "--svg", self.text, says="--svg")
        self.assertFalse(os.path.exists(self.path("x.html")))


if __name__ == "__main__":
    unittest.main()
