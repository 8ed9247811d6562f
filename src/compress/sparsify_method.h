// Sidecars without predictors: CATS, GRIFFIN and TEAL, calibrated to a budget.
#pragma once
#include "compress/method.h"
#include "compress/sparsify.h"

namespace hunch {

// As sparsify(), for any activation. Every layer's settings and their errors are measured on a sample of the text's
// first part (Method::fit), what an error is worth in each layer, and the density that a budget of perplexity allows,
// on the part for calibration; the result on the last part. Errors as sparsify().
SparsifyReport sparsify_method(const Engine& engine, std::span<const int32_t> ids, const Method& method,
                               const SparsifyOptions& options, const Progress& progress = {});

}  // namespace hunch
