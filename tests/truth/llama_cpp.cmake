# Read by llama.cpp's own CMakeLists.txt right behind its project(): one more program, beside the others.
add_executable(llama-memory-truth ${CMAKE_CURRENT_LIST_DIR}/memory_truth.cpp)
target_compile_features(llama-memory-truth PRIVATE cxx_std_17)
target_include_directories(llama-memory-truth PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/ggml/src)
target_link_libraries(llama-memory-truth PRIVATE llama)
set_target_properties(llama-memory-truth PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
