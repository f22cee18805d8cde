// Reads contracts/ as others would.
//   node read.mjs asyncapi FILE           what the official parser says of the document
//   node read.mjs schemas FOLDER CASES    whether ajv takes each [schema, value] of a JSON file
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import addFormats from "ajv-formats";
import Ajv2020 from "ajv/dist/2020.js";
import parser from "@asyncapi/parser";

const [what, path, cases] = process.argv.slice(2);
const print = (value) => process.stdout.write(JSON.stringify(value));

if (what === "asyncapi") {
  const { document, diagnostics } = await new parser.Parser().parse(readFileSync(path, "utf8"));
  const names = (all) => (all ?? []).map((each) => each.id());
  print({
    diagnostics: diagnostics.map(({ severity, code, path, message }) => ({ severity, code, path, message })),
    servers: names(document?.servers().all()),
    channels: (document?.channels().all() ?? []).map((channel) => channel.address()),
    operations: names(document?.operations().all()),
    messages: names(document?.messages().all()),
  });
} else {
  const ajv = new Ajv2020({ logger: false });
  addFormats(ajv);
  const compiled = Object.fromEntries(
    readdirSync(path).map((name) => [name.replace(".json", ""), ajv.compile(JSON.parse(readFileSync(join(path, name), "utf8")))]),
  );
  print(JSON.parse(readFileSync(cases, "utf8")).map(([schema, value]) => compiled[schema](value)));
}
