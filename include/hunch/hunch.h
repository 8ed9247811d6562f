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
 * A function that fails returns NULL or a negative number, and hunch_last_error() says why. What a function gives to be
 * kept has a function that frees it, which takes NULL too. Strings are UTF-8. One call at a time for a model and all
 * that was made from it, which is freed before the model is; what may be called at any time says so.
 *
 * Options are structs that hunch_..._init() fills with the defaults; their first field says how large the caller knows
 * them, so that a later library may add fields at the end. NULL for options means the defaults. What they point to need
 * not outlive the call that they are given to, but for cancels and models.
 *
 * How a text is computed is said in the same words everywhere:
 *   plan       "dense": everything; "exact": all but what ReLU set to zero; "sparse": what the sidecar says is needed
 *   density    of "sparse": share of the neurons to keep; 0: as it was calibrated
 *   sidecar    of "sparse": a file; NULL: the model's own
 *   kv_policy  which cached tokens stay: "streaming:256", "h2o:128", "spatten:128"; "": all
 *   experts    which experts the tokens of a mixture go to instead of its own choice: "top:1", "capacity:1.25",
 *              "prioritised:1.25", "choice:1", "balanced", "sinkhorn"; "": its own
 *   adapters   [n_adapters] LoRA adapters, PEFT folders or GGUF files, added up; a list of none: the model as it is
 *   adapter_scales  [n_adapters] how much of each; NULL: all of it
 * NULL for plan, kv_policy, experts or adapters: not said, which is that of the session, or of the model.
 */
#ifndef HUNCH_H
#define HUNCH_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Why the last call of this thread failed; "" if none did. Valid until the thread's next call. */
const char* hunch_last_error(void);
/* Of the library that is linked: "1.2.3". */
const char* hunch_version(void);
/* What a function gave "to be freed with hunch_free_string()"; NULL is nothing. */
void hunch_free_string(char* text);

/* A wish that a call end early, which outlives the calls that know it. Requested and cleared at any time, from any
 * thread; requested also from a signal handler. */
typedef struct hunch_cancel hunch_cancel;
/* NULL where there is no memory. */
hunch_cancel* hunch_cancel_new(void);
/* Calls that know it end soon, and calls that begin with it at once. */
void hunch_cancel_request(hunch_cancel* cancel);
/* For the next call. */
void hunch_cancel_clear(hunch_cancel* cancel);
void hunch_cancel_free(hunch_cancel* cancel);

/* Sees each piece of text as it is made; returning 0 stops. */
typedef int (*hunch_on_text)(const char* piece, void* user);
/* Called now and then; total 0: unknown. */
typedef void (*hunch_on_progress)(const char* what, uint64_t done, uint64_t total, void* user);

/* ---- Models ---- */

typedef struct hunch_model hunch_model;

typedef struct hunch_load_options {
  size_t size;
  size_t n_threads; /* 0: one per physical core */
  size_t n_ctx;     /* tokens; 0: the model's own, at most 4096 */
  const char* kv;   /* type of cached keys and values: "f32" is exact; "f16", "q8_0", "q4_0-rot", "kivi-2", ... round */
  /* Of calls that say nothing else. */
  const char* plan; /* "exact" at first */
  double density;
  const char* sidecar; /* NULL: MODEL.hunch beside the model, where there is one */
  const char* kv_policy;
  const char* const* adapters;
  const float* adapter_scales;
  size_t n_adapters;
  const hunch_model* threads_of; /* take turns with this model's threads; NULL: its own */
  const char* experts;
  const char* costs;          /* a file of what rows cost to read each way; NULL: measured */
  const hunch_cancel* cancel; /* the loading then fails. NULL: nobody */
  const char* device;         /* where it is computed: "vulkan:0", "auto"; NULL: "cpu" */
  const size_t* gpu_layers;   /* its last layers that the device computes; NULL: all, of "auto" as many as fit */
  double gpu_neurons;         /* 1 at first: all of their neurons; a share: the busiest; 0: as many as pays */
  const char* precision;      /* of products of many tokens with plain weights: "f32" at first, or "bf16" */
} hunch_load_options;

