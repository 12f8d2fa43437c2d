import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lorantz from "../../src/browser.ts";
import type { BackendName } from "../../src/runtime/init.ts";
import { long, longOn } from "../long.ts";
import { cases, thorough } from "../thorough.ts";
import { type Browser, findChromium, openBrowser, type Visit } from "./chromium.ts";
import { type Dropped, type Shared, type Trained, tasks } from "./tasks.ts";

// The library in pages of a browser, against itself in Node with the same relaxed SIMD.

const chromium = findChromium();
if (!chromium) {
  const missing =
    "No Chromium was found on the path or in LORANTZ_BROWSER. On Debian, .ci/browsers installs it.";
  if (process.env.LORANTZ_REQUIRE_BROWSER === "1") throw new Error(missing);
  console.warn(`Browser tests are SKIPPED. ${missing}`);
}

describe.skipIf(!chromium)("in Chromium", { timeout: 120_000 }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser(chromium!);
  });
  afterAll(() => browser?.close());

  const train = (options: object, how: Visit) => browser.visit<Trained>("train", options, how);

  describe("on the CPU", () => {
    let here: Trained;
    beforeAll(async () => {
      here = await tasks.train({ backend: "cpu", threads: 2 });
      expect(here.broken).toEqual([]);
    });

    const isolated: Visit = { page: "isolated" };
    /** What is so, threads wanted, how the page is opened, threads had, workers started and ended. */
    const pages = cases<[string, number, Visit, threads: string, started: number, ended: number]>(
      [
        ["threads where the page is isolated", 3, isolated, "3 threads", 2, 2],
        ["one thread where a policy forbids workers", 3, { page: "without workers" }, "one thread", 2, 2],
      ],
      [
        ["one thread where one is wanted", 1, isolated, "one thread", 0, 0],
        ["one thread where the page is not isolated", 3, { page: "plain" }, "one thread", 0, 0],
        ["one thread in a page of no origin", 3, { page: "without storage" }, "one thread", 0, 0],
        ["threads in a worker", 3, { ...isolated, inWorker: true }, "3 threads", 2, 2],
      ],
    );
    test.for(pages)("%s: the same run as in Node", async ([, wanted, how, threads, started, ended]) => {
      const { steps, ...rest } = await train({ backend: "cpu", threads: wanted }, how);
      const description = `WebAssembly SIMD, ${threads}, relaxed fma`;
      const workers = { started, ended };
      expect(rest).toEqual({ name: "cpu", description, workers, broken: [] });
      expect(steps).toEqual(here.steps);
    });

    long("without fused multiply-add too, which is not the same", async () => {
      const options = { backend: "cpu", relaxed: false } as const;
      const { steps, broken, description } = await train(options, isolated);
      expect(description).not.toMatch(/relaxed/);
      expect(steps).toEqual((await tasks.train(options)).steps);
      expect(steps).not.toEqual(here.steps);
      expect(broken).toEqual([]);
    });

    test("every worker takes part, in memory that grew meanwhile, sleeps, and ends with the pool", async () => {
      const shared = await browser.visit<Shared>("share", { workers: 2 }, isolated);
      expect(shared).toEqual({ taken: [1, 1, 1], slept: true, left: true });
    });

    test("a pool that ends while its workers start leaves none", async () => {
      expect(await browser.visit("hasty", {}, isolated)).toEqual({ started: 2, ended: 2 });
    });

    test("a policy that lets nothing compile is named", async () => {
      await expect(train({ backend: "cpu" }, { page: "without WebAssembly" })).rejects.toThrow(
        /DeviceError: cpu: WebAssembly does not compile here: .*has to allow 'wasm-unsafe-eval'/,
      );
    });
  });

  describe("on WebGPU", () => {
    long("init takes it, training is near that of the CPU, and the theorem holds bit for bit", async () => {
      const { name, description, steps, broken } = await train({ software: true }, { page: "plain" });
      expect(name).toBe("webgpu");
      expect(description).toMatch(/^\w+ \w+/); // vendor and architecture: pages learn no more
      expect(broken).toEqual([]);
      const float = (bits: readonly number[]) => [...new Float32Array(Uint32Array.from(bits).buffer)];
      const cpu = await tasks.train({ backend: "cpu" });
      steps.forEach((seen, t) => {
        for (const [path, bits] of Object.entries(seen)) {
          const wanted = float(cpu.steps[t]![path]!);
          const largest = Math.max(...wanted.map(Math.abs));
          const gap = Math.max(...float(bits).map((x, i) => Math.abs(x - wanted[i]!)));
          expect(gap / largest, `${path} after step ${t + 1}`).toBeLessThan(1e-5);
        }
      });
    });

    test("choices of kernels are kept in localStorage", async () => {
      const [first, second] = await browser.visit<number[]>("choose", { reload: true }, { page: "plain" });
      expect(first).toBeGreaterThan(1);
      expect(second).toBe(0);
    });

    long("without storage they are made again", async () => {
      const [first, second] = await browser.visit<number[]>(
        "choose",
        { reload: false },
        { page: "without storage" },
      );
      expect(first).toBeGreaterThan(1);
      expect(second).toBe(first);
    });
  });

  test("pages without a bundler import the module in one piece by an import map", async () => {
    const task = async (
      { init, lora, nn, random, tensor }: typeof import("../../src/browser.ts"),
      options: object,
    ) => {
      const device = await init(options);
      const base = nn.linear(2, 2);
      const model = lora.inject(base, { r: 1, alpha: 2, targetModules: "all-linear" });
      const params = model.init(random.key(0), {
        weight: tensor([
          [1, 2],
          [3, 4],
        ]),
        bias: tensor([0, 0]),
      });
      return [device.name, await model.apply(params, tensor([[1, 10]])).toArray()];
    };
    for (const backend of ["cpu", "webgpu"])
      expect(await browser.visit(String(task), { backend }, { page: "import map" })).toEqual([
        backend,
        [[21, 43]],
      ]);
  });

  test("pages save and load trees, and read weights and adapters of Blobs, URLs and files", async () => {
    const task = async (
      { adapters, init, io, lora, nn, random, tensor }: typeof import("../../src/browser.ts"),
      options: object,
    ) => {
      const device = await init(options);
      const blob = await io.saveBlob({ step: 3, w: tensor([1, -0, 0.5]), key: random.key(1) });
      const url = URL.createObjectURL(blob);
      const found = (await io.load(url)) as { step: number; w: ReturnType<typeof tensor> };
      const file = await io.safetensors.open(blob);
      const base = nn.sequential({ up: nn.linear(2, 3), down: nn.linear(3, 2) });
      const frozen = base.init(random.key(0));
      const model = lora.inject(base, { r: 1, alpha: 2, init: "random", targetModules: "all-linear" });
      const params = model.init(random.key(1), frozen);
      const blobs = await adapters.toBlobs(adapters.extract(model, params), "mlx");
      const files = Object.entries(blobs).map(([name, blob]) => new File([blob], name));
      const again = adapters.inject(base, frozen, await adapters.open(await io.openFolder(files)));
      const x = tensor([[1, 10]]);
      const same = await Promise.all([
        model.apply(params, x).data(),
        again.model.apply(again.params, x).data(),
      ]);
      const failed = await io.save("a", {}).catch((error: Error) => error.message);
      return {
        step: found.step,
        w: [...(await found.w.data())],
        read: [...(await (await file.read("w", { device })).data())],
        same: same[0].join() === same[1].join(),
        failed,
      };
    };
    for (const backend of ["cpu", "webgpu"])
      expect(await browser.visit(String(task), { backend }, { page: "import map" })).toEqual({
        step: 3,
        w: [1, 0, 0.5],
        read: [1, 0, 0.5],
        same: true,
        failed: expect.stringMatching(/a page has no files/),
      });
  });

  long(
    "pages tune a model of a URL or of dropped files, go on from a checkpoint, write with it, and give the adapter",
    async () => {
      const config = {
        ...{ model_type: "llama", vocab_size: 258, hidden_size: 16, intermediate_size: 24 },
        ...{
          num_hidden_layers: 1,
          num_attention_heads: 2,
          num_key_value_heads: 1,
          max_position_embeddings: 64,
        },
      };
      await lorantz.init({ backend: "cpu" });
      const start = lorantz.models.decoder(lorantz.models.architecture(config)).init(lorantz.random.key(0));
      const weights = await lorantz.io.safetensors.toBlob(Object.fromEntries(lorantz.tree.entries(start)));
      browser.serve("model/config.json", new TextEncoder().encode(JSON.stringify(config)));
      browser.serve("model/model.safetensors", new Uint8Array(await weights.arrayBuffer()));
      const task = async (
        {
          adapters,
          init,
          io,
          lora,
          models,
          random,
          text,
          train,
          tree,
        }: typeof import("../../src/browser.ts"),
        options: { readonly backend: "cpu" | "webgpu"; readonly config: object; readonly path?: string },
      ) => {
        const device = await init({ backend: options.backend });
        const { config } = options;
        const dropped = async () => {
          const weights = models.decoder(models.architecture(config)).init(random.key(0));
          const blob = await io.safetensors.toBlob(Object.fromEntries(tree.entries(weights)));
          return [new File([JSON.stringify(config)], "config.json"), new File([blob], "model.safetensors")];
        };
        const { model, params } = await models.load(
          options.path === undefined ? await dropped() : new URL(options.path, location.href),
        );
        const lines = Array.from({ length: 12 }, (_, i) =>
          JSON.stringify({ prompt: `${i}=`, completion: `${i}` }),
        );
        const tokenizer = text.bytes();
        const data = await text.dataset(new File([lines.join("\n")], "train.jsonl"), {
          tokenizer,
          maxLength: 16,
        });
        const recipe = { r: 2, alpha: 4, dropout: 0.1, optimizer: { name: "adamw", lr: 0.02 } } as const;
        const adapted = lora.inject(model, { ...recipe, targetModules: "all-linear" });
        const setup = async () => ({
          params: adapted.init(random.key(1), params),
          loss: train.languageLoss(adapted),
          recipe,
          batches: await text.batches(data, { size: 4, seed: 0, pack: true, lengths: [16] }),
          steps: 6,
        });
        const run = train.train(await setup());
        for await (const { step } of run) if (step === 3) break;
        const saved = await io.saveBlob(await run.checkpoint());
        await run.toEnd();
        const resume = await train.loadCheckpoint(saved);
        const again = await train.train({ ...(await setup()), resume }).toEnd();
        const adapter = adapters.extract(adapted, run.params);
        const blobs = await adapters.toBlobs(adapter, "peft");
        const [completion] = await models.complete(adapted, run.params, [tokenizer.encode("7=")], {
          maxTokens: 5,
        });
        return {
          backend: device.name,
          losses: run.losses,
          hash: run.hash,
          resumed: again.hash === run.hash,
          files: Object.keys(blobs),
          tokens: completion!.tokens.length,
        };
      };
      const here = await task(lorantz, { backend: "cpu", config });
      expect(here.losses.at(-1)).toBeLessThan(here.losses[0]!);
      expect(here).toMatchObject({
        resumed: true,
        files: ["adapter_config.json", "adapter_model.safetensors"],
        tokens: 5,
      });
      type Here = typeof here;
      const visit = (options: Parameters<typeof task>[1]) =>
        browser.visit<Here>(String(task), options, { page: "import map" });
      const path = "/files/model/";
      expect(await visit({ backend: "cpu", config })).toEqual(here);
      expect(await visit({ backend: "cpu", config, path })).toEqual(here);
      if (!thorough) return; // a driver in software compiles for twenty seconds
      const there = await visit({ backend: "webgpu", config, path });
      expect(there).toMatchObject({ backend: "webgpu", resumed: true, files: here.files, tokens: 5 });
      there.losses.forEach((loss, i) => {
        expect(loss).toBeCloseTo(here.losses[i]!, 4);
      });
    },
  );

  describe.for(cases<BackendName>(["cpu"], ["webgpu"]))("on %s", (backend) => {
    longOn(backend)("every operation is as accurate as it promises", async () => {
      const { count, failed } = await browser.visit<Awaited<ReturnType<typeof tasks.operations>>>(
        "operations",
        { backend },
        { page: "isolated" },
      );
      expect(count).toBeGreaterThan(100);
      expect(failed).toEqual([]);
    });

    // 3.5 GiB, or 6.
    const counts = [thorough ? 96 : 56];
    test.each(counts)(
      "%i large results that are dropped are collected before memory runs out, without timers",
      async (results) => {
        const { peak, timers } = await browser.visit<Dropped>(
          "drop",
          { backend, results },
          { page: "plain" },
        );
        expect(peak).toBeLessThan(3 * 2 ** 30);
        expect(timers).toBe(0);
      },
    );
  });
});
