// hunch eval --compare with models among the modes: each beside the others in quality, size and speed.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "cli/flags.h"
#include "measure/compare.h"
#include "measure/model_size.h"

namespace hunch::cli {

bool names_models(std::span<const CompareMode> modes);

// On a text; returns the exit code, throws Error.
int eval_models(const EvalFlags& flags, std::vector<CompareMode> modes);

// Throws Error{kUsage} where the first mode is a model: the reference is one of MODEL.
void check_first(const EvalFlags& flags, std::span<const CompareMode> modes);
// Throws Error{kUsage | kNotFound | kFormat} naming the model among the modes that is missing, or has other tokens than
// `engine`. Reads no weights.
void check_models(const Engine& engine, const EvalFlags& flags, std::span<const CompareMode> modes);
// The model of this mode, with `engine`'s threads; `size`: what its file takes.
Engine open_other(const Engine& engine, const EvalFlags& flags, const CompareMode& mode, ModelSize& size);

// A column of a table for people: models are called by their file, without ".gguf".
std::vector<std::string> short_names(std::span<const CompareMode> modes);

}  // namespace hunch::cli
