#include "model/unread_metadata.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "model/architecture.h"
#include "text/tokenizer_keys.h"

namespace hunch {
namespace {

// Said by the tensors themselves, into which two are folded, or of how the file was made.
constexpr std::string_view kElsewhere[] = {
    "vocab_size",          "rope.scaling.finetuned",          "tensor_data_layout",        "size_label",
    "scale_attn_weights",  "scale_attn_by_inverse_layer_idx", "leading_dense_block_count", "interleave_moe_layer_step",
    "expert_shared_count", "full_attention_interval",         "rope.dimension_sections"};
// Details of a scaling that is not there.
constexpr std::string_view kScaling = "rope.scaling.";

}  // namespace

std::vector<std::string> unread_metadata(const ModelFile& file) {
  struct Log {
    explicit Log(const Metadata& m) : meta(m) { meta.log_reads(&read); }
    ~Log() { meta.log_reads(nullptr); }
    const Metadata& meta;
    std::set<std::string, std::less<>> read;
  } log(file.meta);
  ModelConfig config;
  try {
    config = config_from_gguf(file);
  } catch (const Error&) {
    return {};  // who means to run it will hear why
  }
  const std::string prefix = config.arch + ".";
  std::vector<std::string> unread = unread_tokenizer_keys(file.meta);
  for (const std::string& key : file.meta.keys()) {
    if (!key.starts_with(prefix) || log.read.contains(key)) continue;
    const std::string_view name = std::string_view(key).substr(prefix.size());
    if (std::ranges::find(kElsewhere, name) != std::end(kElsewhere)) continue;
    if (name.starts_with(kScaling) && config.rope.scaling == RopeScaling::kNone) continue;
    unread.push_back(key);
  }
  return unread;
}

}  // namespace hunch
