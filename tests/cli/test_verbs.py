"""Every verb does its job on small models: results on stdout, the rest on stderr, JSON as DESIGN says."""
import json
import os
import re
import struct
import threading
import unittest

from fixtures import GOLDEN, CliTest, golden, shared


class Run(CliTest):
    def test_greedy_continuation_is_the_golden_one(self):
        sequence = golden("opt_sparse")["sequences"][1]
        ids = ",".join(map(str, sequence["ids"]))
        for mode in "dense", "exact":
            answer = self.hunch("run", self.opt, "--ids", ids, "-n", "24", "--temperature", "0", "--mode", mode, "--ignore-end", "--json").json
            self.assertEqual(answer["ids"], sequence["greedy"])
            self.assertEqual(answer["prompt_ids"], sequence["ids"])
        self.assertLess(answer["density_mlp"], 1)

    def test_json_has_the_promised_keys(self):
        answer = self.hunch("run", self.opt, "-p", "the end", "-n", "5", "--ignore-end", "--log-probs", "3", "--json").json
        for key in "text", "ids", "n_prompt", "n_generated", "tokens_per_s", "prompt_tokens_per_s", "gb_per_s", "stop_reason", "seed":
            self.assertIn(key, answer)
        self.assertEqual(answer["stop_reason"], "length")
        self.assertEqual(answer["n_generated"], 5)
        self.assertEqual(len(answer["log_probs"]), 5)
        for token, position in zip(answer["ids"], answer["log_probs"]):
            self.assertEqual(position["id"], token)
            self.assertEqual(len(position["top"]), 3)

    def test_text_on_stdout_and_the_rest_on_stderr(self):
        plain = self.hunch("run", self.opt, "-p", "the end", "-n", "8", "--seed", "5", "--ignore-end")
        self.assertIn("opt", plain.err.splitlines()[0])
        self.assertIn("tokens/s", plain.err)
        answer = self.hunch("run", self.opt, "-p", "the end", "-n", "8", "--seed", "5", "--ignore-end", "--json").json
        self.assertEqual(plain.out.decode("utf-8", "replace").rstrip("\n"), answer["text"].rstrip("\n"))
        quiet = self.hunch("run", self.opt, "-p", "the end", "-n", "8", "--seed", "5", "--ignore-end", "--quiet")
        self.assertEqual(quiet.err, "")
        self.assertEqual(quiet.out, plain.out)

    def test_seeds_reproduce(self):
        def ids(seed):
            return self.hunch("run", self.opt, "-p", "a", "-n", "12", "--ignore-end", "--temperature", "1.5", "--top-p", "1", "--seed", seed, "--json").json["ids"]

        self.assertEqual(ids("1"), ids("1"))
        self.assertNotEqual(ids("1"), ids("2"))

    def test_drafts_change_the_passes_and_not_the_answer(self):
        common = "run", self.opt, "-p", "the end", "-n", "40", "--ignore-end", "--json"
        greedy = self.hunch(*common, "--temperature", "0").json
        for drafts in ("--lossless",), ("--ngram", "--draft-tokens", "3"), ("--draft", self.opt), ("--draft", self.opt, "--ngram", "--draft-tokens", "4"):
            answer = self.hunch(*common, "--temperature", "0", *drafts).json
            self.assertEqual(answer["ids"], greedy["ids"])
            self.assertEqual(answer["text"], greedy["text"])
            for key in "acceptance", "tokens_per_pass", "n_passes", "n_drafted", "n_accepted", "drafters":
                self.assertIn(key, answer["drafts"])
        self.assertGreater(answer["drafts"]["tokens_per_pass"], 3)  # its own model guesses right
        self.assertNotIn("drafts", greedy)
        seeded = self.hunch(*common, "--seed", "4").json
        self.assertEqual(self.hunch(*common, "--seed", "4", "--lossless").json["ids"], seeded["ids"])
        self.assertIn("tokens per pass", self.hunch("run", self.opt, "-p", "the end", "-n", "9", "--lossless", "--verbose").err)

    def test_prompt_from_file_and_standard_input(self):
        path = self.write("prompt.txt", "the end\n")
        reference = self.hunch("run", self.opt, "-p", "the end", "-n", "4", "--temperature", "0", "--json").json
        self.assertEqual(self.hunch("run", self.opt, "--prompt-file", path, "-n", "4", "--temperature", "0", "--json").json["prompt_ids"], reference["prompt_ids"])
        self.assertEqual(self.hunch("run", self.opt, "-n", "4", "--temperature", "0", "--json", stdin=b"the end").json["ids"], reference["ids"])

    def test_a_text_from_another_command(self):
        """As bash hands one over: --text <(zcat wiki.gz)."""
        texts = {"prompt": ("run", self.opt, "-n", "3", "--temperature", "0", "--prompt-file"), "text": ("eval", self.opt, "--text"),
                 "file": ("tokenize", self.opt, "--file"), "lines": ("embed", self.opt, "--file")}
        for name, words in texts.items():
            pipe = self.path(name + ".pipe")
            os.mkfifo(pipe)
            writer = threading.Thread(target=self.write, args=(pipe, "the end of the thing\n"))
            writer.start()
            got = self.hunch(*words, pipe, "--json").json
            writer.join()
            want = self.hunch(*words, self.write(name + ".txt", "the end of the thing\n"), "--json").json
            for key in "ids", "nll", "embeddings":
                self.assertEqual(got.get(key), want.get(key))

    def test_empty_prompt_begins_with_bos(self):
        self.assertEqual(self.hunch("run", self.opt, "-p", "", "-n", "1", "--json").json["prompt_ids"], [0])

    def test_stop_string_is_not_shown(self):
        free = self.hunch("run", self.opt, "-p", "the", "-n", "20", "--seed", "3", "--ignore-end", "--json").json
        stop = next(c for c in free["text"] if c.isascii() and c.isprintable())
        answer = self.hunch("run", self.opt, "-p", "the", "-n", "20", "--seed", "3", "--ignore-end", "--stop", stop, "--json").json
        self.assertEqual(answer["stop_reason"], "stop_string")
        self.assertEqual(answer["text"], free["text"][: free["text"].index(stop)])

    def test_logit_bias_forces_a_token(self):
        answer = self.hunch("run", self.opt, "-p", "the", "-n", "3", "--logit-bias", "70=inf", "--logit-bias", "71=-inf", "--ignore-end", "--json").json
        self.assertEqual(answer["ids"], [70, 70, 70])

    def test_full_context_is_a_stop_reason(self):
        answer = self.hunch("run", self.opt, "-p", "the", "-n", "50", "--ctx", "10", "--ignore-end", "--json").json
        self.assertEqual(answer["stop_reason"], "context_full")

    def test_environment_is_the_options_twin(self):
        answer = self.hunch("run", self.opt, "-p", "the", "-n", "1", "--json", env={"HUNCH_CTX": "17", "HUNCH_THREADS": "1"}).json
        self.assertEqual(answer["n_ctx"], 17)
        self.assertEqual(answer["model"]["n_threads"], 1)

    def test_oracle_keeps_its_share(self):
        answer = self.hunch("run", self.opt, "-p", "the", "-n", "6", "--oracle-density", "0.1", "--ignore-end", "--json").json
        self.assertLess(answer["density_mlp"], 0.11)

    def test_invalid_utf8_is_no_error(self):
        answer = self.hunch("run", self.opt, "-n", "2", "--json", stdin=b"ab\xff\xfe c").json
        self.assertEqual(len(answer["prompt_ids"]), 7)


