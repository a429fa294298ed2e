seqsync_test(test_zsock LABEL unit SOURCES test_zsock.c LINK seqsync_io)
seqsync_test(test_curve LABEL unit SOURCES test_curve.c LINK seqsync_io)
seqsync_test(test_worker_port LABEL unit SOURCES test_worker_port.c test_worker_port_fixture.c LINK seqsync_io)
seqsync_test(test_worker_port_hostile LABEL unit
    SOURCES test_worker_port_hostile.c test_worker_port_fixture.c LINK seqsync_io)
seqsync_test(test_peer_port LABEL unit SOURCES test_peer_port.c test_peer_port_fixture.c LINK seqsync_io)
seqsync_test(test_peer_port_hostile LABEL unit
    SOURCES test_peer_port_hostile.c test_peer_port_fixture.c LINK seqsync_io)
seqsync_test(test_admin_port LABEL unit SOURCES test_admin_port.c LINK seqsync_io)
