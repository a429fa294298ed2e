set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_test(test_seqctl LABEL integration TIMEOUT 300
    SOURCES ${here}/test_seqctl.c
    LINK seqsync_test_support PkgConfig::JANSSON PkgConfig::ZMQ)
seqsync_test(test_seqctl_run LABEL integration TIMEOUT 300
    SOURCES ${here}/test_seqctl_run.c
    LINK seqsync_test_support)
seqsync_test(test_seqsyncd LABEL integration TIMEOUT 120
    SOURCES ${here}/test_seqsyncd.c
    LINK seqsync_test_support)
target_compile_definitions(test_seqsyncd PRIVATE SOURCE_FOLDER="${CMAKE_SOURCE_DIR}")
foreach(name test_seqctl test_seqctl_run test_seqsyncd)
    add_dependencies(${name} scenario_worker seqsyncd seqctl)
endforeach()
