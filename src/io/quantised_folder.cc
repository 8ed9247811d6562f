#include "io/quantised_folder.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <map>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/half.h"
#include "base/memory_info.h"
#include "base/thread_pool.h"
#include "base/throw_if_stopped.h"
#include "io/printable.h"
#include "io/quantised_blocks.h"
#include "io/quantised_matrix.h"

namespace hunch {
namespace {

constexpr uint64_t kSmall = uint64_t{64} << 20;
constexpr size_t kRowsAtOnce = 16;

MatrixList matrices_of(TensorSet& tensors, const QuantisedConfig& config, const std::set<std::string>& float8) {
  switch (config.method) {
    case QuantMethod::kAwq: return awq_matrices(tensors, config);
    case QuantMethod::kGptq: return gptq_matrices(tensors, config);
    case QuantMethod::kFp8: return fp8_matrices(tensors, config, float8);
    case QuantMethod::kCompressedTensors: return compressed_tensors_matrices(tensors, config, float8);
    case QuantMethod::kBitsAndBytes: return bits_and_bytes_matrices(tensors);
    case QuantMethod::kMxfp4: return mxfp4_matrices(tensors);
    case QuantMethod::kBitNet: return bitnet_matrices(tensors);
    case QuantMethod::kNone: break;
  }
  return {};
}

// The types that hold a matrix without loss, best first: f32 holds all.
std::vector<DType> candidates(const QuantisedMatrix& m, bool blocks) {
  std::vector<DType> types;
  if (blocks && m.cols % 32 == 0) {
    if (m.blocks() && m.cols % info(*m.blocks()).block_elems == 0) types.push_back(*m.blocks());
    types.insert(types.end(), std::begin(kIntegerBlocks), std::end(kIntegerBlocks));
  }
  types.insert(types.end(), {DType::kF16, DType::kBF16, DType::kF32});
  return types;
}

// Row r of a matrix of integers, in the order in which its blocks have it.
bool integers_in_order(const QuantisedMatrix& m, size_t r, std::vector<int16_t>& q, std::vector<float>& scale) {
  if (!m.integers(r, q.data(), scale.data())) return false;
  if (m.order.empty()) return true;
  thread_local std::vector<int16_t> plain_q;
  thread_local std::vector<float> plain_scale;
  plain_q = q;
  plain_scale = scale;
  for (size_t j = 0; j < m.cols; ++j) q[j] = plain_q[m.order[j]], scale[j] = plain_scale[m.order[j]];
  return true;
}

bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// Which of `types` hold row `r`, as bits over them.
uint32_t types_for(const QuantisedMatrix& m, std::span<const DType> types, uint32_t wanted, size_t r) {
  thread_local std::vector<float> x, scale;
  thread_local std::vector<int16_t> q;
  x.resize(m.cols), scale.resize(m.cols), q.resize(m.cols);
  uint32_t held = 0;
  bool has_values = false;
  std::optional<IntegerRow> row;
  for (size_t i = 0; i < types.size(); ++i) {
    if (!(wanted >> i & 1)) continue;
    bool holds = true;
    if (types[i] == DType::kF16 || types[i] == DType::kBF16) {
      if (!has_values) m.values(r, x.data());
      has_values = true;
      holds = types[i] == DType::kF16 ? std::ranges::all_of(x, [](float v) { return same(to_f32(to_f16(v)), v); })
                                      : std::ranges::all_of(x, [](float v) { return same(to_f32(to_bf16(v)), v); });
    } else if (types[i] != DType::kF32 && types[i] != m.blocks()) {
      if (!row) row = integers_in_order(m, r, q, scale) ? integer_row(q, scale) : IntegerRow{};
      holds = row->fits(types[i]);
    }
    held |= uint32_t(holds) << i;
  }
  return held;
}

class Decoder {
 public:
  Decoder(HfFolder& folder, const Stop* stop, size_t n_threads)
      : folder_(folder), stop_(stop), threads_(n_threads ? n_threads : default_n_threads()) {}

  // Which of its candidates hold the whole matrix.
  uint32_t types_for_all(const QuantisedMatrix& m, std::span<const DType> types) {
    if (types[0] == m.blocks()) return 1u | 1u << (types.size() - 1);  // and f32
    std::atomic<uint32_t> held = (1u << types.size()) - 1;
    threads_.parallel_for(m.rows, kRowsAtOnce, [&](size_t begin, size_t end) {
      throw_if_stopped(stop_);
      for (size_t r = begin; r < end; ++r) {
        const uint32_t wanted = held.load(std::memory_order_relaxed);
        if (std::has_single_bit(wanted)) return;  // f32
        held.fetch_and(types_for(m, types, wanted, r), std::memory_order_relaxed);
      }
    });
    return held;
  }

