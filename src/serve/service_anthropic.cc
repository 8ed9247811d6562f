// Anthropic's routes.
#include "serve/anthropic_answer.h"
#include "serve/anthropic_request.h"
#include "serve/service.h"

namespace hunch::serve {

void Service::anthropic_message(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const ChatRequest r = anthropic_request(request.body, false);
  const Conversation c = conversation_of(r);
  const auto writer = std::make_shared<AnthropicAnswer>(reply, r.settings.stream, splitter(c.rendered, r.tools),
                                                        new_id("msg_"), options_.model_name, r.settings.stop);
  start(chat_jobs(r, c), *writer, r.settings);
}

void Service::anthropic_count(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const Conversation c = conversation_of(anthropic_request(request.body, true));
  send_json(reply, {{"input_tokens", c.ids.size()}});
}

}  // namespace hunch::serve
