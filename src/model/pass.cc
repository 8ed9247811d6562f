// A pass's beginning and end: room in the cache, and how steps are divided.
#include <algorithm>

#include "base/error.h"
#include "model/ranks.h"
#include "model/recurrent.h"
#include "model/transformer.h"

namespace hunch {

KvShape Transformer::kv_shape(const ModelConfig& config, KvType type, size_t page_tokens) {
  KvShape shape{{}, type, page_tokens};
  for (const LayerConfig& l : config.layers) {
    shape.layers.push_back(l.has_attention() && !l.borrows_keys() && !l.elsewhere ? KvHeads{l.n_kv_head, l.d_head}
                                                                                  : KvHeads());
    if (l.is_recurrent()) shape.recurrent.resize(config.n_layer);
  }
  for (size_t i = 0; i < shape.recurrent.size(); ++i)
    if (!config.layers[i].elsewhere) shape.recurrent[i] = recurrent_size(config.layers[i]);
  return shape;
}

void Transformer::check(const StepInput& input) const {
  const ModelConfig& c = model_.config();
  size_t n_in_runs = 0;
  for (const Run& r : input.runs) n_in_runs += r.n_tokens;
  HUNCH_CHECK(n_in_runs == input.ids.size(), "{} tokens in runs, {} ids", n_in_runs, input.ids.size());
  for (int32_t id : input.ids)
    if (id < 0 || size_t(id) >= c.n_vocab)
      fail(ErrorKind::kUsage, "token id {} is outside the vocabulary of {}, expected 0 to {}", id, c.n_vocab,
           c.n_vocab - 1);
  if (!c.has_output && !input.logit_rows.empty())
    fail(ErrorKind::kUnsupported,
         "this model has no output matrix: it makes vectors of texts (`hunch embed`), no text and no logits");
  const size_t n_types = model_.weights().type_embd.size() / c.n_embd;
  for (const Run& r : input.runs) {
    if (!c.causal && (r.phase != Phase::kPrompt || r.as_alone || cache_.n_tokens(r.sequence) > 0))
      fail(ErrorKind::kUnsupported,
           "every token of this model sees those after it: a text is read as a whole, and cannot be continued");
    HUNCH_CHECK(r.second_begins == SIZE_MAX || n_types != 1, "a pair of texts in a model of one type");
  }
  const bool table = c.position == PositionKind::kLearned || c.position == PositionKind::kSinusoidal;
  for (const Run& r : input.runs)
    if (const size_t end = cache_.n_tokens(r.sequence) - cache_.n_moved(r.sequence) + r.n_tokens;
        table && end > c.n_ctx_train)
      fail(ErrorKind::kLimit, "{} tokens are more than the model's {} positions", end, c.n_ctx_train);
}

bool Transformer::tell_ranks(const StepInput& input) const {
  Ranks* const ranks = model_.ranks();
  if (!ranks || !ranks->leads()) return false;
  if (observer)
    fail(ErrorKind::kUnsupported,
         "what is computed is divided among ranks: nobody sees all of it; run it without mpirun");
  ranks->lead(model_, cache_, input);
  return true;
}

std::vector<StepStats> Transformer::take_stats_of_others() {
  Ranks* const ranks = model_.ranks();
  return ranks && ranks->leads() ? ranks->take_stats(cache_, model_.config().n_layer) : std::vector<StepStats>();
}

void Transformer::end_unless_agreed() const {
  try {
    throw;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kInterrupted) model_.ranks()->communicator().abort(e.what());
  } catch (const std::exception& e) {
    model_.ranks()->communicator().abort(e.what());
  }
}

// All or nothing.
void Transformer::append(const StepInput& input) {
  for (size_t i = 0; i < input.runs.size(); ++i) {
    try {
      cache_.append(input.runs[i].sequence, input.runs[i].n_tokens);
    } catch (...) {
      forget({input.ids, input.runs.first(i), {}});
      throw;
    }
  }
}

void Transformer::forget(const StepInput& input) {
  for (const Run& r : input.runs) {
    const size_t n_before = cache_.n_tokens(r.sequence) - r.n_tokens;
    cache_.truncate(r.sequence, n_before);
    if (r.states) r.states->truncate(n_before);
  }
}

void Transformer::run_on_device(const StepInput& input, MatView<float> logits) {
  if (observer)
    fail(ErrorKind::kUnsupported,
         "what layers compute on a device (device) cannot be watched: this measurement runs on the processor, cpu");
  check(input);
  device_->require(input);
  const size_t n_here = device_->first_layer();
  for_each_part(input, [&](const StepInput& part, size_t first_row) {
    in_step(part, [&](Step& s) {
      MatView<float> stream;
      if (n_here > 0) {
        stream = s.take(s.n_tokens(), model_.config().stream_width());
        enter(s, stream);
        layers(s, 0, n_here, stream);
      }
      device_->run(part, stream, logits.row_range(first_row, part.logit_rows.size()), stats);
    });
  });
  for (const Run& run : input.runs)
    if (run.phase != Phase::kVerify) cache_.commit(run.sequence);
}

void Transformer::for_each_part(const StepInput& input, const std::function<void(const StepInput&, size_t)>& each) {
  const auto alike = [](const Run& a, const Run& b) {
    return a.as_alone == b.as_alone && (!a.as_alone || (a.plan == b.plan && a.phase == b.phase));
  };
  // Nearly always: nothing is split, and nothing allocated.
  if (std::ranges::all_of(input.runs, [&](const Run& run) { return alike(input.runs[0], run); })) return each(input, 0);
  std::vector<uint32_t> rows;
  size_t first_token = 0, first_row = 0;
  for (size_t begin = 0, end = 0; begin < input.runs.size(); begin = end) {
    size_t n_tokens = 0;
    for (end = begin; end < input.runs.size() && alike(input.runs[begin], input.runs[end]); ++end)
      n_tokens += input.runs[end].n_tokens;
    rows.clear();
    for (size_t i = first_row; i < input.logit_rows.size() && input.logit_rows[i] < first_token + n_tokens; ++i)
      rows.push_back(uint32_t(input.logit_rows[i] - first_token));
    try {
      each({input.ids.subspan(first_token, n_tokens), input.runs.subspan(begin, end - begin), rows}, first_row);
    } catch (...) {
      forget({input.ids, input.runs.first(begin), {}});
      throw;
    }
    first_token += n_tokens;
    first_row += rows.size();
  }
}

Transformer::Counted::Counted(const Meter& meter, StepStats& stats)
    : meter_(meter), stats_(stats), bytes_(meter.bytes()), rows_(meter.rows()) {}

Transformer::Counted::~Counted() {
  const Bytes read = meter_.bytes() - bytes_;
  stats_.weight_bytes += read.weights();
  stats_.predictor_bytes += read[Traffic::kPredictors];
  stats_.kv_bytes += read[Traffic::kKv];
  stats_.rows += meter_.rows() - rows_;
}

// Memory of what the caller gets.
MatView<float> Transformer::result(size_t rows, size_t cols) {
  return {result_.get<float>(rows * cols).data(), rows, cols};
}

}  // namespace hunch
