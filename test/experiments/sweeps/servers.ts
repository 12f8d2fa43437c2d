import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Servers of queues on loopback, started by the tests and ended by them.

/** A server that may be killed and started again. */
export interface Server {
  readonly url: string;
  start(): Promise<void>;
  /** Ends it at once, as a power cut does. */
  kill(): Promise<void>;
  /** Ends it, and removes what it wrote. */
  remove(): Promise<void>;
}

/** Whether tests need the servers, instead of leaving out what wants them. */
const needed = process.env.LORANTZ_REQUIRE_QUEUES === "1";

const missing = (what: string): undefined => {
  if (needed)
    throw new Error(`${what} is not installed, and LORANTZ_REQUIRE_QUEUES wants it; see .ci/queues`);
  process.stderr.write(
    `\n*** ${what} is not installed: tests of queues on it are left out; see .ci/queues ***\n`,
  );
  return undefined;
};

const isThere = (program: string) => spawnSync(program, ["--version"]).status === 0;

/** A Redis that keeps nothing on disk; undefined, and said, where there is none. */
export async function redis(...more: readonly string[]): Promise<Server | undefined> {
  if (!isThere("redis-server")) return missing("redis-server");
  const port = await freePort();
  const own = ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"];
  const args = ["--port", String(port), "--bind", "127.0.0.1", ...own, ...more];
  const server = new Spawned("redis-server", args, {}, "Ready to accept connections");
  return {
    url: `redis://127.0.0.1:${port}`,
    start: () => server.start(),
    kill: () => server.end("SIGKILL"),
    remove: () => server.end("SIGKILL"),
  };
}

/** A PostgreSQL of a fresh cluster; undefined, and said, where there is none. */
export async function postgres(): Promise<Server | undefined> {
  const base = "/usr/lib/postgresql";
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  const bin = versions
    .map((version) => join(base, version, "bin"))
    .find((each) => existsSync(join(each, "initdb")));
  if (bin === undefined) return missing("PostgreSQL");
  // PostgreSQL does not run as root.
  const own = process.getuid?.() === 0 ? ids("postgres") : {};
  const folder = mkdtempSync(join(tmpdir(), "lorantz-postgres-"));
  if (own.uid !== undefined && own.gid !== undefined) chownSync(folder, own.uid, own.gid);
  const data = join(folder, "data");
  const options = { ...own, cwd: folder };
  execFileSync(join(bin, "initdb"), ["-D", data, "-U", "lorantz", "-A", "trust", "-N"], {
    ...options,
    stdio: "ignore",
  });
  const port = await freePort();
  const settings = [
    "fsync=off",
    "listen_addresses=127.0.0.1",
    `unix_socket_directories=${folder}`,
    "max_connections=60",
  ];
  const args = ["-D", data, "-p", String(port), ...settings.flatMap((each) => ["-c", each])];
  const server = new Spawned(join(bin, "postgres"), args, options, "ready to accept connections");
  return {
    url: `postgres://lorantz@127.0.0.1:${port}/postgres`,
    start: () => server.start(),
    kill: () => server.end("SIGQUIT"), // at once, and its children with it
    remove: async () => {
      await server.end("SIGQUIT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

class Spawned {
  readonly #command: readonly [string, readonly string[], object];
  readonly #ready: string;
  #child: ChildProcess | undefined;

  constructor(program: string, args: readonly string[], options: object, ready: string) {
    this.#command = [program, args, options];
    this.#ready = ready;
  }

  start(): Promise<void> {
    const [program, args, options] = this.#command;
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    return new Promise((resolve, reject) => {
      let said = "";
      const hear = (chunk: Buffer) => {
        said += String(chunk);
        if (said.includes(this.#ready)) resolve();
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("exit", (code) => reject(new Error(`${program} ended with ${code}: ${said}`)));
      child.on("error", reject);
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.kill(signal);
    await ended;
  }
}

function ids(user: string): { readonly uid?: number; readonly gid?: number } {
  const id = (flag: string) => Number(execFileSync("id", [flag, user], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