void hunch_load_options_init_sized(hunch_load_options* options, size_t size);
static inline void hunch_load_options_init(hunch_load_options* options) {
  hunch_load_options_init_sized(options, sizeof *options);
}

/* Opens a GGUF file, HF folder or llama2.c file. NULL on failure. */
hunch_model* hunch_load(const char* path, const hunch_load_options* options);
void hunch_free(hunch_model* model);

/* Tokens that it can predict; values of a token's hidden state; tokens of context that it was trained with. 0 for NULL.
 */
size_t hunch_n_vocab(const hunch_model* model);
size_t hunch_n_embd(const hunch_model* model);
size_t hunch_n_ctx_train(const hunch_model* model);

/* What its file says of it. */
typedef struct hunch_model_info {
  size_t size;
  const char *architecture, *name, *dtype; /* these belong to the model; dtype: of most weights */
  uint64_t n_params, weight_bytes;         /* numbers in all tensors; what these take in the file */
  size_t n_layer, n_embd, n_head, n_kv_head, n_ff, n_vocab, n_ctx_train;
  int has_tokenizer, has_chat_template;
  size_t n_ctx;       /* tokens that a call has room for */
  int32_t bos, eos;   /* tokens that begin and end a text; -1: it has none */
  const char* device; /* where it is computed: "cpu", "vulkan:0 (its name)"; belongs to the model */
} hunch_model_info;

void hunch_model_info_get_sized(const hunch_model* model, hunch_model_info* info, size_t size);
static inline void hunch_model_info_get(const hunch_model* model, hunch_model_info* info) {
  hunch_model_info_get_sized(model, info, sizeof *info);
}

/* Writes at most `capacity` ids and returns how many the text has (call with 0 to ask). -1 on failure. */
int64_t hunch_tokenize(const hunch_model* model, const char* text, int add_special, int32_t* ids, size_t capacity);
/* Text of ids, to be freed with hunch_free_string(). NULL on failure. */
char* hunch_detokenize(const hunch_model* model, const int32_t* ids, size_t n_ids);
/* The model's chat template rendered for a JSON list of {"role", "content"}, to be freed with hunch_free_string(). NULL
 * on failure, also for a model without one. */
char* hunch_apply_chat_template(const hunch_model* model, const char* messages_json, int add_generation_prompt);

/* ---- Answers ---- */

typedef struct hunch_generation_options {
  size_t size;
  size_t n_tokens;   /* at most this many new tokens */
  float temperature; /* 0: greedy */
  int32_t top_k;     /* 0: all */
  float top_p, min_p, typical_p;
  float repeat_penalty, frequency_penalty, presence_penalty;
  int32_t penalty_last_n;
  uint64_t seed;
  int ignore_end;          /* 1: go on past end-of-text tokens */
  const char* const* stop; /* [n_stop] the answer ends before the first of these */
  size_t n_stop;
  const int32_t* bias_ids; /* [n_bias] tokens */
  const float* bias;       /* [n_bias] added to their logits */
  size_t n_bias;
  int log_probs;          /* 1: hunch_answer_log_probs() */
  size_t n_top_log_probs; /* alternatives to report for each token */
  const char* plan;
  double density;
  const char* sidecar;
  const char* kv_policy; /* a session keeps the one that it began with */
  const char* const* adapters;
  const float* adapter_scales;
  size_t n_adapters;
  int lossless;               /* 1: verify what the sparse plan and n-grams draft; no drafts beside a key policy */
  int ngram;                  /* 1: n-grams draft */
  hunch_model* draft_model;   /* a smaller model drafts; NULL: none */
  size_t n_draft_tokens;      /* 0: as many as pays */
  int as_alone;               /* 1: the bits do not depend on who shares a batch's steps */
  const hunch_cancel* cancel; /* ends the answer early; what is there is kept. NULL: nobody */
  const char* experts;
} hunch_generation_options;

void hunch_generation_options_init_sized(hunch_generation_options* options, size_t size);
static inline void hunch_generation_options_init(hunch_generation_options* options) {
  hunch_generation_options_init_sized(options, sizeof *options);
}

