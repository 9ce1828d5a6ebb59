"""What a librdkafka client does without groups. Prints "ok" for each part."""
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition, OFFSET_BEGINNING, libversion
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

bootstrap = sys.argv[1]
RECORDS = 2000
FIRST = 1_700_000_000_000  # record k has the time FIRST + 10 k
print("ok librdkafka", libversion()[0])


def value(k):
    return f"value {k} " * (1 + k % 30)


for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    topic = "librdkafka-" + codec
    offsets = {}

    def delivered(err, msg):
        assert err is None, err
        offsets[msg.key().decode()] = msg.offset()

    p = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.codec": codec})
    for k in range(RECORDS):  # the topic is created by asking for it
        p.produce(topic, key=f"key-{k}", value=value(k), timestamp=FIRST + 10 * k, headers={"k": str(k)}, partition=0, on_delivery=delivered)
    assert p.flush(60) == 0
    assert offsets == {f"key-{k}": k for k in range(RECORDS)}

    c = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False, "check.crcs": True})
    assert c.get_watermark_offsets(TopicPartition(topic, 0), timeout=30) == (0, RECORDS)
    for k in [0, 1, 777, RECORDS - 1]:
        at = c.offsets_for_times([TopicPartition(topic, 0, FIRST + 10 * k - 5)], timeout=30)[0]
        assert at.error is None and at.offset == k, at
    c.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    seen = 0
    end = time.time() + 60
    while seen < RECORDS:
        assert time.time() < end, seen
        for m in c.consume(500, timeout=1):
            assert m.error() is None, m.error()
            assert (m.offset(), m.key().decode(), m.value().decode(), m.timestamp()[1]) == (seen, f"key-{seen}", value(seen), FIRST + 10 * seen)
            assert m.headers() == [("k", str(seen).encode())]
            seen += 1
    c.close()
    print("ok codec", codec)

a = AdminClient({"bootstrap.servers": bootstrap})
[f.result(30) for f in a.create_topics([NewTopic("python", 2, 1)]).values()]
[f.result(30) for f in a.create_partitions([NewPartitions("python", 5)]).values()]
assert len(a.list_topics("python", timeout=30).topics["python"].partitions) == 5
cluster = a.describe_cluster().result(30)
assert [n.id for n in cluster.nodes] == [1] and len(cluster.cluster_id) == 22
tp = TopicPartition("librdkafka-gzip", 0, 500)
assert [f.result(30).low_watermark for f in a.delete_records([tp]).values()] == [500]
assert [f.result(30).offset for f in a.list_offsets({tp: OffsetSpec.earliest()}).values()] == [500]
[f.result(30) for f in a.delete_topics(["python"]).values()]
print("ok admin")
