#include "model/bind_adapter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "formats/format.h"
#include "io/int8_tensor.h"
#include "io/printable.h"
#include "kernels/ops.h"
#include "model/hf_trace.h"
#include "model/peft_names.h"

namespace hunch {
namespace {

using Floats = std::vector<float>;

// What is added to one matrix, so far: A and B [rank, n], by rank.
struct Sum {
  Floats A, B, gain, saved, saved_bias;
};

// The model's own weights.
WeightView weights_of(const Model& model, const TensorRows& where) {
  if (where.stored.empty())
    fail(ErrorKind::kUnsupported,
         "'{}' is a product of two matrices in this file, or stands there without its zeros or with its inputs in "
         "another order: only plain LoRA can be added to it (not DoRA, nor what is saved whole)",
         where.name);
  const Tensor& t = model.file().get(where.stored);
  if (ternary_scale(model.file(), t))
    fail(ErrorKind::kUnsupported,
         "'{}' is ternary, which only plain LoRA can be added to (not DoRA, nor what is saved whole)", where.name);
  if (is_int8(model.file(), t))
    fail(ErrorKind::kUnsupported,
         "'{}' is of int8 with scales, which only plain LoRA can be added to (not DoRA, nor what is saved whole)",
         where.name);
  return t.view();
}

// ||row i of W + B A|| of the model's weights.
Floats row_norms(Compute& compute, const Model& model, const TensorRows& where, MatView<const float> A,
                 MatView<const float> B) {
  const WeightView W = weights_of(model, where);
  const Format& weights = codec(W.dtype);
  Floats norms(where.n_out);
  if (where.by_input) {
    Floats column(where.n_out);
    for (size_t i = 0; i < where.n_in; ++i) {
      weights.decode(W.row(where.first_input() + i), column.data(), column.size());
      for (size_t k = 0; k < A.rows; ++k) axpy(A.row(k)[i], B.row(k), column);
      for (size_t r = 0; r < column.size(); ++r) norms[r] += column[r] * column[r];
    }
  } else {
    compute.threads.parallel_for(where.n_out, 16, [&](size_t begin, size_t end) {
      Floats row(where.n_in);
      for (size_t r = begin; r < end; ++r) {
        weights.decode(W.row(where.first + r), row.data(), row.size());
        for (size_t k = 0; k < A.rows; ++k) axpy(B.row(k)[r], A.row(k), row);
        norms[r] = dot(row, row);
      }
    });
  }
  for (float& norm : norms) norm = std::sqrt(norm);
  return norms;
}

// One file, bound to the model's matrices.
class Binder {
 public:
  Binder(const Model& model, Compute& compute, const AdapterChoice& chosen, std::map<LinearId, Sum>& sums)
      : model_(model), compute_(compute), file_(*chosen.file), scale_(chosen.scale), sums_(sums) {
    for (const ReplacedTensor& r : file_.replaced)
      // PEFT saves an adapted embedding's own weights beside the adapter, unchanged.
      if (std::ranges::none_of(file_.matrices, [&](const AdapterMatrix& m) { return m.tensor == r.tensor; }))
        saved_.push_back(&r);
  }

  void bind() {
    if (!file_.scaled.empty()) return bind_scaled();
    std::vector<NamedRows> named;
    for (const AdapterMatrix& m : file_.matrices) named.push_back({m.tensor, m.n_out, false});
    for (const ReplacedTensor* r : saved_) named.push_back({r->tensor, r->shape.empty() ? 1 : r->shape[0], true});
    const RowTrace trace = trace_of(named);
    if (!trace.unknown.empty())
      fail(ErrorKind::kUnsupported, "it changes '{}', which a {} model does not have{}", printable(trace.unknown[0]),
           model_.config().arch,
           trace.unknown.size() == 1 ? "" : fmt::format(", and {} more such tensors", trace.unknown.size() - 1));
    std::map<std::string, size_t> n_rows;
    for (const auto& [id, where] : model_.weights().tensors) n_rows[where.name] += where.n_out;
    std::vector<size_t> n_bound(named.size());
    for (const auto& [id, where] : model_.weights().tensors) {
      const auto found = trace.tensors.find(where.name);
      if (found == trace.tensors.end()) continue;
      const std::vector<RowOrigin>& origins = found->second;
      if (origins.size() != n_rows[where.name]) wrong_shape(origins, where, n_rows[where.name]);
      const std::span<const RowOrigin> own = std::span(origins).subspan(where.first, where.n_out);
      for (const RowOrigin& origin : own) n_bound[origin.matrix] += origin.factor != 0;
      bind(id, where, own, trace);
    }
    check_all_bound(named, trace, n_bound);
  }

