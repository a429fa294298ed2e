set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_test(test_support_tmp LABEL unit SOURCES ${here}/test_support_tmp.c LINK seqsync_test_support)
seqsync_test(test_support_proc LABEL unit SOURCES ${here}/test_support_proc.c LINK seqsync_test_support)
seqsync_test(test_support_netns LABEL unit SOURCES ${here}/test_support_netns.c LINK seqsync_test_support)
