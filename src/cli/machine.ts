import { execFileSync } from "node:child_process";
import { availableParallelism, cpus } from "node:os";

export const platform = `Node ${process.versions.node}, ${process.platform} ${process.arch}`;

/** When, where and by which commit results are made, for their JSON. */
export function machine() {
  const commit = currentCommit();
  return {
    ...(commit === undefined ? {} : { commit }),
    date: new Date().toISOString(),
    platform,
    processor: cpus()[0]?.model.trim() ?? "unknown processor",
    threads: availableParallelism(),
  };
}

/** The commit of the repository that the command runs in, if it is one. */
function currentCommit(): string | undefined {
  const git = (...args: string[]) =>
    execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const commit = git("rev-parse", "--short", "HEAD");
    return git("status", "--porcelain", "--untracked-files=no") === "" ? commit : `${commit}+changes`;
  } catch {
    return undefined;
  }
}