 private:
  // Rows of matrices that this rank has are bound, and those of layers that others have (Division::by_layers).
  void check_all_bound(std::span<const NamedRows> named, const RowTrace& trace, std::vector<size_t>& n_bound) const {
    for (const auto& [tensor, origins] : trace.tensors)
      if (is_elsewhere(tensor))
        for (const RowOrigin& origin : origins) n_bound[origin.matrix] += origin.factor != 0;
    for (size_t m = 0; m < named.size(); ++m)
      if (n_bound[m] != named[m].n_rows)
        fail(ErrorKind::kUnsupported, "it changes '{}', which is no matrix of this model that hunch adapts",
             printable(named[m].name));
  }

  bool is_elsewhere(std::string_view tensor) const {
    constexpr std::string_view kBlock = "blk.";
    if (!tensor.starts_with(kBlock)) return false;
    tensor.remove_prefix(kBlock.size());
    size_t layer = 0;
    std::from_chars(tensor.data(), tensor.data() + tensor.size(), layer);
    return layer < model_.config().n_layer && model_.config().layers[layer].elsewhere;
  }

  // IA3: rows of W and the bias times their factors, or columns of W. Where that is a gain of rows, it is one; else the
  // matrix is taken whole.
  void bind_scaled() {
    const auto& tensors = model_.weights().tensors;
    std::vector<NamedRows> named;
    for (const ScaledMatrix& m : file_.scaled)
      named.push_back({m.tensor, m.inputs ? model_.config().n_embd : m.factors.size(), false});
    const RowTrace trace = trace_of(named);
    if (!trace.unknown.empty())
      fail(ErrorKind::kUnsupported, "it changes '{}', which a {} model does not have", printable(trace.unknown[0]),
           model_.config().arch);
    std::vector<size_t> n_bound(named.size());
    for (const auto& [id, where] : tensors) {
      const auto found = trace.tensors.find(where.name);
      if (found == trace.tensors.end()) continue;
      const std::vector<RowOrigin>& origins = found->second;
      if (origins.size() < where.first + where.n_out) wrong_factors(origins[0].matrix, where);
      const std::span<const RowOrigin> own = std::span(origins).subspan(where.first, where.n_out);
      for (const RowOrigin& origin : own) n_bound[origin.matrix] += origin.factor != 0;
      const auto from = std::ranges::find_if(own, [](const RowOrigin& origin) { return origin.factor != 0; });
      if (from == own.end()) continue;
      file_.scaled[from->matrix].inputs ? scale_inputs(id, where, from->matrix, trace) : scale_outputs(id, where, own);
    }
    check_all_bound(named, trace, n_bound);
  }

  [[noreturn]] void wrong_factors(uint32_t m, const TensorRows& where) const {
    fail(ErrorKind::kFormat, "its '{}' has {} factors, the model's '{}' is [{}, {}]", printable(file_.scaled[m].tensor),
         file_.scaled[m].factors.size(), where.name, where.n_out, where.n_in);
  }

  const Linear& linear_of(LinearId id) const {
    const Linear* found = nullptr;
    std::as_const(model_).weights().for_each_linear([&](const Linear& linear) {
      if (linear.id == id) found = &linear;
    });
    HUNCH_CHECK(found, "no matrix of this id");
    return *found;
  }

  // With the share of the difference that is chosen.
  float factor_of(float factor) const { return 1 + scale_ * (factor - 1); }

