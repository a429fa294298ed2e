# libseqsync against a daemon that the test plays. The wire code and the planner are the real ones.
set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_test(test_lib_pure LABEL unit SOURCES ${here}/test_lib_pure.c LINK seqsync)
seqsync_static(test_lib_fixture SOURCES ${here}/test_lib_fixture.c
    LINK seqsync seqsync_plan seqsync_proto cmocka Threads::Threads)
foreach(test session step wait malformed misuse)
    seqsync_test(test_lib_${test} LABEL unit SOURCES ${here}/test_lib_${test}.c LINK test_lib_fixture)
endforeach()

# The whole build is installed, so all of it must be there.
add_test(NAME test_consumer COMMAND ${here}/../consumer/run.sh ${CMAKE_BINARY_DIR})
set_tests_properties(test_consumer PROPERTIES LABELS unit TIMEOUT 180)
