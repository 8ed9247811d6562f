#include "compress/merge_adapter.h"

#include <algorithm>

#include "base/error.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "model/norm_names.h"

namespace hunch {
namespace {

// A matrix within a tensor, and what is added to it.
struct Change {
  const TensorRows* where;
  const AdapterPart* part;
};

class Merger {
 public:
  Merger(const Model& model, const Adapter& adapter, Compute& compute)
      : model_(model), adapter_(adapter), compute_(compute) {}

  std::vector<TensorToWrite> plan() {
    std::vector<TensorToWrite> out;
    for (const Tensor& t : model_.file().tensors) {
      std::vector<float> bias = replaced_bias(t);
      out.push_back(plan(t.name, t, changes_of(t)));
      if (bias.empty()) continue;
      out.back() = {t.name, DType::kF32, t.shape, [bias = std::move(bias)] { return std::as_bytes(std::span(bias)); }};
      ++report.n_changed;
    }
    // The output has the embedding's weights as they were.
    constexpr LinearId kOutput{.role = Role::kLogits}, kEmbedding{.role = Role::kEmbedding};
    const TensorRows& output = model_.weights().tensors.at(kOutput);
    const AdapterPart* own = adapter_.find(kOutput);
    if (output.name != output.stored && (own || adapter_.find(kEmbedding)))
      out.push_back(plan(output.name, model_.file().get(output.stored),
                         own ? std::vector<Change>{{&output, own}} : std::vector<Change>()));
    report.n_tensors = out.size();
    return out;
  }

  MergeReport report;

 private:
  // This bias with the parts that an adapter replaces, as IA3 does: those of queries and keys, say, where a file has
  // one for queries, keys and values. Empty where it replaces none.
  std::vector<float> replaced_bias(const Tensor& t) const {
    std::vector<float> bias;
    for (const auto& [id, part] : adapter_.parts) {
      const TensorRows& where = model_.weights().tensors.at(id);
      if (!part.replacement() || part.replacement()->bias().empty() || t.name != bias_name(where.name)) continue;
      const std::span<const float> replaced = part.replacement()->bias();
      HUNCH_CHECK(where.first + replaced.size() <= t.n_elems(), "'{}' has {} numbers, not {}", t.name, t.n_elems(),
                  where.first + replaced.size());
      if (bias.empty()) {
        bias.resize(t.n_elems());
        codec(t.dtype).decode(t.data.data(), bias.data(), bias.size());
      }
      std::ranges::copy(replaced, bias.begin() + std::ptrdiff_t(where.first));
    }
    return bias;
  }

  std::vector<Change> changes_of(const Tensor& t) const {
    std::vector<Change> changes;
    for (const auto& [id, part] : adapter_.parts) {
      const TensorRows& where = model_.weights().tensors.at(id);
      if (where.stored.empty())
        fail(ErrorKind::kUnsupported,
             "'{}' is a product of two matrices in this file, or stands there without its zeros; an adapter cannot be "
             "merged into it: expected the model as it was before `hunch compress`, or what `hunch convert --type` "
             "makes "
             "of a pruned one",
             where.name);
      const bool tied = id.role == Role::kLogits && where.name != where.stored;
      if (where.stored == t.name && !tied) changes.push_back({&where, &part});
    }
    return changes;
  }

  TensorToWrite plan(const std::string& name, const Tensor& t, std::vector<Change> changes) {
    TensorToWrite w{name, t.dtype, t.shape, {}};
    if (changes.empty()) {
      w.produce = [&t] { return t.data; };
      return w;
    }
    ++report.n_changed;
    if (!info(t.dtype).writes()) {
      w.dtype = DType::kQ8_0;
      report.notes.push_back(
          fmt::format("{}: hunch does not write {}, written as {}", name, name_of(t.dtype), name_of(w.dtype)));
    } else if (info(t.dtype).block_elems > 1 && !noted_rounding_) {
      noted_rounding_ = true;
      report.notes.push_back(
          fmt::format("{} matrices are decoded, changed and rounded to {} again, which loses a "
                      "little: merging into f16 and quantising then is better",
                      name_of(t.dtype), name_of(t.dtype)));
    }
    w.produce = [this, &t, dtype = w.dtype, changes = std::move(changes)] { return encode(t, dtype, changes); };
    return w;
  }

  // Rows in parallel. The result lives until the next call.
  std::span<const std::byte> encode(const Tensor& t, DType dtype, std::span<const Change> changes) {
    const WeightView W = t.view();
    const size_t stride = row_bytes(dtype, W.cols);
    const std::span<std::byte> out = buffer_.get<std::byte>(W.rows * stride);
    compute_.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
      compute_.throw_if_stopped();
      std::vector<float> row(W.cols);
      for (size_t r = begin; r < end; ++r) {
        codec(t.dtype).decode(W.row(r), row.data(), row.size());
        for (const Change& c : changes) {
          if (c.where->by_input) {
            const size_t first = c.where->first_input();
            if (r >= first && r < first + c.where->n_in) c.part->fold_column(r - first, row);
          } else if (r >= c.where->first && r < c.where->first + c.where->n_out) {
            c.part->fold_row(r - c.where->first, row);
          }
        }
        codec(dtype).encode(row.data(), out.data() + r * stride, row.size());
      }
    });
    return out;
  }

  const Model& model_;
  const Adapter& adapter_;
  Compute& compute_;
  bool noted_rounding_ = false;
  Scratch buffer_;
};

}  // namespace

MergeReport merge_adapter(const Model& model, const Adapter& adapter, const std::filesystem::path& output,
                          Compute& compute, const Progress& progress) {
  if (adapter.virtual_tokens.n > 0)
    fail(ErrorKind::kUnsupported,
         "'{}' has virtual tokens, which are no part of any weights: give it by --lora whenever the model is used",
         adapter.name);
  Merger merger(model, adapter, compute);
  write_gguf(output, model.file().meta, merger.plan(), progress, compute.stop);
  return merger.report;
}

}  // namespace hunch
