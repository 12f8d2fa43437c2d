import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Browsers that Playwright does not drive as they are packaged: Firefox by Marionette, which it speaks itself, and
// WebKitGTK by the driver that comes with it. Both take the commands of WebDriver.

/** One page of a browser of its own. */
export interface Tab {
  goto(url: string): Promise<void>;
  /** The value of the body of a function; a promise is waited for. */
  evaluate<T>(body: string, ...args: readonly unknown[]): Promise<T>;
  /** Clicks as a person does, once the element is there: scrolls to it, and fails where something else lies above. */
  click(selector: string): Promise<void>;
  readonly version: string;
  close(): Promise<void>;
}

/** Sends a command of WebDriver, by the name that Marionette has for it. */
type Send = (name: string, parameters: Readonly<Record<string, unknown>>) => Promise<unknown>;

const element = "element-6066-11e4-a52e-4f735466cecf"; // as the standard names it

function tabOf(send: Send, version: string, close: () => Promise<void>): Tab {
  const tab: Tab = {
    goto: async (url) => void (await send("Navigate", { url })),
    evaluate: async <T>(script: string, ...args: readonly unknown[]) =>
      (await send("ExecuteScript", { script, args })) as T, // as the caller says
    async click(selector) {
      await until(selector, () =>
        tab.evaluate("return document.querySelector(arguments[0]) ? true : undefined", selector),
      );
      const found = (await send("FindElement", { using: "css selector", value: selector })) as Readonly<
        Record<string, string>
      >;
      await send("ElementClick", { id: found[element] });
    },
    version,
    close,
  };
  return tab;
}

/** Waits until a function gives something, which it is asked again and again. */
export async function until<T>(
  what: string,
  of: () => T | undefined | null | Promise<T | undefined | null>,
  instead: () => unknown = () => "",
): Promise<T> {
  const patience = 90_000;
  for (const end = Date.now() + patience; Date.now() < end; ) {
    const value = await of();
    if (value !== undefined && value !== null) return value; // WebDriver has no undefined
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${patience} ms. ${JSON.stringify(await instead())}`);
}

/** A process whose output is kept, in a group of its own, to be ended as one. */
function start(command: string, args: readonly string[]) {
  const child: ChildProcess = spawn(command, args, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
    });
  let ended: Error | undefined;
  const exited = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      ended = error;
      resolve();
    });
    child.once("exit", (code) => {
      ended ??= new Error(`${command} ended with ${code}: ${printed.slice(-2000)}`);
      resolve();
    });
  });
  return {
    /** Throws where the process has ended. */
    check: () => {
      if (ended) throw ended;
    },
    end: async () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
      await exited;
    },
  };
}

export async function openFirefox(firefox: string): Promise<Tab> {
  const profile = mkdtempSync(join(tmpdir(), "lorantz-firefox-"));
  const prefs = {
    "marionette.port": 0, // any that is free
    // Nothing but the page.
    "datareporting.policy.dataSubmissionEnabled": false,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
  };
  const lines = Object.entries(prefs).map(
    ([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`,
  );
  writeFileSync(join(profile, "user.js"), lines.join(""));
  const browser = start(firefox, ["--headless", "--marionette", "--no-remote", "--profile", profile]);
  const close = async () => {
    await browser.end();
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  };
  try {
    const port = await until("the port of Firefox", () => {
      browser.check();
      try {
        return Number(readFileSync(join(profile, "MarionetteActivePort"), "utf8")) || undefined;
      } catch {
        return undefined;
      }
    });
    const marionette = await speak(port);
    const { capabilities } = (await marionette.send("NewSession", { capabilities: {} })) as {
      readonly capabilities: { readonly browserVersion: string };
    };
    return tabOf(
      async (name, parameters) => {
        const result = (await marionette.send(name, parameters)) as { readonly value?: unknown } | null;
        return result && typeof result === "object" && "value" in result ? result.value : result;
      },
      `Firefox ${capabilities.browserVersion}`,
      async () => {
        marionette.close();
        await close();
      },
    );
  } catch (error) {
    await close();
    throw error;
  }
}

/** Messages of Marionette: a length, a colon, an array. */
async function speak(port: number): Promise<{ readonly send: Send; close(): void }> {
  const socket: Socket = connect(port, "127.0.0.1");
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let rest = Buffer.alloc(0);
  let last = 0;
  let greeted = () => {};
  const greeting = new Promise<void>((resolve, reject) => {
    greeted = resolve;
    socket.once("error", reject);
  });
  socket.on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    for (;;) {
      const colon = rest.indexOf(":");
      const length = Number(rest.subarray(0, Math.max(0, colon)).toString());
      if (colon < 0 || rest.length < colon + 1 + length) return;
      const message: unknown = JSON.parse(rest.subarray(colon + 1, colon + 1 + length).toString());
      rest = rest.subarray(colon + 1 + length);
      if (!Array.isArray(message)) greeted();
      else {
        const [, id, error, value] = message as [
          number,
          number,
          { error: string; message: string } | null,
          unknown,
        ];
        const own = waiting.get(id);
        waiting.delete(id);
        if (error) own?.reject(new Error(`${error.error}: ${error.message}`));
        else own?.resolve(value);
      }
    }
  });
  socket.on("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("Firefox closed the connection"));
  });
  await greeting;
  return {
    send: (name, parameters) =>
      new Promise((resolve, reject) => {
        const id = ++last;
        waiting.set(id, { resolve, reject });
        const text = JSON.stringify([0, id, `WebDriver:${name}`, parameters]);
        socket.write(`${Buffer.byteLength(text)}:${text}`);
      }),
    close: () => socket.destroy(),
  };
}

/** Where WebDriver has the commands. */
const paths: Readonly<Record<string, (id: unknown) => string>> = {
  Navigate: () => "url",
  ExecuteScript: () => "execute/sync",
  FindElement: () => "element",
  ElementClick: (id) => `element/${id}/click`,
};

/** On a screen of its own, by xvfb-run, where there is none. */
export async function openWebKit(driver: string, browser: string): Promise<Tab> {
  const port = await freePort();
  const command = [...(process.env.DISPLAY ? [] : ["xvfb-run", "-a"]), driver, `--port=${port}`] as const;
  const server = start(command[0]!, command.slice(1));
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const { value } = (await response.json()) as { value: { error?: string; message?: string } };
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value as unknown;
  };
  try {
    await until("WebKit's driver", async () => {
      server.check();
      return call("GET", "status").catch(() => undefined);
    });
    const session = (await call("POST", "session", {
      capabilities: {
        alwaysMatch: {
          "webkitgtk:browserOptions": {
            binary: browser,
            args: ["--automation"],
          },
        },
      },
    })) as { sessionId: string; capabilities: { browserVersion: string } };
    return tabOf(
      (name, parameters) =>
        call("POST", `session/${session.sessionId}/${paths[name]!(parameters.id)}`, parameters),
      `WebKitGTK ${session.capabilities.browserVersion}`,
      async () => {
        await call("DELETE", `session/${session.sessionId}`).catch(() => {});
        await server.end();
      },
    );
  } catch (error) {
    await server.end();
    throw error;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // listening on a port
  await new Promise((resolve) => server.close(resolve));
  return port;
}
