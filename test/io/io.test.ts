import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encode } from "../../src/base/dtype.ts";
import {
  DTypeError,
  init,
  LorantzError,
  type Packed,
  pack,
  random,
  scalar,
  Tensor,
  tensor,
  tree,
  unpack,
  ValueError,
} from "../../src/index.ts";
import {
  gguf,
  load,
  openFolder,
  readJson,
  readText,
  safetensors,
  save,
  saveBlob,
} from "../../src/io/index.ts";
import { scratch } from "../scratch.ts";
import { runs } from "../thorough.ts";

// Files of tensors: what is read is what was written, from wherever, and what is no such file is refused.

const { root, fresh } = scratch("io");
let device: Awaited<ReturnType<typeof init>>;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

let folder: string;
beforeEach(() => {
  folder = fresh();
});

/** The bytes of a file with this header and so many bytes of tensors. */
function fileOf(header: string | object, room: number, length?: bigint): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + room);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  for (let i = 0; i < room; i++) bytes[8 + text.length + i] = i + 1;
  return bytes;
}

const f32 = (start: number, length: number, shape = [length / 4]) => ({
  dtype: "F32",
  shape,
  data_offsets: [start, start + length],
});
const bytesOf = async (blob: Blob) => new Uint8Array(await blob.arrayBuffer());

