#include "measure/text_windows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace hunch {

TextWindows::TextWindows(const Engine& engine, std::span<const int32_t> ids, const WindowOptions& options)
    : text_(options.max_tokens ? ids.first(std::min(options.max_tokens, ids.size())) : ids),
      n_ctx_(options.n_ctx ? options.n_ctx : std::min<size_t>(engine.config().n_ctx_train, 2048)),
      protocol_(options.protocol) {
  const bool halves = protocol_ == WindowProtocol::kSecondHalves;
  stride_ = options.stride ? options.stride : std::max<size_t>(1, halves ? n_ctx_ : n_ctx_ / 2);
  const size_t n = text_.size();
  if (n < 2) fail(ErrorKind::kUsage, "the text has {} tokens; perplexity needs at least 2", n);
  if (n_ctx_ < 2) fail(ErrorKind::kUsage, "a window of {} tokens is too short; expected at least 2", n_ctx_);
  if (stride_ > n_ctx_)
    fail(ErrorKind::kUsage, "stride {} is larger than the window of {} tokens; expected at most {}", stride_, n_ctx_,
         n_ctx_);
  if (!halves) {
    for (size_t begin = 0, scored_to = 1; scored_to < n; begin += stride_) {
      const size_t end = std::min(begin + n_ctx_, n);
      if (end <= scored_to) continue;
      windows_.push_back({begin, end, std::max(scored_to, begin + 1)});  // the first has nothing before it
      scored_to = end;
    }
    return;
  }
  if (stride_ != n_ctx_)
    fail(ErrorKind::kUsage, "second halves are of windows that follow one another: a stride of {}, expected {}",
         stride_, n_ctx_);
  if (n_ctx_ < 4) fail(ErrorKind::kUsage, "a window of {} tokens has no second half; expected at least 4", n_ctx_);
  if (n < n_ctx_)
    fail(ErrorKind::kUsage, "the text has {} tokens and fills no window of {}: a smaller --ctx, or --protocol sliding",
         n, n_ctx_);
  for (size_t begin = 0; begin + n_ctx_ <= n; begin += n_ctx_)
    windows_.push_back({begin, begin + n_ctx_, begin + n_ctx_ / 2 + 1});
  if (engine.tokenizer && engine.tokenizer->spec().add_bos) bos_ = engine.tokenizer->spec().bos.value_or(-1);
}

std::span<const int32_t> TextWindows::ids(const TextWindow& window) {
  const std::span<const int32_t> ids = text_.subspan(window.begin, window.end - window.begin);
  if (bos_ < 0) return ids;
  with_bos_.assign(ids.begin(), ids.end());
  with_bos_[0] = bos_;
  return with_bos_;
}

size_t TextWindows::n_scored() const {
  size_t n = 0;
  for (const TextWindow& w : windows_) n += w.end - w.first_scored;
  return n;
}

size_t TextWindows::n_longest() const { return std::min(n_ctx_, text_.size()); }

std::string TextWindows::describe() const {
  if (protocol_ == WindowProtocol::kSecondHalves)
    return fmt::format("{} whole windows of {} tokens, the second half of each scored (llama.cpp's protocol)",
                       windows_.size(), n_ctx_);
  if (stride_ == n_ctx_) return fmt::format("disjoint windows of {} tokens, all scored (GPTQ's protocol)", n_ctx_);
  return fmt::format(
      "windows of {} tokens every {}; each token is scored once, with at least {} tokens before it from the second "
      "window "
      "on",
      n_ctx_, stride_, n_ctx_ - stride_);
}

}  // namespace hunch
