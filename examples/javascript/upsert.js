// Publishes a request and awaits its answer: node upsert.js CUSTOMER DATE_OF_BIRTH
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { Kafka, logLevel, Partitioners } from "kafkajs";

const { env } = process;
const brokers = (env.KAFKA_BOOTSTRAP_SERVERS ?? "localhost:9092").split(",");
const requests = env.REQUEST_TOPIC ?? "patient.upsert.requested";
const completed = env.COMPLETED_TOPIC ?? "patient.upsert.completed";
const failed = env.FAILED_TOPIC ?? "patient.upsert.failed";
const source = "/examples/javascript";

const kafka = new Kafka({ brokers, logLevel: logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true });
// A group for each instance: an answer goes to all instances, and the one that waits for it takes it.
const consumer = kafka.consumer({ groupId: `example-javascript-${hostname()}` });
const waiting = new Map();

// The consumer: hands an answer to whoever awaits it. The same answer may come twice.
async function receive({ message }) {
  const answer = JSON.parse(message.value);
  if (answer.request.source !== source) return;
  waiting.get(answer.request.id)?.(answer);
  waiting.delete(answer.request.id);
}

// The producer: publishes a request and awaits its answer.
async function upsert(patient) {
  const id = randomUUID(); // keep it with your data: sent again under its id, a request takes effect once
  const answer = new Promise((resolve, reject) => {
    waiting.set(id, resolve);
    setTimeout(() => reject(new Error("no answer in 30 seconds: does the worker run?")), 30_000).unref();
  });
  const headers = { "idempotency-key": id, source };
  const messages = [{ key: patient.customer, value: JSON.stringify(patient), headers }];
  await producer.send({ topic: requests, messages });
  return answer;
}

const [customer, dateOfBirth] = process.argv.slice(2);
await Promise.all([producer.connect(), consumer.connect()]);
await consumer.subscribe({ topics: [completed, failed], fromBeginning: true });
await consumer.run({ eachMessage: receive });
const { status, outcome, response } = await upsert({
  customer,
  firstName: "Zoë",
  lastName: "Sample",
  dateOfBirth,
  gender: "female",
  phone: "+1 (202) 555-0143",
  email: "zoe.sample@clinic.example",
  address: "12 Invented Street",
  address2: null,
  city: "Springfield",
  state: "OR",
  postalCode: "97475",
  country: "US",
});
if (status === 200) {
  console.log(outcome, response.patient); // created, updated, unchanged or superseded
} else {
  const faults = response.details.map((fault) => `${fault.field} ${fault.code}`);
  console.log(`${outcome} ${response.error}: ${faults.join(", ")}`);
}
await Promise.all([producer.disconnect(), consumer.disconnect()]);
