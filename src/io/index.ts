export type { Entry, LazyEntry } from "./entry.ts";
export { type Folder, type FolderSource, openFolder, readJson, readText } from "./folder.ts";
export * as gguf from "./gguf.ts";
export { type FileSource, openSource } from "./open.ts";
export * as safetensors from "./safetensors.ts";
export { load, type Saved, save, saveBlob } from "./save.ts";
export type { Source } from "./source.ts";
export { type ReadOptions, type ReadPackedOptions, TensorFile, type TensorInfo } from "./tensor-file.ts";
