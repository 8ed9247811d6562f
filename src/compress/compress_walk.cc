#include "compress/compress_walk.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory_info.h"
#include "kernels/hadamard.h"
#include "linear/rotated.h"
#include "linear/stored.h"
#include "linear/values.h"
#include "model/norm_names.h"

namespace hunch {
namespace {

constexpr size_t kWindowTokens = 512;  // that see each other
constexpr size_t kScaleTokens = 1024;  // that AWQ's scales are tried on
constexpr size_t kInt8Tokens = 512;    // that rounding of inputs is tried on

void rotate_rows(Compute& compute, Matrix& W) {
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) hadamard(W.row(r), hadamard_block(W.cols));
  });
}

// Of H x: the moment becomes H M H.
InputMoment rotated_inputs(Compute& compute, const InputMoment& moment) {
  InputMoment rotated{.sum = moment.sum, .n_tokens = moment.n_tokens};
  rotate_rows(compute, rotated.sum);
  rotated.sum = transpose(compute, std::as_const(rotated.sum).view());
  rotate_rows(compute, rotated.sum);
  return rotated;
}

void divide(Vector& values, std::span<const float> s) {
  for (size_t i = 0; i < values.size(); ++i) values[i] /= s[i];
}

}  // namespace

CompressWalk::CompressWalk(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
                           const Progress& progress)
    : engine_(engine), options_(options), progress_(progress), walk_(engine, ids, {options.n_tokens, kWindowTokens}) {
  if (options.methods.rounder == Rounder::kLlmInt8)
    outliers_ = OutlierInputs(engine, ids, {options.n_tokens, kWindowTokens}, options.outliers_from);
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    n_matrices_ += slots(layer.config.index).size();
  check_memory();
  if (!options.finished.empty()) resume(ids);
}

// Goes on behind the layers that an interrupted call has finished.
void CompressWalk::resume(std::span<const int32_t> ids) {
  store_.emplace(options_.finished, compress_key(engine_.model->file(), ids, options_));
  const CompressStore::Finished before = store_->finished(walk_.n_tokens() * engine_.config().n_embd);
  if (before.n_layers == 0 || before.n_layers > engine_.config().n_layer) return;
  n_stored_ = before.n_layers;
  walk_.go_on_behind(n_stored_ - 1, before.stream);
}

bool CompressWalk::chooses(Role role) const {
  return InputMoments::covers(role) && std::ranges::find(options_.roles, role) != options_.roles.end();
}

bool CompressWalk::rotates(Role role) const {
  return chooses(role) && std::ranges::find(options_.rotated, role) != options_.rotated.end();
}

BlockTarget CompressWalk::target_of(const TensorRows& where) const {
  const auto own = options_.types.find(where.stored);
  return fitting(own == options_.types.end() ? options_.target : BlockTarget{own->second, {}}, where.n_in);
}

std::vector<std::unique_ptr<Linear>*> CompressWalk::slots(size_t layer) const {
  std::vector<std::unique_ptr<Linear>*> found;
  engine_.model->weights().layers[layer].for_each_linear([&](std::unique_ptr<Linear>& linear) {
    if (chooses(linear->id.role)) found.push_back(&linear);
  });
  return found;
}

// One layer's moments and results, the largest matrix four times in f32, and its inputs' Hessian inverted in double
// precision.
void CompressWalk::check_memory() const {
  uint64_t moments = 0, matrix = 0, results = 0;
  for (const Layer& layer : std::as_const(*engine_.model).weights().layers) {
    moments = std::max(moments, InputMoments::bytes_needed(layer, sample()));
    uint64_t all = 0;
    layer.for_each_linear([&](const Linear& w) {
      if (!chooses(w.id.role)) return;
      const uint64_t size = uint64_t{w.n_out} * w.n_in, square = uint64_t{w.n_in} * w.n_in;
      matrix = std::max(matrix, 4 * sizeof(float) * size + (2 * sizeof(double) + sizeof(float)) * square);
      all += size * info(options_.target.dtype).block_bytes / info(options_.target.dtype).block_elems;
    });
    results = std::max(results, all);
  }
  require_memory(moments + matrix + results, "compressing a layer", "fewer matrices at a time (--only) take less");
}

