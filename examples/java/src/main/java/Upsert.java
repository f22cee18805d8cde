import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Publishes a request and awaits its answer: Upsert CUSTOMER DATE_OF_BIRTH. */
public final class Upsert {
    private static final String SERVERS = setting("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");
    private static final String REQUESTS = setting("REQUEST_TOPIC", "patient.upsert.requested");
    private static final String COMPLETED = setting("COMPLETED_TOPIC", "patient.upsert.completed");
    private static final String FAILED = setting("FAILED_TOPIC", "patient.upsert.failed");
    private static final String SOURCE = "/examples/java";
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        ObjectNode patient = JSON.createObjectNode()
                .put("customer", arguments[0])
                .put("firstName", "Zoë")
                .put("lastName", "Sample")
                .put("dateOfBirth", arguments[1])
                .put("gender", "female")
                .put("phone", "+1 (202) 555-0143")
                .put("email", "zoe.sample@clinic.example")
                .put("address", "12 Invented Street")
                .putNull("address2")
                .put("city", "Springfield")
                .put("state", "OR")
                .put("postalCode", "97475")
                .put("country", "US");
        try (var consumer = openConsumer()) { // before publishing: the answer may come at once
            JsonNode answer = awaitAnswer(consumer, publish(patient));
            String outcome = answer.get("outcome").asText();
            JsonNode response = answer.get("response");
            if (answer.get("status").asInt() == 200) { // created, updated, unchanged or superseded
                System.out.println(outcome + " " + response.get("patient").asText());
            } else {
                List<String> faults = new ArrayList<>();
                response.get("details").forEach(
                        fault -> faults.add(fault.get("field").asText() + " " + fault.get("code").asText()));
                System.out.println(outcome + " " + response.get("error").asText() + ": " + String.join(", ", faults));
            }
        }
    }

    /** The producer: publishes a request; its id. */
    private static String publish(ObjectNode patient) throws Exception {
        String id = UUID.randomUUID().toString(); // keep it with your data: sent again, a request takes effect once
        var request = new ProducerRecord<>(REQUESTS, patient.get("customer").asText(), JSON.writeValueAsBytes(patient));
        request.headers().add("idempotency-key", id.getBytes(StandardCharsets.UTF_8));
        request.headers().add("source", SOURCE.getBytes(StandardCharsets.UTF_8));
        Map<String, Object> config = Map.of("bootstrap.servers", SERVERS);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new ByteArraySerializer())) {
            producer.send(request).get();
        }
        return id;
    }

    /** The consumer: reads all partitions of both topics from now on, without a group. */
    private static KafkaConsumer<byte[], byte[]> openConsumer() {
        Map<String, Object> config = Map.of("bootstrap.servers", SERVERS);
        var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> partitions = new ArrayList<>();
        for (String topic : List.of(COMPLETED, FAILED)) {
            consumer.partitionsFor(topic).forEach(one -> partitions.add(new TopicPartition(topic, one.partition())));
        }
        consumer.assign(partitions);
        consumer.seekToEnd(partitions);
        partitions.forEach(consumer::position); // seekToEnd alone would wait for the first poll
        return consumer;
    }

    /** The answer to this request. Others pass by; the same answer may come twice. */
    private static JsonNode awaitAnswer(KafkaConsumer<byte[], byte[]> consumer, String id) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (System.nanoTime() < end) {
            for (var record : consumer.poll(Duration.ofSeconds(1))) {
                JsonNode answer = JSON.readTree(record.value());
                JsonNode request = answer.get("request");
                if (id.equals(request.get("id").asText()) && SOURCE.equals(request.get("source").asText())) {
                    return answer;
                }
            }
        }
        throw new IllegalStateException("no answer in 30 seconds: does the worker run?");
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
