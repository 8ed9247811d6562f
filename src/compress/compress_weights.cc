#include "compress/compress_weights.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "compress/compress_file.h"
#include "compress/magnitude_threshold.h"
#include "kernels/hadamard.h"

namespace hunch {
namespace {

void check_target(const Methods& methods, const BlockTarget& target) {
  const Format& format = info(target.dtype);
  HUNCH_CHECK((target.dtype == DType::kI8) == rounds_inputs(methods.rounder), "{} as {}", name_of(methods),
              format.name);
  if (target.dtype == DType::kI8) return;
  if (!format.writes()) fail(ErrorKind::kUsage, "cannot write {}", name_of(target.dtype));
  if (methods.rounder == Rounder::kNf4 && !format.is_float() && target.dtype != DType::kNF4)
    fail(ErrorKind::kUnsupported, "nf4's numbers are written as nf4 or as floats; {} would round them again",
         name_of(target.dtype));
  const bool on_grid = target.grid && target.dtype == DType::kF32;
  if (methods.rounder == Rounder::kGptq && !on_grid && !find_code_layout(target.dtype))
    fail(ErrorKind::kUnsupported, "gptq does not round into {}; possible: {}", name_of(target.dtype),
         fmt::join(code_layout_names(), ", "));
  if (methods.pruner != Pruner::kNone && format.has_min)
    fail(ErrorKind::kUnsupported,
         "{} has a minimum in every block, which turns zeros into other numbers; pruned weights fit q8_0, q6_k, q5_0, "
         "q4_0, q3_k and the float types",
         name_of(target.dtype));
}

void check_rotated_inputs(const Engine& engine, const CompressOptions& options) {
  check_rotated_roles(options);
  constexpr size_t kLeast = 16;  // values that are rotated together; fewer spread nothing
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    layer.for_each_linear([&](const Linear& linear) {
      const size_t together = hadamard_block(linear.n_in);
      if (std::ranges::find(options.rotated, linear.id.role) != options.rotated.end() && together < kLeast)
        fail(ErrorKind::kUnsupported, "{} of layer {} has {} inputs, of which only {} could be rotated together",
             name_of(linear.id.role), linear.id.layer, linear.n_in, together);
    });
}

Metadata metadata(const ModelFile& file, const CompressOptions& options, const CompressReport& report) {
  Metadata meta = file.meta;
  if (options.target.dtype != DType::kI8) meta.set("general.file_type", info(options.target.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  meta.set("hunch.compress.methods", name_of(options.methods));
  meta.set("hunch.compress.text", options.text_name);
  meta.set("hunch.compress.tokens", uint64_t{report.n_tokens});
  return meta;
}

// Writes the file anew without the zeros of its matrices, where there are enough of them.
void leave_zeros_out(const Engine& engine, const std::filesystem::path& path, CompressReport& report) {
  report.sparse = store_sparse(open_gguf(path), path, *engine.compute);
  if (report.sparse.matrices.empty())
    report.notes.push_back(
        "zeros stay in the blocks and nothing is faster: less than a tenth of the bytes would be saved, or the type is "
        "none of q8_0, q4_0 and f16");
  const ModelWeights& weights = std::as_const(*engine.model).weights();
  std::set<std::string> seen;
  for (const auto& [id, where] : weights.tensors) {
    const auto found = report.sparse.matrices.find(where.name);
    if (found == report.sparse.matrices.end() || !report.roles.contains(id.role) || !seen.insert(where.name).second)
      continue;
    report.roles[id.role].bytes -= found->second.dense_bytes - found->second.bytes;
  }
  report.bytes -= report.sparse.dense_bytes - report.sparse.bytes;
}

}  // namespace

void check_rotated_roles(const CompressOptions& options) {
  if (options.rotated.empty()) return;
  const Rounder rounder = options.methods.rounder;
  if (options.methods.pruner != Pruner::kNone ||
      (rounder != Rounder::kNearest && rounder != Rounder::kGptq && rounder != Rounder::kNf4))
    fail(ErrorKind::kUsage, "rotated inputs go with rtn, gptq and nf4: the method is {}", name_of(options.methods));
  for (const Role role : options.rotated) {
    if (role != Role::kHeads && role != Role::kDown)
      fail(ErrorKind::kUsage,
           "inputs of o and down can be rotated, not those of {}: `rotate` does that with the stream", name_of(role));
    if (std::ranges::find(options.roles, role) == options.roles.end())
      fail(ErrorKind::kUsage, "inputs of {} are to be rotated, which is none of the matrices that are compressed",
           name_of(role));
  }
}

void check_compress(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options) {
  if (options.methods.pruner == Pruner::kNone && options.methods.rounder == Rounder::kNone)
    fail(ErrorKind::kUsage, "no method is named; possible: {}", fmt::join(weight_method_names(), ", "));
  if (options.roles.empty()) fail(ErrorKind::kUsage, "no matrices are named");
  if (!(options.damping > 0 && options.damping <= 1))
    fail(ErrorKind::kUsage, "damping {}: expected more than 0 and at most 1", options.damping);
  if (!(options.sparsity.share > 0 && options.sparsity.share < 1))
    fail(ErrorKind::kUsage, "a sparsity of {}: expected more than 0 and less than 1", options.sparsity.share);
  if (options.scope != PruneScope::kMatrix && (options.methods.pruner != Pruner::kMagnitude || options.sparsity.m))
    fail(ErrorKind::kUsage, "what weights are compared with (scope) goes with magnitude and a share of zeros");
  if (options.act_order && options.methods.rounder != Rounder::kGptq)
    fail(ErrorKind::kUsage, "an order of columns is gptq's");
  if (options.act_order && options.sparsity.m && options.methods.pruner == Pruner::kSparseGpt)
    fail(ErrorKind::kUsage, "a pattern of neighbours needs columns in their own order");
  if (scales_inputs(options.methods.rounder) && options.roles.size() < 7)
    fail(ErrorKind::kUsage, "{} scales matrices together: it takes all of them", name_of(options.methods));
  if (options.alpha && !(*options.alpha >= 0 && *options.alpha <= 1))
    fail(ErrorKind::kUsage, "alpha {}: expected 0 to 1", *options.alpha);
  check_target(options.methods, options.target);
  check_rotated_inputs(engine, options);
  if (ids.size() < kMinCompressTokens || options.n_tokens < kMinCompressTokens)
    fail(ErrorKind::kUsage, "the text has {} tokens, of which {} are asked for; at least {} are needed", ids.size(),
         options.n_tokens, kMinCompressTokens);
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    layer.for_each_linear([&](const Linear& linear) {
      if (const std::string_view made = linear.made_into(); !made.empty())
        fail(ErrorKind::kUnsupported, "{} of layer {} is {}: compress the model that this one was made from",
             name_of(linear.id.role), linear.id.layer, made);
      if (std::ranges::find(options.roles, linear.id.role) == options.roles.end()) return;
      if (options.sparsity.m) check_pattern(options.sparsity.pruned, options.sparsity.m, linear.n_in);
      fitting(options.target, linear.n_in);
    });
}

CompressReport compress_weights(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
                                const std::filesystem::path& output, const Progress& progress) {
  check_compress(engine, ids, options);
  CompressOptions settled = options;
  if (options.scope == PruneScope::kGlobal)
    settled.magnitude_limit = magnitude_threshold(engine, options.roles, options.sparsity.share);
  CompressReport report;
  CompressWalk walk(engine, ids, settled, progress);
  report.n_tokens = walk.n_tokens();
  report.n_resumed = walk.n_resumed();
  CompressFile file(engine, walk, settled, report);
  const std::vector<TensorToWrite> tensors = file.tensors();
  write_gguf(output, metadata(engine.model->file(), options, report), tensors, {}, engine.compute->stop);
  if (options.without_zeros && options.methods.pruner != Pruner::kNone) leave_zeros_out(engine, output, report);
  if (!options.finished.empty()) CompressStore::clear(options.finished);
  return report;
}

}  // namespace hunch
