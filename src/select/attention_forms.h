// Forms of attention in the place of a model's own, made of what a command line says: select/key_policies.h has the
// names. All of them drop nothing, and read a part of the cache, or sums of it, for every query. Throw Error{kUsage}.
#pragma once
#include <memory>

#include "select/key_selector.h"
#include "select/policy_options.h"

namespace hunch {

// The first layers ("full") are left as they are; "prompts" 0: prompts are read whole.
std::shared_ptr<KeySelector> longformer(size_t budget, const PolicyOptions& options);        // attention_patterns.h
std::shared_ptr<KeySelector> bigbird(size_t budget, const PolicyOptions& options);           // the same
std::shared_ptr<KeySelector> strided(size_t budget, const PolicyOptions& options);           // the same
std::shared_ptr<KeySelector> lsh(size_t budget, const PolicyOptions& options);               // lsh_keys.h
std::shared_ptr<KeySelector> hyper(size_t budget, const PolicyOptions& options);             // the same
std::shared_ptr<KeySelector> clusters(size_t budget, const PolicyOptions& options);          // cluster_keys.h
std::shared_ptr<KeySelector> linear_attention(size_t budget, const PolicyOptions& options);  // feature_keys.h
std::shared_ptr<KeySelector> performer(size_t budget, const PolicyOptions& options);         // the same
std::shared_ptr<KeySelector> linformer(size_t budget, const PolicyOptions& options);         // pooled_keys.h

}  // namespace hunch
