"""What is wrong with a file, a flag or the world is said in one line, with the right exit code; nothing is left half-written."""
import json
import os
import shutil
import struct
import unittest

from fixtures import CliTest


class BadUsage(CliTest):
    def test_no_verb_prints_the_overview(self):
        self.assertIn("hunch VERB MODEL", self.hunch(code=2).err)
        self.assertIn("hunch VERB MODEL", self.hunch("help").text)
        self.assertTrue(self.hunch("--version").text.startswith("hunch "))

    def test_every_verb_has_help_with_an_example(self):
        for verb in "run chat template logits tokenize detokenize inspect eval bench convert quantize pull synth".split():
            text = self.hunch("help", verb).text
            self.assertEqual(self.hunch(verb, "--help").text, text)
            self.assertIn(f"hunch {verb}", text)
            self.assertIn("Examples", text)
            self.assertIn(verb, self.hunch("--help").text)
            self.assertLessEqual(max(map(len, text.splitlines())), 120)

    def test_misspelt_words_are_suggested(self):
        for typo, verb in {"rum": "run", "rnu": "run", "evla": "eval", "quantise": "quantize", "tokenise": "tokenize", "hlep": "help"}.items():
            self.refused(2, typo, self.opt, says=f"did you mean '{verb}'?")
        self.assertNotIn("did you mean", self.refused(2, "nonsense", self.opt, says="no verb 'nonsense'").err)
        self.refused(2, "help", "evla", says="did you mean 'eval'?")
        self.refused(2, "run", self.opt, "--temprature", "1", says="did you mean '--temperature'?")
        self.refused(2, "run", self.opt, "-p", "a", "--mode", "exat", says="did you mean 'exact'?")
        self.refused(2, "convert", self.opt, "-o", self.path("x.gguf"), "--type", "iq2_xxs", says="q4_k")  # only read

    def test_values_that_cannot_be_meant(self):
        for arguments, says in [
            (["-n", "many"], ["--tokens", "'many'"]),
            (["-n", "-3"], ["--tokens", "'-3'"]),
            (["-n", "99999999999999999999"], "too large"),
            (["--temperature", "-1"], "temperature"),
            (["--top-p", "nan"], "--top-p"),
            (["--top-p", "7"], "top"),
            (["--ctx", "12x"], "--ctx"),
            (["--oracle-density", "0"], "oracle density"),
            (["--logit-bias", "5"], "ID=BIAS"),
            (["--force-target", "mmx"], "mmx"),
            (["--log-probs", "3"], "--json"),
            (["--ngram", "--draft-tokens", "99"], ["--draft-tokens", "16", "99"]),
            (["--ngram", "--draft-tokens", "few"], ["--draft-tokens", "'few'"]),
            (["--draft-tokens", "4"], "by whom"),
            (["--tokens"], "--tokens"),
            (["stray"], "stray"),
        ]:
            if "--log-probs" in arguments:
                self.assertIn(says, self.hunch("run", self.opt, "-p", "a", *arguments, code=2).err)
            else:
                self.refused(2, "run", self.opt, "-p", "a", *arguments, says=says)
        self.refused(2, "logits", self.opt, "--ids", "1,,x", says="--ids")
        self.refused(2, "logits", self.opt, "--ids", "1,5000", says="5000")
        self.refused(2, "logits", self.opt, says="--ids")
        self.refused(2, "run", self.opt, "-p", "a", "--ids", "1", says="one prompt")
        self.refused(2, "run", self.opt, says="no prompt")
        self.refused(2, "run", says="which model")
        self.refused(2, "eval", self.opt, says="--text")
        self.refused(2, "eval", self.opt, "--text", self.write("t.txt", "the end"), "--compare", "dense,sparser", says="'sparser'")
        compare = "eval", self.opt, "--text", self.write("t.txt", "the end"), "--compare"
        self.refused(2, *compare, "dense,exact", "--mode", "dense", says="leave out --mode dense")
        self.refused(2, *compare, "dense,exact", "--oracle-density", "0.5", says="leave out --oracle-density")
        self.refused(2, *compare, "dense,exact", "--oracle-heads", "0.5", says="--oracle-heads")
        self.refused(2, *compare, "dense,sparse:0.2", "--density", "0.5", says="--density 0.5 is that of sparse")
        self.refused(2, "eval", self.opt, "--text", self.write("t.txt", "the end"), "--stride", "500", "--ctx", "20", says="stride")
        self.refused(2, "eval", self.opt, "--task", "trivia", "--file", self.write("q.jsonl", "{}"), says="trivia")

    def test_a_draft_model_with_another_vocabulary_is_refused(self):
        other = self.path("other")
        shutil.copytree(self.opt, other)
        with open(os.path.join(other, "vocab.json"), encoding="utf-8") as f:
            vocabulary = json.load(f)
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
        with open(os.path.join(other, "vocab.json"), "w", encoding="utf-8") as f:
            json.dump(vocabulary, f)
        self.refused(1, "run", self.opt, "-p", "the", "--draft", "nowhere.gguf", says="nowhere.gguf")
        self.refused(2, "run", self.opt, "-p", "the", "--draft", other, says=["draft model", "'a'", "'b'", "tokenizer"])
        self.refused(2, "eval", self.opt, "--text", self.write("t.txt", "the end"), "--ngram", says="--compare lossless")

    def test_what_would_be_ignored_is_refused(self):
        run = ("run", self.opt, "-p", "a", "-n", "2")
        self.refused(2, *run, "--threads", "100000", says=["100000 threads (--threads)", "at most 1024"])
        self.refused(2, *run, "--logit-bias", "99999=1", says=["(--logit-bias)", "99999", "expected 0 to "])
        self.refused(2, *run, "--stop", "", says="--stop: expected a text")
        self.refused(2, "chat", self.opt, "--stop", "", stdin=b"hello\n", says="--stop: expected a text")
        self.assertEqual(self.hunch(*run, "--regex", "", "--json").json["text"], "")  # which nothing but the empty text matches
        self.refused(2, self.opt, "-p", "a", says=["is no verb", "hunch run " + self.opt])
        self.assertEqual(self.hunch("help", "help").text, self.hunch("help").text)

    def test_texts_of_windows(self):
        tokens = lambda content: self.hunch("tokenize", self.opt, "--file", self.write("text.txt", content), "--json").json["ids"]
        self.assertEqual(tokens(b"\xef\xbb\xbfthe end"), tokens(b"the end"))
        self.refused(1, "eval", self.opt, "--text", self.write("utf16.txt", "the end".encode("utf-16")), says=["utf16.txt", "UTF-16", "iconv"])
        self.assertEqual(self.hunch("chat", self.opt, "-n", "1", "--json", stdin=b"hello\r\n").json["messages"][0]["content"], "hello")

    def test_environment_is_checked_like_a_flag(self):
        self.refused(2, "run", self.opt, "-p", "a", env={"HUNCH_CTX": "lots"}, says=["--ctx", "'lots'"])

    def test_context_beyond_learned_positions(self):
        self.refused(1, "run", self.opt, "-p", "a", "--ctx", "4096", says=["(--ctx) of 4096", "128"])

    def test_prompt_longer_than_the_context(self):
        self.refused(1, "run", self.opt, "-p", "a long text " * 50, says="learned 128 positions and no more")

    def test_empty_prompt_without_bos(self):
        folder = self.path("no-bos")
        shutil.copytree(self.opt, folder)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        self.hunch("convert", folder, "-o", self.path("no-bos.gguf"))
        # Cut the key out of the metadata by renaming it: the file stays well-formed.
        with open(self.path("no-bos.gguf"), "rb") as f:
            content = f.read()
        for key in b"tokenizer.ggml.bos_token_id", b"tokenizer.ggml.add_bos_token":
            content = content.replace(key, b"x" * len(key))
        path = self.write("no-bos.gguf", content)
        self.assertEqual(config["model_type"], "opt")
        self.refused(2, "run", path, "-p", "", says="prompt is empty")