class PublishedText(CliTest):
    def setUp(self):
        if not shared("models/stories260K"):
            self.skipTest("no shared data: the published greedy text of stories260K is not checked")
        self.folder = shared("models/stories260K")

    def test_stories_are_told_exactly(self):
        with open(os.path.join(self.folder, "expected_greedy_200.txt"), encoding="utf-8") as f:
            expected = f.read()
        for name in "stories260K.bin", "stories260K.gguf":
            result = self.hunch("run", os.path.join(self.folder, name), "-p", "", "-n", "200", "--temperature", "0", "--ctx", "512", "--quiet")
            self.assertEqual(result.text.strip(), expected.strip(), name)

    def test_a_continuation_keeps_its_space(self):
        text = self.hunch("run", os.path.join(self.folder, "stories260K.gguf"), "-p", "Once upon a", "-n", "4", "--temperature", "0", "--quiet").text
        self.assertTrue(text.startswith(" time"), text)


class LookInside(CliTest):
    def test_logits_are_the_golden_ones(self):
        data = golden("opt_sparse")
        sequence, array = data["sequences"][1], data["arrays"]["s1.logits"]
        with open(os.path.join(GOLDEN, "opt_sparse", "golden", "golden.f32"), "rb") as f:
            f.seek(4 * array["offset"])
            want = struct.unpack(f"<{array['count']}f", f.read(4 * array["count"]))
        ids = ",".join(map(str, sequence["ids"]))
        answer = self.hunch("logits", self.opt, "--ids", ids, "--json").json
        self.assertEqual(answer["n_vocab"], array["shape"][1])
        got = [x for row in answer["logits"] for x in row]
        self.assertEqual(len(got), len(want))
        self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 1e-4)

        self.hunch("logits", self.opt, "--ids", ids, "--out", self.path("logits.npy"))
        with open(self.path("logits.npy"), "rb") as f:
            content = f.read()
        self.assertEqual(content[:8], b"\x93NUMPY\x01\x00")
        (length,) = struct.unpack("<H", content[8:10])
        self.assertEqual((10 + length) % 64, 0)
        header = eval(content[10 : 10 + length], {}, {})
        self.assertEqual(header, {"descr": "<f4", "fortran_order": False, "shape": tuple(array["shape"])})
        got = struct.unpack(f"<{array['count']}f", content[10 + length :])
        self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 1e-4)

    def test_tokenize_and_back(self):
        text = "the end\n<s> Ünïcode 漢字 🙂"
        ids = self.hunch("tokenize", self.opt, text, "--json").json["ids"]
        line = self.hunch("tokenize", self.opt, stdin=text.encode()).text
        self.assertEqual([int(i) for i in line.strip().split(",")], ids)
        self.assertEqual(self.hunch("detokenize", self.opt, line.strip(), "--skip-special").text, text)
        self.assertEqual(self.hunch("detokenize", self.opt, "--skip-special", "--json", stdin=line.encode()).json["text"], text)
        self.assertEqual(self.hunch("tokenize", self.opt, "<s>", "--special", "--no-bos", "--json").json["ids"], [0])
        self.assertEqual(len(self.hunch("tokenize", self.opt, text, "--pieces").text.splitlines()), len(ids))

    def test_text_that_looks_like_an_option(self):
        self.assertEqual(self.hunch("detokenize", self.opt, self.hunch("tokenize", self.opt, "--", "--json").text.strip(), "--skip-special").text, "--json")
        answer = self.hunch("run", self.opt, "-p", "--json", "-n", "1", "--json").json
        self.assertEqual(answer["prompt_ids"], self.hunch("tokenize", self.opt, "--json", "--", "--json").json["ids"])

    def test_inspect(self):
        answer = self.hunch("inspect", self.opt, "--json").json
        for key in "arch", "n_params", "config", "tensors", "sidecar":
            self.assertIn(key, answer)
        self.assertEqual(answer["arch"], "opt")
        self.assertIsNone(answer["sidecar"])
        self.assertEqual(answer["config"]["n_ff"], 256)
        self.assertEqual(set(answer["tensors"][0]), {"name", "dtype", "shape", "bytes"})
        text = self.hunch("inspect", self.opt, "--tensors", "--metadata").text
        self.assertIn(answer["tensors"][0]["name"], text)
        self.assertIn("general.architecture", text)

    def test_template(self):
        messages = self.write("messages.json", json.dumps([{"role": "user", "content": "Hi"}]))
        self.assertEqual(self.hunch("template", self.opt, "--messages", messages).text, "<user>Hi\n<assistant>")
        self.assertEqual(self.hunch("template", self.opt, "--messages", messages, "--no-generation-prompt", "--json").json["text"], "<user>Hi\n")
        own = self.write("own.jinja", "{{ messages[0]['content'] | upper }}")
        self.assertEqual(self.hunch("template", "--messages", messages, "--template-file", own).text, "HI")
        tools = self.write("tools.json", '[{"type": "function", "function": {"name": "clock"}}]')
        with_tools = self.write("tools.jinja", "{{ tools[0].function.name }}")
        self.assertEqual(self.hunch("template", "--messages", messages, "--template-file", with_tools, "--tools", tools).text, "clock")

    def test_template_flavors_and_variables(self):
        messages = self.write("messages.json", json.dumps([{"role": "user", "content": "Hi"}]))
        source = self.write("flavor.jinja", "{{ bos_token }}a\n  {{ messages[0].content }}{{ '!' if shout }}{{ eos_token }}")
        render = lambda *more: self.hunch("template", self.opt, "--messages", messages, "--template-file", source, *more).text
        self.assertEqual(render(), "<s>a\n  Hi</s>")
        self.assertEqual(render("--flavor", "huggingface"), render())
        self.assertEqual(render("--flavor", "llama.cpp"), "a\nHi")
        variables = self.write("variables.json", '{"shout": true, "eos_token": "<end>"}')
        self.assertEqual(render("--variables", variables), "<s>a\n  Hi!<end>")
        self.assertEqual(render("--variables", variables, "--flavor", "llama.cpp"), "a\nHi!")

    def test_published_templates_as_llama_cpp_renders_them(self):
        if not shared("templates/cases.json"):
            self.skipTest("no shared data: templates/cases.json is not rendered through the command line")
        with open(shared("templates/cases.json"), encoding="utf-8") as f:
            data = json.load(f)
        self.assertTrue(data["add_generation_prompt"])
        messages = self.write("messages.json", json.dumps(data["messages"]))
        for case in data["cases"]:
            variables = {"bos_token": case["bos_token"], "eos_token": case["eos_token"]}
            template = case["template"]
            if "additional_special_tokens" in template:  # the one model with tokens beyond BOS and EOS; the case keeps its BOS
                variables["additional_special_tokens"] = ["<|role_sep|>", "<|message_sep|>", "[", "]"]
                template = template.replace("bos_token", "'<s>'")
            answer = self.hunch("template", "--messages", messages, "--template-file", self.write("case.jinja", template),
                                "--variables", self.write("variables.json", json.dumps(variables)), "--flavor", "llama.cpp")
            self.assertEqual(answer.text, case["expected_jinja"], case["name"])


