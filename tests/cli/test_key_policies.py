"""--kv-policy: policies that drop cached tokens, in the verbs that compute."""
import unittest

from fixtures import CliTest


class KeyPolicies(CliTest):
    def test_generates_past_the_context_where_positions_stream(self):
        options = ["run", self.opt, "--ids", "5,9,2", "-n", "60", "--ctx", "32", "--temperature", "0", "--ignore-end", "--json"]
        got = self.hunch(*options, "--kv-policy", "streaming:16").json
        self.assertEqual((got["n_generated"], got["stop_reason"]), (60, "length"))
        self.assertEqual(self.hunch(*options).json["stop_reason"], "context_full")

    def test_eval_prints_what_each_policy_costs(self):
        text = self.write("some.txt", "the hen on the heath and the other hen in there, then another one. " * 8)
        policies = ["h2o:8", "streaming:8", "spatten:8,heads=0.5"]
        options = [word for policy in policies for word in ("--kv-policy", policy)]
        command = ["eval", self.opt, "--text", text, "--ctx", "48", "--max-tokens", "96", *options]
        modes = self.hunch(*command, "--json").json["modes"]
        self.assertEqual(list(modes), ["all keys", *policies])
        for policy in policies:
            self.assertGreater(modes[policy]["kl"], 0)
        self.assertLess(modes["streaming:8"]["kv_bytes_per_token"], modes["all keys"]["kv_bytes_per_token"] / 2)
        self.assertIn("MB/token KV", " ".join(self.hunch(*command).text.split()))

    def test_what_cannot_be_is_said(self):
        run = ["run", self.opt, "--ids", "5,9,2,5,9,2,5,9,2", "-n", "20", "--temperature", "0", "--ignore-end"]
        self.refused(2, *run, "--kv-policy", "lru:4", says="expected streaming:256, h2o:128, spatten:128")
        self.refused(2, *run, "--kv-policy", "h2o", says="has no budget")
        self.refused(2, *run, "--kv-policy", "h2o:9999", says="expected fewer than the context")
        self.refused(2, *run, "--kv-policy", "h2o:8", "--kv-policy", "h2o:9", says="expected once")
        self.refused(1, *run, "--lossless", "--draft-tokens", "2", "--kv-policy", "h2o:4", says="drafts cannot be verified")


if __name__ == "__main__":
    unittest.main()
