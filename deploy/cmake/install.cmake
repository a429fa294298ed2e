# What those need who compile against the libraries: headers, libraries, and how pkg-config and CMake find them. Both ways
# follow the files when the installed tree is moved, unless folders are absolute.
include(CMakePackageConfigHelpers)

file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/seqsync/*.h)
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/seqsync)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/seqsync)
set_target_properties(seqsync PROPERTIES EXPORT_NAME seqsync)
set_target_properties(seqsync_attention PROPERTIES EXPORT_NAME attention)
install(TARGETS seqsync seqsync_attention EXPORT seqsyncTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT seqsyncTargets NAMESPACE seqsync:: DESTINATION ${package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/seqsyncConfig.cmake.in seqsyncConfig.cmake
    INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break what compiles against it.
write_basic_package_version_file(seqsyncConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/seqsyncConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/seqsyncConfigVersion.cmake
    DESTINATION ${package})

# From where the .pc files are to the prefix.
file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" up "${up}")
set(pc_prefix "\${pcfiledir}/${up}")
set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_prefix ${CMAKE_INSTALL_PREFIX})
    set(pc_libdir ${CMAKE_INSTALL_FULL_LIBDIR})
    set(pc_includedir ${CMAKE_INSTALL_FULL_INCLUDEDIR})
endif()
foreach(name seqsync seqsync-attention)
    configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${name}.pc @ONLY)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
