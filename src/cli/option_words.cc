#include "cli/option_words.h"

#include <array>
#include <string_view>
#include <utility>

namespace hunch::cli {

std::string with_flags(std::string message) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 34> kWords = {
      {{"(n_ctx)", "(--ctx)"},
       {"(n_threads)", "(--threads)"},
       {"(logit_bias)", "(--logit-bias)"},
       {"(ids)", "(--ids)"},
       {"(kv)", "(--kv)"},
       {"(device)", "(--device)"},
       {"(gpu_layers)", "(--gpu-layers)"},
       {"(gpu_neurons)", "(--gpu-neurons)"},
       {"(gpu_layers, gpu_neurons, gpu_memory)", "(--gpu-layers, --gpu-neurons, --gpu-memory)"},
       {"(memory)", "(--memory)"},
       {"(adapters)", "(--lora)"},
       {"(rope)", "(--rope)"},
       {"(kv_policy)", "(--kv-policy)"},
       {"(prefill)", "(--prefill)"},
       {"(experts)", "(--experts)"},
       {"(density)", "(--density)"},
       {"(ram)", "(--ram)"},
       {"(n_few_shot)", "(--few-shot)"},
       {"(method)", "(--method)"},
       {"(max_tokens)", "(--tokens)"},
       {"(template_file)", "(--template-file)"},
       {"(type)", "(--type)"},
       {"(l1)", "(--l1)"},
       {"(rank)", "(--rank)"},
       {"(ranks)", "(--ranks)"},
       {"(n_steps)", "(--steps)"},
       {"(n_batch)", "(--batch)"},
       {"(n_virtual_tokens)", "(--virtual-tokens)"},
       {"(precision)", "(--precision)"},
       {"(loftq)", "(--loftq)"},
       {"(l1_stages)", "(--l1-stages)"},
       {"(learning_rate)", "(--learning-rate)"},
       {"(yes_no)", "(--yes-no)"},
       {"(yes_no, instruct)", "(--yes-no, --instruct)"}}};
  for (const auto& [option, flag] : kWords)
    for (size_t at = 0; (at = message.find(option, at)) != message.npos; at += flag.size())
      message.replace(at, option.size(), flag);
  return message;
}

}  // namespace hunch::cli
