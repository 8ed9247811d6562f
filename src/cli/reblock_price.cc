#include "cli/reblock_price.h"

#include <algorithm>

#include "base/error.h"
#include "cli/console.h"
#include "cli/session_io.h"
#include "measure/compare.h"

namespace hunch::cli {
namespace {

constexpr std::string_view kText =
    "The miller's youngest daughter was sent to the well every morning before the sun was up, and every morning she "
    "counted her steps on the way. One day she counted one step too few. She went back to the gate and began again, "
    "and again there was one missing. \"Somebody has taken a piece of the road,\" she said to the dog, who had come "
    "along to see that nothing happened. The dog looked at the road and then at the hills, and said nothing.";
constexpr size_t kMinTokens = 32, kMaxTokens = 256;

std::vector<int32_t> text_to_measure(const Engine& engine, std::span<const int32_t> ids) {
  std::vector<int32_t> out(ids.begin(), ids.begin() + ptrdiff_t(std::min(ids.size(), kMaxTokens)));
  if (out.size() >= kMinTokens) return out;
  if (engine.tokenizer) {
    out = engine.tokenizer->encode(kText);
  } else {
    out.clear();
    for (size_t i = 0; i < 64; ++i) out.push_back(int32_t(i * 7919 % engine.config().n_vocab));
  }
  out.resize(std::min(out.size(), engine.config().n_ctx_train));
  return out;
}

}  // namespace

void print_reblock_price(const Engine& engine, const ModelFlags& flags, std::span<const int32_t> prompt) {
  if (flags.quiet || engine.model->ranks() || engine.model->weights().down_layout != DownLayout::kReblocked) return;
  ModelFlags as_filed = flags;
  as_filed.reblock_down = false;
  const Engine other = open_engine(as_filed);
  const std::vector<int32_t> ids = text_to_measure(engine, prompt);
  ContextOptions options;
  options.n_ctx = ids.size();
  std::vector<float> reference;
  Context(other, options).append_all(ids, [&](size_t, MatView<const float> logits) {
    for (size_t i = 0; i < logits.rows; ++i)
      reference.insert(reference.end(), logits.row(i).begin(), logits.row(i).end());
  });
  double kl = 0;
  size_t n_agree = 0;
  Context(engine, options).append_all(ids, [&](size_t first, MatView<const float> logits) {
    for (size_t i = 0; i < logits.rows; ++i) {
      const auto kept = std::span(reference).subspan((first + i) * logits.cols, logits.cols);
      kl += kl_divergence(kept, logits.row(i));
      n_agree += argmax(kept) == argmax(logits.row(i));
    }
  });
  note(
      fmt::format("note: the down projection was re-encoded as q8_0 along n_embd: KL {:.2e} nats to the file's own "
                  "form, same top token {:.1f} % "
                  "(over {} tokens)",
                  kl / double(ids.size()), 100.0 * double(n_agree) / double(ids.size()), ids.size()));
}

}  // namespace hunch::cli
