// Decodes requests of OTLP/JSON by OpenTelemetry's own definitions of its protocol, and prints what they say, one JSON
// document per line.
//
// usage: node otlp_decode.js metrics|logs FILE..., with NODE_PATH
//
// Each request becomes a message of protobuf, then bytes, then a message again. What comes out must be what went in: a field
// that the definitions do not have, a name in snake_case, a 64-bit integer as a number or an enumeration as a name would be
// missing or look different.
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");

// The package exports none of its definitions, so its file is named.
const library = process.env.NODE_PATH.split(":").map((place) => path.join(place, "@opentelemetry/otlp-transformer/build/src"));
const { opentelemetry } = require(path.join(library.find((place) => fs.existsSync(place)), "generated/root.js"));
const services = {
  metrics: opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest,
  logs: opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest,
};

/** Without lists that are empty, which protobuf cannot tell from absent ones. */
function withoutEmptyLists(value) {
  if (Array.isArray(value)) return value.map(withoutEmptyLists);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, inner]) => !(Array.isArray(inner) && inner.length === 0));
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutEmptyLists(inner)]));
}

function decode(service, text) {
  assert(/^[\x20-\x7e]*$/.test(text), "not ASCII");
  const sent = JSON.parse(text);
  const bytes = service.encode(service.fromObject(sent)).finish();
  const got = service.toObject(service.decode(bytes), { longs: String, enums: Number, bytes: String, json: true });
  assert.deepStrictEqual(withoutEmptyLists(got), withoutEmptyLists(sent));
  return got;
}

function attributes(owner) {
  const list = owner.attributes || [];
  assert.strictEqual(new Set(list.map((one) => one.key)).size, list.length, "an attribute occurs twice");
  return Object.fromEntries(list.map((one) => [one.key, one.value.stringValue]));
}

/** The buckets that are not empty: [lower edge, upper edge, count] */
function buckets(side, scale) {
  if (!side) return [];
  assert(side.bucketCounts.length <= 160);
  const base = 2 ** 2 ** -scale;
  const edges = side.bucketCounts.map((count, i) => [base ** (side.offset + i), base ** (side.offset + i + 1), Number(count)]);
  return edges.filter(([, , count]) => count > 0);
}

function pointOf(point, kind) {
  const shown = { attributes: attributes(point), start: point.startTimeUnixNano || "", time: point.timeUnixNano };
  if (kind !== "exponentialHistogram") {
    assert(("asInt" in point) !== ("asDouble" in point), "a point has one value");
    return { ...shown, value: Number("asInt" in point ? point.asInt : point.asDouble), isInt: "asInt" in point };
  }
  const positive = buckets(point.positive, point.scale), negative = buckets(point.negative, point.scale);
  const total = [...positive, ...negative].reduce((sum, [, , count]) => sum + count, Number(point.zeroCount));
  assert.strictEqual(total, Number(point.count), "the buckets add up to the count");
  return { ...shown, count: Number(point.count), sum: point.sum ?? null, scale: point.scale, zero: Number(point.zeroCount),
           min: point.min ?? null, max: point.max ?? null, positive, negative };
}

function metricsOf(request) {
  assert.strictEqual(request.resourceMetrics.length, 1);
  const [{ resource, scopeMetrics }] = request.resourceMetrics;
  assert.strictEqual(scopeMetrics.length, 1);
  const metrics = {};
  for (const metric of scopeMetrics[0].metrics) {
    assert(!(metric.name in metrics), `${metric.name} occurs twice`);
    const kind = ["gauge", "sum", "histogram", "exponentialHistogram"].find((one) => one in metric);
    const data = metric[kind];
    metrics[metric.name] = { kind, unit: metric.unit || "", monotonic: data.isMonotonic ?? null,
                             temporality: data.aggregationTemporality ?? null,
                             points: data.dataPoints.map((point) => pointOf(point, kind)) };
  }
  return { resource: attributes(resource), dropped: resource.droppedAttributesCount || 0, metrics };
}

function logsOf(request) {
  const [{ resource, scopeLogs }] = request.resourceLogs;
  const records = scopeLogs[0].logRecords.map((one) => ({
    time: one.timeUnixNano, observed: one.observedTimeUnixNano, severity: one.severityNumber, severityText: one.severityText,
    event: one.eventName, body: one.body.stringValue, attributes: attributes(one) }));
  return { resource: attributes(resource), records };
}

const [kind, ...files] = process.argv.slice(2);
for (const file of files) {
  const request = decode(services[kind], fs.readFileSync(file, "latin1"));
  console.log(JSON.stringify(kind === "metrics" ? metricsOf(request) : logsOf(request)));
}