describe("safetensors", () => {
  const tensors = {
    "model.w": tensor([
      [1, -0, Number.NaN],
      [Infinity, 2 ** -149, 3],
    ]),
    double: tensor([Math.PI, 2 ** -1074], { dtype: "float64" }),
    half: tensor([1, -0, 65504, 2 ** -24], { dtype: "float16" }),
    flags: tensor([true, false, true]),
    signed: tensor([-(2 ** 31), 2 ** 31 - 1], { dtype: "int32" }),
    unsigned: tensor([0, 2 ** 32 - 1], { dtype: "uint32" }),
    scalar: tensor(2.5),
    empty: tensor(new Float32Array(0), { shape: [0, 4] }),
  };

  test("a written file is read back with its dtypes and bits, from every kind of source", async () => {
    const path = join(folder, "new", "a.safetensors");
    await safetensors.write(path, tensors, { metadata: { z: "1", format: "pt" } });
    const bytes = readFileSync(path);
    for (const from of [path, pathToFileURL(path), new Blob([bytes]), bytes, Uint8Array.from(bytes).buffer]) {
      const file = await safetensors.open(from);
      expect(file.metadata).toEqual({ format: "pt", z: "1" });
      expect([...file.names].sort()).toEqual(Object.keys(tensors).sort());
      for (const [name, written] of Object.entries(tensors)) {
        const read = await file.read(name, { dtype: written.dtype as "float32" });
        expect([name, read.dtype, read.shape]).toEqual([name, written.dtype, written.shape]);
        expect(await read.data()).toEqual(await written.data());
      }
    }
    expect(readdirSync(join(folder, "new"))).toEqual(["a.safetensors"]);
  });

  test("equal tensors give equal bytes, in any order, each at a multiple of its element's size", async () => {
    const turned = Object.fromEntries(Object.entries(tensors).reverse());
    const bytes = await bytesOf(await safetensors.toBlob(tensors));
    expect(await bytesOf(await safetensors.toBlob(turned))).toEqual(bytes);
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    expect(header.double.data_offsets).toEqual([0, 16]);
    expect(header.flags).toEqual({ dtype: "BOOL", shape: [3], data_offsets: [68, 71] });
  });

  test("every dtype of the format has a name and bytes; integers are read as they are, or refused", async () => {
    const wide = [
      BigInt64Array.of(-5n, 2n ** 31n - 1n),
      BigUint64Array.of(7n, 2n ** 32n - 1n),
      BigInt64Array.of(2n ** 31n),
    ];
    const raw = (dtype: string, array: ArrayBufferView & { readonly length: number }) => ({
      dtype,
      shape: [array.length],
      data: async () => new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    });
    const file = await safetensors.open(
      await safetensors.toBlob({
        i64: raw("I64", wide[0]!),
        u64: raw("U64", wide[1]!),
        beyond: raw("I64", wide[2]!),
        i16: raw("I16", Int16Array.of(-3, 32767)),
        u16: raw("U16", Uint16Array.of(3, 65535)),
        i8: raw("I8", Int8Array.of(-3, 127)),
        u8: raw("U8", Uint8Array.of(3, 255)),
        bad: raw("BOOL", Uint8Array.of(1, 2)),
        eight: raw("F8_E4M3", Uint8Array.of(1, 2)),
        four: { dtype: "F4", shape: [2, 4], data: async () => new Uint8Array(4) },
      }),
    );
    const read = async (name: string) => {
      const found = await file.read(name);
      return [found.dtype, ...(await found.data())];
    };
    expect(await read("i64")).toEqual(["int32", -5, 2 ** 31 - 1]);
    expect(await read("u64")).toEqual(["uint32", 7, 2 ** 32 - 1]);
    expect(await read("i16")).toEqual(["int32", -3, 32767]);
    expect(await read("u16")).toEqual(["uint32", 3, 65535]);
    expect(await read("i8")).toEqual(["int32", -3, 127]);
    expect(await read("u8")).toEqual(["uint32", 3, 255]);
    await expect(file.read("beyond")).rejects.toThrow(
      /beyond: element 0 is 2147483648, which int32 does not hold/,
    );
    await expect(file.read("bad")).rejects.toThrow(/bad: element 1 is 2, which bool does not hold/);
    await expect(file.read("eight")).rejects.toThrow(/eight: is F8_E4M3, which tensors do not have/);
    await expect(file.read("i8", { dtype: "float32" })).rejects.toThrow(DTypeError);
    await expect(file.read("nothing")).rejects.toThrow(/there is no tensor "nothing"; it has/);
    expect(file.info("four")).toEqual({ dtype: "F4", shape: [2, 4], bytes: 4 });
    expect(await file.bytes("eight")).toEqual(Uint8Array.of(1, 2));
  });

  test("16-bit floats stay as they are where that is asked for, NaN with its bits too", async () => {
    const bits = Uint16Array.of(0x3fb0, 0x7fc1, 0x8001, 0x7f80, 0xbf81);
    const raw = (dtype: string) => ({ dtype, shape: [5], data: async () => new Uint8Array(bits.buffer) });
    const file = await safetensors.open(await safetensors.toBlob({ brain: raw("BF16"), half: raw("F16") }));
    const packed: Packed = await file.read("brain", { pack: "bfloat16" });
    const half = await file.read("half", { dtype: "float16" });
    expect(await unpack(packed).data()).toEqual(await (await file.read("brain")).data());
    expect([...(await unpack(packed).data())]).toEqual([
      1.375,
      Number.NaN,
      -(2 ** -133),
      Infinity,
      -1.0078125,
    ]);
    const again = await safetensors.open(await safetensors.toBlob({ brain: packed, half }));
    for (const name of ["brain", "half"])
      expect(await again.bytes(name)).toEqual(new Uint8Array(bits.buffer));
    expect(again.info("brain")).toEqual({ dtype: "BF16", shape: [5], bytes: 10 });
  });

  test("a weight is packed as it is read", async () => {
    const w = tensor(
      Float32Array.from({ length: 256 }, (_, i) => Math.sin(i)),
      { shape: [4, 64] },
    );
    const file = await safetensors.open(await safetensors.toBlob({ w }));
    const same = async (a: Packed, b: Packed) => {
      const [one, two] = await Promise.all(
        [a, b].map((each) => Promise.all(tree.leaves(each).map((leaf) => leaf.data()))),
      );
      expect(one).toEqual(two);
    };
    await same(await file.read("w", { pack: "nf4" }), pack(w, { format: "nf4" }));
    await same(
      await file.read("w", { pack: { format: "int8", block: 64 } }),
      pack(w, { format: "int8", block: 64 }),
    );
    await expect(file.read("w", { pack: "nf5" as "nf4" })).rejects.toThrow(ValueError);
  });

  test("tensors read for a device at the same time do not mix", async () => {
    const value = (i: number) => tensor(Float32Array.from({ length: 1000 + i }, (_, j) => i + j / 7));
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`t${i}`, value(i)]));
    const bits = { dtype: "BF16", shape: [3], data: async () => tensor([1, 2, 3]) };
    const path = join(folder, "many.safetensors"); // of which bytes are read where they stay
    await safetensors.write(path, { ...many, bits });
    for (const from of [path, await safetensors.toBlob({ ...many, bits })]) {
      const file = await safetensors.open(from);
      const all = await Promise.all(Object.keys(many).map((name) => file.read(name, { device })));
      const packed = await file.read("bits", { pack: "bfloat16", device });
      for (const [i, found] of all.entries()) expect(await found.data()).toEqual(await value(i).data());
      expect([...(await unpack(packed).data())]).toEqual([1, 2, 3]);
      const half = await file.read("t0", { device, dtype: "float16" });
      expect(await half.data()).toEqual(await value(0).astype("float16").data());
    }
  });

  test("floats are rounded once to a narrower dtype of the file", async () => {
    const between = 1 + 2 ** -8 + 2 ** -40; // halfway between two bfloat16 and a bit, which float32 loses
    const w = tensor([between, 65519.99, 1e300, Number.NaN, -0], { dtype: "float64" });
    const as = (dtype: string) => ({ dtype, shape: [5], data: async (): Promise<Tensor> => w });
    const file = await safetensors.open(
      await safetensors.toBlob({ b: as("BF16"), h: as("F16"), s: as("F32") }),
    );
    const list = async (name: string) => [...(await (await file.read(name)).data())];
    expect(await list("b")).toEqual([1 + 2 ** -7, 65536, Infinity, Number.NaN, -0]);
    expect(await list("h")).toEqual([1 + 4 * 2 ** -10, 65504, Infinity, Number.NaN, -0]);
    expect(await list("s")).toEqual([Math.fround(between), Math.fround(65519.99), Infinity, Number.NaN, -0]);
    const wide = await safetensors.open(await safetensors.toBlob({ w }));
    expect(await (await wide.read("w", { dtype: "float16" })).data()).toEqual(
      await (await file.read("h", { dtype: "float16" })).data(),
    );
    expect([...encode(Float64Array.of(65519.99), "float16")]).toEqual([0x7bff]);
  });

  describe("refuses", () => {
    const valid = fileOf({ a: f32(0, 8), b: f32(8, 4) }, 12);
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const cases: readonly (readonly [what: string, file: Uint8Array<ArrayBuffer>, message: RegExp])[] = [
      ["nothing", new Uint8Array(0), /has 0 bytes/],
      ["a header longer than the file", fileOf("{}", 0, 3n), /header is said to have 3 bytes, and 2 follow/],
      [
        "a header of 2^63 bytes",
        fileOf("{}", 0, 2n ** 63n),
        /header is said to have 9223372036854775808 bytes/,
      ],
      ["no JSON", fileOf("{a}", 0), /it is no JSON/],
      ["a list", fileOf("[]", 0), /does not begin with \{/],
      ["deep JSON", fileOf(`{"a":${deep}}`, 0), /nested more than 64 deep/],
      [
        "a name twice",
        fileOf(`{"a":${JSON.stringify(f32(0, 4))},"\\u0061":${JSON.stringify(f32(0, 4))}}`, 4),
        /field "a" twice/,
      ],
      ["__proto__", fileOf(`{"__proto__":${JSON.stringify(f32(0, 4))}}`, 4), /__proto__ is no name/],
      ["text that is no UTF-8", fileOf("{}", 0).map((byte, i) => (i === 8 ? 0xff : byte)), /not UTF-8/],
      [
        "overlap",
        fileOf({ a: f32(0, 8), b: f32(4, 8) }, 12),
        /"b" begins at byte 4, where 8 is expected: tensors overlap/,
      ],
      ["a hole", fileOf({ a: f32(0, 4), b: f32(8, 4) }, 12), /tensors leave a hole/],
      ["bytes of nobody", fileOf({ a: f32(0, 4) }, 5), /1 bytes at its end/],
      ["what runs out", fileOf({ a: f32(0, 8) }, 4), /lies at bytes 0 to 8 of 4/],
      ["turned offsets", fileOf({ a: { ...f32(0, 4), data_offsets: [4, 0] } }, 4), /lies at bytes 4 to 0/],
      ["a size that does not fit", fileOf({ a: f32(0, 4, [2]) }, 4), /lies in 4 bytes, and F32\[2\] takes 8/],
      [
        "a shape beyond counting",
        fileOf({ a: f32(0, 4, [2 ** 40, 2 ** 40]) }, 4),
        /takes more than there are/,
      ],
      [
        "a length of 2^63",
        fileOf('{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}', 4),
        /has the shape/,
      ],
      ["a negative length", fileOf({ a: f32(0, 4, [-1]) }, 4), /has the shape/],
      ["a broken length", fileOf({ a: f32(0, 4, [0.5]) }, 4), /has the shape/],
      [
        "an offset of 1e400",
        fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1e400]}}', 4),
        /beyond/,
      ],
      ["an unknown dtype", fileOf({ a: { ...f32(0, 4), dtype: "toString" } }, 4), /has the dtype "toString"/],
      ["an unknown field", fileOf({ a: { ...f32(0, 4), extra: 1 } }, 4), /unknown field "extra"/],
      [
        "half a byte",
        fileOf({ a: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, 1),
        /takes more than there are/,
      ],
      [
        "metadata of numbers",
        fileOf({ __metadata__: { a: 1 } }, 0),
        /__metadata__ is not an object of texts/,
      ],
      ["an entry of null", fileOf({ a: null }, 0), /"a" is null, not an object/],
    ];
    test.each(cases)("%s", async (_, file, message) => {
      await expect(safetensors.open(file)).rejects.toThrow(message);
      await expect(safetensors.open(file)).rejects.toThrow(ValueError);
    });

    test("a file cut off at any byte", async () => {
      await safetensors.open(valid);
      for (let end = 0; end < valid.length; end++)
        await expect(safetensors.open(valid.slice(0, end)), `at ${end}`).rejects.toThrow(ValueError);
    });

    test("a mutated file, or it is read within its bounds", async () => {
      const original = await bytesOf(await safetensors.toBlob(tensors, { metadata: { a: "b" } }));
      const headerEnd = 8 + Number(new DataView(original.buffer).getBigUint64(0, true));
      const place = fc.oneof(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 8, max: headerEnd - 1 }));
      const edit = fc.record({
        at: place,
        remove: fc.integer({ min: 0, max: 4 }),
        insert: fc.oneof(
          fc.uint8Array({ maxLength: 3 }),
          fc
            .constantFrom('"', "0", "9", "-1", "[", "{", ",", "e9", "\\")
            .map((text) => new TextEncoder().encode(text)),
        ),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
          let bytes = [...original];
          for (const { at, remove, insert } of edits) bytes = bytes.toSpliced(at, remove, ...insert);
          const file = await safetensors.open(Uint8Array.from(bytes)).catch((error: unknown) => {
            expect(error).toBeInstanceOf(LorantzError);
            return undefined;
          });
          let held = 0;
          for (const name of file?.names ?? []) {
            const found = await file!.bytes(name);
            expect(found.length).toBe(file!.info(name).bytes);
            held += found.length;
            await file!.read(name).catch((error: unknown) => expect(error).toBeInstanceOf(LorantzError));
          }
          expect(held).toBeLessThanOrEqual(bytes.length);
        }),
        { numRuns: runs(300) },
      );
    });
  });

  test("a file that cannot be written leaves the old one and nothing else", async () => {
    const path = join(folder, "a.safetensors");
    writeFileSync(path, "old");
    const broken = {
      dtype: "F32",
      shape: [2],
      data: async (): Promise<Uint8Array> => Promise.reject(new Error("no")),
    };
    await expect(safetensors.write(path, { a: tensor([1, 2]), b: broken })).rejects.toThrow("no");
    await expect(
      safetensors.write(path, { a: { ...broken, data: async () => new Uint8Array(7) } }),
    ).rejects.toThrow(/a has 7 bytes; F32\[2\] takes 8/);
    await expect(safetensors.write(join(path, "below"), {})).rejects.toThrow(
      /cannot be written \(.*is not a folder/,
    );
    await expect(safetensors.write("/dev/full", { a: tensor([1]) })).rejects.toThrow(LorantzError);
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["a.safetensors"]);
  });

  test("what a killed process left on its way goes with the next file; that of a living one stays", async () => {
    const left = (id: number | undefined) => `.lorantz-${hostname().replace(/[^\w-]/g, "_")}-${id}-0-new.tmp`;
    const gone = spawnSync("true").pid;
    const others = [left(process.ppid), ".lorantz-another.machine-1-0-new.tmp", "a.tmp"];
    for (const name of [left(gone), ...others]) writeFileSync(join(folder, name), "half");
    await safetensors.write(join(folder, "a.safetensors"), { a: tensor([1]) });
    expect(readdirSync(folder).sort()).toEqual([...others, "a.safetensors"].sort());
  });

  test("a file that is another one by now is not read on", async () => {
    const path = join(folder, "a.safetensors");
    await safetensors.write(path, { a: tensor([1, 2]) });
    const file = await safetensors.open(path);
    await safetensors.write(path, { a: tensor([3, 4]) });
    await expect(file.read("a")).rejects.toThrow(/it changed while it was read/);
    rmSync(path);
    await expect(file.read("a")).rejects.toThrow(/cannot be read \(there is no such file\)/);
  });
});

