// jax-js and TensorFlow.js look for `navigator.gpu`, which Node does not have: here it is, from the package webgpu.
// The instance stays referenced: Dawn crashes the process when it is collected.
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
const gpu = create([]);
const navigator = { gpu, userAgent: "Node", platform: process.platform, hardwareConcurrency: 2 };
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, writable: true });
