import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { init } from "../../src/index.ts";
import { rowsOf } from "../../src/text/csv.ts";
import {
  type Batch,
  batches,
  bytes,
  type DatasetOptions,
  dataset,
  load,
  type Tokenizer,
} from "../../src/text/index.ts";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

const shared = fileURLToPath(new URL("../../../shared/", import.meta.url));
const stories = `${shared}models/stories260K`;
const here = existsSync(stories);
if (!here) console.warn(`Tests with stories260K are SKIPPED: there is no ${stories}.`);

const file = (name: string, ...lines: readonly (string | object)[]) =>
  new File([lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n")], name);

/** A tokenizer of whole words, as the hub has them. */
const words = ["<unk>", "<s>", "</s>", "who", "are", "you", "I", "am", "a", "model", "user:", "bot:", "ok"];
const wordTokenizer = (config: object = {}): Promise<Tokenizer> =>
  load([
    file("tokenizer.json", {
      version: "1.0",
      added_tokens: [0, 1, 2].map((id) => ({ id, content: words[id], special: true, normalized: false })),
      normalizer: null,
      decoder: null,
      pre_tokenizer: { type: "WhitespaceSplit" },
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [],
        special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
      },
      model: {
        type: "WordLevel",
        unk_token: "<unk>",
        vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      },
    }),
    file("tokenizer_config.json", {
      bos_token: "<s>",
      eos_token: { content: "</s>" },
      chat_template:
        "{{ bos_token }}{% for m in messages %} {{ 'bot:' if m.role == 'assistant' else 'user:' }} {{ m.content }}{% if m.role == 'assistant' %} {{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %} bot:{% endif %}",
      ...config,
    }),
  ]);

const given = (options: Partial<DatasetOptions> = {}): DatasetOptions => ({
  tokenizer: bytes(),
  maxLength: 64,
  ...options,
});

/** What is learned of an example, as text. */
async function learned(from: File, options: Partial<DatasetOptions> = {}): Promise<string[]> {
  const all = given(options);
  const data = await dataset(from, all);
  return Array.from({ length: data.length }, (_, i) =>
    all.tokenizer.decode([...data.targets(i)].filter((id) => id !== -100)),
  );
}

describe("tokenizers", () => {
  test("bytes give every text back", () => {
    const { encode, decode } = bytes();
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(decode(encode(text))).toBe(text);
      }),
    );
    expect(encode("né")).toEqual([256, 110, 195, 169]);
    expect(encode("né", { bare: true })).toEqual([110, 195, 169]);
  });

  test("a folder of the hub gives ids, the end and a template", async () => {
    const tokenizer = await wordTokenizer();
    expect(tokenizer.size).toBe(words.length);
    expect(tokenizer.end).toBe(2);
    expect(tokenizer.encode("who are you")).toEqual([1, 3, 4, 5]);
    expect(tokenizer.encode("who", { bare: true })).toEqual([3]);
    expect(tokenizer.decode([1, 3, 4, 2])).toBe("who are");
    expect(tokenizer.chat?.render([{ role: "user", content: "who" }], { reply: true })).toBe(
      "<s> user: who bot:",
    );
  });

  test("what is none is named", async () => {
    await expect(load([file("config.json", {})])).rejects.toThrow("there is no file tokenizer.json");
    await expect(load([file("tokenizer.json", {})])).rejects.toThrow("without a model");
    await expect(load([file("tokenizer.json", { model: { type: "None" } })])).rejects.toThrow(
      "not understood",
    );
    const model = { type: "WordLevel", vocab: { a: 0, b: 1 }, unk_token: "b" };
    const whole = {
      ...{ added_tokens: [], normalizer: null, decoder: null, post_processor: null, model },
      pre_tokenizer: { type: "WhitespaceSplit" },
    };
    const of = (more: object) => load([file("tokenizer.json", { ...whole, ...more })]);
    const single = [{ Sequence: { id: "A" } }, 3];
    const late = await of({ post_processor: { type: "TemplateProcessing", single } });
    expect(() => late.encode("a")).toThrow(/tokenizer.json is not understood by @huggingface\/tokenizers/);
    const without = await of({ model: { ...model, unk_token: null } });
    expect(without.encode("a")).toEqual([0]);
    expect(() => without.encode("a c")).toThrow(
      'has no token for a part of "a c", and none for what is unknown',
    );
    await expect(of({ model: { ...model, vocab: { a: 0, b: 1.5 } } })).rejects.toThrow(
      'gives "b" the id 1.5',
    );
    const refuses = await wordTokenizer({ chat_template: "{{ raise_exception('no system turns') }}" });
    expect(() => refuses.chat!.render([{ role: "user", content: "" }])).toThrow("no system turns");
  });

  test.skipIf(!here)("agree with llama.cpp on every case of stories260K", async () => {
    const { cases } = JSON.parse(readFileSync(`${stories}/tokenizer_cases.json`, "utf8")) as {
      cases: { text: string; ids: number[] }[];
    };
    const tokenizer = await load(stories);
    expect(cases.length).toBe(243);
    expect(cases.filter(({ text, ids }) => tokenizer.encode(text).join() !== ids.join())).toEqual([]);
    expect(cases.filter(({ text, ids }) => tokenizer.decode(ids) !== text)).toEqual([]);
    expect(tokenizer.size).toBe(512);
  });
});

