// The steps of tokenizer.json around the model, one function per section. Internal to tokenizer_json*.cc.
#pragma once
#include <nlohmann/json.hpp>

#include "text/space_mark.h"
#include "text/tokenizer.h"

namespace hunch::tokenizer_json {

using Json = nlohmann::json;

constexpr int kMaxDepth = 16;  // of sequences within sequences

// `object[key]`, or null. `object` must be a JSON object.
const Json& at_or_null(const Json& object, const char* key);
std::string type_of(const Json& step);
bool flag(const Json& step, const char* key, bool fallback);

// The steps of a section with sequences flattened; none for null. `list_key` is the sequences' own.
std::vector<const Json*> flatten(const Json& section, const char* list_key);

// Fills spec.nfc, normalizers, charsmap and add_space_prefix. spec.kind is set.
void read_normalizer(const Json& section, TokenizerSpec& spec);
// Fills spec.pre_patterns and the space prefix. spec.kind is set.
void read_pre_tokenizer(const Json& section, TokenizerSpec& spec);
// Fills bos, eos, add_bos, add_eos, and a note where the template does more than that.
void read_post_processor(const Json& section, TokenizerSpec& spec);
// Notes the steps that decoding does not take.
void read_decoder(const Json& section, TokenizerSpec& spec);

}  // namespace hunch::tokenizer_json
