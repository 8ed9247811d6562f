// OpenAI's responses.
#include "serve/request_error.h"
#include "serve/responses_answer.h"
#include "serve/responses_request.h"
#include "serve/service.h"

namespace hunch::serve {
void Service::respond(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  ResponsesRequest r = responses_request(request.body);
  Json before = Json::array();
  if (!r.previous_id.empty()) {
    std::optional<Json> found = responses_.messages(r.previous_id);
    if (!found)
      throw RequestError(400, response_not_found(r.previous_id).what(), "previous_response_id",
                         "previous_response_not_found");
    before = std::move(*found);
  }
  ResponsesAnswer::About about{new_id("resp_"), options_.model_name, now_seconds(), r.chat.settings.stream, r.echoed};
  if (r.store) {
    Json text = before;
    text.insert(text.end(), r.chat.messages.begin(), r.chat.messages.end());
    about.keep = [this, id = about.id, text](const Json& response, const Json& messages) {
      Json whole = text;
      whole.insert(whole.end(), messages.begin(), messages.end());
      responses_.keep(id, response, whole);
    };
  }
  r.chat.messages = with_instructions(r.instructions, before, r.chat.messages);
  const Conversation c = conversation_of(r.chat);
  const auto writer = std::make_shared<ResponsesAnswer>(reply, std::move(about), splitter(c.rendered, r.chat.tools));
  start(chat_jobs(r.chat, c), *writer, r.chat.settings, "input");
}

}  // namespace hunch::serve
