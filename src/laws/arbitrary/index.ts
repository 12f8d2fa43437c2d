export { type GaugeOptions, gauge } from "./gauge.ts";
export { alpha, type LoraConfig, type LoraConfigOptions, loraConfig } from "./lora.ts";
export { type Data, type DataOptions, data, type Model, model } from "./model.ts";
export { type OptimizerArbitraryOptions, optimizer } from "./optimizer.ts";
export { recipe } from "./recipe.ts";
export { type BroadcastPair, broadcastPair, type ShapeOptions, shape } from "./shape.ts";
export { factor, matrix, powerOfTwo, quarter, rough } from "./values.ts";
