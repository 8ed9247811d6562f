// Which files a task is made of: subjects, and where solved questions lie.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "measure/tasks.h"

namespace hunch {

struct TaskFile {
  std::filesystem::path path;
  std::string subject;  // MMLU: "abstract_algebra" of abstract_algebra_test.csv
};

// The file or, of a folder of MMLU, the files in it or in its `test`, by subject. Throws Error{kNotFound | kUsage}.
std::vector<TaskFile> task_files(Task task, const std::filesystem::path& path);

// The file of solved questions for one of a task: `named` or, where that is a folder of MMLU, the subject's in it or in
// its `dev`; where it is empty: of MMLU SUBJECT_dev.csv beside it or in `../dev`, of other tasks the file of its name
// with train or dev in place of test, val, valid, validation or dev. Empty: there is none, or it is the file itself.
// Throws Error{kNotFound} where one is named and is not there.
std::filesystem::path few_shot_file(Task task, const TaskFile& file, const std::filesystem::path& named);

}  // namespace hunch