typedef struct hunch_answer hunch_answer;

typedef struct hunch_answer_info {
  size_t size;
  size_t n_prompt;
  const char* stop_reason; /* "length", "end_of_text", "stop_string", "context_full", "interrupted" */
  double prompt_tokens_per_s, tokens_per_s, gb_per_s;
  double density; /* share of MLP neurons that a plan chose, or that were not zero where it chooses none */
  uint64_t n_drafted, n_accepted;
  size_t n_forgotten, n_cached; /* of a chat: oldest turns that no longer fitted; tokens that were not computed again */
} hunch_answer_info;

/* The generated text, to be freed with hunch_free_string(). NULL on failure. */
char* hunch_generate(hunch_model* model, const char* prompt, const hunch_generation_options* options,
                     hunch_on_text on_text, void* user);
/* The same with all that is known of it. NULL on failure. */
hunch_answer* hunch_answer_prompt(hunch_model* model, const char* prompt, const hunch_generation_options* options,
                                  hunch_on_text on_text, void* user);
hunch_answer* hunch_answer_prompt_ids(hunch_model* model, const int32_t* ids, size_t n_ids,
                                      const hunch_generation_options* options, hunch_on_text on_text, void* user);
void hunch_answer_free(hunch_answer* answer);

/* These belong to the answer. */
const char* hunch_answer_text(const hunch_answer* answer);
size_t hunch_answer_n_tokens(const hunch_answer* answer);
const int32_t* hunch_answer_ids(const hunch_answer* answer);
const float* hunch_answer_log_probs(const hunch_answer* answer); /* [n_tokens]; NULL where not wanted */
/* The most probable tokens instead of this one, the best first. Returns how many there are; writes at most capacity. */
size_t hunch_answer_top(const hunch_answer* answer, size_t token, int32_t* ids, float* log_probs, size_t capacity);
void hunch_answer_info_get_sized(const hunch_answer* answer, hunch_answer_info* info, size_t size);
static inline void hunch_answer_info_get(const hunch_answer* answer, hunch_answer_info* info) {
  hunch_answer_info_get_sized(answer, info, sizeof *info);
}

/* ---- Sessions: a text that is kept between calls ---- */

typedef struct hunch_session hunch_session;

typedef struct hunch_session_options {
  size_t size;
  size_t n_ctx; /* most tokens; 0: the model's own */
  const char* plan;
  double density;
  const char* sidecar;
  const char* kv_policy;
  const char* const* adapters;
  const float* adapter_scales;
  size_t n_adapters;
  const char* experts;
} hunch_session_options;

void hunch_session_options_init_sized(hunch_session_options* options, size_t size);
static inline void hunch_session_options_init(hunch_session_options* options) {
  hunch_session_options_init_sized(options, sizeof *options);
}

hunch_session* hunch_session_new(hunch_model* model, const hunch_session_options* options);
void hunch_session_free(hunch_session* session);
/* Reads the text and answers; both are then part of the session. "" goes on. NULL on failure: nothing has changed. */
hunch_answer* hunch_session_generate(hunch_session* session, const char* text, const hunch_generation_options* options,
                                     hunch_on_text on_text, void* user);
hunch_answer* hunch_session_generate_ids(hunch_session* session, const int32_t* ids, size_t n_ids,
                                         const hunch_generation_options* options, hunch_on_text on_text, void* user);
/* Reads only. 0 on success, -1 on failure. */
int hunch_session_read(hunch_session* session, const char* text);
int hunch_session_read_ids(hunch_session* session, const int32_t* ids, size_t n_ids);
/* Forgets all but the first n tokens. 0 on success, -1 on failure. */
int hunch_session_truncate(hunch_session* session, size_t n_tokens);
/* Texts and answers. The ids are valid until the session's next call. */
size_t hunch_session_n_tokens(const hunch_session* session);
const int32_t* hunch_session_ids(const hunch_session* session);
size_t hunch_session_n_ctx(const hunch_session* session);

/* ---- Chats ---- */

typedef struct hunch_chat hunch_chat;

