#include "serve/answer_form.h"

#include <algorithm>

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

using Kind = AnswerForm::Kind;

constexpr size_t kMostBytes = 256 * 1024;

// A schema is an object, or the text of one.
Json schema_of(const Json& value, const std::string& param) {
  Json schema = value;
  if (schema.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    schema = Json::parse(text.begin(), text.end(), nullptr, false);
  }
  if (!schema.is_object()) refuse(param, "'{}' is no JSON schema, expected an object", param);
  return schema;
}

Json text_of(const Json& value, const std::string& param) {
  if (!value.is_string()) refuse(param, "'{}' is of type {}, expected a string", param, value.type_name());
  return value;
}

Json choices_of(const Json& value, const std::string& param) {
  const bool is_list =
      value.is_array() && !value.empty() && std::ranges::all_of(value, [](const Json& v) { return v.is_string(); });
  if (!is_list) refuse(param, "'{}' is not a list of texts", param);
  return value;
}

AnswerForm response_format(const Json& format) {
  const std::string param = "response_format";
  if (!format.is_object() || !format.contains("type") || !format["type"].is_string())
    refuse(param, "'{}' has no type, expected \"text\", \"json_object\" or \"json_schema\"", param);
  const std::string type = format["type"];
  if (type == "text") return {};
  if (type == "json_object" && format.contains("schema"))  // as llama.cpp has it
    return {Kind::kSchema, schema_of(format["schema"], "response_format.schema"), param};
  if (type == "json_object") return {Kind::kJsonObject, nullptr, param};
  if (type != "json_schema")
    refuse(param, "'{}' is of type '{}', expected \"text\", \"json_object\" or \"json_schema\"", param,
           type.substr(0, 60));
  // {"json_schema": {"name", "schema", "strict"}}; some clients have the schema beside the type.
  const Json& holder = format.contains("json_schema") ? format["json_schema"] : format;
  if (!holder.is_object() || !holder.contains("schema"))
    refuse(param, "'{}' has no schema, expected {{\"json_schema\": {{\"schema\": {{...}}}}}}", param);
  return {Kind::kSchema, schema_of(holder["schema"], "response_format"), param};
}

}  // namespace

AnswerForm answer_form_of(const Fields& fields) {
  AnswerForm out;
  const auto take = [&](AnswerForm form) {
    if (form.kind == Kind::kAny) return;
    if (out.kind != Kind::kAny)
      refuse(form.param, "'{}' and '{}' both say what the answer must be", out.param, form.param);
    if (dump(form.value).size() > kMostBytes)
      refuse(form.param, "'{}' is larger than {} bytes", form.param, kMostBytes);
    out = std::move(form);
  };
  const auto one = [&](const Fields& from, const char* name, Kind kind) {
    const Json* value = from.find(name);
    const std::string param = from.name(name);
    if (!value || *value == "") return;
    take({kind,
          kind == Kind::kSchema   ? schema_of(*value, param)
          : kind == Kind::kChoice ? choices_of(*value, param)
                                  : text_of(*value, param),
          param});
  };
  if (const Json* format = fields.find("response_format")) take(response_format(*format));
  one(fields, "grammar", Kind::kGbnf);
  one(fields, "json_schema", Kind::kSchema);
  one(fields, "regex", Kind::kRegex);
  one(fields, "guided_json", Kind::kSchema);
  one(fields, "guided_grammar", Kind::kGbnf);
  one(fields, "guided_regex", Kind::kRegex);
  one(fields, "guided_choice", Kind::kChoice);
  const Fields nested(fields.object("structured_outputs"), "structured_outputs.");
  one(nested, "json", Kind::kSchema);
  one(nested, "grammar", Kind::kGbnf);
  one(nested, "regex", Kind::kRegex);
  one(nested, "choice", Kind::kChoice);
  if (nested.flag("json_object", false)) take({Kind::kJsonObject, nullptr, nested.name("json_object")});
  return out;
}

}  // namespace hunch::serve
