# Seeds: one good input of each kind and the hostile ones, some of which are large; made when built.
seqsync_program(fuzz_proto_seeds SOURCES proto_seeds.c proto_seeds_frame.c LINK seqsync_proto)
set(seeds ${CMAKE_CURRENT_BINARY_DIR}/seeds)
add_custom_command(
    OUTPUT ${seeds}/made
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${seeds}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${seeds}
    COMMAND fuzz_proto_seeds ${seeds}
    COMMAND ${CMAKE_COMMAND} -E touch ${seeds}/made
    DEPENDS fuzz_proto_seeds
    VERBATIM)
add_custom_target(fuzz_seeds ALL DEPENDS ${seeds}/made)

foreach(target worker_frame daemon_frame peer_frame admin_request admin_answer)
    seqsync_fuzz(fuzz_${target}
        SOURCES fuzz_${target}.c fuzz_frame.c LINK seqsync_proto SEEDS ${seeds}/fuzz_${target})
    add_dependencies(fuzz_${target} fuzz_seeds)
endforeach()
foreach(target batch part bulk_header)
    seqsync_fuzz(fuzz_${target}
        SOURCES fuzz_${target}.c LINK seqsync_proto SEEDS ${seeds}/fuzz_${target})
    add_dependencies(fuzz_${target} fuzz_seeds)
endforeach()
