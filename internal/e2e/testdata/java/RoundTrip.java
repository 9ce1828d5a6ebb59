import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What a Java client does without groups. Prints "ok" for each part. */
public class RoundTrip {
    static final int RECORDS = 2000;
    static final long FIRST = 1_700_000_000_000L; // record k has the time FIRST + 10 k

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            produce(bootstrap, "java-" + codec, codec);
            consume(bootstrap, "java-" + codec);
            System.out.println("ok codec " + codec);
        }
        admin(bootstrap);
        System.out.println("ok admin");
    }

    static void produce(String bootstrap, String topic, String codec) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "enable.idempotence", true, "acks", "all",
            "compression.type", codec, "linger.ms", 5);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int k = 0; k < RECORDS; k++) {
                var r = new ProducerRecord<>(topic, 0, FIRST + 10L * k, "key-" + k, value(k)); // the topic is created by asking for it
                r.headers().add("k", new byte[] {(byte) k});
                sent.add(producer.send(r));
            }
        }
        for (int k = 0; k < RECORDS; k++) check(sent.get(k).get().offset() == k, "offset of " + k);
    }

    static String value(int k) {
        return ("value " + k + " ").repeat(1 + k % 30);
    }

    static void consume(String bootstrap, String topic) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false, "isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            TopicPartition tp = new TopicPartition(topic, 0);
            consumer.assign(List.of(tp));
            check(consumer.beginningOffsets(List.of(tp)).get(tp) == 0, "beginning");
            check(consumer.endOffsets(List.of(tp)).get(tp) == RECORDS, "end");
            for (int k : new int[] {0, 1, 777, RECORDS - 1}) {
                var at = consumer.offsetsForTimes(Map.of(tp, FIRST + 10L * k - 5)).get(tp);
                check(at.offset() == k && at.timestamp() == FIRST + 10L * k, "offset for the time of " + k + ": " + at);
            }
            check(consumer.offsetsForTimes(Map.of(tp, FIRST + 10L * RECORDS)).get(tp) == null, "offset for a time to come");
            consumer.seekToBeginning(List.of(tp));
            read(consumer, 0);
            consumer.seek(tp, 1234);
            read(consumer, 1234);
        }
    }

    static void read(KafkaConsumer<String, String> consumer, int from) {
        int next = from;
        for (long end = System.currentTimeMillis() + 30_000; next < RECORDS; ) {
            check(System.currentTimeMillis() < end, "time to read, at " + next);
            for (var r : consumer.poll(Duration.ofSeconds(1))) {
                check(r.offset() == next && r.key().equals("key-" + next) && r.value().equals(value(next))
                    && r.timestamp() == FIRST + 10L * next && r.headers().lastHeader("k").value()[0] == (byte) next, "record " + next);
                next++;
            }
        }
    }

    static void admin(String bootstrap) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            var cluster = admin.describeCluster();
            check(cluster.nodes().get().size() == 1 && cluster.controller().get().id() == 1, "cluster");
            check(cluster.clusterId().get().length() == 22, "cluster id");
            admin.createTopics(List.of(new NewTopic("admin", 2, (short) 1).configs(Map.of("retention.ms", "3600000")))).all().get();
            refused(admin.createTopics(List.of(new NewTopic("admin", 2, (short) 1))).all(), "TopicExistsException");
            admin.createPartitions(Map.of("admin", NewPartitions.increaseTo(5))).all().get();
            var topic = admin.describeTopics(List.of("admin")).allTopicNames().get().get("admin");
            check(IntStream.range(0, 5).allMatch(k -> topic.partitions().get(k).leader().id() == 1), "partitions");
            check(admin.listTopics().names().get().contains("admin"), "list");
            TopicPartition tp = new TopicPartition("java-gzip", 0);
            check(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(500))).lowWatermarks().get(tp).get().lowWatermark() == 500, "low watermark");
            check(admin.listOffsets(Map.of(tp, OffsetSpec.earliest())).partitionResult(tp).get().offset() == 500, "earliest");
            check(admin.listOffsets(Map.of(tp, OffsetSpec.latest())).partitionResult(tp).get().offset() == RECORDS, "latest");
            check(admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp).get().offset() == RECORDS - 1, "max timestamp");
            refused(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(RECORDS + 1))).all(), "OffsetOutOfRangeException");
            admin.deleteTopics(List.of("admin")).all().get();
            refused(admin.deleteTopics(List.of("admin")).all(), "UnknownTopicOrPartitionException");
        }
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
