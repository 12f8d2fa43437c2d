// Names in generated code that are used before they are there.

/** Words of WGSL that are no names of its code. */
const words = new Set(
  (
    "fn let var const struct return if else for break continue true false array vec2 vec3 vec4 f32 f16 i32 u32 bool atomic ptr " +
    "storage uniform workgroup function private read read_write enable alias override workgroup_size compute group binding builtin " +
    "subgroup_matrix_left subgroup_matrix_right subgroup_matrix_result mat2x2 mat4x4"
  ).split(" "),
);

/** Names that WGSL code uses outside of where they are declared; what is called or an attribute is not looked at. */
export function undeclaredInWgsl(source: string): string[] {
  const code = source
    .replace(/\/\/.*/g, "")
    .replace(/^enable .*;/gm, "")
    .replace(/@\w+(\([\w ,]*\))?/g, "");
  const scopes: Set<string>[] = [new Set()];
  const found: string[] = [];
  // Declarations of a module are known everywhere in it.
  for (const [, name] of code.matchAll(/^(?:fn|struct|alias|const|override) (\w+)/gm)) scopes[0]!.add(name!);
  for (const [, name] of code.matchAll(/^var(?:<[^>]*>)? (\w+)/gm)) scopes[0]!.add(name!);
  let pending = new Set<string>();
  let inStruct = false;
  const tokens = [...code.matchAll(/[A-Za-z_]\w*|\d[\w.]*|[^\s\w]/g)].map(([token]) => token);
  let header = 0; // parentheses of a function's parameters or of a for
  let open = 0;
  tokens.forEach((token, i) => {
    const [before, after] = [tokens[i - 1], tokens[i + 1]];
    if (token === "struct") inStruct = true;
    if (token === "fn" || token === "for") {
      pending = new Set();
      header = open + 1;
    }
    if (token === "(") open++;
    if (token === ")") open--;
    if (token === "{") {
      scopes.push(pending);
      pending = new Set();
      header = 0;
    } else if (token === "}") {
      scopes.pop();
      inStruct = false;
    }
    if (!/^[A-Za-z_]/.test(token) || words.has(token)) return;
    if (before === "." || after === "(" || after === "<" || inStruct) return;
    const declares =
      before === "let" ||
      before === "var" ||
      before === "const" ||
      (before === ">" && tokens[i - 4] === "var") ||
      after === ":";
    if (declares) {
      const into = header > 0 && open >= header ? pending : scopes[scopes.length - 1]!;
      into.add(token);
      return;
    }
    if (!pending.has(token) && !scopes.some((scope) => scope.has(token))) found.push(token);
  });
  return found;
}

/** Locals that WebAssembly's text reads before anything has set them. */
export function unsetInWasm(source: string): string[] {
  const found: string[] = [];
  let known = new Set<string>();
  for (const line of source.split("\n")) {
    const head = /^function \w+\((.*)\) \{/.exec(line);
    if (head) known = new Set(head[1]!.split(", "));
    if (head || line.startsWith("//")) continue;
    const [, target, value] = /^\s*(\w+) = (.*)$/.exec(line) ?? [undefined, undefined, line];
    for (const [, name] of value!.matchAll(/(?<![\w.])([a-z]\w*)(?![\w.(])/g))
      if (
        !["do", "while", "if", "else", "break", "continue", "function"].includes(name!) &&
        !known.has(name!)
      )
        found.push(name!);
    if (target) known.add(target);
  }
  return found;
}
