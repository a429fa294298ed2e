seqsync_program(bench_sequence_parallel
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/bench_sequence_parallel.c
    LINK seqsync_test_support PkgConfig::JANSSON m)
# They are run, not linked.
add_dependencies(bench_sequence_parallel seqsyncd seqctl seqsync-trainer)
