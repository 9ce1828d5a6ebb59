import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;

/**
 * A Kafka Streams application, at least once: "Counts BOOTSTRAP ID FOLDER FROM TO".
 *
 * Values are numbers that rise within their remainder by 100. It counts those of each remainder,
 * leaving out what it has counted before, so that a count is exact although a record may come
 * twice, and says "remainder → greatest, count". The new keys need a repartition topic, the
 * counts a changelog.
 */
public class Counts {
    public static void main(String[] args) throws Exception {
        var p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 3);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        p.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 2000);
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        p.put("auto.offset.reset", "earliest");
        p.put("session.timeout.ms", 6000);
        var b = new StreamsBuilder();
        b.<String, String>stream(args[3])
            .selectKey((k, v) -> Long.toString(Long.parseLong(v) % 100))
            .groupByKey(Grouped.as("remainders"))
            .aggregate(() -> "-1,0", (k, v, state) -> {
                String[] s = state.split(",");
                long id = Long.parseLong(v);
                return id <= Long.parseLong(s[0]) ? state : id + "," + (Long.parseLong(s[1]) + 1);
            }, Materialized.as("counts"))
            .toStream()
            .to(args[4]);
        var streams = new KafkaStreams(b.build(), p);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        var ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(20));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
