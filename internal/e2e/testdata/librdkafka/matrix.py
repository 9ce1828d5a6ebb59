"""The matrix for librdkafka, by way of confluent-kafka 1.7 and newer.

usage: matrix.py BOOTSTRAP PREFIX

Prints "ok" for each part. What a version cannot do is left out.
"""
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition, OFFSET_BEGINNING, libversion, version
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
import confluent_kafka.admin as admin_module

bootstrap, prefix = sys.argv[1:]
FIRST = 1_700_000_000_000  # record k has the time FIRST + 10 k
PARTITIONS = 6
KEEP = {"retention.ms": "-1"}  # the records are old enough for the default to take them
# confluent-kafka 1.7 releases the None of a header that it did not take.
EMPTY = None if version()[0] >= "2" else b""
admin = AdminClient({"bootstrap.servers": bootstrap})


def say(part):
    print("ok", part, flush=True)


class Deadline:
    def __init__(self, what, seconds=30):
        self.what, self.end = what, time.time() + seconds

    def check(self, *details):
        assert time.time() < self.end, ("time", self.what) + details


def key(k):
    return None if k % 7 == 3 else f"key-{k}".encode()


def value(k):
    return None if k % 5 == 4 else (f"value {k} " * (1 + k % 30)).encode()


def create(topic, partitions, config=None):
    [f.result(30) for f in admin.create_topics([NewTopic(topic, partitions, 1, config=config or KEEP)]).values()]
    d = Deadline("create")
    while True:
        t = admin.list_topics(topic, timeout=30).topics[topic]
        if t.error is None and len(t.partitions) == partitions and all(p.leader == 1 for p in t.partitions.values()):
            return
        d.check(t)
        time.sleep(0.02)


def produce(topic, partitions, codec, start, end):
    offsets = {}

    def delivered(k):
        def report(err, msg):
            assert err is None, err
            offsets[k] = msg.offset()
        return report

    p = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "compression.codec": codec, "linger.ms": 5})
    for k in range(start, end):
        p.produce(topic, key=key(k), value=value(k), timestamp=FIRST + 10 * k, partition=k % partitions,
                  headers=[("k", str(k)), ("empty", EMPTY)], on_delivery=delivered(k))
    assert p.flush(60) == 0
    assert offsets == {k: k // partitions for k in range(start, end)}


def consumer(more):
    return Consumer({"bootstrap.servers": bootstrap, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                     "heartbeat.interval.ms": 200, "check.crcs": True, **more})


def same(m, k):
    assert (m.key(), m.value(), m.timestamp()[1]) == (key(k), value(k), FIRST + 10 * k), (k, m.key(), m.value(), m.timestamp())
    assert m.headers() == [("k", str(k).encode()), ("empty", EMPTY)], m.headers()


def records(codec):
    topic = f"{prefix}-{codec}"
    create(topic, 1)
    produce(topic, 1, codec, 0, 1000)
    c = consumer({"group.id": "unused"})
    c.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    k, d = 0, Deadline("read")
    while k < 1000:
        d.check(k)
        for m in c.consume(500, timeout=1):
            assert m.error() is None and m.offset() == k, (m.error(), m.offset(), k)
            same(m, k)
            k += 1
    for k in 0, 1, 499, 999:
        [at] = c.offsets_for_times([TopicPartition(topic, 0, FIRST + 10 * k - 5)], timeout=30)
        assert at.error is None and at.offset == k, (k, at)
    [at] = c.offsets_for_times([TopicPartition(topic, 0, FIRST + 10 * 1000)], timeout=30)
    assert at.offset in (-1, 1000), at  # the end, in the words of the version
    assert c.get_watermark_offsets(TopicPartition(topic, 0), timeout=30) == (0, 1000)
    c.close()


class Member:
    """A member of a group, and what it read."""

    def __init__(self, topic, config):
        self.seen, self.rebalances = [], 0
        self.c = consumer(config)
        self.c.subscribe([topic], on_assign=self.assigned, on_revoke=self.revoked)

    def assigned(self, c, partitions):
        self.rebalances += 1

    def revoked(self, c, partitions):
        self.commit()  # what was read is not read again by others

    def commit(self):
        try:
            self.c.commit(asynchronous=False)
        except KafkaException as e:
            assert e.args[0].name() == "_NO_OFFSET", e

    def poll(self):
        # One by one: a batch that a rebalance comes into may be committed and not
        # be handed out.
        for _ in range(20):
            m = self.c.poll(0.1)
            if m is None:
                break
            assert m.error() is None, m.error()
            same(m, m.offset() * PARTITIONS + m.partition())
            self.seen.append((m.partition(), m.offset()))

    def partitions(self):
        return sorted(p.partition for p in self.c.assignment())

    def close(self):
        self.c.close()


def committed(group, topic):
    c = consumer({"group.id": group})
    got = c.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=30)
    c.close()
    return [p.offset for p in got]


