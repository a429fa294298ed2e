seqsync_program(bench_attention
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/bench_attention.c
    LINK seqsync_attention seqsync_test_support PkgConfig::OPENBLAS m)
