// Every parser of a request's body, on any bytes: it returns a value or throws RequestError, and what can be said of a
// request can be written as JSON.
#include <cstdint>
#include <cstdlib>

#include "serve/anthropic_request.h"
#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/model_choice.h"
#include "serve/native_request.h"
#include "serve/ollama_request.h"
#include "serve/request_error.h"
#include "serve/responses_request.h"
#include "serve/text_requests.h"

namespace {

template <class Body>
void run(Body body) {
  try {
    body();
  } catch (const hunch::serve::RequestError& e) {
    if (e.status() != 400) std::abort();
    const std::string line = hunch::serve::dump(e.json());
    hunch::serve::parse_body(line);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  using namespace hunch::serve;
  run([&] {
    const CompletionRequest r = completion_request(body);
    if (r.prompts.empty() || r.prompts.size() * r.settings.n_choices > kMostPrompts) std::abort();
  });
  run([&] { dump(chat_request(body).messages); });
  run([&] {
    const NativeRequest r = native_request(body);
    dump(r.echoed);
    if (r.prompts.empty() || r.prompts.size() > kMostPrompts) std::abort();
  });
  run([&] { model_choice(body); });
  run([&] { embedding_request(body); });
  run([&] { rerank_request(body); });
  run([&] { tokenize_request(body); });
  run([&] { detokenize_request(body); });
  run([&] { dump(template_request(body).messages); });
  for (const bool counts : {false, true}) run([&] { dump(anthropic_request(body, counts).messages); });
  run([&] {
    const ResponsesRequest r = responses_request(body);
    dump(r.echoed);
    dump(with_instructions(r.instructions, r.chat.messages, r.chat.messages));
  });
  run([&] { dump(ollama_chat_request(body).chat.messages); });
  run([&] { dump(ollama_generate_request(body).chat.messages); });
  run([&] { ollama_embed_request(body); });
  run([&] { ollama_embeddings_request(body); });
  return 0;
}
