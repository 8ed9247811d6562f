// What steps touched, in bytes, neurons and heads.
#pragma once
#include <cstdint>
#include <vector>

#include "base/meter.h"
#include "select/page_reads.h"

namespace hunch {

struct StepStats {
  uint64_t n_tokens = 0, weight_bytes = 0, kv_bytes = 0;
  uint64_t predictor_bytes = 0;  // part of weight_bytes
  RowReads rows;
  PageReads pages;
  // [n_layer], summed over tokens. Active: not zero, and all that a predictor chose. Where inputs are left out instead
  // of neurons (TEAL): the MLP's weights, and those that were multiplied.
  std::vector<uint64_t> active_neurons, all_neurons, active_heads, all_heads;

  StepStats& operator+=(const StepStats& other);
  StepStats operator-(const StepStats& before) const;  // of a later and an earlier state of the same count
};

}  // namespace hunch
