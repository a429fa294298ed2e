# With clang and -DSEQSYNC_SANITIZE=fuzzer-no-link,address the program fuzzes; else it replays its corpus.
if(SEQSYNC_SANITIZE MATCHES fuzzer)
    seqsync_program(fuzz_config SOURCES fuzz_config.c LINK seqsync_host)
    target_link_options(fuzz_config PRIVATE -fsanitize=fuzzer)
else()
    seqsync_program(fuzz_config SOURCES fuzz_config.c replay_main.c LINK seqsync_host)
    add_test(NAME fuzz_config COMMAND fuzz_config ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_config.in)
    set_tests_properties(fuzz_config PROPERTIES LABELS fuzz TIMEOUT 120)
endif()