class Convert(CliTest):
    def test_every_type_is_written_and_read(self):
        ids = ",".join(map(str, golden("opt_sparse")["sequences"][1]["ids"]))
        reference = self.hunch("logits", self.opt, "--ids", ids, "--json").json["logits"]
        largest = max(abs(x) for row in reference for x in row)
        listed = re.search(r"--type TYPE(.*?)\(default", self.hunch("convert", "--help").text, re.DOTALL)[1]
        offered = "".join(listed.split()).split(";")[-1].split(",")
        self.assertIn("q4_0", offered)
        for dtype in offered:
            bound = {"f32": 1e-6, "f16": 2e-3, "bf16": 2e-2, "q8_0": 0.1}.get(dtype, 1.0)
            out = self.path(f"opt-{dtype}.gguf")
            report = self.hunch("convert", self.opt, "-o", out, "--type", dtype, "--json").json
            self.assertEqual(report["file_bytes"], os.path.getsize(out))
            tensors = self.hunch("inspect", out, "--json").json["tensors"]
            written = {t["dtype"] for t in tensors}
            plain = {"f32", "f16", "bf16"}  # rows of 64: no whole blocks of 256
            self.assertTrue(dtype in written or dtype == "auto" or (re.search("_k|iq4_xs|iq|moe", dtype) and written - plain), (dtype, written))
            logits = self.hunch("logits", out, "--ids", ids, "--json").json["logits"]
            error = max(abs(a - b) for x, y in zip(reference, logits) for a, b in zip(x, y))
            self.assertLess(error / largest, bound, dtype)
        self.hunch("convert", self.opt, "-o", self.path("named.gguf"), "--name", "Ada")
        self.assertEqual(self.hunch("inspect", self.path("named.gguf"), "--json").json["name"], "Ada")
        before = self.hunch("tokenize", self.opt, "the end", "--json").json
        self.assertEqual(self.hunch("tokenize", self.path("opt-f16.gguf"), "the end", "--json").json, before)

    def test_layouts(self):
        def down(layout):
            out = self.path(f"{layout}.gguf")
            self.hunch("convert", self.opt, "-o", out, "--type", "q8_0", "--layout", layout)
            return {t["name"]: t["shape"] for t in self.hunch("inspect", out, "--json").json["tensors"] if "ffn_down" in t["name"] and "bias" not in t["name"]}

        self.assertEqual(down("rows")["blk.0.ffn_down.weight"], [64, 256])
        self.assertEqual(down("neuron")["blk.0.ffn_down_t.weight"], [256, 64])
        rows, neuron = self.path("rows.gguf"), self.path("neuron.gguf")
        self.assertIn("--reblock-down", self.hunch("run", rows, "-p", "a", "-n", "2").err)
        self.assertIn("KL", self.hunch("run", rows, "-p", "a", "-n", "2", "--reblock-down").err)
        answer = self.hunch("run", neuron, "-p", "a", "-n", "4", "--ignore-end", "--json").json
        self.assertLess(answer["density_mlp"], 1)

    def test_quantize_of_a_float_file(self):
        self.hunch("convert", self.opt, "-o", self.path("f32.gguf"), "--type", "f32")
        self.hunch("quantize", self.path("f32.gguf"), "-o", self.path("small.gguf"), "--type", "q4_0")
        self.assertLess(os.path.getsize(self.path("small.gguf")), os.path.getsize(self.path("f32.gguf")) / 2)
        self.refused(1, "quantize", self.path("small.gguf"), "-o", self.path("twice.gguf"), "--type", "q8_0", says="already q4_0")
        self.assertFalse(os.path.exists(self.path("twice.gguf")))


