set(here ${CMAKE_CURRENT_LIST_DIR})
seqsync_test(test_reduce LABEL unit SOURCES ${here}/test_reduce.c LINK seqsync_math m)
seqsync_test(test_checksum LABEL unit SOURCES ${here}/test_checksum.c LINK seqsync_math)
# Once more with each set of kernels; one that the processor lacks falls back to a narrower one.
foreach(kernels portable avx2)
    add_test(NAME test_reduce_${kernels} COMMAND test_reduce)
    set_tests_properties(test_reduce_${kernels} PROPERTIES
        LABELS unit TIMEOUT 120 ENVIRONMENT SEQSYNC_KERNELS=${kernels})
endforeach()
