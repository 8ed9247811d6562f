#include "measure/tasks.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/test_errors.h"
#include "measure/task_items.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const fs::path kTasks = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tasks";

void expect_items(const std::vector<TaskItem>& items, const nlohmann::json& expected, const std::string& what) {
  ASSERT_EQ(items.size(), expected.size()) << what;
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(items[i].contexts, expected[i].at("contexts").get<std::vector<std::string>>()) << what << " " << i;
    EXPECT_EQ(items[i].continuations, expected[i].at("continuations").get<std::vector<std::string>>())
        << what << " " << i;
    EXPECT_EQ(items[i].gold, expected[i].at("gold").get<size_t>()) << what << " " << i;
  }
}

// tests/data/tasks/expected.json is what the harness makes of the same files (tools/make_task_prompts.py).
TEST(Tasks, PromptsAreTheHarnesses) {
  const auto cases = nlohmann::json::parse(read_file(kTasks / "expected.json"));
  EXPECT_GT(cases.size(), 30u);
  for (const auto& c : cases) {
    TaskReading reading;
    reading.n_few_shot = c.at("few_shot");
    if (const std::string named = c.value("few_shot_file", ""); !named.empty()) reading.few_shot = kTasks / named;
    const std::string task = c.at("task"), path = c.at("path");
    // What lies beside is another case's.
    if (reading.n_few_shot && reading.few_shot.empty() && task != "mmlu") reading.few_shot = kTasks / path;
    const TaskQuestions got = read_task(task_from_name(task), kTasks / path, reading);
    expect_items(got.items, c.at("items"), fmt::format("{} {} {}", task, path, reading.n_few_shot));
  }
}

TEST(Tasks, SolvedQuestionsAreFoundBesideTheFile) {
  const auto from = [](Task task, const fs::path& path) {
    return read_task(task, kTasks / path, {0, 1, {}}).few_shot.lexically_relative(kTasks).string();
  };
  EXPECT_EQ(from(Task::kHellaSwag, "hellaswag/hellaswag_val.jsonl"), "hellaswag/hellaswag_train.jsonl");
  EXPECT_EQ(from(Task::kPiqa, "piqa/valid.jsonl"), "piqa/train.jsonl");
  EXPECT_EQ(from(Task::kArcChallenge, "arc/ARC-Challenge-Test.jsonl"), "arc/ARC-Challenge-Train.jsonl");
  EXPECT_EQ(from(Task::kGsm8k, "gsm8k/test.jsonl"), "gsm8k/train.jsonl");
  EXPECT_EQ(from(Task::kMmlu, "mmlu"), "mmlu/dev");
  EXPECT_EQ(from(Task::kMmlu, "mmlu/test"), "mmlu/dev");
  EXPECT_EQ(from(Task::kMmlu, "mmlu/test/kitchen_lore_test.csv"), "mmlu/dev/kitchen_lore_dev.csv");
  EXPECT_EQ(from(Task::kWinoGrande, "winogrande/dev.jsonl"), "winogrande/dev.jsonl") << "its own: train_s is not train";
  EXPECT_EQ(read_task(Task::kPiqa, kTasks / "piqa/valid.jsonl").few_shot, "");
}

TEST(Tasks, TheFirstOfItsOwnAreNotScored) {
  const fs::path path = kTasks / "winogrande/dev.jsonl";
  const auto all = read_task(Task::kWinoGrande, path).items;
  const auto rest = read_task(Task::kWinoGrande, path, {0, 1, {}}).items;
  ASSERT_EQ(all.size(), 2u);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].contexts[1], solved(Task::kWinoGrande, all[0]) + "\n\n" + all[1].contexts[1]);
  EXPECT_EQ(read_task(Task::kWinoGrande, path, {1, 1, {}}).items.size(), 1u) << "one that is scored";
  EXPECT_EQ(read_task(Task::kWinoGrande, path, {1, 0, {}}).items.size(), 1u);
  EXPECT_NE(message_of(ErrorKind::kUsage,
                       [&] {
                         read_task(Task::kWinoGrande, path, {0, 2, {}});
                       })
                .find("none is left"),
            std::string::npos);
  EXPECT_NE(message_of(ErrorKind::kUsage,
                       [&] {
                         read_task(Task::kWinoGrande, path, {0, 3, {}});
                       })
                .find("has 2 questions, expected 3"),
            std::string::npos);
}

