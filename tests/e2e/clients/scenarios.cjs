// What the official OpenAI client for Node must be able to do. Arguments: base URL, a key with limits.
const assert = require("node:assert/strict");
const OpenAI = require("openai");

const [url, key, ...wanted] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "hk-free", maxRetries: 0 });
const limited = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const patient = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 5 });
const talk = [
  { role: "system", content: "You keep a lighthouse." },
  { role: "user", content: "Good evening!" },
];
const lamp = {
  name: "lamp",
  parameters: {
    type: "object", properties: { on: { type: "boolean" } }, required: ["on"], additionalProperties: false,
  },
};
const schema = {
  type: "object", properties: { on: { type: "boolean" }, colour: { enum: ["red", "green"] } },
  required: ["on", "colour"], additionalProperties: false,
};

const chat = (fields = {}, who = client, options = {}) =>
  who.chat.completions.create(
    { model: "tiny", messages: talk, temperature: 0, max_completion_tokens: 16, ...fields }, options);

async function refused(kind, fields) {
  try {
    await chat(fields);
  } catch (e) {
    assert(e instanceof kind, String(e));
    return e;
  }
  throw new Error(`${JSON.stringify(fields)} was accepted`);
}

const scenarios = {
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, ["tiny"]);
    assert.equal((await client.models.retrieve("tiny")).id, "tiny");
  },
  async whole() {
    const answer = await chat();
    assert(answer.choices[0].message.content);
    assert(["stop", "length"].includes(answer.choices[0].finish_reason));
    const text = await client.completions.create(
      { model: "tiny", prompt: "Once upon a time", max_tokens: 4, temperature: 0 });
    assert(text.choices[0].text);
  },
  async stream() {
    let text = "", finish = null;
    for await (const chunk of await chat({ stream: true })) {
      text += chunk.choices[0].delta.content ?? "";
      finish = chunk.choices[0].finish_reason ?? finish;
    }
    assert.equal(text, (await chat()).choices[0].message.content);
    assert(["stop", "length"].includes(finish));
  },
  async usage() {
    const headers = { headers: { "x-session-id": "official-node" } };
    const messages = [talk[0], { role: "user", content: "Tell of the land." }];
    let last;
    for await (const chunk of await chat(
      { messages, stream: true, stream_options: { include_usage: true } }, client, headers)) last = chunk;
    assert.deepEqual(last.choices, []);
    const first = await chat({ messages }, client, headers);
    messages.push({ role: "assistant", content: first.choices[0].message.content },
      { role: "user", content: "And now?" });
    const again = (await chat({ messages }, client, headers)).usage;
    const cached = again.prompt_tokens_details.cached_tokens;
    assert(last.usage.prompt_tokens < cached && cached < again.prompt_tokens, JSON.stringify(again));
  },
  async errors() {
    assert.equal((await refused(OpenAI.BadRequestError, { temperature: 7 })).param, "temperature");
    assert.equal((await refused(OpenAI.BadRequestError, { messages: [] })).code, "invalid_value");
    assert.equal((await refused(OpenAI.BadRequestError, { max_completion_tokens: 10 ** 6 })).code,
      "context_length_exceeded");
    try {
      await chat({ model: "other" }, client, { headers: { "x-request-id": "mine-1" } });
      assert.fail("an unknown model was accepted");
    } catch (e) {
      assert(e instanceof OpenAI.NotFoundError, String(e));
      assert.equal(e.code, "model_not_found");
      assert.equal(e.requestID, "mine-1");
    }
  },
  async retries() {
    let limit = null;
    for (let i = 0; i < 20 && !limit; ++i)
      await chat({ max_completion_tokens: 1 }, limited).catch((e) => { limit = e; });
    assert(limit instanceof OpenAI.RateLimitError, String(limit));
    assert(Number(limit.headers.get("retry-after")) >= 1);
    assert((await chat({ max_completion_tokens: 1 }, patient)).choices);
  },
  async abort() {
    const long = await chat({ stream: true, max_completion_tokens: 400, ignore_eos: true });
    for await (const chunk of long) {
      assert(chunk.id);
      long.controller.abort();
      break;
    }
    assert((await chat()).choices);
  },
  async tools() {
    const tool = { type: "function", function: lamp };
    const forced = {
      tools: [tool], tool_choice: { type: "function", function: { name: "lamp" } }, max_completion_tokens: 100,
    };
    const choice = (await chat(forced)).choices[0];
    const call = choice.message.tool_calls[0];
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(call.function.name, "lamp");
    assert.equal(typeof JSON.parse(call.function.arguments).on, "boolean");
    let streamed = "";
    for await (const chunk of await chat({ ...forced, stream: true }))
      streamed += chunk.choices[0].delta.tool_calls?.[0].function.arguments ?? "";
    assert.equal(streamed, call.function.arguments);
    const result = { role: "tool", tool_call_id: call.id, content: "It shines." };
    assert((await chat({ messages: [...talk, choice.message, result], tools: [tool] })).choices[0].message);
  },
  async json_mode() {
    const kind = { type: "json_schema", json_schema: { name: "lamp", strict: true, schema } };
    const answer = await chat({ response_format: kind, max_completion_tokens: 200, n: 2 });
    for (const reply of answer.choices) {
      const value = JSON.parse(reply.message.content);
      assert.deepEqual(Object.keys(value), ["on", "colour"]);
      assert(["red", "green"].includes(value.colour));
    }
    const bad = { name: "n", schema: { type: "integer", minimum: 3 } };
    const error = await refused(OpenAI.BadRequestError,
      { response_format: { type: "json_schema", json_schema: bad } });
    assert(error.param.endsWith(".minimum"));
  },
  async logprobs() {
    const tokens = (await chat({ logprobs: true, top_logprobs: 3 })).choices[0].logprobs.content;
    assert(tokens.length > 0);
    for (const token of tokens) {
      assert.equal(token.top_logprobs.length, 3);
      assert.equal(token.logprob, token.top_logprobs[0].logprob); // Greedy takes the best.
    }
  },
  async responses() {
    const fields = { model: "tiny", temperature: 0, max_output_tokens: 12 };
    const first = await client.responses.create({ input: "Good evening!", instructions: "Be kind.", ...fields });
    assert(first.output_text);
    const next = { input: "And now?", previous_response_id: first.id, ...fields };
    const again = await client.responses.create(next);
    let text = "", last = null;
    for await (const event of await client.responses.create({ ...next, stream: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
      last = event;
    }
    assert(["response.completed", "response.incomplete"].includes(last.type));
    assert.equal(text, again.output_text);
    await assert.rejects(client.responses.create({ ...next, previous_response_id: "resp_gone" }),
      { status: 404, code: "previous_response_not_found" });
  },
};

(async () => {
  for (const name of wanted) {
    await scenarios[name]();
    console.log("ok", name);
  }
  console.log("openai", require("openai/version").VERSION);
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
