// Vectors, scores, tokens and rendered conversations.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "engine/pooling.h"
#include "engine/rank.h"
#include "serve/request_error.h"
#include "serve/service.h"
#include "text/base64.h"

namespace hunch::serve {
namespace {

// Texts that are read a piece at a time between steps of the batch, and what is made of all of them.
class Reading {
 public:
  Reading(const Engine& engine, std::shared_ptr<const Adapter> adapter, const Scheduler& scheduler,
          std::vector<TextToRead> texts, std::shared_ptr<Reply> reply, Dialect dialect, TextReading::Each each,
          std::function<Json()> done)
      : scheduler_(scheduler),
        dialect_(dialect),
        texts_(std::move(texts)),
        reply_(std::move(reply)),
        done_(std::move(done)),
        reading_(engine, texts_, {.n_ctx = scheduler.n_ctx(), .adapter = std::move(adapter)}, std::move(each)) {}

  // False when it is done.
  bool step() {
    try {
      if (reading_.step(scheduler_.task_tokens())) return true;
      reply_->send({200, "application/json", dump(done_())});
    } catch (...) {
      reply_->send(error_response(as_request_error(std::current_exception()), dialect_));
    }
    return false;
  }

 private:
  const Scheduler& scheduler_;
  const Dialect dialect_;
  const std::vector<TextToRead> texts_;
  const std::shared_ptr<Reply> reply_;
  const std::function<Json()> done_;
  TextReading reading_;
};

size_t check_and_count(const std::vector<TextToRead>& texts, size_t n_ctx, const char* param) {
  size_t n = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].ids.empty()) refuse(param, "text {} has no tokens", i);
    if (texts[i].ids.size() > n_ctx)
      throw RequestError(
          400, fmt::format("text {} has {} tokens, more than the context of {}", i, texts[i].ids.size(), n_ctx), param,
          "context_length_exceeded");
    n += texts[i].ids.size();
  }
  return n;
}

Json usage_of(size_t n_tokens) { return {{"prompt_tokens", n_tokens}, {"total_tokens", n_tokens}}; }

}  // namespace

void Service::embed(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const EmbeddingRequest r = embedding_request(request.body);
  std::vector<TextToRead> texts;
  for (const Prompt& text : r.texts) texts.push_back({ids_of(text, "input")});
  read_vectors(
      reply, Dialect::kOpenAi, std::move(texts),
      [base64 = r.base64, model = options_.model_name](std::vector<std::vector<float>>& vectors, size_t n) -> Json {
        Json data = Json::array();
        for (size_t i = 0; i < vectors.size(); ++i) {
          Json value = vectors[i];
          if (base64) value = encode_base64({reinterpret_cast<const char*>(vectors[i].data()), 4 * vectors[i].size()});
          data.push_back({{"object", "embedding"}, {"index", i}, {"embedding", std::move(value)}});
        }
        return {{"object", "list"}, {"data", std::move(data)}, {"model", model}, {"usage", usage_of(n)}};
      });
}

void Service::read_vectors(const std::shared_ptr<Reply>& reply, Dialect dialect, std::vector<TextToRead> texts,
                           std::function<Json(std::vector<std::vector<float>>&, size_t)> done) {
  const PoolingKind kind = pooling_of(engine_.config());
  const size_t n_tokens = check_and_count(texts, scheduler_->n_ctx(), "input");
  reply->note("prompt_tokens", n_tokens);
  const auto vectors = std::make_shared<std::vector<std::vector<float>>>(texts.size());
  const auto each = [vectors, kind, n_embd = engine_.config().n_embd](size_t i, MatView<const float> states) {
    (*vectors)[i].resize(n_embd);
    pool(states, kind, (*vectors)[i]);
    scale_to_length_1((*vectors)[i]);
  };
  read(reply, dialect, std::move(texts), each, [=] { return done(*vectors, n_tokens); });
}

