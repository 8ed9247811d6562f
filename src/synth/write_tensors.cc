#include "synth/write_tensors.h"

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/file_types.h"
#include "io/gguf.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

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

SynthReport write_tensors(const fs::path& output, const Metadata& meta, std::span<const SynthTensor> tensors,
                          DType asked, Compute& compute, const Progress& progress) {
  if (!info(asked).writes()) fail(ErrorKind::kUsage, "cannot write {}", name_of(asked));
  SynthReport report{.n_tensors = tensors.size()};
  RowEncoder encoder(compute);
  std::vector<TensorToWrite> plan;
  uint64_t n_header = 0;
  for (const SynthTensor& t : tensors) {
    const size_t cols = t.shape.back(), rows = t.n_rows();
    const bool kept = stays_f32(t.name, t.shape);
    const DType dtype = kept ? DType::kF32 : fitting_dtype(asked, cols);
    if (!kept && dtype != asked)
      report.notes.push_back(fmt::format("{}: rows of {} are no whole {} blocks of {}, written as {}", t.name, cols,
                                         name_of(asked), info(asked).block_elems, name_of(dtype)));
    constexpr uint64_t kHeaderBytesPerToken = 64;  // an upper estimate: piece, score and type
    if (t.name == "token_embd.weight") n_header = rows * kHeaderBytesPerToken;
    report.n_params += rows * cols;
    report.bytes += rows * row_bytes(dtype, cols);
    plan.push_back({t.name, dtype, t.shape, [&encoder, &t, dtype] { return encoder.encode(t, dtype); }});
  }
  check_room(output, report.bytes + n_header);
  write_gguf(output, meta, plan, progress, compute.stop);
  return report;
}

}  // namespace hunch
