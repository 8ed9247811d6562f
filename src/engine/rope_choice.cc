#include "engine/rope_choice.h"

#include <array>
#include <cmath>

#include "base/error.h"
#include "base/read_number.h"
#include "io/printable.h"

namespace hunch {
namespace {

using Kind = RopeChoice::Kind;

struct NamedRope {
  Kind kind;
  std::string_view name;
  bool needs_factor;
};
constexpr std::array<NamedRope, 6> kRopes = {{{Kind::kNone, "none", false},
                                              {Kind::kLinear, "linear", true},
                                              {Kind::kNtk, "ntk", true},
                                              {Kind::kDynamic, "dynamic", false},
                                              {Kind::kYarn, "yarn", true},
                                              {Kind::kSelfExtend, "self-extend", true}}};

// Takes ",window=512" off the end. Whether what is there is a window.
bool take_window(std::string_view& text, RopeChoice& choice) {
  constexpr std::string_view kOption = ",window=";
  const size_t at = text.find(',');
  if (at == std::string_view::npos) return true;
  const std::string_view option = text.substr(at);
  text = text.substr(0, at);
  return choice.kind == Kind::kSelfExtend && option.starts_with(kOption) &&
         read_number(option.substr(kOption.size()), choice.window) && choice.window > 0 && choice.window <= 1u << 30;
}

}  // namespace

std::string_view rope_choice_help() {
  return "none, linear:4, ntk:4, dynamic, dynamic:2, yarn:4, self-extend:8 or self-extend:8,window=512";
}

std::optional<RopeChoice> rope_choice_from(std::string_view text) {
  const std::string_view whole = text;
  const size_t colon = text.find(':');
  for (const NamedRope& rope : kRopes) {
    if (rope.name != text.substr(0, colon)) continue;
    RopeChoice choice{rope.kind, 1};
    const bool has_factor = colon != std::string_view::npos;
    if (!take_window(text, choice) || (rope.needs_factor && !has_factor) || (has_factor && rope.kind == Kind::kNone) ||
        (has_factor &&
         (!read_number(text.substr(colon + 1), choice.factor) || !(choice.factor >= 1) || !(choice.factor <= 1e6))) ||
        (rope.kind == Kind::kSelfExtend && choice.factor != std::floor(choice.factor)))
      fail(ErrorKind::kUsage,
           "'{}' is no way to stretch RoPE, expected {}, a factor from 1 on (of self-extend a whole number)",
           printable(whole), rope_choice_help());
    return choice;
  }
  return {};
}

void apply(const RopeChoice& choice, ModelFile& file) {
  const std::string arch = file.meta.get_string("general.architecture", "");
  if (file.find("rope_factors_long.weight"))
    fail(ErrorKind::kUnsupported,
         "the model stretches RoPE by factors of its own (LongRoPE), which no other way (rope) "
         "replaces");
  const auto set = [&](const char* key, MetaValue value) { file.meta.set(arch + ".rope." + key, std::move(value)); };
  for (const char* key : {"scaling.factor", "scale_linear", "scaling.type", "scaling.original_context_length"})
    file.meta.erase(arch + ".rope." + key);
  switch (choice.kind) {
    case Kind::kNone: break;
    case Kind::kLinear:
      set("scaling.type", std::string("linear"));
      set("scaling.factor", float(choice.factor));
      break;
    case Kind::kNtk: {
      const auto count = [&](const char* key) { return file.meta.get_uint(arch + "." + key); };
      const auto has = [&](const char* key) { return file.meta.has(arch + "." + key); };
      const double d =
          double(has("rope.dimension_count")   ? count("rope.dimension_count")
                 : has("attention.key_length") ? count("attention.key_length")
                                               : count("embedding_length") / count("attention.head_count"));
      const double base = file.meta.get_float(arch + ".rope.freq_base", 10000.0);
      set("freq_base", float(base * std::pow(choice.factor, d / std::max(d - 2, 1.0))));
      break;
    }
    case Kind::kDynamic:
      set("scaling.type", std::string("dynamic"));
      set("scaling.factor", float(choice.factor));
      break;
    case Kind::kYarn:
      set("scaling.type", std::string("yarn"));
      set("scaling.factor", float(choice.factor));
      break;
    case Kind::kSelfExtend: {
      const size_t half = std::max<size_t>(1, file.meta.get_uint(arch + ".context_length") / 2);
      set("scaling.type", std::string("self-extend"));
      set("scaling.group_size", uint32_t(choice.factor));
      set("scaling.window_size", uint32_t(choice.window ? choice.window : half));
      break;
    }
  }
}

}  // namespace hunch
