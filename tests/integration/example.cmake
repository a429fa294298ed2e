seqsync_test(test_example LABEL integration TIMEOUT 180 SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_example.c
    LINK seqsync_test_support m)
add_dependencies(test_example seqsync-example seqsyncd seqctl)
