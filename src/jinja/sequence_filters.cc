// Filters over lists and dicts. What Python makes a generator is a list here, marked as lazy.
#include <fmt/format.h>

#include <algorithm>

#include "jinja/filters.h"
#include "jinja/sorting.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

bool given(const Params& p, size_t i) { return p.has(i) && !p[i].is_none(); }

// The keys by which sort, min, max, unique and groupby compare.
std::vector<Value> comparison_keys(Runtime& rt, const std::vector<Value>& items, const Value* path,
                                   bool case_sensitive) {
  std::vector<Value> keys;
  for (const Value& item : items) {
    const Value key = path ? follow_path(rt.heap, item, *path) : item;
    keys.push_back(case_sensitive ? key : ignore_case(rt.heap, key));
  }
  return keys;
}

Value first(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("first", args, {});
  const std::vector<Value> items = iterate(rt.heap, input);
  return items.empty() ? rt.heap.undefined("there is no first item, the sequence is empty") : items.front();
}

Value last(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("last", args, {});
  const std::vector<Value> items = iterate(rt.heap, input);
  return items.empty() ? rt.heap.undefined("there is no last item, the sequence is empty") : items.back();
}

Value list(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("list", args, {});
  return rt.heap.list(iterate(rt.heap, input));
}

Value count(Runtime&, const Value& input, const CallArgs& args) {
  Params("length", args, {});
  return Value(Int(length(input)));
}

Value join(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("join", args, {"d", "attribute"});
  const std::string separator = p.has(0) ? to_text(p[0]) : "";
  std::string out;
  bool is_first = true;
  for (const Value& item : iterate(rt.heap, input)) {
    if (!is_first) out += separator;
    is_first = false;
    out += to_text(given(p, 1) ? follow_path(rt.heap, item, p[1]) : item);
    check_text_size(out.size());
  }
  return rt.heap.string(std::move(out));
}

Value reverse(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("reverse", args, {});
  std::vector<Value> items = iterate(rt.heap, input);
  std::reverse(items.begin(), items.end());
  if (!input.is_string()) return rt.heap.list(std::move(items), true);
  std::string out;
  for (const Value& c : items) out += *c.string;
  return rt.heap.string(std::move(out));
}

