#include "text/tokenizer_keys.h"

#include <algorithm>

namespace hunch {
namespace {

constexpr std::string_view kRead[] = {"model",
                                      "pre",
                                      "tokens",
                                      "token_type",
                                      "scores",
                                      "merges",
                                      "bos_token_id",
                                      "eos_token_id",
                                      "unknown_token_id",
                                      "padding_token_id",
                                      "eot_token_id",
                                      "eom_token_id",
                                      "cls_token_id",
                                      "seperator_token_id",
                                      "mask_token_id",
                                      "add_bos_token",
                                      "add_eos_token",
                                      "add_space_prefix",
                                      "remove_extra_whitespaces",
                                      "precompiled_charsmap"};
// What segments of a text are called, how a document is split from a query, and tokens for filling in the middle, which
// hunch does not do by itself.
constexpr std::string_view kElsewhere[] = {"token_type_count", "add_sep_token",    "fim_pre_token_id",
                                           "fim_suf_token_id", "fim_mid_token_id", "fim_pad_token_id",
                                           "fim_rep_token_id", "fim_sep_token_id", "prefix_token_id",
                                           "suffix_token_id",  "middle_token_id"};
constexpr std::string_view kGgml = "tokenizer.ggml.";
// The same tokenizer once more, or a template that is chosen by name.
constexpr std::string_view kBeside[] = {"tokenizer.chat_template", "tokenizer.huggingface.json"};

bool is_known(std::string_view key) {
  if (key.starts_with(kGgml)) {
    const std::string_view name = key.substr(kGgml.size());
    return std::ranges::find(kRead, name) != std::end(kRead) ||
           std::ranges::find(kElsewhere, name) != std::end(kElsewhere);
  }
  return std::ranges::any_of(kBeside, [&](std::string_view begin) { return key.starts_with(begin); });
}

}  // namespace

std::vector<std::string> unread_tokenizer_keys(const Metadata& meta) {
  std::vector<std::string> unread;
  for (const std::string& key : meta.keys())
    if (key.starts_with("tokenizer.") && !is_known(key)) unread.push_back(key);
  return unread;
}

}  // namespace hunch
