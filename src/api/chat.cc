// A conversation by the model's chat template.
#include "hunch/chat.h"

#include "api/impl.h"
#include "engine/conversation.h"

namespace hunch {

struct ChatSession::Impl {
  std::shared_ptr<ModelImpl> model;
  Answering answering;
  Conversation conversation;
};

ChatSession::ChatSession(LanguageModel& model, const ChatOptions& options) {
  ModelImpl& impl = *impl_of(model);
  ChatText text = chat_text(&impl.engine.need_tokenizer(), options.template_file);
  impl_.reset(new Impl{impl_of(model), Answering(impl, choice_of(options), options.n_ctx),
                       Conversation(impl.engine, std::move(text))});
  impl_->conversation.set_system(options.system);
}

ChatSession::~ChatSession() = default;
ChatSession::ChatSession(ChatSession&&) noexcept = default;
ChatSession& ChatSession::operator=(ChatSession&&) noexcept = default;

ChatAnswer ChatSession::say(std::string_view message, const GenerationOptions& options, const OnText& on_text) {
  ChatAnswer out;
  out.generation = impl_->answering.answer(
      options, on_text, [&](Context& context, const GenerateOptions& own, const auto& on_token) {
        Conversation::Answer answer = impl_->conversation.say(context, std::string(message), own, on_token);
        out.n_forgotten = answer.n_forgotten;
        out.n_cached = answer.n_cached;
        return std::move(answer.generated);
      });
  return out;
}

void ChatSession::set_system(std::string_view text) { impl_->conversation.set_system(std::string(text)); }
void ChatSession::reset() { impl_->conversation.reset(); }

std::string ChatSession::messages_json() const {
  return impl_->conversation.messages().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace hunch
