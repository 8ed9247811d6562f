#include "serve/answer_form.h"

#include <algorithm>

#include "serve/request_error.h"
#include "text/json_depth.h"

namespace hunch::serve {
namespace {

using FormKind = AnswerForm::Kind;

constexpr size_t kMostBytes = 256 * 1024;

// A schema is an object, or the text of one.
Json schema_of(const Json& value, const std::string& param) {
  Json schema = value;
  if (schema.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (json_depth(text) > kMaxJsonDepth) refuse(param, "'{}' nests deeper than {} levels", param, kMaxJsonDepth);
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
    return {FormKind::kSchema, schema_of(format["schema"], "response_format.schema"), param};
  if (type == "json_object") return {FormKind::kJsonObject, nullptr, param};
  if (type != "json_schema")
    refuse(param, "'{}' is of type '{}', expected \"text\", \"json_object\" or \"json_schema\"", param,
           type.substr(0, 60));
  // {"json_schema": {"name", "schema", "strict"}}; some clients have the schema beside the type.
  const Json& holder = format.contains("json_schema") ? format["json_schema"] : format;
  if (!holder.is_object() || !holder.contains("schema"))
    refuse(param, "'{}' has no schema, expected {{\"json_schema\": {{\"schema\": {{...}}}}}}", param);
  return {FormKind::kSchema, schema_of(holder["schema"], "response_format"), param};
}

}  // namespace

AnswerForm answer_form_of(const Fields& fields) {
  AnswerForm out;
  const auto take = [&](AnswerForm form) {
    if (form.kind == FormKind::kAny) return;
    if (out.kind != FormKind::kAny)
      refuse(form.param, "'{}' and '{}' both say what the answer must be", out.param, form.param);
    if (dump(form.value).size() > kMostBytes)
      refuse(form.param, "'{}' is larger than {} bytes", form.param, kMostBytes);
    out = std::move(form);
  };
  const auto one = [&](const Fields& from, const char* name, FormKind kind) {
    const Json* value = from.find(name);
    const std::string param = from.name(name);
    if (!value || *value == "") return;
    take({kind,
          kind == FormKind::kSchema   ? schema_of(*value, param)
          : kind == FormKind::kChoice ? choices_of(*value, param)
                                      : text_of(*value, param),
          param});
  };
  if (const Json* format = fields.find("response_format")) take(response_format(*format));
  one(fields, "grammar", FormKind::kGbnf);
  one(fields, "json_schema", FormKind::kSchema);
  one(fields, "regex", FormKind::kRegex);
  one(fields, "guided_json", FormKind::kSchema);
  one(fields, "guided_grammar", FormKind::kGbnf);
  one(fields, "guided_regex", FormKind::kRegex);
  one(fields, "guided_choice", FormKind::kChoice);
  const Fields nested(fields.object("structured_outputs"), "structured_outputs.");
  one(nested, "json", FormKind::kSchema);
  one(nested, "grammar", FormKind::kGbnf);
  one(nested, "regex", FormKind::kRegex);
  one(nested, "choice", FormKind::kChoice);
  if (nested.flag("json_object", false)) take({FormKind::kJsonObject, nullptr, nested.name("json_object")});
  return out;
}

}  // namespace hunch::serve
