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

    def test_pages_drop_nothing_and_say_what_they_read(self):
        ids = ",".join(str((i * 37) % 90 + 5) for i in range(40))
        run = ["run", self.opt, "--ids", ids, "-n", "12", "--temperature", "0", "--ignore-end"]
        whole = self.hunch(*run, "--json").json
        policy = "quest:16,page=4,full=0"
        few = self.hunch(*run, "--json", "--kv-policy", policy).json
        self.assertEqual(few["pages"]["mean_read"], 4)
        self.assertGreater(few["pages"]["mean_of"], 10)
        certified = self.hunch(*run, "--json", "--kv-policy", policy + ",certified=0.000001").json
        self.assertEqual(certified["ids"], whole["ids"])
        self.assertGreater(certified["pages"]["mean_read"], 4)
        self.assertIn("pages of keys on average", self.hunch(*run, "--verbose", "--kv-policy", policy).err)
        # As drafts: the answer is that of the whole cache; n-grams draft into the policy's own.
        drafted = self.hunch(*run, "--json", "--lossless", "--no-ngram", "--draft-tokens", "3", "--kv-policy", policy).json
        self.assertEqual(drafted["ids"], whole["ids"])
        self.assertEqual([d["name"] for d in drafted["drafts"]["drafters"]], ["pages"])
        self.assertGreater(drafted["drafts"]["n_drafted"], 0)
        self.assertEqual(self.hunch(*run, "--json", "--ngram", "--kv-policy", policy).json["ids"], few["ids"])
        self.assertEqual(self.hunch(*run, "--json", "--kv-policy", "none").json["ids"], whole["ids"])

    def test_forms_of_attention_read_less_and_hold_in_prompts(self):
        text = self.write("some.txt", "the hen on the heath and the other hen in there, then another one. " * 8)
        policies = ["longformer:12", "bigbird:12,block=2,random=2", "strided:6", "lsh:12,recent=4,full=0", "linear:4"]
        options = [word for policy in policies for word in ("--kv-policy", policy)]
        modes = self.hunch("eval", self.opt, "--text", text, "--ctx", "48", "--max-tokens", "96", *options, "--json").json["modes"]
        for policy in policies[:4]:
            self.assertGreater(modes[policy]["kl"], 0)
            self.assertLess(modes[policy]["kv_bytes_per_token"], modes["all keys"]["kv_bytes_per_token"] * 0.75, policy)
        ids = ",".join(str((i * 37) % 90 + 5) for i in range(40))
        run = ["run", self.opt, "--ids", ids, "-n", "12", "--temperature", "0", "--ignore-end", "--json"]
        whole = self.hunch(*run).json["ids"]
        self.assertNotEqual(self.hunch(*run, "--kv-policy", "longformer:5").json["ids"], whole)
        self.assertEqual(self.hunch(*run, "--lossless", "--no-ngram", "--kv-policy", "longformer:12").json["ids"], whole)

    def test_bench_measures_policies_in_turn(self):
        rows = self.hunch("bench", self.opt, "-p", "0", "-n", "4", "--depth", "40", "-r", "1", "--json", "--kv-policy", "none",
                          "--kv-policy", "quest:16,page=4,full=0", "--kv-policy", "h2o:16").json["rows"]
        self.assertEqual([row["name"] for row in rows],
                         ["tg4@d40 all keys", "tg4@d40 quest:16,page=4,full=0", "tg4@d40 h2o:16"])
        self.assertLess(rows[1]["bytes_per_token"], rows[0]["bytes_per_token"])
        self.assertIn("pages", rows[1])

    def test_what_cannot_be_is_said(self):
        run = ["run", self.opt, "--ids", "5,9,2,5,9,2,5,9,2", "-n", "20", "--temperature", "0", "--ignore-end"]
        self.refused(2, *run, "--kv-policy", "lru:4", says="expected streaming:256, h2o:128, spatten:128")
        self.refused(2, *run, "--kv-policy", "h2o", says="has no budget")
        self.refused(2, *run, "--kv-policy", "quest:16", says="expected at least 32")
        self.refused(2, *run, "--kv-policy", "snapkv:16", says="expected more than the window of 32")
        self.refused(2, *run, "--kv-policy", "h2o:9999", says="expected fewer than the context")
        self.refused(2, *run, "--kv-policy", "h2o:8", "--kv-policy", "h2o:9", says="expected once")
        self.refused(1, *run, "--lossless", "--draft-tokens", "2", "--kv-policy", "h2o:4", says="drafts cannot be verified")


if __name__ == "__main__":
    unittest.main()
