#include "compress/convert.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/file_types.h"
#include "io/gguf.h"
#include "io/int8_tensor.h"
#include "io/ordered_tensors.h"
#include "io/rotated_tensors.h"
#include "io/sparse_tensors.h"
#include "kernels/hadamard.h"
#include "model/architecture.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kDown = ".ffn_down";

// Not a factor of one of low rank.
bool is_down(std::string_view name) {
  const size_t at = name.find(kDown);
  if (at == name.npos) return false;
  const std::string_view rest = name.substr(at + kDown.size());
  return rest == ".weight" || rest == "_exps.weight" || rest == "_shexp.weight";
}

class Converter {
 public:
  Converter(const ModelFile& model, const ConvertOptions& options, Compute& compute)
      : model_(model), options_(options), compute_(compute) {
    const std::string arch = model.meta.get_string("general.architecture");
    const Architecture& a = architecture_by_gguf_name(arch);
    const bool relu = is_relu_family(a.config_from_gguf(model).activation);
    if (options.mix) mix_model_.emplace(model), mix_model_->has_importance = options.importance != nullptr;
    const bool quantised = options.mix || !is_plain(options.dtype);
    neuron_major_ = options.down == DownFile::kNeuron ||
                    (options.down == DownFile::kAuto && relu && quantised && !a.known_to_llama_cpp);
  }

  std::vector<TensorToWrite> plan() {
    std::vector<TensorToWrite> out;
    for (const Tensor& t : model_.tensors) {
      if (is_beside_int8(model_, t)) continue;
      const std::string ordered(ordered_name(t.name)), rotated(rotated_name(t.name));
      if (!ordered.empty() || !rotated.empty() || is_input_order(t.name)) {
        plan_input_form(t, ordered, rotated, out);
      } else if (!is_sparse_part(t.name)) {
        out.push_back(plan(t));
      } else if (options_.keep_blocks) {
        out.push_back({t.name, t.dtype, t.shape, [&t] { return t.data; }});
        count(dtype_of_weights(model_, t), n_weights(t), t.data.size());
      } else if (const auto name = masked_name(t.name)) {
        const SparseTensor& sparse = sparse_.emplace_back(read_sparse(model_, *name));
        out.push_back(plan(dense_.emplace_back(Tensor{sparse.name, sparse.rows.dtype, sparse.shape, {}})));
      }
    }
    report.n_tensors = out.size();
    std::ranges::stable_sort(report.types, std::greater(), &ConvertReport::Type::bytes);
    return out;
  }

  ConvertReport report;

 private:
  // A matrix `ordered` with its inputs in another order, that order, or a matrix `rotated`, for rotated inputs: as they
  // are, or the matrix as floats.
  void plan_input_form(const Tensor& t, const std::string& ordered, const std::string& rotated,
                       std::vector<TensorToWrite>& out) {
    if (options_.keep_blocks) {
      out.push_back({t.name, t.dtype, t.shape, [&t] { return t.data; }});
      return count(t.dtype, n_weights(t), t.data.size());
    }
    const std::string name = (ordered.empty() ? rotated : ordered) + ".weight";
    if (!ordered.empty()) {
      orders_[name] = read_input_order(model_, t);
    } else if (!rotated.empty()) {
      rotated_.insert(name);
    } else {
      return;
    }
    out.push_back(plan(dense_.emplace_back(Tensor{name, t.dtype, t.shape, t.data})));
  }

  TensorToWrite plan(const Tensor& t) {
    const bool int8 = is_int8(model_, t);
    if (!info(t.dtype).reads() && !int8)
      fail(ErrorKind::kUnsupported, "tensor '{}' is {}, which hunch cannot decode", t.name, name_of(t.dtype));
    const size_t down = t.name.find(kDown);
    // What has been pruned and rounded goes back to the blocks that it came from.
    const bool goes_back = t.data.empty() && !is_plain(t.dtype) && options_.down == DownFile::kAuto;
    const bool transpose =
        neuron_major_ && !int8 && !rotated_.contains(t.name) && t.shape.size() >= 2 && is_down(t.name) && !goes_back;
    TensorToWrite w{t.name, t.dtype, t.shape, {}};
    if (transpose) {
      w.name.insert(down + kDown.size(), "_t");
      std::swap(w.shape[w.shape.size() - 2], w.shape.back());  // of each expert
    }
    const bool kept = options_.keep_blocks && !is_plain(t.dtype) && !transpose;
    w.dtype = kept ? t.dtype : stays_f32(t.name, t.shape) ? DType::kF32 : fitting(t, w.shape.back());
    const std::optional<Weighing> weighing = weighing_of(t, w.dtype, transpose);
    if (w.dtype == t.dtype && !transpose && !orders_.contains(t.name) && !rotated_.contains(t.name)) {
      w.produce = [this, &t] { return blocks_of(t); };
    } else {
      const bool once = is_plain(t.dtype) && (!int8 || w.dtype == DType::kQ8_0);
      if (!once && (transpose || !is_plain(w.dtype)))
        fail(ErrorKind::kUnsupported,
             "tensor '{}' is already {}; quantising it again would lose quality twice: start from one of {}", t.name,
             name_of(t.dtype), fmt::join(format_names(&Format::is_float), ", "));
      w.produce = [this, &t, dtype = w.dtype, transpose, weighing] { return encode(t, dtype, transpose, weighing); };
    }
    count(w.dtype, t.n_elems(),
          w.shape.empty() ? 0 : t.n_elems() / w.shape.back() * row_bytes(w.dtype, w.shape.back()));
    return w;
  }

