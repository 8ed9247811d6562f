# hunch_shaders(TARGET FOLDER): compiles the kernels *.comp of the folder to SPIR-V, those that read weights once for each
# format, and gives the target a source with all of them: vulkan/gpu.h's shader_words().
set(HUNCH_SHADER_FORMATS f32 f16 bf16 q8_0 q4_0 q4_k q6_k)

function(hunch_shaders target folder)
  file(GLOB kernels CONFIGURE_DEPENDS ${folder}/*.comp)
  file(GLOB included CONFIGURE_DEPENDS ${folder}/*.glsl)
  set(dir ${CMAKE_BINARY_DIR}/generated/shaders)
  file(MAKE_DIRECTORY ${dir})
  set(compiled)
  foreach(kernel IN LISTS kernels)
    get_filename_component(name ${kernel} NAME_WE)
    file(STRINGS ${kernel} reads_weights REGEX "weights\\.glsl")
    set(formats plain)
    if(reads_weights)
      set(formats ${HUNCH_SHADER_FORMATS})
    endif()
    foreach(format IN LISTS formats)
      set(output ${dir}/${name}.spv)
      set(define)
      if(NOT format STREQUAL "plain")
        string(TOUPPER ${format} upper)
        set(output ${dir}/${name}_${format}.spv)
        set(define -DFORMAT=${upper})
      endif()
      add_custom_command(OUTPUT ${output}
        COMMAND ${GLSLANG_VALIDATOR} --quiet --target-env vulkan1.2 -I${folder} ${define} -o ${output} ${kernel}
        DEPENDS ${kernel} ${included})
      list(APPEND compiled ${output})
    endforeach()
  endforeach()
  set(source ${CMAKE_BINARY_DIR}/generated/vulkan_shaders.cc)
  list(JOIN compiled "," files)
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DFILES=${files} -DOUTPUT=${source} -P ${PROJECT_SOURCE_DIR}/cmake/EmbedShaders.cmake
    DEPENDS ${compiled} ${PROJECT_SOURCE_DIR}/cmake/EmbedShaders.cmake)
  target_sources(${target} PRIVATE ${source})
endfunction()