void Service::read(const std::shared_ptr<Reply>& reply, Dialect dialect, std::vector<TextToRead> texts,
                   std::function<void(size_t, MatView<const float>)> each, std::function<Json()> done) {
  const auto stop = std::make_shared<Stop>();
  reply->when_gone([stop] { stop->request(); });
  const auto reading = std::make_shared<Reading>(engine_, adapters_.default_adapter(), *scheduler_, std::move(texts),
                                                 reply, dialect, std::move(each), std::move(done));
  scheduler_->submit({[reading] { return reading->step(); }, stop});
}

void Service::rerank(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const RerankRequest r = rerank_request(request.body);
  const auto ranker = [&] {
    try {
      return std::make_shared<const Ranker>(engine_);
    } catch (const Error& e) {
      throw RequestError(400, e.what());
    }
  }();
  std::vector<TextToRead> texts;
  for (const std::string& document : r.documents) texts.push_back(ranker->pair(r.query, document));
  const size_t n_tokens = check_and_count(texts, scheduler_->n_ctx(), "documents");
  reply->note("prompt_tokens", n_tokens);
  const auto scores = std::make_shared<std::vector<float>>(texts.size());
  const auto each = [scores, ranker](size_t i, MatView<const float> states) { (*scores)[i] = ranker->score(states); };
  const auto done = [scores, r, n_tokens, model = options_.model_name]() -> Json {
    std::vector<size_t> order(scores->size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return (*scores)[a] > (*scores)[b]; });
    if (r.n_shown) order.resize(std::min(order.size(), r.n_shown));
    Json results = Json::array();
    for (const size_t i : order) {
      results.push_back({{"index", i}, {"relevance_score", (*scores)[i]}});
      if (r.with_documents) results.back()["document"] = {{"text", r.documents[i]}};
    }
    return {{"object", "list"}, {"model", model}, {"results", std::move(results)}, {"usage", usage_of(n_tokens)}};
  };
  read(reply, Dialect::kOpenAi, std::move(texts), each, done);
}

void Service::tokenize(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const TokenizeRequest r = tokenize_request(request.body);
  const Tokenizer& tokenizer = engine_.need_tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode(r.text, {r.add_special, r.parse_special});
  Json tokens = ids;
  if (r.with_pieces) {
    tokens = Json::array();
    for (const int32_t id : ids) tokens.push_back({{"id", id}, {"piece", shown_token(tokenizer, id)}});
  }
  reply->send({200, "application/json",
               dump({{"tokens", tokens}, {"count", ids.size()}, {"max_model_len", scheduler_->n_ctx()}})});
}

void Service::detokenize(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const DetokenizeRequest r = detokenize_request(request.body);
  const Tokenizer& tokenizer = engine_.need_tokenizer();
  for (const int32_t id : r.ids)
    if (size_t(id) >= tokenizer.n_vocab())
      refuse("tokens", "token id {} is outside the vocabulary of {}", id, tokenizer.n_vocab());
  const std::string text = tokenizer.decode(r.ids);
  reply->send({200, "application/json", dump({{"content", text}, {"prompt", text}})});
}

// As vLLM's, by which clients that count tokens (lm-evaluation-harness) do without the model's files.
void Service::tokenizer_info(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  const Tokenizer& tokenizer = engine_.need_tokenizer();
  const TokenizerSpec& spec = tokenizer.spec();
  const auto piece = [&](const std::optional<int32_t>& id) -> Json {
    return id ? Json(std::string(tokenizer.piece(*id))) : Json(nullptr);
  };
  reply->send({200, "application/json",
               dump({{"bos_token", piece(spec.bos)},
                     {"eos_token", piece(spec.eos)},
                     {"unk_token", piece(spec.unk)},
                     {"pad_token", piece(spec.pad)},
                     {"add_bos_token", spec.add_bos},
                     {"model_max_length", scheduler_->n_ctx()},
                     {"vocab_size", tokenizer.n_vocab()},
                     {"chat_template", chat_text_ ? Json(chat_text_->source) : Json(nullptr)}})});
}

void Service::apply_template(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const TemplateRequest r = template_request(request.body);
  const std::string prompt = render(r.messages, r.variables, r.tools, r.add_generation_prompt);
  reply->send({200, "application/json", dump({{"prompt", prompt}})});
}

}  // namespace hunch::serve
