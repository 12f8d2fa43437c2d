// NumPy and PyTorch in a child process, if Python has them. It keeps time itself: messages are not measured.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The interpreter: that of the environment variable PYTHON, else the first `python3` of the path. */
const interpreter = process.env.PYTHON ?? "python3";
const script = fileURLToPath(new URL("python.py", import.meta.url));

export const python = (library) => ({
  name: { numpy: "NumPy", torch: "PyTorch" }[library],
  async open() {
    const folder = mkdtempSync(join(tmpdir(), "lorantz-peers-"));
    const child = spawn(interpreter, [script, library, folder, String(availableParallelism())], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const failed = new Promise((_, reject) => child.once("error", reject));
    failed.catch(() => {});
    const receive = async () => {
      const { value, done } = await Promise.race([lines.next(), failed]);
      if (done) throw new Error(`${interpreter} ended`);
      const message = JSON.parse(value);
      if (message.error) throw new Error(message.error);
      return message;
    };
    const ask = (question) => {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      return receive();
    };
    const close = () => {
      child.stdin.end();
      rmSync(folder, { recursive: true, force: true });
    };
    let about;
    try {
      ({ about } = await receive());
    } catch (error) {
      close();
      throw error;
    }
    return {
      about,
      async prepare({ name, kind, inputs, options, count }) {
        const given = {};
        for (const [input, { shape, data }] of Object.entries(inputs)) {
          writeFileSync(join(folder, input), new Uint8Array(data.buffer));
          given[input] = { shape, dtype: data instanceof Int32Array ? "int32" : "float32" };
        }
        const { known } = await ask({ prepare: name, kind, inputs: given, options, count: count ?? 0 });
        if (!known) return undefined;
        return {
          async answer() {
            const { files } = await ask({ answer: name });
            return files.map(
              (file) => new Float32Array(new Uint8Array(readFileSync(join(folder, file))).buffer),
            );
          },
          run: () => ask({ run: name }),
        };
      },
      close,
    };
  },
});
