// Does with the official OpenAI client for Node what lines on stdin say; one line of JSON for each. Argument: URL.
const readline = require("node:readline");
const OpenAI = require("openai");

const keys = { free: ["hk-free", 0], few: ["hk-few", 0], patient: ["hk-few", 5], stranger: ["hk-none", 0] };
const clients = Object.fromEntries(Object.entries(keys).map(([who, [apiKey, maxRetries]]) =>
  [who, new OpenAI({ baseURL: process.argv[2], apiKey, maxRetries })]));
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

async function readStream(stream, step, lines) {
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    if (chunks.length === step.leave_after) {
      stream.controller.abort();
      break;
    }
    if (chunks.length === step.pause_after) {
      say({ paused: true });
      await lines.next();
    }
  }
  return chunks;
}

async function act(step, lines) {
  const client = clients[step.who ?? "free"];
  const options = { headers: step.headers ?? {} };
  if (step.do === "models.list") {
    const data = [];
    for await (const model of client.models.list(options)) data.push(model);
    return { value: { data } };
  }
  if (step.do === "models.retrieve") return { value: await client.models.retrieve(step.id, options) };
  if (step.do === "responses.retrieve") return { value: await client.responses.retrieve(step.id, {}, options) };
  if (step.do === "responses.delete") {
    await client.responses.delete(step.id, options);
    return { value: {} };
  }
  const made = { chat: client.chat.completions, completions: client.completions, responses: client.responses }[step.do];
  const answer = await made.create(step.body, options);
  if (step.body.stream) return { chunks: await readStream(answer, step, lines) };
  return { value: answer, request_id: answer._request_id };
}

(async () => {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    try {
      say(await act(JSON.parse(line.value), lines));
    } catch (e) {
      if (!(e instanceof OpenAI.APIError)) throw e;
      say({ error: {
        kind: e.constructor.name, status: e.status ?? null, code: e.code ?? null, param: e.param ?? null,
        body: e.error ?? null, request_id: e.requestID ?? null, retry_after: e.headers?.get("retry-after") ?? null,
      } });
    }
  }
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
