// How an answer is to be made: the fields that completions and chat completions share.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "serve/answer_form.h"
#include "serve/fields.h"

namespace hunch::serve {

struct Settings {
  std::optional<size_t> n_tokens;  // none: not said
  SamplerOptions sampler;          // without its seed
  std::optional<uint64_t> seed;    // none: another one for every request
  std::vector<std::string> stop;
  bool ignore_end = false;
  size_t n_choices = 1;
  size_t n_candidates = 1;  // of which the n_choices most probable ones are the answer
  size_t beam_width = 0;    // the answers are the most probable ones that so many beams find; 0: they are drawn
  float length_penalty = 1;
  AnswerForm form;  // what the answer must be
  bool log_probs = false;
  size_t n_top_log_probs = 0;
  bool stream = false, include_usage = false;
  std::string user;  // whom it is for: users take turns
  // hunch's own.
  int priority = 0;                      // the lower, the sooner
  double deadline_seconds = 0;           // after which the answer ends with what it has; 0: none
  std::optional<std::string> mode;       // "dense", "exact", "sparse"; none: the server's
  double density = 0;                    // of sparse mode, in steps of 0.01; 0: as calibrated
  std::optional<std::string> kv_policy;  // as --kv-policy, "none"; none: the server's
  Json lora;                             // as Adapters::read(); null: the server's
  bool lossless = false;                 // drafts that are verified
  bool trace = false;                    // of a stream: what each token used of each layer
  bool reuse_prompt = true;              // what is cached of an earlier prompt that began alike
};

constexpr size_t kMostChoices = 16, kMostCandidates = 20, kMostStops = 16, kMostTopLogProbs = 20;

// All but the form and the log-probabilities, which the two APIs name differently. Throws RequestError{400} naming the
// field that is wrong.
Settings settings_of(const Fields& fields);

// "use_beam_search", of completions and chats: `n` answers of "best_of" beams. Last, when all else was read. Throws
// RequestError{400} where something is asked for that drawing is about, or that beams do not have.
void read_beams(const Fields& fields, Settings& settings);

// Throws RequestError{400} for fields that would make another answer and are not there yet (audio, suffix, ...), unless
// they say nothing ("none", "text", an empty list).
void refuse_unsupported(const Fields& fields);

// Parts of these, for APIs that name other things otherwise.
SamplerOptions sampler_of(const Fields& fields);
// At most kMostStops texts; empty ones are left out.
std::vector<std::string> stops_of(const Fields& fields, const char* name);
// hunch's own fields, the same in all APIs.
void read_own_fields(const Fields& fields, Settings& settings);

}  // namespace hunch::serve
