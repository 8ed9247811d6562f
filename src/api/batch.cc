// Several answers in shared steps.
#include "hunch/batch.h"

#include <algorithm>
#include <map>
#include <optional>

#include "api/impl.h"
#include "api/options.h"
#include "base/error.h"
#include "engine/answer.h"
#include "engine/drafting.h"

namespace hunch {
namespace {

// An answer's own: freed when it is done, but for its result.
struct Part {
  Part(const GenerationOptions& options_, OnText on_text_) : options(options_), on_text(std::move(on_text_)) {}
  const GenerationOptions options;
  const OnText on_text;
  AnswerRecord record{options, on_text};
  std::unique_ptr<Sequence> sequence = {};
  std::optional<Drafting> drafting = {};
  std::shared_ptr<Answer> answer = {};
};

struct Entry {
  std::unique_ptr<Part> part;  // none: it is done
  Generation result = {};
  std::exception_ptr error = {};
};

BatchOptions batch_options(const ModelImpl& model, const GenerationBatchOptions& options, size_t n_ctx) {
  if (options.n_sequences == 0) fail(ErrorKind::kUsage, "a batch of 0 sequences, expected at least 1");
  BatchOptions own;
  own.n_tokens = options.n_tokens ? options.n_tokens : options.n_sequences * n_ctx;
  own.kv_type = cache_type(model.options.kv);
  own.n_sequences = options.n_sequences;
  return own;
}

}  // namespace

struct GenerationBatch::Impl {
  std::shared_ptr<ModelImpl> model;
  size_t n_ctx, n_sequences;
  Batch batch;
  std::map<size_t, Entry> entries = {};  // by number
  size_t n_added = 0;

  size_t n_in_the_making() const {
    return size_t(std::ranges::count_if(entries, [](const auto& entry) { return entry.second.part != nullptr; }));
  }
  const Entry& entry(size_t number) const {
    const auto found = entries.find(number);
    if (found == entries.end()) fail(ErrorKind::kUsage, "no answer {} in this batch", number);
    return found->second;
  }
  // Keeps the results of answers that are done, and gives their tokens' room back.
  void settle() {
    for (auto& [number, entry] : entries) {
      if (!entry.part || !entry.part->answer->is_done()) continue;
      Part& part = *entry.part;
      entry.error = part.answer->error();
      if (!entry.error)
        entry.result = part.record.generation(part.answer->generated(),
                                              drafts_of(part.drafting ? &part.drafting->speculation() : nullptr));
      batch.remove(*part.answer);
      entry.part.reset();
    }
  }
};

GenerationBatch::GenerationBatch(LanguageModel& model, const GenerationBatchOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const size_t n_ctx = resolve_context(impl.engine.config(), options.n_ctx ? options.n_ctx : impl.options.n_ctx);
  impl_.reset(
      new Impl{impl_of(model), n_ctx, options.n_sequences, Batch(impl.engine, batch_options(impl, options, n_ctx))});
}

GenerationBatch::~GenerationBatch() = default;
GenerationBatch::GenerationBatch(GenerationBatch&&) noexcept = default;
GenerationBatch& GenerationBatch::operator=(GenerationBatch&&) noexcept = default;

size_t GenerationBatch::add(std::string_view prompt, const GenerationOptions& options, OnText on_text) {
  const std::vector<int32_t> ids = impl_->model->engine.encode(prompt);
  return add(std::span<const int32_t>(ids), options, std::move(on_text));
}

size_t GenerationBatch::add(std::span<const int32_t> prompt_ids, const GenerationOptions& options, OnText on_text) {
  if (impl_->n_in_the_making() >= impl_->n_sequences)
    fail(ErrorKind::kLimit, "{} answers are in the making, which is what this batch was made for", impl_->n_sequences);
  auto part = std::make_unique<Part>(options, std::move(on_text));
  ModelImpl& model = *impl_->model;
  part->sequence = impl_->batch.new_sequence(
      sequence_options(model.engine, model.context_options(choice_of(options), impl_->n_ctx)));
  GenerateOptions wanted = generate_options(options);
  if (const DraftingOptions drafts = drafting_options(options.drafts, model.engine); drafts.any())
    wanted.speculation = &part->drafting.emplace(model.engine, *part->sequence, drafts).speculation();
  part->answer = impl_->batch.admit(*part->sequence, {prompt_ids.begin(), prompt_ids.end()}, wanted,
                                    [p = part.get()](const GeneratedToken& token) { return p->record.take(token); });
  const size_t number = impl_->n_added++;
  impl_->entries.emplace(number, Entry{std::move(part)});
  return number;
}

bool GenerationBatch::step() {
  const bool more = impl_->batch.step();
  impl_->settle();
  return more;
}

bool GenerationBatch::is_done(size_t answer) const { return !impl_->entry(answer).part; }

const Generation& GenerationBatch::result(size_t answer) const {
  const Entry& entry = impl_->entry(answer);
  if (entry.part) fail(ErrorKind::kUsage, "answer {} is not done: step() until is_done()", answer);
  if (entry.error) std::rethrow_exception(entry.error);
  return entry.result;
}

void GenerationBatch::remove(size_t answer) {
  if (const auto& part = impl_->entry(answer).part) impl_->batch.remove(*part->answer);
  impl_->entries.erase(answer);
}

}  // namespace hunch
