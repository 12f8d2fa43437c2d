import fc from "fast-check";
import { type DType, deviceDTypes, hostArray, isFloat } from "../../src/base/dtype.ts";
import { numel } from "../../src/base/shape.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import { type Device, init, random, scalar, Tensor, tensor } from "../../src/index.ts";
import { load, safetensors, saveBlob } from "../../src/io/index.ts";
import * as models from "../../src/models/index.ts";
import { drawnModel, modelOf } from "./decoders.ts";

// What is no graph of tensors, as properties of what goes there and comes back: files, and texts that a decoder goes on with.

/** One of them: on random input, nothing or an error that says what came back wrong. */
export interface Trip {
  readonly name: string;
  readonly property: (device: Device) => fc.IAsyncPropertyWithHooks<never>;
}

function trip<T>(
  name: string,
  given: fc.Arbitrary<T>,
  check: (given: T, device: Device) => Promise<void>,
): Trip {
  const property = (device: Device) => fc.asyncProperty(given, (value) => check(value, device));
  return { name, property: property as unknown as Trip["property"] }; // of its own input
}

const elementOf = (dtype: DType): fc.Arbitrary<number> => {
  if (isFloat(dtype)) return dtype === "float64" ? fc.double() : fc.float();
  if (dtype === "bool") return fc.nat(1);
  return fc.oneof(fc.nat(9), dtype === "uint32" ? fc.nat(2 ** 32 - 1) : fc.integer());
};

/** Tensors of every dtype, of ranks 0 to 4 and without elements too. */
export const anyTensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.constantFrom(...deviceDTypes), fc.array(fc.nat(3), { maxLength: 4 }))
  .chain(([dtype, shape]) => {
    const size = numel(shape);
    return fc.array(elementOf(dtype), { minLength: size, maxLength: size }).map((values) => {
      const data = hostArray(dtype, size);
      data.set(values);
      return tensor(data, { shape, dtype });
    });
  });

const anyKey = fc
  .oneof(
    fc.string(),
    fc.constantFrom("$", "$tensor", "$$key", "a.b", "a", "b", "0", "__metadata__", "constructor"),
  )
  .filter((name) => name !== "__proto__");

const anyLeaf = fc.oneof(
  fc.double(),
  fc.string(),
  fc.boolean(),
  fc.constantFrom(null, undefined),
  anyTensor,
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(scalar),
  fc.integer({ min: 0, max: 9 }).map(random.key),
);

