"""An idempotent librdkafka producer that tells what it was told.

usage: producer.py BOOTSTRAP TOPIC PARTITIONS NAME RECORDS_PER_SECOND [standard]

It sends sequences 0, 1, 2 ... until standard input ends, waits for all
deliveries and prints for each "A sequence partition offset" or "F what". With
"standard" all about retries and timeouts is librdkafka's own default.
"""
import sys
import threading
import time

from confluent_kafka import Producer

bootstrap, topic, partitions, name, rate = sys.argv[1:6]
standard = sys.argv[6:] == ["standard"]
partitions, rate = int(partitions), int(rate)
out = sys.stdout


def fatal(err):
    if err.fatal():
        out.write(f"F fatal: {err}\n")


config = {
    "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
    "error_cb": fatal, "log_level": 0,
}
if not standard:
    config |= {
        "message.timeout.ms": 1800000, "request.timeout.ms": 10000, "socket.timeout.ms": 10000,
        "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "retry.backoff.ms": 50, "retry.backoff.max.ms": 500,
        "topic.metadata.refresh.fast.interval.ms": 100,
    }
producer = Producer(config)


def delivered(sequence):
    def report(err, msg):
        if err is None:
            out.write(f"A {sequence} {msg.partition()} {msg.offset()}\n")
        else:
            out.write(f"F {name}-{sequence}: {err}\n")
    return report


ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
sequence = 0
while not ended.is_set():
    for _ in range(max(1, rate // 50)):
        key = f"{name}-{sequence}"
        while True:
            try:
                producer.produce(topic, key=key, value=(key + " ") * (1 + sequence % 40),
                                 partition=sequence % partitions, on_delivery=delivered(sequence))
                break
            except BufferError:
                producer.poll(0.1)
        sequence += 1
    producer.poll(0)
    out.flush()
    time.sleep(0.02)
left = producer.flush(120)
if left:
    out.write(f"F {left} records were not delivered at the end\n")
out.flush()
