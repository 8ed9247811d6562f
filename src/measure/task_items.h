// One question of a task, from a line of its file to the harness's words. Pure: what is wrong with the line throws
// std::invalid_argument or a nlohmann::json::exception, which say what was expected; who reads the file says where.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>

#include "measure/tasks.h"

namespace hunch {

// Of a JSON object. `label`: PIQA's, which has them in a file of their own.
TaskItem item_from_json(Task task, const nlohmann::json& json, std::optional<size_t> label = {});
// LAMBADA: all but the last word, and the last word.
TaskItem item_from_text(const std::string& text);
// OpenBookQA and RTE: fields under these headings.
TaskItem item_from_fields(Task task, std::span<const std::string> headings, std::span<const std::string> fields);
// MMLU: question, four choices and the letter of the right one.
TaskItem item_from_record(std::span<const std::string> fields, const std::string& subject);

// The question with its answer, as it stands before others: no blank line after it.
std::string solved(Task task, const TaskItem& item);
// What the harness puts before all questions of MMLU about a subject.
std::string description_of(const std::string& subject);

}  // namespace hunch
