// Tensors as the matrices and vectors that blocks want, in the forms that compute them.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "formats/format.h"
#include "io/int8_tensor.h"
#include "linear/corrected.h"
#include "linear/int8.h"
#include "linear/low_rank.h"
#include "linear/ordered.h"
#include "linear/rotated.h"
#include "linear/sparse.h"
#include "linear/stored.h"
#include "linear/ternary.h"
#include "model/weight_loader.h"

namespace hunch {

void WeightLoader::check_dims(const Tensor& t, const std::vector<uint64_t>& expected) {
  // A vector of n may be stored as [1, n], a matrix with outer ones.
  std::vector<uint64_t> found = t.shape;
  while (found.size() > expected.size() && found.front() == 1) found.erase(found.begin());
  if (found != expected)
    fail(ErrorKind::kFormat, "tensor '{}': expected shape [{}], the file has [{}]", t.name, fmt::join(expected, ", "),
         fmt::join(t.shape, ", "));
}

void WeightLoader::check_shape(const Tensor& t, const std::vector<uint64_t>& expected) {
  check_dims(t, expected);
  if (!info(t.dtype).computes())
    fail(ErrorKind::kUnsupported, "tensor '{}' is {}, which hunch does not compute with; weights may be {}", t.name,
         name_of(t.dtype), types_of_weights());
}

WeightView WeightLoader::matrix(const std::string& name, size_t rows, size_t cols) {
  const Tensor& t = file_.get(name);
  check_shape(t, {rows, cols});
  return t.view();
}

void WeightLoader::check_weights(const Tensor& t, const std::vector<uint64_t>& expected) {
  is_int8(file_, t) ? check_dims(t, expected) : check_shape(t, expected);
}

WeightView WeightLoader::weights(const std::string& name, size_t rows, size_t cols) {
  const Tensor& t = file_.get(name);
  check_weights(t, {rows, cols});
  return t.view();
}

Vector WeightLoader::vector(const std::string& name, size_t n) {
  const Tensor& t = file_.get(name);
  if (t.n_elems() != n) check_shape(t, {n});
  if (!info(t.dtype).computes()) check_shape(t, {n});
  Vector values(n);
  codec(t.dtype).decode(t.data.data(), values.data(), n);
  return values;
}

NormWeights WeightLoader::norm(const std::string& name, size_t n, bool required) {
  if (required && !file_.find(name + ".weight")) file_.get(name + ".weight");  // throws, naming it
  return {optional_vector(name + ".weight", n), optional_vector(name + ".bias", n)};
}

std::unique_ptr<Linear> WeightLoader::stored(LinearId id, TensorRows where, WeightView W, Vector bias) {
  where.n_out = W.rows;
  where.n_in = W.cols;
  if (W.dtype == DType::kI8) {
    require_whole(id, where.stored, "as int8");
    w_.tensors[id] = where;
    return int8(id, where, W, std::move(bias));
  }
  const auto order = forms_.orders.find(where.stored);
  const bool ordered = order != forms_.orders.end(), rotated = forms_.rotated.contains(where.stored);
  if (ordered) require_whole(id, where.stored, "with its inputs in another order");
  if (rotated) require_whole(id, where.stored, "for rotated inputs");
  cut(id, where.name, W, bias);
  if (ordered || rotated) where.stored.clear();
  w_.tensors[id] = std::move(where);
  auto matrix = std::make_unique<Stored>(id, W, WeightView(), std::move(bias), *w_.layouts);
  if (ordered) return std::make_unique<Ordered>(std::move(matrix), order->second);
  if (rotated) return std::make_unique<Rotated>(std::move(matrix));
  return matrix;
}

std::unique_ptr<Linear> WeightLoader::int8(LinearId id, const TensorRows& where, WeightView W, Vector bias) {
  const Tensor& t = file_.get(where.stored);
  const Int8Tensor tensor(file_, t);
  Int8::Parts parts{W, Vector(W.rows), tensor.input_scale(where.first), tensor.outliers()};
  for (size_t r = 0; r < W.rows; ++r) parts.scale[r] = tensor.scale(where.first + r);
  if (!parts.outliers.empty()) parts.outlier_weight = tensor.outlier_weight().row_range(where.first, W.rows);
  auto matrix = std::make_unique<Int8>(id, compute_, parts, std::move(bias), t.name);
  const auto holds_it = [&](std::span<const std::byte> map) {
    return W.data >= map.data() && W.data < map.data() + map.size();
  };
  if (std::ranges::any_of(file_.maps, holds_it)) MappedFile::release({W.data, W.rows * W.row_stride_bytes});
  return matrix;
}

WeightLoader::Factors WeightLoader::factors(const std::string& name, std::vector<uint64_t> outer, size_t n_out,
                                            size_t n_in) {
  const Tensor &U = file_.get(low_rank_u(name)), &V = file_.get(low_rank_v(name));
  const size_t rank = U.cols();
  const auto shape = [&](size_t rows, size_t cols) {
    std::vector<uint64_t> all = outer;
    all.insert(all.end(), {rows, cols});
    return all;
  };
  check_shape(U, shape(n_out, rank));
  check_shape(V, shape(rank, n_in));
  return {U.view(), V.view(), rank};
}

std::unique_ptr<Linear> WeightLoader::low_rank(LinearId id, const std::string& name, const WeightView& U,
                                               const WeightView& V, Vector bias) {
  require_whole(id, name, "as a product of two");
  auto matrix = std::make_unique<LowRank>(id, stored(id, {}, U, std::move(bias)), stored(id, {}, V));
  w_.tensors[id] = {name + ".weight", "", 0, U.rows, V.cols};
  return matrix;
}

std::unique_ptr<Linear> WeightLoader::linear(LinearId id, const std::string& name, size_t rows, size_t cols,
                                             bool required) {
  const std::string weight = name + ".weight";
  if (file_.find(low_rank_u(name))) {
    const Factors f = factors(name, {}, rows, cols);
    if (!file_.find(weight)) return low_rank(id, name, f.U, f.V, optional_vector(name + ".bias", rows));
    auto pair = low_rank(id, name, f.U, f.V);  // what the rounded matrix beside it lost
    return std::make_unique<Corrected>(
        stored(id, tensor(weight), matrix(weight, rows, cols), optional_vector(name + ".bias", rows)), std::move(pair));
  }
  if (has_sparse(file_, name))
    return sparse(id, sparse_tensor(name, {rows, cols}), 0, rows, optional_vector(name + ".bias", rows));
  if (!required && !file_.find(name + ".weight")) return nullptr;
  if (ternary_scale(file_, file_.get(weight))) return ternary(id, name, rows, cols);
  return stored(id, tensor(weight), weights(weight, rows, cols), optional_vector(name + ".bias", rows));
}

SparseTensor WeightLoader::sparse_tensor(const std::string& name, const std::vector<uint64_t>& shape) {
  SparseTensor t = read_sparse(file_, name);
  if (t.shape != shape)
    fail(ErrorKind::kFormat, "tensor '{}': expected the mask of [{}], the file has that of [{}]", sparse_mask(name),
         fmt::join(shape, ", "), fmt::join(t.shape, ", "));
  return t;
}

std::unique_ptr<Linear> WeightLoader::sparse(LinearId id, const SparseTensor& tensor, size_t first, size_t n_out,
                                             Vector bias) {
  require_whole(id, tensor.name, "without its zeros");
  const SparseRows W = tensor.part(first, n_out);
  w_.tensors[id] = {tensor.name, "", 0, n_out, W.cols};
  auto matrix = std::make_unique<Sparse>(id, compute_, W, std::move(bias));
  // The kernels read their own copy; what else of these pages is read comes from the file again.
  for (const auto data : tensor.data)
    for (const auto map : file_.maps)
      if (data.data() >= map.data() && data.data() < map.data() + map.size()) MappedFile::release(data);
  return matrix;
}

std::unique_ptr<Linear> WeightLoader::ternary(LinearId id, const std::string& name, size_t rows, size_t cols) {
  TensorRows where = tensor(name + ".weight");
  require_whole(id, where.name, "as -1, 0 and 1");
  const Tensor& t = file_.get(where.name);
  check_dims(t, {rows, cols});
  where.n_out = rows;
  where.n_in = cols;
  w_.tensors[id] = std::move(where);
  const Vector scale = vector(name + ".scale", 1);
  const bool skips = id.role == Role::kDown && is_relu_family(c_.activation);
  if (skips) w_.down_layout = DownLayout::kTransposed;
  return std::make_unique<Ternary>(
      id, compute_, t.view(), optional_vector(name + ".bias", rows),
      Ternary::Options{.scale = scale[0], .round_inputs = c_.round_inputs, .by_input = skips}, t.name);
}

std::vector<std::unique_ptr<Linear>> WeightLoader::by_head(LinearId id, const std::string& name, size_t n, size_t rows,
                                                           size_t cols) {
  const Tensor& t = file_.get(name);
  check_shape(t, {n, rows, cols});
  std::vector<std::unique_ptr<Linear>> heads;
  for (id.expert = 0; id.expert < n; ++id.expert)
    heads.push_back(stored(id, tensor(name, id.expert * rows), t.view().row_range(id.expert * rows, rows)));
  return heads;
}

}  // namespace hunch
