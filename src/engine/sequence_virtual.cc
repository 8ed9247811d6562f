// Tokens that an adapter has before every text (prompt and prefix tuning).
#include "base/error.h"
#include "engine/sequence.h"
#include "model/virtual_tokens.h"

namespace hunch {
namespace {

// Who looks at tokens by their place in the text would take the virtual ones for words.
void refuse_with_virtual_tokens(const Plan& plan, const KvType& type) {
  const char* what = plan.keys      ? "a key policy (kv_policy)"
                     : plan.prompts ? "patterns of prompts (prefill)"
                     : plan.memory  ? "a memory (memory)"
                                    : nullptr;
  if (what) fail(ErrorKind::kUnsupported, "an adapter with virtual tokens (lora) does not go with {}", what);
  if (type.grouped())
    fail(ErrorKind::kUnsupported, "an adapter with virtual tokens (lora) does not go with a cache as {}",
         name_of(type));
}

}  // namespace

void Sequence::begin_with_virtual_tokens(bool is_guest) {
  const VirtualTokenValues none, &own = adapter_ ? adapter_->virtual_tokens : none;
  if (is_guest) {
    if (own.n != text_->n_virtual || (own.n > 0 && adapter_ != text_->begins_with))
      fail(ErrorKind::kUsage, "the text begins with {} virtual tokens, the adapter (lora) has {}{}", text_->n_virtual,
           own.n, own.n == text_->n_virtual ? " others" : "");
    return;
  }
  if (own.n == 0) return;
  refuse_with_virtual_tokens(*plan_, text_->cache->shape().type);
  if (engine_.device)
    fail(ErrorKind::kUnsupported, "an adapter with virtual tokens (lora) does not go with a device (device)");
  if (n_ctx_ <= own.n)
    fail(ErrorKind::kLimit, "a context (n_ctx) of {} tokens has no room beside {} virtual tokens of the adapter",
         n_ctx_, own.n);
  n_ctx_ -= own.n;
  text_->n_virtual = own.n;
  text_->begins_with = adapter_;
  if (text_->cache->n_tokens(id()) == 0)  // else a fork of a text that has them
    append_virtual_tokens(*engine_.model, *engine_.compute, *text_->cache, id(), *adapter_);
}

}  // namespace hunch
