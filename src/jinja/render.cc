#include "jinja/render.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "jinja/globals.h"
#include "jinja/interpreter.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"

namespace hunch::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxJsonDepth = 100;

Value from_json(Heap& heap, const Json& json, int depth) {
  if (depth > kMaxJsonDepth)
    fail(ErrorKind::kUsage, "template variables: JSON nested more than {} deep", kMaxJsonDepth);
  switch (json.type()) {
    case Json::value_t::boolean: return Value(json.get<bool>());
    case Json::value_t::number_integer: return Value(Int(json.get<int64_t>()));
    case Json::value_t::number_unsigned: return Value(Int(json.get<uint64_t>()));
    case Json::value_t::number_float: return Value(json.get<double>());
    case Json::value_t::string: return heap.string(json.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(from_json(heap, item, depth + 1));
      return heap.list(std::move(items));
    }
    case Json::value_t::object: {
      Dict* dict = heap.dict();
      for (const auto& [key, item] : json.items()) {
        heap.charge(4 * sizeof(Value));
        dict->set(heap.string(key), from_json(heap, item, depth + 1));
      }
      return Value(dict);
    }
    case Json::value_t::null: return Value();
    default: fail(ErrorKind::kUsage, "template variables: binary JSON values are not supported");
  }
}

}  // namespace

std::string render(std::string_view source, const Json& variables, const RenderOptions& options) {
  if (!variables.is_object())
    fail(ErrorKind::kUsage, "template variables: expected a JSON object, found {}", variables.type_name());
  Ast ast;
  try {
    ast = parse(tokenize(source, LexOptions{options.strip_before_output}));
  } catch (const SyntaxFault& fault) {
    fail(ErrorKind::kFormat, "chat template, line {}: {}", fault.line, fault.what());
  }
  Runtime rt(options.limits, options.now);
  Scope builtins(nullptr), globals(&builtins);
  std::optional<Interpreter> interpreter;
  try {
    define_globals(rt, builtins);
    for (const auto& [name, value] : variables.items()) {
      globals.set(*rt.heap.string(name).string, from_json(rt.heap, value, 0));
    }
    interpreter.emplace(rt, globals);
    return interpreter->render(ast);
  } catch (const TemplateRaised& raised) {
    fail(ErrorKind::kUsage, "the chat template refuses these messages: {}", raised.what());
  } catch (const Fault& fault) {
    if (!interpreter) fail(ErrorKind::kLimit, "chat template: the variables are too large: {}", fault.what());
    const Interpreter::Position position = interpreter->position();
    fail(ErrorKind::kFormat, "chat template, line {}, in {}: {}", position.line, position.construct, fault.what());
  }
}

}  // namespace hunch::jinja
