import { spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { bundle } from "../../bundle.mjs";

/** The browser: LORANTZ_BROWSER, or the first Chromium on the path. */
export function findChromium(): string | undefined {
  return onPath(process.env.LORANTZ_BROWSER ?? "", "chromium", "chromium-browser", "google-chrome");
}

/** The first program of these names that there is, on the path or where the name says. */
export function onPath(...names: readonly string[]): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const candidates = names.flatMap((name) =>
    name === "" || isAbsolute(name) ? name : folders.map((folder) => join(folder, name)),
  );
  return candidates.find((file) => file && executable(file));
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Nothing but the page: no other process on the network, no questions, and WebGPU in software where there is no GPU. */
export const flags = [
  "--headless",
  "--enable-unsafe-webgpu",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--disable-sync",
  ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), // which root does not get
];

/** How a page is served. */
const kinds = {
  /** With what shared memory takes. */
  isolated: {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  },
  /** With nothing. */
  plain: {},
  /** Isolated, and with a policy that lets WebAssembly compile but starts no workers from blobs. */
  "without workers": {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
  },
  /** With a policy that lets no code be made at run time. */
  "without WebAssembly": { "Content-Security-Policy": "default-src 'self'" },
  /** Of no origin, as in a sandboxed frame: reading `localStorage` throws. */
  "without storage": { "Content-Security-Policy": "sandbox allow-scripts" },
  /** Without a bundler: the package is one module, named by an import map. */
  "import map": {},
} as const satisfies Record<string, OutgoingHttpHeaders>;

export interface Visit {
  readonly page: keyof typeof kinds;
  /** Run the task in a worker that the page starts. */
  readonly inWorker?: boolean;
}

/** Pages from a server of their own, in a browser with a profile of its own. */
export interface Browser {
  /**
   * Opens a page that runs a task of page.ts, and gives what the task returned. In a page with an import map the task is
   * the text of a function of the library.
   */
  visit<T>(task: string, argument: unknown, how: Visit): Promise<T>;
  /** Gives a file to pages, in ranges too, under `/files/`. */
  serve(name: string, content: Uint8Array): void;
  close(): void;
}

/** What page.ts sends. */
export type Answer = { readonly value: unknown } | { readonly error: string };

const patience = 60_000;

export async function openBrowser(chromium: string): Promise<Browser> {
  const [script, library] = [await bundlePage(), await bundleLibrary()];
  const profile = mkdtempSync(join(tmpdir(), "lorantz-browser-"));
  const files = new Map<string, Uint8Array>();
  let answered: (answer: Answer) => void = () => {};
  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, "http://localhost"); // a server's request has one
    const kind = url.searchParams.get("page") as Visit["page"] | null;
    if (request.method === "POST") {
      answered(JSON.parse(await bodyOf(request)) as Answer);
      response.end();
    } else if (url.pathname === "/page.js") {
      // A page of no origin may load it too, and a worker has headers of its own.
      const own = kind ? kinds[kind] : {};
      response.writeHead(200, {
        ...own,
        "Content-Type": "text/javascript",
        "Access-Control-Allow-Origin": "*",
      });
      response.end(script);
    } else if (files.has(url.pathname)) sendRange(request, response, files.get(url.pathname)!);
    else if (url.pathname === "/lorantz.js") {
      response.writeHead(200, { "Content-Type": "text/javascript" });
      response.end(library);
    } else if (kind === "import map") {
      response.writeHead(200, { "Content-Type": "text/html" });
      response.end(`<!doctype html>
        <script type="importmap">{ "imports": { "lorantz": "/lorantz.js" } }</script>
        <script>
          const send = (answer) => fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
          addEventListener("error", ({ message }) => send({ error: message }));
          addEventListener("unhandledrejection", ({ reason }) => send({ error: String(reason) }));
        </script>
        <script type="module">
          import * as lorantz from "lorantz";
          send({ value: await (${url.searchParams.get("task")})(lorantz, ${url.searchParams.get("argument")}) });
        </script>`);
    } else if (kind) {
      const starter = url.searchParams.has("worker") ? "/start.js" : "/page.js";
      response.writeHead(200, { ...kinds[kind], "Content-Type": "text/html" });
      response.end(`<!doctype html><script type="module" src="${starter}"></script>`);
    } else if (url.pathname === "/start.js") {
      response.writeHead(200, { "Content-Type": "text/javascript" });
      response.end('new Worker("/page.js" + location.search, { type: "module" });');
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // listening on a port

  return {
    async visit<T>(task: string, argument: unknown, { page, inWorker = false }: Visit): Promise<T> {
      const query = new URLSearchParams({ page, task, argument: JSON.stringify(argument) });
      if (inWorker) query.set("worker", "");
      const url = `http://localhost:${port}/?${query}`;
      const browser = spawn(chromium, [...flags, `--user-data-dir=${profile}`, url], {
        detached: true, // a group of its own, to be ended as one
        stdio: ["ignore", "ignore", "pipe"],
      });
      let printed = "";
      browser.stderr.setEncoding("utf8").on("data", (text) => {
        printed = (printed + text).slice(-4000);
      });
      const exited = new Promise<void>((resolve) => browser.once("exit", () => resolve()));
      const timer = setTimeout(() => answered({ error: `no answer within ${patience} ms` }), patience);
      const answer = await new Promise<Answer>((resolve) => {
        answered = resolve;
        browser.once("error", (error) => resolve({ error: error.message }));
        browser.once("exit", (code) => resolve({ error: `the browser ended with ${code}` }));
      });
      clearTimeout(timer);
      end(browser.pid);
      await exited;
      if ("error" in answer) throw new Error(`${task}: ${answer.error}\n${printed}`);
      return answer.value as T; // as the task's type says
    },
    serve: (name, content) => void files.set(`/files/${name}`, content),
    close() {
      server.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

/** The bytes that a request asks for, or all. */
function sendRange({ headers }: IncomingMessage, response: ServerResponse, content: Uint8Array): void {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
  if (from === undefined) {
    response.end(content);
    return;
  }
  const part = content.subarray(Number(from), Number(to) + 1);
  const range = `bytes ${from}-${Number(from) + part.length - 1}/${content.length}`;
  response.writeHead(206, { "Content-Range": range });
  response.end(part);
}

function end(group: number | undefined): void {
  try {
    if (group !== undefined) process.kill(-group, "SIGKILL");
  } catch {
    // It has ended.
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) text += part;
  return text;
}

/** The module in one piece, as the build makes it. */
async function bundleLibrary(): Promise<string> {
  const made = await bundle("src/browser.ts", ["lorantz-source"], { write: false });
  return (made as { readonly output: readonly [{ readonly code: string }] }).output[0].code; // one bundle of one file
}

/** The sources and page.ts as a page of a user of the package has them: one module, from a bundler. */
async function bundlePage(): Promise<string> {
  const result = await build({
    root: fileURLToPath(new URL("../..", import.meta.url)),
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["lorantz-source", "browser", "module"] },
    build: {
      write: false,
      modulePreload: false,
      rolldownOptions: {
        input: fileURLToPath(new URL("page.ts", import.meta.url)),
        output: { codeSplitting: false },
      },
    },
  });
  if (!("output" in result)) throw new Error("vite gave no bundle");
  return result.output[0].code;
}