describe("entries", () => {
  test("of every kind are learned where they answer", async () => {
    const chat = {
      messages: [
        { role: "user", content: "who are you" },
        { role: "assistant", content: "I am a model" },
      ],
    };
    expect(await learned(file("a.jsonl", { text: "abc" }))).toEqual(["abc"]);
    expect(await learned(file("a.jsonl", { prompt: "1+1=", completion: "2" }))).toEqual(["2"]);
    expect(
      await learned(file("a.jsonl", { instruction: "Say", input: "", output: "x" }), { maxLength: 999 }),
    ).toEqual(["x"]);
    expect(await learned(file("a.jsonl", { premise: "p", hypothesis: "h", label: "no" }))).toEqual([" no"]);
    expect(await learned(file("a.csv", "prompt,completion", 'a,"b,""c"""'))).toEqual(['b,"c"']);
    expect(
      await learned(file("a.jsonl", { question: "q", answer: "a" }), {
        fields: { prompt: "question", completion: "answer" },
      }),
    ).toEqual(["a"]);
    expect(await learned(file("a.jsonl", { prompt: "1+1=", completion: "2" }), { learn: "all" })).toEqual([
      "1+1=2",
    ]);
    const tokenizer = await wordTokenizer();
    expect(await learned(file("a.jsonl", chat), { tokenizer })).toEqual(["I am a model"]);
  });

  test("of a class are learned behind their last token, by names in an order of their own", async () => {
    const pairs = file(
      "a.jsonl",
      { premise: "p", hypothesis: "h", label: "no" },
      { text: "abcdef", label: "maybe" },
      { premise: "p", hypothesis: "q", label: "yes" },
    );
    const tokenizer = await bytes();
    const options = { tokenizer, maxLength: 128, learn: "label" } as const;
    const data = await dataset(pairs, options);
    expect(data.labels).toEqual(["maybe", "no", "yes"]);
    const shown = (of: typeof data, i: number) => [tokenizer.decode([...of.tokens(i)]), of.targets(i).at(-1)];
    expect([0, 1, 2].map((i) => shown(data, i))).toEqual([
      ["Premise: p\nHypothesis: h\nLabel:", 1],
      ["abcdef", 0],
      ["Premise: p\nHypothesis: q\nLabel:", 2],
    ]);
    expect(data.count.learned).toBe(3);
    expect([...data.targets(1)]).toEqual([...Array(data.tokens(1).length - 1).fill(-100), 0]);
    expect(data.split(0.5)[1].labels).toEqual(data.labels);
    const named = await dataset(pairs, { ...options, labels: ["yes", "no", "maybe"] });
    expect([0, 1, 2].map((i) => named.targets(i).at(-1))).toEqual([1, 2, 0]);
    const cut = await dataset(pairs, { ...options, maxLength: 4 });
    expect([cut.truncated, ...shown(cut, 1)]).toEqual([3, "abc", 0]); // behind the token that begins a text
    const numbers = await dataset(file("a.csv", "text,label", "a,10", "b,9"), options);
    expect(numbers.labels).toEqual(["9", "10"]);
    const one = { text: "a", label: "x" };
    for (const [lines, changes, message] of [
      [[one], {}, 'a.jsonl: all examples are of one class, "x", so there is nothing to learn'],
      [[one], { labels: ["y", "z"] }, 'a.jsonl line 1: label is "x"; the classes are "y", "z"'],
      [[one, { text: "a" }], {}, "a.jsonl line 2: its fields are text; one that has a class has"],
      [[{ text: "a", label: null }], {}, "a.jsonl line 1: label is null; it is a text"],
      [[one], { tokenizer: { ...tokenizer, encode: () => [] } }, "a.jsonl line 1: there is no token in it"],
    ] as const)
      await expect(dataset(file("a.jsonl", ...lines), { ...options, ...changes })).rejects.toThrow(message);
    await expect(dataset(file("a.txt", "abc"), options)).rejects.toThrow("a.txt: a text has no classes");
  });

  test("of Alpaca are in its words", async () => {
    const tokenizer = bytes();
    const data = await dataset(
      file("a.jsonl", { instruction: "Add.", input: "1 2", output: "3" }),
      given({ maxLength: 999 }),
    );
    expect(tokenizer.decode([...data.tokens(0)])).toBe(
      "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3",
    );
  });

  test("with several turns have each answer learned, ends included", async () => {
    const tokenizer = await wordTokenizer();
    const turn = (role: string, content: string) => ({ role, content });
    const messages = [
      turn("user", "who"),
      turn("assistant", "I"),
      turn("user", "ok"),
      turn("assistant", "am"),
    ];
    const data = await dataset(file("a.jsonl", { messages }), given({ tokenizer }));
    const ids = [1, 10, 3, 11, 6, 2, 10, 12, 11, 7, 2];
    expect([...data.tokens(0)]).toEqual(ids.slice(0, -1));
    expect([...data.targets(0)]).toEqual(ids.slice(1).map((id, t) => ([3, 4, 8, 9].includes(t) ? id : -100)));
  });

  test("with a template that writes earlier turns otherwise are an example for each answer", async () => {
    const tokenizer = await wordTokenizer({
      chat_template:
        "{{ bos_token }}{% for m in messages %} {{ 'bot:' if m.role == 'assistant' else 'user:' }} {{ 'ok' if m.role == 'assistant' and not loop.last else m.content }}{% endfor %}{% if add_generation_prompt %} bot:{% endif %}",
    });
    const turn = (role: string, content: string) => ({ role, content });
    const messages = [
      turn("user", "who"),
      turn("assistant", "I"),
      turn("user", "you"),
      turn("assistant", "am"),
    ];
    const data = await dataset(file("a.jsonl", { messages }), given({ tokenizer }));
    expect(data.length).toBe(2);
    expect([...data.tokens(0), "|", ...data.targets(0)].join(" ")).toBe("1 10 3 11 | -100 -100 -100 6");
    expect([...data.tokens(1)]).toEqual([1, 10, 3, 11, 12, 10, 5, 11]);
    expect([...data.targets(1)]).toEqual([...Array(7).fill(-100), 7]);
  });

  test("end with the end of the tokenizer, and begin with its beginning", async () => {
    const data = await dataset(file("a.jsonl", { prompt: "ab", completion: "c" }), given());
    expect([...data.tokens(0)]).toEqual([256, 97, 98, 99]);
    expect([...data.targets(0)]).toEqual([-100, -100, 99, 257]);
  });

  test("give a prompt the ids that it has alone", async () => {
    // "a" and "b" are one token together.
    const joined: Tokenizer = {
      size: 9,
      end: undefined,
      chat: undefined,
      encode: (text) =>
        text
          .split(/(ab|.)/)
          .filter(Boolean)
          .map((each) => ({ a: 1, b: 2, ab: 3 })[each]!),
      decode: () => "",
    };
    const at = async (prompt: string, completion: string) => {
      const data = await dataset(file("a.jsonl", { prompt, completion }), given({ tokenizer: joined }));
      return [...data.tokens(0), "|", ...data.targets(0)].join(" ");
    };
    expect(await at("a", "b")).toBe("1 | 2");
    expect(await at("aab", "b")).toBe("1 3 | -100 2");
  });

  test("that are too long are cut and counted, and left out where nothing is learned of what is left", async () => {
    const from = file(
      "a.jsonl",
      { prompt: "ab", completion: "cdefgh" },
      { prompt: "abcdefgh", completion: "i" },
      { prompt: "a", completion: "b" },
    );
    const data = await dataset(from, given({ maxLength: 6 }));
    expect([data.length, data.truncated, data.dropped]).toEqual([2, 2, 1]);
    expect(data.line(1)).toBe(3);
    expect([...data.tokens(0)]).toEqual([256, 97, 98, 99, 100]);
    await expect(
      dataset(file("a.jsonl", { prompt: "abcdefgh", completion: "i" }), given({ maxLength: 6 })),
    ).rejects.toThrow("a.jsonl: all 1 examples are cut before anything that is learned");
  });

  test("that are wrong are named with file, line and reason", async () => {
    const fails = (name: string, lines: readonly (string | object)[], message: string | RegExp) =>
      expect(dataset(file(name, ...lines), given())).rejects.toThrow(message);
    await fails("a.jsonl", [{ text: "a" }, "", "{"], "a.jsonl line 3: it is no JSON");
    await fails("a.jsonl", ["[1]"], "a.jsonl line 1: it is a list");
    await fails(
      "a.jsonl",
      [{ text: "a" }, { txet: "b" }],
      /^a\.jsonl line 2: its fields are txet; expected those of one of/,
    );
    await fails("a.jsonl", [{ text: 3 }], "a.jsonl line 1: text is 3; it is a text.");
    await fails(
      "a.jsonl",
      [{ prompt: "a", completion: "" }],
      "a.jsonl line 1: nothing of it is learned: what is to be written is empty",
    );
    await fails("a.jsonl", [{ messages: [] }], "a.jsonl line 1: messages is []");
    await fails(
      "a.jsonl",
      [{ messages: [{ role: "user" }] }],
      "messages[0] is an object; it is { role, content }",
    );
    await fails(
      "a.jsonl",
      [{ messages: [{ role: "user", content: "a" }] }],
      "the tokenizer has no chat template",
    );
    await fails("a.csv", ["text,label", "a"], "a.csv line 2: there are 1 cells for 2 columns (text, label)");
    await fails("a.csv", ["text", '"a', "b"], "a.csv line 2: a quote is opened there and never closed");
    await fails("a.csv", ["text", '"a"b'], 'a.csv line 2: "b" follows a closed quote');
    await fails("a.csv", ["text,text", "a,b"], 'two columns are named "text"');
    await fails("a.jsonl", [], "a.jsonl: there are no examples in it");
    await fails("a.csv", ["text"], "a.csv: there are no examples in it");
    await fails("a.txt", [], "a.txt: there are no examples in it");
    await fails("a.json", [], "the ending says nothing of the format");
    await fails("a.jsonl", [{ text: "a" }, "null"], "a.jsonl line 2: it is null; each line is an object");
    await expect(dataset(file("a.jsonl", { a: "1" }), given({ fields: { text: "b" } }))).rejects.toThrow(
      "there is no field b, which is to be its text",
    );
    await expect(dataset(file("a.jsonl", { text: "a" }), given({ maxLength: 1 }))).rejects.toThrow(
      "maxLength is 1; it is an integer >= 2",
    );
  });

  test("that are no UTF-8 are named by line, wherever the pieces of the file end", async () => {
    const line = new TextEncoder().encode('{"text":"é€𝄞 a"}\n');
    const many = Math.floor(2 ** 20 / line.length);
    const whole = new Uint8Array(line.length * (many + 4));
    for (let i = 0; i < many + 4; i++) whole.set(line, i * line.length);
    for (const [byte, at] of [
      [0xff, 0],
      [0xff, 2 ** 20 - 1],
      [0xff, 2 ** 20],
      [0xff, 2 ** 20 + 1],
      [0xe2, 2 ** 20 - 2],
      [0xff, whole.length - 1],
    ] as const) {
      const bytes = Uint8Array.from(whole);
      bytes[at] = byte;
      const message = `a.jsonl line ${Math.floor(at / line.length) + 1}: its text is not UTF-8 (byte `;
      await expect(dataset(new File([bytes], "a.jsonl"), given()), String(at)).rejects.toThrow(message);
    }
    const cut = new File([line, line.subarray(0, 13)], "a.jsonl");
    await expect(dataset(cut, given())).rejects.toThrow("a.jsonl line 2: its text is not UTF-8");
  });

  test("without an end of the line at the end, with those of Windows, and with a mark of byte order are read", async () => {
    expect(await learned(new File(['\ufeff{"text":"a"}\r\n\r\n{"text":"b"}'], "a.jsonl"))).toEqual([
      "a",
      "b",
    ]);
    expect(await learned(new File(['\ufefftext\r\n"a\r\nb"\r\nc\r\n'], "a.csv"))).toEqual(["a\r\nb", "c"]);
  });
});

