// Values as people type them on a command line. Errors are Error{kUsage} and name the option.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/numa.h"
#include "measure/compare.h"

namespace hunch::cli {

// Whole numbers and decimals, the whole text and nothing else. `what` names the option in messages.
uint64_t parse_count(std::string_view text, std::string_view what);
int64_t parse_integer(std::string_view text, std::string_view what);
double parse_real(std::string_view text, std::string_view what);
// A share of a whole: "0.05" or "5%". More than the whole is Error{kUsage} with both spellings of what was probably
// meant; where `may_exceed`, it is taken as it stands.
double parse_share(std::string_view text, std::string_view what, bool may_exceed = false);
// "0,0.5,1".
std::vector<double> parse_shares(std::string_view text, std::string_view what);

// A size: "8G", "512M", "1.5T" or plain bytes, decimal; above 0.
double parse_bytes(std::string_view text, std::string_view what);

// "1,2,3", "1 2 3" or "[1, 2, 3]"; an empty list is an error.
std::vector<int32_t> parse_ids(std::string_view text, std::string_view what);
std::vector<size_t> parse_counts(std::string_view text, std::string_view what);

// "q,k,up": matrices that calibration sees the inputs of.
std::vector<Role> parse_roles(std::string_view text, std::string_view what);

// "ID=BIAS" each, where BIAS is a number, "inf" or "-inf".
std::map<int32_t, float> parse_logit_bias(std::span<const std::string> items);

// "PATH" or "PATH:SCALE", SCALE a number; a path that exists as it stands has none.
AdapterSource parse_adapter(const std::string& text);

// "dense,exact,sparse,oracle:0.2,cats.hunch,teal.hunch@0.5,q4_0-rot,h2o:64,streaming:64,sinks=2+f16": each mode on top
// of `base`; sidecars wait for load_plans(). Error{kUsage} too for what `base` says in vain: a mode, an oracle, or a
// density that none of the modes uses.
std::vector<CompareMode> parse_modes(std::string_view text, const ContextOptions& base);

// The words of such a list; options of a key policy have commas too, and stay with it.
std::vector<std::string> split_modes(std::string_view text);

// The candidate that is most like `word` (at most one slip per three letters, at least one is
// allowed; a swap of neighbours counts as one),
// or "" when none is.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

// "; did you mean 'X'?" or "".
std::string suggestion(std::string_view word, std::span<const std::string> candidates);

// --numa. Of several processes auto leaves them where their starter put them. Throws Error{kUsage}.
NumaPolicy numa_policy(const std::string& text, bool several_ranks);

}  // namespace hunch::cli
