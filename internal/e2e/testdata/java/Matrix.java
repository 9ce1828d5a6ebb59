import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** The matrix for Java clients, 2.8 and newer: "Matrix BOOTSTRAP PREFIX" prints "ok" for each part. */
public class Matrix {
    static final long FIRST = 1_700_000_000_000L; // record k has the time FIRST + 10 k
    static final int PARTITIONS = 6;
    static String bootstrap, prefix;
    static Admin admin;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        prefix = args[1];
        say("version " + AppInfoParser.getVersion());
        try (Admin a = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin = a;
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                records(codec);
                say("records " + codec);
            }
            group("eager", "org.apache.kafka.clients.consumer.RangeAssignor");
            say("group eager");
            group("cooperative", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            say("group cooperative");
            staticMembers();
            say("group static");
            topics();
            say("topics");
            configs();
            say("configs");
            groups();
            say("groups");
        }
    }

    static void say(String part) {
        System.out.println("ok " + part);
    }

    // A topic is created when every request knows it, which is later than the answer.
    // Its records are old enough for the default retention to take them.
    static void create(String topic, int partitions) throws Exception {
        create(topic, partitions, Map.of("retention.ms", "-1"));
    }

    static void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        for (long end = end(30); ; Thread.sleep(20)) {
            try {
                describe(topic).get();
                return;
            } catch (ExecutionException e) {
                check(System.currentTimeMillis() < end, "time to create: " + e);
            }
        }
    }

    // What record k is: some have no key, some no value, all have headers, one of them null.
    static String key(int k) {
        return k % 7 == 3 ? null : "key-" + k;
    }

    static String value(int k) {
        return k % 5 == 4 ? null : ("value " + k + " ").repeat(1 + k % 30);
    }

    static void produce(String topic, int partitions, String codec, int from, int to) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "enable.idempotence", true, "acks", "all",
            "compression.type", codec, "linger.ms", 5);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int k = from; k < to; k++) {
                var r = new ProducerRecord<>(topic, k % partitions, FIRST + 10L * k, key(k), value(k));
                r.headers().add("k", Integer.toString(k).getBytes(StandardCharsets.UTF_8)).add("null", null);
                sent.add(producer.send(r));
            }
        }
        for (int k = from; k < to; k++) check(sent.get(k - from).get().offset() == k / partitions, "offset of " + k);
    }

    static Map<String, Object> consumer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false,
            "auto.offset.reset", "earliest", "heartbeat.interval.ms", 200, "check.crcs", true));
        config.putAll(more);
        return config;
    }

    static void records(String codec) throws Exception {
        String topic = prefix + "-" + codec;
        create(topic, 1);
        produce(topic, 1, codec, 0, 1000);
        try (var c = new KafkaConsumer<>(consumer(Map.of()), new StringDeserializer(), new StringDeserializer())) {
            c.assign(List.of(new TopicPartition(topic, 0)));
            int next = 0;
            for (long end = end(30); next < 1000; ) {
                check(System.currentTimeMillis() < end, "time to read, at " + next);
                for (var r : c.poll(Duration.ofSeconds(1))) {
                    check(r.offset() == next && same(r.key(), key(next)) && same(r.value(), value(next)) && r.timestamp() == FIRST + 10L * next, "record " + next);
                    var headers = r.headers().toArray();
                    check(headers.length == 2 && new String(headers[0].value(), StandardCharsets.UTF_8).equals("" + next) && headers[1].value() == null, "headers " + next);
                    next++;
                }
            }
            TopicPartition tp = new TopicPartition(topic, 0);
            for (int k : new int[] {0, 1, 499, 999}) {
                var at = c.offsetsForTimes(Map.of(tp, FIRST + 10L * k - 5)).get(tp);
                check(at != null && at.offset() == k && at.timestamp() == FIRST + 10L * k, "offset for the time of " + k + ": " + at);
            }
            check(c.offsetsForTimes(Map.of(tp, FIRST + 10L * 1000)).get(tp) == null, "offset for a time to come");
            check(c.beginningOffsets(List.of(tp)).get(tp) == 0 && c.endOffsets(List.of(tp)).get(tp) == 1000, "beginning and end");
        }
    }

    /** A member of a group, and what it read. */
    static class Member implements ConsumerRebalanceListener, AutoCloseable {
        final KafkaConsumer<String, String> consumer;
        final List<String> seen = new ArrayList<>(); // "partition/offset"
        int rebalances;
        long longest; // a call of poll, in milliseconds

        Member(String topic, Map<String, Object> config) {
            consumer = new KafkaConsumer<>(consumer(config), new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic), this);
        }

        public void onPartitionsRevoked(Collection<TopicPartition> p) {
            if (!p.isEmpty()) consumer.commitSync(); // what was read is not read again by others
        }

        public void onPartitionsAssigned(Collection<TopicPartition> p) {
            rebalances++;
        }

        void poll() {
            long from = System.currentTimeMillis();
            var records = consumer.poll(Duration.ofMillis(100));
            longest = Math.max(longest, System.currentTimeMillis() - from);
            for (var r : records) {
                int k = (int) r.offset() * PARTITIONS + r.partition();
                check(same(r.key(), key(k)) && same(r.value(), value(k)), "record " + k);
                seen.add(r.partition() + "/" + r.offset());
            }
        }

        int partitions() {
            return consumer.assignment().size();
        }

        public void close() {
            consumer.close();
        }
    }

    // Two members share the partitions, then another goes on where they ended.
    @SuppressWarnings("removal")
    static void group(String name, String assignor) throws Exception {
        String topic = prefix + "-" + name;
        create(topic, PARTITIONS);
        produce(topic, PARTITIONS, "none", 0, 300);
        Map<String, Object> config = Map.of("group.id", topic, "partition.assignment.strategy", assignor, "max.poll.records", 20);
        try (var a = new Member(topic, config)) {
            for (long end = end(30); a.partitions() < PARTITIONS || a.seen.isEmpty(); ) {
                check(System.currentTimeMillis() < end, "time for the first member");
                a.poll();
            }
            try (var b = new Member(topic, config)) {
                for (long end = end(30); a.seen.size() + b.seen.size() < 300 || a.partitions() != 3 || b.partitions() != 3; ) {
                    check(System.currentTimeMillis() < end, "time for the second member: " + a.seen.size() + " and " + b.seen.size() + " records, " + a.partitions() + " and " + b.partitions() + " partitions, polls of up to " + a.longest + " and " + b.longest + " ms");
                    a.poll();
                    b.poll();
                }
                Set<String> all = new HashSet<>(a.seen);
                all.addAll(b.seen);
                check(all.size() == 300 && a.seen.size() + b.seen.size() == 300, "each record once");
                var d = admin.describeConsumerGroups(List.of(topic)).all().get().get(topic);
                check(d.members().size() == 2 && d.state().toString().equals("Stable"), "description " + d);
                a.consumer.commitSync();
                b.consumer.commitSync(Map.of(b.consumer.assignment().iterator().next(), new OffsetAndMetadata(50, "metadata")));
                b.consumer.commitAsync();
            }
        }
        var committed = admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get();
        check(committed.size() == PARTITIONS && committed.values().stream().allMatch(o -> o.offset() == 50), "committed " + committed);
        produce(topic, PARTITIONS, "none", 300, 360);
        try (var c = new Member(topic, config)) {
            for (long end = end(30); c.seen.size() < 60; ) {
                check(System.currentTimeMillis() < end, "time to go on, at " + c.seen.size());
                c.poll();
            }
            c.poll();
            check(c.seen.size() == 60 && c.seen.stream().allMatch(s -> Integer.parseInt(s.split("/")[1]) >= 50), "positions " + c.seen);
            c.consumer.commitSync();
        }
    }

    // A static member that comes back gets its partitions without a rebalance.
    static void staticMembers() throws Exception {
        String topic = prefix + "-static";
        create(topic, PARTITIONS);
        produce(topic, PARTITIONS, "none", 0, 300);
        Map<String, Object> config = Map.of("group.id", topic, "group.instance.id", "a"), other = Map.of("group.id", topic, "group.instance.id", "b");
        try (var a = new Member(topic, config)) {
            Set<TopicPartition> had;
            try (var b = new Member(topic, other)) {
                together(a, b);
                had = b.consumer.assignment();
            }
            int before = a.rebalances;
            try (var b = new Member(topic, other)) {
                together(a, b);
                for (int k = 0; k < 10; k++) a.poll(); // a rebalance would be seen by now
                check(b.consumer.assignment().equals(had), "assignment " + b.consumer.assignment() + ", had " + had);
                check(a.rebalances == before, "a rebalance");
            }
            var members = admin.describeConsumerGroups(List.of(topic)).all().get().get(topic).members();
            check(members.stream().allMatch(m -> m.groupInstanceId().isPresent()), "members " + members);
        }
    }

    static void together(Member a, Member b) {
        for (long end = end(30); a.partitions() != 3 || b.partitions() != 3; ) {
            check(System.currentTimeMillis() < end, "time for two members: " + a.partitions() + " and " + b.partitions());
            a.poll();
            b.poll();
        }
    }

    static void topics() throws Exception {
        String topic = prefix + "-topic";
        create(topic, 3, Map.of("retention.ms", "3600000"));
        refused(admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all(), "TopicExistsException");
        TopicDescription d = describe(topic).get();
        check(d.partitions().size() == 3 && d.partitions().get(2).leader().id() == 1, "description " + d);
        check(admin.listTopics().names().get().contains(topic), "list");
        admin.deleteTopics(List.of(topic)).all().get();
        for (long end = end(30); admin.listTopics().names().get().contains(topic); Thread.sleep(50)) check(System.currentTimeMillis() < end, "time to delete");
        refused(describe(topic), "UnknownTopicOrPartitionException");
    }

    // describeTopics' result has other methods in each of the two lines.
    @SuppressWarnings("unchecked")
    static KafkaFuture<TopicDescription> describe(String topic) throws Exception {
        var result = admin.describeTopics(List.of(topic));
        var values = Arrays.stream(result.getClass().getMethods()).filter(m -> m.getName().equals("topicNameValues")).findFirst();
        var method = values.isPresent() ? values.get() : result.getClass().getMethod("values");
        return ((Map<String, KafkaFuture<TopicDescription>>) method.invoke(result)).get(topic);
    }

    static void configs() throws Exception {
        String topic = prefix + "-config";
        create(topic, 1, Map.of("retention.ms", "3600000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        ConfigEntry e = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms");
        check(e.value().equals("3600000") && !e.isDefault() && e.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "entry " + e);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND)))).all().get();
        for (long end = end(10); ; Thread.sleep(20)) {
            var c = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            if (c.get("retention.ms").isDefault() && c.get("retention.ms").value().equals("604800000")
                && Set.of(c.get("cleanup.policy").value().split(",")).equals(Set.of("delete", "compact"))) break;
            check(System.currentTimeMillis() < end, "altered " + c.get("retention.ms") + " " + c.get("cleanup.policy"));
        }
        refused(admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all(), "InvalidConfigurationException");
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        check(admin.describeConfigs(List.of(broker)).all().get().get(broker).get("num.partitions") != null, "broker's configs");
    }

    @SuppressWarnings("removal")
    static void groups() throws Exception {
        String topic = prefix + "-none", group = prefix + "-gone";
        TopicPartition tp = new TopicPartition(topic, 0);
        try (var c = new KafkaConsumer<>(consumer(Map.of("group.id", group)), new StringDeserializer(), new StringDeserializer())) {
            c.assign(List.of(tp)); // a consumer that is no member may commit
            c.seek(tp, 77);
            c.commitSync();
            check(c.committed(Set.of(tp)).get(tp).offset() == 77, "committed");
        }
        admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(78, "altered"))).all().get();
        var o = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp);
        check(o.offset() == 78 && o.metadata().equals("altered"), "altered " + o);
        for (String g : List.of(prefix + "-eager", group)) {
            var listed = admin.listConsumerGroups().all().get().stream().filter(l -> l.groupId().equals(g)).findFirst();
            check(listed.isPresent() && listed.get().state().get().toString().equals("Empty"), "listed " + listed);
        }
        admin.deleteConsumerGroupOffsets(group, Set.of(tp)).all().get();
        check(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp) == null, "offset deleted");
        // With its last offset Kafka forgets a group that has no members.
        admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(79))).all().get();
        admin.deleteConsumerGroups(List.of(group)).all().get();
        check(admin.listConsumerGroups().all().get().stream().noneMatch(l -> l.groupId().equals(group)), "still listed");
        refused(admin.deleteConsumerGroups(List.of(group)).all(), "GroupIdNotFoundException");
    }

    static long end(int seconds) {
        return System.currentTimeMillis() + 1000L * seconds;
    }

    static boolean same(String a, String b) {
        return a == null ? b == null : a.equals(b);
    }

    static void refused(Future<?> f, String by) throws Exception {
        try {
            f.get();
        } catch (ExecutionException e) {
            check(e.getCause().getClass().getSimpleName().equals(by), by + ", not " + e.getCause());
            return;
        }
        throw new AssertionError("not refused: " + by);
    }

    static void check(boolean ok, String what) {
        if (!ok) throw new AssertionError(what);
    }
}
