# Pure libraries stay pure.
find_program(NM nm REQUIRED)
foreach(folder core plan)
    if(TARGET seqsync_${folder})
        add_test(NAME layering_${folder} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/layering.sh ${NM}
            $<TARGET_FILE:seqsync_${folder}> $<TARGET_FILE:seqsync_base>)
        set_tests_properties(layering_${folder} PROPERTIES LABELS unit TIMEOUT 30)
    endif()
endforeach()
