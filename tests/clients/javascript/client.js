// kafkajs and the CloudEvents SDK of JavaScript: see tests/clients/README.md.
import { readFileSync } from "node:fs";
import { CloudEvent, Kafka as Binding } from "cloudevents";
import { Kafka, logLevel, Partitioners } from "kafkajs";

function written({ event, mode, key }) {
  const { data_base64, ...rest } = event;
  if (data_base64) rest.data = Buffer.from(data_base64, "base64");
  const made = new CloudEvent({ ...rest, datacontenttype: "application/json" });
  const { headers, value, timestamp } = Binding[mode](made);
  // The SDK leaves the data an object, and names attributes that have no value: kafkajs can take neither.
  const named = Object.entries(headers).filter(([, text]) => text !== undefined);
  return { key, timestamp, headers: Object.fromEntries(named), value: mode === "binary" ? JSON.stringify(value) : value };
}

async function publish(kafka, { topic, cases }) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  const places = [];
  for (const one of cases) {
    const message = one.event ? written(one) : { key: one.key, value: one.value };
    message.headers = { ...message.headers, ...one.headers };
    const [placed] = await producer.send({ topic, messages: [message] });
    places.push({ partition: placed.partition, offset: Number(placed.baseOffset) });
  }
  await producer.disconnect();
  return places;
}

async function read(kafka, { topics, answers }) {
  const consumer = kafka.consumer({ groupId: `reader-${process.pid}` });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  const found = [];
  await new Promise((enough) =>
    consumer.run({
      eachMessage: async ({ message }) => {
        // kafkajs hands headers out as buffers; the SDK wants text.
        const headers = Object.entries(message.headers).map(([name, value]) => [name, value.toString()]);
        const event = Binding.toEvent({ ...message, headers: Object.fromEntries(headers) });
        const { id, source, type, subject, data } = event;
        found.push({ id, source, type, subject, data: JSON.stringify(data) });
        if (found.length === answers) enough();
      },
    }),
  );
  await consumer.disconnect();
  return found;
}

const task = JSON.parse(readFileSync(0));
const kafka = new Kafka({ brokers: task.bootstrap.split(","), logLevel: logLevel.ERROR });
console.log(JSON.stringify(await (task.cases ? publish(kafka, task) : read(kafka, task))));
