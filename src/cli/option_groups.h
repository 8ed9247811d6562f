// Options that several verbs share.
#pragma once
#include "cli/flags.h"
#include "cli/grammar.h"

namespace hunch::cli {

// The argument MODEL.
void add_model(Grammar& g, ModelFlags& model);
// --lora.
void add_adapters(Grammar& g, ModelFlags& model);
// --force, of a verb that writes a file.
void add_force(Grammar& g, bool& force);
// --variables, of a chat template.
void add_variables(Grammar& g, std::vector<std::string>& variables);
// --json, --quiet.
void add_output(Grammar& g, bool& json, bool& quiet);
// What every verb that computes has, and add_output. `context` may be null (no forward pass); bench sizes its contexts
// itself and measures costs: it has no --ctx, and a --costs of its own.
void add_engine(Grammar& g, ModelFlags& model, ContextFlags* context, bool is_bench = false);
// --lossless, --draft, --ngram, --draft-tokens.
void add_drafting(Grammar& g, DraftFlags& drafting);
// The sampling chain, in its order.
void add_sampling(Grammar& g, SamplerFlags& sampler);

}  // namespace hunch::cli
