seqsync_test(test_fault LABEL fault TIMEOUT 300 SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_fault.c
    LINK seqsync_test_support PkgConfig::ZMQ)
add_dependencies(test_fault scenario_worker seqsyncd seqctl seqsync-trainer)