describe("folders and shards", () => {
  const index = (map: Readonly<Record<string, unknown>>) =>
    writeFileSync(
      join(folder, "model.safetensors.index.json"),
      JSON.stringify({ metadata: {}, weight_map: map }),
    );
  const one = "model-00001-of-00002.safetensors";
  const two = "model-00002-of-00002.safetensors";

  test("shards are read as one file, from the folder and from the index", async () => {
    await safetensors.write(join(folder, one), { a: tensor([1]) });
    await safetensors.write(join(folder, two), { b: tensor([2]), c: tensor([3]) });
    index({ a: one, b: two, c: two });
    for (const from of [folder, join(folder, "model.safetensors.index.json")]) {
      const file = await safetensors.open(from);
      expect(file.names).toEqual(["a", "b", "c"]);
      expect(await Promise.all(["c", "a"].map(async (name) => (await file.read(name)).item()))).toEqual([
        3, 1,
      ]);
    }
  });

  test("what is missing or lies elsewhere is refused by name", async () => {
    await expect(safetensors.open(folder)).rejects.toThrow(/expected model.safetensors, .*; it is empty/);
    await safetensors.write(join(folder, one), { a: tensor([1]) });
    index({ a: one, b: two });
    await expect(safetensors.open(folder)).rejects.toThrow(
      /of 2 shards, 1 are missing: model-00002-of-00002/,
    );
    index({ a: one, b: one });
    await expect(safetensors.open(folder)).rejects.toThrow(/"b" is said to be in .*, which does not have it/);
    for (const bad of ["../a.safetensors", "/etc/passwd", "", "..", 3]) {
      index({ a: bad });
      await expect(safetensors.open(folder), String(bad)).rejects.toThrow(/shards lie beside the index/);
    }
    index([] as unknown as Record<string, unknown>);
    await expect(safetensors.open(folder)).rejects.toThrow(/weight_map is/);
    await expect(safetensors.open(join(folder, "nowhere"))).rejects.toThrow(/there is no such file/);
    await expect(safetensors.open(3 as unknown as string)).rejects.toThrow(/a file is given as 3/);
  });

  test("files that were dropped are a folder", async () => {
    const blob = await safetensors.toBlob({ a: tensor([1]) });
    const files = await openFolder([
      new File([blob], "model.safetensors"),
      new File(['{"a":1}'], "config.json"),
    ]);
    expect((await safetensors.open(files)).names).toEqual(["a"]);
    mkdirSync(join(folder, "below"));
    writeFileSync(join(folder, "real"), "x");
    symlinkSync("real", join(folder, "link"));
    symlinkSync("nowhere", join(folder, "broken"));
    expect((await openFolder(folder)).names).toEqual(["link", "real"]);
    expect(await readJson(files, "config.json")).toEqual({ a: 1 });
    await expect(readText(files, "tokenizer.json")).rejects.toThrow(
      /there is no file tokenizer.json; it has model.safetensors/,
    );
  });
});

