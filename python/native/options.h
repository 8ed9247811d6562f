// Options as keywords: one table for each struct says their names, what they mean and where they go.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "read.h"

namespace hunch::python {

template <class T>
struct Option {
  const char* name;
  const char* about;
  void (*set)(T& options, py::handle value, std::string_view name);
};

template <class T>
using OptionTable = std::vector<Option<T>>;

// A row for a field that read() knows.
template <class T, auto field>
constexpr Option<T> option(const char* name, const char* about) {
  return {name, about,
          [](T& options, py::handle value, std::string_view called) { read(value, called, options.*field); }};
}

// Sets what is given; None is the default. Raises TypeError for a name that is not in the table, naming those that are.
template <class T>
void take_options(T& options, const py::kwargs& given, const OptionTable<T>& table, const char* caller) {
  for (const auto& [key, value] : given) {
    const std::string name = py::str(key).template cast<std::string>();
    const Option<T>* found = nullptr;
    for (const Option<T>& row : table)
      if (name == row.name) found = &row;
    if (!found) {
      std::string known;
      for (const Option<T>& row : table) known += (known.empty() ? "" : ", ") + std::string(row.name);
      throw py::type_error(std::string(caller) + "() has no option '" + name + "'; it has " + known);
    }
    if (!value.is_none()) found->set(options, value, name);
  }
}

// A docstring: the words, and the options below them.
template <class T>
std::string described(const char* words, const OptionTable<T>& table) {
  std::string text = std::string(words) + "\n\nOptions:\n";
  for (const Option<T>& row : table) text += "    " + std::string(row.name) + ": " + row.about + "\n";
  return text;
}

template <class T>
py::list names_of(const OptionTable<T>& table) {
  py::list names;
  for (const Option<T>& row : table) names.append(row.name);
  return names;
}

}  // namespace hunch::python
