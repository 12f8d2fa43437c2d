import { inspect } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as surface from "../../src/index.ts";
import * as layers from "../../src/nn/index.ts";
import * as optimizers from "../../src/optim/index.ts";
import type { Device } from "../../src/runtime/device.ts";

// What a user of NumPy or PyTorch writes by mistake, without types to stop it: every public function refuses it with an
// error of its own that names it, and nothing is taken in silence.

/** Anything, called with anything. */
type Loose = { readonly [K in Name]: Loose } & ((...args: unknown[]) => Loose) &
  Iterable<Loose> & { readonly 0: Loose; readonly 1: Loose };
type Name =
  | "accumulate"
  | "activation"
  | "adamw"
  | "add"
  | "amax"
  | "apply"
  | "applyUpdates"
  | "arange"
  | "argmax"
  | "astype"
  | "b"
  | "bceWithLogits"
  | "bernoulli"
  | "bits"
  | "bitwiseAnd"
  | "cat"
  | "chromeTrace"
  | "clamp"
  | "clipByGlobalNorm"
  | "clipByTensorNorm"
  | "clipByValue"
  | "combine"
  | "compile"
  | "cosine"
  | "count"
  | "crossEntropy"
  | "cumsum"
  | "data"
  | "dispose"
  | "div"
  | "dropout"
  | "elu"
  | "ema"
  | "embedding"
  | "entries"
  | "evaluate"
  | "exp"
  | "expand"
  | "eye"
  | "flip"
  | "fold"
  | "full"
  | "functional"
  | "gather"
  | "gelu"
  | "geluTanh"
  | "grad"
  | "huberLoss"
  | "indexSelect"
  | "init"
  | "initializers"
  | "item"
  | "kaimingUniform"
  | "key"
  | "klDiv"
  | "layerNorm"
  | "leakyRelu"
  | "leaves"
  | "linear"
  | "logSigmoid"
  | "logSoftmax"
  | "logsumexp"
  | "loraPlus"
  | "make"
  | "map"
  | "maskedFill"
  | "matmul"
  | "max"
  | "mean"
  | "mlp"
  | "module"
  | "mseLoss"
  | "mul"
  | "normal"
  | "oneHot"
  | "ones"
  | "onesLike"
  | "outer"
  | "pack"
  | "pad"
  | "partition"
  | "permute"
  | "pow"
  | "profile"
  | "profileTable"
  | "random"
  | "relu"
  | "repeatInterleave"
  | "reshape"
  | "rmsNorm"
  | "rope"
  | "scalar"
  | "scaledDotProductAttention"
  | "scatterAdd"
  | "schedule"
  | "sequential"
  | "sigmoid"
  | "silu"
  | "slice"
  | "smoothL1Loss"
  | "softmax"
  | "softplus"
  | "split"
  | "squeeze"
  | "stack"
  | "std"
  | "sum"
  | "tensor"
  | "transpose"
  | "tree"
  | "tril"
  | "uniform"
  | "unpack"
  | "unsqueeze"
  | "update"
  | "valueAndGrad"
  | "var"
  | "vjp"
  | "where"
  | "xavierNormal"
  | "zeros"
  | "zerosLike"
  | "zip";

const loose = (value: unknown): Loose => value as Loose;
const [lorantz, nn, optim] = [loose(surface), loose(layers), loose(optimizers)];
const { tensor, zeros, ones, full, arange, eye, scalar, where, cat, stack, oneHot } = lorantz;
const { compile, grad, valueAndGrad, vjp, random, tree, pack, unpack } = lorantz;

const x = tensor([
  [1, 2],
  [3, 4],
]);
const v = tensor([1, 2, 3]);
const i = tensor([0, 1], { dtype: "int32" });
const of2x2 = i.expand([2, 2]);
const b = tensor([true, false]);
const key = random.key(0);
const layer = nn.linear(2, 2);
const params = layer.init(key);
const opt = optim.adamw({ lr: 0.1 });

