import { fetchPrinters } from "../src/backend/cpu/wasm/kernel.ts";
import type { Kernel } from "../src/compile/kernel.ts";

// For tests that emit kernels by themselves, where loading a program has not fetched what they need.
const kinds = [{ kind: "procedure" }, { kind: "matmul", dtype: "float32", inner: { extent: 9 } }];
await fetchPrinters(kinds as unknown as Kernel[]); // which are asked for no more
