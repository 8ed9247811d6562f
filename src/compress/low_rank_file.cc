#include "compress/low_rank_file.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "io/low_rank_names.h"

namespace hunch {
namespace {

bool reads_attention_input(Role role) { return role == Role::kQuery || role == Role::kKey || role == Role::kValue; }

std::string tensor_of(const LinearId& id, const char* part) {
  const char* suffix = id.expert == LinearId::kNone ? "" : id.expert == LinearId::kShared ? "_shexp" : "_exps";
  return fmt::format("blk.{}.{}{}", id.layer, part, suffix);
}

// The name of a matrix in files, without ".weight"; of all experts of a layer the same.
std::string name_of(const LinearId& id) {
  switch (id.role) {
    case Role::kQuery: return tensor_of(id, "attn_q");
    case Role::kKey: return tensor_of(id, "attn_k");
    case Role::kValue: return tensor_of(id, "attn_v");
    case Role::kHeads: return tensor_of(id, "attn_output");
    case Role::kGate: return tensor_of(id, "ffn_gate");
    case Role::kUp: return tensor_of(id, "ffn_up");
    default: return tensor_of(id, "ffn_down");
  }
}

// The tensor that holds the matrix: its own, one that it shares, or one by input.
const Tensor& home_of(const ModelFile& file, const LinearId& id) {
  if (const Tensor* own = file.find(name_of(id) + ".weight")) return *own;
  if (reads_attention_input(id.role)) return file.get(tensor_of(id, "attn_qkv") + ".weight");
  if (id.role == Role::kGate) return file.get(tensor_of(id, "ffn_up") + ".weight");
  if (id.role == Role::kDown) return file.get(tensor_of(id, "ffn_down_t") + ".weight");
  return file.get(name_of(id) + ".weight");
}

bool is_one_of_many(const LinearId& id) { return id.expert != LinearId::kNone && id.expert != LinearId::kShared; }

// 0 for a tensor of no layer.
size_t order_of(const std::string& name) {
  return name.starts_with("blk.") ? size_t(std::strtoull(name.c_str() + 4, nullptr, 10)) + 1 : 0;
}

}  // namespace

LowRankFile::LowRankFile(const Engine& engine, LowRankWalk& walk, LowRankReport& report)
    : file_(engine.model->file()), walk_(walk), report_(report) {
  for (const Layer& layer : std::as_const(*engine.model).weights().layers) place(layer);
}

void LowRankFile::place(const Layer& layer) {
  std::map<const Tensor*, std::vector<Part>> homes;
  size_t n_pairs = 0;
  layer.for_each_linear([&](const Linear& linear) {
    if (!InputMoments::covers(linear.id.role)) return;
    std::vector<Part>& parts = homes[&home_of(file_, linear.id)];
    auto part = std::ranges::find(parts, name_of(linear.id), &Part::name);
    if (part == parts.end()) part = parts.insert(part, {name_of(linear.id), {}, {}});
    part->matrices.push_back(&linear);
    if (walk_.chooses(linear.id.role)) part->pairs.push_back(n_pairs++);
  });
  for (auto& [home, parts] : homes)
    if (std::ranges::any_of(parts, [](const Part& p) { return !p.pairs.empty(); })) parts_[home] = std::move(parts);
}

std::vector<TensorToWrite> LowRankFile::tensors() {
  for (const Tensor& t : file_.tensors) {
    report_.bytes_before += t.data.size();
    if (const auto found = parts_.find(&t); found != parts_.end()) {
      for (const Part& part : found->second) add(part);
    } else if (!is_bias_of_split(t)) {
      add(order_of(t.name), {t.name, t.dtype, t.shape, [&t] { return t.data; }});
    }
  }
  std::ranges::stable_sort(out_, {}, [](const auto& entry) { return entry.first; });
  std::vector<TensorToWrite> tensors;
  for (auto& [order, tensor] : out_) tensors.push_back(std::move(tensor));
  return tensors;
}

void LowRankFile::add(size_t order, TensorToWrite tensor) {
  uint64_t n_elems = 1;
  for (uint64_t d : tensor.shape) n_elems *= d;
  const uint64_t cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  report_.bytes += n_elems / std::max<uint64_t>(cols, 1) * row_bytes(tensor.dtype, cols);
  out_.emplace_back(order, std::move(tensor));
}

void LowRankFile::add(const Part& part) {
  const Linear& m = *part.matrices[0];
  const size_t order = m.id.layer + 1;
  if (reads_attention_input(m.id.role) && file_.find(tensor_of(m.id, "attn_qkv") + ".bias"))
    add(order, {part.name + ".bias", DType::kF32, {m.n_out}, [&m] { return std::as_bytes(m.bias()); }});
  if (part.pairs.empty()) {
    const WeightView rows = m.rows();
    return add(order, {part.name + ".weight", rows.dtype, {m.n_out, m.n_in}, [rows] {
                         return std::span(rows.data, rows.bytes());
                       }});
  }
  const LowRankWalk::Shape shape = walk_.shape_of(m);
  const auto add_factor = [&](const std::string& name, DType dtype, std::vector<uint64_t> dims, bool is_u) {
    if (is_one_of_many(m.id)) dims.insert(dims.begin(), part.matrices.size());
    add(order, {name, dtype, std::move(dims), [this, &part, is_u] { return factor(part, is_u); }});
  };
  add_factor(low_rank_u(part.name), shape.U, {m.n_out, shape.rank}, true);
  add_factor(low_rank_v(part.name), shape.V, {shape.rank, m.n_in}, false);
}

// The parts' biases are written beside them.
bool LowRankFile::is_bias_of_split(const Tensor& tensor) const {
  constexpr std::string_view kBias = ".attn_qkv.bias";
  if (!tensor.name.ends_with(kBias)) return false;
  const std::string layer = tensor.name.substr(0, tensor.name.size() - kBias.size());
  const Tensor* weight = file_.find(layer + ".attn_qkv.weight");
  return weight && parts_.contains(weight);
}

// The bytes of U or V, of experts one after the other; valid until the next call.
std::span<const std::byte> LowRankFile::factor(const Part& part, bool is_u) {
  const std::span<const LowRankPair> pairs = walk_.pairs(part.matrices[0]->id.layer);
  bytes_.clear();
  for (size_t i = 0; i < part.pairs.size(); ++i) {
    const LowRankPair& pair = pairs[part.pairs[i]];
    const WeightView& W = is_u ? pair.U : pair.V;
    bytes_.insert(bytes_.end(), W.data, W.data + W.bytes());
    if (is_u) note(*part.matrices[i], pair);
  }
  return bytes_;
}

void LowRankFile::note(const Linear& matrix, const LowRankPair& pair) {
  LowRankRole& role = report_.roles[matrix.id.role];
  role.rank = pair.V.rows;
  ++role.n_matrices;
  role.error += (pair.error - role.error) / double(role.n_matrices);
  role.worst = std::max(role.worst, pair.error);
  role.bytes_before += matrix.bytes();
  role.bytes += pair.U.bytes() + pair.V.bytes();
  if (pair.n_tokens == 0)
    report_.notes.push_back(fmt::format("{}, expert {}: the text never comes to it; it has its plain SVD",
                                        name_of(matrix.id), matrix.id.expert));
}

}  // namespace hunch
