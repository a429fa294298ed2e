# One program for each noun of the engine.
file(GLOB core_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/test_core_*.c
    ${CMAKE_CURRENT_SOURCE_DIR}/test_engine_*.c)
foreach(source ${core_tests})
    get_filename_component(name ${source} NAME_WE)
    seqsync_test(${name} LABEL unit TIMEOUT 60 SOURCES ${source} LINK seqsync_core m)
endforeach()