  void add_gain(LinearId id, const TensorRows& where, const Floats& factors) {
    Sum& sum = sums_[id];
    sum.gain.resize(where.n_out);
    for (size_t r = 0; r < where.n_out; ++r) sum.gain[r] += factors[r] - 1;
    if (!sum.A.empty()) return;
    sum.A.assign(where.n_in, 0.0f);  // of rank 1, and nothing: parts of rank 0 are passed over
    sum.B.assign(where.n_out, 0.0f);
  }

  // W with its rows and bias, or its columns, times factors.
  void take_whole(LinearId id, const TensorRows& where, const Floats& rows, const Floats& columns) {
    if (model_.weights().parts.is_cut(id))
      fail(ErrorKind::kUnsupported,
           "it scales '{}' in a way that takes the matrix whole, which is divided among ranks; merge it into the model "
           "(`hunch merge`), or run it without mpirun",
           where.name);
    const Linear& linear = linear_of(id);
    Sum& sum = sums_[id];
    if (!sum.saved.empty() || !sum.A.empty())
      fail(ErrorKind::kUsage, "it takes the place of the model's '{}', which another adapter changes", where.name);
    sum.saved.resize(where.n_out * where.n_in);
    linear.decode(compute_, {sum.saved.data(), where.n_out, where.n_in});
    for (size_t r = 0; r < where.n_out; ++r)
      for (size_t i = 0; i < where.n_in; ++i) sum.saved[r * where.n_in + i] *= rows.empty() ? columns[i] : rows[r];
    sum.saved_bias.assign(linear.bias().begin(), linear.bias().end());
    for (size_t r = 0; r < sum.saved_bias.size() && !rows.empty(); ++r) sum.saved_bias[r] *= rows[r];
  }

  void scale_outputs(LinearId id, const TensorRows& where, std::span<const RowOrigin> own) {
    Floats factors;
    for (const RowOrigin& from : own)
      factors.push_back(from.factor == 0 ? 1.0f : factor_of(file_.scaled[from.matrix].factors[from.row]));
    linear_of(id).bias().empty() ? add_gain(id, where, factors) : take_whole(id, where, factors, {});
  }

  // What down reads is act(gate) * up: its factors are those of up's rows, where up has no bias.
  void scale_inputs(LinearId id, const TensorRows& where, uint32_t m, const RowTrace& trace) {
    const ScaledMatrix& scaled = file_.scaled[m];
    if (scaled.factors.size() != where.n_in) wrong_factors(m, where);
    Floats factors;
    const auto order = trace.input_orders.find(m);
    for (size_t i = 0; i < where.n_in; ++i)
      factors.push_back(factor_of(scaled.factors[order == trace.input_orders.end() ? i : order->second[i]]));
    const LinearId up{id.layer, Role::kUp};
    const LayerConfig& c = model_.config().layers[id.layer];
    const auto rows = model_.weights().tensors.find(up);
    const bool by_rows = id.role == Role::kDown && c.gated && c.details.limit == 0 && c.details.up_offset == 0 &&
                         !c.details.relu_up && rows != model_.weights().tensors.end() && linear_of(up).bias().empty();
    by_rows ? add_gain(up, rows->second, factors) : take_whole(id, where, {}, factors);
  }

  RowTrace trace_of(std::span<const NamedRows> named) const {
    if (file_.architecture.empty()) return trace_hf_rows(model_.file().meta, model_.whole_config(), named);
    if (file_.architecture != model_.config().arch)
      fail(ErrorKind::kUnsupported, "it is for models of architecture '{}', this one is '{}'",
           printable(file_.architecture), model_.config().arch);
    RowTrace trace;
    for (uint32_t m = 0; m < named.size(); ++m) {
      std::vector<RowOrigin>& origins = trace.tensors[named[m].name];
      for (uint32_t r = 0; r < named[m].n_rows; ++r) origins.push_back({m, r, 1});
    }
    std::set<std::string> known;
    for (const auto& [id, where] : model_.weights().tensors) known.insert(where.name);
    for (const NamedRows& matrix : named)
      if (!known.count(matrix.name) && !is_elsewhere(matrix.name)) trace.unknown.push_back(matrix.name);
    return trace;
  }

