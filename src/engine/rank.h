// How well documents answer a query, by a model with a head for that (a cross-encoder: Nogueira and Cho 2019,
// arXiv:1901.04085).
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/hidden_states.h"

namespace hunch {

// Query and document as one text: [CLS] query [SEP] document [SEP] of BERT, <s> query </s></s> document </s> of the
// others. `second_begins` is said where the model tells the two apart. Throws Error{kUnsupported} for a tokenizer that
// does not begin and end texts.
TextToRead pair_of(const Engine& engine, std::string_view query, std::string_view document);

// The head's output, as it is, for each of the documents, in their order: larger is better. Throws Error{kUnsupported}
// for a model without a head or with one of several labels, and as read_texts().
std::vector<float> rank(const Engine& engine, std::string_view query, std::span<const std::string> documents,
                        const ReadingOptions& options);

}  // namespace hunch
