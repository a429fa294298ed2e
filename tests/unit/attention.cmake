set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_static(test_attention_fixture
    SOURCES ${here}/test_attention_fixture.c ${here}/test_attention_reference.c
    LINK seqsync_attention cmocka m)
seqsync_test(test_attention LABEL unit
    SOURCES ${here}/test_attention.c
    LINK test_attention_fixture)
seqsync_test(test_attention_cases LABEL unit
    SOURCES ${here}/test_attention_cases.c
    LINK test_attention_fixture)
seqsync_test(test_attention_nan LABEL unit
    SOURCES ${here}/test_attention_nan.c
    LINK test_attention_fixture)
seqsync_test(test_attention_threads LABEL unit
    SOURCES ${here}/test_attention_threads.c
    LINK test_attention_fixture Threads::Threads)
# Of the library's insides, so with its objects instead of the library.
seqsync_test(test_attention_band LABEL unit
    SOURCES ${here}/test_attention_band.c
    LINK seqsync_attention_objects)
seqsync_test(test_attention_kernels LABEL unit
    SOURCES ${here}/test_attention_kernels.c
    LINK seqsync_attention_objects)

# The whole again with each set of kernels; one that the processor lacks falls back to a narrower
# one.
foreach(kernels portable avx2)
    foreach(program test_attention test_attention_cases test_attention_nan)
        add_test(NAME ${program}_${kernels} COMMAND ${program})
        set_tests_properties(${program}_${kernels} PROPERTIES
            LABELS unit TIMEOUT 120 ENVIRONMENT SEQSYNC_KERNELS=${kernels})
    endforeach()
endforeach()
