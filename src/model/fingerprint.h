// Which weights these are: identities of a model's tensors, independent of file format and metadata.
#pragma once
#include <string>

#include "base/progress.h"
#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

// SHA-256 in hexadecimal of every tensor in the order of the names: name, dtype, shape, data. Reads all of
// them (about a second per GB); throws Error{kInterrupted} when `stop` asks for it.
std::string tensor_sha256(const ModelFile& file, const Progress& progress = {}, const Stop* stop = nullptr);

// SHA-256 in hexadecimal of the same names, dtypes and shapes, and of a few short samples of each tensor's data:
// tells models and versions apart in milliseconds. Not proof against someone who means to deceive it.
std::string tensor_fingerprint(const ModelFile& file);

// SHA-256 in hexadecimal of the model's vectors (norms and biases) as f32: their names, lengths and values. Whoever
// makes matrices smaller leaves these as they are, so that a model and its quantisations have the same; so has what an
// adapter made of its matrices. "" of a model without any.
std::string vector_fingerprint(const ModelFile& file);

}  // namespace hunch