  Tensor store(const QuantisedMatrix& m, DType dtype) {
    const size_t stride = row_bytes(dtype, m.cols);
    auto buffer = std::make_shared<AlignedBuffer>(m.rows * stride);
    threads_.parallel_for(m.rows, kRowsAtOnce, [&](size_t begin, size_t end) {
      throw_if_stopped(stop_);
      std::vector<float> x(m.cols);
      std::vector<int16_t> q(m.cols);
      for (size_t r = begin; r < end; ++r) {
        std::byte* out = buffer->data() + r * stride;
        if (is_plain(dtype)) {
          m.values(r, x.data());
          codec(dtype).encode(x.data(), out, m.cols);
        } else if (m.blocks() == dtype) {
          m.write_blocks(r, out);
        } else {
          integers_in_order(m, r, q, x);
          write_integer_blocks(dtype, q, x, out);
        }
      }
    });
    if (!is_plain(dtype) && !m.order.empty()) folder_.orders[m.name] = m.order;
    Tensor t{m.name, dtype, m.shape, buffer->bytes()};
    folder_.owners.push_back(std::move(buffer));
    return t;
  }

 private:
  HfFolder& folder_;
  const Stop* stop_;
  ThreadPool threads_;
};

// One name for the same matrix of all experts of a layer, which become one tensor.
std::string family_of(const std::string& name) {
  const std::string_view experts = ".experts.";
  const size_t at = name.find(experts);
  if (at == name.npos) return name;
  size_t end = at + experts.size();
  while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
  return name.substr(0, at + experts.size()) + name.substr(end);
}

}  // namespace

std::string QuantisedReport::text() const {
  if (method.empty()) return "";
  std::string line = fmt::format("weights quantised by {}:", method);
  uint64_t bytes = 0;
  for (const Became& b : became) {
    line += fmt::format(" {} matri{} as {}{},", b.n_matrices, b.n_matrices == 1 ? "x" : "ces", name_of(b.dtype),
                        b.n_ordered ? fmt::format(" ({} with inputs in another order)", b.n_ordered) : "");
    bytes += b.bytes;
  }
  return line + fmt::format(" exactly; {:.1f} MB in memory, {:.1f} MB in the checkpoint", double(bytes) / 1e6,
                            double(stored_bytes) / 1e6);
}

QuantisedReport decode_quantised(HfFolder& folder, QuantisedAs as, const Stop* stop, size_t n_threads) {
  const QuantisedConfig config = parse_quantised_config(folder.config_json, folder.quantiser_json);
  TensorSet tensors(folder.tensors);
  const MatrixList matrices = matrices_of(tensors, config, folder.float8);
  for (const std::string& name : folder.float8)
    if (!tensors.is_taken(name))
      fail(ErrorKind::kUnsupported, "tensor '{}' is F8_E4M3, {}; convert the model to one of {}", printable(name),
           config.method == QuantMethod::kNone ? "and config.json has no quantization_config that says its scale"
                                               : "and belongs to no quantised matrix that hunch knows",
           fmt::join(format_names(&Format::is_float), ", "));
  if (config.method == QuantMethod::kNone) return {};
  if (matrices.empty())
    fail(ErrorKind::kFormat, "the weights are said to be quantised ({}), but no tensor is; is the checkpoint complete?",
         config.text);

  QuantisedReport report{config.text, {}, 0};
  uint64_t float_bytes = 0;
  for (const auto& m : matrices) {
    float_bytes += uint64_t{m->rows} * m->cols * sizeof(float);
    report.stored_bytes += m->stored_bytes;
  }
  const bool blocks = as == QuantisedAs::kBlocks ||
                      (as == QuantisedAs::kAuto && (float_bytes > kSmall || config.method == QuantMethod::kBitNet));

  Decoder decoder(folder, stop, n_threads);
  std::map<std::string, uint32_t> held;  // by families
  for (const auto& m : matrices) {
    const auto [it, is_new] = held.try_emplace(family_of(m->name), ~0u);
    it->second &= decoder.types_for_all(*m, candidates(*m, blocks));
  }
  const auto type_of = [&](const QuantisedMatrix& m) {
    return candidates(m, blocks)[size_t(std::countr_zero(held.at(family_of(m.name))))];
  };
  uint64_t bytes = 0;
  for (const auto& m : matrices) bytes += m->rows * row_bytes(type_of(*m), m->cols);
  require_memory(bytes, fmt::format("weights quantised by {} and decoded", config.text));
  std::vector<Tensor> out;
  for (const Tensor& t : folder.tensors)
    if (!tensors.is_taken(t.name)) out.push_back(t);
  for (const auto& m : matrices) {
    const DType dtype = type_of(*m);
    out.push_back(decoder.store(*m, dtype));
    const auto same_type = [&](const QuantisedReport::Became& b) { return b.dtype == dtype; };
    auto became = std::ranges::find_if(report.became, same_type);
    if (became == report.became.end()) became = report.became.insert(became, {dtype, 0, 0, 0});
    ++became->n_matrices;
    became->n_ordered += folder.orders.contains(m->name);
    became->bytes += out.back().data.size();
  }
  folder.tensors = std::move(out);
  return report;
}

}  // namespace hunch
