#include <hunch/hunch.h>
#include <stdio.h>

int c_consumer(const char* path) {
  hunch_model* model = hunch_load(path, NULL);
  if (!model) {
    fprintf(stderr, "%s\n", hunch_last_error());
    return 1;
  }
  printf("C: vocabulary of %zu, hunch %s\n", hunch_n_vocab(model), hunch_version());
  hunch_free(model);
  if (hunch_load("/nonexistent.gguf", NULL) || !hunch_last_error()[0]) return 1;
  return 0;
}
