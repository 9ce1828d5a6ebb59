"""A member of a group that tells what it sees and commits; see groups_test.go for
the lines it prints.

usage: member.py BOOTSTRAP TOPIC GROUP eager|cooperative RECORDS_PER_SECOND

It leaves when standard input ends.
"""
import sys
import threading
import time
import zlib

from confluent_kafka import Consumer, KafkaException, TopicPartition

bootstrap, topic, group, protocol, rate = sys.argv[1:]
cooperative, rate = protocol == "cooperative", int(rate)


def now():
    return time.time_ns() // 1000


def say(line):
    sys.stdout.write(line + "\n")


def assigned(consumer, partitions):
    """Begins where the last owner's commits ended, and tells where that is."""
    at = now()
    say(f"A {at} {len(partitions)}")
    while partitions:
        try:
            committed = consumer.committed(partitions, timeout=10)
            if all(p.error is None for p in committed):
                break
            say(f"X {now()} {[p.error for p in committed if p.error][0].name()}")
        except KafkaException as e:
            say(f"X {now()} {e.args[0].name()}")  # the broker is away
    else:
        committed = []
    for p in committed:
        p.offset = max(p.offset, 0)  # nothing is committed: the beginning
        say(f"S {at} {p.partition} {p.offset}")
    sys.stdout.flush()
    (consumer.incremental_assign if cooperative else consumer.assign)(committed)


def revoked(consumer, partitions):
    finish()
    lost(consumer, partitions)


def lost(consumer, partitions):
    for p in partitions:
        seen.pop(p.partition, None)
        ends.pop(p.partition, None)
    if cooperative:
        consumer.incremental_unassign(partitions)
    else:
        consumer.unassign()


seen = {}  # partition: first offset, records, sum of checksums
ends = {}  # partition: offset to be committed


def take(m):
    p = seen.setdefault(m.partition(), [m.offset(), 0, 0])
    if m.offset() != p[0] + p[1]:
        say(f"F partition {m.partition()}: offset {m.offset()} where {p[0] + p[1]} should be")
    p[1] += 1
    p[2] += zlib.crc32(m.value())


def finish():
    """Tells what was seen and commits it. That a rebalance or an outage comes in
    between is no failure: it is tried again, or the records come again."""
    for p, (first, n, crc) in seen.items():
        say(f"R {now()} {p} {first} {n} {crc & 0xffffffff}")
        ends[p] = first + n
    seen.clear()
    sys.stdout.flush()
    if not ends:
        return
    try:
        done = consumer.commit(offsets=[TopicPartition(topic, p, end) for p, end in ends.items()], asynchronous=False)
        at = now()
        for p in done:
            if p.error is None:
                say(f"C {at} {p.partition} {p.offset}")
                ends.pop(p.partition, None)
            else:
                say(f"X {at} {p.error.name()}")
    except KafkaException as e:
        say(f"X {now()} {e.args[0].name()}")
    sys.stdout.flush()


def fatal(err):
    if err.fatal():
        say(f"F fatal: {err}")


consumer = Consumer({
    "bootstrap.servers": bootstrap, "group.id": group, "client.id": "librdkafka",
    "partition.assignment.strategy": "cooperative-sticky" if cooperative else "range",
    "enable.auto.commit": False, "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
    "max.poll.interval.ms": 60000, "fetch.wait.max.ms": 200, "check.crcs": True, "socket.timeout.ms": 10000,
    "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "retry.backoff.ms": 50, "retry.backoff.max.ms": 500,
    "topic.metadata.refresh.fast.interval.ms": 100, "queued.max.messages.kbytes": 4096, "error_cb": fatal, "log_level": 0,
})
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)
while not ended.is_set():
    begin, count = now(), 0
    while count < max(1, rate // 4) and now() - begin < 200_000:
        m = consumer.poll(0.1)
        if m is None:
            break
        if m.error() is None:
            take(m)
            count += 1
        elif m.error().fatal():
            say(f"F {m.error()}")
    finish()
    time.sleep(max(0, count / rate - (now() - begin) / 1e6))
consumer.close()
sys.stdout.flush()
