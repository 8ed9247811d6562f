#include "compress/low_rank.h"

#include "base/error.h"
#include "compress/low_rank_file.h"
#include "io/file_types.h"
#include "io/low_rank_names.h"

namespace hunch {
namespace {

void check(const Engine& engine, std::span<const int32_t> ids, const LowRankOptions& options) {
  if (!(options.ratio > 0 && options.ratio < 1))
    fail(ErrorKind::kUsage, "the ratio is {}, expected more than 0 and less than 1: the share of a matrix' parameters",
         options.ratio);
  if (options.roles.empty()) fail(ErrorKind::kUsage, "no matrices are named");
  if (options.dtype && !info(*options.dtype).writes())
    fail(ErrorKind::kUsage, "cannot write {}", name_of(*options.dtype));
  if (ids.size() < kMinLowRankTokens || options.n_tokens < kMinLowRankTokens)
    fail(ErrorKind::kUsage, "the text has {} tokens, of which {} are asked for; at least {} are needed", ids.size(),
         options.n_tokens, kMinLowRankTokens);
  for (const Layer& layer : std::as_const(*engine.model).weights().layers)
    layer.for_each_linear([](const Linear& linear) {
      if (&linear.factor(Axis::kOut) != &linear)
        fail(ErrorKind::kUnsupported,
             "{} of layer {} is of low rank already: compress the model that this one was made from",
             name_of(linear.id.role), linear.id.layer);
    });
}

Metadata metadata(const ModelFile& file, const LowRankOptions& options, const LowRankReport& report) {
  Metadata meta = file.meta;
  meta.set("general.file_type", info(report.dtype).file_type);
  meta.set(kLowRankMethod, std::string(name_of(options.kind)));
  meta.set(kLowRankRatio, float(options.ratio));
  meta.set(kLowRankText, options.text_name);
  meta.set(kLowRankTokens, uint64_t{report.n_tokens});
  return meta;
}

}  // namespace

const char* name_of(SvdOf kind) {
  switch (kind) {
    case SvdOf::kWeights: return "svd";
    case SvdOf::kScaledWeights: return "asvd";
    default: return "svd-llm";
  }
}

LowRankReport compress_low_rank(const Engine& engine, std::span<const int32_t> ids, const LowRankOptions& options,
                                const std::filesystem::path& output, const Progress& progress) {
  check(engine, ids, options);
  LowRankReport report;
  const DType own = engine.model->main_dtype();
  report.dtype = options.dtype.value_or(info(own).writes() ? own : DType::kF16);
  LowRankWalk walk(engine, ids, options, report.dtype, progress);
  report.n_tokens = walk.n_tokens();
  LowRankFile file(engine, walk, report);
  const std::vector<TensorToWrite> tensors = file.tensors();
  write_gguf(output, metadata(engine.model->file(), options, report), tensors, {}, engine.compute->stop);
  return report;
}

}  // namespace hunch
