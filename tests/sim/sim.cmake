# Engines in simulated time. Each file of this folder is a program.
file(GLOB sim_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/test_sim_*.c)
foreach(source ${sim_tests})
    get_filename_component(name ${source} NAME_WE)
    seqsync_test(${name} LABEL sim TIMEOUT 300 SOURCES ${source}
        LINK seqsync_test_support seqsync_cluster seqsync_core)
endforeach()
