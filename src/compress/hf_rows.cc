#include "compress/hf_rows.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "io/printable.h"
#include "linear/values.h"

namespace hunch {
namespace {

const Tensor* find(const HfFolder& folder, const std::string& name) {
  const auto found = std::ranges::find(folder.tensors, name, &Tensor::name);
  return found == folder.tensors.end() ? nullptr : &*found;
}

std::vector<float> row_of(const Tensor& t, size_t row) {
  std::vector<float> values(t.cols());
  codec(t.dtype).decode(t.data.data() + row * row_bytes(t.dtype, t.cols()), values.data(), values.size());
  return values;
}

// Of a matrix of plain elements, as the down projections that are stored by neuron.
float element(const WeightView& W, size_t row, size_t col) {
  float value;
  codec(W.dtype).decode(W.row(row) + col * info(W.dtype).block_bytes, &value, 1);
  return value;
}

std::vector<float> vector_of(const Tensor& t) {
  std::vector<float> values(t.n_elems());
  codec(t.dtype).decode(t.data.data(), values.data(), values.size());
  return values;
}

}  // namespace

HfRows::HfRows(const Engine& engine, const HfFolder& folder, const std::function<bool(const LinearId&)>& chooses)
    : engine_(engine), folder_(folder) {
  for (const Tensor& t : folder.tensors)
    if (t.shape.size() <= 2 && !t.shape.empty() && info(t.dtype).is_float()) {
      named_.push_back({t.name, t.shape[0]});
      stored_.push_back(&t);
    }
  trace_ = trace_hf_rows(engine.model->file().meta, engine.config(), named_);
  const ModelWeights& weights = std::as_const(*engine.model).weights();
  std::set<std::string> others;
  for (const Layer& layer : weights.layers)
    layer.for_each_linear([&](const Linear& linear) {
      const auto where = weights.tensors.find(linear.id);
      const auto rows = where == weights.tensors.end() ? trace_.tensors.end() : trace_.tensors.find(where->second.name);
      if (chooses(linear.id)) {
        if (rows == trace_.tensors.end())
          fail(ErrorKind::kUnsupported,
               "{} of layer {} is no matrix of this checkpoint by itself: no layout of quantised folders has it",
               name_of(linear.id.role), linear.id.layer);
        place(linear.id, where->second);
      } else if (rows != trace_.tensors.end()) {
        const RowOrigin& origin = rows->second[where->second.first];
        if (origin.factor != 0) others.insert(named_[origin.matrix].name);
      }
    });
  for (const auto& [name, rows] : matrices_) {
    const auto is_placed = [](const ModelRow& row) { return row.id.layer != LinearId::kNone; };
    if (!std::ranges::all_of(rows, is_placed))
      fail(ErrorKind::kUnsupported, "'{}' holds other matrices too, which are not chosen: choose all of them",
           printable(name));
    others.erase(name);
  }
  check_values();
  for (const std::string& name : others)
    others_.push_back(name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name);
}

void HfRows::place(const LinearId& id, const TensorRows& where) {
  const std::vector<RowOrigin>& origins = trace_.tensors.at(where.name);
  for (size_t r = 0; r < where.n_out; ++r) {
    const RowOrigin origin = where.first + r < origins.size() ? origins[where.first + r] : RowOrigin();
    const Tensor* t = origin.factor == 1 ? stored_[origin.matrix] : nullptr;
    if (!t || t->shape.size() != 2 || t->cols() != where.n_in || !t->name.ends_with(".weight"))
      fail(ErrorKind::kUnsupported,
           "{} of layer {} is stored otherwise than as [{}, {}] in this checkpoint: it cannot be written as a "
           "quantised folder",
           name_of(id.role), id.layer, where.n_out, where.n_in);
    std::vector<ModelRow>& rows = matrices_[t->name];
    if (rows.empty()) rows.assign(t->shape[0], {});
    rows[origin.row] = {id, uint32_t(r)};
  }
}

// The first, a middle and the last row are what the model has: the import turned nothing.
void HfRows::check_values() const {
  std::map<LinearId, const Linear*> linears;
  for (const Layer& layer : std::as_const(*engine_.model).weights().layers)
    layer.for_each_linear([&](const Linear& linear) { linears[linear.id] = &linear; });
  for (const auto& [name, rows] : matrices_) {
    const Tensor& stored = *find(folder_, name);
    for (size_t r = 0; r < rows.size(); ++r) {
      const Linear& linear = *linears.at(rows[r].id);
      const size_t row = rows[r].row;
      if (row != 0 && row != linear.n_out / 2 && row + 1 != linear.n_out) continue;
      std::vector<float> own(linear.n_in);
      const WeightView by_input = linear.rows() ? WeightView() : linear.by_input();
      if (by_input) {
        for (size_t i = 0; i < own.size(); ++i) own[i] = element(by_input, i, row);
      } else {
        decode_rows(*engine_.compute, linear.rows().row_range(row, 1), {own.data(), 1, own.size()});
      }
      if (own != row_of(stored, r))
        fail(ErrorKind::kUnsupported,
             "'{}' is stored otherwise in this checkpoint than as [outputs, inputs]: it cannot be written as a "
             "quantised folder",
             printable(name));
    }
  }
}

std::vector<HfRows::Number> HfRows::numbers(const std::string& tensor) const {
  const auto rows = trace_.tensors.find(tensor);
  const Tensor* own = engine_.model->file().find(tensor);
  const auto unknown = [&] {
    fail(ErrorKind::kUnsupported, "'{}' is not in this checkpoint as it is: what scales change of it cannot be written",
         printable(tensor));
  };
  if (rows == trace_.tensors.end() || !own || rows->second.size() != own->n_elems()) unknown();
  const std::vector<float> here = vector_of(*own);
  std::vector<Number> out;
  std::map<uint32_t, std::vector<float>> stored;  // by the number of the checkpoint's tensor
  for (size_t i = 0; i < here.size(); ++i) {
    const RowOrigin& origin = rows->second[i];
    if (origin.factor != 1) unknown();
    std::vector<float>& there = stored[origin.matrix];
    const std::string& name = named_[origin.matrix].name;
    if (there.empty()) there = vector_of(*stored_[origin.matrix]);
    out.push_back({name, origin.row, std::abs(here[i] - there[origin.row]) < 0.5f ? 0.0f : 1.0f});
  }
  return out;
}

}  // namespace hunch
