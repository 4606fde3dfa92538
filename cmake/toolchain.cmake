# Warnings, sanitizers, and the helper that makes one static library of a room's folder.
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror -pthread)
add_link_options(-pthread)
# g++ 12 reports some standard-library code inlined into ours under these names; both are known
# false positives of this version (GCC bugs 105562 and 105651).
add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
                    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)

if(HEARTH_SANITIZE)
  add_compile_options(-fsanitize=${HEARTH_SANITIZE} -fno-omit-frame-pointer -g1
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HEARTH_SANITIZE})
  if(HEARTH_SANITIZE MATCHES thread)
    add_compile_options(-Wno-tsan)  # Asio's fences, which this sanitizer does not model.
  endif()
endif()

# hearth_room(NAME DEPS...): every .cpp of this folder (not of its subfolders) becomes hearth_NAME.
function(hearth_room name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(hearth_${name} STATIC ${sources})
  target_link_libraries(hearth_${name} PUBLIC ${ARGN})
endfunction()
