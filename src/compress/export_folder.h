// `hunch compress --export`: a compressed model as a Hugging Face folder with a quantization_config.
#pragma once
#include <filesystem>

#include "compress/compress_weights.h"
#include "compress/export_layout.h"

namespace hunch {

// Options for a layout: `options.target` and int8 scales as the folder `source` and the layout have them. Methods rtn,
// gptq, awq and pruners before these round to grids of `grid`; w8a8 and smoothquant to int8. Throws
// Error{kUnsupported} naming what the layout does not have.
ExportForm export_form(const Engine& engine, ExportLayout layout, const GridOptions& grid, CompressOptions& options);

// As compress_weights(), but writes a folder: the checkpoint `source`, from which `engine` was opened, with the
// matrices of the layers in codes; everything else of it as it is (norms and biases that scales are folded into: f32);
// config.json with a quantization_config; the tokenizer's files. Read again, its matrices have the very numbers that
// the layers were fitted with. The folder appears when it is complete; an existing one is replaced only with
// `replace`. Throws as compress_weights(), and Error{kUnsupported} for a model that was no folder, or was quantised.
CompressReport export_folder(const Engine& engine, const std::filesystem::path& source, std::span<const int32_t> ids,
                             const CompressOptions& options, const ExportForm& form,
                             const std::filesystem::path& output, bool replace, const Progress& progress = {});

}  // namespace hunch
