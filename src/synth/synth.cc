#include "synth/synth.h"

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/file_types.h"
#include "io/gguf.h"
#include "synth/outliers.h"
#include "synth/vocab.h"
#include "synth/weights.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

const char* activation_name(Activation activation) {
  switch (activation) {
    case Activation::kRelu: return "relu";
    case Activation::kReluSquared: return "relu2";
    case Activation::kSilu: return "silu";
    case Activation::kGeluErf: return "gelu";
    case Activation::kGeluTanh: return "gelu_new";
    case Activation::kGeluQuick: return "quick_gelu";
  }
  return "";
}

void hybrid_metadata(const SynthShape& s, Metadata& meta) {
  const SynthHybrid& h = s.hybrid;
  const auto set = [&](const char* key, auto value) { meta.set(s.arch + "." + key, value); };
  const auto set_count = [&](const char* key, size_t value) { set(key, uint32_t(value)); };
  std::vector<uint32_t> n_kv_heads, widths;
  for (const char block : h.blocks) {
    n_kv_heads.push_back(block == '*' ? uint32_t(s.n_kv_head) : 0);
    widths.push_back(block == 'E' ? uint32_t(s.n_ff) : 0);
  }
  set("attention.head_count_kv", MetaArray(n_kv_heads));
  set("feed_forward_length", MetaArray(widths));
  set("attention.layer_norm_rms_epsilon", 1e-5f);
  set("attention.layer_norm_epsilon", 1e-5f);  // llama.cpp wants both
  set_count("rope.dimension_count", s.d_head() / 2 * 2);
  set_count("expert_group_count", 1);
  set_count("expert_group_used_count", 1);
  set_count("expert_shared_count", 1);
  set_count("attention.key_length", s.d_head());
  set_count("attention.value_length", s.d_head());
  set_count("ssm.conv_kernel", h.n_taps);
  set_count("ssm.state_size", h.d_state);
  set_count("ssm.group_count", h.n_group);
  set_count("ssm.inner_size", h.width());
  set_count("ssm.time_step_rank", h.n_state_head);
  set_count("expert_count", h.n_expert);
  set_count("expert_used_count", h.n_expert_used);
  set_count("expert_feed_forward_length", s.n_ff);
  set_count("expert_shared_feed_forward_length", h.n_ff_shared);
  set_count("expert_gating_func", 2);
  set("expert_weights_norm", true);
}

