seqsync_program(bench_plan
    SOURCES ${CMAKE_CURRENT_LIST_DIR}/bench_plan.c
    LINK seqsync_plan seqsync_test_support)
