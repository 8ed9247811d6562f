// What form a request wants its answer to have.
#pragma once
#include <string>

#include "serve/fields.h"

namespace hunch::serve {

struct AnswerForm {
  enum class Kind : uint8_t { kAny, kJsonObject, kSchema, kGbnf, kRegex, kChoice };
  Kind kind = Kind::kAny;
  Json value = nullptr;  // a schema, a list of texts, or a text
  std::string param;     // the field that says it
};

// response_format (json_object, json_schema), grammar, json_schema, regex, guided_json, guided_grammar, guided_regex,
// guided_choice, structured_outputs: at most one of them. Throws RequestError{400} naming the field.
AnswerForm answer_form_of(const Fields& fields);

}  // namespace hunch::serve