TEST(Tasks, MmluHasItsSubjects) {
  const auto items = read_task(Task::kMmlu, kTasks / "mmlu").items;
  ASSERT_EQ(items.size(), 5u);
  EXPECT_EQ(items[0].subject, "abstract_nonsense");
  EXPECT_EQ(items[4].subject, "kitchen_lore");
  EXPECT_TRUE(items[4].contexts[0].starts_with(
      "The following are multiple choice questions (with answers) about kitchen lore.\n\nSalt is\nA. sweet"));
  EXPECT_EQ(read_task(Task::kMmlu, kTasks / "mmlu", {1, 0, {}}).items.size(), 2u) << "one of each";
  EXPECT_EQ(read_task(Task::kMmlu, kTasks / "mmlu", {0, 1, kTasks / "mmlu"}).few_shot, kTasks / "mmlu/dev");
}

TEST(Tasks, PreparedQuestionsStandAsTheyAre) {
  const auto item = item_from_json(Task::kHellaSwag, {{"query", "A [x] b"}, {"choices", {"c", " d"}}, {"gold", 1}});
  EXPECT_EQ(item.contexts, (std::vector<std::string>(2, "A [x] b")));
  EXPECT_EQ(item.continuations, (std::vector<std::string>{" c", "  d"}));
  EXPECT_EQ(item.gold, 1u);
  for (const char* query : {"Question: Why?", "Question: Why?\nAnswer:"})
    EXPECT_EQ(item_from_json(Task::kArcEasy, {{"query", query}, {"choices", {"c"}}, {"gold", 0}}).contexts[0],
              "Question: Why?\nAnswer:");
}

