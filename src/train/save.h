// What training made, as files that the rest of hunch, and others, read.
#pragma once
#include <filesystem>
#include <string>

#include "train/network.h"

namespace hunch {

// The network's low-rank adapter as a GGUF file with the names of the model's file, as llama.cpp's converter writes it;
// rsLoRA's scale goes into its alpha. Atomically. Throws Error{kUnsupported} for DoRA and IA3, which such files cannot
// hold, and Error{kIo}.
void write_gguf_adapter(const std::filesystem::path& path, Network& network, const std::string& name);

// The same as a folder of Hugging Face's PEFT, with the names and the order of rows of the checkpoint that the model
// came from. The folder appears when it is complete; one that is there is replaced only with `replace`. Throws
// Error{kUnsupported} where hunch does not know what the checkpoint calls these matrices, and Error{kIo}.
void write_peft_adapter(const std::filesystem::path& folder, Network& network, const std::string& base_name,
                        bool replace);

// The model's file with the tensors that were trained (Network::train_all()) in place of its own, in their types, or
// those that they were rounded to; with the activation that it got used to. Atomically. Throws Error{kIo}.
void write_trained_model(const std::filesystem::path& path, Network& network);

}  // namespace hunch
