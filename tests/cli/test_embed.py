"""hunch embed and hunch rerank from end to end: what they print is the reference's, and what cannot be is said."""
import json
import math
import os
import shutil
import struct
import unittest

from fixtures import SOURCE, CliTest, shared

EMBEDDING = os.path.join(SOURCE, "tests", "data", "embedding")
TOLERANCE = 1e-4


def golden(name):
    with open(os.path.join(EMBEDDING, name, "golden", "golden.json"), encoding="utf-8") as f:
        return json.load(f)


def length(x):
    return math.sqrt(sum(v * v for v in x))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / (length(a) * length(b))


class EmbedTest(CliTest):
    bert = os.path.join(EMBEDDING, "tiny_bert")

    def assert_near(self, got, want, tolerance=TOLERANCE):
        self.assertEqual(len(got), len(want))
        self.assertLessEqual(max(abs(a - b) for a, b in zip(got, want)), tolerance)

    def vectors(self, *words, **rest):
        return [entry["embedding"] for entry in self.hunch("embed", "--json", *words, **rest).json["embeddings"]]

    def test_vectors_are_the_reference_s(self):
        texts = golden("tiny_bert")["words"]["texts"]
        for pooling in "mean", "cls", "last":
            got = self.vectors(self.bert, "--pooling", pooling, "--no-normalise", "--", *[t["text"] for t in texts])
            for vector, text in zip(got, texts):
                self.assert_near(vector, text[pooling])
        answer = self.hunch("embed", self.bert, texts[0]["text"], "--json").json
        self.assertEqual((answer["pooling"], answer["n_embd"], answer["normalised"]), ("mean", 24, True))
        mean = texts[0]["mean"]
        self.assert_near(answer["embeddings"][0]["embedding"], [v / length(mean) for v in mean])

    def test_of_the_converted_file_they_are_the_same(self):
        out = self.path("bert.gguf")
        self.hunch("convert", self.bert, "-o", out, "--type", "f32", "--quiet")
        self.assert_near(self.vectors(out, "The mill")[0], self.vectors(self.bert, "The mill")[0], 1e-6)
        self.assertEqual(self.hunch("tokenize", out, "The m\u00efll, sang").text, self.hunch("tokenize", self.bert, "The m\u00efll, sang").text)

    def test_texts_come_as_arguments_lines_or_a_pipe(self):
        lines = self.path("lines.txt")
        with open(lines, "w", encoding="utf-8") as f:
            f.write("the mill\n\na donkey\r\n")
        want = self.vectors(self.bert, "the mill", "", "a donkey")
        self.assertEqual(self.vectors(self.bert, "--file", lines), want)
        with open(lines, "rb") as f:
            self.assertEqual(self.vectors(self.bert, stdin=f.read()), want)
        plain = self.hunch("embed", self.bert, "--file", lines).text.splitlines()
        self.assertEqual(len(plain), 3)
        for line, vector in zip(plain, want):
            self.assert_near([float(v) for v in line.split()], vector, 1e-6)

    def test_states_of_tokens(self):
        data = golden("tiny_bert")
        with open(os.path.join(self.bert, "golden", "golden.f32"), "rb") as f:
            values = f.read()
        entry, ids = data["arrays"]["s1.token_embeddings"], data["sequences"][1]["ids"]
        want = struct.unpack_from(f"<{entry['count']}f", values, 4 * entry["offset"])
        words = ("--ids", ",".join(map(str, ids)), "--pooling", "none")
        self.assert_near([v for row in self.vectors(self.bert, *words)[0] for v in row], want)
        out = self.path("states.npy")
        self.hunch("embed", self.bert, *words, "--out", out, "--quiet")
        with open(out, "rb") as f:
            content = f.read()
        self.assertIn(b"'shape': (11, 24", content)
        self.assert_near(struct.unpack(f"<{entry['count']}f", content[-4 * entry["count"]:]), want)

    def test_out_is_for_numpy_and_destroys_nothing(self):
        out = self.path("vectors.npy")
        self.hunch("embed", self.bert, "the mill", "a donkey", "--out", out)
        with open(out, "rb") as f:
            content = f.read()
        self.assertTrue(content.startswith(b"\x93NUMPY"))
        self.assertIn(b"'shape': (2, 24", content)
        got = struct.unpack("<48f", content[-192:])
        self.assert_near(got, [v for vector in self.vectors(self.bert, "the mill", "a donkey") for v in vector], 1e-6)
        self.refused(2, "embed", self.bert, "the mill", "--out", out, says="--force")
        self.assertEqual(self.hunch("embed", self.bert, "the mill", "--out", out, "--force", "--json").json["out"], out)

    def test_similarity(self):
        texts = ["the miller sang", "the miller sang", "12 miles"]
        vectors = self.vectors(self.bert, *texts)
        want = [[cosine(a, b) for b in vectors] for a in vectors]
        answer = self.hunch("embed", self.bert, *texts, "--similarity", "--json").json
        for got, row in zip(answer["similarity"], want):
            self.assert_near(got, row, 1e-5)
        heading, *lines = self.hunch("embed", self.bert, *texts, "--similarity").text.splitlines()
        self.assertEqual(heading.split(), ["text", "0", "1", "2"])
        self.assertEqual(len(lines), 3)
        for i, (line, text, row) in enumerate(zip(lines, texts, want)):
            self.assertTrue(line.startswith(f"{i}  {text} "), line)
            self.assert_near([float(v) for v in line.split()[-3:]], row, 1e-4)
        self.assertEqual(lines[0].split()[-2], "1.0000")
        long = ["the mill " * 5 + "\n\u00fcber", "a donkey"]
        rows = self.hunch("embed", self.bert, *long, "--similarity").text.splitlines()
        self.assertRegex(rows[1], r"^0  the mill the mill the mill the mill \.\.\.  1\.0000  ")

    def test_a_causal_model_takes_the_last_token(self):
        answer = self.hunch("embed", self.opt, "the end", "--json").json
        self.assertEqual(answer["pooling"], "last")
        states = self.vectors(self.opt, "the end", "--pooling", "none")[0]
        last = states[-1]
        self.assert_near(answer["embeddings"][0]["embedding"], [v / length(last) for v in last], 1e-5)

    def test_the_published_goldens(self):
        folder = shared("golden/models2/qwen3_embedding")
        if not folder:
            self.skipTest("without the shared data")
        for name, keys in ("qwen3_embedding", ("embedding", "embedding_normalised")), ("bert", ("mean", "mean_normalised")):
            folder = shared(f"golden/models2/{name}")
            with open(os.path.join(folder, "golden", "golden.json"), encoding="utf-8") as f:
                data = json.load(f)
            with open(os.path.join(folder, "golden", "golden.f32"), "rb") as f:
                values = f.read()
            out = self.path(f"published_{name}.gguf")
            self.hunch("convert", folder, "-o", out, "--type", "f32", "--quiet")
            for model in folder, os.path.join(folder, name + ".gguf"), out:
                for s, sequence in enumerate(data["sequences"]):
                    for key, words in zip(keys, (["--no-normalise"], [])):
                        entry = data["arrays"][f"s{s}.{key}"]
                        want = struct.unpack_from(f"<{entry['count']}f", values, 4 * entry["offset"])
                        got = self.vectors(model, "--ids", ",".join(map(str, sequence["ids"])), *words)[0]
                        self.assert_near(got, want)

    def test_what_cannot_be_is_said(self):
        self.refused(1, "embed", self.bert, "mill " * 60, says="text 0 has 62 tokens, the model only 48 positions")
        self.refused(2, "embed", self.bert, "a", "--pooling", "sum", says="sum")
        self.refused(2, "embed", self.bert, "a", "--pooling", "none", "--similarity", says="--similarity")
        self.refused(2, "embed", self.bert, "a", "--ids", "5", says="--ids")
        self.refused(2, "embed", self.bert, "a", "--file", "b", says="--file")
        self.refused(2, "embed", self.bert, says="there is no line", stdin=b"")
        self.refused(2, "embed", self.bert, "a", "b", "--pooling", "none", "--out", self.path("x.npy"), says="one text")
        self.refused(2, "embed", os.path.join(EMBEDDING, "tiny_bert_rank"), "a", says="rerank")

    def test_it_writes_no_text(self):
        text = self.path("text.txt")
        with open(text, "w", encoding="utf-8") as f:
            f.write("the mill and the donkey. " * 1000)
        for words in (["run", self.bert, "-p", "the", "-n", "2"], ["logits", self.bert, "--ids", "5,6"],
                      ["eval", self.bert, "--text", text], ["bench", self.bert, "--prompt", "4", "--generate", "2"],
                      ["chat", self.bert, "--template-file", "plain"], ["inspect", self.bert, "--text", text]):
            with self.subTest(verb=words[0]):
                self.refused(1, *words, says="hunch embed", stdin=b"hello\n")
        self.refused(1, "sparsify", self.bert, "--text", text, "-o", self.path("x.hunch"), says="as a whole")
        self.assertIn("bert", self.hunch("inspect", self.bert).text)

    def test_pooling_that_is_not_known_is_refused(self):
        folder = self.path("max")
        shutil.copytree(self.bert, folder)
        with open(os.path.join(folder, "1_Pooling", "config.json"), "w", encoding="utf-8") as f:
            json.dump({"pooling_mode_max_tokens": True}, f)
        self.refused(1, "embed", folder, "a", says="max_tokens")


