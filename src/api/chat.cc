// A conversation by the model's chat template.
#include "hunch/chat.h"

#include "api/impl.h"
#include "api/options.h"
#include "engine/conversation.h"

namespace hunch {

struct ChatSession::Impl {
  std::shared_ptr<LanguageModel::Impl> model;
  Answering answering;
  Conversation conversation;
};

ChatSession::ChatSession(LanguageModel& model, const ChatOptions& options) {
  LanguageModel::Impl& impl = *model.impl();
  ChatText text = chat_text(&impl.engine.need_tokenizer(), options.template_file);
  impl_.reset(new Impl{model.impl(), Answering(impl, choice_of(options), options.n_ctx),
                       Conversation(impl.engine, std::move(text))});
  impl_->conversation.set_system(options.system);
}

ChatSession::~ChatSession() = default;
ChatSession::ChatSession(ChatSession&&) noexcept = default;
ChatSession& ChatSession::operator=(ChatSession&&) noexcept = default;

ChatAnswer ChatSession::say(std::string_view message, const GenerationOptions& options, const OnText& on_text) {
  Answering& answering = impl_->answering;
  Context& context = answering.computed_as(choice_of(options));
  GenerateOptions own = generate_options(options);
  own.speculation = answering.speculation(options.drafts, context);
  AnswerRecord record(options, on_text);
  const DraftCount before = drafts_of(own.speculation);
  const Conversation::Answer answer = impl_->conversation.say(
      context, std::string(message), own, [&](const GeneratedToken& token) { return record.take(token); });
  ChatAnswer out;
  out.generation = record.generation(answer.generated, drafts_of(own.speculation) - before);
  out.n_forgotten = answer.n_forgotten;
  out.n_cached = answer.n_cached;
  return out;
}

void ChatSession::set_system(std::string_view text) { impl_->conversation.set_system(std::string(text)); }
void ChatSession::reset() { impl_->conversation.reset(); }

std::string ChatSession::messages_json() const {
  return impl_->conversation.messages().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace hunch
