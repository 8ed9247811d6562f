"""Errors name a way out, and it is one: what each message says is taken from its words, tried, and works."""
import json
import os
import re
import shutil
import unittest

from fixtures import SOURCE, CliTest, random_words
from test_serve import Server

# What people type who come from llama.cpp, `llama-server` and `llama-bench`: (verb, words, None or what is in the answer).
# None: it is understood, or left out with a note that says why.
FROM_LLAMA_CPP = [
    ("run", "-c 64", None), ("run", "--ctx-size 64", None), ("run", "--temp 0.5", None), ("run", "-s 7", None), ("run", "--seed -1", None),
    ("run", "--n-predict 3", None), ("run", "--predict 3", None), ("run", "-ngl 99", None), ("run", "--n-gpu-layers all", None),
    ("run", "-fa", None), ("run", "-fa on", None), ("run", "--flash-attn auto", None), ("run", "-b 512 -ub 128", None), ("run", "-tb 2", None),
    ("run", "--mlock", None), ("run", "--no-mmap", None), ("run", "-lm mmap", None), ("run", "--no-warmup", None), ("run", "--jinja", None),
    ("run", "-no-cnv", None), ("run", "-st", None), ("run", "--no-display-prompt", None), ("run", "--simple-io", None), ("run", "--no-escape", None),
    ("run", "-ctk f16 -ctv f16", None), ("run", "--repeat-last-n 32", None), ("run", "--typical 0.9", None), ("run", "--ignore-eos", None),
    ("run", "-r zzz", None), ("run", "-l 15-1", None), ("run", "--logit-bias 15+1.5", None), ("run", "--numa distribute", None),
    ("run", "-C ff --cpu-strict 1 --prio 2 --poll 50", None), ("run", "--keep -1", None), ("run", "--no-context-shift", None), ("run", "--swa-full", None),
    ("run", "-ot exps=CPU", None), ("run", "-cmoe", None), ("run", "-ncmoe 4", None), ("run", "-nkvo", None), ("run", "-dev none", None),
    ("run", "-sm none -mg 0", None), ("run", "-nr", None), ("run", "--no-op-offload", None), ("run", "-dt 0.1", None), ("run", "--check-tensors", None),
    ("run", "-fit off", None), ("run", "--log-disable", None), ("run", "-lv 1", None), ("run", "--log-file x.log", None), ("run", "--log-prefix", None),
    ("run", "-co", None), ("run", "--perf", None), ("run", "-j {\"type\":\"integer\"}", None), ("run", "-n -1 -c 16", None), ("run", "-np 2", None),
    ("run", "--no-mmproj", None), ("run", "--draft-min 2", None),
    ("chat", "-sys hello -n 2", None), ("chat", "--temp 0.2 -c 64 --jinja -n 2", None), ("chat", "--chat-template-kwargs {\"enable_thinking\":false} -n 2", None),
    ("bench", "-p 8 -n 2 -r 1", None), ("bench", "-p 8 -n 0 -r 1 -d 4 -ngl 0 -fa 1", None),
    ("eval", "-f TEXT -c 32", None), ("eval", "-f TEXT -c 32 -b 512", None),
    ("run", "-cnv", "hunch chat"), ("run", "-i", "hunch chat"), ("run", "-e", "$'a\\nb'"), ("run", "--mirostat 2", "--top-p"),
    ("run", "--dry-multiplier 0.8", "--min-p"), ("run", "--xtc-probability 0.1", "--top-p"), ("run", "--samplers top_k", "docs/sampling.md"),
    ("run", "--adaptive-target 0.5", "--top-p"), ("run", "--rope-scaling yarn", "--ctx"), ("run", "--rope-freq-base 10000", "--ctx"), ("run", "--grp-attn-n 4", "self-extend"),
    ("run", "--lora-scaled a.gguf:0.5", "--lora PATH:SCALE"), ("run", "--control-vector a.gguf", "--lora"), ("run", "--mmproj a.gguf", "images"),
    ("run", "--grammar root", "--grammar-file"), ("run", "--prompt-cache a.bin", "--cache-dir"), ("run", "--host 0.0.0.0", "hunch serve"),
    ("run", "--port 8080", "hunch serve"), ("run", "--perplexity", "hunch eval"), ("run", "--override-kv a=b", "hunch convert"),
    ("run", "--chat-template chatml", "--template-file"), ("run", "-hff a.gguf", "OWNER/NAME"), ("run", "-hft hf_x", "HF_TOKEN"),
    ("run", "--offline", "HF_HUB_OFFLINE=1"), ("run", "--pooling mean", "hunch embed"), ("run", "-cl", "hunch list"), ("run", "-sp", "--json"),
    ("run", "--reasoning-budget 0", "enable_thinking=false"), ("chat", "-p hello", "hunch run"), ("chat", "-j {}", "run has it"),
    ("serve", "--temp 0.7", "temperature"), ("serve", "--top-k 40", "each request says it"), ("serve", "-md a.gguf", "lossless"),
    ("serve", "--chat-template-kwargs {}", "chat_template_kwargs"), ("serve", "--ssl-key-file a", "tls-cert"), ("run", "--ssl-cert-file a", "--tls-cert FILE"), ("bench", "--output json", "--json"),
    ("run", "--file TEXT", "one prompt only"), ("run", "-lzm auto --log-jsonl -ncffn 2", None), ("run", "--spec-draft-type-k f16 --spec-draft-n-min 1", None),
    ("eval", "--file TEXT -c 32", None), ("run", "-lcs a.bin", "--ngram"), ("serve", "-lcs a.bin", "lossless"), ("serve", "--models-preset a.ini", "--models-dir"),
    ("serve", "--tools all", "hunch runs no tools"), ("serve", "--embd-normalize -1", "--no-normalise"), ("serve", "--reasoning-effort low", "chat_template_kwargs"),
    ("serve", "--sleep-idle-seconds soon", "--idle-unload"), ("serve", "--no-models-autoload", "autoload=false"),
    ("eval", "--chunks 4", "--max-tokens"), ("tokenize", "--ctx 64", "run,"), ("quantize", "out.gguf Q4_K_M", "-o FILE"),
]


