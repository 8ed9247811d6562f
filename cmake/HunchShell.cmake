# What the shell knows of hunch: completions and the manual page, printed by the program itself when it is installed. A
# program for another machine cannot be asked; it is then installed without them.
set(shell_dir ${CMAKE_BINARY_DIR}/generated/shell)
set(shell_files "completion bash;bash;share/bash-completion/completions;hunch"
                "completion zsh;zsh;share/zsh/vendor-completions;_hunch"
                "completion fish;fish;share/fish/vendor_completions.d;hunch.fish"
                "man;man;share/man/man1;hunch.1")
list(LENGTH shell_files n_words)
math(EXPR last "${n_words} - 1")
foreach(at RANGE 0 ${last} 4)
  list(SUBLIST shell_files ${at} 4 words)
  list(GET words 0 command)
  list(GET words 1 kind)
  list(GET words 2 folder)
  list(GET words 3 file)
  string(REPLACE " " "\" \"" command_words "\"${command}\"")
  install(CODE "
    file(MAKE_DIRECTORY \"${shell_dir}/${kind}\")
    execute_process(COMMAND \"$<TARGET_FILE:hunch>\" ${command_words} OUTPUT_FILE \"${shell_dir}/${kind}/${file}\"
                    RESULT_VARIABLE failed)
    if(failed)
      message(WARNING \"hunch does not run here (\${failed}): no ${folder}/${file}\")
      file(REMOVE \"${shell_dir}/${kind}/${file}\")
    endif()" COMPONENT runtime)
  install(FILES ${shell_dir}/${kind}/${file} DESTINATION ${folder} COMPONENT runtime OPTIONAL)
endforeach()
