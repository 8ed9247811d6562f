#include "serve/text_requests.h"

#include "serve/chat_request.h"
#include "serve/request_error.h"

namespace hunch::serve {

EmbeddingRequest embedding_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  fields.text("model");
  EmbeddingRequest out;
  out.texts = prompts_of(fields, "input", kMostTexts);
  out.base64 = fields.choice("encoding_format", "float", {"float", "base64"}) == "base64";
  if (fields.has("dimensions"))
    refuse("dimensions", "'dimensions' is not supported by this server: vectors are as long as the model makes them");
  return out;
}

RerankRequest rerank_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  fields.text("model");
  RerankRequest out;
  out.query = fields.required_text("query");
  const Json* documents = fields.find("documents");
  if (!documents || !documents->is_array() || documents->empty())
    refuse("documents", "'documents' is missing or no list, expected texts");
  if (documents->size() > kMostTexts)
    refuse("documents", "'documents' has {} entries, expected at most {}", documents->size(), kMostTexts);
  for (const Json& entry : *documents) {  // a text, or {"text": ...}
    const bool is_object = entry.is_object() && entry.contains("text") && entry["text"].is_string();
    if (!entry.is_string() && !is_object)
      refuse("documents", "'documents' has an entry of type {}, expected texts", entry.type_name());
    out.documents.push_back((is_object ? entry["text"] : entry).get<std::string>());
  }
  out.n_shown = size_t(fields.integer("top_n", 0, 0, INT32_MAX));
  out.with_documents = fields.flag("return_documents", false);
  return out;
}

TokenizeRequest tokenize_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  TokenizeRequest out;
  const bool as_vllm = fields.has("prompt") && !fields.has("content");
  out.text = fields.required_text(as_vllm ? "prompt" : "content");
  out.add_special = as_vllm ? fields.flag("add_special_tokens", true) : fields.flag("add_special", false);
  out.parse_special = fields.flag("parse_special", true);
  out.with_pieces = fields.flag("with_pieces", false);
  return out;
}

DetokenizeRequest detokenize_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  if (!fields.has("tokens")) refuse("tokens", "'tokens' is missing, expected a list of token ids");
  return {fields.ids("tokens")};
}

TemplateRequest template_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  TemplateRequest out;
  out.messages = messages_of(fields.find("messages"));
  out.variables = fields.object("chat_template_kwargs");
  out.tools = tools_of(fields);
  out.add_generation_prompt = fields.flag("add_generation_prompt", true);
  return out;
}

}  // namespace hunch::serve