// What is wrong is said with file and line.
TEST(Tasks, BrokenFilesAreNamed) {
  const fs::path folder = fs::temp_directory_path() / "hunch_tasks_test";
  fs::create_directories(folder);
  const auto refusal = [&](Task task, const std::string& name, const std::string& text) {
    std::ofstream(folder / name) << text;
    const std::string message = message_of(ErrorKind::kFormat, [&] { read_task(task, folder / name); });
    EXPECT_NE(message.find(name), std::string::npos) << message;
    return message;
  };
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(refusal(Task::kHellaSwag, "h.jsonl", "\n{\"ctx_a\": \"a\"}\n"), "line 2: not what the task expects");
  expect(refusal(Task::kHellaSwag, "h.jsonl", "{"), "line 1");
  expect(refusal(Task::kArcEasy, "a.jsonl",
                 R"({"question": {"stem": "s", "choices": [{"text": "t", "label": "A"}]}, "answerKey": "E"})"),
         "line 1: expected an answerKey among A, found 'E'");
  expect(refusal(Task::kWinoGrande, "w.jsonl", R"({"sentence": "a", "option1": "b", "option2": "c", "answer": "1"})"),
         "expected a sentence with '_'");
  expect(refusal(Task::kWinoGrande, "w.jsonl", R"({"sentence": "a _", "option1": "b", "option2": "c", "answer": ""})"),
         "expected an answer 1 or 2, found ''");
  expect(refusal(Task::kCopa, "c.jsonl", R"({"query": "a", "choices": ["b", "c"], "gold": 2})"),
         "expected a right answer among 2 choices, found number 2");
  expect(refusal(Task::kCopa, "c.jsonl",
                 R"({"premise": "a.", "question": "why", "choice1": "b", "choice2": "c", "label": 0})"),
         "'cause' or 'effect', found 'why'");
  expect(refusal(Task::kPiqa, "p.jsonl", R"({"goal": "a", "sol1": "b", "sol2": "c"})"), "label");
  std::ofstream(folder / "q-labels.lst") << "0\n";
  expect(refusal(Task::kPiqa, "q.jsonl", "{\"goal\": \"a\", \"sol1\": \"b\", \"sol2\": \"c\"}\n{}\n"),
         "line 2: expected 2 labels");
  std::ofstream(folder / "q-labels.lst") << "0\nx\n";
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { read_task(Task::kPiqa, folder / "q.jsonl"); })
                .find("q-labels.lst' line 2: expected a label 0 or 1, found 'x'"),
            std::string::npos);
  expect(refusal(Task::kRte, "r.tsv", "sentence1\tlabel\na\t0\n"),
         "line 2: expected a first line with the heading 'sentence2'");
  expect(refusal(Task::kRte, "r.tsv", "sentence1\tsentence2\tlabel\na\tb\n"), "expected 3 fields, found 2");
  expect(refusal(Task::kRte, "r.tsv", "sentence1\tsentence2\tlabel\na\tb\tmaybe\n"), "found 'maybe'");
  expect(refusal(Task::kOpenBookQa, "o.tsv", "Question Stem\tChoices\tAnswer Key\na\t(A) b (B) c\tC\n"),
         "expected an answer key among 2 choices, found 'C'");
  expect(refusal(Task::kLambada, "l.txt", "one two\nalone\n"), "line 2: expected a text of at least two words");
  expect(refusal(Task::kMmlu, "m_test.csv", "q,a,b,c,d,A\nq,a,b,c,d\n"), "line 2: expected 6 fields");
  expect(refusal(Task::kMmlu, "m_test.csv", "q,a,b,c,d,E\n"), "expected an answer A, B, C or D, found 'E'");
  expect(refusal(Task::kGsm8k, "g.jsonl", R"({"question": "a", "answer": "7"})"), "'#### '");
  std::ofstream(folder / "empty.jsonl") << "\n";
  EXPECT_NE(message_of(ErrorKind::kUsage, [&] { read_task(Task::kCopa, folder / "empty.jsonl"); }).find("empty.jsonl"),
            std::string::npos);
  message_of(ErrorKind::kNotFound, [&] { read_task(Task::kCopa, folder / "nowhere.jsonl"); });
  message_of(ErrorKind::kUsage, [&] { read_task(Task::kCopa, folder); });
  message_of(ErrorKind::kNotFound, [&] {
    read_task(Task::kCopa, kTasks / "copa/val.jsonl", {0, 1, folder / "nowhere.jsonl"});
  });
  message_of(ErrorKind::kNotFound, [&] { read_task(Task::kMmlu, kTasks / "mmlu", {0, 1, folder}); });
  fs::remove_all(folder);
}

TEST(Tasks, SharedFilesAreRead) {
  const auto folder = shared_path("eval");
  if (!folder) GTEST_SKIP() << "no shared data";
  const auto n = [&](Task task, const char* name) { return read_task(task, *folder / name).items.size(); };
  EXPECT_EQ(n(Task::kLambada, "lambada_test.jsonl"), 5153u);
  EXPECT_EQ(n(Task::kHellaSwag, "hellaswag_val.jsonl"), 10042u);
  EXPECT_EQ(n(Task::kPiqa, "piqa_valid.jsonl"), 1838u);
  EXPECT_EQ(n(Task::kArcEasy, "arc_easy_test.jsonl"), 2376u);
  EXPECT_EQ(n(Task::kWinoGrande, "winogrande_dev.jsonl"), 1267u);
  EXPECT_EQ(n(Task::kBoolQ, "boolq_val.jsonl"), 3270u);
  EXPECT_EQ(n(Task::kCopa, "copa_val.jsonl"), 100u);
  EXPECT_EQ(n(Task::kOpenBookQa, "openbookqa_test.tsv"), 500u);
  EXPECT_EQ(n(Task::kRte, "rte_dev.tsv"), 277u);
}

}  // namespace
}  // namespace hunch
