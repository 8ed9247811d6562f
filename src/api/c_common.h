// What all functions of the C API do: catch, remember the message, and return a value that says so.
#pragma once
#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hunch/calibrate.h"
#include "hunch/generate.h"
#include "hunch/hunch.h"

struct hunch_model {
  hunch::LanguageModel model;
  // What its last calibration says, as C reads it.
  hunch::Calibration calibrated = {};
  std::string sidecar = {}, notes = {};
};
struct hunch_cancel {
  hunch::Cancel cancel;
};
struct hunch_answer {
  hunch::Generation generation;
  size_t n_forgotten = 0, n_cached = 0;
};

namespace hunch::c {

std::string& last_error();  // of this thread

// Runs `body`; on an exception remembers the message and returns `failed`.
template <class Result, class Body>
Result guarded(Result failed, Body&& body) noexcept {
  try {
    last_error().clear();
    return body();
  } catch (const std::exception& e) {
    last_error() = e.what();
  } catch (...) {
    last_error() = "unknown error";
  }
  return failed;
}

// Throws Error{kUsage}.
void require(bool ok, const char* what);
// With malloc: hunch_free_string() frees it.
char* copy_of(const std::string& text);
inline std::string text_or_empty(const char* text) { return text ? text : ""; }

// The beginning of `full` that a caller knows who was compiled with a struct of `size` bytes.
template <class T>
void give_sized(T full, T* to, size_t size) noexcept {
  if (!to || size < sizeof(size_t)) return;
  full.size = std::min(size, sizeof(T));
  std::memcpy(static_cast<void*>(to), &full, full.size);
}

// What the caller gave, and the defaults for fields that he does not know. NULL: the defaults.
template <class T>
T take_sized(const T* from, T defaults) {
  if (!from) return defaults;
  require(from->size >= sizeof(size_t) && from->size <= sizeof(T),
          "the options say a wrong size: were they filled by their hunch_..._init(), of this library's header?");
  std::memcpy(static_cast<void*>(&defaults), from, from->size);
  return defaults;
}

// NULL as the plan: not said; a density or a sidecar then has no place.
std::optional<PlanChoice> plan_choice(const char* plan, double density, const char* sidecar);
inline std::optional<std::string> policy_choice(const char* policy) {
  return policy ? std::optional<std::string>(policy) : std::nullopt;
}
// NULL as the paths: not said.
std::optional<std::vector<LoraAdapter>> adapters_choice(const char* const* paths, const float* scales, size_t n);
// How a text is computed, which all options say in the same words.
template <class From, class To>
void take_choices(const From& from, To& to) {
  to.plan = plan_choice(from.plan, from.density, from.sidecar);
  to.kv_policy = policy_choice(from.kv_policy);
  to.experts = policy_choice(from.experts);
  to.adapters = adapters_choice(from.adapters, from.adapter_scales, from.n_adapters);
}
// What all options of values say.
template <class Options>
Options value_options(const hunch_evaluation_options& c) {
  Options o;
  take_choices(c, o);
  o.cancel = c.cancel ? &c.cancel->cancel : nullptr;
  return o;
}
inline std::span<const int32_t> ids_of(const int32_t* ids, size_t n_ids) {
  require(ids || n_ids == 0, "ids is NULL");
  return {ids, n_ids};
}
inline const Cancel* cancel_of(const hunch_cancel* cancel) { return cancel ? &cancel->cancel : nullptr; }
GenerationOptions generation_options(const hunch_generation_options* options);
OnText on_text_of(hunch_on_text on_text, void* user);

}  // namespace hunch::c