def group(name, strategy):
    """Two members share the partitions, then another goes on where they ended."""
    topic = f"{prefix}-{name}"
    create(topic, PARTITIONS)
    produce(topic, PARTITIONS, "none", 0, 300)
    config = {"group.id": topic, "partition.assignment.strategy": strategy}
    a, d = Member(topic, config), Deadline("first member")
    while len(a.partitions()) < PARTITIONS or not a.seen:
        d.check(a.partitions())
        a.poll()
    b, d = Member(topic, config), Deadline("second member")
    while len(a.seen) + len(b.seen) < 300 or len(a.partitions()) != 3 or len(b.partitions()) != 3:
        d.check(len(a.seen), len(b.seen), a.partitions(), b.partitions())
        a.poll()
        b.poll()
    assert len(set(a.seen + b.seen)) == 300 == len(a.seen + b.seen), "each record once"
    [g] = [g for g in admin.list_groups(topic, timeout=30) if g.id == topic]
    assert g.state == "Stable" and len(g.members) == 2 and g.protocol_type == "consumer", (g.state, g.members)
    a.commit()
    b.c.commit(offsets=[TopicPartition(topic, b.partitions()[0], 50)], asynchronous=False)
    b.commit()
    a.close()
    b.close()
    assert committed(topic, topic) == [50] * PARTITIONS
    produce(topic, PARTITIONS, "none", 300, 360)
    c, d = Member(topic, config), Deadline("go on")
    while len(c.seen) < 60:
        d.check(len(c.seen))
        c.poll()
    c.poll()
    assert len(c.seen) == 60 and all(offset >= 50 for _, offset in c.seen), c.seen
    c.commit()
    c.close()
    assert committed(topic, topic) == [60] * PARTITIONS


def static_members():
    """A static member that comes back gets its partitions without a rebalance."""
    topic = f"{prefix}-static"
    create(topic, PARTITIONS)
    produce(topic, PARTITIONS, "none", 0, 300)

    def together(a, b):
        d = Deadline("two members")
        while len(a.partitions()) != 3 or len(b.partitions()) != 3:
            d.check(a.partitions(), b.partitions())
            a.poll()
            b.poll()

    one, other = ({"group.id": topic, "group.instance.id": i} for i in "ab")
    a, b = Member(topic, one), Member(topic, other)
    together(a, b)
    had = b.partitions()
    b.close()
    before = a.rebalances
    b = Member(topic, other)
    together(a, b)
    for _ in range(10):  # a rebalance would be seen by now
        a.poll()
    assert b.partitions() == had and a.rebalances == before, (b.partitions(), had, a.rebalances, before)
    a.close()
    b.close()


def topics():
    topic = f"{prefix}-topic"
    create(topic, 3, {"retention.ms": "3600000"})
    try:
        [f.result(30) for f in admin.create_topics([NewTopic(topic, 3, 1)]).values()]
        raise AssertionError("created twice")
    except KafkaException as e:
        assert e.args[0].name() == "TOPIC_ALREADY_EXISTS", e
    assert topic in admin.list_topics(timeout=30).topics
    [f.result(30) for f in admin.delete_topics([topic]).values()]
    d = Deadline("delete")
    while topic in admin.list_topics(timeout=30).topics:
        d.check()
        time.sleep(0.05)


def described(topic):
    [f] = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    return f.result(30)


def configs():
    topic = f"{prefix}-config"
    create(topic, 1, {"retention.ms": "3600000"})
    entry = described(topic)["retention.ms"]
    assert entry.value == "3600000" and not entry.is_default, entry
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    resource.set_config("cleanup.policy", "compact")
    [f.result(30) for f in admin.alter_configs([resource]).values()]  # all that is not named goes
    d = Deadline("alter")
    while True:
        c = described(topic)
        if c["cleanup.policy"].value == "compact" and c["retention.ms"].value == "604800000":
            break
        d.check(c["cleanup.policy"], c["retention.ms"])
        time.sleep(0.02)


def groups():
    topic, group = f"{prefix}-none", f"{prefix}-gone"
    c = consumer({"group.id": group})
    c.assign([TopicPartition(topic, 0)])  # a consumer that is no member may commit
    c.commit(offsets=[TopicPartition(topic, 0, 77)], asynchronous=False)
    assert c.committed([TopicPartition(topic, 0)], timeout=30)[0].offset == 77
    c.close()
    ids = [g.id for g in admin.list_groups(timeout=30)]
    assert group in ids and f"{prefix}-eager" in ids, ids


def groups_newer():
    """What librdkafka can do since 2.1."""
    topic, group = f"{prefix}-none", f"{prefix}-gone"
    offsets = admin_module._ConsumerGroupTopicPartitions
    [f] = admin.alter_consumer_group_offsets([offsets(group, [TopicPartition(topic, 0, 78)])]).values()
    f.result(30)
    [f] = admin.list_consumer_group_offsets([offsets(group)]).values()
    assert [(p.partition, p.offset) for p in f.result(30).topic_partitions] == [(0, 78)]
    listed = {g.group_id: g.state.name for g in admin.list_consumer_groups().result(30).valid}
    assert listed[group] == listed[f"{prefix}-eager"] == "EMPTY", listed
    [f] = admin.describe_consumer_groups([group]).values()
    assert f.result(30).state.name == "EMPTY"
    [f] = admin.delete_consumer_groups([group]).values()
    f.result(30)
    assert group not in [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    [f] = admin.delete_consumer_groups([group]).values()
    try:
        f.result(30)
        raise AssertionError("deleted twice")
    except KafkaException as e:
        assert e.args[0].name() == "GROUP_ID_NOT_FOUND", e


say("version " + libversion()[0])
for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    records(codec)
    say("records " + codec)
group("eager", "range")
say("group eager")
group("cooperative", "cooperative-sticky")
say("group cooperative")
static_members()
say("group static")
topics()
say("topics")
configs()
say("configs")
groups()
if hasattr(admin, "delete_consumer_groups"):
    groups_newer()
    say("groups")
else:
    say("groups listed")
