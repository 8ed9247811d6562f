// Conversations as files: a JSON list of messages, as in the OpenAI API.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hunch::cli {

// "~/x" as a shell would have it.
std::string expand_home(const std::string& path);

// The list, or that of an object with "messages". Throws Error{kNotFound | kIo | kLimit | kFormat} naming the file.
nlohmann::ordered_json read_conversation(const std::string& path);

// Throws Error{kUsage} for a folder, for one of `inputs` (check_output()), and for a file that is there already unless
// `over`; Error{kIo}.
void write_conversation(const std::string& path, const nlohmann::ordered_json& messages,
                        const std::vector<std::filesystem::path>& inputs, bool over);

}  // namespace hunch::cli
