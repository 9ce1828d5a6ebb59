"""The matrix for kafka-python.

usage: matrix.py BOOTSTRAP PREFIX

Prints "ok" for each part.
"""
import sys
import threading
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
import kafka.errors as errors

bootstrap, prefix = sys.argv[1:]
FIRST = 1_700_000_000_000  # record k has the time FIRST + 10 k
PARTITIONS = 6
KEEP = {"retention.ms": "-1"}  # the records are old enough for the default to take them
admin = KafkaAdminClient(bootstrap_servers=bootstrap)


def say(part):
    print("ok", part, flush=True)


class Deadline:
    def __init__(self, what, seconds=30):
        self.what, self.end = what, time.time() + seconds

    def check(self, *details):
        assert time.time() < self.end, ("time", self.what) + details


def key(k):  # kafka-python sends no record that has neither key nor value
    return None if k % 7 == 3 and k % 5 != 4 else f"key-{k}".encode()


def value(k):
    return None if k % 5 == 4 else (f"value {k} " * (1 + k % 30)).encode()


def create(topic, partitions, config=None):
    admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or KEEP)], wait_for_metadata=True)


def produce(topic, partitions, codec, start, end):
    p = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", compression_type=codec, linger_ms=5)
    sent = [p.send(topic, key=key(k), value=value(k), timestamp_ms=FIRST + 10 * k, partition=k % partitions,
                   headers=[("k", str(k).encode()), ("empty", b"")]) for k in range(start, end)]
    p.flush(60)
    assert [f.get(30).offset for f in sent] == [k // partitions for k in range(start, end)]
    p.close()


def consumer(**more):
    return KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest", heartbeat_interval_ms=200, **more)


def same(m, k):
    assert (m.key, m.value, m.timestamp) == (key(k), value(k), FIRST + 10 * k), (k, m)
    assert list(m.headers) == [("k", str(k).encode()), ("empty", b"")], m.headers


def records(codec):
    topic = f"{prefix}-{codec or 'none'}"
    create(topic, 1)
    produce(topic, 1, codec, 0, 1000)
    c = consumer()
    tp = TopicPartition(topic, 0)
    c.assign([tp])
    k, d = 0, Deadline("read")
    while k < 1000:
        d.check(k)
        for m in c.poll(1000).get(tp, []):
            assert m.offset == k, (m.offset, k)
            same(m, k)
            k += 1
    for k in 0, 1, 499, 999:
        at = c.offsets_for_times({tp: FIRST + 10 * k - 5})[tp]
        assert (at.offset, at.timestamp) == (k, FIRST + 10 * k), (k, at)
    assert c.offsets_for_times({tp: FIRST + 10 * 1000})[tp] is None
    assert (c.beginning_offsets([tp]), c.end_offsets([tp])) == ({tp: 0}, {tp: 1000})
    c.close()


class Member(kafka.ConsumerRebalanceListener, threading.Thread):
    """A member of a group, and what it read.

    It has a thread of its own, because kafka-python's poll has to last until it
    has joined: one that ends while an answer is on its way never joins.
    """

    def __init__(self, topic, **config):
        super().__init__(daemon=True)
        self.seen, self.held, self.rebalances = [], set(), 0
        self.halted, self.failure = False, None
        self.c = consumer(**config)
        self.c.subscribe([topic], listener=self)
        self.start()

    def on_partitions_revoked(self, revoked):
        self.held -= {p.partition for p in revoked}

    on_partitions_lost = on_partitions_revoked

    def on_partitions_assigned(self, assigned):
        self.rebalances += 1
        self.held |= {p.partition for p in assigned}

    def run(self):
        try:
            while not self.halted:
                self.poll()
        except BaseException as e:
            self.failure = e

    def poll(self):
        for records in self.c.poll(1500, max_records=20).values():
            for m in records:
                same(m, m.offset * PARTITIONS + m.partition)
                self.seen.append((m.partition, m.offset))
        # What was read is not read again by others, but for what could not be
        # committed while they joined: kafka-python's listeners cannot commit.
        if self.c.assignment():
            try:
                self.c.commit()
            except errors.RebalanceInProgressError:
                pass

    def partitions(self):
        if self.failure:
            raise self.failure
        return sorted(self.held)

    def halt(self):
        self.halted = True
        self.join(30)
        assert not self.is_alive() and not self.failure, self.failure

    def close(self):
        self.halt()
        self.c.close()


def committed(group, topic):
    c = consumer(group_id=group)
    got = [c.committed(TopicPartition(topic, p)) for p in range(PARTITIONS)]
    c.close()
    return got


def group(name, assignor):
    """Two members share the partitions, then another goes on where they ended."""
    topic = f"{prefix}-{name}"
    create(topic, PARTITIONS)
    produce(topic, PARTITIONS, None, 0, 300)
    config = {"group_id": topic, "partition_assignment_strategy": [assignor]}
    a, d = Member(topic, **config), Deadline("first member")
    while len(a.partitions()) < PARTITIONS or not a.seen:
        d.check(a.partitions())
        time.sleep(0.02)
    b, d = Member(topic, **config), Deadline("second member")
    while len(set(a.seen + b.seen)) < 300 or len(a.partitions()) != 3 or len(b.partitions()) != 3:
        d.check(len(a.seen), len(b.seen), a.partitions(), b.partitions())
        time.sleep(0.02)
    assert len(set(a.seen + b.seen)) == 300, "each record"
    g = admin.describe_groups([topic])[topic]
    assert g["group_state"] == "Stable" and len(g["members"]) == 2, g
    a.halt()
    b.halt()
    a.c.commit()
    b.c.commit({TopicPartition(topic, b.partitions()[0]): OffsetAndMetadata(50, "metadata", -1)})
    b.c.commit()
    a.close()
    b.close()
    assert committed(topic, topic) == [50] * PARTITIONS
    produce(topic, PARTITIONS, None, 300, 360)
    c, d = Member(topic, **config), Deadline("go on")
    while len(c.seen) < 60:
        d.check(len(c.seen), c.partitions())
        time.sleep(0.02)
    c.halt()
    assert len(c.seen) == 60 and all(offset >= 50 for _, offset in c.seen), c.seen
    c.c.commit()
    c.close()
    assert committed(topic, topic) == [60] * PARTITIONS


def static_members():
    """A static member that comes back gets its partitions without a rebalance."""
    topic = f"{prefix}-static"
    create(topic, PARTITIONS)
    produce(topic, PARTITIONS, None, 0, 300)

    def together(a, b):
        d = Deadline("two members")
        while len(a.partitions()) != 3 or len(b.partitions()) != 3:
            d.check(a.partitions(), b.partitions())
            time.sleep(0.02)

    one, other = ({"group_id": topic, "group_instance_id": i} for i in "ab")
    a, b = Member(topic, **one), Member(topic, **other)
    together(a, b)
    had = b.partitions()
    b.close()
    before = a.rebalances
    b = Member(topic, **other)
    together(a, b)
    time.sleep(1)  # a rebalance would be seen by now
    assert b.partitions() == had and a.rebalances == before, (b.partitions(), had, a.rebalances, before)
    a.close()
    b.close()


def topics():
    topic = f"{prefix}-topic"
    create(topic, 3, {"retention.ms": "3600000"})
    try:
        admin.create_topics([NewTopic(topic, 3, 1)])
        raise AssertionError("created twice")
    except errors.TopicAlreadyExistsError:
        pass
    assert topic in admin.list_topics()
    [t] = admin.describe_topics([topic])
    assert len(t["partitions"]) == 3, t
    admin.delete_topics([topic])
    d = Deadline("delete")
    while topic in admin.list_topics():
        d.check()
        time.sleep(0.05)


def described(topic):
    return admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")["topic"][topic]


def configs():
    topic = f"{prefix}-config"
    create(topic, 1, {"retention.ms": "3600000"})
    entry = described(topic)["retention.ms"]
    assert (entry["value"], entry["config_source"]) == ("3600000", "DYNAMIC_TOPIC_CONFIG"), entry
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "compact"})])
    admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, topic, ["retention.ms"])])
    d = Deadline("alter")
    while True:
        c = described(topic)
        if (c["cleanup.policy"]["value"], c["retention.ms"]["value"]) == ("compact", "604800000"):
            break
        d.check(c["cleanup.policy"], c["retention.ms"])
        time.sleep(0.02)


def groups():
    topic, group = f"{prefix}-none", f"{prefix}-gone"
    tp = TopicPartition(topic, 0)
    c = consumer(group_id=group)
    c.assign([tp])  # a consumer that is no member may commit
    c.commit({tp: OffsetAndMetadata(77, "", -1)})
    assert c.committed(tp) == 77
    c.close()
    admin.alter_group_offsets(group, {tp: OffsetAndMetadata(78, "altered", -1)})
    got = admin.list_group_offsets(group)[group][tp]
    assert (got.offset, got.metadata) == (78, "altered"), got
    listed = {g["group_id"]: g["group_state"] for g in admin.list_groups()}
    assert listed[group] == listed[f"{prefix}-eager"] == "Empty", listed
    admin.delete_groups([group])
    assert group not in [g["group_id"] for g in admin.list_groups()]


say("version " + kafka.__version__)
for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    records(codec)
    say("records " + (codec or "none"))
group("eager", RangePartitionAssignor)
say("group eager")
group("cooperative", CooperativeStickyAssignor)
say("group cooperative")
static_members()
say("group static")
topics()
say("topics")
configs()
say("configs")
groups()
say("groups")