const CompressResult& CompressWalk::layer(size_t layer) {
  while (n_layers_done_ <= layer) compress_next();
  HUNCH_CHECK(layer + 1 == n_layers_done_, "layer {} is asked for after layer {}", layer, n_layers_done_ - 1);
  return result_;
}

void CompressWalk::compress_next() {
  result_ = {};
  if (n_layers_done_ < n_stored_) {
    std::optional<CompressResult> stored = store_->load(n_layers_done_++);
    if (!stored) fail(ErrorKind::kIo, "a finished layer in '{}' is gone", options_.finished.string());
    result_ = std::move(*stored);
    n_done_ += result_.matrices.size();
    return;
  }
  walk_.next();
  for (NormWeights& norm : norms_) norm = {};
  {
    InputMoments moments(*engine_.compute, sample());
    walk_.compute(&moments);
    const LayerScaling scaling = search_scales(moments);
    fold(scaling);
    InverseCache inverses(*engine_.compute, options_);
    for (const auto* slot : slots(walk_.layer())) compress(**slot, moments.of((*slot)->id), scaling, inverses);
  }
  ++n_layers_done_;
  if (!options_.dense_inputs && n_layers_done_ < engine_.config().n_layer) leave_compressed();
  if (store_) store_->save(walk_.layer(), result_, walk_.left());
}

InputMoments::Sample CompressWalk::sample() const {
  if (!rounds_inputs(options_.methods.rounder)) return {};
  return {std::max<size_t>(1, walk_.n_tokens() / kInt8Tokens), kInt8Tokens, options_.methods.pruner != Pruner::kNone};
}

LayerScaling CompressWalk::search_scales(const InputMoments& moments) {
  if (options_.methods.rounder == Rounder::kSmoothQuant)
    return search_smoothing(*engine_.compute, engine_.model->weights().layers[walk_.layer()], moments, options_.int8,
                            options_.alpha);
  if (options_.methods.rounder != Rounder::kAwq) return {};
  const size_t n = std::min(walk_.n_windows(), std::max<size_t>(1, kScaleTokens / walk_.n_window()));
  std::vector<size_t> windows;
  for (size_t i = 0; i < n; ++i) windows.push_back(i * walk_.n_windows() / n);
  const AwqRounding rounding{[&](std::span<float> w) { round_in_place(fitting(options_.target, w.size()), w); }, false,
                             0};
  LayerScaling scaling = search_layer_scaling(engine_, walk_, windows, moments, rounding);
  // Matrices that are not chosen keep their inputs.
  const auto all_chosen = [&](std::initializer_list<Role> roles) {
    return std::ranges::all_of(roles, [&](Role role) { return chooses(role); });
  };
  HUNCH_CHECK(all_chosen({Role::kQuery, Role::kKey, Role::kValue, Role::kHeads, Role::kUp, Role::kDown}));
  return scaling;
}

void CompressWalk::fold(const LayerScaling& scaling) {
  const Layer& layer = std::as_const(*engine_.model).weights().layers[walk_.layer()];
  for (const bool attention : {true, false}) {
    const std::vector<float>& s = attention ? scaling.attn_norm : scaling.ffn_norm;
    if (s.empty()) continue;
    NormWeights& norm = norms_[attention ? 0 : 1];
    norm = attention ? layer.attn_norm : layer.ffn_norm;
    divide(norm.weight, s);
    divide(norm.bias, s);
    const std::string name = norm_name(engine_.model->file(), walk_.layer(), attention);
    result_.vectors.push_back({name + ".weight", 0, {norm.weight.begin(), norm.weight.end()}});
    if (!norm.bias.empty()) result_.vectors.push_back({name + ".bias", 0, {norm.bias.begin(), norm.bias.end()}});
  }
}

