#include "compress/convert.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/file_types.h"
#include "io/gguf.h"
#include "model/architecture.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

class Converter {
 public:
  Converter(const ModelFile& model, const ConvertOptions& options, Compute& compute)
      : model_(model), options_(options), compute_(compute) {
    const std::string arch = model.meta.get_string("general.architecture");
    const Architecture& a = architecture_by_gguf_name(arch);
    const bool relu = is_relu_family(a.config_from_gguf(model).activation);
    const bool quantised = !is_plain(options.dtype);
    neuron_major_ = options.down == DownFile::kNeuron ||
                    (options.down == DownFile::kAuto && relu && quantised && !a.known_to_llama_cpp);
  }

  std::vector<TensorToWrite> plan() {
    std::vector<TensorToWrite> out;
    for (const Tensor& t : model_.tensors) out.push_back(plan(t));
    report.n_tensors = out.size();
    return out;
  }

  ConvertReport report;

 private:
  TensorToWrite plan(const Tensor& t) {
    if (!info(t.dtype).computes())
      fail(ErrorKind::kUnsupported, "tensor '{}' is {}, which hunch cannot decode", t.name, name_of(t.dtype));
    const bool transpose = neuron_major_ && t.shape.size() == 2 && t.name.ends_with(".ffn_down.weight");
    TensorToWrite w{t.name, t.dtype, t.shape, {}};
    if (transpose) {
      w.name = t.name.substr(0, t.name.size() - std::string_view(".weight").size()) + "_t.weight";
      std::swap(w.shape[0], w.shape[1]);
    }
    w.dtype = stays_f32(t.name, t.shape) ? DType::kF32 : fitting(t.name, w.shape.back());
    if (w.dtype == t.dtype && !transpose) {
      w.produce = [&t] { return t.data; };
    } else {
      if (!is_plain(t.dtype))
        fail(ErrorKind::kUnsupported,
             "tensor '{}' is already {}; quantising it again would lose quality twice: start from one of {}", t.name,
             name_of(t.dtype), fmt::join(format_names(&Format::is_float), ", "));
      w.produce = [this, &t, dtype = w.dtype, transpose] { return encode(t, dtype, transpose); };
    }
    report.bytes += w.shape.empty() ? 0 : (t.n_elems() / w.shape.back()) * row_bytes(w.dtype, w.shape.back());
    return w;
  }

  // The asked-for type, or the nearest whose blocks divide the row.
  DType fitting(const std::string& name, size_t cols) {
    const DType dtype = fitting_dtype(options_.dtype, cols);
    if (dtype != options_.dtype)
      report.notes.push_back(fmt::format("{}: rows of {} are no whole {} blocks of {}, written as {}", name, cols,
                                         name_of(options_.dtype), info(options_.dtype).block_elems, name_of(dtype)));
    return dtype;
  }

  // Decodes, turns if asked, encodes; rows in parallel. The result lives until the next call.
  std::span<const std::byte> encode(const Tensor& t, DType dtype, bool transpose) {
    const size_t rows = transpose ? t.cols() : t.rows(), cols = transpose ? t.rows() : t.cols();
    const size_t stride = row_bytes(dtype, cols), element = info(t.dtype).block_bytes;
    const std::span<std::byte> out = buffer_.get<std::byte>(rows * stride);
    compute_.threads.parallel_for(rows, 16, [&](size_t begin, size_t end) {
      std::vector<float> values(cols);
      compute_.throw_if_stopped();
      for (size_t r = begin; r < end; ++r) {
        if (transpose) {
          for (size_t c = 0; c < cols; ++c)
            codec(t.dtype).decode(t.data.data() + (c * rows + r) * element, &values[c], 1);
        } else {
          codec(t.dtype).decode(t.data.data() + r * cols * element, values.data(), cols);
        }
        for (float v : values) {
          if (!(std::abs(v) < INFINITY))
            fail(ErrorKind::kFormat, "tensor '{}' holds a value that is not finite (row {})", t.name, r);
          if (dtype == DType::kF16 && std::abs(v) >= 65520)  // what is less rounds to 65504, the largest
            fail(ErrorKind::kUnsupported,
                 "tensor '{}' holds {} (row {}), which is out of f16's range of 65504; take bf16 or f32 (type)", t.name,
                 v, r);
        }
        codec(dtype).encode(values.data(), out.data() + r * stride, cols);
      }
    });
    return out;
  }

  const ModelFile& model_;
  const ConvertOptions& options_;
  Compute& compute_;
  bool neuron_major_ = false;
  Scratch buffer_;
};

}  // namespace

ConvertReport convert_model(const ModelFile& model, const fs::path& output, const ConvertOptions& options,
                            Compute& compute, const Progress& progress) {
  if (!info(options.dtype).writes())
    fail(ErrorKind::kUsage, "cannot write {}; possible: {}", name_of(options.dtype),
         fmt::join(format_names(&Format::writes), ", "));
  Converter converter(model, options, compute);
  const std::vector<TensorToWrite> tensors = converter.plan();
  Metadata meta = model.meta;
  meta.set("general.file_type", info(options.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  write_gguf(output, meta, tensors, progress, compute.stop);
  return converter.report;
}

}  // namespace hunch
