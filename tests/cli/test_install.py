"""What belongs to an installed program: completions and the manual page, made from the grammar; the cache's list and rm; short
names of models."""
import json
import os
import pty
import re
import shutil
import subprocess
import unittest

from fixtures import BINARY, CliTest

COMMIT = "a" * 40
OPTION = re.compile(r"^  (?:(-\w), |    )(--[\w-]+)", re.M)


class Shell(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        overview = subprocess.run([BINARY, "help"], capture_output=True, text=True, check=True).stdout
        cls.verbs = re.findall(r"^  (\w+) +\S", overview.split("\n", 3)[3], re.M)
        cls.options = {}  # of each verb: (short name or "", long name)
        for verb in cls.verbs:
            text = subprocess.run([BINARY, "help", verb], capture_output=True, text=True, check=True).stdout
            cls.options[verb] = OPTION.findall(text)
        cls.bin = os.path.join(cls.dir, "bin")
        os.mkdir(cls.bin)
        os.symlink(BINARY, os.path.join(cls.bin, "hunch"))

    def script(self, shell):
        return self.write(f"hunch.{shell}", self.hunch("completion", shell).out)

    def shell(self, *command):
        env = self.environment(PATH=self.bin + ":" + os.environ["PATH"], HOME=self.home)
        process = subprocess.run(command, cwd=self.dir, env=env, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual((process.returncode, process.stderr), (0, ""), command)
        return process.stdout

    def test_the_grammar_was_read(self):
        for verb in "run", "chat", "eval", "sparsify", "pull", "list", "rm", "completion", "man":
            self.assertIn(verb, self.verbs)
        self.assertIn(("-t", "--threads"), self.options["run"])
        self.assertGreater(sum(map(len, self.options.values())), 200)

    # bash

    def bash(self, line):
        """What bash offers at the end of the line, with words cut as readline cuts them."""
        words = re.findall(r"[:=]+|[^\s:=]+", line) + ([""] if line.endswith(" ") else [])
        quoted = " ".join(f"'{w}'" for w in words)
        return self.shell("bash", "--norc", "-c", f"""
            source '{self.script("bash")}'
            COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
            COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
            [[ $(complete -p hunch) == *_hunch* ]] && _hunch hunch
            printf '%s\\n' "${{COMPREPLY[@]}}"
            """).split()

    def test_bash_reads_the_script(self):
        self.shell("bash", "-n", self.script("bash"))

    def test_bash_completes_verbs_options_and_values(self):
        self.assertEqual(set(self.bash("hunch ")), {*self.verbs, "help", "--help", "--version"})
        self.assertEqual(self.bash("hunch spars"), ["sparsify"])
        for verb, options in self.options.items():
            self.assertEqual(set(self.bash(f"hunch {verb} --")), {name for _, name in options}, verb)
        self.assertEqual(self.bash("hunch run x --mode "), ["dense", "exact", "sparse"])
        self.assertEqual(self.bash("hunch run x --mode s"), ["sparse"])
        self.assertEqual(self.bash("hunch run x --mode=s"), ["sparse"])
        self.assertEqual(self.bash("hunch run x --threads "), [])
        self.assertEqual(self.bash("hunch help ev"), ["eval"])
        self.assertEqual(self.bash("hunch completion "), ["bash", "zsh", "fish"])

    def test_bash_completes_files_and_models(self):
        self.write("story.txt", "x")
        os.makedirs(self.path("stories"), exist_ok=True)
        self.assertEqual(set(self.bash("hunch eval x --text stor")), {"story.txt", "stories"})
        self.assertEqual(self.bash("hunch inspect x --svg stor"), ["stories"])
        self.assertIn("story.txt", self.bash("hunch run st"))
        self.assertEqual(self.bash("hunch run qwen3:0"), ["0.6b"])  # of a word that readline cut at the colon
        self.assertIn("gpt2", self.bash("hunch run gpt"))
        self.assertEqual(self.bash("hunch rm story"), [])

    # zsh and fish

    def test_zsh_reads_the_script(self):
        if not shutil.which("zsh"):
            self.skipTest("no zsh here: its completion is not tested")
        self.shell("zsh", "-f", "-n", self.script("zsh"))
        # _arguments and its kin need the line editor; what they are told is seen without it.
        told = self.shell("zsh", "-f", "-c", f"""
            compdef() {{ : }}
            _arguments() {{ print -rl -- "$@" }}
            _describe() {{ print -rl -- ${{(P)2}} }}
            source '{self.script("zsh")}'
            for verb in {" ".join(self.verbs)}; do
              print verb $verb
              words=(hunch $verb x) CURRENT=3
              _hunch
            done
            words=(hunch '') CURRENT=2
            _hunch
            """)
        for verb, options in self.options.items():
            part = told.split(f"verb {verb}\n")[1].split("\nverb ")[0]
            for short, name in options:
                self.assertRegex(part, rf"(?m)^[^\[]*{name}=?\[", verb)
                if short:
                    self.assertRegex(part, rf"(?m)^[^\[]*\){short}\+?\[", verb)
        self.assertIn("(dense exact sparse)", told)
        self.assertIn("\nsparsify:", told)

    def test_fish_completes(self):
        if not shutil.which("fish"):
            self.skipTest("no fish here: its completion is not tested")
        self.shell("fish", "-n", self.script("fish"))

        def offers(line):
            out = self.shell("fish", "--no-config", "-c", f"source '{self.script('fish')}'; complete -C '{line}'")
            return {entry.split("\t")[0] for entry in out.splitlines()}

        self.assertEqual(offers("hunch "), {*self.verbs, "help"})
        for verb in "run", "sparsify", "rm":
            self.assertEqual(offers(f"hunch {verb} --"), {name for _, name in self.options[verb]}, verb)
        self.assertEqual(offers("hunch run x --mode "), {"dense", "exact", "sparse"})
        self.assertEqual(offers("hunch run qwen3:0"), {"qwen3:0.6b"})
        script = self.hunch("completion", "fish").text
        for verb, options in self.options.items():
            for short, name in options:
                self.assertIn(f"'__hunch_verb {verb}' -l {name[2:]} " + (f"-s {short[1:]} " if short else ""), script)

    def test_other_shells_are_refused(self):
        self.assertIn("expected bash, zsh or fish, found 'fisch'; did you mean 'fish'?", self.hunch("completion", "fisch", code=2).err)
        self.assertIn("which shell", self.hunch("completion", code=2).err)

    # the manual page

    def test_man_page_has_every_verb_and_option(self):
        page = self.hunch("man").text
        plain = page.replace("\\-", "-")
        for verb, options in self.options.items():
            self.assertIn(f'.SS "hunch {verb}', plain)
            for short, name in options:
                self.assertIn(f"\\fB{name}\\fR", plain)
                if short:
                    self.assertIn(f"\\fB{short}\\fR, \\fB{name}\\fR", plain)

    def test_man_page_is_roff_without_warnings(self):
        if not shutil.which("groff"):
            self.skipTest("no groff here: the manual page is not formatted")
        path = self.write("hunch.1", self.hunch("man").out)
        text = self.shell("groff", "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=10", path)
        plain = re.sub(r"\x1b\[[\d;]*m|.\x08", "", text)
        self.assertIn("--max-ppl-increase SHARE", plain)
        self.assertIn("as of hunch run", plain)
        self.assertIn("hunch run model.gguf -p \"Once upon a time\" -n 100", plain)


class Cache(CliTest):
    """Models that a pull could have brought: opt:125m as a folder, and a repository of two GGUF files."""

    def setUp(self):
        models = self.path("home/models")
        shutil.rmtree(models, ignore_errors=True)
        self.put("facebook--opt-125m", {name: self.content(os.path.join(self.opt, name)) for name in os.listdir(self.opt)
                                        if os.path.isfile(os.path.join(self.opt, name))})
        single = self.path("single.gguf")
        if not os.path.exists(single):
            self.hunch("convert", self.opt, "-o", single, "--type", "f16", "--quiet")
        content = self.content(single)
        self.put("org--pair", {"pair-F16.gguf": content, "pair-Q8_0.gguf": content})

    def content(self, path):
        with open(path, "rb") as f:
            return f.read()

    def put(self, folder, files):
        at = self.path(f"home/models/{folder}")
        for part in COMMIT, "listings", "refs":
            os.makedirs(os.path.join(at, part))
        listing = []
        for name, content in files.items():
            with open(os.path.join(at, COMMIT, name), "wb") as f:
                f.write(content)
            listing.append({"type": "file", "path": name, "size": len(content), "oid": "d" * 40})
        with open(os.path.join(at, "listings", COMMIT + ".json"), "w", encoding="utf-8") as f:
            json.dump(listing, f)
        with open(os.path.join(at, "refs", "main"), "w", encoding="utf-8") as f:
            f.write(COMMIT + "\n")

    def ids(self):
        return [model["id"] for model in self.hunch("list", "--json").json["models"]]

    ALL = ["facebook/opt-125m", "org/pair:pair-F16.gguf", "org/pair:pair-Q8_0.gguf"]

    def test_list(self):
        answer = self.hunch("list", "--json").json
        self.assertEqual([model["id"] for model in answer["models"]], self.ALL)
        opt, pair, _ = answer["models"]
        self.assertEqual(opt["short_name"], "opt:125m")
        self.assertEqual(pair["type"], "F16")
        self.assertEqual(pair["bytes"], os.path.getsize(self.path("single.gguf")))
        self.assertTrue(os.path.exists(pair["path"]))
        self.assertRegex(pair["used"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        table = self.hunch("list")
        self.assertEqual(len(table.text.splitlines()), 4)
        self.assertIn("3 models", table.err)
        self.assertEqual(self.hunch("list", "--names").text.split(), [self.ALL[0], "opt:125m", *self.ALL[1:]])
        empty = self.hunch("list", env={"HUNCH_HOME": self.path("nowhere")})
        self.assertEqual(empty.text, "")
        self.assertIn("no models", empty.err)

    def test_a_short_name_opens_what_is_in_the_cache_and_that_is_noted(self):
        os.utime(self.path(f"home/models/facebook--opt-125m/{COMMIT}/model.safetensors"), (10**9, 10**9))
        for _ in range(2):  # looking is not using
            self.assertTrue(self.hunch("list", "--json").json["models"][0]["used"].startswith("2001-"))
        answer = self.hunch("run", "opt:125m", "-p", "the", "-n", "2", "--json").json
        self.assertEqual(answer["n_generated"], 2)
        self.assertEqual(self.hunch("run", "OPT:125M", "-p", "the", "-n", "2", "--seed", "1", "--quiet").out,
                         self.hunch("run", self.opt, "-p", "the", "-n", "2", "--seed", "1", "--quiet").out)
        self.assertFalse(self.hunch("list", "--json").json["models"][0]["used"].startswith("2001-"))

    def test_known_names(self):
        known = self.hunch("list", "--known", "--json").json["known"]
        self.assertGreaterEqual(len(known), 30)
        self.assertIn({"name": "qwen3:0.6b", "id": "Qwen/Qwen3-0.6B-GGUF:Q8_0", "size": "0.6 GB", "note": "chat"}, known)
        self.assertEqual(self.hunch("list", "--known", "--names").text.split(), [name["name"] for name in known])
        self.assertIn("Qwen/Qwen3-0.6B-GGUF:Q8_0", self.hunch("list", "--known").text)

    def test_unknown_names_are_answered_with_the_nearest(self):
        self.refused(1, "run", "qwen3:0.6", "-p", "a", says=["'qwen3:0.6b'", "hunch list --known"])
        self.refused(1, "run", "qwen3", "-p", "a", says=["there are qwen3:0.6b, qwen3:1.7b", "hunch list --known"])
        self.refused(1, "run", "nothing.gguf", "-p", "a", says="no file or folder 'nothing.gguf'")
        self.refused(1, "run", "qwen3:0.6b", "-p", "a", env={"HF_HUB_OFFLINE": "1"}, says="'Qwen/Qwen3-0.6B-GGUF:Q8_0'")
        self.refused(1, "rm", "opt:125", "--yes", says="'opt:125m'")
        self.refused(1, "rm", "org/paar", "--yes", says="'org/pair'")

    def test_rm(self):
        self.refused(2, "rm", "org/pair:F16", says="--yes")  # nobody can be asked
        self.refused(1, "rm", "org/none", "--yes", says="not in the cache")
        self.refused(2, "rm", "../../x", "--yes", says="not a model id")
        self.refused(1, "rm", self.opt, "--yes", says="not in the cache")
        self.refused(2, "rm", says="which model")
        self.assertEqual(self.ids(), self.ALL)
        sidecar = self.path(f"home/models/org--pair/{COMMIT}/pair-F16.gguf.hunch")
        with open(sidecar, "w", encoding="utf-8") as f:
            f.write("learned")
        answer = self.hunch("rm", "org/pair:F16", "--yes", "--json").json
        self.assertEqual(answer["removed"], ["org/pair:pair-F16.gguf", "pair-F16.gguf.hunch"])
        self.assertFalse(os.path.exists(sidecar))
        self.assertEqual(self.ids(), [self.ALL[0], self.ALL[2]])
        self.hunch("rm", "opt:125m", "-y", "--quiet")
        self.hunch("rm", "org/pair", "-y")
        self.assertEqual(os.listdir(self.path("home/models")), [])

    def test_rm_asks_on_a_terminal(self):
        for answer, kept in (b"n\n", True), (b"\n", True), (b"y\n", False):
            theirs, ours = pty.openpty()
            process = subprocess.Popen([BINARY, "rm", "org/pair"], stdin=ours, stderr=subprocess.PIPE, env=self.environment())
            os.close(ours)
            os.write(theirs, answer)
            err = process.communicate(timeout=60)[1].decode()
            os.close(theirs)
            self.assertIn("Remove org/pair", err)
            self.assertIn("org/pair:pair-Q8_0.gguf", err)
            self.assertEqual(process.returncode, 1 if kept else 0)
            self.assertEqual(os.path.exists(self.path("home/models/org--pair")), kept)

    def test_links_are_not_followed(self):
        outside = self.path("outside")
        os.makedirs(outside, exist_ok=True)
        with open(os.path.join(outside, "precious"), "w", encoding="utf-8") as f:
            f.write("x")
        os.symlink(outside, self.path("home/models/org--link"))
        self.refused(2, "rm", "org/link", "--yes", says=["link", "outside"])
        os.symlink(outside, self.path(f"home/models/org--pair/{COMMIT}/sub"))
        self.hunch("rm", "org/pair", "--yes")
        self.assertEqual(os.listdir(outside), ["precious"])


if __name__ == "__main__":
    unittest.main()
