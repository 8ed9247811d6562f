// Errors that hunch throws.
//
// Example:
//   #include <hunch/model.h>
//   try {
//     hunch::LanguageModel model("model.gguf");
//   } catch (const hunch::Error& e) {
//     std::cerr << e.what() << '\n';  // names the thing, what was expected and what was found
//     if (e.kind() == hunch::ErrorKind::kNotFound) std::cerr << "(is it in another folder?)\n";
//   }
//
#pragma once
#include <stdexcept>
#include <string>

namespace hunch {

enum class ErrorKind {
  kUsage,        // a flag or argument that cannot be meant (exit code 2)
  kFormat,       // a file's bytes are not what its format demands
  kUnsupported,  // well-formed, but nothing hunch can do (unknown architecture, dtype, ...)
  kNotFound,     // a file, tensor, key or hub id is missing
  kIo,           // the operating system refused: read, write, disk full
  kNetwork,      // the hub did not answer, or not as it should
  kMemory,       // not enough memory for what was asked
  kLimit,        // a request over a limit: context length, batch size
  kInterrupted,  // the call was asked to end: hunch::Cancel, or Ctrl-C in the program
};

// Name of a kind as it appears in JSON errors, e.g. "format".
const char* name_of(ErrorKind kind);

// What every function here throws where it fails by something from outside: a file, an option, memory, a cancel. Its
// message names the thing, what was expected, what was found, and where there is one the next step.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace hunch
