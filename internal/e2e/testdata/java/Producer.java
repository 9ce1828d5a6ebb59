import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * An idempotent producer that tells what it was told.
 *
 * usage: Producer BOOTSTRAP TOPIC PARTITIONS NAME RECORDS_PER_SECOND [standard]
 *
 * It sends sequences 0, 1, 2 ... until standard input ends, waits for all
 * acknowledgements and prints for each "A sequence partition offset" or "F what".
 * With "standard" all about retries and timeouts is the client's own default.
 */
public class Producer {
    public static void main(String[] args) throws Exception {
        String topic = args[1], name = args[3];
        int partitions = Integer.parseInt(args[2]), rate = Integer.parseInt(args[4]);
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException e) { }
        });
        input.setDaemon(true);
        input.start();
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", args[0], "enable.idempotence", true, "acks", "all", "linger.ms", 5));
        if (args.length < 6) {
            config.putAll(Map.of(
                "delivery.timeout.ms", 1800000, "max.block.ms", 1800000, "request.timeout.ms", 10000,
                "reconnect.backoff.max.ms", 500L, "retry.backoff.max.ms", 500L));
        }
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (long sequence = 0; input.isAlive(); ) {
                for (int k = 0; k < Math.max(1, rate / 50); k++, sequence++) {
                    String key = name + "-" + sequence;
                    long s = sequence;
                    producer.send(new ProducerRecord<>(topic, (int) (s % partitions), key, (key + " ").repeat((int) (1 + s % 40))), (m, e) -> {
                        if (e == null) say("A " + s + " " + m.partition() + " " + m.offset());
                        else say("F " + key + ": " + e);
                    });
                }
                Thread.sleep(20);
            }
            producer.flush();
        }
        System.out.flush();
    }

    static void say(String line) {
        System.out.println(line);
    }
}
