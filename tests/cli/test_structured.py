"""Answers held to a form, and tools, from end to end: hunch run and hunch serve."""
import json
import unittest

from fixtures import CliTest
from serving import DEMO, Server

SCHEMA = {"type": "object", "required": ["name", "n", "kind"],
          "properties": {"name": {"type": "string", "maxLength": 6}, "n": {"type": "integer", "minimum": 0, "maximum": 99},
                         "kind": {"enum": ["a", "b"]}}}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}},
         {"type": "function", "function": {"name": "wait"}}]
HOT = {"temperature": 2, "max_tokens": 300}


def check(test, text):
    value = json.loads(text)
    test.assertEqual(list(value), ["name", "n", "kind"])
    test.assertIsInstance(value["name"], str)
    test.assertIn(value["kind"], ["a", "b"])
    test.assertTrue(0 <= value["n"] <= 99)


class Structured(CliTest):
    def run_with(self, *arguments):
        return self.hunch("run", DEMO, "-p", "The old king", "-n", "300", "--temperature", "2", "--quiet", "--threads", "1", *arguments)

    def test_run(self):
        check(self, self.run_with("--seed", "1", "--json-schema", json.dumps(SCHEMA)).text)
        self.assertRegex(self.run_with("--regex", " (yes|no)").text, r"^ (yes|no)\n?$")
        path = self.path("list.gbnf")
        with open(path, "w") as f:
            f.write('root ::= ("- " [a-z]{1,9} "\\n"){2}')
        self.assertRegex(self.run_with("--grammar-file", path).text, r"^(- [a-z]{1,9}\n){2}\n?$")

    def test_serve_holds_answers_to_forms(self):
        with Server(self, "--parallel", "4", model=DEMO) as server:
            for seed in range(4):
                body = {"prompt": "The old king", **HOT, "seed": seed, "lossless": seed % 2 == 1,
                        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
                choice = server.json("/v1/completions", body)["choices"][0]
                self.assertEqual(choice["finish_reason"], "stop")
                check(self, choice["text"])
                if seed == 1:  # drafts change nothing, nor does what is remembered
                    again = server.json("/v1/completions", {**body, "lossless": False, "mode": "exact"})["choices"][0]
                    self.assertEqual(again["text"], choice["text"])
            pick = server.json("/v1/completions", {"prompt": "It was", **HOT, "guided_choice": [" cold", " warm"]})
            self.assertIn(pick["choices"][0]["text"], [" cold", " warm"])
            for field, value in [("json_schema", {"not": {}}), ("grammar", "root ::= x"), ("regex", "(a"),
                                 ("response_format", {"type": "json_schema", "json_schema": {"schema": {"uniqueItems": True}}})]:
                server.refused("/v1/completions", {"prompt": "a", field: value}, field)

    def test_serve_forces_calls(self):
        with Server(self, "--template-file", "plain", model=DEMO) as server:
            chat = {"messages": [{"role": "user", "content": "Look up."}], "tools": TOOLS, **HOT}
            named = {**chat, "tool_choice": {"type": "function", "function": {"name": "look_up"}}}
            choice = server.json("/v1/chat/completions", {**named, "seed": 1})["choices"][0]
            self.assertEqual(choice["finish_reason"], "tool_calls")
            self.assertIsNone(choice["message"]["content"])
            calls = choice["message"]["tool_calls"]
            self.assertEqual([call["function"]["name"] for call in calls], ["look_up"])
            check(self, calls[0]["function"]["arguments"])
            # Streamed: the same, a name first and then pieces of the arguments.
            events = server.stream("/v1/chat/completions", {**named, "seed": 1})
            deltas = [call for event in events for one in event["choices"] for call in one["delta"].get("tool_calls", [])]
            self.assertEqual(deltas[0]["function"]["name"], "look_up")
            self.assertTrue(deltas[0]["id"].startswith("call_"))
            self.assertEqual("".join(d["function"]["arguments"] for d in deltas), calls[0]["function"]["arguments"])
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "tool_calls")
            # The result goes back through the template.
            talk = chat["messages"] + [{"role": "assistant", "content": None, "tool_calls": calls},
                                       {"role": "tool", "tool_call_id": calls[0]["id"], "content": "found"}]
            prompt = server.json("/apply-template", {"messages": talk, "tools": TOOLS})["prompt"]
            self.assertIn("<tool_response>\nfound\n</tool_response>", prompt)
            self.assertIn('"look_up"', prompt)
            required = server.json("/v1/chat/completions", {**chat, "tool_choice": "required", "parallel_tool_calls": False})
            self.assertEqual(len(required["choices"][0]["message"]["tool_calls"]), 1)
            free = server.json("/v1/chat/completions", {**chat, "tool_choice": "none", "max_tokens": 5})["choices"][0]
            self.assertNotIn("tool_calls", free["message"])
            server.refused("/v1/chat/completions", {**chat, "response_format": {"type": "json_object"}}, "response_format")


if __name__ == "__main__":
    unittest.main()
