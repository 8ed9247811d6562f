// What a policy that reads pages of the cache read, in words.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "select/page_reads.h"

namespace hunch::cli {

// "a head read 12.0 of 63.5 pages of keys on average, all of them 0.4 % of the time"; empty where nobody had to choose.
std::string describe_pages(const PageReads& pages);
nlohmann::ordered_json pages_json(const PageReads& pages);

}  // namespace hunch::cli
