#include "io/hf_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

// Python's json writes and reads numbers that JSON does not have.
std::string without_python_numbers(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kNumbers[] = {
      {"-Infinity", "-1.7976931348623157e308"}, {"Infinity", "1.7976931348623157e308"}, {"NaN", "null"}};
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      in_string = c != '"';
      ++i;
      continue;
    }
    const auto number = std::ranges::find_if(kNumbers, [&](auto& n) { return text.substr(i).starts_with(n.first); });
    if (number != std::end(kNumbers)) {
      out += number->second;
      i += number->first.size();
      continue;
    }
    in_string = c == '"';
    out += c;
    ++i;
  }
  return out;
}

Json parse(std::string_view text) {
  const std::string json = without_python_numbers(text);
  try {
    Json config = Json::parse(json);
    if (!config.is_object()) fail(ErrorKind::kFormat, "config.json is not a JSON object");
    return config;
  } catch (const Json::parse_error& e) {
    const size_t at = std::min(json.size(), size_t(std::max<ptrdiff_t>(0, ptrdiff_t(e.byte) - 1)));
    const size_t line_start = at == 0 ? 0 : json.rfind('\n', at - 1) + 1;  // npos + 1 is 0
    fail(ErrorKind::kFormat, "config.json is not valid JSON: line {}, column {}",
         1 + std::ranges::count(json.substr(0, at), '\n'), at - line_start + 1);
  } catch (const Json::exception&) {  // a number that no double holds
    fail(ErrorKind::kFormat, "config.json is not valid JSON: a number is out of range");
  }
}

// Values of the language model, which stands beside others.
void lift_text_config(Json& config) {
  const auto text = config.find("text_config");
  if (text == config.end() || !text->is_object()) return;
  const Json inner = *text;
  config.erase(text);
  for (const auto& [key, value] : inner.items()) config[key] = value;
}

// The parameters of one kind of layers in the older words; {} where they are not an object.
struct Rope {
  Json theta, partial, scaling;
};
Rope rope_of(const Json& parameters) {
  Rope rope;
  Json scaling = Json::object();
  for (const auto& [key, value] : parameters.items()) {
    if (key == "rope_theta") {
      rope.theta = value;
    } else if (key == "partial_rotary_factor") {
      rope.partial = value;
    } else {
      scaling[key] = value;
    }
  }
  std::string kind = "default";
  for (const char* name : {"type", "rope_type"})
    if (const auto it = scaling.find(name); it != scaling.end() && it->is_string()) kind = *it;
  if (kind != "default") rope.scaling = std::move(scaling);
  return rope;
}

void put(Json& config, const char* key, const Json& value) {
  if (!value.is_null()) config[key] = value;
}

void spell_out_rope(Json& config) {
  const auto found = config.find("rope_parameters");
  if (found == config.end() || !found->is_object()) return;
  const Json parameters = *found;
  config.erase(found);
  const auto kind_of = [&](const char* name) {
    const auto kind = parameters.find(name);
    return kind != parameters.end() && kind->is_object() ? *kind : Json();
  };
  const Json full = kind_of("full_attention"), sliding = kind_of("sliding_attention");
  const Rope rope = rope_of(full.is_null() ? sliding.is_null() ? parameters : sliding : full);
  put(config, "rope_theta", rope.theta);
  put(config, "partial_rotary_factor", rope.partial);
  config["rope_scaling"] = rope.scaling;  // null takes an older one's place
  if (const auto section = parameters.find("mrope_section"); section != parameters.end())
    put(config, "mrope_section", *section);
  if (full.is_null() || sliding.is_null()) return;
  const Rope local = rope_of(sliding);
  if (!local.scaling.is_null())
    fail(ErrorKind::kUnsupported,
         "config.json: rope_parameters scale layers of sliding attention ({}), which hunch "
         "does not",
         printable(local.scaling.dump(), 80));
  if (!local.partial.is_null() && local.partial != 1.0 && local.partial != rope.partial)
    fail(
        ErrorKind::kUnsupported,
        "config.json: rope_parameters turn a part of each head in layers of sliding attention ({}) that is not that of "
        "the others, which hunch does not",
        printable(local.partial.dump(), 80));
  put(config, "rope_local_base_freq", local.theta);
}

// What older configs had among the parameters of scaling: how a model that also sees divides its rotations.
void lift_sections(Json& config) {
  const auto scaling = config.find("rope_scaling");
  if (scaling == config.end() || !scaling->is_object() || !scaling->contains("mrope_section")) return;
  const Json section = (*scaling)["mrope_section"];
  scaling->erase("mrope_section");
  scaling->erase("mrope_interleaved");
  config["mrope_section"] = section;
}

}  // namespace

std::string normalised_hf_config(std::string_view text) {
  Json config = parse(text);
  lift_text_config(config);
  spell_out_rope(config);
  lift_sections(config);
  return config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hunch