Value sort(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("sort", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> items = iterate(rt.heap, input), keys;
  const bool case_sensitive = p.boolean(1, false);
  if (given(p, 2) && p[2].is_string() && p[2].string->find(',') != std::string::npos) {
    // Several attributes: compare by the tuple of them.
    for (const Value& item : items) {
      std::vector<Value> parts;
      for (std::string_view rest = *p[2].string;;) {
        const size_t comma = rest.find(',');
        const Value part = follow_path(rt.heap, item, rt.heap.string(std::string(rest.substr(0, comma))));
        parts.push_back(case_sensitive ? part : ignore_case(rt.heap, part));
        if (comma == std::string_view::npos) break;
        rest.remove_prefix(comma + 1);
      }
      keys.push_back(rt.heap.tuple(std::move(parts)));
    }
  } else {
    keys = comparison_keys(rt, items, given(p, 2) ? &p[2] : nullptr, case_sensitive);
  }
  sort_values(items, keys, p.boolean(0, false));
  return rt.heap.list(std::move(items));
}

template <bool kMax>
Value extreme(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p(kMax ? "max" : "min", args, {"case_sensitive", "attribute"});
  const std::vector<Value> items = iterate(rt.heap, input);
  if (items.empty()) return rt.heap.undefined("there is no smallest or largest item, the sequence is empty");
  const std::vector<Value> keys = comparison_keys(rt, items, given(p, 1) ? &p[1] : nullptr, p.boolean(0, false));
  size_t best = 0;
  for (size_t i = 1; i < items.size(); i++) {
    const auto order = compare(keys[i], keys[best], kMax ? ">" : "<");
    if (kMax ? order > 0 : order < 0) best = i;
  }
  return items[best];
}

Value unique(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("unique", args, {"case_sensitive", "attribute"});
  const std::vector<Value> items = iterate(rt.heap, input);
  const std::vector<Value> keys = comparison_keys(rt, items, given(p, 1) ? &p[1] : nullptr, p.boolean(0, false));
  Dict seen;
  std::vector<Value> out;
  for (size_t i = 0; i < items.size(); i++) {
    if (seen.find(keys[i])) continue;
    seen.set(keys[i], Value());
    out.push_back(items[i]);
  }
  return rt.heap.list(std::move(out), true);
}

Value sum(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("sum", args, {"attribute", "start"});
  Value total = p.value(1, Value(Int(0)));
  for (const Value& item : iterate(rt.heap, input)) {
    total = binary(rt.heap, "+", total, given(p, 0) ? follow_path(rt.heap, item, p[0]) : item);
  }
  return total;
}

Value items(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("items", args, {});
  if (input.is_undefined()) return rt.heap.list({}, true);
  if (!input.is(Kind::kDict)) throw Fault(fmt::format("items needs a dict, found {}", type_name(input)));
  std::vector<Value> pairs;
  for (const auto& [key, value] : input.dict->items()) pairs.push_back(rt.heap.tuple({key, value}));
  return rt.heap.list(std::move(pairs), true);
}

Value dictsort(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = p.string(1, "key");
  if (by != "key" && by != "value") throw Fault(fmt::format("dictsort: 'by' must be 'key' or 'value', found '{}'", by));
  if (!input.is(Kind::kDict)) throw Fault(fmt::format("dictsort needs a dict, found {}", type_name(input)));
  std::vector<Value> pairs, keys;
  for (const auto& [key, value] : input.dict->items()) {
    pairs.push_back(rt.heap.tuple({key, value}));
    const Value& chosen = by == "key" ? key : value;
    keys.push_back(p.boolean(0, false) ? chosen : ignore_case(rt.heap, chosen));
  }
  sort_values(pairs, keys, p.boolean(2, false));
  return rt.heap.list(std::move(pairs));
}

Value groupby(Runtime& rt, const Value& input, const CallArgs& args) {
  static constexpr const char* kFields[] = {"grouper", "list"};
  const Params p("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  std::vector<Value> items = iterate(rt.heap, input), real_keys, keys;
  for (const Value& item : items) {
    Value key = follow_path(rt.heap, item, p[0]);
    if (key.is_undefined() && given(p, 1)) key = p[1];
    real_keys.push_back(key);
    keys.push_back(p.boolean(2, false) ? key : ignore_case(rt.heap, key));
  }
  std::vector<Value> order;
  for (size_t i = 0; i < items.size(); i++) order.push_back(Value(Int(i)));
  sort_values(order, keys, false);
  std::vector<Value> groups, group;
  for (size_t i = 0; i < order.size(); i++) {
    const auto at = [&](size_t j) { return size_t(order[j].integer); };
    if (i > 0 && !equal(keys[at(i)], keys[at(i - 1)])) {
      groups.push_back(rt.heap.tuple({real_keys[at(i - group.size())], rt.heap.list(group)}, kFields));
      group.clear();
    }
    group.push_back(items[at(i)]);
    if (i + 1 == order.size()) {
      groups.push_back(rt.heap.tuple({real_keys[at(i + 1 - group.size())], rt.heap.list(group)}, kFields));
    }
  }
  return rt.heap.list(std::move(groups));
}

Value batch(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("batch", args, {"linecount", "fill_with"}, 1);
  const Int size = p.integer(0, 1);
  if (size < 1) throw Fault("batch: the size of a batch must be at least 1");
  std::vector<Value> rows, row;
  for (const Value& item : iterate(rt.heap, input)) {
    if (Int(row.size()) == size) rows.push_back(rt.heap.list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (row.empty()) return rt.heap.list(std::move(rows), true);
  if (given(p, 1) && Int(row.size()) < size) {
    const size_t missing = size_t(std::min(size, Int(kMaxTextBytes)) - Int(row.size()));
    rt.heap.charge(missing * sizeof(Value));
    row.insert(row.end(), missing, p[1]);
  }
  rows.push_back(rt.heap.list(std::move(row)));
  return rt.heap.list(std::move(rows), true);
}

Value slices(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("slice", args, {"slices", "fill_with"}, 1);
  const std::vector<Value> items = iterate(rt.heap, input);
  constexpr int kMaxSlices = 100'000;
  const Int n = p.integer(0, 1);
  if (n < 1 || n > kMaxSlices)
    throw Fault(fmt::format("slice: the number of slices must be between 1 and {}", kMaxSlices));
  const size_t n_slices = size_t(n), base = items.size() / n_slices, n_longer = items.size() % n_slices;
  std::vector<Value> columns;
  size_t at = 0;
  for (size_t i = 0; i < n_slices; i++) {
    const size_t size = base + (i < n_longer);
    std::vector<Value> column(items.begin() + ptrdiff_t(at), items.begin() + ptrdiff_t(at + size));
    if (given(p, 1) && i >= n_longer) column.push_back(p[1]);
    columns.push_back(rt.heap.list(std::move(column)));
    at += size;
  }
  return rt.heap.list(std::move(columns), true);
}

constexpr FilterEntry kFilters[] = {
    {"batch", batch},       {"count", count},        {"dictsort", dictsort}, {"first", first},  {"groupby", groupby},
    {"items", items},       {"join", join},          {"last", last},         {"length", count}, {"list", list},
    {"max", extreme<true>}, {"min", extreme<false>}, {"reverse", reverse},   {"slice", slices}, {"sort", sort},
    {"sum", sum},           {"unique", unique},
};

}  // namespace

std::span<const FilterEntry> sequence_filters() { return kFilters; }

}  // namespace hunch::jinja
