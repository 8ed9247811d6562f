#include <hunch/hunch.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  hunch_model* model = hunch_load(argv[1], NULL);
  if (!model) {
    fprintf(stderr, "%s\n", hunch_last_error());
    return 3;
  }
  hunch_generation_options options;
  hunch_generation_options_init(&options);
  options.n_tokens = 8;
  options.temperature = 0;
  hunch_answer* answer = hunch_answer_prompt(model, "Once upon a time", &options, NULL, NULL);
  const size_t n_tokens = hunch_answer_n_tokens(answer);
  printf("C: %zu tokens, hunch %s\n", n_tokens, hunch_version());
  hunch_answer_free(answer);
  hunch_free(model);
  return n_tokens == 8 ? 0 : 1;
}
