seqsync_fuzz(fuzz_config SOURCES fuzz_config.c LINK seqsync_host)
