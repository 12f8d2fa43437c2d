import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { create, globals } from "webgpu";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { matrixTile } from "../../src/backend/webgpu/matmul-matrix.ts";
import { Pipelines } from "../../src/backend/webgpu/pipelines.ts";
import type { ShaderOptions } from "../../src/backend/webgpu/shader.ts";
import { shaders } from "../../src/backend/webgpu/shaders.generated.ts";
import type { MatrixChoice, Precision } from "../../src/backend/webgpu/tiles.ts";
import { generator } from "../../src/base/generator.ts";
import { numel } from "../../src/base/shape.ts";
import { referenceValues } from "../../src/experiments/reference.ts";

import { relu, type Tensor, tensor, tree } from "../../src/index.ts";
import { Device } from "../../src/runtime/device.ts";
import { backends } from "../devices.ts";
import { wgslPrinter } from "../printer.ts";
import { cases } from "../thorough.ts";

// The family of subgroup matrices where no adapter has them: Dawn's own compiler checks the kernels on its null
// backend, and their results are computed on a software driver with functions in the place of the matrices.

function values(shape: readonly number[], dtype: Precision, seed: number): Tensor<Precision> {
  const draw = generator(seed);
  const length = numel(shape);
  return tensor(
    Float32Array.from({ length }, () => draw() * 2 - 1),
    { shape, dtype },
  );
}

const matrix = (precision: Precision, rows: number, columns: number, inner: number, lanes = 32) =>
  ({ family: "matrix", precision, rows, columns, inner, lanes, workgroupBytes: 32768 }) as const;

const optionsWith = (float16: MatrixChoice, float32: MatrixChoice): ShaderOptions => ({
  maxWorkgroups: 65535,
  busy: 65536,
  leastWorkgroup: 64,
  hideLengths: false,
  matmul: { float16, float32 },
});

describe("for Dawn's compiler", async () => {
  for (const [name, value] of Object.entries(globals))
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true });
  const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = (await gpu.requestAdapter())!; // the null backend always has one
  const device = await adapter.requestDevice({
    requiredFeatures: [
      "shader-f16",
      "subgroups",
      "chromium-experimental-subgroup-matrix" as GPUFeatureName, // Dawn's own
    ],
    requiredLimits: { maxStorageBuffersPerShaderStage: adapter.limits.maxStorageBuffersPerShaderStage },
  });
  afterAll(() => {
    device.destroy();
    expect(gpu).toBeDefined(); // held until here: collected, it ends the process
  });

  async function errorOf(code: string): Promise<string | undefined> {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code });
    const made = device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const [scope, failure] = await Promise.all([
      device.popErrorScope(),
      made.then(
        () => undefined,
        (error: Error) => error,
      ),
    ]);
    return scope?.message ?? failure?.message;
  }

  test.each(["direct", "shared", "subgroup", "matrix"] as const)(
    "the template %s is valid as it stands after the operands",
    async (name) => {
      const family = shaders[`matmul-${name}`];
      const directives = family.match(/^enable .*\n/gm) ?? [];
      expect(
        await errorOf(
          [...directives, shaders["matmul-operands"], family.replace(/^enable .*\n/gm, "")].join(""),
        ),
      ).toBeUndefined();
    },
  );

  const printer = (precision: Precision) =>
    wgslPrinter(optionsWith(matrix("float16", 16, 16, 16), matrix(precision, 8, 8, 8)));

  test.each(["float16", "float32"] as const)("generated kernels of %s are valid", async (precision) => {
    using printed = printer("float32");
    const [x, y] = [values([100, 72], precision, 1), values([72, 132], precision, 2)];
    const [xt, yt] = [values([72, 100], precision, 3), values([132, 72], precision, 4)];
    for (const product of [
      x.matmul(y),
      xt.transpose().matmul(y).mul(2).add(1),
      relu(x.matmul(yt.transpose()).astype("float32")),
      xt.transpose().matmul(yt.transpose()),
    ]) {
      const sources: string[] = [];
      const load = printed.backend.load.bind(printed.backend);
      vi.spyOn(printed.backend, "load").mockImplementation(async (program) => {
        const executable = await load(program);
        sources.push(...executable.sources);
        return executable;
      });
      await tree.evaluate([product], printed);
      vi.restoreAllMocks();
      const kernels = sources.filter((source) => source.includes("subgroupMatrixMultiplyAccumulate"));
      expect(kernels).toHaveLength(1);
      expect(kernels[0]).toContain(`alias staged = ${precision === "float16" ? "f16" : "f32"};`);
      expect(await errorOf(kernels[0]!)).toBeUndefined();
    }
  });
});

test("tiles fit into workgroup memory and follow the shape", () => {
  const tile = (rows: number, columns: number, inner: number, workgroupBytes = 32768) =>
    matrixTile(
      { rows, columns, inner, batches: 1, work: [0, 0] },
      { ...matrix("float16", 16, 16, 16), workgroupBytes },
      optionsWith(matrix("float16", 16, 16, 16), matrix("float32", 8, 8, 8)),
    );
  const large = tile(4096, 4096, 4096);
  expect([large.rows, large.columns]).toEqual([128, 128]);
  expect(tile(4096, 16, 4096).columns).toBe(16);
  expect(tile(16, 4096, 4096).rows).toBe(16);
  for (const bytes of [16384, 32768, 49152]) {
    const { rows, columns, stage } = tile(4096, 4096, 4096, bytes);
    expect(2 * Math.max((rows + 8) * stage, rows * (stage + 8)) * 2 + 4 * 4 * 256).toBeLessThanOrEqual(bytes);
    expect(columns).toBe(rows);
  }
});

