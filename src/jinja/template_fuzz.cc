// A hostile template over fixed variables, and over variables of its own: what follows a line
// "---" is their JSON. Small limits, so that runaway loops end at once.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "jinja/render.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Json = nlohmann::ordered_json;
  static const Json kVariables = Json::parse(R"({
    "messages": [{"role": "user", "content": "Hi é"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "a"}]}],
    "n": 3, "x": 1.5, "d": {"a": [1, "b"], "c": null}, "add_generation_prompt": true})");
  std::string_view source(reinterpret_cast<const char*>(data), size);
  Json variables = kVariables;
  if (const size_t cut = source.find("\n---\n"); cut != std::string_view::npos) {
    const Json own = Json::parse(source.substr(cut + 5), nullptr, false);
    if (own.is_object()) variables = own;
    source = source.substr(0, cut);
  }
  hunch::jinja::RenderOptions options;
  options.limits.max_steps = 20'000;
  options.limits.max_bytes = size_t{4} << 20;
  options.limits.max_output_bytes = size_t{1} << 20;
  options.now = 1732000000;
  try {
    hunch::jinja::render(source, variables, options);
  } catch (const hunch::Error&) {
  }
  return 0;
}
