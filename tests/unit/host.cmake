seqsync_test(test_config LABEL unit SOURCES test_config.c LINK seqsync_host)
target_compile_definitions(test_config PRIVATE SEQSYNC_CONF="${CMAKE_SOURCE_DIR}/deploy/conf/seqsync.conf")
seqsync_test(test_notify LABEL unit SOURCES test_notify.c LINK seqsync_host)
