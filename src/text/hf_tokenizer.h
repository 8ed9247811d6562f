// The tokenizer files of a Hugging Face folder as a TokenizerSpec.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "text/tokenizer.h"

namespace hunch {

// Reads, in this order of preference: tokenizer.json; tokenizer.model (SentencePiece); vocab.json +
// merges.txt; vocab.txt (WordPiece); tiktoken ranks (tokenizer.model of Llama-3, recognised by its content) — with
// tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json and
// chat_template.jinja for special tokens, BOS/EOS rules and the chat template.
// `model_type` and `config_json` (config.json's own text: bos/eos ids) choose the family's rules
// where the files are silent, e.g. OPT: "</s>" is BOS and is added. nullopt when the folder has no tokenizer at all.
std::optional<TokenizerSpec> tokenizer_spec_from_hf_folder(const std::filesystem::path& folder,
                                                           const std::string& model_type,
                                                           const std::string& config_json);

}  // namespace hunch