  [[noreturn]] void wrong_shape(std::span<const RowOrigin> origins, const TensorRows& where, size_t n_rows) const {
    const auto from = std::ranges::find_if(origins, [](const RowOrigin& origin) { return origin.factor != 0; });
    const size_t m = from->matrix;
    const std::string name = m < file_.matrices.size() ? file_.matrices[m].tensor : saved_at(m).tensor;
    const size_t n_in = m < file_.matrices.size() ? file_.matrices[m].n_in : saved_at(m).shape.back();
    fail(ErrorKind::kFormat, "its '{}' is for [{}, {}], the model's '{}' is [{}, {}]", printable(name), origins.size(),
         n_in, where.name, n_rows, where.n_in);
  }
  const ReplacedTensor& saved_at(size_t m) const { return *saved_[m - file_.matrices.size()]; }

  // A [rank, n_in], its columns where the model has these inputs.
  static void append_A(const AdapterMatrix& matrix, const RowTrace& trace, uint32_t m, Floats& A) {
    const auto found = trace.input_orders.find(m);
    if (found == trace.input_orders.end()) {
      A.insert(A.end(), matrix.A.begin(), matrix.A.end());
      return;
    }
    for (size_t k = 0; k < matrix.rank; ++k)
      for (const uint32_t i : found->second) A.push_back(matrix.A[k * matrix.n_in + i]);
  }

  void bind(LinearId id, const TensorRows& where, std::span<const RowOrigin> own, const RowTrace& trace) {
    std::vector<uint32_t> matrices;  // in the order of the rows
    for (const RowOrigin& origin : own)
      if (origin.factor != 0 && std::ranges::count(matrices, origin.matrix) == 0) matrices.push_back(origin.matrix);
    if (matrices.empty()) return;
    if (matrices[0] >= file_.matrices.size()) return replace(id, where, own);
    Floats A, B;
    for (const uint32_t m : matrices) {
      const AdapterMatrix& matrix = file_.matrices[m];
      if (matrix.n_in != where.n_in) wrong_shape(own, where, where.n_out);
      append_A(matrix, trace, m, A);
      for (size_t k = 0; k < matrix.rank; ++k)
        for (const RowOrigin& from : own)
          B.push_back(from.matrix == m ? from.factor * matrix.scale * matrix.view_B().row(from.row)[k] : 0.0f);
    }
    Sum& sum = sums_[id];
    stretch(where, own, A, B, sum.gain);
    for (float& b : B) b *= scale_;
    sum.A.insert(sum.A.end(), A.begin(), A.end());
    sum.B.insert(sum.B.end(), B.begin(), B.end());
  }

  // DoRA: row r of W + B A becomes m[r] / ||row|| times itself (Liu et al. 2024, section 4.1).
  void stretch(const TensorRows& where, std::span<const RowOrigin> own, const Floats& A, Floats& B,
               Floats& gain) const {
    const auto magnitudes = [&](const RowOrigin& from) -> const Floats& {
      return file_.matrices[from.matrix].magnitude;
    };
    if (std::ranges::none_of(own, [&](const RowOrigin& from) { return from.factor != 0 && !magnitudes(from).empty(); }))
      return;
    const size_t rank = A.size() / where.n_in;
    const Floats norms =
        row_norms(compute_, model_, where, {A.data(), rank, where.n_in}, {B.data(), rank, where.n_out});
    gain.resize(where.n_out);
    for (size_t r = 0; r < own.size(); ++r) {
      if (own[r].factor == 0 || magnitudes(own[r]).empty()) continue;
      const float stretched = own[r].factor * magnitudes(own[r])[own[r].row] / norms[r];
      if (!std::isfinite(stretched))
        fail(ErrorKind::kFormat, "row {} of its '{}' has no direction: the norm of the adapted row is {}", own[r].row,
             printable(file_.matrices[own[r].matrix].tensor), norms[r]);
      gain[r] += scale_ * (stretched - 1);
      for (size_t k = 0; k < rank; ++k) B[k * where.n_out + r] *= stretched;
    }
  }

