// A text that is kept between calls.
#include "hunch/session.h"

#include <algorithm>

#include "api/impl.h"

namespace hunch {

// The context holds a beginning of `ids`; what follows it is computed with the next answer.
struct Session::Impl {
  std::shared_ptr<ModelImpl> model;
  Answering answering;
  std::vector<int32_t> ids = {};

  Context& context() { return answering.context(); }
  // The context holds at most n tokens, fewer where a key policy has dropped some of these.
  void go_back(size_t n_tokens) { context().go_back(std::min(context().n_tokens(), n_tokens)); }
  std::vector<int32_t> tokenize(std::string_view text) const {
    return model->engine.encode(text, {.add_special = ids.empty()});
  }
  // What is not computed yet, and `more`: at least one token where there is any, so that an answer has logits to begin
  // with.
  std::vector<int32_t> unread(std::span<const int32_t> more) {
    if (more.empty() && !ids.empty()) go_back(ids.size() - 1);
    std::vector<int32_t> all(ids.begin() + ptrdiff_t(context().n_tokens()), ids.end());
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

Session::Session(LanguageModel& model, const SessionOptions& options) {
  ModelImpl& impl = *impl_of(model);
  impl_.reset(new Impl{impl_of(model), Answering(impl, choice_of(options), options.n_ctx)});
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Generation Session::generate(std::string_view text, const GenerationOptions& options, const OnText& on_text) {
  const std::vector<int32_t> ids = impl_->tokenize(text);
  return generate(std::span<const int32_t>(ids), options, on_text);
}

Generation Session::generate(std::span<const int32_t> ids, const GenerationOptions& options, const OnText& on_text) {
  const size_t n_held = impl_->context().n_tokens();
  try {
    Generation g = impl_->answering.generate(impl_->unread(ids), options, on_text);
    impl_->ids.insert(impl_->ids.end(), ids.begin(), ids.end());
    impl_->ids.insert(impl_->ids.end(), g.ids.begin(), g.ids.end());
    return g;
  } catch (...) {
    impl_->go_back(n_held);
    throw;
  }
}

void Session::read(std::string_view text) {
  const std::vector<int32_t> ids = impl_->tokenize(text);
  read(std::span<const int32_t>(ids));
}

void Session::read(std::span<const int32_t> ids) {
  const size_t n_held = impl_->context().n_tokens();
  std::vector<int32_t> unread = impl_->unread(ids);
  if (unread.size() > 1) {
    unread.pop_back();
    try {
      impl_->context().append(unread);
    } catch (...) {
      impl_->go_back(n_held);
      throw;
    }
  }
  impl_->ids.insert(impl_->ids.end(), ids.begin(), ids.end());
}

void Session::truncate(size_t n_tokens) {
  if (n_tokens >= impl_->ids.size()) return;
  impl_->go_back(n_tokens);
  impl_->ids.resize(n_tokens);
}

std::span<const int32_t> Session::ids() const { return impl_->ids; }
size_t Session::n_ctx() const { return impl_->answering.context().n_ctx(); }

}  // namespace hunch