class Measure(CliTest):
    TEXT = "the end of the thing is in the other one, he said. " * 8

    def test_perplexity(self):
        path = self.write("text.txt", self.TEXT)
        answer = self.hunch("eval", self.opt, "--text", path, "--ctx", "64", "--json").json
        n_ids = len(self.hunch("tokenize", self.opt, "--file", path, "--json").json["ids"])
        self.assertEqual(answer["n_tokens"], n_ids - 1)
        self.assertEqual((answer["n_ctx"], answer["stride"]), (64, 32))
        self.assertGreater(answer["perplexity"], 1)
        plain = self.hunch("eval", self.opt, "--text", path, "--ctx", "64", "--mode", "dense")
        self.assertAlmostEqual(float(plain.text.split()[1]), answer["perplexity"], delta=answer["perplexity"] * 1e-4)
        self.assertIn("windows of 64 tokens every 32", plain.err)

    def test_compare(self):
        path = self.write("text.txt", self.TEXT)
        answer = self.hunch("eval", self.opt, "--text", path, "--compare", "dense,exact,oracle:0.2,lossless", "--max-tokens", "100", "--json").json
        self.assertEqual(list(answer["modes"]), ["dense", "exact", "oracle:0.2", "lossless"])
        for row in answer["modes"].values():
            for key in "perplexity", "kl", "top1", "density_mlp", "density_heads", "bytes_per_token", "tokens_per_s":
                self.assertIn(key, row)
        dense, exact, oracle, lossless = answer["modes"].values()
        self.assertEqual(lossless["perplexity"], exact["perplexity"])
        self.assertGreaterEqual(lossless["tokens_per_pass"], 1)
        self.assertEqual(dense["density_mlp"], 1)
        self.assertLess(exact["kl"], 1e-6)
        self.assertEqual(exact["top1"], 1)
        self.assertLess(exact["bytes_per_token"], dense["bytes_per_token"])
        self.assertLess(oracle["density_mlp"], 0.21)
        self.assertGreater(oracle["kl"], exact["kl"])
        table = self.hunch("eval", self.opt, "--text", path, "--compare", "dense,exact", "--max-tokens", "60").text
        self.assertEqual(len(table.splitlines()), 3)

    def test_task(self):
        items = [{"query": "the thing", "choices": ["is in the", "zzz zzz"], "gold": g} for g in (0, 1)]
        path = self.write("copa.jsonl", "\n".join(map(json.dumps, items)) + "\n")
        answer = self.hunch("eval", self.opt, "--task", "copa", "--file", path, "--json").json
        self.assertEqual((answer["task"], answer["n"], answer["acc"]), ("copa", 2, 0.5))

    def test_bench(self):
        answer = self.hunch("bench", self.opt, "--prompt", "8,16", "--generate", "4", "--repeats", "2", "--json").json
        self.assertEqual([row["name"] for row in answer["rows"]], ["pp8", "pp16", "tg4"])
        for key in "tokens_per_s", "tokens_per_s_stddev", "gb_per_s", "bandwidth_share":
            self.assertIn(key, answer["rows"][0])
        self.assertGreater(answer["machine"]["read_gb_per_s"], 0)
        self.assertGreater(answer["rows"][2]["bytes_per_token"], 1000)
        args = ("--compare", "dense,exact", "--text", self.write("some.txt", "the end is in the beginning " * 8), "--prompt", "")
        rows = self.hunch("bench", self.opt, *args, "--generate", "4,6", "--depth", "3", "--repeats", "3", "--json").json["rows"]
        self.assertEqual([row["name"] for row in rows], ["tg4@d3 dense", "tg4@d3 exact", "tg6@d3 dense", "tg6@d3 exact"])
        self.assertLess(rows[1]["bytes_per_token"], rows[0]["bytes_per_token"])
        self.assertEqual((rows[0]["speed_up"], rows[0]["efficiency"]), (1, 1))
        self.assertAlmostEqual(rows[1]["efficiency"], rows[1]["speed_up"] * rows[1]["bytes_per_token"] / rows[0]["bytes_per_token"], places=3)
        self.refused(2, "bench", self.opt, *args, "--generate", "1000", "--depth", "4", says="needs 1004")
        self.refused(2, "bench", self.opt, "--compare", "dense,lossless", says="lossless")
        answer = self.hunch("bench", self.opt, *args, "--generate", "2", "--depth", "3", "--repeats", "1", "--batch", "1,3", "--json").json
        rows = answer["rows"]
        self.assertEqual([row["name"] for row in rows], ["tg2@d3 x1 dense", "tg2@d3 x1 exact", "tg2@d3 x3 dense", "tg2@d3 x3 exact"])
        self.assertEqual([row["n_sequences"] for row in rows], [1, 1, 3, 3])
        for row in rows[:3]:  # nothing to choose
            self.assertEqual((row["union_share"], sum(row["paths"].values())), (1, 0))
        self.assertTrue(0 < rows[3]["union_share"] < 1)
        self.assertAlmostEqual(sum(rows[3]["paths"].values()), 1)
        self.assertLess(rows[2]["bytes_per_token"], rows[0]["bytes_per_token"])
        self.assertEqual({(b["product"], b["n_sequences"]) for b in answer["break_even"]}, {("add", 2), ("add", 3)})
        self.assertTrue(0 <= answer["break_even"][0]["union_share"] <= 1)
        table = self.hunch("bench", self.opt, *args, "--generate", "2", "--repeats", "1", "--batch", "3")
        self.assertIn("union", table.text)  # a column, or below where the numbers are too wide for 80
        self.assertIn("break-even", table.err)
        self.refused(2, "bench", self.opt, *args, "--generate", "20", "--batch", "9", says="9 sequences of 20 after 0 need 180")
        self.refused(2, "bench", self.opt, *args, "--generate", "20", "--batch", "0", says="--batch")
        self.refused(2, "bench", self.opt, *args, "--generate", "20", "--batch", "2", "--ngram", says="--batch")
        self.refused(2, "bench", self.opt, *args, "--mode", "dense", says="leave out --mode dense")
        self.assertEqual(self.hunch("bench", "--machine", "--threads", "1", "--json").json["machine"]["n_threads"], 1)

    def test_bench_says_where_the_time_goes(self):
        args = ("bench", self.opt, "--prompt", "40", "--generate", "3", "--repeats", "2", "--profile")
        for row in self.hunch(*args, "--json").json["rows"]:
            stages = {stage["stage"]: stage for stage in row["stages"]}
            for name in "q, k, v", "attention", "gate, up", "down", "logits":
                self.assertGreater(stages[name]["us_per_pass"], 0, name)
            self.assertGreater(stages["down"]["bytes_per_pass"], 0)
            self.assertEqual(stages["routing"]["us_per_pass"], 0)
            n = 40 if row["name"] == "pp40" else 1
            self.assertAlmostEqual(sum(s["bytes_per_pass"] for s in row["stages"]), n * row["bytes_per_token"], delta=2)
            rate = n * 1e6 / sum(s["us_per_pass"] for s in row["stages"])
            self.assertTrue(0.5 < rate / row["tokens_per_s"] < 2, (rate, row["tokens_per_s"]))
        text = self.hunch(*args).out.decode()
        self.assertRegex(text, r"pp40 +us/pass +share")
        self.assertRegex(text, r"all +\d+ +100.0 %")
        batched = self.hunch(*args, "--batch", "2", "--json").json["rows"][-1]
        self.assertEqual(batched["name"], "tg3 x2")
        self.assertGreater(len(batched["stages"]), 5)
        self.refused(2, *args, "--ngram", "--text", self.write("some.txt", "the end " * 60), says="--profile")

    def test_costs_that_bench_measured_are_pinned_elsewhere(self):
        costs = self.path("costs.json")
        self.hunch("bench", self.opt, "--prompt", "", "--generate", "2", "--repeats", "1", "--batch", "2", "--costs", costs)
        text = self.write("some.txt", "the end is in the beginning " * 8)
        broken = self.write("broken.json", "{")
        for verb in (["run", self.opt, "-p", "the", "-n", "2"], ["chat", self.opt, "-n", "2"], ["logits", self.opt, "--ids", "5"],
                     ["eval", self.opt, "--text", text, "--max-tokens", "20"]):
            self.hunch(*verb, "--costs", costs)
            self.refused(1, *verb, "--costs", broken, says="broken.json")
            self.refused(1, *verb, "--costs", self.path("none.json"), says="none.json")


if __name__ == "__main__":
    unittest.main()