test("a text is cut into stretches that share one token each", async () => {
  const tokenizer = bytes();
  await fc.assert(
    fc.asyncProperty(
      fc.string({ minLength: 1, maxLength: 60, unit: "grapheme" }),
      fc.integer({ min: 2, max: 9 }),
      async (text, maxLength) => {
        const data = await dataset(new File([text], "a.txt"), { tokenizer, maxLength });
        const ids = [...tokenizer.encode(text), 257];
        const targets = Array.from({ length: data.length }, (_, i) => [...data.targets(i)]);
        expect(targets.flat()).toEqual(ids.slice(1));
        targets.forEach((each, i) => {
          expect(each.length).toBeLessThan(maxLength);
          if (i < targets.length - 1) expect(each.length).toBe(maxLength - 1);
        });
      },
    ),
  );
});

test.skipIf(!here)(
  "a long text has the ids that it has as a whole, though it is encoded in stretches",
  async () => {
    const tokenizer = await load(stories);
    const whole = readFileSync(`${shared}data/shakespeare.txt`, "utf8").slice(0, 60_000);
    const data = await dataset(new File([whole], "a.txt"), { tokenizer, maxLength: 64 });
    const targets = Array.from({ length: data.length }, (_, i) => [...data.targets(i)]);
    expect(targets.flat()).toEqual([...tokenizer.encode(whole), tokenizer.end!].slice(1));
  },
);

