// --lossless, --draft, --ngram, --draft-tokens: from flags to drafters, and from what they did to words.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/flags.h"
#include "engine/drafting.h"

namespace hunch::cli {

// With --lossless a policy that drops nothing drafts, and what it drafts is verified with all keys: takes it out of the
// context's options. None: there is no such policy.
std::shared_ptr<const KeySelector> take_draft_keys(const DraftFlags& flags, ContextOptions& context);

// Loads the draft model, if one is named. Says on stderr what drafts. `keys`: take_draft_keys().
DraftingOptions drafting_options(const DraftFlags& flags, const ModelFlags& model, const Engine& engine,
                                 std::shared_ptr<const KeySelector> keys = nullptr);

struct DraftTally {
  uint64_t n_passes = 0, n_decoded = 0, n_drafted = 0, n_accepted = 0, bytes = 0;
  double acceptance() const { return n_drafted ? double(n_accepted) / double(n_drafted) : 0; }
  double tokens_per_pass() const { return n_passes ? double(n_decoded) / double(n_passes) : 0; }
};
DraftTally tally_of(const Speculation& speculation, size_t n_decoded);

// "2.31 tokens per pass; 61 of 84 drafted tokens accepted (n-gram 9 of 12, draft model 52 of 72)"
std::string describe_drafts(const Speculation& speculation, size_t n_decoded);
nlohmann::ordered_json drafts_json(const Speculation& speculation, size_t n_decoded);

}  // namespace hunch::cli
