// llama.cpp in a process of its own, by node-llama-cpp: greedy tokens of a GGUF file.
import { join } from "node:path";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { serve } from "./child.mjs";
import { prompt } from "./work.mjs";

const { folder } = JSON.parse(process.argv[2]);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 2 });
const model = await llama.loadModel({ modelPath: join(folder, "model.gguf"), useMmap: true });
const context = await model.createContext({ contextSize: 512, threads: 2, flashAttention: false });
const sequence = context.getSequence();
const begin = () => sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true });
let going = begin();
const tokens = [];
for (let i = 0; i < 12; i++) tokens.push((await going.next()).value);
await serve({
  answer: tokens,
  run: async () => {
    for (let i = 0; i < 8; i++)
      if (sequence.nextTokenIndex > 488 || (await going.next()).done) {
        await sequence.clearHistory();
        going = begin();
      }
  },
  more: { about: "llama.cpp by node-llama-cpp 3.21.1" },
});