  // What the tensor has in the file, or would have with its zeros. Valid until the next call.
  std::span<const std::byte> blocks_of(const Tensor& t) {
    const auto found = std::ranges::find(sparse_, t.name, &SparseTensor::name);
    if (found == sparse_.end()) return t.data;
    const SparseRows& W = found->rows;
    const size_t stride = row_bytes(W.dtype, W.cols);
    const std::span<std::byte> out = with_zeros_.get<std::byte>(W.rows * stride);
    compute_.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
      compute_.throw_if_stopped();
      for (size_t r = begin; r < end; ++r)
        sparse_row_to_blocks(W, r, W.values + found->offsets[r], out.data() + r * stride);
    });
    return out;
  }

  void count(DType dtype, uint64_t n_weights, uint64_t bytes) {
    report.bytes += bytes;
    auto type = std::ranges::find(report.types, dtype, &ConvertReport::Type::dtype);
    if (type == report.types.end()) type = report.types.insert(type, {dtype, 0, 0, 0});
    ++type->n_tensors;
    type->n_weights += n_weights;
    type->bytes += bytes;
  }

  // What weighs the columns of a tensor's matrices: of each expert its own list, or of all one.
  struct Weighing {
    const ImportanceMatrix::Entry* entry;
    size_t n_matrices;
  };
  std::optional<Weighing> weighing_of(const Tensor& t, DType dtype, bool transpose) {
    if (!options_.importance || is_plain(dtype) || dtype == t.dtype) return std::nullopt;
    // A turned matrix has its blocks along what it writes, of which nothing is known.
    const ImportanceMatrix::Entry* entry = transpose ? nullptr : options_.importance->find(t.name);
    if (!entry) {
      ++report.n_unweighted;
      return std::nullopt;
    }
    const uint64_t n_matrices = t.shape.size() == 3 ? t.shape[0] : 1, cols = t.cols();
    // The older files do not say how many experts share an entry.
    const bool fits = entry->n_columns == cols ? entry->n_matrices() == n_matrices || entry->n_matrices() == 1
                                               : entry->n_matrices() == 1 && entry->n_columns == cols * n_matrices;
    if (!fits)
      fail(ErrorKind::kFormat,
           "the importance matrix has {} x {} columns for '{}', which has {} x {}; was it made of another model?",
           entry->n_matrices(), entry->n_columns, t.name, n_matrices, cols);
    return Weighing{entry, n_matrices};
  }

  // [n_matrices, cols], or [cols] where they share one list.
  static std::vector<float> importance_of(const Weighing& weighing) {
    std::vector<float> all;
    const ImportanceMatrix::Entry& entry = *weighing.entry;
    if (entry.n_matrices() == 1) return entry.means(0);
    for (size_t m = 0; m < weighing.n_matrices; ++m) {
      const std::vector<float> means = entry.means(m);
      all.insert(all.end(), means.begin(), means.end());
    }
    return all;
  }

  // The asked-for type, or the nearest whose blocks divide the row.
  DType fitting(const Tensor& t, size_t cols) {
    const std::string& name = t.name;
    const DType asked = options_.mix ? mixed_type(*options_.mix, *mix_model_, name) : options_.dtype;
    if (!is_plain(asked) && info(t.dtype).is_float() && stays_float(name)) return t.dtype;
    const DType dtype = fitting_dtype(asked, cols);
    if (dtype != asked)
      report.notes.push_back(fmt::format("{}: rows of {} are no whole {} blocks of {}, written as {}", name, cols,
                                         name_of(asked), info(asked).block_elems, name_of(dtype)));
    return dtype;
  }

  // The scales of most blocks are f16, and the largest of these where they would have to be larger.
  void check_largest(const Tensor& t, size_t row, std::span<float> values, DType dtype, const std::byte* blocks) const {
    const auto by_size = [](float a, float b) { return std::abs(a) < std::abs(b); };
    const auto largest = size_t(std::ranges::max_element(values, by_size) - values.begin());
    const float value = values[largest];
    if (std::abs(value) < 65504) return;
    codec(dtype).decode(blocks, values.data(), values.size());
    if (!(std::abs(values[largest] - value) < 0.5f * std::abs(value)))
      fail(ErrorKind::kUnsupported,
           "tensor '{}' holds {} (row {}), which {} cannot hold: it would be {}; take bf16 or f32 (type)", t.name,
           value, row, name_of(dtype), values[largest]);
  }

  // Decodes, turns if asked, encodes; rows in parallel. The result lives until the next call.
  std::span<const std::byte> encode(const Tensor& t, DType dtype, bool transpose,
                                    const std::optional<Weighing>& weighing) {
    // Turned, each expert by itself.
    const size_t n_turned = transpose && t.shape.size() > 2 ? t.shape[0] : 1, n_out = t.rows() / n_turned;
    const size_t rows = transpose ? n_turned * t.cols() : t.rows(), cols = transpose ? n_out : t.cols();
    const size_t stride = row_bytes(dtype, cols), element = info(t.dtype).block_bytes;
    const size_t stored = transpose ? 0 : row_bytes(t.dtype, cols);
    const std::span<std::byte> out = buffer_.get<std::byte>(rows * stride);
    const std::byte* const data = blocks_of(t).data();
    const std::vector<float> importance = weighing ? importance_of(*weighing) : std::vector<float>();
    const size_t rows_each = weighing ? rows / weighing->n_matrices : 0;  // of one matrix
    const std::optional<Int8Tensor> int8 =
        is_int8(model_, t) ? std::optional<Int8Tensor>(std::in_place, model_, t) : std::nullopt;
    const auto order = orders_.find(t.name);
    const bool rotated = rotated_.contains(t.name);
    compute_.threads.parallel_for(rows, 16, [&](size_t begin, size_t end) {
      std::vector<float> values(cols), scratch;
      compute_.throw_if_stopped();
      for (size_t r = begin; r < end; ++r) {
        if (transpose) {
          const size_t expert = r / t.cols(), input = r % t.cols();
          for (size_t c = 0; c < cols; ++c)
            codec(t.dtype).decode(data + ((expert * n_out + c) * t.cols() + input) * element, &values[c], 1);
        } else if (int8) {
          int8->decode(r, values);
        } else {
          codec(t.dtype).decode(data + r * stored, values.data(), cols);
          if (order != orders_.end()) put_in_place(order->second, values, scratch);
          if (rotated) hadamard(values, hadamard_block(cols));
        }
        for (float v : values) {
          if (!(std::abs(v) < INFINITY))
            fail(ErrorKind::kFormat, "tensor '{}' holds a value that is not finite (row {})", t.name, r);
          if (dtype == DType::kF16 && std::abs(v) >= 65520)  // what is less rounds to 65504, the largest
            fail(ErrorKind::kUnsupported,
                 "tensor '{}' holds {} (row {}), which is out of f16's range of 65504; take bf16 or f32 (type)", t.name,
                 v, r);
        }
        codec(dtype).encode(values.data(), out.data() + r * stride, cols,
                            weighing ? &importance[importance.size() == cols ? 0 : r / rows_each * cols] : nullptr);
        check_largest(t, r, values, dtype, out.data() + r * stride);
      }
    });
    return out;
  }

  const ModelFile& model_;
  const ConvertOptions& options_;
  Compute& compute_;
  std::optional<MixModel> mix_model_;
  bool neuron_major_ = false;
  std::deque<SparseTensor> sparse_;  // of the model, without their zeros
  InputOrders orders_;               // of matrices of the model whose inputs stand in another one
  RotatedNames rotated_;             // those that are stored for rotated inputs
  std::deque<Tensor> dense_;         // what these three stand for
  Scratch buffer_, with_zeros_;
};

}  // namespace

ConvertReport convert_model(const ModelFile& model, const fs::path& output, const ConvertOptions& options,
                            Compute& compute, const Progress& progress) {
  if (!options.mix && !info(options.dtype).writes())
    fail(ErrorKind::kUsage, "cannot write {}; possible: {}", name_of(options.dtype),
         fmt::join(format_names(&Format::writes), ", "));
  Converter converter(model, options, compute);
  const std::vector<TensorToWrite> tensors = converter.plan();
  ConvertReport& report = converter.report;
  report.dtype = options.keep_blocks && !report.types.empty() ? report.types[0].dtype : options.dtype;
  Metadata meta = model.meta;
  meta.set("general.file_type", options.mix ? options.mix->file_type : info(report.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  write_gguf(output, meta, tensors, progress, compute.stop);
  return report;
}

}  // namespace hunch