typedef struct hunch_chat_options {
  size_t size;
  const char* system;        /* the system message; NULL: none */
  const char* template_file; /* Jinja; NULL: the model's own; "plain": User: ... Assistant: ... */
  size_t n_ctx;              /* most tokens; 0: the model's own */
  const char* plan;
  double density;
  const char* sidecar;
  const char* kv_policy;
  const char* const* adapters;
  const float* adapter_scales;
  size_t n_adapters;
  const char* experts;
} hunch_chat_options;

void hunch_chat_options_init_sized(hunch_chat_options* options, size_t size);
static inline void hunch_chat_options_init(hunch_chat_options* options) {
  hunch_chat_options_init_sized(options, sizeof *options);
}

hunch_chat* hunch_chat_new(hunch_model* model, const hunch_chat_options* options);
void hunch_chat_free(hunch_chat* chat);
/* NULL on failure, and when it is cancelled before the answer begins: the question is taken back. */
hunch_answer* hunch_chat_say(hunch_chat* chat, const char* message, const hunch_generation_options* options,
                             hunch_on_text on_text, void* user);
/* From the next answer on; "": no system message. 0 on success, -1 on failure. */
int hunch_chat_set_system(hunch_chat* chat, const char* text);
/* Forgets everything but the system message. 0 on success, -1 on failure. */
int hunch_chat_reset(hunch_chat* chat);
/* A JSON list of {"role", "content"}, to be freed with hunch_free_string(). NULL on failure. */
char* hunch_chat_messages(const hunch_chat* chat);

/* ---- Batches: several answers in shared steps ---- */

typedef struct hunch_batch hunch_batch;

typedef struct hunch_batch_options {
  size_t size;
  size_t n_sequences; /* answers that may be in the making at once */
  size_t n_ctx;       /* most tokens of one of them; 0: the model's own */
  size_t n_tokens;    /* of all together; 0: n_sequences * n_ctx */
} hunch_batch_options;

void hunch_batch_options_init_sized(hunch_batch_options* options, size_t size);
static inline void hunch_batch_options_init(hunch_batch_options* options) {
  hunch_batch_options_init_sized(options, sizeof *options);
}

hunch_batch* hunch_batch_new(hunch_model* model, const hunch_batch_options* options);
void hunch_batch_free(hunch_batch* batch);
/* Asks for an answer and returns its number. -1 on failure, also where there is no room now. */
int64_t hunch_batch_add(hunch_batch* batch, const char* prompt, const hunch_generation_options* options,
                        hunch_on_text on_text, void* user);
int64_t hunch_batch_add_ids(hunch_batch* batch, const int32_t* ids, size_t n_ids,
                            const hunch_generation_options* options, hunch_on_text on_text, void* user);
/* 1: go on; 0: nothing is left to do; -1 on failure. */
int hunch_batch_step(hunch_batch* batch);
/* 1, 0, or -1 for an answer that is not known. */
int hunch_batch_is_done(const hunch_batch* batch, int64_t answer);
/* A done answer. NULL for one that is not done or not known, or that failed. */
hunch_answer* hunch_batch_result(const hunch_batch* batch, int64_t answer);
/* Forgets an answer, and ends it where it is not done. 0 on success, -1 on failure. */
int hunch_batch_remove(hunch_batch* batch, int64_t answer);

/* ---- Values ---- */

typedef struct hunch_evaluation_options {
  size_t size;
  const char* plan;
  double density;
  const char* sidecar;
  const char* kv_policy;
  const char* const* adapters;
  const float* adapter_scales;
  size_t n_adapters;
  const hunch_cancel* cancel; /* the call then fails */
  /* Of a perplexity. */
  size_t n_ctx;      /* tokens per window; 0: the trained context, at most 2048 */
  size_t stride;     /* from a window's beginning to the next one's, tokens; 0: half of n_ctx */
  size_t max_tokens; /* score the first so many tokens; 0: all */
  const char* experts;
} hunch_evaluation_options;

void hunch_evaluation_options_init_sized(hunch_evaluation_options* options, size_t size);
static inline void hunch_evaluation_options_init(hunch_evaluation_options* options) {
  hunch_evaluation_options_init_sized(options, sizeof *options);
}

