// The C API: several answers in shared steps.
#include "api/c_common.h"
#include "hunch/batch.h"

using namespace hunch::c;

struct hunch_batch {
  hunch::GenerationBatch batch;
};

namespace {

hunch_batch_options batch_defaults() {
  const hunch::GenerationBatchOptions d;
  hunch_batch_options o{};
  o.n_sequences = d.n_sequences;
  o.n_ctx = d.n_ctx;
  o.n_tokens = d.n_tokens;
  return o;
}

}  // namespace

extern "C" {

void hunch_batch_options_init_sized(hunch_batch_options* options, size_t size) {
  give_sized(batch_defaults(), options, size);
}

hunch_batch* hunch_batch_new(hunch_model* model, const hunch_batch_options* options) {
  return guarded<hunch_batch*>(nullptr, [&] {
    require(model, "hunch_batch_new: model is NULL");
    const hunch_batch_options c = take_sized(options, batch_defaults());
    hunch::GenerationBatchOptions o;
    o.n_sequences = c.n_sequences;
    o.n_ctx = c.n_ctx;
    o.n_tokens = c.n_tokens;
    return new hunch_batch{hunch::GenerationBatch(model->model, o)};
  });
}

void hunch_batch_free(hunch_batch* batch) { delete batch; }

int64_t hunch_batch_add(hunch_batch* batch, const char* prompt, const hunch_generation_options* options,
                        hunch_on_text on_text, void* user) {
  return guarded<int64_t>(-1, [&] {
    require(batch && prompt, "hunch_batch_add: a pointer is NULL");
    return int64_t(batch->batch.add(prompt, generation_options(options), on_text_of(on_text, user)));
  });
}

int64_t hunch_batch_add_ids(hunch_batch* batch, const int32_t* ids, size_t n_ids,
                            const hunch_generation_options* options, hunch_on_text on_text, void* user) {
  return guarded<int64_t>(-1, [&] {
    require(batch, "hunch_batch_add_ids: batch is NULL");
    return int64_t(batch->batch.add(ids_of(ids, n_ids), generation_options(options), on_text_of(on_text, user)));
  });
}

int hunch_batch_step(hunch_batch* batch) {
  return guarded(-1, [&] {
    require(batch, "hunch_batch_step: batch is NULL");
    return batch->batch.step() ? 1 : 0;
  });
}

int hunch_batch_is_done(const hunch_batch* batch, int64_t answer) {
  return guarded(-1, [&] {
    require(batch, "hunch_batch_is_done: batch is NULL");
    return batch->batch.is_done(size_t(answer)) ? 1 : 0;
  });
}

hunch_answer* hunch_batch_result(const hunch_batch* batch, int64_t answer) {
  return guarded<hunch_answer*>(nullptr, [&] {
    require(batch, "hunch_batch_result: batch is NULL");
    return new hunch_answer{batch->batch.result(size_t(answer))};
  });
}

int hunch_batch_remove(hunch_batch* batch, int64_t answer) {
  return guarded(-1, [&] {
    require(batch, "hunch_batch_remove: batch is NULL");
    batch->batch.remove(size_t(answer));
    return 0;
  });
}

}  // extern "C"
