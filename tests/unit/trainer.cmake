if(TARGET seqsync)
    set(here ${CMAKE_CURRENT_LIST_DIR})
    seqsync_static(test_trainer_fixture
        SOURCES ${here}/test_trainer_fixture.c ${here}/test_trainer_link.c ${here}/test_trainer_reference.c
        LINK seqsync_trainer cmocka Threads::Threads)
    foreach(test flow gradient input kernels optimizer output ranks)
        seqsync_test(test_trainer_${test} LABEL unit TIMEOUT 300
            SOURCES ${here}/test_trainer_${test}.c
            LINK test_trainer_fixture)
    endforeach()
endif()