class BadFiles(CliTest):
    def gguf(self):
        path = self.path("whole.gguf")
        if not os.path.exists(path):
            self.hunch("convert", self.opt, "-o", path)
        with open(path, "rb") as f:
            return f.read()

    def test_no_such_model(self):
        self.refused(1, "run", self.path("nothing.gguf"), "-p", "a", says="nothing.gguf")
        self.refused(1, "inspect", self.home, says="config.json")

    def test_hub_out_of_reach(self):
        self.refused(1, "pull", "nobody/nothing", "--offline", says="nobody/nothing")
        self.refused(2, "pull", "../../etc/passwd")

    def test_truncated_at_every_scale(self):
        content = self.gguf()
        for n in 0, 3, 4, 11, 23, 100, 4000, len(content) // 2, len(content) - 1:
            path = self.write("cut.gguf", content[:n])
            for verb in ["inspect"], ["run", "-p", "a"]:
                self.refused(1, verb[0], path, *verb[1:], says="cut.gguf")

    def test_wrong_magic(self):
        self.refused(1, "run", self.write("song.mp3", b"ID3\x03" + bytes(100)), "-p", "a", says=["song.mp3", "ID3"])
        self.refused(1, "run", self.write("old.bin", bytes(range(256))), "-p", "a", says="old.bin")

    def test_lying_sizes(self):
        content = bytearray(self.gguf())
        content[8:16] = struct.pack("<Q", 2**62)  # the number of tensors
        self.refused(1, "inspect", self.write("lie.gguf", bytes(content)), says="lie.gguf")

    def test_unknown_architecture(self):
        content = self.gguf().replace(b"general.architecture" + struct.pack("<IQ", 8, 3) + b"opt", b"general.architecture" + struct.pack("<IQ", 8, 3) + b"abc")
        path = self.write("abc.gguf", content)
        self.refused(1, "run", path, "-p", "a", says="abc")
        answer = self.hunch("inspect", path, "--json").json  # can still be looked into
        self.assertEqual(answer["arch"], "abc")
        self.assertIsNone(answer["config"])

    def test_missing_tensor_and_wrong_shape(self):
        content = self.gguf()
        self.refused(1, "run", self.write("missing.gguf", content.replace(b"blk.1.attn_q.weight", b"blk.1.attn_z.weight")), "-p", "a", says="blk.1.attn_q.weight")
        key = b"opt.feed_forward_length" + struct.pack("<I", 4)
        self.assertIn(key, content)
        at = content.index(key) + len(key)
        wrong = content[:at] + struct.pack("<I", 255) + content[at + 4 :]
        self.refused(1, "run", self.write("shape.gguf", wrong), "-p", "a", says="ffn")

    def test_hf_folder_without_weights(self):
        folder = self.path("empty-hf")
        os.makedirs(folder, exist_ok=True)
        shutil.copy(os.path.join(self.opt, "config.json"), folder)
        self.refused(1, "run", folder, "-p", "a")

    def test_bad_json_and_bad_templates(self):
        messages = self.write("m.json", '[{"role": "user", "content": "Hi"}]')
        self.refused(1, "template", self.opt, "--messages", self.write("broken.json", '[{"role": '), says=["broken.json", "JSON"])
        self.refused(2, "template", self.opt, "--messages", self.write("shape.json", '[{"content": "x"}]'))
        self.refused(1, "template", "--messages", messages, "--template-file", self.write("t.jinja", "a\n{% if x %}b"), says="line")
        self.refused(2, "template", "--messages", messages, "--template-file", self.write("r.jinja", "{{ raise_exception('no way') }}"), says="no way")
        self.refused(1, "template", "--messages", messages, "--template-file", self.path("none.jinja"), says="none.jinja")
        self.refused(2, "template", self.opt, "--messages", messages, "--flavor", "llama", says=["--flavor", "llama.cpp"])
        self.refused(2, "template", self.opt, "--messages", messages, "--variables", messages, says=["--variables", "array"])
        self.refused(2, "template", self.opt, "--messages", messages, "--variables", self.write("v.json", '{"bos_token": 1}'), says="'bos_token'")

    def test_no_tokenizer(self):
        bare = self.path("no-tokenizer")
        shutil.copytree(self.opt, bare)
        for name in "vocab.json", "merges.txt", "tokenizer_config.json":
            os.remove(os.path.join(bare, name))
        self.refused(1, "run", bare, "-p", "a", says=["tokenizer", "--ids"])
        self.refused(1, "tokenize", bare, "a", says="tokenizer")
        self.assertEqual(len(self.hunch("run", bare, "--ids", "5,6", "-n", "3", "--ignore-end").text.strip().split(",")), 3)

    def test_texts_that_are_not_there(self):
        self.refused(1, "eval", self.opt, "--text", self.path("none.txt"), says="none.txt")
        self.refused(1, "run", self.opt, "--prompt-file", self.path("none.txt"), says="none.txt")
        self.refused(1, "eval", self.opt, "--task", "copa", "--file", self.write("bad.jsonl", '{"query": 5}\n'), says="bad.jsonl")