  void replace(LinearId id, const TensorRows& where, std::span<const RowOrigin> own) {
    const ReplacedTensor& saved = saved_at(own[0].matrix);
    if (saved.shape.size() != 2 || saved.shape[1] != where.n_in) wrong_shape(own, where, where.n_out);
    Floats values;
    for (const RowOrigin& from : own)
      for (size_t i = 0; i < where.n_in; ++i) values.push_back(from.factor * saved.values[from.row * where.n_in + i]);
    if (is_unchanged(where, values)) return;
    Sum& sum = sums_[id];
    if (scale_ != 1 || !sum.saved.empty())
      fail(ErrorKind::kUsage,
           "its '{}' is saved whole: it takes the place of the model's and can neither be scaled nor "
           "added to another adapter's",
           printable(saved.tensor));
    sum.saved = std::move(values);
  }

  bool is_unchanged(const TensorRows& where, const Floats& values) const {
    if (where.by_input) return false;
    const WeightView W = weights_of(model_, where);
    Floats row(where.n_in);
    for (size_t r = 0; r < where.n_out; ++r) {
      codec(W.dtype).decode(W.row(where.first + r), row.data(), row.size());
      if (!std::equal(row.begin(), row.end(), values.begin() + ptrdiff_t(r * where.n_in))) return false;
    }
    return true;
  }

