#include "compress/compress_options.h"

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {

struct Word {
  const char* name;
  Pruner pruner;
  Rounder rounder;
};

constexpr Word kWords[] = {
    {"rtn", Pruner::kNone, Rounder::kNearest},
    {"gptq", Pruner::kNone, Rounder::kGptq},
    {"awq", Pruner::kNone, Rounder::kAwq},
    {"magnitude", Pruner::kMagnitude, Rounder::kNone},
    {"wanda", Pruner::kWanda, Rounder::kNone},
    {"sparsegpt", Pruner::kSparseGpt, Rounder::kNone},
    {"nf4", Pruner::kNone, Rounder::kNf4},
    {"w8a8", Pruner::kNone, Rounder::kW8A8},
    {"smoothquant", Pruner::kNone, Rounder::kSmoothQuant},
    {"zeroquant", Pruner::kNone, Rounder::kZeroQuant},
    {"llm-int8", Pruner::kNone, Rounder::kLlmInt8},
};

const Word& find_word(std::string_view name) {
  for (const Word& word : kWords)
    if (word.name == name) return word;
  fail(ErrorKind::kUsage,
       "method '{}' is none of {} in a list (rotate may come first; others stand alone: help compress)",
       printable(name), fmt::join(weight_method_names(), ", "));
}

}  // namespace

std::vector<std::string> weight_method_names() {
  std::vector<std::string> names;
  for (const Word& word : kWords) names.push_back(word.name);
  return names;
}

Methods parse_methods(std::string_view list) {
  Methods methods;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const Word& word = find_word(list.substr(begin, end - begin));
    const bool prunes = word.pruner != Pruner::kNone;
    if (methods.rounder != Rounder::kNone || (prunes && methods.pruner != Pruner::kNone))
      fail(ErrorKind::kUsage, "methods '{}': expected one that prunes, one that rounds, or these two in this order",
           printable(list));
    if (prunes) methods.pruner = word.pruner;
    if (!prunes) methods.rounder = word.rounder;
    begin = end + 1;
  }
  if (methods.pruner != Pruner::kNone && scales_inputs(methods.rounder))
    fail(ErrorKind::kUsage, "methods '{}': {} does not know of pruned weights; take gptq, rtn or w8a8", printable(list),
         name_of(Methods{Pruner::kNone, methods.rounder}));
  return methods;
}

std::string name_of(const Methods& methods) {
  std::string name;
  for (const Word& word : kWords)
    if (word.pruner == methods.pruner && word.pruner != Pruner::kNone) name = word.name;
  for (const Word& word : kWords)
    if (word.rounder == methods.rounder && word.rounder != Rounder::kNone)
      name += (name.empty() ? "" : ",") + std::string(word.name);
  return name;
}

}  // namespace hunch
