#include "api/c_common.h"

#include <cstdlib>
#include <new>

#include "hunch/version.h"

namespace hunch::c {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

void require(bool ok, const char* what) {
  if (!ok) throw Error(ErrorKind::kUsage, what);
}

char* copy_of(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

std::optional<PlanChoice> plan_choice(const char* plan, double density, const char* sidecar) {
  if (!plan) {
    require(density == 0 && !sidecar, "a density or a sidecar was given without the plan \"sparse\"");
    return std::nullopt;
  }
  return PlanChoice{.name = plan, .density = density, .sidecar = text_or_empty(sidecar)};
}

std::optional<std::vector<LoraAdapter>> adapters_choice(const char* const* paths, const float* scales, size_t n) {
  if (!paths) {
    require(n == 0, "the list of adapters is NULL");
    return std::nullopt;
  }
  std::vector<LoraAdapter> adapters;
  for (size_t i = 0; i < n; ++i) {
    require(paths[i], "the path of an adapter is NULL");
    adapters.push_back({.path = paths[i], .scale = scales ? scales[i] : 1});
  }
  return adapters;
}

}  // namespace hunch::c

extern "C" {

const char* hunch_last_error(void) { return hunch::c::last_error().c_str(); }
const char* hunch_version(void) { return HUNCH_VERSION; }
void hunch_free_string(char* text) { std::free(text); }

hunch_cancel* hunch_cancel_new(void) {
  return hunch::c::guarded<hunch_cancel*>(nullptr, [] { return new hunch_cancel(); });
}
void hunch_cancel_request(hunch_cancel* cancel) {
  if (cancel) cancel->cancel.request();
}
void hunch_cancel_clear(hunch_cancel* cancel) {
  if (cancel) cancel->cancel.clear();
}
void hunch_cancel_free(hunch_cancel* cancel) { delete cancel; }

}  // extern "C"
