// The smaller requests: vectors, scores, tokens.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/completion_request.h"
#include "serve/tool_settings.h"

namespace hunch::serve {

// POST /v1/embeddings.
struct EmbeddingRequest {
  std::vector<Prompt> texts;
  bool base64 = false;
};
// POST /v1/rerank, as Jina's and llama.cpp's.
struct RerankRequest {
  std::string query;
  std::vector<std::string> documents;
  size_t n_shown = 0;  // 0: all
  bool with_documents = false;
};
// POST /tokenize: llama.cpp's (`content`), or vLLM's (`prompt`), which adds special tokens unless it is told not to.
struct TokenizeRequest {
  std::string text;
  bool add_special = false, parse_special = true, with_pieces = false;
};
// POST /detokenize.
struct DetokenizeRequest {
  std::vector<int32_t> ids;
};
// POST /apply-template.
struct TemplateRequest {
  Json messages, variables;
  ToolSettings tools;
  bool add_generation_prompt = true;
};

constexpr size_t kMostTexts = 2048;

// All throw RequestError{400} naming the field that is wrong.
EmbeddingRequest embedding_request(std::string_view body);
RerankRequest rerank_request(std::string_view body);
TokenizeRequest tokenize_request(std::string_view body);
DetokenizeRequest detokenize_request(std::string_view body);
TemplateRequest template_request(std::string_view body);

}  // namespace hunch::serve
