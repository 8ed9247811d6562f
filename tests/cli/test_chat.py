"""hunch chat: messages, commands, terminals, and models that think."""
import json
import os
import shutil
import unittest

from fixtures import BINARY, CliTest, write_tokenizer
from terminal import PASTE_BEGIN, PASTE_END, Terminal, rows_of


def only(*ids):
    """Options that leave the model these tokens."""
    return [word for i in ids for word in ("--logit-bias", f"{i}=200")]


def of_bytes(text):
    return [4 + byte for byte in text.encode("utf-8")]  # write_tokenizer's ids


class Chat(CliTest):
    def test_piped_conversation(self):
        answer = self.hunch("chat", self.opt, "-n", "4", "--seed", "1", "--system", "Be brief.", "--json", stdin=b"the end\none \\\ntwo\n").json
        roles = [m["role"] for m in answer["messages"]]
        self.assertEqual(roles, ["system", "user", "assistant", "user", "assistant"])
        self.assertEqual(answer["messages"][3]["content"], "one \ntwo")

    def test_stop_string_ends_an_answer(self):
        chat = "chat", self.opt, "-n", "20", "--seed", "3", "--json"
        content = lambda *more: self.hunch(*chat, *more, stdin=b"the end\n").json["messages"][-1]["content"]
        free = content()
        stop = next(c for c in free if c.isascii() and c.isprintable() and c != " ")
        self.assertEqual(content("--stop", stop), free[: free.index(stop)])

    def test_commands(self):
        saved = self.path("talk.json")
        result = self.hunch("chat", self.opt, "-n", "3", stdin=f"hello\n/nonsense\n/save {saved}\n/reset\n/quit\nnever\n".encode())
        self.assertIn("/nonsense", result.err)
        with open(saved, encoding="utf-8") as f:
            self.assertEqual([m["role"] for m in json.load(f)], ["user", "assistant"])
        self.assertEqual(self.hunch("template", self.opt, "--messages", saved).code, 0)

    def test_turns_reuse_the_cache_and_forget_when_full(self):
        result = self.hunch("chat", self.opt, "-n", "8", "--ctx", "60", stdin=b"the end of it\n" * 5)
        self.assertIn("forgotten", result.err)
        self.refused(1, "chat", self.opt, "--ctx", "20", stdin=b"a message that is far too long for this context\n", says="too long")

    def test_model_without_template(self):
        bare = self.path("bare")
        shutil.copytree(self.opt, bare)
        os.remove(os.path.join(bare, "tokenizer_config.json"))
        self.refused(1, "chat", bare, stdin=b"hi\n", says=["no chat template", "--template-file"])
        self.hunch("chat", bare, "--template-file", "plain", "-n", "3", stdin=b"hi\n")

    def test_quotes_hold_many_lines(self):
        answer = self.hunch("chat", self.opt, "-n", "1", "--json", stdin=b'"""\none\n\n/quit \\\n"""\n"""two"""\n').json
        self.assertEqual([m["content"] for m in answer["messages"] if m["role"] == "user"], ["one\n\n/quit \\", "two"])