Metadata metadata(const SynthOptions& options) {
  const SynthShape& s = options.shape;
  Metadata meta;
  const auto set_count = [&](const char* key, size_t value) { meta.set(s.arch + "." + key, uint32_t(value)); };
  meta.set("general.architecture", s.arch);
  meta.set("general.name", fmt::format("synth {} (random weights, seed {})", s.name, options.seed));
  meta.set("general.file_type", info(options.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  set_count("block_count", s.n_layer);
  set_count("context_length", s.n_ctx);
  set_count("embedding_length", s.n_embd);
  if (!s.is_hybrid()) {
    set_count("feed_forward_length", s.n_ff);
    set_count("attention.head_count_kv", s.n_kv_head);
  }
  set_count("attention.head_count", s.n_head);
  set_count("vocab_size", s.n_vocab);
  if (s.is_hybrid()) {
    hybrid_metadata(s, meta);
  } else if (s.arch == "llama") {
    meta.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    meta.set("llama.rope.freq_base", 10000.0f);
    set_count("rope.dimension_count", s.d_head());
  } else {
    meta.set(s.arch + ".attention.layer_norm_epsilon", 1e-5f);
  }
  const Activation usual = s.gated() ? Activation::kSilu : s.is_hybrid() ? Activation::kReluSquared : Activation::kRelu;
  if (s.activation != usual) meta.set(s.arch + ".activation", std::string(activation_name(s.activation)));
  if (options.n_outliers > 0) meta.set("hunch.synth.outliers", uint32_t(options.n_outliers));
  if (!options.planting.density.empty()) {  // for whoever reads the file; hunch does not
    const SynthPlanting& p = options.planting;
    meta.set("hunch.synth.density", MetaArray(std::vector<float>(p.density.begin(), p.density.end())));
    meta.set("hunch.synth.head_density", float(p.head_density));
    meta.set("hunch.synth.contexts", uint32_t(p.n_contexts));
    meta.set("hunch.synth.next_token_margin", float(p.next_token_margin));
    meta.set("hunch.synth.seed", options.seed);
  }
  write_tokenizer_to_gguf(synth_tokenizer(s.n_vocab), meta);
  return meta;
}

// Makes and encodes a tensor's rows in parallel. The result lives until the next call.
class RowEncoder {
 public:
  explicit RowEncoder(Compute& compute) : compute_(compute), row_(compute.threads.n_threads()) {}

  std::span<const std::byte> encode(const SynthTensor& t, DType dtype) {
    constexpr size_t kChunkRows = 32;
    const size_t cols = t.shape.back(), rows = t.n_rows(), stride = row_bytes(dtype, cols);
    const std::span<std::byte> out = buffer_.get<std::byte>(rows * stride);
    compute_.threads.parallel_for_dynamic(rows, kChunkRows, [&](size_t begin, size_t end, size_t thread) {
      row_[thread].resize(cols);
      for (size_t r = begin; r < end; ++r) {
        t.fill(r, row_[thread]);
        encode_row(dtype, row_[thread], out.data() + r * stride);
      }
    });
    return out;
  }

 private:
  static void encode_row(DType dtype, std::span<const float> values, std::byte* out) {
    if (dtype == DType::kF16) return to_f16(values, {reinterpret_cast<f16*>(out), values.size()});  // SIMD
    codec(dtype).encode(values.data(), out, values.size());
  }

  Compute& compute_;
  std::vector<std::vector<float>> row_;
  Scratch buffer_;
};

void check_room(const fs::path& output, uint64_t bytes) {
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  std::error_code ec;
  const fs::space_info space = fs::space(folder, ec);
  if (ec) fail(ErrorKind::kIo, "cannot write to '{}': {}", folder.string(), ec.message());
  if (space.available < bytes)
    fail(ErrorKind::kIo, "'{}' needs {:.1f} GB, but its disk has {:.1f} GB left; choose a smaller --shape or --type",
         output.string(), double(bytes) * 1e-9, double(space.available) * 1e-9);
}

}  // namespace

SynthReport write_synth(const fs::path& output, const SynthOptions& options, Compute& compute,
                        const Progress& progress) {
  validate(options.shape);
  if (!info(options.dtype).writes()) fail(ErrorKind::kUsage, "cannot write {}", name_of(options.dtype));
  std::vector<SynthTensor> tensors = synth_tensors(options);
  plant_outliers(options, tensors);
  SynthReport report{.n_tensors = tensors.size()};
  RowEncoder encoder(compute);
  std::vector<TensorToWrite> plan;
  for (const SynthTensor& t : tensors) {
    const size_t cols = t.shape.back(), rows = t.n_rows();
    const bool kept = stays_f32(t.name, t.shape);
    const DType dtype = kept ? DType::kF32 : fitting_dtype(options.dtype, cols);
    if (!kept && dtype != options.dtype)
      report.notes.push_back(fmt::format("{}: rows of {} are no whole {} blocks of {}, written as {}", t.name, cols,
                                         name_of(options.dtype), info(options.dtype).block_elems, name_of(dtype)));
    report.n_params += rows * cols;
    report.bytes += rows * row_bytes(dtype, cols);
    plan.push_back({t.name, dtype, t.shape, [&encoder, &t, dtype] { return encoder.encode(t, dtype); }});
  }
  const Metadata meta = metadata(options);
  constexpr uint64_t kHeaderBytesPerToken = 64;  // an upper estimate: piece, score and type
  check_room(output, report.bytes + options.shape.n_vocab * kHeaderBytesPerToken);
  write_gguf(output, meta, plan, progress, compute.stop);
  return report;
}

}  // namespace hunch
