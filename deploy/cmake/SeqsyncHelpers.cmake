# Options, warnings and the one-line helpers that every folder uses.
option(SEQSYNC_TESTS "Build tests, fuzz targets and benchmarks" ON)
option(SEQSYNC_WERROR "Treat warnings as errors (CI)" OFF)
set(SEQSYNC_SANITIZE "" CACHE STRING "Sanitizers for everything, e.g. address,undefined or thread")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
# Assertions stay on in release: they state what we control, and a wrong sum is worse than a stop.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")

add_library(seqsync_flags INTERFACE)
target_compile_definitions(seqsync_flags INTERFACE _GNU_SOURCE)
target_compile_options(seqsync_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
    -Wimplicit-fallthrough -Wvla -Wundef -fno-math-errno -ffp-contract=off)
if(SEQSYNC_WERROR)
    target_compile_options(seqsync_flags INTERFACE -Werror)
endif()
if(SEQSYNC_SANITIZE)
    target_compile_options(seqsync_flags INTERFACE -fsanitize=${SEQSYNC_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=all)
    target_link_options(seqsync_flags INTERFACE -fsanitize=${SEQSYNC_SANITIZE})
endif()

# seqsync_static(name SOURCES a.c ... LINK lib ...): one static library per folder, includes rooted at the top level.
function(seqsync_static name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_LINK} PRIVATE seqsync_flags)
endfunction()

# seqsync_program(name SOURCES a.c ... LINK lib ...)
function(seqsync_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE ${ARG_LINK} seqsync_flags)
endfunction()

# seqsync_test(name LABEL unit TIMEOUT 60 SOURCES test_x.c ... LINK lib ...): a cmocka program run by ctest.
function(seqsync_test name)
    cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
    seqsync_program(${name} SOURCES ${ARG_SOURCES} LINK ${ARG_LINK} cmocka)
    add_test(NAME ${name} COMMAND ${name})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