/** A kernel with arrays and functions in the place of subgroup matrices: each invocation computes whole ones. */
function emulated(source: string): string {
  if (!source.includes("subgroupMatrixLoad")) return source;
  // Bounds that compilers do not know keep them from unrolling, which takes minutes.
  const each = (name: string, count: string) => `for (var ${name} = nought; ${name} < ${count}; ${name}++) {`;
  const load = (name: string, [lines, places]: readonly string[], tile: string, major: string) => `
fn load_${name}_${major}(offset: u32, stride: u32) -> ${name} {
  var matrix: ${name};
  ${each("line", lines!)}
    ${each("place", places!)}
      let at = u32(${major === "row_major" ? "line" : "place"}) * stride + u32(${major === "row_major" ? "place" : "line"});
      matrix[line * ${places} + place] = ${tile}[offset + at];
    }
  }
  return matrix;
}
`;
  const functions = [
    "\nvar<workgroup> nought: i32;\n",
    ...["row_major", "col_major"].flatMap((major) => [
      load("Left", ["matrix_rows", "matrix_inner"], "a_tile", major),
      load("Right", ["matrix_inner", "matrix_columns"], "b_tile", major),
    ]),
    `
fn multiply_matrices(left: Left, right: Right, sums: Sums) -> Sums {
  var result = sums;
  ${each("row", "matrix_rows")}
    ${each("column", "matrix_columns")}
      ${each("k", "matrix_inner")}
        let product = f32(left[row * matrix_inner + k]) * f32(right[k * matrix_columns + column]);
        result[row * matrix_columns + column] += product;
      }
    }
  }
  return result;
}

fn store_matrix(offset: u32, sums: Sums, stride: u32) {
  ${each("row", "matrix_rows")}
    ${each("column", "matrix_columns")}
      out_tile[offset + u32(row) * stride + u32(column)] = sums[row * matrix_columns + column];
    }
  }
}
`,
  ];
  return `${source
    .replace("chromium_experimental_subgroup_matrix, ", "")
    .replace(/^alias Left = .*/m, "alias Left = array<staged, matrix_rows * matrix_inner>;")
    .replace(/^alias Right = .*/m, "alias Right = array<staged, matrix_inner * matrix_columns>;")
    .replace(/^alias Sums = .*/m, "alias Sums = array<f32, matrix_rows * matrix_columns>;")
    .replace(/subgroupMatrixLoad<(\w+), (\w+)>\(&\w+, /g, "load_$1_$2(")
    .replaceAll("subgroupMatrixMultiplyAccumulate(", "multiply_matrices(")
    .replace(/subgroupMatrixStore<row_major>\(\s*&out_tile,/g, "store_matrix(")}${functions.join("")}`;
}

describe.runIf((await backends()).includes("webgpu"))("on a driver without them", () => {
  let device: Device;
  let used = 0;
  beforeAll(async () => {
    const opened = await openDevice();
    if ("reason" in opened) throw new Error(opened.reason);
    const { adapter } = opened;
    const get = Pipelines.prototype.get;
    vi.spyOn(Pipelines.prototype, "get").mockImplementation(function (this: Pipelines, shader) {
      const source = emulated(shader.source);
      if (source !== shader.source) used++;
      return get.call(this, { ...shader, source });
    });
    const matrices = [
      { precision: "float16", rows: 16, columns: 8, inner: 8 },
      { precision: "float32", rows: 8, columns: 8, inner: 4 },
    ] as const;
    const features = [...adapter.features, "chromium-experimental-subgroup-matrix"];
    // Little workgroup memory makes small tiles: each invocation does the work of a subgroup.
    const limits = { ...adapter.limits, maxComputeWorkgroupStorageSize: 4096 };
    device = new Device(
      new WebGpuBackend({ ...opened, adapter: { ...adapter, features, matrices, limits } }, { tune: false }),
      2 ** 30,
    );
  });
  afterAll(() => {
    vi.restoreAllMocks();
    device.dispose();
  });

  const products = cases<readonly [Precision, m: number, k: number, n: number]>(
    [["float32", 33, 36, 21]], // of float16, whose numbers this driver takes long to compile, there are the batches below
    [
      ["float16", 33, 36, 21],
      ["float16", 1, 300, 129],
      ["float16", 64, 64, 64],
      ["float16", 33, 70, 45],
      ["float16", 200, 40, 8],
      ["float32", 48, 64, 36],
      ["float32", 33, 70, 45],
    ],
  );
  test.each(products)("products of %s, %d x %d by %d, in all transposes", async (precision, m, k, n) => {
    const [a, b] = [values([m, k], precision, 1), values([k, n], precision, 2)];
    const [at, bt] = [values([k, m], precision, 3), values([n, k], precision, 4)];
    const wide = (x: Tensor) => x.astype("float32");
    const results = [
      wide(a).matmul(wide(b)),
      wide(at).transpose().matmul(wide(b)),
      wide(a).matmul(wide(bt).transpose()).maximum(0).mul(3),
      wide(at).transpose().matmul(wide(bt).transpose()),
    ];
    const expected = await referenceValues(results);
    const before = used;
    await tree.evaluate(results, device);
    expect(used).toBeGreaterThan(before);
    for (const [i, result] of results.entries()) {
      const found = await result.data();
      expected[i]!.forEach((value, j) => {
        expect(Math.abs(found[j]! - value)).toBeLessThan(3e-6 * k);
      });
    }
  });

  test("batches, and float16 results", async () => {
    const [a, b] = [values([3, 40, 36], "float16", 1), values([3, 36, 20], "float16", 2)];
    const product = a.matmul(b);
    const [expected] = await referenceValues([product]);
    await tree.evaluate([product], device);
    const found = await product.data();
    expected!.forEach((value, i) => {
      expect(Math.abs(found[i]! - value)).toBeLessThan(2 ** -11 * Math.abs(value) + 1e-5);
    });
  });
});