class Advice(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.dir, "text.txt")
        with open(cls.text, "w", encoding="utf-8") as f:
            f.write(random_words(600))

    def mend(self, bad, pattern, make, code=2, **how):
        """`bad` fails and says something that `pattern` finds; make(match) is the command that this tells, and runs."""
        message = self.hunch(*bad, code=code, **how).err.splitlines()[-1]
        self.assertTrue(message.startswith("hunch: "), message)
        found = re.search(pattern, message)
        self.assertTrue(found, f"{bad}: {message}")
        good = make(found)
        return self.hunch(*good[0], **good[1]) if isinstance(good, tuple) else self.hunch(*good)

    def test_context(self):
        run = ["run", self.opt, "-n", "2"]
        self.mend([*run, "-p", "a", "--ctx", "4096"], r"\(--ctx\).* the (\d+) positions", lambda m: [*run, "-p", "a", "--ctx", m[1]], code=1)
        # A prompt that the model has positions for, but not the context: the size is named.
        words = random_words(12)
        self.mend([*run, "-p", words, "--ctx", "16"], r"a context \(--ctx\) of (\d+) has room", lambda m: [*run, "-p", words, "--ctx", m[1]], code=1)
        # One that it has no positions for: no other context would help, and none is named.
        long = random_words(100)
        message = self.hunch(*run, "-p", long, "--ctx", "128", code=1).err
        self.assertNotIn("--ctx", message)
        self.assertRegex(message, "learned 128 positions and no more.* a shorter text fits")
        note = self.hunch("run", self.opt, "-p", "the end", "-n", "-1", "--ctx", "16", "--ignore-end").err
        size = re.search(r"the context of 16 tokens is full; a context \(--ctx\) of (\d+) has room", note)
        self.assertEqual(self.hunch("run", self.opt, "-p", "the end", "-n", "20", "--ctx", size[1], "--ignore-end", "--json").json["stop_reason"], "length")
        note = self.hunch("run", self.opt, "-p", "the end", "-n", "-1", "--ignore-end").err
        self.assertIn("learned 128 positions", note)
        chat = ["chat", self.opt, "-n", "4"]
        said = self.hunch(*chat, "--ctx", "24", stdin=(words + "\n").encode(), code=1)
        size = re.search(r"a context \(--ctx\) of (\d+) has room", said.err)
        self.assertTrue(size, said.err)
        self.assertNotIn("too long", self.hunch(*chat, "--ctx", size[1], stdin=(words + "\n").encode()).err)
        evaluate = ["eval", self.opt, "--text", self.text, "--max-tokens", "80"]
        self.mend([*evaluate, "--ctx", "20", "--stride", "50"], r"expected at most (\d+)", lambda m: [*evaluate, "--ctx", "20", "--stride", m[1]])
        gsm8k = ["eval", self.opt, "--task", "gsm8k", "--file", os.path.join(SOURCE, "tests", "data", "tasks", "gsm8k", "test.jsonl")]
        self.assertIn("learned 128 positions", self.hunch(*gsm8k, code=2).err)
        embed = ["embed", self.opt, words]
        self.mend([*embed, "--ctx", "8"], r"a context \(--ctx\) of (\d+) has room", lambda m: [*embed, "--ctx", m[1]], code=1)

    def test_ids(self):
        logits = ["logits", self.opt, "--json"]
        self.mend([*logits, "--ids", "1,5000"], r"expected 0 to (\d+)", lambda m: [*logits, "--ids", "1," + m[1]])
        self.mend([*logits, "--ids", "1;2"], r"token ids like ([\d,]+)", lambda m: [*logits, "--ids", m[1]])
        self.mend(logits, r"give either --ids ([\d,]+) or --prompt TEXT", lambda m: [*logits, "--ids", m[1]])
        self.mend(["detokenize", self.opt, "5000"], r"expected 0 to (\d+)", lambda m: ["detokenize", self.opt, m[1]])
        run = ["run", self.opt, "-n", "2"]
        self.mend([*run, "--ids", "99999"], r"expected 0 to (\d+)", lambda m: [*run, "--ids", m[1]])
        self.mend([*run, "-p", "a", "--logit-bias", "5"], r"expected ID=BIAS, found '(\d+)'", lambda m: [*run, "-p", "a", "--logit-bias", m[1] + "=-1"])
        without = self.path("no-tokenizer")
        os.mkdir(without)
        for name in "config.json", "model.safetensors":
            shutil.copy(os.path.join(self.opt, name), without)
        self.mend(["run", without, "-p", "a", "-n", "2"], r"only token ids \((--ids)\)", lambda m: ["run", without, m[1], "1,2", "-n", "2"], code=1)

    def test_options(self):
        run = ["run", self.opt, "-p", "a", "-n", "2"]
        self.mend([*run, "--temprature", "1"], r"did you mean '(--\w+)'", lambda m: [*run, m[1], "1"])
        self.mend(["rnu", *run[1:]], r"did you mean '(\w+)'", lambda m: [m[1], *run[1:]])
        self.mend([*run, "--mode", "exat"], r"did you mean '(\w+)'", lambda m: [*run, "--mode", m[1]])
        self.mend([*run, "--oracle-density", "5"], r"perhaps as ([\d.]+%) or", lambda m: [*run, "--oracle-density", m[1]])
        self.mend([*run, "--log-probs", "3"], r"add (--json)", lambda m: [*run, "--log-probs", "3", m[1]])
        self.mend([*run, "--mode", "sparse"], r"`hunch (sparsify)` makes it", lambda m: [m[1], self.opt, "--text", self.text, "--density", "0.5",
                  "--predictor", "svd", "--rank", "16", "--threads", "1", "-o", self.path("opt.hunch")], code=1)
        self.hunch(*run, "--mode", "sparse")
        self.mend([*run, "--density", "0.5"], r"\((--density)\) goes with (sparse) mode", lambda m: [*run, m[1], "0.5", "--mode", m[2]])
        self.mend([*run, "--draft-tokens", "4"], r"(--lossless|--ngram)", lambda m: [*run, "--draft-tokens", "4", m[1]])
        self.mend(["run", self.opt, "-n", "2"], r"give (-p) TEXT", lambda m: ["run", self.opt, "-n", "2", m[1], "a"])
        self.mend(["run", "-p", "a"], r"a Hugging Face folder", lambda m: run)
        out = self.write("there.gguf", "precious")
        self.mend(["convert", self.opt, "-o", out], r"(--force) writes over it", lambda m: ["convert", self.opt, "-o", out, m[1]])
        self.mend(["convert", self.opt], r"give (-o) FILE", lambda m: ["convert", self.opt, m[1], self.path("new.gguf")])
        self.mend(["convert", self.opt, "-o", self.path("t.gguf"), "--type", "q4"], r"did you mean '(\w+)'|expected [^;]*?(q8_0)",
                  lambda m: ["convert", self.opt, "-o", self.path("t.gguf"), "--type", m[1] or m[2]])
        self.mend(["eval", self.opt], r"give either (--text) FILE", lambda m: ["eval", self.opt, m[1], self.text, "--max-tokens", "40"])
        self.mend(["eval", self.opt, "--text", self.text, "--compare", "dense,sparser"], r"possible: (\w+), (\w+)",
                  lambda m: ["eval", self.opt, "--text", self.text, "--max-tokens", "40", "--compare", f"{m[1]},{m[2]}"])
        self.mend(["sparsify", self.opt, "--text", self.text, "--max-ppl-increase", "1"], r"(1%) or 0.01",
                  lambda m: ["sparsify", self.opt, "--text", self.text, "--max-ppl-increase", m[1], "--predictor", "svd", "--rank", "32", "--epochs", "1",
                             "--threads", "1", "-o", self.path("budget.hunch")])
        self.mend(["sparsify", self.opt], r"give (--text) FILE", lambda m: ["sparsify", self.opt, m[1], self.text, "--density", "0.5", "--predictor",
                  "hot", "--threads", "1", "-o", self.path("hot.hunch")])
        self.mend(["bench", self.opt, "--lossless"], r"(--text) FILE goes with --lossless",
                  lambda m: ["bench", self.opt, "--lossless", m[1], self.text, "--prompt", "", "--generate", "4", "--repeats", "1"])
        self.mend(["inspect", self.opt, "--html", self.path("a.html")], r"give (--text) FILE too",
                  lambda m: ["inspect", self.opt, "--html", self.path("a.html"), m[1], self.text, "--tokens", "64", "--oracle-tokens", "0"])
        plain = self.path("no-template")
        shutil.copytree(self.opt, plain)
        with open(os.path.join(plain, "tokenizer_config.json"), encoding="utf-8") as f:
            config = json.load(f)
        del config["chat_template"]
        with open(os.path.join(plain, "tokenizer_config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.mend(["chat", plain, "-n", "2"], r'(--template-file)\), or "(plain)" there', lambda m: (["chat", plain, "-n", "2", m[1], m[2]], {"stdin": b"hello\n"}), code=1)
        self.mend(["rm", "nobody/nothing"], r"hunch (list)", lambda m: [m[1]], code=1)
        self.mend(["completion", "bsh"], r"did you mean '(\w+)'", lambda m: ["completion", m[1]])
        quantised = self.path("q8.gguf")
        self.hunch("quantize", self.opt, "-o", quantised, "--type", "q8_0")
        self.mend(["tokenize", self.opt, "a", "--ctx", "5"], r"; (\w+), .*have it", lambda m: [*run, "--ctx", "5"])
        self.mend(["quantize", self.opt, self.path("two.gguf")], r"named by (-o) FILE", lambda m: ["quantize", self.opt, m[1], self.path("two.gguf")])

    def test_options_of_llama_cpp(self):
        self.assertGreater(len(FROM_LLAMA_CPP), 100)
        for verb, words, says in FROM_LLAMA_CPP:
            words = [self.text if word == "TEXT" else word for word in words.split()]
            usual = {"run": ["-p", "the end"] + ([] if "-n" in words or "-predict" in " ".join(words) else ["-n", "2"]), "bench": ["--threads", "1"],
                     "eval": ["--max-tokens", "40"], "serve": ["--port", "0"]}.get(verb, [])
            command = [verb, self.opt, *words, *usual] if verb != "chat" else [verb, self.opt, *words]
            if says is None:
                self.hunch(*command, stdin=b"hello\n" if verb == "chat" else b"")
            else:
                self.assertIn(says, self.hunch(*command, code=2).err, command)

    def test_advice_that_is_a_command(self):
        """The ways of -cnv, --host, --perplexity, --pooling, -e and --prompt-cache, walked."""
        self.hunch("chat", self.opt, "-n", "2", stdin=b"hello\n")
        self.hunch("eval", self.opt, "--text", self.text, "--protocol", "llama.cpp", "--ctx", "32", "--max-tokens", "64")
        self.hunch("embed", self.opt, "a text", "--pooling", "mean")
        self.hunch("list")
        grammar = self.write("answer.gbnf", 'root ::= "the" | "end"')
        self.assertIn(self.hunch("run", self.opt, "-p", "a", "--grammar-file", grammar).text.strip(), ("the", "end"))
        self.hunch("chat", self.opt, "-n", "2", "--variables", "enable_thinking=false", stdin=b"hello\n")
        with Server(self, "--host", "127.0.0.1", "--cache-dir", self.path("kept"), "-np", "2", "-a", "named", "--jinja", "--no-webui", "-cb", "--metrics") as server:
            self.assertEqual(server.json("/v1/models")["data"][0]["id"], "named")
            self.assertEqual(server.json("/props")["total_slots"], 2)
            body = {"prompt": "the end", "max_tokens": 3, "temperature": 0.7, "top_k": 40, "lossless": True}
            self.assertEqual(server.json("/v1/completions", body)["usage"]["completion_tokens"], 3)
            # Errors of the server name a way as well.
            error = server.refused("/v1/completions", {"prompt": random_words(100)}, "prompt")
            self.assertIn("128", error["message"])
            error = server.refused("/v1/completions", {"prompt": [99999]}, "prompt")
            top = re.search(r"vocabulary of (\d+)", error["message"])
            server.json("/v1/completions", {"prompt": [int(top[1]) - 1], "max_tokens": 1})
            self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    unittest.main()