test("rows of a table are the same wherever the pieces of the file end", async () => {
  const cell = fc.string({ unit: fc.constantFrom(",", '"', "\n", "a", "é", " ") });
  const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 3 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(table, fc.integer({ min: 1, max: 7 }), async (rows, step) => {
      const text = rows
        .map((cells) => cells.map((each) => `"${each.replaceAll('"', '""')}"`).join(","))
        .join("\n");
      const pieces = async function* () {
        for (let at = 0; at < text.length; at += step) yield text.slice(at, at + step);
      };
      const found: (readonly string[])[] = [];
      for await (const { cells } of rowsOf("a.csv", pieces())) found.push(cells);
      expect(found).toEqual(rows);
    }),
  );
});

describe("batches", () => {
  const sentences = Array.from({ length: 11 }, (_, i) => ({
    text: String.fromCharCode(97 + i).repeat(2 + ((i * 7) % 9)),
  }));
  const data = () => dataset(file("a.jsonl", ...sentences), given());

  /** The examples of a batch, each as its first letter and its length. */
  async function seen({ tokens, targets, segments }: Batch): Promise<string[]> {
    const [ids, next] = [(await tokens.toArray()) as number[][], (await targets.toArray()) as number[][]];
    const parts = segments
      ? ((await segments.toArray()) as number[][])
      : ids.map((row, i) => row.map((_, t) => (next[i]![t] === -100 ? -1 : 0)));
    return ids.flatMap((row, i) =>
      [...new Set(parts[i])]
        .filter((part) => part >= 0)
        .map((part) => {
          const own = row.filter((_, t) => parts[i]![t] === part);
          return `${String.fromCharCode(own[1]!)}${own.length - 1}`;
        }),
    );
  }
  const all = sentences.map(({ text }) => `${text[0]}${text.length}`);

  test.each([false, true])(
    "hold each example once in an epoch (packed: %s), another way each time",
    async (pack) => {
      const stream = await batches(await data(), { size: 1, seed: 3, pack, lengths: [24] });
      const epochs: string[][] = [];
      for (let e = 0; e < 3; e++) {
        const found: string[] = [];
        for (let i = 0; i < stream.epoch; i++)
          found.push(...(await seen(await stream.at(e * stream.epoch + i))));
        epochs.push(found);
      }
      for (const found of epochs) expect([...found].sort()).toEqual([...all].sort());
      expect(new Set(epochs.map(String)).size).toBe(3);
    },
  );

  test("grouped hold each example once in an epoch, beside others of its length", async () => {
    const stream = await batches(await data(), { size: 2, seed: 3, group: true });
    const found: string[][] = [];
    for (let i = 0; i < 11; i++) found.push(await seen(await stream.at(i)));
    const [first, second] = [found.flat().slice(0, 11), found.flat().slice(11)];
    for (const epoch of [first, second]) expect([...epoch].sort()).toEqual([...all].sort());
    expect(first).not.toEqual(second);
    // Five batches of an epoch come from the sorted lengths 2 to 10; its eleventh example shares one with the next epoch.
    const apart = (batch: readonly string[]) =>
      Math.abs(Number(batch[0]!.slice(1)) - Number(batch[1]!.slice(1)));
    const each = found.filter((_, i) => i !== 5).map(apart);
    expect(Math.max(...each)).toBeLessThanOrEqual(2);
    for (const [options, message] of [
      [{ size: 2, group: true }, "group is given without a seed"],
      [{ size: 2, seed: 0, pack: true, group: true }, "group is given with pack"],
    ] as const)
      await expect(batches(await data(), options)).rejects.toThrow(message);
  });

  test("are those of the seed and the place, in whatever order they are asked for", async () => {
    const values = async (seed: number, places: readonly number[]) => {
      const stream = await batches(await data(), { size: 3, seed });
      const found = new Map<number, string>();
      for (const i of places) found.set(i, (await (await stream.at(i)).tokens.toArray()).toString());
      return [...found].sort(([a], [b]) => a - b);
    };
    const forwards = await values(1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await values(1, [9, 0, 5, 3, 8, 1, 7, 2, 6, 4])).toEqual(forwards);
    expect(await values(2, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).not.toEqual(forwards);
  });

  test("go on over the end of an epoch, so that two small ones are one large one", async () => {
    const [small, large] = [
      await batches(await data(), { size: 2, seed: 1 }),
      await batches(await data(), { size: 4, seed: 1 }),
    ];
    for (let i = 0; i < 6; i++) {
      const halves = [...(await seen(await small.at(2 * i))), ...(await seen(await small.at(2 * i + 1)))];
      expect(halves).toEqual(await seen(await large.at(i)));
    }
  });

  test("without a seed come once, in order, and end in empty rows", async () => {
    const stream = await batches(await data(), { size: 4 });
    expect(stream.count).toBe(3);
    const found: string[] = [];
    for (let i = 0; i < 3; i++) {
      const batch = await stream.at(i);
      expect(batch.tokens.shape[0]).toBe(4);
      found.push(...(await seen(batch)));
    }
    expect(found).toEqual(all);
    await expect(stream.at(3)).rejects.toThrow("there is no batch 3 of a.jsonl; there are 3");
  });

  test("are padded to few lengths, behind what they hold", async () => {
    const stream = await batches(await data(), { size: 2, lengths: [6, 8, 11] });
    const { tokens, targets, segments } = await stream.at(0);
    expect(segments).toBeUndefined();
    // "aa" and "bbbbbbbbb" (2 and 9 letters), a beginning before and an end behind.
    expect(tokens.shape).toEqual([2, 11]);
    expect(((await tokens.toArray()) as number[][])[0]).toEqual([256, 97, 97, ...Array(8).fill(0)]);
    expect(((await targets.toArray()) as number[][])[0]).toEqual([97, 97, 257, ...Array(8).fill(-100)]);
    const defaults = await batches(await data(), { size: 11 });
    expect((await defaults.at(0)).tokens.shape).toEqual([11, 11]);
  });

  test("packed have a place in its example for each token, and whose it is", async () => {
    const stream = await batches(await data(), { size: 1, pack: true, lengths: [15] });
    const { tokens, positions, segments } = await stream.at(0);
    const [row, places, parts] = [await tokens.data(), await positions!.data(), await segments!.data()];
    expect([...parts]).toEqual([...Array(3).fill(0), ...Array(10).fill(1), ...Array(2).fill(-1)]);
    expect([...places]).toEqual([0, 1, 2, ...Array.from({ length: 10 }, (_, i) => i), 0, 0]);
    expect([row[0], row[3]]).toEqual([256, 256]);
  });

  test("say which lines they hold, and what tells them from others", async () => {
    const stream = await batches(await data(), { size: 3 });
    expect(await stream.describe(1)).toBe("a.jsonl lines 4, 5, 6");
    const prints = new Set<string>();
    const changed = await dataset(file("a.jsonl", ...sentences.slice(0, -1), { text: "z" }), given());
    for (const [of, options] of [
      [await data(), { size: 3, seed: 0 }],
      [await data(), { size: 3, seed: 0 }],
      [await data(), { size: 3, seed: 1 }],
      [await data(), { size: 4, seed: 0 }],
      [await data(), { size: 3, seed: 0, pack: true }],
      [await data(), { size: 3, seed: 0, group: true }],
      [changed, { size: 3, seed: 0 }],
    ] as const)
      prints.add((await batches(of, options)).fingerprint);
    expect(prints.size).toBe(6);
  });

  test("mistakes are named", async () => {
    const of = await data();
    await expect(batches(of, { size: 0 })).rejects.toThrow("size is 0; it is an integer >= 1");
    await expect(batches(of, { size: 1, lengths: [8, 4] })).rejects.toThrow(
      "lengths is [8, 4]; it is a list of rising integers",
    );
    await expect(batches(of, { size: 1, lengths: [4] })).rejects.toThrow(
      "an example of a.jsonl has 11 tokens",
    );
    expect(() => of.split(0.01)).toThrow("leaves 11 and 0");
  });

  test("a set is split evenly, and nothing is lost", async () => {
    const [rest, out] = (await data()).split(0.3);
    expect([rest.length, out.length]).toEqual([8, 3]);
    const lines = [rest, out].map((part) => Array.from({ length: part.length }, (_, i) => part.line(i)));
    expect(lines.flat().sort((a, b) => a - b)).toEqual(sentences.map((_, i) => i + 1));
    expect(lines[1]).toEqual([4, 7, 10]);
  });
});

test.skipIf(!here)("hard SQL has the lengths that are said of it", async () => {
  const data = await dataset(`${shared}data/sql-hard-dev.jsonl`, {
    tokenizer: await load(stories),
    maxLength: 512,
  });
  expect(data.length + data.dropped).toBe(201);
  expect(data.count.tokens / data.length).toBeGreaterThan(250);
});