const { tree: anyTree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { depthSize: "small" },
    anyLeaf,
    fc.array(tie("tree"), { maxLength: 4 }),
    fc.dictionary(anyKey, tie("tree"), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

/** A tree as a text, in which tensors, host numbers and keys are told by what they hold. */
export async function told(part: unknown): Promise<string> {
  const numbers = (values: ArrayLike<unknown>) =>
    Array.from(values, (x) => (Object.is(x, -0) ? "-0" : String(x))).join();
  if (part instanceof Tensor) return `${part.dtype}[${part.shape}](${numbers(await part.data())})`;
  if (part instanceof random.Key) return `key(${numbers(await random.bits(part, [4]).data())})`;
  if (typeof part === "number") return numbers([part]);
  if (Array.isArray(part)) return `[${(await Promise.all(part.map(told))).join()}]`;
  if (typeof part !== "object" || part === null) return JSON.stringify(part) ?? "undefined";
  const entries = Object.entries(part).map(
    async ([key, child]) => `${JSON.stringify(key)}:${await told(child)}`,
  );
  return `{${(await Promise.all(entries)).join()}}`;
}

async function same(found: unknown, given: unknown): Promise<void> {
  const [back, there] = [await told(found), await told(given)];
  if (back !== there) throw new Error(`${there} came back as ${back}`);
}

const bytesOf = async (blob: Blob) => String(new Uint8Array(await blob.arrayBuffer()));

const saved = trip("io.save", anyTree as fc.Arbitrary<unknown>, async (given) => {
  const blob = await saveBlob(given);
  const back = await load(blob);
  await same(back, given);
  if ((await bytesOf(await saveBlob(back))) !== (await bytesOf(blob)))
    throw new Error("what was loaded is saved as other bytes");
});

const written = trip(
  "io.safetensors",
  fc.record({
    tensors: fc.dictionary(
      anyKey.filter((name) => name !== "__metadata__"),
      anyTensor,
      { maxKeys: 5, noNullPrototype: true },
    ),
    metadata: fc.dictionary(anyKey, fc.string(), { maxKeys: 2, noNullPrototype: true }),
  }),
  async ({ tensors, metadata }) => {
    const sorted = (fields: object) => Object.fromEntries(Object.entries(fields).sort());
    const file = await safetensors.open(await safetensors.toBlob(tensors, { metadata }));
    await same(sorted(file.metadata), sorted(metadata));
    const back: Record<string, Tensor> = {};
    for (const name of file.names)
      back[name] = await file.read(name, { dtype: tensors[name]!.dtype as "float32" });
    await same(sorted(back), sorted(tensors));
  },
);

/** How far logits of a device may be from the evaluator's, as a share of the largest. */
const slack = 1e-3;

const generated = trip(
  "models.generate",
  drawnModel.chain((model) =>
    fc.record({
      of: fc.constant(model),
      prompts: fc.array(fc.array(fc.nat(model.vocabulary - 1), { minLength: 1, maxLength: 5 }), {
        minLength: 1,
        maxLength: 3,
      }),
      options: fc.record(
        {
          temperature: fc.constantFrom(0, 0.5, 2),
          topK: fc.constantFrom(1, 2, 5, 100),
          seed: fc.nat(9),
          cache: fc.boolean(),
          maxTokens: fc.constantFrom(1, 2, 6),
          stopTokens: fc.array(fc.nat(model.vocabulary - 1), { maxLength: 3 }),
        },
        { requiredKeys: ["maxTokens", "stopTokens"] },
      ),
    }),
  ),
  async ({ of, prompts, options }, device) => {
    const { seed, vocabulary } = of;
    const decoder = modelOf(of);
    const params = decoder.init(random.key(seed));
    const made = await models.complete(decoder, params, prompts, { ...options, device });
    for (const [i, { tokens, end }] of made.entries()) {
      const stop = tokens.findIndex((token) => options.stopTokens.includes(token));
      const expected = stop < 0 ? options.maxTokens : stop + 1;
      if (tokens.length !== expected || stop < 0 !== (end === "length"))
        throw new Error(`sample ${i} has ${tokens.length} tokens and ends with ${end}, expected ${expected}`);
      const text = [...prompts[i]!, ...tokens];
      const { logits } = decoder.apply(params, { tokens: tensor([text], { dtype: "int32" }) });
      const [values] = await referenceValues([logits]);
      const likely = options.temperature ? (options.topK ?? vocabulary) : 1;
      for (const [t, token] of tokens.entries()) {
        if (!(Number.isInteger(token) && token >= 0 && token < vocabulary))
          throw new Error(`sample ${i} has the token ${token} of ${vocabulary}`);
        const at = (prompts[i]!.length + t - 1) * vocabulary;
        const row = Array.from(values!.slice(at, at + vocabulary), Number);
        const least = [...row].sort((a, b) => b - a)[Math.min(likely, vocabulary) - 1]!;
        if (row[token]! < least - slack * Math.max(1, ...row.map(Math.abs)))
          throw new Error(`token ${t} of sample ${i} is ${token}, none of the ${likely} likeliest`);
      }
    }
  },
);

export const trips: readonly Trip[] = [saved, written, generated];

/** Goes on one trip so many times. @returns What failed, made small. */
export async function travel(
  { property }: Trip,
  device: Device,
  seed: number,
  numRuns = 1,
): Promise<string | undefined> {
  // Files are of values that the default device computes.
  const own = await init({ backend: "cpu", threads: 1 });
  const found = await fc.check(property(device), { seed, numRuns });
  own.dispose();
  if (!found.failed) return undefined;
  const [given] = (found.counterexample ?? []) as readonly unknown[];
  return `${found.errorInstance instanceof Error ? found.errorInstance.message : found.errorInstance}\n  given ${fc.stringify(given).slice(0, 2000)}`;
}
