#include "compress/loftq_file.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "compress/block_walk.h"
#include "compress/compress_matrix.h"
#include "compress/compress_options.h"
#include "compress/input_moments.h"
#include "compress/matrix/loftq.h"
#include "io/gguf.h"
#include "io/low_rank_names.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kWindow = 512;  // tokens that see each other

Matrix values_of(Compute& compute, const Linear& w) {
  Matrix W(w.n_out, w.n_in);
  decode_rows(compute, Values(compute, w).rows(), W.view());
  return W;
}

double squared(const Matrix& A, const Matrix& B) {
  double sum = 0;
  for (size_t i = 0; i < A.values.size(); ++i) sum += std::pow(double(A.values[i]) - B.values[i], 2);
  return sum;
}

class LoftqFile {
 public:
  LoftqFile(const Engine& engine, std::span<const int32_t> ids, const LoftqOptions& options, const Progress& progress,
            LoftqReport& report)
      : engine_(engine), options_(options), progress_(progress), report_(report), compute_(*engine.compute) {
    if (!ids.empty()) walk_.emplace(engine, ids, BlockSample{options.n_tokens, kWindow});
    if (walk_) report.n_tokens = walk_->n_tokens();
    for (const Layer& layer : std::as_const(*engine.model).weights().layers)
      layer.for_each_linear([&](const Linear& w) {
        if (!InputMoments::covers(w.id.role)) return;
        homes_[std::as_const(*engine.model).weights().tensors.at(w.id).stored].push_back(&w);
      });
  }

  std::vector<TensorToWrite> tensors() {
    std::vector<std::pair<size_t, TensorToWrite>> out;
    for (const Tensor& t : engine_.model->file().tensors) {
      report_.bytes_before += t.data.size();
      const auto home = homes_.find(t.name);
      const bool chosen = home != homes_.end() && std::ranges::any_of(home->second, [&](const Linear* w) {
                            return std::ranges::find(options_.roles, w->id.role) != options_.roles.end();
                          });
      if (!chosen) {
        add(out, t.name.starts_with("blk.") ? layer_of(t.name) + 1 : 0,
            {t.name, t.dtype, t.shape, [&t] { return t.data; }});
        continue;
      }
      home->second.size() == 1 ? add_split(out, *home->second[0]) : add_rounded(out, t, home->second);
    }
    std::ranges::stable_sort(out, {}, [](const auto& entry) { return entry.first; });
    std::vector<TensorToWrite> tensors;
    for (auto& [order, tensor] : out) tensors.push_back(std::move(tensor));
    return tensors;
  }

 private:
  using Ordered = std::vector<std::pair<size_t, TensorToWrite>>;

  static size_t layer_of(const std::string& name) { return size_t(std::strtoull(name.c_str() + 4, nullptr, 10)); }

  void add(Ordered& out, size_t order, TensorToWrite w) {
    uint64_t n = 1;
    for (const uint64_t d : w.shape) n *= d;
    report_.bytes += w.shape.empty() ? 0 : n / w.shape.back() * row_bytes(w.dtype, w.shape.back());
    out.emplace_back(order, std::move(w));
  }

  void add_split(Ordered& out, const Linear& w) {
    const TensorRows& where = std::as_const(*engine_.model).weights().tensors.at(w.id);
    const std::string name = where.name.substr(0, where.name.size() - std::string_view(".weight").size());
    const BlockTarget target = fitting(options_.target, w.n_in);
    const size_t rank = std::min({options_.rank, w.n_out, w.n_in}), order = w.id.layer + 1;
    add(out, order, {where.name, target.dtype, {w.n_out, w.n_in}, [this, &w] {
                       return std::span<const std::byte>(split_of(w).base.bytes.bytes());
                     }});
    add(out, order, {low_rank_u(name), options_.pair_type, {w.n_out, rank}, [this] {
                       return std::span<const std::byte>(u_.bytes.bytes());
                     }});
    add(out, order, {low_rank_v(name), options_.pair_type, {rank, w.n_in}, [this] {
                       return std::span<const std::byte>(v_.bytes.bytes());
                     }});
    ++n_matrices_;
  }

  // Several matrices in a tensor, as they stand there.
  void add_rounded(Ordered& out, const Tensor& t, const std::vector<const Linear*>& matrices) {
    const Linear& first = *matrices[0];
    const TensorRows& where = std::as_const(*engine_.model).weights().tensors.at(first.id);
    const BlockTarget target = fitting(options_.target, first.n_in);
    report_.notes.push_back(
        fmt::format("{}: {} matrices in one tensor, rounded without low rank beside them", t.name, matrices.size()));
    std::vector<uint64_t> shape = t.shape;
    if (where.by_input) std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    add(out, first.id.layer + 1, {where.name, target.dtype, std::move(shape), [this, &matrices, target] {
                                    rounded_.clear();
                                    for (const Linear* w : matrices) append(*w, target);
                                    return std::span<const std::byte>(rounded_);
                                  }});
  }

