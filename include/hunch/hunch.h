/* hunch for C and for other languages: opaque handles, error strings, no exceptions.
 *
 * Example:
 *   hunch_model* model = hunch_load("model.gguf", NULL);
 *   if (!model) { fprintf(stderr, "%s\n", hunch_last_error()); return; }
 *   hunch_generation_options options;
 *   hunch_generation_options_init(&options);
 *   options.n_tokens = 32;
 *   char* text = hunch_generate(model, "Once upon a time", &options, NULL, NULL);
 *   if (text) puts(text);
 *   hunch_free_string(text);
 *   hunch_free(model);
 *
 */
#ifndef HUNCH_H
#define HUNCH_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded model with one context. One call at a time per model. */
typedef struct hunch_model hunch_model;

typedef struct hunch_load_options {
  size_t n_threads; /* 0: one per physical core */
  size_t n_ctx;     /* tokens; 0: the model's own, at most 4096 */
  int kv_f16;       /* keys and values as f16 */
  int dense;        /* 1: skip nothing */
} hunch_load_options;

typedef struct hunch_generation_options {
  size_t n_tokens;
  float temperature; /* 0: greedy */
  int32_t top_k;     /* 0: all */
  float top_p, min_p, typical_p;
  float repeat_penalty, frequency_penalty, presence_penalty;
  int32_t penalty_last_n;
  uint64_t seed;
  int ignore_end;
} hunch_generation_options;

/* Why the last call of this thread failed; "" if none did. Valid until the thread's next call. */
const char* hunch_last_error(void);
const char* hunch_version(void);

/* Opens a GGUF file, HF folder or llama2.c file. `options` may be NULL. NULL on failure. */
hunch_model* hunch_load(const char* path, const hunch_load_options* options);
void hunch_free(hunch_model* model);

size_t hunch_n_vocab(const hunch_model* model);
size_t hunch_n_ctx_train(const hunch_model* model);

/* Writes at most `capacity` ids and returns how many the text has (call with 0 to ask). -1 on failure. */
int64_t hunch_tokenize(const hunch_model* model, const char* text, int add_special, int32_t* ids, size_t capacity);
/* Text of ids, to be freed with hunch_free_string(). NULL on failure. */
char* hunch_detokenize(const hunch_model* model, const int32_t* ids, size_t n_ids);

/* Sees each piece of text as it is made; returning 0 stops. */
typedef int (*hunch_on_text)(const char* piece, void* user);

void hunch_generation_options_init(hunch_generation_options* options);
/* The generated text, to be freed with hunch_free_string(). `options`, `on_text` may be NULL. NULL on failure. */
char* hunch_generate(hunch_model* model, const char* prompt, const hunch_generation_options* options,
                     hunch_on_text on_text, void* user);
void hunch_free_string(char* text);

/* Logits of every position into logits[n_ids * n_vocab]. 0 on success, -1 on failure. */
int hunch_logits(hunch_model* model, const int32_t* ids, size_t n_ids, float* logits);
/* Perplexity of a text in the model's trained context, half-overlapping windows; negative on failure. */
double hunch_perplexity(hunch_model* model, const char* text);

#ifdef __cplusplus
}
#endif
#endif
