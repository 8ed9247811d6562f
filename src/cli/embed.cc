// hunch embed: vectors of texts, and how alike they are.
#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/console.h"
#include "cli/npy.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "cli/text_lines.h"
#include "engine/hidden_states.h"
#include "engine/pooling.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

// Of one text: a row, or with pooling "none" one of each token.
struct Vectors {
  std::vector<std::vector<float>> rows;
};

// The states of tokens are shown as they are.
bool normalises(PoolingKind kind, const EmbedFlags& flags) { return !flags.no_normalise && kind != PoolingKind::kNone; }

std::vector<std::vector<double>> cosines(const std::vector<Vectors>& all) {
  std::vector<std::vector<double>> out(all.size());
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t k = 0; k < all.size(); ++k) out[i].push_back(cosine(all[i].rows[0], all[k].rows[0]));
  return out;
}

// A text as the name of its row: its number, and how it begins.
std::string row_name(size_t i, const std::string& text) {
  constexpr size_t kMost = 36;
  std::string line = text;
  std::ranges::replace_if(
      line, [](unsigned char c) { return std::isspace(c); }, ' ');
  return fmt::format("{}  {}", i, printable(line, kMost));
}

// Cosines of all with all; rows and columns have the numbers that --json counts by.
void print_table(const std::vector<std::vector<double>>& similarity, const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> rows = {{"text"}};
  for (size_t i = 0; i < similarity.size(); ++i) {
    rows[0].push_back(std::to_string(i));
    rows.push_back({row_name(i, names[i])});
    for (const double v : similarity[i]) rows.back().push_back(fmt::format("{:.4f}", v + 0.0));
  }
  print(table(rows));
}

void write_npy(const std::vector<Vectors>& all, size_t n_embd, const EmbedFlags& flags) {
  size_t n_rows = 0;
  for (const Vectors& vectors : all) n_rows += vectors.rows.size();
  AtomicFile file(flags.out);
  file.write(npy_header("<f4", {n_rows, n_embd}));
  for (const Vectors& vectors : all)
    for (const auto& row : vectors.rows) file.write(std::as_bytes(std::span(row)));
  file.commit();
  if (!flags.model.quiet && !flags.model.json)
    note(fmt::format("wrote {}: float32 [{}, {}]", flags.out, n_rows, n_embd));
}

nlohmann::ordered_json json_of(const std::vector<Vectors>& all, PoolingKind kind, size_t n_embd,
                               const EmbedFlags& flags) {
  nlohmann::ordered_json json = {
      {"n_embd", n_embd}, {"pooling", name_of(kind)}, {"normalised", normalises(kind, flags)}};
  if (flags.similarity) json["similarity"] = cosines(all);
  if (!flags.out.empty()) {
    json["out"] = flags.out;
    return json;
  }
  auto& list = json["embeddings"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < all.size(); ++i) {
    nlohmann::ordered_json entry = {{"index", i}};
    if (kind == PoolingKind::kNone) {
      entry["embedding"] = all[i].rows;
    } else {
      entry["embedding"] = all[i].rows[0];
    }
    list.push_back(std::move(entry));
  }
  return json;
}

}  // namespace

int embed(const EmbedFlags& flags) {
  if (!flags.out.empty())
    check_output(flags.out, inputs_of(flags.model, {flags.texts.file.value_or("")}), flags.force, "--out");
  if (flags.ids && (flags.texts.file || !flags.texts.texts.empty()))
    fail(ErrorKind::kUsage, "give either texts or --ids, not both");
  if (flags.similarity && flags.pooling == "none")
    fail(ErrorKind::kUsage, "--similarity compares one vector of each text: it does not go with --pooling none");
  std::vector<TextToRead> texts;
  std::vector<std::string> words;
  if (flags.ids) {
    texts.push_back({parse_ids(*flags.ids, "--ids")});
    words = {*flags.ids};
  } else {
    words = texts_of(flags.texts, "texts");
  }
  const Engine engine = open_engine(flags.model);
  const PoolingKind kind = flags.pooling == "auto" ? pooling_of(engine.config()) : pooling_named(flags.pooling);
  if (!flags.ids)
    for (const std::string& text : words) texts.push_back({engine.encode(text)});
  if (kind == PoolingKind::kNone && !flags.out.empty() && texts.size() != 1)
    fail(ErrorKind::kUsage, "--out with --pooling none takes one text, found {}", texts.size());

  ProgressBar bar(!flags.model.quiet && texts.size() > 1);
  ReadingOptions options;
  options.n_ctx = flags.n_ctx;
  options.adapter = engine.adapter;
  options.progress = bar.progress();
  const size_t n_embd = engine.config().n_embd;
  std::vector<Vectors> all(texts.size());
  read_texts(engine, texts, options, [&](size_t i, MatView<const float> states) {
    auto& rows = all[i].rows;
    rows.assign(kind == PoolingKind::kNone ? states.rows : 1, std::vector<float>(n_embd));
    for (size_t t = 0; t < rows.size(); ++t) {
      kind == PoolingKind::kNone ? pool(states.row_range(t, 1), PoolingKind::kCls, rows[t])
                                 : pool(states, kind, rows[t]);
      if (normalises(kind, flags)) scale_to_length_1(rows[t]);
    }
  });
  bar.clear();

  if (!flags.out.empty()) write_npy(all, n_embd, flags);
  if (flags.model.json) {
    print_json(json_of(all, kind, n_embd, flags));
  } else if (flags.similarity) {
    print_table(cosines(all), words);
  } else if (flags.out.empty()) {
    for (const Vectors& vectors : all)
      for (const auto& row : vectors.rows) print(fmt::format("{}\n", fmt::join(row, " ")));
  }
  return 0;
}

}  // namespace hunch::cli
