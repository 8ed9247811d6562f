// Which keys of a config.json nobody read. A key that is new to hunch is said to be that: it may change the computation.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/hf_import.h"

namespace hunch {
namespace {

// What leaves a forward pass alone, whatever it says: who wrote the file, how the model is trained, how text is generated
// by default, which ids mean what (the tokenizer's files are read for these), and the parts of a model that are not text.
constexpr std::string_view kElsewhere[] = {
    "architectures", "auto_map", "dtype", "model_type", "name_or_path", "torch_dtype", "transformers_version", "tokenizer_class",
    "task_specific_params", "problem_type", "id2label", "label2id", "num_labels", "is_decoder", "is_encoder_decoder",
    "classifier_dropout", "finetuning_task", "prefix", "model_name", "note", "license", "unsloth_version", "unsloth_fixed",
    // training and its memory
    "aux_loss_alpha", "initializer_range", "init_std", "init_device", "gradient_checkpointing", "layerdrop", "pretraining_tp",
    "router_aux_loss_coef", "router_z_loss_coef", "router_jitter_noise", "input_jitter_noise", "rescale_prenorm_residual",
    "seq_aux", "ep_size", "use_cache", "cache_implementation", "keys_to_ignore_at_inference", "chunk_size_feed_forward",
    "attn_implementation", "use_flash_attn", "use_flash_attention_2", "fp32_attention", "low_cpu_mem_usage",
    "slow_but_exact", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "reorder_and_upcast_attn",
    "torchscript", "tf_legacy_loss", "pruned_heads", "verbose", "loss_type", "return_dict", "use_bfloat16",
    "num_logits_to_keep", "type_vocab_size", "layer_norm_elementwise_affine", "max_window_layers",
    // generation
    "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "num_beams", "num_beam_groups", "num_return_sequences", "diversity_penalty",
    "do_sample", "early_stopping", "max_length", "min_length", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens",
    "remove_invalid_values", "exponential_decay_length_penalty", "add_cross_attention", "cross_attention_hidden_size",
    "tie_encoder_decoder", "sep_token_id", "decoder_start_token_id",
    // sight and hearing
    "vision_config", "audio_config", "vision_feature_layer", "vision_feature_select_strategy", "projector_hidden_act",
    "mm_tokens_per_image", "spatial_merge_size", "image_seq_length", "multimodal_projector_bias",
};
constexpr std::string_view kElsewhereBefore[] = {"_", "output_", "summary_", "image_", "vision_", "audio_", "video_"};
constexpr std::string_view kElsewhereBehind[] = {"dropout", "pdrop", "dropout_prob", "_token_id", "_token_ids", "_token_index"};

bool is_elsewhere(std::string_view key) {
  return std::ranges::find(kElsewhere, key) != std::end(kElsewhere) ||
         std::ranges::any_of(kElsewhereBefore, [&](std::string_view s) { return key.starts_with(s); }) ||
         std::ranges::any_of(kElsewhereBehind, [&](std::string_view s) { return key.ends_with(s); });
}

}  // namespace

std::vector<std::string> HfImport::unread() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : config_->items()) {
    if (value.is_null() || is_elsewhere(key) || (key == "use_sliding_window" && value == false)) continue;
    const std::string inside = key + ".";
    const auto part = read_.lower_bound(inside);
    if (value.is_object() && part != read_.end() && part->starts_with(inside)) {
      for (const auto& [name, inner] : value.items())
        if (!inner.is_null() && !read_.contains(inside + name) && !is_elsewhere(name)) names.push_back(inside + name);
    } else if (!read_.contains(key)) {
      names.push_back(key);
    }
  }
  return names;
}

}  // namespace hunch