const mistakes: readonly [what: string, make: () => unknown][] = [
  ["tensor()", () => tensor()],
  ["tensor(null)", () => tensor(null)],
  ["tensor('1')", () => tensor("1")],
  ["tensor(['1'])", () => tensor(["1"])],
  ["tensor({})", () => tensor({})],
  ["tensor(1,2,3)", () => tensor(1, 2, 3)],
  ["tensor([1],'int32')", () => tensor([1], "int32")],
  ["tensor([1],{dtype:'float'})", () => tensor([1], { dtype: "float" })],
  ["tensor([1],{requiresGrad:true})", () => tensor([1], { requiresGrad: true })],
  ["tensor([1],{shape:1})", () => tensor([1], { shape: 1 })],
  ["tensor([[1],[2,3]])", () => tensor([[1], [2, 3]])],
  ["tensor(tensor)", () => tensor(x)],
  ["tensor([tensor])", () => tensor([v, v])],
  ["tensor(Uint8Array)", () => tensor(new Uint8Array(2))],
  ["tensor(BigInt)", () => tensor([1n])],
  ["tensor(DataView)", () => tensor(new DataView(new ArrayBuffer(8)))],
  ["tensor(Set)", () => tensor(new Set([1]))],
  ["tensor([undefined])", () => tensor([undefined])],
  ["tensor([,1])", () => tensor(new Array(2))],
  ["tensor(f32,{shape:[-1]})", () => tensor(new Float32Array(2), { shape: [-1] })],
  ["zeros()", () => zeros()],
  ["zeros(3)", () => zeros(3)],
  ["zeros(2,3)", () => zeros(2, 3)],
  ["zeros([2,3],'int32')", () => zeros([2, 3], "int32")],
  ["zeros([2],{device})", () => zeros([2], { device: "cpu" })],
  ["zeros(['2'])", () => zeros(["2"])],
  ["zeros([2.5])", () => zeros([2.5])],
  ["zeros(x)", () => zeros(x)],
  ["full([2])", () => full([2])],
  ["full([2],'1')", () => full([2], "1")],
  ["full([2],v)", () => full([2], v)],
  ["full(1,[2])", () => full(1, [2])],
  ["ones([NaN])", () => ones([NaN])],
  ["zerosLike([1])", () => lorantz.zerosLike([1])],
  ["zerosLike(x,{dtype})", () => lorantz.zerosLike(x, { dtype: "int32" })],
  ["onesLike(2)", () => lorantz.onesLike(2)],
  ["arange()", () => arange()],
  ["arange(2,10)", () => arange(2, 10)],
  ["arange(0,10,2)", () => arange(0, 10, 2)],
  ["arange(2.5)", () => arange(2.5)],
  ["arange([3])", () => arange([3])],
  ["arange(3,{stop:5})", () => arange(3, { stop: 5 })],
  ["arange(3,{step:'1'})", () => arange(3, { step: "1" })],
  ["arange(-1)", () => arange(-1)],
  ["eye(2,3)", () => eye(2, 3)],
  ["eye(2.5)", () => eye(2.5)],
  ["eye([2])", () => eye([2])],
  ["scalar('1')", () => scalar("1")],
  ["scalar(x)", () => scalar(x)],
  ["scalar()", () => scalar()],
  ["x.add()", () => x.add()],
  ["x.add('2')", () => x.add("2")],
  ["x.add([1,2])", () => x.add([1, 2])],
  ["x.add(true)", () => x.add(true)],
  ["x.add(1n)", () => x.add(1n)],
  ["x.add(null)", () => x.add(null)],
  ["x.add(x,2)", () => x.add(x, 2)],
  ["x.add({alpha:2})", () => x.add({ alpha: 2 })],
  ["x.exp(1)", () => x.exp(1)],
  ["x.div(x,{roundingMode})", () => x.div(x, { roundingMode: "floor" })],
  ["x.add(promise)", () => x.add(x.data())],
  ["x.matmul(2)", () => x.matmul(2)],
  ["x.matmul([[1]])", () => x.matmul([[1]])],
  ["x.pow('2')", () => x.pow("2")],
  ["x.pow(2) of integers", () => tensor([1, 2], { dtype: "int32" }).pow(2)],
  ["x.pow(3) of integers", () => tensor([1, 2], { dtype: "int32" }).pow(3)],
  ["x.clamp()", () => x.clamp()],
  ["x.clamp({min:0})", () => x.clamp({ min: 0 })],
  ["x.clamp(0,1,2)", () => x.clamp(0, 1, 2)],
  ["x.maskedFill(b)", () => x.maskedFill(b)],
  ["x.maskedFill(x,1)", () => x.maskedFill(x, 1)],
  ["x.maskedFill(b,'a')", () => x.maskedFill(b, "a")],
  ["x.astype()", () => x.astype()],
  ["x.astype('foo')", () => x.astype("foo")],
  ["x.astype('float')", () => x.astype("float")],
  ["x.astype(Int32Array)", () => x.astype(Int32Array)],
  ["x.astype('number')", () => x.astype("number")],
  ["x.bitwiseAnd(1)", () => x.bitwiseAnd(1)],
  ["x.item('a')", () => x.item("a")],
  ["x.sum(0,true)", () => x.sum(0, true)],
  ["x.sum(0,1)", () => x.sum(0, 1)],
  ["x.sum({keepdim})", () => x.sum({ keepdim: true })],
  ["x.sum({dim:0})", () => x.sum({ dim: 0 })],
  ["x.sum(0,{keepDim})", () => x.sum(0, { keepDim: true })],
  ["x.sum(0,{keepdims})", () => x.sum(0, { keepdims: true })],
  ["x.sum(0,{keepdim:1})", () => x.sum(0, { keepdim: 1 })],
  ["x.sum('0')", () => x.sum("0")],
  ["x.sum(2)", () => x.sum(2)],
  ["x.sum(0.5)", () => x.sum(0.5)],
  ["x.sum([0,0])", () => x.sum([0, 0])],
  ["x.sum(true)", () => x.sum(true)],
  ["x.sum([0,'1'])", () => x.sum([0, "1"])],
  ["x.mean(0,true)", () => x.mean(0, true)],
  ["x.var(0,true)", () => x.var(0, true)],
  ["x.var(0,{unbiased})", () => x.var(0, { unbiased: false })],
  ["x.var(0,{correction:'1'})", () => x.var(0, { correction: "1" })],
  ["x.var(0,{correction:-1})", () => x.var(0, { correction: -1 })],
  ["x.std(0,{ddof:1})", () => x.std(0, { ddof: 1 })],
  ["x.max([0])", () => x.max([0])],
  ["x.max(0,{keepdim})", () => x.max(0, { keepdim: true })],
  ["x.max(x)", () => x.max(x)],
  ["x.argmax('0')", () => x.argmax("0")],
  ["x.argmax(0,true)", () => x.argmax(0, true)],
  ["x.softmax()", () => x.softmax()],
  ["x.softmax({dim:1})", () => x.softmax({ dim: 1 })],
  ["x.cumsum()", () => x.cumsum()],
  ["x.logSoftmax([1])", () => x.logSoftmax([1])],
  ["x.logsumexp(0,true)", () => x.logsumexp(0, true)],
  ["x.amax(0,1,2)", () => x.amax(0, {}, 2)],
  ["x.reshape(4)", () => x.reshape(4)],
  ["x.reshape(2,2)", () => x.reshape(2, 2)],
  ["x.reshape()", () => x.reshape()],
  ["x.reshape([-1,-1])", () => x.reshape([-1, -1])],
  ["x.reshape(['4'])", () => x.reshape(["4"])],
  ["x.reshape([3])", () => x.reshape([3])],
  ["x.reshape(x.shape,1)", () => x.reshape([4], 1)],
  ["x.expand(2,2)", () => x.expand(2, 2)],
  ["x.expand([NaN])", () => x.expand([NaN])],
  ["x.expand([-1,2,2])", () => x.expand([-1, 2, 2])],
  ["x.permute(1,0)", () => x.permute(1, 0)],
  ["x.permute([0])", () => x.permute([0])],
  ["x.permute([0,2])", () => x.permute([0, 2])],
  ["x.permute()", () => x.permute()],
  ["x.transpose([1,0])", () => x.transpose([1, 0])],
  ["x.transpose(0,1,2)", () => x.transpose(0, 1, 2)],
  ["x.transpose('0')", () => x.transpose("0")],
  ["x.flip(0,1)", () => x.flip(0, 1)],
  ["x.flip('0')", () => x.flip("0")],
  ["x.slice(1,2)", () => x.slice(1, 2)],
  ["x.slice([0.5])", () => x.slice([0.5])],
  ["x.slice([NaN])", () => x.slice([NaN])],
  ["x.slice(['0'])", () => x.slice(["0"])],
  ["x.slice([0],[1],[0])", () => x.slice([0], [1], [0])],
  ["x.slice([0],[1],[-1])", () => x.slice([0], [1], [-1])],
  ["x.slice([0],1)", () => x.slice([0], 1)],
  ["x.slice('0:1')", () => x.slice("0:1")],
  ["x.slice([0,0,0])", () => x.slice([0, 0, 0])],
  ["x.slice()", () => x.slice()],
  ["x.slice([0],[Infinity])", () => x.slice([0], [Infinity])],
  ["x.pad([[1]])", () => x.pad([[1]])],
  ["x.pad([1,1])", () => x.pad([1, 1])],
  ["x.pad(1)", () => x.pad(1)],
  ["x.pad([[1,1],[1]])", () => x.pad([[1, 1], [1]])],
  [
    "x.pad([[0,0],[1,-1]])",
    () =>
      x.pad([
        [0, 0],
        [1, -1],
      ]),
  ],
  [
    "x.pad(p,'0')",
    () =>
      x.pad(
        [
          [0, 0],
          [1, 1],
        ],
        "0",
      ),
  ],
  [
    "x.pad(p,{value})",
    () =>
      x.pad(
        [
          [0, 0],
          [1, 1],
        ],
        { value: 1 },
      ),
  ],
  ["x.squeeze()", () => x.squeeze()],
  ["x.squeeze(0)", () => x.squeeze(0)],
  ["x.unsqueeze()", () => x.unsqueeze()],
  ["x.unsqueeze([0])", () => x.unsqueeze([0])],
  ["x.unsqueeze(0,1)", () => x.unsqueeze(0, 1)],
  ["x.tril('1')", () => x.tril("1")],
  ["x.tril(0.5)", () => x.tril(0.5)],
  ["x.tril(1e10)", () => x.tril(1e10)],
  ["x.split([1,2])", () => x.split([1, 2])],
  ["x.split(3)", () => x.split(3)],
  ["x.split(0)", () => x.split(0)],
  ["x.split(2,'0')", () => x.split(2, "0")],
  ["x.repeatInterleave(2)", () => x.repeatInterleave(2)],
  ["x.repeatInterleave(-1,0)", () => x.repeatInterleave(-1, 0)],
  ["x.repeatInterleave(i,0)", () => x.repeatInterleave(i, 0)],
  ["x.repeatInterleave(2**50,0)", () => x.repeatInterleave(2 ** 50, 0)],
  ["x.gather(0,[0])", () => x.gather(0, [0])],
  ["x.gather(i,0)", () => x.gather(i, 0)],
  ["x.gather(0,x)", () => x.gather(0, x)],
  ["x.indexSelect(0,1)", () => x.indexSelect(0, 1)],
  ["x.indexSelect(0,[0])", () => x.indexSelect(0, [0])],
  ["x.indexSelect(i)", () => x.indexSelect(i)],
  ["x.scatterAdd(0,i)", () => v.scatterAdd(0, i)],
  ["x.scatterAdd(0,i,1)", () => v.scatterAdd(0, i, 1)],
  ["x.outer(2)", () => v.outer(2)],
  ["cat(x,x)", () => cat(x, x)],
  ["cat([x],'0')", () => cat([x], "0")],
  ["cat([])", () => cat([])],
  ["cat([x,1])", () => cat([x, 1])],
  ["cat([x,x],{axis:1})", () => cat([x, x], { axis: 1 })],
  ["cat()", () => cat()],
  ["stack(x,x)", () => stack(x, x)],
  ["stack([1,2])", () => stack([1, 2])],
  ["where(x,1,2)", () => where(x, 1, 2)],
  ["where(true,x,x)", () => where(true, x, x)],
  ["where(b)", () => where(b)],
  ["where(b,x)", () => where(b, x)],
  ["where(b,[1],[2])", () => where(b, [1, 1], [2, 2])],
  ["oneHot(i)", () => oneHot(i)],
  ["oneHot([0],2)", () => oneHot([0], 2)],
  ["oneHot(x,2)", () => oneHot(x, 2)],
  ["oneHot(i,{numClasses:2})", () => oneHot(i, { numClasses: 2 })],
  ["oneHot(i,2.5)", () => oneHot(i, 2.5)],
  ["relu(1)", () => lorantz.relu(1)],
  ["relu([1])", () => lorantz.relu([1])],
  ["relu()", () => lorantz.relu()],
  ["gelu(x,'tanh')", () => lorantz.gelu(x, "tanh")],
  ["gelu(x,{approximate})", () => lorantz.gelu(x, { approximate: "tanh" })],
  ["relu(x,true)", () => lorantz.relu(x, true)],
  ["leakyRelu(x,'0.1')", () => lorantz.leakyRelu(x, "0.1")],
  ["leakyRelu(x,{negativeSlope})", () => lorantz.leakyRelu(x, { negativeSlope: 0.1 })],
  ["sigmoid(2)", () => lorantz.sigmoid(2)],
  ["silu('a')", () => lorantz.silu("a")],
  ["softplus(x,0)", () => lorantz.softplus(x, 0)],
  ["softplus(x,1,20,1)", () => lorantz.softplus(x, 1, 20, 1)],
  ["elu(x,{alpha})", () => lorantz.elu(x, { alpha: 0.5 })],
  ["logSigmoid(null)", () => lorantz.logSigmoid(null)],
  ["geluTanh(i)", () => lorantz.geluTanh(i)],
  ["grad()", () => grad()],
  ["grad(x)", () => grad(x)],
  ["grad(f,1)", () => grad((x: Loose) => x.sum(), 1)],
  ["grad(f,{argnum})", () => grad((x: Loose) => x.sum(), { argnum: 1 })],
  ["grad(f)(1)", () => grad((x: Loose) => x)(1)],
  ["grad(f)([1,2])", () => grad((_x: Loose) => zeros([]))([1, 2])],
  ["grad(vector)", () => grad((x: Loose) => x)(x)],
  ["grad(number result)", () => grad((_x: Loose) => 1)(x)],
  ["grad(no result)", () => grad((_x: Loose) => {})(x)],
  ["grad(i)", () => grad((x: Loose) => x.sum())(i)],
  ["valueAndGrad(f,[0,1])", () => valueAndGrad((x: Loose) => x, [0, 1])],
  ["vjp(f,x,x)", () => vjp((x: Loose) => x, x, x)],
  ["vjp(x,f)", () => vjp(x, (x: Loose) => x)],
  ["pull()", () => vjp((x: Loose) => x, x)[1]()],
  ["pull(1)", () => vjp((x: Loose) => x, x)[1](1)],
  ["pull(v)", () => vjp((x: Loose) => x, x)[1](v)],
  ["compile()", () => compile()],
  ["compile(x)", () => compile(x)],
  ["compile(f,[0])", () => compile((x: Loose) => x, [0])],
  ["compile(f,{donate:0})", () => compile((x: Loose) => x, { donate: 0 })],
  ["compile(f,{donateArgnums})", () => compile((x: Loose) => x, { donateArgnums: [0] })],
  ["compile(f,{donate:['0']})", () => compile((x: Loose) => x, { donate: ["0"] })],
  ["compile(f,{donate:[-1]})", () => compile((x: Loose) => x, { donate: [-1] })],
  ["compile(f,{device:'cpu'})", () => compile((x: Loose) => x, { device: "cpu" })],
  ["compile(f)('a')", () => compile((x: Loose) => x)("a")],
  ["compile(f)(Map)", () => compile((x: Loose) => x)(new Map())],
  ["compile(f)(f)", () => compile((x: Loose) => x)(() => 1)],
  ["compile(returns map)", () => compile((_x: Loose) => new Map())(x)],
  ["compile(returns string)", () => compile((_x: Loose) => "a")(x)],
  ["compile(f)(true)", () => compile((x: Loose) => x)(true)],
  ["init('cpu')", () => lorantz.init("cpu")],
  ["init({device})", () => lorantz.init({ device: "cpu" })],
  ["init({backend:'gpu'})", () => lorantz.init({ backend: "gpu" })],
  ["init({backend:'CPU'})", () => lorantz.init({ backend: "CPU" })],
  ["init({threads:'2'})", () => lorantz.init({ backend: "cpu", threads: "2" })],
  ["init({threads:0})", () => lorantz.init({ backend: "cpu", threads: 0 })],
  ["init({maxBytes:'1'})", () => lorantz.init({ backend: "cpu", maxBytes: "1" })],
  ["init({maxBytes:-1})", () => lorantz.init({ backend: "cpu", maxBytes: -1 })],
  ["init({checkIndices:1})", () => lorantz.init({ backend: "cpu", checkIndices: 1 })],
  ["init(null)", () => lorantz.init(null)],
  ["init({cpu:'x'})", () => lorantz.init({ backend: "cpu", cpu: "x" })],
  ["init({relaxed:1})", () => lorantz.init({ backend: "cpu", relaxed: 1 })],
  ["random.key()", () => random.key()],
  ["random.key('a')", () => random.key("a")],
  ["random.key(-1)", () => random.key(-1)],
  ["random.key(1.5)", () => random.key(1.5)],
  ["fold()", () => key.fold()],
  ["fold(1.5)", () => key.fold(1.5)],
  ["fold(x)", () => key.fold(x)],
  ["fold([1])", () => key.fold([1])],
  ["normal([2])", () => random.normal([2])],
  ["normal(key)", () => random.normal(key)],
  ["normal(key,2)", () => random.normal(key, 2)],
  ["normal(key,[2],0,1)", () => random.normal(key, [2], 0, 1)],
  ["normal(0,[2])", () => random.normal(0, [2])],
  ["normal(key,[2],{stddev})", () => random.normal(key, [2], { stddev: 1 })],
  ["normal(key,[2],{std:-1})", () => random.normal(key, [2], { std: -1 })],
  ["normal(key,[2],{mean:NaN})", () => random.normal(key, [2], { mean: NaN })],
  ["normal(key,[2],{dtype})", () => random.normal(key, [2], { dtype: "float16" })],
  ["normal(key,[2],{std:x})", () => random.normal(key, [2], { std: x })],
  ["uniform(key,[2],-1,1)", () => random.uniform(key, [2], -1, 1)],
  ["uniform(key,[2],{low})", () => random.uniform(key, [2], { low: -1 })],
  ["uniform(key,[2],{min:1,max:0})", () => random.uniform(key, [2], { min: 1, max: 0 })],
  ["uniform(key,[-1])", () => random.uniform(key, [-1])],
  ["bernoulli(key,[2],0.5)", () => random.bernoulli(key, [2], 0.5)],
  ["bernoulli(key,2,[2])", () => random.bernoulli(key, 2, [2])],
  ["bernoulli(key,'0.5',[2])", () => random.bernoulli(key, "0.5", [2])],
  ["bits(key)", () => random.bits(key)],
  ["bits(key,'a')", () => random.bits(key, "a")],
  ["normal(key,[2**20,2**20])", () => random.normal(key, [2 ** 20, 2 ** 20])],
  ["nn.linear()", () => nn.linear()],
  ["nn.linear(2)", () => nn.linear(2)],
  ["nn.linear(2,3,false)", () => nn.linear(2, 3, false)],
  ["nn.linear(2,3,{biased})", () => nn.linear(2, 3, { biased: false })],
  ["nn.linear(2,3,{bias:0})", () => nn.linear(2, 3, { bias: 0 })],
  ["nn.linear('2',3)", () => nn.linear("2", 3)],
  ["nn.linear([2,3])", () => nn.linear([2, 3])],
  ["nn.linear(2,3,{init:'x'})", () => nn.linear(2, 3, { init: "x" })],
  ["nn.linear(2,3,{dtype:'int32'})", () => nn.linear(2, 3, { dtype: "int32" })],
  ["nn.embedding(2)", () => nn.embedding(2)],
  ["nn.embedding(2,3,{paddingIdx})", () => nn.embedding(2, 3, { paddingIdx: 0 })],
  ["nn.layerNorm([2])", () => nn.layerNorm([2])],
  ["nn.layerNorm(2,1e-5)", () => nn.layerNorm(2, 1e-5)],
  ["nn.layerNorm(2,{eps:-1})", () => nn.layerNorm(2, { eps: -1 })],
  ["nn.layerNorm(2,{elementwiseAffine})", () => nn.layerNorm(2, { elementwiseAffine: false })],
  ["nn.dropout()", () => nn.dropout()],
  ["nn.dropout('0.5')", () => nn.dropout("0.5")],
  ["nn.dropout({p})", () => nn.dropout({ p: 0.5 })],
  ["nn.dropout(1)", () => nn.dropout(1)],
  ["nn.mlp(2,3)", () => nn.mlp(2, 3)],
  ["nn.mlp([2])", () => nn.mlp([2])],
  ["nn.mlp([2,'3'])", () => nn.mlp([2, "3"])],
  ["nn.mlp([2,3],'relu')", () => nn.mlp([2, 3], "relu")],
  ["nn.mlp([2,3],{activation:'Relu'})", () => nn.mlp([2, 3], { activation: "Relu" })],
  ["nn.mlp([2,3],{hidden})", () => nn.mlp([2, 3], { hidden: 3 })],
  ["nn.activation()", () => nn.activation()],
  ["nn.activation('ReLU')", () => nn.activation("ReLU")],
  ["nn.activation('__proto__')", () => nn.activation("__proto__")],
  ["nn.sequential()", () => nn.sequential()],
  ["nn.sequential([..])", () => nn.sequential([layer, layer])],
  ["nn.sequential(l,l)", () => nn.sequential(layer, layer)],
  ["nn.sequential({a:1})", () => nn.sequential({ a: 1 })],
  ["nn.module({a})", () => nn.module({ a: layer })],
  ["nn.module(layer,f)", () => nn.module(layer, (_c: Loose, x: Loose) => x)],
  ["nn.module({'a.b'})", () => nn.module({ "a.b": layer }, (_c: Loose, x: Loose) => x)],
  ["layer.init()", () => layer.init()],
  ["layer.init(0)", () => layer.init(0)],
  ["layer.apply(x,params)", () => layer.apply(x, params)],
  ["layer.apply(x)", () => layer.apply(x)],
  ["layer.apply({},x)", () => layer.apply({}, x)],
  ["layer.apply(params)", () => layer.apply(params)],
  ["layer.apply(params,[[1,2]])", () => layer.apply(params, [[1, 2]])],
  ["dropout ctx", () => nn.dropout(0.5).apply({}, x, { train: true })],
  ["dropout no key", () => nn.dropout(0.5).apply({}, x, { training: true })],
  ["dropout ctx true", () => nn.dropout(0.5).apply({}, x, true)],
  [
    "mlp ctx",
    () => {
      const m = nn.mlp([2, 2, 2]);
      return m.apply(m.init(key), x, { train: true });
    },
  ],
  ["crossEntropy(x)", () => nn.crossEntropy(x)],
  ["crossEntropy(x,[0,1])", () => nn.crossEntropy(x, [0, 1])],
  ["crossEntropy(x,v)", () => nn.crossEntropy(x, v)],
  ["crossEntropy(x,i,'sum')", () => nn.crossEntropy(x, i, "sum")],
  ["crossEntropy(x,i,{reduction:'batchmean'})", () => nn.crossEntropy(x, i, { reduction: "batchmean" })],
  ["crossEntropy(x,i,{label_smoothing})", () => nn.crossEntropy(x, i, { label_smoothing: 0.1 })],
  ["crossEntropy(x,i,{weight})", () => nn.crossEntropy(x, i, { weight: v })],
  ["crossEntropy(x,i,{labelSmoothing:2})", () => nn.crossEntropy(x, i, { labelSmoothing: 2 })],
  ["mseLoss(x)", () => nn.mseLoss(x)],
  ["mseLoss(x,1)", () => nn.mseLoss(x, 1)],
  ["mseLoss(x,v)", () => nn.mseLoss(x, v)],
  ["mseLoss(x,x,{reduce})", () => nn.mseLoss(x, x, { reduce: false })],
  ["huberLoss(x,x,1)", () => nn.huberLoss(x, x, 1)],
  ["huberLoss(delta 0)", () => nn.huberLoss(x, x, { delta: 0 })],
  ["klDiv(x,x,{logTarget})", () => nn.klDiv(x, x, { logTarget: 1 })],
  ["bceWithLogits(x,x,{posWeight})", () => nn.bceWithLogits(x, x, { posWeight: v })],
  ["smoothL1 beta", () => nn.smoothL1Loss(x, x, { beta: "1" })],
  ["F.linear(x)", () => nn.functional.linear(x)],
  ["F.linear(x,x,1)", () => nn.functional.linear(x, x, 1)],
  ["F.embedding(x,i)", () => nn.functional.embedding(x, i)],
  ["F.embedding([0],x)", () => nn.functional.embedding([0], x)],
  ["F.layerNorm(x)", () => nn.functional.layerNorm(x)],
  ["F.layerNorm(x,2)", () => nn.functional.layerNorm(x, 2)],
  ["F.layerNorm(x,[2],x)", () => nn.functional.layerNorm(x, [2], x)],
  ["F.rmsNorm(x,1)", () => nn.functional.rmsNorm(x, 1)],
  ["F.rmsNorm(x,v,1e-6)", () => nn.functional.rmsNorm(x, tensor([1, 1]), 1e-6)],
  ["F.dropout(x)", () => nn.functional.dropout(x)],
  ["F.dropout(x,.5,true)", () => nn.functional.dropout(x, 0.5, true)],
  ["F.sdpa(x)", () => nn.functional.scaledDotProductAttention(x)],
  ["F.sdpa(int32)", () => nn.functional.scaledDotProductAttention(of2x2, of2x2, of2x2, { scale: 4 })],
  ["F.sdpa(isCausal)", () => nn.functional.scaledDotProductAttention(x, x, x, { isCausal: true })],
  ["F.sdpa(mask)", () => nn.functional.scaledDotProductAttention(x, x, x, x)],
  ["F.rope(x,1e4)", () => nn.functional.rope(x, 10000)],
  ["F.rope(positions)", () => nn.functional.rope(x, { positions: [0] })],
  ["F.rope(positions frac)", () => nn.functional.rope(x, { positions: [0, 0.5] })],
  ["F.rope(theta)", () => nn.functional.rope(x, { base: 3 })],
  ["initializers.kaiming(mode)", () => nn.initializers.kaimingUniform(key, [2, 2], { mode: "fan_in" })],
  ["initializers.kaiming(key)", () => nn.initializers.kaimingUniform([2, 2])],
  ["initializers.kaiming(1d)", () => nn.initializers.kaimingUniform(key, [2])],
  ["initializers.kaiming(gain)", () => nn.initializers.kaimingUniform(key, [2, 2], 2)],
  ["initializers.zeros()", () => nn.initializers.zeros()],
  ["initializers.normal()", () => nn.initializers.normal([2])],
  ["initializers.xavier", () => nn.initializers.xavierNormal(key, 3)],
  ["tree.map(x)", () => tree.map({ a: x })],
  ["tree.map(f,t)", () => tree.map((l: Loose) => l, { a: x })],
  ["tree.map(Map)", () => tree.map(new Map(), (l: Loose) => l)],
  ["tree.zip(a,b)", () => tree.zip({ a: x }, { a: x })],
  ["tree.zip([..])", () => tree.zip([{ a: x }, { b: x }], (l: Loose) => l[0])],
  ["tree.partition(t)", () => tree.partition({ a: x })],
  ["tree.partition(t,'a')", () => tree.partition({ a: x }, "a")],
  ["tree.leaves(1)", () => tree.leaves(1)],
  ["tree.count('a')", () => tree.count("a")],
  ["tree.evaluate(1)", () => tree.evaluate(1)],
  ["tree.evaluate(t,'cpu')", () => tree.evaluate({ a: x.add(1) }, "cpu")],
  ["tree.combine(1,2)", () => tree.combine(1, 2)],
  ["tree.dispose(1)", () => tree.dispose(1)],
  ["tree.entries(Set)", () => tree.entries(new Set())],
  ["pack(x)", () => pack(x)],
  ["pack(x,'nf4')", () => pack(x, "nf4")],
  ["pack(x,{format:'fp4'})", () => pack(x, { format: "fp4" })],
  ["pack(x,{format,blocksize})", () => pack(x, { format: "nf4", blocksize: 64 })],
  ["pack(x,{block:3})", () => pack(x, { format: "nf4", block: 3 })],
  ["pack(x,{block:'64'})", () => pack(x, { format: "nf4", block: "64" })],
  ["pack(i)", () => pack(i, { format: "nf4" })],
  ["pack(1)", () => pack(1, { format: "nf4" })],
  ["unpack(x)", () => unpack(x)],
  ["unpack({})", () => unpack({})],
  ["unpack(null)", () => unpack(null)],
  ["profile()", () => lorantz.profile()],
  ["profile(x)", () => lorantz.profile(x)],
  ["profileTable()", () => lorantz.profileTable()],
  ["chromeTrace(1)", () => lorantz.chromeTrace(1)],
  ["optim.adamw()", () => optim.adamw()],
  ["optim.adamw(params,{lr})", () => optim.adamw({ w: x }, { lr: 1 })],
  ["optim.adamw(1e-3)", () => optim.adamw(1e-3)],
  ["optim.make('adamw')", () => optim.make("adamw")],
  ["optim.make()", () => optim.make()],
  ["optim.make({name:1})", () => optim.make({ name: 1 })],
  ["opt.init()", () => opt.init()],
  ["opt.init(1)", () => opt.init(1)],
  ["opt.init({w:i})", () => opt.init({ w: i })],
  ["opt.update()", () => opt.update()],
  ["opt.update(g)", () => opt.update({ w: x })],
  ["opt.update(g,p,s)", () => opt.update({ w: x }, { w: x }, opt.init({ w: x }))],
  ["applyUpdates()", () => optim.applyUpdates()],
  ["applyUpdates(p)", () => optim.applyUpdates({ w: x })],
  ["applyUpdates(structure)", () => optim.applyUpdates({ w: x }, { v: x })],
  ["applyUpdates(shape)", () => optim.applyUpdates({ w: x }, { w: v })],
  ["clipByGlobalNorm(g)", () => optim.clipByGlobalNorm({ w: x })],
  ["clipByGlobalNorm(g,'1')", () => optim.clipByGlobalNorm({ w: x }, "1")],
  ["clipByGlobalNorm(g,1,2)", () => optim.clipByGlobalNorm({ w: x }, 1, 2)],
  ["clipByGlobalNorm(norm_type)", () => optim.clipByGlobalNorm({ w: x }, 1, { normType: 2 })],
  ["clipByValue(g)", () => optim.clipByValue({ w: x })],
  ["clipByValue(g,-1,1)", () => optim.clipByValue({ w: x }, -1, 1)],
  ["clipByTensorNorm(g,x)", () => optim.clipByTensorNorm({ w: x }, x)],
  ["ema()", () => optim.ema()],
  ["ema(2)", () => optim.ema(2)],
  ["accumulate()", () => optim.accumulate()],
  ["accumulate('a')", () => optim.accumulate("a")],
  ["loraPlus()", () => optim.loraPlus()],
  ["loraPlus(16)", () => optim.loraPlus(16)],
  ["loraPlus({lr})", () => optim.loraPlus({ ratio: 16, lr: 1 })],
  ["schedule.cosine()", () => optim.schedule.cosine()],
  ["schedule.cosine(100)", () => optim.schedule.cosine(100)],
  ["schedule.cosine({T_max})", () => optim.schedule.cosine({ T_max: 100 })],
];