class Commands(CliTest):
    def chat(self, *lines, more=()):
        return self.hunch("chat", self.opt, "-n", "20", "--seed", "3", "--json", *more, stdin="".join(line + "\n" for line in lines).encode())

    def saved(self, path):
        with open(path, encoding="utf-8") as f:
            return json.load(f)

    def test_a_conversation_goes_on_where_it_was_saved(self):
        path = self.path("goes_on.json")
        said = self.chat("the end", f"/save {path}", more=["--system", "Be brief."]).json["messages"]
        again = self.chat("one", f"/load {path}", "and then", more=["--system", "Be long."])
        self.assertIn(f"(loaded {path}: 3 messages)", again.err)
        self.assertEqual(again.json["messages"][:3], said)
        self.assertEqual([m["role"] for m in again.json["messages"][3:]], ["user", "assistant"])
        whole = self.write("whole.json", json.dumps({"messages": said}))
        self.assertEqual(self.chat(f"/load {whole}").json["messages"], said)

    def test_what_cannot_be_loaded_changes_nothing(self):
        broken, shape, empty = self.write("cut.json", "[{"), self.write("odd.json", '[{"content": "x"}]'), self.write("empty.json", "[]")
        result = self.chat("the end", *(f"/load {name}" for name in (broken, shape, empty, self.path("none.json"))), "/load")
        for part in "cut.json' is not valid JSON", "role", "found an empty one", "none.json", "/load: expected FILE, found nothing":
            self.assertIn(part, result.err)
        self.assertEqual([m["role"] for m in result.json["messages"]], ["user", "assistant"])

    def test_save_writes_over_a_file_only_when_told(self):
        there = self.write("there.json", "precious")
        result = self.chat("the end", f"/save {there}")
        self.assertIn("is there already; /save! writes over it", result.err)
        with open(there, encoding="utf-8") as f:
            self.assertEqual(f.read(), "precious")
        self.chat("the end", f"/save! {there}")
        self.assertEqual(len(self.saved(there)), 2)
        tokenizer = os.path.join(self.opt, "vocab.json")
        self.assertIn("is part of what is read", self.chat("the end", f"/save! {tokenizer}").err)

    def test_regen_answers_again_with_another_seed(self):
        first, second, third = (self.path(name) for name in ("first.json", "second.json", "third.json"))
        last = self.chat("/regen", "the end", f"/save {first}", "/regen", f"/save {second}", "/regen", f"/save {third}")
        self.assertIn("(there is no question yet)", last.err)
        answers = [self.saved(path) for path in (first, second, third)]
        for said in answers:
            self.assertEqual([m["role"] for m in said], ["user", "assistant"])
            self.assertEqual(said[0]["content"], "the end")
        self.assertEqual(len({said[1]["content"] for said in answers}), 3)
        self.assertEqual(last.json["messages"], answers[2])

    def test_clear_keeps_the_system_message(self):
        for word in "/clear", "/reset":
            self.assertEqual([m["role"] for m in self.chat("the end", word, more=["--system", "Be brief."]).json["messages"]], ["system"])

    def test_every_way_to_leave(self):
        for word in "/bye", "/quit", "/exit":
            self.assertEqual(self.chat(word, "never").json["messages"], [])

    def test_unknown_commands_are_named(self):
        err = self.chat("/laod x", "/clear all").err
        self.assertIn("(no command /laod; did you mean '/load'? /help lists them)", err)
        self.assertIn("(/clear: expected nothing after it, found 'all')", err)

    def test_variables(self):
        template = self.write("mood.jinja", "{{ mood }}{% if not enable_thinking %}{{ raise_exception('no thinking') }}{% endif %}")
        chat = "chat", self.opt, "-n", "1", "--template-file", template
        self.refused(2, *chat, "--variables", "enable_thinking=false", stdin=b"x\n", says="no thinking")
        self.refused(2, *chat, "--variables", '{"enable_thinking": false}', stdin=b"x\n", says="no thinking")
        self.hunch(*chat, "--variables", "enable_thinking=true", "--variables", "mood=calm", stdin=b"x\n")
        self.refused(2, *chat, "--variables", "enable_thinking", stdin=b"x\n", says=["--variables", "KEY=VALUE"])
        messages = self.write("one.json", '[{"role": "user", "content": "x"}]')
        render = lambda *more: self.hunch("template", self.opt, "--messages", messages, "--template-file", template, *more).text
        self.assertEqual(render("--variables", "enable_thinking=1", "--variables", "mood=very calm"), "very calm")
        self.assertEqual(render("--variables", '{"enable_thinking": true, "mood": "x"}', "--variables", "mood=y"), "y")


class OnATerminal(CliTest):
    def talk(self, *more):
        return Terminal([BINARY, "chat", self.opt, "-n", "2", "--json", *more], self.environment(NO_COLOR="1"))

    def said(self, terminal):
        terminal.type("/bye\r")
        out, _ = terminal.finish()
        return [m["content"] for m in json.loads(out)["messages"] if m["role"] == "user"]

    def test_a_paste_is_one_message(self):
        with self.talk() as terminal:
            terminal.expect("> ")
            terminal.type(PASTE_BEGIN + "one\rtwo \\\r\r/quit d\u00e9j\u00e0\r" + PASTE_END)
            terminal.expect("/quit")
            terminal.type("!\r")
            terminal.expect("(cut at the length")
            terminal.expect("> ")
            self.assertEqual(self.said(terminal), ["one\ntwo \\\n\n/quit d\u00e9j\u00e0!"])
            self.assertIn("\x1b[?2004h", terminal.seen)
            self.assertTrue(terminal.seen.rindex("\x1b[?2004l") > terminal.seen.rindex("\x1b[?2004h"), "the mode stays on")

    def test_a_long_paste_is_one_message(self):
        text = "\n".join(f"line {i} of a text that is longer than the screen is high" for i in range(300))
        with self.talk("--ctx", "20") as terminal:
            terminal.expect("> ")
            terminal.type(PASTE_BEGIN)
            for i in range(0, len(text), 1000):  # as a terminal writes it, which waits for its reader
                terminal.type(text[i : i + 1000].replace("\n", "\r"))
                terminal.read(0.02)
            terminal.type(PASTE_END + "\r")
            terminal.expect("(the message is too long: ")
            terminal.expect("> ")
            self.assertEqual(self.said(terminal), [])
            self.assertEqual(terminal.seen.count("the message is too long"), 1)

    def test_ctrl_c_forgets_what_was_begun(self):
        with self.talk() as terminal:
            terminal.expect("> ")
            terminal.type('"""one\r')
            terminal.expect("| ")
            terminal.type("\x03")
            terminal.expect("(Ctrl-C again")
            terminal.expect("> ")
            terminal.type("two\r")
            terminal.expect("(cut at the length")
            terminal.expect("> ")
            self.assertEqual(self.said(terminal), ["two"])

    def answer(self, columns, *more, **env):
        """What a terminal shows of the answer to a piped question."""
        with Terminal([BINARY, "chat", self.opt, *more], {**self.environment(), **env}, streams=["stdout"], columns=columns) as terminal:
            terminal.process.stdin.write(b"the end\n")
            terminal.process.stdin.close()
            terminal.process.stdin = None
            terminal.finish()
            return terminal.seen

    def test_answers_are_wrapped_between_words(self):
        more = ["-n", "60", "--seed", "5", *only(260, 264, 265, 261, *of_bytes("x"))]
        text = self.hunch("chat", self.opt, *more, "--json", stdin=b"the end\n").json["messages"][-1]["content"]
        self.assertLess(max(map(len, text.split())), 19, text)
        rows = rows_of(self.answer(20, *more))
        self.assertEqual(rows[0], "opt:")
        self.assertGreater(len(rows), 6)
        self.assertLess(max(map(len, rows)), 20)
        self.assertEqual(" ".join(rows[1:]).split(), text.split())
        first = len(rows[1]) + 1 + len(rows[2].split()[0])
        self.assertGreater(first, 19, "the second row's word has room in the first")

    def test_styles_are_for_terminals_that_want_them(self):
        more = ["-n", "3", *only(*of_bytes("x"))]
        self.assertIn("\x1b[1;36mopt:\x1b[0m", self.answer(80, *more))
        plain = self.answer(80, *more, NO_COLOR="1")
        self.assertNotIn("\x1b", plain)
        self.assertTrue(plain.startswith("opt:"), plain)
        self.assertEqual(self.hunch("chat", self.opt, *more, stdin=b"the end\n").text, "xxx\n")