  const Model& model_;
  Compute& compute_;
  const AdapterFile& file_;
  const float scale_;
  std::map<LinearId, Sum>& sums_;
  std::vector<const ReplacedTensor*> saved_;
};

}  // namespace

namespace {

// What stands in the way of tokens before every text; nullptr: nothing.
const char* against_virtual_tokens(const ModelConfig& c, bool has_keys) {
  if (!c.causal || !c.has_output) return "no causal output";
  if (c.n_embd_word > 0 && c.n_embd_word != c.n_embd) return "an embedding of another width than its layers";
  if (c.n_per_layer > 0) return "embeddings per layer";
  if (c.position == PositionKind::kRope &&
      (c.rope.scaling == RopeScaling::kDynamicNtk || c.rope.scaling == RopeScaling::kLongRope))
    return "RoPE that follows the length of a text";
  for (const LayerConfig& l : c.layers) {
    if (!l.has_attention()) return "recurrent layers";
    if (!has_keys) continue;
    if (l.latent.rank > 0 || l.keys_as_values || l.borrows_keys() || l.lends_keys)
      return "layers without keys of their own";
    if (l.window > 0) return "windows";
    if (!l.alibi_slopes.empty() || l.relative.on || l.extend.on()) return "scores that depend on distances";
  }
  return nullptr;
}

// Keys come in the checkpoint's order of rows, and are not turned: text begins after them.
VirtualTokenValues bind_virtual_tokens(const Model& model, const VirtualTokens& own) {
  if (model.ranks())
    fail(ErrorKind::kUnsupported, "its virtual tokens are not computed by several ranks; run it without mpirun");
  const ModelConfig& c = model.config();
  if (const char* what = against_virtual_tokens(c, own.has_keys))
    fail(ErrorKind::kUnsupported, "its virtual tokens do not go with {} models with {}", c.arch, what);
  if (own.n >= std::min(c.n_ctx_train, c.n_vocab))
    fail(ErrorKind::kUnsupported, "it has {} virtual tokens, the model a context of {} and a vocabulary of {}", own.n,
         c.n_ctx_train, c.n_vocab);
  VirtualTokenValues out{.n = own.n, .embeddings = {}, .layers = {}};
  size_t width = own.has_keys ? 0 : c.n_embd;
  for (const LayerConfig& l : c.layers)
    if (own.has_keys) width += 2 * l.n_kv_head * l.d_head;
  if (own.width() != width)
    fail(ErrorKind::kFormat, "its virtual tokens have {} values each, expected {}: {}", own.width(), width,
         own.has_keys ? "keys and values of every layer" : "the width of an embedding");
  if (!own.has_keys) {
    out.embeddings = own.values;
    return out;
  }
  const auto key_rows = checkpoint_rows(model, Role::kKey), value_rows = checkpoint_rows(model, Role::kValue);
  size_t at = 0;
  for (const LayerConfig& l : c.layers) {
    const size_t n = l.n_kv_head * l.d_head;
    VirtualTokenValues::KeysAndValues& layer = out.layers.emplace_back();
    for (size_t t = 0; t < own.n; ++t) {
      for (const uint32_t row : key_rows[l.index]) layer.K.push_back(own.view().row(t)[at + row]);
      for (const uint32_t row : value_rows[l.index]) layer.V.push_back(own.view().row(t)[at + n + row]);
    }
    at += 2 * n;
  }
  return out;
}

}  // namespace

std::shared_ptr<const Adapter> bind_adapters(const Model& model, Compute& compute,
                                             std::span<const AdapterChoice> chosen) {
  std::map<LinearId, Sum> sums;
  std::string name;
  VirtualTokenValues virtual_tokens;
  for (const AdapterChoice& choice : chosen) {
    const std::string own = printable(choice.file->name);
    name += fmt::format("{}{}{}", name.empty() ? "" : " + ", own,
                        choice.scale == 1 ? "" : fmt::format(" x {:g}", choice.scale));
    try {
      if (choice.file->virtual_tokens.n > 0) {
        if (choice.scale != 1 || virtual_tokens.n > 0)
          fail(ErrorKind::kUsage, "virtual tokens can neither be scaled nor added to another adapter's");
        virtual_tokens = bind_virtual_tokens(model, choice.file->virtual_tokens);
        continue;
      }
      Binder(model, compute, choice, sums).bind();
    } catch (const Error& e) {
      fail(e.kind(), "adapter '{}': {}", own, e.what());
    }
  }
  auto adapter = std::make_shared<Adapter>(std::move(name));
  adapter->virtual_tokens = std::move(virtual_tokens);
  std::map<LinearId, const Linear*> linears;
  model.weights().for_each_linear([&](const Linear& linear) { linears[linear.id] = &linear; });
  const ModelParts& parts = model.weights().parts;
  for (const auto& [id, sum] : sums) {
    const TensorRows& where = model.weights().tensors.at(id);
    const size_t rank = sum.A.size() / where.n_in;
    Range rows{0, where.n_out}, columns{0, where.n_in};
    if (parts.is_cut(id) && id.role == Role::kLogits) {  // rank 0 has all logits when this is added
      if (!sum.saved.empty())
        fail(ErrorKind::kUnsupported,
             "adapter '{}': its '{}' is saved whole, and the model's is divided among ranks; run it without mpirun",
             adapter->name, where.name);
      if (parts.shard().rank > 0) continue;
    } else {
      rows = parts.rows(id, where.n_out).value_or(rows);
      columns = parts.columns(id, where.n_in).value_or(columns);
    }
    std::vector<float> gain;
    if (!sum.gain.empty()) gain.assign(&sum.gain[rows.begin], &sum.gain[rows.begin] + rows.n);
    const MatView<const float> A(sum.A.data(), rank, where.n_in), B(sum.B.data(), rank, where.n_out);
    AdapterPart part(A.col_range(columns.begin, columns.n), B.col_range(rows.begin, rows.n), std::move(gain));
    if (!sum.saved.empty()) {
      const MatView<const float> saved(sum.saved.data(), where.n_out, where.n_in);
      part.replace(id, saved.row_range(rows.begin, rows.n).col_range(columns.begin, columns.n),
                   !sum.saved_bias.empty() ? std::span<const float>(sum.saved_bias)
                   : linears.count(id)     ? linears.at(id)->bias()
                                           : std::span<const float>());
    }
    adapter->parts.emplace(id, std::move(part));
  }
  return adapter;
}

}  // namespace hunch