/* Logits of every position, as decoding would compute them, into logits[n_ids * n_vocab]. 0 on success, -1 on failure.
 */
int hunch_logits(hunch_model* model, const int32_t* ids, size_t n_ids, const hunch_evaluation_options* options,
                 float* logits);
/* Perplexity of a text in sliding windows; negative on failure. */
double hunch_perplexity(hunch_model* model, const char* text, const hunch_evaluation_options* options);

typedef struct hunch_embedding_options {
  size_t size;
  int last;      /* 1: the last token's state; 0: see `pooling` */
  int normalize; /* 1: to length 1 */
  const char* const* adapters;
  const float* adapter_scales;
  size_t n_adapters;
  const hunch_cancel* cancel; /* the call then fails */
  const char* pooling; /* "mean", "cls", "last"; NULL: as the model's file says, else the mean where tokens see the
                          whole text and the last one where they do not */
} hunch_embedding_options;

void hunch_embedding_options_init_sized(hunch_embedding_options* options, size_t size);
static inline void hunch_embedding_options_init(hunch_embedding_options* options) {
  hunch_embedding_options_init_sized(options, sizeof *options);
}

/* One vector of a text's last hidden states, into embedding[n_embd]. 0 on success, -1 on failure. */
int hunch_embed(hunch_model* model, const char* text, const hunch_embedding_options* options, float* embedding);
/* The same of every position as it is, whatever `last` and `normalize` say, into states[n_ids * n_embd]. */
int hunch_hidden_states(hunch_model* model, const int32_t* ids, size_t n_ids, const hunch_embedding_options* options,
                        float* states);
/* How well each of n documents answers the query, into scores[n]: the output of a cross-encoder's head, larger is
 * better. Of the options only adapters and cancel are read. 0 on success, -1 on failure, also for a model without such
 * a head. */
int hunch_rerank(hunch_model* model, const char* query, const char* const* documents, size_t n,
                 const hunch_embedding_options* options, float* scores);

/* ---- How likely one text is after another ---- */

/* What a text has in common with the one before it is computed once. */
typedef struct hunch_scorer hunch_scorer;

/* Of the options, stride and max_tokens are not read; n_ctx 0: the model's own, or the trained context, at most 2048.
 */
hunch_scorer* hunch_scorer_new(hunch_model* model, const hunch_evaluation_options* options);
void hunch_scorer_free(hunch_scorer* scorer);
/* The log-likelihood of the continuation, nats, and whether each of its tokens was the most probable one; `greedy` may
 * be NULL. 0 on success, -1 on failure. */
int hunch_score(hunch_scorer* scorer, const char* before, const char* continuation, double* log_likelihood,
                int* greedy);
int hunch_score_ids(hunch_scorer* scorer, const int32_t* before, size_t n_before, const int32_t* continuation,
                    size_t n_continuation, double* log_likelihood, int* greedy);

/* ---- Activations: what each token activates, and what a plan chose for it ---- */

typedef struct hunch_activations hunch_activations;

/* Row-major, a row for each token; NULL where the layer has no such thing. These belong to the hunch_activations. */
typedef struct hunch_layer_activations {
  size_t size;
  size_t n_ff, n_kv_head, n_head, n_expert;
  const uint16_t* activations; /* [n_tokens, n_ff] what the down projection reads, IEEE half precision */
  const uint8_t* neurons;      /* [n_tokens, n_ff] 1: was read, 0: was left out */
  const uint8_t* head_groups;  /* [n_tokens, n_kv_head] likewise */
  const float* head_norms;     /* [n_tokens, n_head] before W_o */
  const float* router;         /* [n_tokens, n_expert] logits of a mixture's gate */
} hunch_layer_activations;

/* NULL on failure. Of the options, n_ctx, stride and max_tokens are not read. */
hunch_activations* hunch_activations_new(hunch_model* model, const int32_t* ids, size_t n_ids,
                                         const hunch_evaluation_options* options);
