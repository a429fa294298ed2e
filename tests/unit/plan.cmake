set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_static(test_plan_fixture SOURCES ${here}/test_plan_fixture.c LINK seqsync_plan cmocka)
foreach(program test_plan test_plan_cases test_plan_geometry test_plan_input test_plan_memory
        test_plan_mutation test_plan_property)
    seqsync_test(${program} LABEL unit SOURCES ${here}/${program}.c LINK test_plan_fixture)
endforeach()
target_link_options(test_plan_memory PRIVATE -Wl,--wrap=calloc -Wl,--wrap=realloc)