describe("a URL", () => {
  let server: Server;
  let base: string;
  const requests: string[] = [];
  let ranges = true;
  let tag = "1";
  beforeAll(async () => {
    server = createServer((request, response) => {
      requests.push(`${request.url} ${request.headers.range}`);
      const path = join(root, decodeURIComponent(request.url!));
      if (!existsSync(path)) return response.writeHead(404).end();
      const bytes = readFileSync(path);
      if (!ranges) return response.writeHead(200).end(bytes);
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!;
      const part = bytes.subarray(Number(from), Number(to) + 1);
      const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`;
      return response.writeHead(206, { "Content-Range": range, ETag: tag }).end(part);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterAll(() => server.close());

  test("is read in ranges, or as a whole where the server has none", async () => {
    const big = tensor(Float32Array.from({ length: 100_000 }, (_, i) => i));
    await safetensors.write(join(folder, "model.safetensors"), { big, tail: tensor([5]) });
    const url = `${base}${basename(folder)}/`;
    for (const on of [true, false]) {
      [ranges, requests.length] = [on, 0];
      const file = await safetensors.open(url);
      expect(await (await file.read("big")).data()).toEqual(await big.data());
      expect(await (await file.read("tail")).item()).toBe(5);
      expect(requests.filter((text) => !text.includes("index.json")).length).toBe(on ? 3 : 1);
    }
    ranges = true;
    const file = await safetensors.open(new URL(`${url}model.safetensors`));
    tag = "2";
    await expect(file.read("tail")).rejects.toThrow(/it changed while it was read/);
    await expect(safetensors.open(`${base}nowhere.safetensors`)).rejects.toThrow(/there is no such file/);
    await expect(safetensors.open("http://127.0.0.1:1/a.safetensors")).rejects.toThrow(/cannot be read \(/);
  });
});

describe("save and load", () => {
  const words = async (key: random.Key) => [...(await random.bits(key, [4]).data())];
  /** A tree in which tensors, host numbers and keys are told by what they hold. */
  const told = async (part: unknown): Promise<unknown> => {
    if (part instanceof Tensor) return { tensor: [part.dtype, ...part.shape], of: [...(await part.data())] };
    if (part instanceof random.Key) return { key: await words(part) };
    if (Array.isArray(part)) return Promise.all(part.map(told));
    if (typeof part !== "object" || part === null) return part;
    const entries = Object.entries(part).map(async ([key, child]) => [key, await told(child)] as const);
    return Object.fromEntries(await Promise.all(entries));
  };

  test("a state of a training comes back as it was", async () => {
    const w = tensor([1, -0, 0.1], { dtype: "float64" });
    const state = {
      step: 3,
      params: { "a.b": tensor([1.5]), a: { b: tensor([2.5]) }, list: [w, undefined, null] },
      packed: pack(tensor([1, 2, 3, 4]), { format: "nf4", block: 2 }),
      half: tensor([2 ** -24], { dtype: "float16" }),
      lr: scalar(0.1).mul(3),
      key: random.key(7).fold("data").fold(4),
      sum: w.sum(),
      recipe: { $tensor: "x", $$: [Number.NaN, -0, -Infinity, 2 ** 53], name: "\u0000\ud800", on: false },
      empty: [{}, [], ""],
    };
    const path = join(folder, "state.safetensors");
    await save(path, state);
    const expected = await told(state);
    for (const from of [path, await saveBlob(state)]) {
      const back = (await load(from)) as typeof state;
      expect(await told(back)).toEqual(expected);
      expect(Object.keys(back)).toEqual(Object.keys(state));
      expect(await unpack(back.packed).data()).toEqual(await unpack(state.packed).data());
    }
    expect(await bytesOf(await saveBlob(await load(path)))).toEqual(new Uint8Array(readFileSync(path)));
  });

  test("what cannot be kept is refused by its place, and what was not saved is told", async () => {
    const path = join(folder, "a.safetensors");
    let deep: unknown = 1;
    for (let i = 0; i < 70; i++) deep = [deep];
    const refused: readonly (readonly [tree: unknown, message: RegExp])[] = [
      [{ a: { b: new Date() } }, /a\.safetensors: a\.b is of the class Date/],
      [{ a: [() => 1] }, /a\.0 is a function/],
      [{ a: 1n }, /a is a bigint/],
      [{ a: new Float32Array(2) }, /a is of the class Float32Array/],
      [JSON.parse('{"__proto__": 1}'), /__proto__ is no name/],
      [{ [Symbol("x")]: 1 }, /symbol/],
      [deep, /goes on for more than 62 levels/],
    ];
    for (const [tree, message] of refused) await expect(save(path, tree)).rejects.toThrow(message);
    expect(readdirSync(folder)).toEqual([]);
    await safetensors.write(path, { a: tensor([1]) });
    await expect(load(path)).rejects.toThrow(/was not written by save; it has 1 tensors/);
    for (const lorantz of [
      '{"$tensor":"b"}',
      '{"$tensor":1}',
      '{"$key":[1]}',
      '{"$scalar":"x"}',
      '{"$new":1}',
      "[",
      '{"a":1}',
    ])
      await expect(
        load(await safetensors.toBlob({ a: tensor([1]) }, { metadata: { lorantz } })),
        lorantz,
      ).rejects.toThrow(ValueError);
  });
});

describe("gguf", () => {
  const fields = {
    "general.type": { type: "string", value: "adapter" },
    "adapter.lora.alpha": { type: "float32", value: 8 },
    "a.u64": { type: "uint64", value: 2n ** 63n },
    "a.i64": { type: "int64", value: -5n },
    "a.flag": { type: "bool", value: true },
    "a.list": { type: "array", of: "string", value: ["x", "yy"] },
    "a.ids": { type: "array", of: "uint32", value: Array.from({ length: 30000 }, (_, i) => i) },
    "a.small": { type: "int8", value: -7 },
  } as const;
  const tensors = {
    "blk.0.w": tensor([
      [1, 2, 3],
      [4, 5, -0],
    ]),
    half: tensor([0.5], { dtype: "float16" }),
    empty: tensor(new Float32Array(0), { shape: [0, 2] }),
    last: tensor([1, 2, 3], { dtype: "int32" }),
  };

  test("fields and tensors come back as they were written, in order", async () => {
    const path = join(folder, "a.gguf");
    await gguf.write(path, tensors, fields);
    const file = await gguf.open(path);
    expect(file.metadata).toEqual(fields);
    expect(file.names).toEqual(Object.keys(tensors));
    for (const [name, written] of Object.entries(tensors)) {
      const read = await file.read(name, { dtype: written.dtype as "float32" });
      expect([read.shape, await read.data()]).toEqual([written.shape, await written.data()]);
    }
    const again = Object.fromEntries(
      await Promise.all(
        file.names.map(async (name) => [name, { ...file.info(name), data: () => file.bytes(name) }] as const),
      ),
    );
    expect(await bytesOf(await gguf.toBlob(again, file.metadata))).toEqual(
      new Uint8Array(readFileSync(path)),
    );
  });

  test("a file that is cut off or changed is refused, or read within its bounds", async () => {
    const { "a.ids": _, ...few } = fields;
    const whole = await bytesOf(await gguf.toBlob(tensors, few));
    for (let end = 0; end < whole.length - 20; end++)
      await expect(gguf.open(whole.slice(0, end)), `at ${end}`).rejects.toThrow(ValueError);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.constantFrom(0, 1, 7, 64, 127, 128, 255)), {
          minLength: 1,
          maxLength: 4,
        }),
        async (edits) => {
          const bytes = whole.slice();
          for (const [at, byte] of edits) bytes[at] = byte;
          const file = await gguf.open(bytes).catch((error: unknown) => {
            expect(error).toBeInstanceOf(ValueError);
            return undefined;
          });
          for (const name of file?.names ?? [])
            expect((await file!.bytes(name)).length).toBeLessThanOrEqual(bytes.length);
        },
      ),
      { numRuns: runs(500) },
    );
  });
});
