import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** A client that knows nothing of ours: it publishes a task as a bare record and waits for the event that echoes it. */
public class Foreign {
    public static void main(String[] args) throws Exception {
        String brokers = args[0], tasks = args[1], results = args[2], echo = args[3];
        Properties p = new Properties();
        p.put("bootstrap.servers", brokers);
        p.put("group.id", args[4]);
        p.put("auto.offset.reset", "earliest");
        p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        try (var producer = new KafkaProducer<String, String>(p)) {
            producer.send(new ProducerRecord<>(tasks, "{\"echo\":\"" + echo + "\"}")).get();
        }
        try (var consumer = new KafkaConsumer<String, String>(p)) {
            consumer.subscribe(List.of(results));
            for (long end = System.nanoTime() + 60_000_000_000L; System.nanoTime() < end; ) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    if (record.value().contains(echo)) {
                        System.out.println(record.key() + " " + record.value());
                        return;
                    }
                }
            }
        }
        System.err.println("no event within 60 s");
        System.exit(1);
    }
}
