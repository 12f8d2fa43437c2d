// All that pages use, in one module: `lorantz/browser` is this file in one piece, for pages without a bundler.

export * as adapters from "./adapters/index.ts";
export * as gauge from "./gauge/index.ts";
export * from "./index.ts";
export * as io from "./io/index.ts";
export * as lora from "./lora/index.ts";
export * as models from "./models/index.ts";
export * as nn from "./nn/index.ts";
export * as optim from "./optim/index.ts";
export * as text from "./text/index.ts";
export * as train from "./train/index.ts";
