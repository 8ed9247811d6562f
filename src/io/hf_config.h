// config.json of a Hugging Face model in one spelling, whoever wrote it.
#pragma once
#include <string>
#include <string_view>

namespace hunch {

// The text of a config.json, rewritten in the words of transformers 4, which are what the rest of hunch reads:
//
//   rope_parameters (transformers 5)   rope_theta, rope_scaling, partial_rotary_factor; of kinds of layers: those of
//                                      full attention, and rope_local_base_freq
//   text_config (a model that also     its values stand at the top, where the model's parts for images stay unread
//   sees or hears)
//   Infinity, NaN (Python's)           the largest double, null
//
// A key that says the same as a newer one gives way to it. Throws Error{kFormat} for what is no JSON, with line
// and column, or no object; Error{kUnsupported} for layers of sliding attention with a scaling of their own.
std::string normalised_hf_config(std::string_view text);

}  // namespace hunch
