#include "engine/place_weights.h"

#include <algorithm>

#include "formats/strip_shape.h"

namespace hunch {
namespace {

// Rows of a view in groups of a strip each, as products hand them out.
size_t n_groups(const WeightView& W) { return (W.rows + kStripRows - 1) / kStripRows; }

std::span<const std::byte> bytes_of(const WeightView& W, size_t first, size_t end) {
  if (W.strips) return {W.strips + first * W.strip_stride_bytes, (end - first) * W.strip_stride_bytes};
  const size_t rows = std::min(end * kStripRows, W.rows) - first * kStripRows;
  return {W.data + first * kStripRows * W.row_stride_bytes, rows * W.row_stride_bytes};
}

class Homes {
 public:
  explicit Homes(const ThreadPlaces& places) : places_(places) {}

  // Multiplied in one loop.
  void add(std::initializer_list<const Linear*> together) {
    std::vector<WeightView> views;
    for (const Linear* linear : together) {
      if (!linear) continue;
      if (const WeightView W = linear->factor(Axis::kOut).rows()) views.push_back(W);
      if (const WeightView W = linear->factor(Axis::kIn).by_input()) divide({&W, 1});
    }
    divide(views);
  }
  void add_on_all(const Linear* linear) {
    if (!linear) return;
    for (const WeightView& W : {linear->factor(Axis::kOut).rows(), linear->factor(Axis::kIn).by_input()})
      if (W) homes.push_back({bytes_of(W, 0, n_groups(W)), PageHome::kAll});
  }

  std::vector<PageHome> homes;

 private:
  void divide(std::span<const WeightView> views) {
    size_t n = 0;
    for (const WeightView& W : views) n += n_groups(W);
    const std::vector<NodePart> parts = node_parts(places_, n, 1);
    for (size_t node = 0; node < parts.size(); ++node) {
      size_t first = 0;  // the view's first group
      for (const WeightView& W : views) {
        const size_t from = std::max(parts[node].begin, first), to = std::min(parts[node].end, first + n_groups(W));
        if (from < to) homes.push_back({bytes_of(W, from - first, to - first), node});
        first += n_groups(W);
      }
    }
  }

  const ThreadPlaces& places_;
};

}  // namespace

std::vector<PageHome> page_homes(const ModelWeights& w, const Plan& plan, const ThreadPlaces& places) {
  Homes all(places);
  for (const Layer& l : w.layers) {
    const Attention& a = l.attention;
    all.add({a.q.get(), a.k.get(), a.v.get()});
    all.add({a.o.get()});
    const auto has = [&](Point point) { return bool(plan.at(l.config.index, point).selector); };
    if (has(Point::kLive) || has(Point::kNeurons)) {  // the gate tells which rows of up are read
      all.add({l.mlp.gate.get()});
      all.add({l.mlp.up.get()});
    } else {
      all.add({l.mlp.gate.get(), l.mlp.up.get()});
    }
    all.add({l.mlp.down.get()});
    for (const Mlp& m : l.experts.experts)
      for (const auto* linear : {&m.gate, &m.up, &m.down}) all.add_on_all(linear->get());
  }
  all.add({w.output.get()});
  return std::move(all.homes);
}

size_t PlacedPages::place(std::span<const PageHome> homes, const ThreadPlaces& places) {
  const std::lock_guard lock(mutex_);
  size_t n_new = 0;
  for (const PageHome& home : homes) {
    if (!begun_.insert(home.bytes.data()).second) continue;
    ++n_new;
    if (home.node == PageHome::kAll) {
      interleave_pages(home.bytes, places.ids);
    } else {
      move_pages(home.bytes, places.ids[home.node]);
    }
  }
  return n_new;
}

}  // namespace hunch