class RerankTest(CliTest):
    ranker = os.path.join(EMBEDDING, "tiny_bert_rank")

    def test_scores_are_the_reference_s_and_the_best_comes_first(self):
        words = golden("tiny_bert_rank")["words"]
        out = self.path("rank.gguf")
        self.hunch("convert", self.ranker, "-o", out, "--type", "f32", "--quiet")
        for model in self.ranker, out:
            answer = self.hunch("rerank", model, "--query", words["query"], *words["documents"], "--json").json
            scores = [r["score"] for r in answer["results"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            self.assertEqual(sorted(r["index"] for r in answer["results"]), list(range(len(words["documents"]))))
            for result in answer["results"]:
                self.assertLessEqual(abs(result["score"] - words["scores"][result["index"]]), TOLERANCE)
                self.assertEqual(result["document"], words["documents"][result["index"]])
        lines = self.hunch("rerank", self.ranker, "--query", words["query"], "--top", "2",
                           stdin="\n".join(words["documents"]).encode()).text.splitlines()
        best = sorted(range(len(words["scores"])), key=lambda i: -words["scores"][i])[:2]
        self.assertEqual([int(line.split("\t")[1]) for line in lines], best)

    def test_a_decoder_is_scored_by_yes_and_no(self):
        folder = os.path.join(EMBEDDING, "..", "rerank", "tiny_qwen3_reranker")
        with open(os.path.join(folder, "golden.json"), encoding="utf-8") as f:
            golden = json.load(f)
        for more, want in ((), golden["scores"]), (("--instruct", golden["instruction"]), golden["scores_by_instruction"]):
            answer = self.hunch("rerank", folder, "--query", golden["query"], *golden["documents"], "--json", *more).json
            for result in answer["results"]:
                self.assertLessEqual(abs(result["score"] - want[result["index"]]), TOLERANCE)
        other = self.path("tiny.gguf")
        self.hunch("convert", folder, "-o", other, "--type", "f32", "--name", "tiny", "--quiet")
        self.refused(1, "rerank", other, "a", "--query", "q", says="--yes-no")
        self.hunch("rerank", other, "a", "--query", "q", "--yes-no")
        self.refused(2, "rerank", self.ranker, "a", "--query", "q", "--yes-no", says="--instruct")

    def test_what_cannot_be_is_said(self):
        self.refused(2, "rerank", self.ranker, "a document", says="--query")
        self.refused(1, "rerank", EmbedTest.bert, "a document", "--query", "q", says="cls.output.weight")
        self.refused(1, "rerank", self.ranker, "mill " * 60, "--query", "q", says="48 positions")


if __name__ == "__main__":
    unittest.main()
