// POST /api/chat, /api/generate, /api/embed and /api/embeddings of Ollama's API: what is asked for.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_request.h"

namespace hunch::serve {

struct OllamaRequest {
  ChatRequest chat;                // of /api/generate: the system's and the user's text as messages
  std::optional<std::string> raw;  // of /api/generate: a text that is continued as it is
  size_t n_ctx = 0;                // most tokens of prompt and answer together; 0: as many as the server has
  bool only_loads = false;         // nothing is asked: the model is to be ready
};
struct OllamaEmbedRequest {
  std::vector<std::string> texts;
  bool truncate = true;  // texts that are too long; else they are errors
};

// All throw RequestError{400} naming the field that is wrong.
OllamaRequest ollama_chat_request(std::string_view body);
OllamaRequest ollama_generate_request(std::string_view body);
OllamaEmbedRequest ollama_embed_request(std::string_view body);       // /api/embed: "input"
OllamaEmbedRequest ollama_embeddings_request(std::string_view body);  // /api/embeddings: "prompt"

}  // namespace hunch::serve
