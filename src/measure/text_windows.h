// How a text is cut into windows for its perplexity, with the protocol stated.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace hunch {

enum class WindowProtocol {
  // Windows start every `stride` tokens; in each only what no earlier window has scored counts, so every token but the
  // first is scored exactly once, with at least n_ctx - stride tokens before it from the second window on. A stride
  // below n_ctx is Hugging Face's sliding window, stride == n_ctx the disjoint windows of GPTQ's papers, of which the
  // first tokens are not scored.
  kSliding,
  // llama.cpp's: whole windows, one after the other, of each the second half scored; where the model's family begins
  // texts
  // with BOS, it stands in place of each window's first token. What is left at the end of the text is not read.
  kSecondHalves,
};

struct WindowOptions {
  size_t n_ctx = 0;       // tokens per window; 0: the model's trained context, at most 2048
  size_t stride = 0;      // tokens; 0: half of n_ctx, n_ctx for second halves
  size_t max_tokens = 0;  // the first so many tokens of the text; 0 = all
  WindowProtocol protocol = WindowProtocol::kSliding;
};

// Tokens [begin, end) of the text, of which [first_scored, end) count: each is predicted by those before it.
struct TextWindow {
  size_t begin, end, first_scored;
};

class TextWindows {
 public:
  // `ids` is the text, tokenised once, and must outlive this. Throws Error{kUsage} for a text of fewer than two tokens
  // (second halves: than one window), a window of fewer, or a stride outside 1..n_ctx.
  TextWindows(const Engine& engine, std::span<const int32_t> ids, const WindowOptions& options);

  const std::vector<TextWindow>& all() const { return windows_; }
  // [end - begin] what the model reads of a window; valid until the next call.
  std::span<const int32_t> ids(const TextWindow& window);
  size_t n_scored() const;
  // Longest window, tokens.
  size_t n_longest() const;
  size_t n_ctx() const { return n_ctx_; }
  size_t stride() const { return stride_; }
  std::string describe() const;  // "windows of 64 tokens every 32; each token is scored once, ..."

 private:
  std::span<const int32_t> text_;
  size_t n_ctx_, stride_;
  WindowProtocol protocol_;
  int32_t bos_ = -1;  // in place of a window's first token; -1: none
  std::vector<TextWindow> windows_;
  std::vector<int32_t> with_bos_;
};

}  // namespace hunch
