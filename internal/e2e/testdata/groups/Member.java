import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.CorruptRecordException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a group that tells what it sees and commits; see groups_test.go for
 * the lines it prints.
 *
 * usage: Member BOOTSTRAP TOPIC GROUP eager|cooperative RECORDS_PER_SECOND
 *
 * It leaves when standard input ends.
 */
public class Member {
    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int rate = Integer.parseInt(args[4]);
        String assignor = "org.apache.kafka.clients.consumer." + (args[3].equals("eager") ? "RangeAssignor" : "CooperativeStickyAssignor");
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException e) { }
        });
        input.setDaemon(true);
        input.start();
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", args[0], "group.id", args[2], "partition.assignment.strategy", assignor,
            "enable.auto.commit", false, "auto.offset.reset", "earliest", "max.poll.records", Math.max(1, rate / 4),
            "session.timeout.ms", 6000, "heartbeat.interval.ms", 1000, "max.poll.interval.ms", 60000));
        config.putAll(Map.of("reconnect.backoff.max.ms", 500L, "retry.backoff.max.ms", 500L, "request.timeout.ms", 10000,
            "default.api.timeout.ms", 15000, "fetch.max.wait.ms", 200, "client.id", "java"));
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>(); // to be committed
            consumer.subscribe(List.of(topic), new Listener(consumer, ends));
            while (input.isAlive()) {
                long begin = now();
                var records = consumer.poll(Duration.ofMillis(200));
                for (TopicPartition p : records.partitions()) ends.put(p, tell(p, records.records(p)));
                System.out.flush();
                if (!ends.isEmpty()) commit(consumer, ends);
                Thread.sleep(Math.max(0, records.count() * 1000L / rate - (now() - begin) / 1000));
            }
        } catch (Exception e) {
            say("F " + e);
            throw e;
        }
        System.out.flush();
    }

    /** tells of consecutive records of one partition and returns the offset after them. */
    static OffsetAndMetadata tell(TopicPartition p, List<ConsumerRecord<byte[], byte[]>> records) {
        long first = records.get(0).offset(), next = first, sum = 0;
        CRC32 crc = new CRC32();
        for (var r : records) {
            if (r.offset() != next) say("F partition " + p.partition() + ": offset " + r.offset() + " where " + next + " should be");
            next = r.offset() + 1;
            crc.reset();
            crc.update(r.value());
            sum += crc.getValue();
        }
        say("R " + now() + " " + p.partition() + " " + first + " " + (next - first) + " " + (sum & 0xffffffffL));
        return new OffsetAndMetadata(next, "java");
    }

    /** commits. That a rebalance or an outage comes in between is no failure: it is tried again, or the records come again. */
    static void commit(KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, OffsetAndMetadata> ends) {
        try {
            consumer.commitSync(ends);
        } catch (KafkaException e) {
            say("X " + now() + " " + e.getClass().getSimpleName());
            return;
        }
        long at = now();
        ends.forEach((p, o) -> say("C " + at + " " + p.partition() + " " + o.offset()));
        ends.clear();
    }

    static class Listener implements ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Map<TopicPartition, OffsetAndMetadata> ends;

        Listener(KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, OffsetAndMetadata> ends) {
            this.consumer = consumer;
            this.ends = ends;
        }

        /** tells where it begins, which is where the last owner's commits ended. */
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            long at = now();
            say("A " + at + " " + partitions.size());
            for (TopicPartition p : partitions) {
                while (true) {
                    try {
                        say("S " + at + " " + p.partition() + " " + consumer.position(p));
                        break;
                    } catch (WakeupException | CorruptRecordException e) {
                        throw e;
                    } catch (KafkaException e) {
                        say("X " + now() + " " + e.getClass().getSimpleName()); // the broker is away
                    }
                }
            }
        }

        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            if (!ends.isEmpty()) commit(consumer, ends);
            ends.keySet().removeAll(partitions);
        }

        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            ends.keySet().removeAll(partitions); // others have them already
        }
    }

    /** now is the time in microseconds. */
    static long now() {
        var t = java.time.Instant.now();
        return t.getEpochSecond() * 1_000_000 + t.getNano() / 1000;
    }

    static void say(String line) {
        System.out.println(line);
    }
}
