// Small facts that are measured once per machine and kept in files of $HUNCH_HOME.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hunch {

// The object in the file of this name; an empty one where there is no such file, or something else in it.
nlohmann::json read_home_json(const std::string& name);
// In place of what was there. Throws Error{kIo}.
void write_home_json(const std::string& name, const nlohmann::json& object);

}  // namespace hunch
