// What README.md and docs/models.md list of architectures and formats is made from the code: between the markers
//
//     <!-- made by scripts/write_tables.sh -->
//     <!-- made so far -->
//
// stands what this test makes. With HUNCH_WRITE_TABLES set it writes it there instead of comparing.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "formats/format.h"
#include "model/architecture.h"

namespace hunch {
namespace {

constexpr std::string_view kBegin = "<!-- made by scripts/write_tables.sh -->\n", kEnd = "<!-- made so far -->";

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }
std::string quoted(std::vector<std::string> names) {
  for (std::string& name : names) name = "`" + name + "`";
  return joined(names);
}

std::string upper(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = char(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::vector<std::string> format_list(const std::function<bool(const Format&)>& which) {
  std::vector<std::string> names;
  for (const Format& format : formats())
    if (!format.in_memory_only && which(format)) names.push_back(upper(format.name));
  return names;
}

// README.md: all names in a table of a few rows.
std::string overview(const std::string&) {
  std::vector<std::string> known, own;
  for (const Architecture* a : architectures()) (a->known_to_llama_cpp ? known : own).push_back(a->gguf_name);
  std::ranges::sort(known);
  std::ranges::sort(own);
  std::string text = fmt::format("| {} architectures | |\n|---|---|\n", known.size() + own.size());
  text +=
      fmt::format("| that llama.cpp knows too | {} |\n| that it does not know | {} |\n", quoted(known), quoted(own));
  text += fmt::format("| **formats** computed with and written | {} |\n",
                      joined(format_list([](const Format& f) { return f.computes() && f.writes(); })));
  const auto only_computes = format_list([](const Format& f) { return f.computes() && !f.writes(); });
  if (!only_computes.empty()) text += fmt::format("| computed with only | {} |\n", joined(only_computes));
  text += fmt::format("| of keys and values | {} |\n", joined(format_list([](const Format& f) { return f.caches; })));
  text += fmt::format("| read without loss, and held wider | {} |\n",
                      joined(format_list([](const Format& f) { return f.reads() && !f.computes(); })));
  return text;
}

// docs/models.md: a row keeps its architectures and its last column, which people write; what is between comes from the
// code. An architecture without a row gets one, with nothing to say of it.
std::string models(const std::string& old) {
  std::string text =
      "| GGUF name | Hugging Face `model_type` | llama.cpp knows it | what is special |\n|---|---|---|---|\n";
  std::set<std::string> seen;
  const auto row = [&](const std::vector<std::string>& names, const std::string& special) {
    std::vector<std::string> types;
    bool known = true;
    for (const std::string& name : names) {
      EXPECT_TRUE(seen.insert(name).second) << name << " has two rows";
      const Architecture& a = architecture_by_gguf_name(name);
      known &= a.known_to_llama_cpp;
      const std::string list = a.hf_model_types;
      for (size_t at = 0; at < list.size();) {
        const size_t comma = std::min(list.find(',', at), list.size());
        const std::string type = list.substr(at, comma - at);
        if (std::ranges::find(types, type) == types.end()) types.push_back(type);
        at = comma + 1;
      }
    }
    text += fmt::format("| {} | {} | {} | {} |\n", quoted(names), quoted(types), known ? "yes" : "no", special);
  };
  for (size_t at = 0, end; (end = old.find('\n', at)) != old.npos; at = end + 1) {
    const std::string line = old.substr(at, end - at);
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> names;
    const std::string first = line.substr(0, line.find(" | "));
    for (size_t from = first.find('`'); from != first.npos; from = first.find('`', from)) {
      const size_t to = first.find('`', from + 1);
      names.push_back(first.substr(from + 1, to - from - 1));
      from = to + 1;
    }
    const size_t last = line.rfind(" | ");
    row(names, line.substr(last + 3, line.size() - last - 5));
  }
  for (const Architecture* a : architectures())
    if (!seen.contains(a->gguf_name)) {
      row({a->gguf_name}, "");
      ADD_FAILURE() << a->gguf_name << " has no row in docs/models.md that says what is special";
    }
  return text;
}

void check(const char* page, std::string (*make)(const std::string& old)) {
  const std::filesystem::path path = std::filesystem::path(HUNCH_SOURCE_DIR) / page;
  const std::string text = read_file(path);
  const size_t marker = text.find(kBegin), begin = marker + kBegin.size(), end = text.find(kEnd, marker);
  ASSERT_TRUE(marker != text.npos && end != text.npos) << "no markers in " << page;
  const std::string old = text.substr(begin, end - begin), made = make(old);
  if (std::getenv("HUNCH_WRITE_TABLES")) {
    std::ofstream(path, std::ios::binary) << text.substr(0, begin) << made << text.substr(end);
  } else {
    EXPECT_EQ(old, made) << page << " does not say what the code does: run scripts/write_tables.sh";
  }
}

TEST(Tables, TheReadmeNamesAllArchitecturesAndFormats) { check("README.md", overview); }

TEST(Tables, TheListOfModelsIsThatOfTheCode) { check("docs/models.md", models); }

}  // namespace
}  // namespace hunch
