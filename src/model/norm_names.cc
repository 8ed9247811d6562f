#include "model/norm_names.h"

#include <fmt/format.h>

namespace hunch {

std::string norm_name(const ModelFile& file, size_t layer, bool attention) {
  const std::string blk = fmt::format("blk.{}.", layer);
  const bool falcon = file.find(blk + "attn_norm_2.weight") != nullptr;
  if (attention) return blk + (falcon ? "attn_norm_2" : "attn_norm");
  if (falcon) return blk + "attn_norm";
  for (const char* name : {"ffn_norm", "post_attention_norm"})
    if (file.find(blk + name + ".weight")) return blk + name;
  return blk + "attn_norm";  // of a layer that is an MLP alone
}

std::string bias_name(const std::string& weight) {
  return weight.substr(0, weight.size() - std::string_view("weight").size()) + "bias";
}

}  // namespace hunch