  void append(const Linear& w, const BlockTarget& target) {
    const EncodedMatrix Q = encode_nearest(compute_, values_of(compute_, w), target);
    const size_t first =
        std::as_const(*engine_.model).weights().tensors.at(w.id).first * row_bytes(target.dtype, w.n_in);
    rounded_.resize(std::max(rounded_.size(), first + Q.bytes.size()));
    std::ranges::copy(Q.bytes.bytes(), rounded_.begin() + ptrdiff_t(first));
  }

  const InputMoment* moment_of(const Linear& w) {
    if (!walk_) return nullptr;
    while (n_layers_ <= w.id.layer) {
      walk_->next();
      moments_.emplace(compute_);
      walk_->compute(&*moments_);
      ++n_layers_;
    }
    const InputMoment& seen = moments_->of(w.id);
    return seen.n_tokens > 0 ? &seen : nullptr;
  }

  // Valid until the next call, as are u_ and v_.
  const LoftqSplit& split_of(const Linear& w) {
    compute_.throw_if_stopped();
    const Matrix W = values_of(compute_, w);
    const InputMoment* seen = moment_of(w);
    const BlockTarget target = fitting(options_.target, w.n_in);
    split_ = loftq(compute_, W, target, std::min({options_.rank, w.n_out, w.n_in}), options_.rounds,
                   seen ? &seen->sum : nullptr);
    const BlockTarget pair{options_.pair_type, {}};
    u_ = encode_nearest(compute_, split_.pair.U, pair);
    v_ = encode_nearest(compute_, split_.pair.V, pair);
    note(w, W, target, seen);
    return split_;
  }

  Matrix decoded(const EncodedMatrix& encoded) {
    Matrix out(encoded.rows, encoded.cols);
    decode_rows(compute_, encoded.view(), out.view());
    return out;
  }

  // Errors of what is written.
  void note(const Linear& w, const Matrix& W, const BlockTarget& target, const InputMoment* seen) {
    Matrix sum = multiply_nn(compute_, decoded(u_).view(), decoded(v_).weights());
    const Matrix base = decoded(split_.base);
    for (size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += base.values[i];
    const auto error = [&](const Matrix& got) {
      if (seen) return relative_error(compute_, W, got, seen->sum);
      return std::sqrt(squared(W, got) / std::max(1e-300, squared(W, Matrix(W.rows, W.cols))));
    };
    LoftqRole& role = report_.roles[w.id.role];
    ++role.n_matrices;
    const double n = double(role.n_matrices);
    role.rounded += (error(decoded(encode_nearest(compute_, W, target))) - role.rounded) / n;
    role.error += (error(sum) - role.error) / n;
    role.n_weights += uint64_t{w.n_out} * w.n_in;
    role.bytes_before += w.bytes();
    role.bytes += split_.base.bytes.size() + u_.bytes.size() + v_.bytes.size();
    if (progress_) progress_("loftq", ++n_done_, n_matrices_);
  }

  const Engine& engine_;
  const LoftqOptions& options_;
  const Progress& progress_;
  LoftqReport& report_;
  Compute& compute_;
  std::map<std::string, std::vector<const Linear*>> homes_;  // by tensor of the file
  std::optional<BlockWalk> walk_;
  std::optional<InputMoments> moments_;  // of the layer at hand
  size_t n_layers_ = 0, n_matrices_ = 0, n_done_ = 0;
  LoftqSplit split_;
  EncodedMatrix u_, v_;
  std::vector<std::byte> rounded_;
};

void check(const Engine& engine, std::span<const int32_t> ids, const LoftqOptions& options) {
  if (options.rank == 0) fail(ErrorKind::kUsage, "a rank of 0 (rank): expected 1 or more");
  if (options.rounds == 0) fail(ErrorKind::kUsage, "0 rounds (rounds): expected 1 or more");
  if (options.roles.empty()) fail(ErrorKind::kUsage, "no matrices are named");
  if (!info(options.target.dtype).writes()) fail(ErrorKind::kUsage, "cannot write {}", name_of(options.target.dtype));
  if (!ids.empty() && (ids.size() < kMinCompressTokens || options.n_tokens < kMinCompressTokens))
    fail(ErrorKind::kUsage, "the text has {} tokens, of which {} are asked for; at least {} are needed", ids.size(),
         options.n_tokens, kMinCompressTokens);
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    layer.for_each_linear([&](const Linear& w) {
      if (InputMoments::covers(w.id.role) && !w.made_into().empty())
        fail(ErrorKind::kUnsupported, "{} of layer {} is {}: compress the model that this one was made from",
             name_of(w.id.role), w.id.layer, w.made_into());
    });
}

}  // namespace

LoftqReport compress_loftq(const Engine& engine, std::span<const int32_t> ids, const LoftqOptions& options,
                           const std::filesystem::path& output, const Progress& progress) {
  check(engine, ids, options);
  LoftqReport report;
  LoftqFile file(engine, ids, options, progress, report);
  const std::vector<TensorToWrite> tensors = file.tensors();
  Metadata meta = engine.model->file().meta;
  meta.set("general.file_type", info(options.target.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  meta.set("hunch.loftq.rank", uint64_t{options.rank});
  meta.set("hunch.loftq.rounds", uint64_t{options.rounds});
  meta.set("hunch.loftq.text", options.text_name);
  write_gguf(output, meta, tensors, {}, engine.compute->stop);
  return report;
}

}  // namespace hunch
