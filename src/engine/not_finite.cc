#include "engine/not_finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "engine/context.h"

namespace hunch {
namespace {

class FirstBad : public Observer {
 public:
  explicit FirstBad(size_t n_layer) : n_layer_(n_layer) {}
  void on_residual(size_t layer, MatView<const float> resid) override {
    if (layer == 0) look("the embedding", resid);
    if (layer == n_layer_) look("the last layer", resid);
  }
  void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float> v) override {
    for (const MatView<const float>& m : {q, k, v}) look(layer, "queries, keys or values", m);
  }
  void on_branch(size_t layer, Branch branch, MatView<const float>, MatView<const float> out) override {
    look(layer, branch == Branch::kAttention ? "attention" : "MLP", out);
  }
  void on_final(MatView<const float> final) override { look("the final norm", final); }
  std::string where;  // empty: nowhere before the output projection

 private:
  void look(size_t layer, std::string_view part, MatView<const float> m) {
    look(fmt::format("the {} of layer {}", part, layer), m);
  }
  void look(std::string_view name, MatView<const float> m) {
    for (size_t r = 0; where.empty() && r < m.rows; ++r)
      if (!std::ranges::all_of(m.row(r), [](float x) { return std::isfinite(x); })) where = name;
  }
  size_t n_layer_;
};

}  // namespace

void fail_not_finite(const Engine& engine, std::span<const int32_t> ids, std::string_view what) {
  constexpr size_t kMostRead = 512;
  ids = ids.last(std::min(ids.size(), kMostRead));
  FirstBad bad(engine.config().n_layer);
  ContextOptions dense;
  dense.mode = "dense";
  dense.n_ctx = ids.size() + 1;
  Context context(engine, dense);
  context.batch().transformer().compute_on(nullptr);  // nobody sees what a device computes
  context.set_observer(&bad);
  const std::span<const float> logits = context.append(ids);
  if (bad.where.empty() && std::ranges::all_of(logits, [](float x) { return std::isfinite(x); }))
    fail(ErrorKind::kFormat,
         "{}, not a finite number, though they all are where every weight is read and the cache is f32: take that as "
         "the "
         "type of the cache (kv), and leave out no weights",
         what);
  fail(ErrorKind::kFormat,
       "{}, not a finite number: {} on, the model's numbers are none; a weight there is damaged, or a sum overflows",
       what, bad.where.empty() ? "from the output projection" : "from " + bad.where);
}

}  // namespace hunch