class Thinking(CliTest):
    """A model whose template opens the thinking, and which has a token that ends it."""

    CLOSE = 267

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        opening = cls.CHAT.replace("<assistant>{%", "<assistant><think>\n{%")
        refusing = "{% for m in messages %}{% if m.reasoning_content is defined %}{{ raise_exception('it sees thinking') }}{% endif %}{% endfor %}"
        for name, special in ("plain", False), ("control", True):
            folder = os.path.join(cls.dir, name)
            shutil.copytree(cls.opt, folder)
            write_tokenizer(folder, refusing + opening, close_tag=("</think>", special))
            setattr(cls, name, folder)

    def options(self):
        """With which the model thinks, stops thinking, and answers. How it weighs its tokens is not known here, so they are looked for."""
        for bias in 198, 198.5, 199, 199.5, 200:
            for seed in "1234":
                options = ["-n", "40", "--seed", seed, "--logit-bias", f"{self.CLOSE}={bias}", *only(*of_bytes("xyz"))]
                said = self.hunch("chat", self.plain, *options, "--json", stdin=b"the end\n").json["messages"][1]
                if len(said.get("reasoning_content", "")) > 1 and said["content"] and "<" not in said["content"]:
                    return options, said
        self.fail("no options were found with which the model thinks and answers")

    def test_thinking_is_kept_apart(self):
        options, expected = self.options()
        self.assertRegex(expected["reasoning_content"], "^[xyz]+$")
        self.assertRegex(expected["content"], "^[xyz]+$")
        for model in self.plain, self.control:
            said = self.hunch("chat", model, *options, "--json", stdin=b"the end\nmore\n").json["messages"]  # whose template refuses thinking
            self.assertEqual(said[1], expected)
            self.assertEqual(len(said), 4)

    def test_a_pipe_gets_all_of_it_or_the_answer_only(self):
        options, said = self.options()
        for model in self.plain, self.control:
            whole = self.hunch("chat", model, *options, stdin=b"the end\n").text
            self.assertEqual(whole, said["reasoning_content"] + "</think>" + said["content"] + "\n")
            self.assertEqual(self.hunch("chat", model, *options, "--hide-thinking", stdin=b"the end\n").text, said["content"] + "\n")

    def shown(self, *more, streams=("stdout",)):
        with Terminal([BINARY, "chat", self.plain, *more], self.environment(), streams=streams) as terminal:
            terminal.process.stdin.write(b"the end\n")
            terminal.process.stdin.close()
            terminal.process.stdin = None
            terminal.finish()
            return terminal.seen.replace("\r\n", "\n")

    def test_on_a_terminal_it_is_dim_or_hidden(self):
        options, said = self.options()
        thought = f"(thought for {len(said['reasoning_content'])} token"
        seen = self.shown(*options)
        self.assertIn(f"\x1b[2m(thinking)\n{said['reasoning_content']}\n{thought}", seen)
        self.assertTrue(seen.rstrip("\n").endswith("\x1b[0m\n" + said["content"]), seen)
        hidden = self.shown(*options, "--hide-thinking", streams=("stdout", "stderr"))
        self.assertNotIn("(thinking)", hidden)
        self.assertIn("\r\x1b[Kthinking ... 1 tokens", hidden)
        self.assertIn(thought, hidden)


if __name__ == "__main__":
    unittest.main()
