export { type Batch, type BatchOptions, batches, type TextBatches } from "./batches.ts";
export type { ChatTemplate, Message } from "./chat.ts";
export { type Dataset, type DatasetOptions, dataset } from "./dataset.ts";
export type { Format } from "./records.ts";
export { bytes, load, type Tokenizer } from "./tokenizer.ts";
