#include "compress/importance.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "engine/context.h"
#include "linear/linear.h"
#include "model/model.h"

namespace hunch {
namespace {

// Which input a matrix of a layer reads, by its GGUF name ("blk.0.attn_q.weight"), and whose.
struct Place {
  InputPart part;
  size_t layer;
  bool is_stacked = false;  // of all experts
  uint32_t expert = LinearId::kNone;
};

std::optional<Place> place_of(std::string_view name) {
  if (!name.starts_with("blk.") || !name.ends_with(".weight")) return std::nullopt;
  Place place{};
  const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), place.layer);
  if (error != std::errc() || *end != '.') return std::nullopt;
  std::string_view what(end + 1, size_t(name.data() + name.size() - end - 1) - std::string_view(".weight").size());
  const auto drop = [&](std::string_view suffix) {
    const bool found = what.ends_with(suffix);
    if (found) what.remove_suffix(suffix.size());
    return found;
  };
  place.is_stacked = drop("_exps");
  if (!place.is_stacked && drop("_shexp")) place.expert = LinearId::kShared;
  if (what == "attn_q" || what == "attn_k" || what == "attn_v" || what == "attn_qkv") {
    place.part = InputPart::kAttention;
  } else if (what == "attn_output") {
    place.part = InputPart::kHeads;
  } else if (what == "ffn_gate" || what == "ffn_up") {
    place.part = InputPart::kMlp;
  } else if (what == "ffn_down") {
    place.part = InputPart::kNeurons;
  } else {
    return std::nullopt;
  }
  return place;
}

void append(ImportanceMatrix::Entry& entry, const ColumnSquares::Sum* sum) {
  entry.counts.push_back(sum ? float(sum->n_tokens) : 0);
  for (size_t i = 0; i < entry.n_columns; ++i) entry.sums.push_back(sum ? float(sum->squares[i]) : 0);
}

// Sums are checked once, where they are named.
void check_finite(const std::string& name, const ImportanceMatrix::Entry& entry) {
  for (const float v : entry.sums)
    if (!std::isfinite(v))
      fail(ErrorKind::kFormat, "what '{}' reads on this text is not finite; are the weights damaged?", name);
}

ImportanceMatrix named(const Engine& engine, const ColumnSquares& seen) {
  ImportanceMatrix out;
  const auto keep = [&](const Tensor& t, auto&& sums_of) {
    ImportanceMatrix::Entry entry{t.cols(), {}, {}};
    const size_t n = t.shape.size() == 3 ? t.shape[0] : 1;
    bool any = false;
    for (size_t m = 0; m < n; ++m) {
      const ColumnSquares::Sum* sum = sums_of(m);
      any |= sum != nullptr;
      if (sum && sum->squares.size() != entry.n_columns) return;  // a matrix that reads something else
      append(entry, sum);
    }
    if (!any) return;
    check_finite(t.name, entry);
    out.entries.emplace(t.name, std::move(entry));
  };
  for (const Tensor& t : engine.model->file().tensors) {
    if (t.name == "output.weight" && seen.final().n_tokens > 0)
      keep(t, [&](size_t) { return &seen.final(); });
    else if (const std::optional<Place> place = place_of(t.name))
      keep(t, [&](size_t m) {
        return seen.find(place->part, place->layer, place->is_stacked ? uint32_t(m) : place->expert);
      });
  }
  return out;
}

}  // namespace

const ColumnSquares::Sum* ColumnSquares::find(InputPart part, size_t layer, uint32_t expert) const {
  const auto it = sums_.find({part, layer, expert});
  return it == sums_.end() ? nullptr : &it->second;
}

void ColumnSquares::add(Sum& sum, MatView<const float> X) {
  sum.squares.resize(X.cols);
  for (size_t t = 0; t < X.rows; ++t) {
    const float* x = X.data + t * X.row_stride;
    for (size_t i = 0; i < X.cols; ++i) sum.squares[i] += double(x[i]) * x[i];
  }
  sum.n_tokens += X.rows;
}

void ColumnSquares::on_attention_input(size_t layer, MatView<const float> x) {
  add(sums_[{InputPart::kAttention, layer, LinearId::kNone}], x);
}

void ColumnSquares::on_heads(size_t layer, MatView<const float> attn_out) {
  add(sums_[{InputPart::kHeads, layer, LinearId::kNone}], attn_out);
}

void ColumnSquares::on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) {
  add(sums_[{InputPart::kMlp, place.layer, place.expert}], mlp_in);
  add(sums_[{InputPart::kNeurons, place.layer, place.expert}], ff_act);
}

void ColumnSquares::on_final(MatView<const float> final) { add(final_, final); }

ImportanceMatrix measure_importance(const Engine& engine, std::span<const int32_t> ids,
                                    const ImportanceOptions& options, const Progress& progress) {
  const size_t n_ctx = options.n_ctx;
  if (options.n_tokens) ids = ids.first(std::min(ids.size(), options.n_tokens));
  const size_t n_chunks = n_ctx ? ids.size() / n_ctx : 0;
  if (n_chunks == 0)
    fail(ErrorKind::kUsage,
         "a text of {} tokens is shorter than a window of {}; {} is the longest window (n_ctx) that it fills",
         ids.size(), n_ctx, ids.size());
  ContextOptions sized;
  sized.n_ctx = n_ctx;
  sized.mode = "dense";
  Context context(engine, sized);
  ColumnSquares seen;
  context.set_observer(&seen);
  for (size_t c = 0; c < n_chunks; ++c) {
    context.truncate(0);
    // Logits of all positions: the output projection reads each of them.
    context.append_all(ids.subspan(c * n_ctx, n_ctx), [](size_t, MatView<const float>) {});
    if (progress) progress("reading", c + 1, n_chunks);
  }
  ImportanceMatrix out = named(engine, seen);
  out.texts = {options.text_name};
  out.n_chunks = uint32_t(n_chunks);
  out.chunk_tokens = uint32_t(n_ctx);
  return out;
}

}  // namespace hunch
