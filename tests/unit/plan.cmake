set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_static(test_plan_fixture SOURCES ${here}/test_plan_fixture.c LINK seqsync_plan cmocka)
seqsync_test(test_plan_property LABEL unit
    SOURCES ${here}/test_plan_property.c
    LINK test_plan_fixture)