void CompressWalk::compress(const Linear& matrix, const InputMoment& moment, const LayerScaling& scaling,
                            InverseCache& inverses) {
  Compute& compute = *engine_.compute;
  compute.throw_if_stopped();
  const LinearId id = matrix.id;
  Matrix W(matrix.n_out, matrix.n_in);
  decode_rows(compute, Values(compute, matrix).rows(), W.view());
  const BlockTarget target = target_of(std::as_const(*engine_.model).weights().tensors.at(matrix.id));
  std::vector<float> bias(matrix.bias().begin(), matrix.bias().end());
  const bool is_own = id.expert == LinearId::kNone;
  if (options_.methods.rounder == Rounder::kSmoothQuant && moment.n_tokens > 0 && is_own) {
    scale_matrix(scaling, id.role, W);
    result_.matrices.push_back(
        compress_matrix(compute, id, W, scaled_inputs(scaling, id.role, moment), inverses, target, options_));
  } else if (options_.methods.rounder == Rounder::kAwq && moment.n_tokens > 0) {
    const LayerScaling none;
    const LayerScaling& scales = is_own ? scaling : none;
    scale_matrix(scales, id.role, W);
    const InputMoment scaled{.sum = scaled_moment(scales, id.role, moment.sum), .n_tokens = moment.n_tokens};
    if (const auto out = scales.by_output.find(id.role); out != scales.by_output.end() && !bias.empty()) {
      divide(bias, out->second);
      const TensorRows& where = engine_.model->weights().tensors.at(id);
      result_.vectors.push_back({bias_name(where.name), where.first, bias});
    }
    Matrix clipped = W;
    const bool rounds = target.grid || !is_plain(target.dtype);
    if (id.role != Role::kQuery && id.role != Role::kKey && rounds) {  // scores are no outputs
      const size_t group = target.grid ? group_of(*target.grid, W.cols) : info(target.dtype).block_elems;
      apply_clips(search_clips(compute, W, scaled.sum, group, [&](std::span<float> w) { round_in_place(target, w); }),
                  clipped);
    }
    CompressedMatrix rounded = compress_matrix(compute, id, clipped, scaled, inverses, target, options_);
    Matrix got(W.rows, W.cols);
    decode_rows(compute, rounded.encoded.view(), got.view());
    rounded.error = relative_error(compute, W, got, scaled.sum);
    result_.matrices.push_back(std::move(rounded));
  } else if (rotates(id.role)) {
    rotate_rows(compute, W);
    inverses.clear();  // it knows moments by where they lie
    const InputMoment rotated = rotated_inputs(compute, moment);
    result_.matrices.push_back(compress_matrix(compute, id, W, rotated, inverses, target, options_));
    inverses.clear();
  } else {
    result_.matrices.push_back(compress_matrix(compute, id, W, moment, inverses, target, options_, outliers_.of(id)));
  }
  result_.matrices.back().bias = std::move(bias);
  ++n_done_;
  if (progress_) progress_(fmt::format("layer {}", walk_.layer()), n_done_, n_matrices_);
}

// What the next layer is entered by: this one computed as it will lie in the file, before the model's own comes back.
void CompressWalk::leave_compressed() {
  Layer& layer = engine_.model->weights().layers[walk_.layer()];
  const std::vector<std::unique_ptr<Linear>*> slots = this->slots(walk_.layer());
  std::vector<std::unique_ptr<Linear>> own(slots.size());
  NormWeights* const norms[] = {&layer.attn_norm, &layer.ffn_norm};
  const auto swap_norms = [&] {
    for (size_t i = 0; i < 2; ++i)
      if (!norms_[i].empty()) std::swap(*norms[i], norms_[i]);
  };
  swap_norms();
  for (size_t i = 0; i < slots.size(); ++i) {
    own[i] = std::move(*slots[i]);
    const CompressedMatrix& m = result_.matrices[i];
    *slots[i] = m.encoded.dtype == DType::kI8 ? linear_of(own[i]->id, *engine_.compute, m.encoded, m.int8, m.bias)
                                              : std::make_unique<Stored>(own[i]->id, m.encoded.view(), WeightView(),
                                                                         m.bias, engine_.model->layouts());
    if (rotates(own[i]->id.role)) *slots[i] = std::make_unique<Rotated>(std::move(*slots[i]));
  }
  const auto restore = [&] {
    for (size_t i = 0; i < slots.size(); ++i) *slots[i] = std::move(own[i]);
    swap_norms();
  };
  try {
    walk_.compute();
  } catch (...) {
    restore();
    throw;
  }
  restore();
}

}  // namespace hunch
