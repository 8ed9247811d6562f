#include "model/peft_names.h"

#include <algorithm>

#include "base/error.h"
#include "model/hf_trace.h"

namespace hunch {

std::string PeftNames::module(size_t layer, Role role) const {
  const auto name = [&]() -> const char* {
    switch (role) {
      case Role::kQuery: return q;
      case Role::kKey: return k;
      case Role::kValue: return v;
      case Role::kHeads: return o;
      case Role::kGate: return gate;
      case Role::kUp: return up;
      case Role::kDown: return down;
      default: return "";
    }
  }();
  return *name ? fmt::format("{}{}.{}", layers, layer, name) : "";
}

std::vector<std::vector<uint32_t>> checkpoint_rows(const Model& model, Role role) {
  const size_t n_layer = model.config().n_layer;
  for (const PeftNames& names : kPeftNames) {
    std::vector<NamedRows> named;
    for (size_t l = 0; l < n_layer; ++l)
      named.push_back(
          {names.module(l, role) + ".weight", model.weights().tensors.at({uint32_t(l), role}).n_out, false});
    const RowTrace trace = trace_hf_rows(model.file().meta, model.config(), named);
    if (!trace.unknown.empty()) continue;
    std::vector<std::vector<uint32_t>> rows(n_layer);
    for (size_t l = 0; l < n_layer; ++l) {
      const TensorRows& where = model.weights().tensors.at({uint32_t(l), role});
      const auto found = trace.tensors.find(where.name);
      if (found == trace.tensors.end() || found->second.size() < where.first + where.n_out) continue;
      for (const RowOrigin& from : std::span(found->second).subspan(where.first, where.n_out))
        if (from.matrix == l && from.factor == 1) rows[l].push_back(from.row);
    }
    if (std::ranges::all_of(rows, [&](const auto& r) { return r.size() == named[size_t(&r - rows.data())].n_rows; }))
      return rows;
  }
  fail(ErrorKind::kUnsupported, "hunch does not know where checkpoints of {} have the rows of these matrices",
       model.config().arch);
}

}  // namespace hunch
