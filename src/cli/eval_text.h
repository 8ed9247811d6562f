// What `hunch eval --text` and its comparisons share.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "cli/flags.h"
#include "measure/compare.h"

namespace hunch::cli {

// --stride as long as the window is how llama.cpp cuts, so it scores as llama.cpp does; GPTQ's protocol has a name.
WindowOptions window_options(const EvalFlags& flags, const Engine& engine);

// What a JSON answer says of a row.
nlohmann::ordered_json row_json(const CompareRow& row);

// exp(row.nll_delta) - 1 and its standard error: how much more the perplexity is than the first row's.
struct PerplexityChange {
  double value = 0, error = 0;
};
PerplexityChange perplexity_change(const CompareRow& row);

}  // namespace hunch::cli
