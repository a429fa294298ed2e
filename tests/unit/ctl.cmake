set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_test(test_ctl_text LABEL unit SOURCES ${here}/test_ctl_text.c LINK seqsync_ctl)
seqsync_test(test_ctl_parse LABEL unit SOURCES ${here}/test_ctl_parse.c LINK seqsync_ctl seqsync_test_support)
target_compile_definitions(test_ctl_parse PRIVATE SOURCE_FOLDER="${CMAKE_SOURCE_DIR}")
seqsync_test(test_ctl_output LABEL unit SOURCES ${here}/test_ctl_output.c LINK seqsync_ctl)
seqsync_test(test_ctl_show LABEL unit
    SOURCES ${here}/test_ctl_show.c ${here}/test_ctl_answer.c
    LINK seqsync_ctl seqsync_test_support Threads::Threads)

# seqctl run with a stand-in for the daemon, which does what a healthy daemon never does.
seqsync_program(ctl_stand_in SOURCES ${here}/ctl_stand_in.c)
seqsync_test(test_ctl_run LABEL unit TIMEOUT 180
    SOURCES ${here}/test_ctl_run.c
    LINK seqsync_test_support)
target_compile_definitions(test_ctl_run PRIVATE
    SEQCTL="$<TARGET_FILE:seqctl>" STAND_IN="$<TARGET_FILE:ctl_stand_in>")
add_dependencies(test_ctl_run seqctl ctl_stand_in)
