// A cancel ends its own call, wherever that is: loading, hashing, tokenizing.
#include <gtest/gtest.h>

#include "hunch/calibrate.h"
#include "hunch/evaluate.h"
#include "hunch/hunch.h"
#include "io/test_errors.h"

namespace hunch {
namespace {

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";
const char* const kFolder = HUNCH_SOURCE_DIR "/tests/data/golden/tiny_bloom";

TEST(ApiStop, EndsTheLoading) {
  Cancel cancel, others;
  others.request();
  cancel.request();
  for (const char* path : {kDemo, kFolder})
    message_of(ErrorKind::kInterrupted, [&] { LanguageModel(path, {.n_threads = 1, .cancel = &cancel}); });
  cancel.clear();
  LanguageModel model(kDemo, {.n_threads = 1, .n_ctx = 64, .cancel = &cancel});
  cancel.request();  // was that call's
  EXPECT_EQ(logits(model, model.tokenize("Once upon a time")).n_vocab, model.info().n_vocab);

  // Of a model that takes turns with another one's threads, which go on.
  message_of(ErrorKind::kInterrupted, [&] { LanguageModel(kDemo, {.threads_of = &model, .cancel = &cancel}); });
  EXPECT_EQ(logits(model, model.tokenize("Once upon a time")).n_vocab, model.info().n_vocab);
}

TEST(ApiStop, EndsTheTokenizingOfACall) {
  LanguageModel model(kDemo, {.n_threads = 1, .n_ctx = 64});
  Cancel cancel;
  cancel.request();
  // Too short, which is known after tokenizing only.
  message_of(ErrorKind::kInterrupted, [&] { calibrate(model, "Once upon a time", {.cancel = &cancel}); });
  message_of(ErrorKind::kUsage, [&] { calibrate(model, "Once upon a time"); });
}

TEST(ApiStop, GetsThroughC) {
  hunch_cancel* cancel = hunch_cancel_new();
  hunch_load_options options;
  hunch_load_options_init(&options);
  options.n_threads = 1;
  options.cancel = cancel;
  hunch_cancel_request(cancel);
  EXPECT_EQ(hunch_load(kDemo, &options), nullptr);
  EXPECT_STREQ(hunch_last_error(), "interrupted");
  hunch_cancel_clear(cancel);
  hunch_model* model = hunch_load(kDemo, &options);
  EXPECT_TRUE(model) << hunch_last_error();
  hunch_free(model);
  hunch_cancel_free(cancel);
}

}  // namespace
}  // namespace hunch