class Output(CliTest):
    def test_unwritable_places(self):
        for out in os.path.join(self.dir, "no", "such", "folder.gguf"), self.dir, "/proc/x.gguf":
            process = self.hunch("convert", self.opt, "-o", out, code=2 if out == self.dir else 1)
            self.assertTrue(process.err.splitlines()[-1].startswith("hunch: "), process.err)
        self.refused(1, "logits", self.opt, "--ids", "1", "--out", os.path.join(self.dir, "no", "l.npy"), says="l.npy")
        self.refused(2, "convert", self.opt, says="-o")

    def test_closed_streams(self):
        """Their numbers are not given to files, into which notes would be written then."""
        for fd in 0, 1, 2:
            numbers = self.hunch("tokenize", self.opt, "the", preexec_fn=lambda: os.close(fd), code=1 if fd == 1 else 0)
            if fd != 1:
                self.assertEqual(numbers.text, self.hunch("tokenize", self.opt, "the").text)
            out = self.path(f"closed-{fd}.npy")
            self.hunch("logits", self.opt, "--ids", "3,4", "--out", out, preexec_fn=lambda: os.close(fd))
            with open(out, "rb") as f:
                self.assertEqual(len(f.read()), 128 + 2 * 320 * 4)

    def test_full_disk_behind_standard_output(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            result = self.hunch("run", self.opt, "-p", "a", "-n", "2", code=1, stdout=full)
        self.assertIn("standard output", result.err)

    def test_failed_conversion_leaves_nothing(self):
        folder = self.path("out")
        os.mkdir(folder)
        small = os.path.join(folder, "small.gguf")
        self.hunch("convert", self.opt, "-o", small, "--type", "q4_0")
        self.hunch("convert", small, "-o", os.path.join(folder, "again.gguf"), "--type", "q8_0", code=1)
        self.assertEqual(os.listdir(folder), ["small.gguf"])


if __name__ == "__main__":
    unittest.main()