void hunch_activations_free(hunch_activations* activations);
/* 0 on success, -1 for a layer that is not there. */
int hunch_activations_layer_sized(const hunch_activations* activations, size_t layer, hunch_layer_activations* out,
                                  size_t size);
static inline int hunch_activations_layer(const hunch_activations* activations, size_t layer,
                                          hunch_layer_activations* out) {
  return hunch_activations_layer_sized(activations, layer, out, sizeof *out);
}

/* ---- Quantising: `hunch quantize` ---- */

typedef struct hunch_quantize_options {
  size_t size;
  const char* type;       /* "q8_0", "q4_k_m", "f16", ..., "auto" */
  const char* layout;     /* of down projections: "auto", "rows", "neuron" */
  const char* importance; /* an importance matrix; NULL: all errors weigh the same */
  int replace;            /* 1: a file that is there already */
  size_t n_threads;       /* 0: one per physical core that the process may use */
  hunch_on_progress on_progress;
  void* user; /* of on_progress */
  const hunch_cancel* cancel;
} hunch_quantize_options;

void hunch_quantize_options_init_sized(hunch_quantize_options* options, size_t size);
static inline void hunch_quantize_options_init(hunch_quantize_options* options) {
  hunch_quantize_options_init_sized(options, sizeof *options);
}

/* Writes the model in `source` as a GGUF file. 0 on success, -1 on failure; `bits_per_weight` may be NULL. */
int hunch_quantize(const char* source, const char* output, const hunch_quantize_options* options,
                   double* bits_per_weight);

/* ---- Calibration: `hunch sparsify` ---- */

typedef struct hunch_calibration_options {
  size_t size;
  const char* method;      /* "auto", "predict", "cats", "griffin", "teal" */
  double max_ppl_increase; /* the budget: a share of the dense perplexity */
  double density;          /* above 0: a mean share of the neurons to keep instead of that budget */
  size_t max_tokens;       /* of the text */
  int heads;               /* 1: leave heads of attention out too, where it pays */
  int screen;              /* 1: compute only likely logits in greedy answers, where it pays */
  const char* sidecar;     /* the file to write; NULL: MODEL.hunch beside the model */
  hunch_on_progress on_progress;
  void* user;                 /* of on_progress */
  const hunch_cancel* cancel; /* the same call goes on later where this one was stopped */
  /* Of "predict". */
  const char* predictor;       /* "auto", "lowrank", "lowrank_relu", "svd", "signs", "hot" */
  size_t rank;                 /* of "lowrank" and "svd"; 0: several, chosen by what they lose for their bytes */
  size_t n_epochs;             /* of training, at most */
  const char* look_ahead;      /* "none"; "attention": neurons are predicted from attention's input, known earlier */
  const char* head_look_ahead; /* "none"; "previous": heads from attention's input of the layer before */
  const char* head_keys;       /* keys and values of heads that are left out: "auto", "write", "lazy" */
} hunch_calibration_options;

void hunch_calibration_options_init_sized(hunch_calibration_options* options, size_t size);
static inline void hunch_calibration_options_init(hunch_calibration_options* options) {
  hunch_calibration_options_init_sized(options, sizeof *options);
}

typedef struct hunch_calibration {
  size_t size;
  int met; /* whether the budget was */
  double perplexity_dense, perplexity_sparse, kl, top1, speed_up;
  /* These belong to the model, until its next calibration. */
  const char* method;  /* "predict", "cats", "griffin" or "teal" */
  const char* sidecar; /* the file that was written */
  const char* notes;   /* one on each line; "": none */
} hunch_calibration;

/* Learns, without adapters, from a text like what the model will read, and writes the sidecar, which the plan "sparse"
 * then uses. 0 on success, -1 on failure. `made` may be NULL. */
int hunch_calibrate_sized(hunch_model* model, const char* text, const hunch_calibration_options* options,
                          hunch_calibration* made, size_t made_size);
static inline int hunch_calibrate(hunch_model* model, const char* text, const hunch_calibration_options* options,
                                  hunch_calibration* made) {
  return hunch_calibrate_sized(model, text, options, made, sizeof(hunch_calibration));
}

#ifdef __cplusplus
}
#endif
#endif
