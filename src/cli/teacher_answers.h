// Answers that a teacher gives to prompts, to be learned as texts (black-box distillation: Kim and Rush 2016,
// arXiv:1606.07947): by a model here, or by a server with OpenAI's API.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/compute.h"
#include "cli/train_flags.h"

namespace hunch::cli {

bool is_url(const std::string& teacher);

// The file beside the output in which answers are kept: {"prompt": TEXT, "answer": TEXT} a line, as --examples reads
// them.
std::string answers_path(const TrainFlags& flags);

// Has --teacher answer each line of --prompts, and writes answers_path(), one answer after the other; what is there of
// the same prompts already is kept, unless --restart. Throws
// Error{kUsage} for a file without prompts, or with answers to others; Error{kNetwork | kFormat} naming the URL;
// Error{kInterrupted}: what was answered stays.
void write_answers(const TrainFlags& flags, std::shared_ptr<Compute> compute);

}  // namespace hunch::cli
