// Calls what every header declares: the library exports it, and what it throws is caught here.
#include <hunch/activations.h>
#include <hunch/batch.h>
#include <hunch/calibrate.h>
#include <hunch/chat.h>
#include <hunch/compare.h>
#include <hunch/embed.h>
#include <hunch/evaluate.h>
#include <hunch/quantize.h>
#include <hunch/session.h>

#include <iostream>
#include <utility>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  hunch::LanguageModel model(argv[1], {.n_ctx = 256, .kv = "f16", .experts = "", .cancel = nullptr});
  hunch::Cancel cancel;
  hunch::GenerationOptions options{.n_tokens = 4, .temperature = 0, .stop = {"\n"}, .n_top_log_probs = 2};
  options.plan = hunch::PlanChoice{.name = "dense"};
  options.drafts.ngram = true;
  options.cancel = &cancel;
  hunch::Session session(model, {.n_ctx = 128});
  session.read("Once upon");
  hunch::Session moved = std::move(session);
  std::size_t n = moved.generate(" a time", options).top_log_probs.size();
  moved.truncate(1);
  hunch::ChatSession chat(model, {.template_file = "plain"});
  chat.set_system("Be kind.");
  n += chat.say("Hello.", options).generation.ids.size();
  chat.reset();
  hunch::GenerationBatch batch(model, {.n_sequences = 2});
  const std::size_t answer = batch.add("The cat", options);
  while (batch.step()) {
  }
  n += batch.result(answer).ids.size();
  const auto ids = model.tokenize("The cat sat");
  n += hunch::logits(model, ids).n_tokens + hunch::hidden_states(model, ids).n_tokens;
  n += hunch::embed(model, "The cat", {.pooling = hunch::Pooling::kLast}).size() == model.info().n_embd;
  const std::string texts[] = {"The cat", "A dog"};
  n += hunch::embed_all(model, texts).size();
  try {
    hunch::rerank(model, "Who sleeps?", texts);
    return 1;
  } catch (const hunch::Error& e) {
    if (e.kind() != hunch::ErrorKind::kUnsupported) throw;
  }
  n += hunch::perplexity(model, model.detokenize(ids), {.kv_policy = ""}).n_tokens;
  n += hunch::activations(model, ids).n_tokens;
  hunch::LikelihoodScorer scorer(model, {.n_ctx = 64});
  n += scorer.score("The cat", " sat").log_likelihood < 0;
  const hunch::Mode dense{.plan = {.name = "dense"}};
  n += hunch::compare(model, "The cat sat on the mat.", {&dense, 1}, {.n_decode = 2, .n_repeats = 1}).size();
  try {
    hunch::quantize(argv[1], argv[1]);
    return 1;
  } catch (const hunch::Error& e) {
    if (e.kind() != hunch::ErrorKind::kUsage) throw;
  }
  cancel.request();
  if (hunch::generate(model, "Once", options).stop_reason != "interrupted") return 1;
  try {
    hunch::calibrate(model, "Too short.", {.method = "cats", .predictor = "svd", .rank = 16});
    return 1;
  } catch (const hunch::Error& e) {
    if (e.kind() != hunch::ErrorKind::kUsage) throw;
  }
  std::cout << "all of C++: " << n << " things, " << chat.messages_json() << '\n';
  return n > 12 ? 0 : 1;
} catch (const hunch::Error& e) {
  std::cerr << hunch::name_of(e.kind()) << ": " << e.what() << '\n';
  return 3;
}