let device: Device;
beforeAll(async () => {
  device = await surface.init({ backend: "cpu" });
});
afterAll(() => device.dispose());

test.each(mistakes)("%s is refused", async (what, make) => {
  const error: unknown = await Promise.resolve()
    .then(make)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  expect(error, what).toBeInstanceOf(surface.LorantzError);
  const { message } = error as Error;
  expect(message).toMatch(/^[\w.]+: .{10,}/s); // who refuses, and what
  expect(message).not.toMatch(/internal|\[object|^undefined/);
});

test("functions may be handed to map", async () => {
  const { relu, tensor, tree, zerosLike } = surface;
  const both = [tensor([-1, 2]), tensor([3, -4])].map(relu);
  expect(await Promise.all(both.map((y) => y.toArray()))).toEqual([
    [0, 2],
    [3, 0],
  ]);
  const { a, b } = tree.map({ a: tensor([1, 2]), b: [tensor([3])] }, zerosLike);
  expect([await a.toArray(), await b[0]?.toArray()]).toEqual([[0, 0], [0]]);
});

test("after all of them everything still works", async () => {
  expect(await tensor([1, 2]).mul(2).sum().item()).toBe(6);
});

test("a tensor turns into text only, and prints as NumPy's", async () => {
  const matrix = surface.tensor([
    [1, -2.5],
    [0.1, -0],
  ]);
  expect(`${matrix}`).toBe("float32[2,2]");
  for (const convert of [
    (t: unknown) => Number(t),
    (t: unknown) => (t as number) * 2,
    (t: unknown) => (t as number) < 1,
  ])
    expect(() => convert(matrix)).toThrow(/^float32\[2,2\] is no number.*await x\.item\(\)/);
  expect(inspect(matrix)).toBe("float32[2,2] \n[[   1, -2.5],\n [ 0.1,   -0]]");
  expect(inspect({ layer: { weight: matrix }, list: [matrix] })).toBe(
    "{ layer: { weight: float32[2,2] }, list: [ float32[2,2] ] }",
  );
  const sum = matrix.add(1);
  expect(inspect(sum)).toBe("float32[2,2]");
  await sum.data();
  expect(inspect(sum)).toMatch(/^float32\[2,2\] \n\[\[/); // on the CPU the values are at hand
  expect(inspect(surface.tensor([true, false]))).toBe("bool[2] [ true, false]");
  expect(inspect(surface.scalar(2))).toBe("number[] 2");
  expect(inspect(surface.tensor(Int32Array.from({ length: 2000 }, (_, i) => i)))).toMatch(
    /^int32\[2000\] \[ *0, +1, +2, \.\.\., 1997, 1998, 1999\]$/,
  );
  expect(inspect(surface.zeros([0, 3]))).toMatch(/^float32\[0,3\]/);
});

test("JSON has the dtype and shape of a tensor, however large its graph is", () => {
  const noise = surface.random.normal(surface.random.key(0), [64]).exp().softmax(0);
  expect(JSON.stringify({ noise, list: [noise] })).toBe('{"noise":"float32[64]","list":["float32[64]"]}');
});
