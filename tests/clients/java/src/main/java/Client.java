import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.data.BytesCloudEventData;
import io.cloudevents.core.message.Encoding;
import io.cloudevents.jackson.JsonCloudEventData;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.CloudEventDeserializer;
import io.cloudevents.kafka.CloudEventSerializer;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** kafka-clients and the CloudEvents SDK of Java: see tests/clients/README.md. */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        JsonNode task = JSON.readTree(System.in);
        System.out.println(task.has("cases") ? publish(task) : read(task));
    }

    private static ArrayNode publish(JsonNode task) throws Exception {
        ArrayNode places = JSON.createArrayNode();
        String topic = task.get("topic").asText();
        Map<String, Object> config = Map.of("bootstrap.servers", task.get("bootstrap").asText());
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode one : task.get("cases")) {
                var headers = new RecordHeaders();
                byte[] value = one.has("event")
                        ? written(event(one.get("event")), one.get("mode").asText(), topic, headers)
                        : one.get("value").asText().getBytes(StandardCharsets.UTF_8);
                one.path("headers").fields().forEachRemaining(header -> {
                    headers.remove(header.getKey());
                    headers.add(header.getKey(), header.getValue().asText().getBytes(StandardCharsets.UTF_8));
                });
                String named = one.path("key").textValue();
                byte[] key = named == null ? null : named.getBytes(StandardCharsets.UTF_8);
                var placed = producer.send(new ProducerRecord<>(topic, null, key, value, headers)).get();
                places.addObject().put("partition", placed.partition()).put("offset", placed.offset());
            }
        }
        return places;
    }

    private static CloudEvent event(JsonNode from) {
        var builder = CloudEventBuilder.v1()
                .withId(from.get("id").asText())
                .withSource(URI.create(from.get("source").asText()))
                .withType(from.get("type").asText())
                .withSubject(from.get("subject").asText())
                .withTime(OffsetDateTime.parse(from.get("time").asText()))
                .withDataContentType("application/json");
        if (from.has("data_base64")) {
            byte[] bytes = Base64.getDecoder().decode(from.get("data_base64").asText());
            return builder.withData(BytesCloudEventData.wrap(bytes)).build();
        }
        return builder.withData(JsonCloudEventData.wrap(from.get("data"))).build();
    }

    private static byte[] written(CloudEvent event, String mode, String topic, RecordHeaders headers) {
        var serializer = new CloudEventSerializer();
        var config = new HashMap<String, Object>();
        if (mode.equals("structured")) {
            config.put(CloudEventSerializer.ENCODING_CONFIG, Encoding.STRUCTURED);
            // Without this, bytes that are JSON are written as `data`.
            var format = new JsonFormat();
            boolean bytes = event.getData() instanceof BytesCloudEventData;
            config.put(CloudEventSerializer.EVENT_FORMAT_CONFIG, bytes ? format.withForceJsonDataToBase64() : format);
        }
        serializer.configure(config, false);
        return serializer.serialize(topic, headers, event);
    }

    private static ArrayNode read(JsonNode task) {
        ArrayNode found = JSON.createArrayNode();
        Map<String, Object> config =
                Map.of("bootstrap.servers", task.get("bootstrap").asText(), "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                var events = new CloudEventDeserializer()) {
            var partitions = new ArrayList<TopicPartition>();
            for (JsonNode topic : task.get("topics")) {
                for (PartitionInfo one : consumer.partitionsFor(topic.asText())) {
                    partitions.add(new TopicPartition(one.topic(), one.partition()));
                }
            }
            consumer.assign(partitions);
            while (found.size() < task.get("answers").asInt()) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    CloudEvent event = events.deserialize(record.topic(), record.headers(), record.value());
                    ObjectNode one = found.addObject().put("id", event.getId());
                    one.put("source", event.getSource().toString()).put("type", event.getType());
                    one.put("subject", event.getSubject());
                    one.put("data", new String(event.getData().toBytes(), StandardCharsets.UTF_8));
                }
            }
        }
        return found;
    }
}
