seqsync_test(test_zsock LABEL unit SOURCES test_zsock.c LINK seqsync_io)
seqsync_test(test_curve LABEL unit SOURCES test_curve.c LINK seqsync_io)
