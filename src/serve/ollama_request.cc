#include "serve/ollama_request.h"

#include "serve/conversation.h"
#include "serve/request_error.h"
#include "serve/text_requests.h"

namespace hunch::serve {
namespace {

// Ollama's defaults, which are not those of OpenAI's API.
Json with_defaults(const Json& options) {
  Json out = {{"temperature", 0.8}, {"top_k", 40}, {"top_p", 0.9}, {"repeat_penalty", 1.1}, {"repeat_last_n", 64}};
  for (const auto& [name, value] : options.items())
    if (!value.is_null()) out[name] = value;
  return out;
}

void read_options(const Fields& request, OllamaRequest& out) {
  const Json options = with_defaults(request.object("options"));
  const Fields f(options, "options.");
  Settings& s = out.chat.settings;
  s.sampler = sampler_of(f);
  s.stop = stops_of(f, "stop");
  if (f.has("seed")) s.seed = uint64_t(f.integer("seed", 0, INT64_MIN, INT64_MAX));
  if (const int64_t n = f.integer("num_predict", -1, -2, 1 << 30); n >= 0) s.n_tokens = size_t(n);
  out.n_ctx = size_t(f.integer("num_ctx", 0, 0, 1 << 30));
  s.ignore_end = f.flag("ignore_eos", false);
  if (f.number("mirostat", 0, 0, 2) != 0)
    refuse(f.name("mirostat"), "'options.mirostat' is not supported by this server");
  if (f.number("tfs_z", 1, 0, 1) != 1) refuse(f.name("tfs_z"), "'options.tfs_z' is not supported by this server");
  read_own_fields(f, s);
  s.stream = request.flag("stream", true);
  out.chat.variables = request.object("chat_template_kwargs");
  if (const Json* think = request.find("think")) {
    if (!think->is_boolean() && !think->is_string())
      refuse("think", "'think' is of type {}, expected true, false, low, medium or high", think->type_name());
    if (think->is_string())
      out.chat.variables["reasoning_effort"] = request.choice("think", "", {"low", "medium", "high"});
    out.chat.variables["enable_thinking"] = think->is_string() || think->get<bool>();
  }
}

Json ollama_tools(const Fields& f) {
  Json out = Json::object();
  if (const Json* tools = f.find("tools")) out["tools"] = *tools;
  const Json* format = f.find("format");
  if (!format || *format == "") return out;
  if (*format == "json") {
    out["response_format"] = {{"type", "json_object"}};
  } else if (format->is_object()) {
    out["response_format"] = {{"type", "json_schema"}, {"json_schema", {{"name", "answer"}, {"schema", *format}}}};
  } else {
    refuse("format", "'format' is {}, expected \"json\" or a schema", format->dump());
  }
  return out;
}

void refuse_images(const Json& holder, const std::string& param) {
  if (const auto images = holder.find("images"); images != holder.end() && !images->empty())
    refuse(param, "{} has images: this server reads texts only", param);
}

Json ollama_message(const Json& message, size_t i, size_t& n_calls) {
  const std::string at = fmt::format("messages[{}]", i);
  if (!message.is_object()) refuse("messages", "{} is of type {}, expected an object", at, message.type_name());
  refuse_images(message, "messages");
  Json out = {{"role", need_text(message, "role", "messages", at)}, {"content", ""}};
  if (const auto content = message.find("content"); content != message.end() && !content->is_null())
    out["content"] = text_of_content(*content, {}, "messages", at + ".content");
  if (const auto name = message.find("tool_name"); name != message.end()) out["name"] = *name;
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || calls->is_null()) return out;
  if (!calls->is_array()) refuse("messages", "{}.tool_calls is no list", at);
  for (const Json& call : *calls) {  // without ids: they are counted
    const auto function = call.is_object() ? call.find("function") : call.end();
    if (!call.is_object() || function == call.end() || !function->is_object())
      refuse("messages", "{}.tool_calls has an entry without a function", at);
    const auto arguments = function->find("arguments");
    Json list = Json::array({out});
    add_call(list, tool_call(fmt::format("call_{}", n_calls++), need_text(*function, "name", "messages", at),
                             arguments == function->end() ? Json::object() : *arguments));
    out = list[0];
  }
  return out;
}

}  // namespace

OllamaRequest ollama_chat_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json);
  f.text("model");
  OllamaRequest out;
  read_options(f, out);
  const Json* list = f.find("messages");
  if (list && !list->is_array()) refuse("messages", "'messages' is of type {}, expected a list", list->type_name());
  out.only_loads = !list || list->empty();
  if (out.only_loads) return out;
  Json messages = Json::array();
  size_t n_calls = 0;
  for (size_t i = 0; i < list->size(); ++i) messages.push_back(ollama_message((*list)[i], i, n_calls));
  const Json words = ollama_tools(f);
  read_conversation(&messages, Fields(words), out.chat);
  return out;
}

OllamaRequest ollama_generate_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json);
  f.text("model");
  OllamaRequest out;
  read_options(f, out);
  for (const char* name : {"suffix", "template", "context"})
    if (const Json* value = f.find(name); value && !value->empty() && *value != "")
      refuse(name, "'{}' is not supported by this server", name);
  refuse_images(json, "images");
  const std::string prompt = f.text("prompt"), system = f.text("system");
  out.only_loads = prompt.empty();
  if (out.only_loads) return out;
  if (f.flag("raw", false)) out.raw = prompt;
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  const Json words = ollama_tools(f);
  read_conversation(&messages, Fields(words), out.chat);
  return out;
}

OllamaEmbedRequest ollama_embed_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json);
  f.text("model");
  if (!f.has("input")) refuse("input", "'input' is missing, expected a string or a list of strings");
  if (f.has("dimensions"))
    refuse("dimensions", "'dimensions' is not supported by this server: vectors are as long as the model makes them");
  return {f.texts("input", kMostTexts), f.flag("truncate", true)};
}

OllamaEmbedRequest ollama_embeddings_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json);
  f.text("model");
  return {{f.required_text("prompt")}, true};
}

}  // namespace hunch::serve
